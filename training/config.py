"""Typed configuration: one YAML file per model, unknown keys refused, `${NAME}` taken from the environment."""

import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


class UserError(Exception):
    """Something that the user can put right, said in words; the command line shows it without a traceback."""


class ConfigError(UserError):
    """A configuration file that cannot be used, said in words for the person who wrote it."""


class RunError(UserError):
    """A run that cannot go on."""


class Settings(BaseModel):
    """Base of every section: values cannot be changed after reading, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


AnySettings = TypeVar("AnySettings", bound=Settings)


def _fill_in(text: str, where: Path) -> str:
    """Replace `${NAME}` and `${NAME:-default}` by the environment's values."""

    def value(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = os.environ.get(name, default)
        if found is None:
            raise ConfigError(f"{where.name} uses ${{{name}}}, but the environment variable {name} is not set.")
        return found

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", value, text)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file as a mapping, with environment variables filled in."""
    if not path.is_file():
        raise ConfigError(f"There is no configuration file {path}.")
    try:
        content = yaml.safe_load(_fill_in(path.read_text(encoding="utf-8"), path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path.name} must be a list of `key: value` lines.")
    return content


def check(kind: type[AnySettings], content: dict[str, Any], name: str) -> AnySettings:
    """Turn a mapping into typed settings, or say every reason why not."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        reasons = []
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"]) or "the file"
            unknown = problem["type"] == "extra_forbidden"
            reasons.append(f"  {place}: {'there is no such option' if unknown else problem['msg']}")
        raise ConfigError(f"{name} cannot be used:\n" + "\n".join(reasons)) from error
