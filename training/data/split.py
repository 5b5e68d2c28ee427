"""Reads `split.yaml`: which person is in which part."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from training.config import Settings, check, read_yaml

Part = Literal["training", "validation", "test"]


class LabelSplit(Settings):
    """Numbers of the label maps, each of another person."""

    training: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


class LongitudinalSplit(Settings):
    """Studies of each person of the longitudinal set."""

    training: dict[str, tuple[int, ...]]
    test: dict[str, tuple[int, ...]]


class MniSplit(Settings):
    """Persons of the set in MNI space."""

    training: tuple[str, ...]
    test: tuple[str, ...]


class Split(Settings):
    """The whole split; a person in two parts is refused."""

    labels: LabelSplit
    longitudinal: LongitudinalSplit
    mni: MniSplit

    @model_validator(mode="after")
    def _nobody_twice(self) -> "Split":
        for name, part in (("labels", self.labels), ("longitudinal", self.longitudinal), ("mni", self.mni)):
            people = [str(person) for group in part.model_dump().values() for person in group]
            twice = sorted({person for person in people if people.count(person) > 1})
            if twice:
                raise ValueError(f"{name}: {', '.join(twice)} in more than one part")
        return self


def read_split(path: Path | None = None) -> Split:
    """The split beside this file, or another one."""
    path = path or Path(__file__).with_name("split.yaml")
    return check(Split, read_yaml(path), path.name)
