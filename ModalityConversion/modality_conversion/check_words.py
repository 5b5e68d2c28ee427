"""What is wrong with a `conversion.json`, in the words of someone who wants to fix it.

pydantic finds the faults; here each becomes a `Fault`: where it is, what it is, what to do. The descriptions, the valid
keys and the examples come from the JSON Schema that `schema.py` makes, so a new field needs no new words.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .schema import ConversionSpec

SPEC_FILE = "configs/conversion.json"
Path = tuple[str | int, ...]
"""Keys and positions from the root of the file, such as ("sampler", "axes", 0)."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a bundle."""

    where: str
    """The file, and the field in it: `configs/conversion.json: sampler.context`."""
    what: str
    """What is wrong."""
    remedy: str
    """What to do about it."""
    severity: Literal["error", "warning"] = "error"
    """An error keeps the model from being used; a warning does not."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


def in_spec(path: Path) -> str:
    """The place of a field, as `Fault.where` says it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return f"{SPEC_FILE}: {text}" if text else SPEC_FILE


def in_finder(faults: Iterable[Fault]) -> Iterator[Fault]:
    """Faults of the stage that finds, looked at as a model of its own, where they stand in the file.

    What it shares with the model is left out: the model's own faults say it.
    """
    find = in_spec(("segmentation", "find"))
    for fault in faults:
        place = fault.where.removeprefix(f"{SPEC_FILE}: ")
        if place == fault.where:  # another file
            yield fault
        elif place.startswith("segmentation.labels"):
            yield replace(fault, where=f"{find}.channel")
        elif place.startswith(("weights", "geometry", "ops", "inputs", "sampler", "fusion")):
            yield replace(fault, where=f"{find}.{place}")


def sections_of(spec: ConversionSpec) -> dict[str, Any]:
    """The sections of a declaration by name."""
    return {name: getattr(spec, name) for name in type(spec).model_fields}


# --- JSON -------------------------------------------------------------------------------------------------------------


def read_json(text: str, where: str) -> tuple[Any, list[Fault]]:
    """The content of a JSON file, and what is wrong with its syntax; the content is None where it cannot be read."""
    faults = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in pairs:
            if key in content:
                faults.append(Fault(where, f"the key `{key}` stands twice in one object", "keep one of the two"))
            content[key] = value
        return content

    try:
        return json.loads(text, object_pairs_hook=unique), faults
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        return None, [Fault(where, f"not JSON: {error.msg.lower()} at {place}", _json_remedy(text, error))]
    except (ValueError, RecursionError) as error:
        return None, [Fault(where, f"not JSON that can be read: {error}", "simplify the value")]


def _json_remedy(text: str, error: json.JSONDecodeError) -> str:
    before = text[: error.pos].rstrip()[-1:]
    here = text[error.pos : error.pos + 1]
    if not text.strip():
        return "the file is empty; write the declaration, or make one with `modality-conversion models init`"
    if "trailing comma" in error.msg or (before == "," and here in ("}", "]")):
        return "remove the comma before the closing bracket"
    if here in ("/", "#"):
        return "remove the comment; JSON has none"
    if here == "'":
        return "put names and text in double quotes"
    if "delimiter" in error.msg:
        return "a comma, a colon or a closing bracket is missing there or just before"
    return "correct the text there or just before"


# --- from pydantic's errors to faults ---------------------------------------------------------------------------------


def read_spec(data: Any) -> tuple[ConversionSpec | None, dict[str, Any], list[Fault]]:
    """The declaration; its valid sections by name; its faults. The declaration is None where there is any fault.

    A section that is left out and may be is valid, with its default.
    """
    from pydantic import ValidationError

    from .schema import ConversionSpec

    try:
        spec = ConversionSpec.model_validate_json(json.dumps(data))
        return spec, sections_of(spec), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    faults = list(dict.fromkeys(_faults(errors, data)))
    bad = {error["loc"][0] for error in errors if error["loc"]}
    if not isinstance(data, dict):
        return None, {}, faults
    # The good sections once more, with stand-ins for the bad ones.
    filled = {**_example(_root()), **{key: value for key, value in data.items() if key not in bad}}
    try:
        whole = ConversionSpec.model_validate_json(json.dumps(filled))
    except ValidationError:  # what no stand-in can repair, such as a lone surrogate in a text
        return None, {}, faults
    return None, {name: getattr(whole, name) for name in ConversionSpec.model_fields if name not in bad}, faults


def _faults(errors: Sequence[Any], data: Any) -> Iterator[Fault]:
    for error in errors:
        path, union = _clean(error, data)
        if union is not None:
            # Several alternatives, one complaint from each: say once what would be right.
            yield _unwanted(union, data)
        else:
            yield from _fault(error, path, data)


def _clean(error: Any, data: Any) -> tuple[Path, Path | None]:
    """The path in the file, without pydantic's names of alternatives; and that of the value which has alternatives."""
    path: list[str | int] = []
    union: Path | None = None
    value = data
    loc = error["loc"]
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        in_object = isinstance(value, dict) and part in value
        in_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if in_object or in_list:
            path.append(part)
            value = value[part]
        elif is_last and error["type"] == "missing":
            path.append(part)
        elif part != "[key]" and not (isinstance(value, dict) and value.get("op") == part) and union is None:
            union = tuple(path)
    return tuple(path), union


def _fault(error: Any, path: Path, data: Any) -> Iterator[Fault]:
    kind = error["type"]
    if kind == "missing" and isinstance(path[-1], str):
        yield _missing(path, data)
    elif kind == "missing":  # a list that is too short
        yield _unwanted(path[:-1], data)
    elif kind == "extra_forbidden":
        yield _unknown(path, data)
    elif kind.startswith("union_tag"):
        yield _wrong_op(error, path)
    elif kind == "value_error":
        for line in error["msg"].removeprefix("Value error, ").splitlines():
            what, _, remedy = line.partition("; ")
            yield Fault(in_spec(path), what, remedy)
    elif "[key]" in error["loc"]:
        names = [value.strip("'") for value in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        yield Fault(in_spec(path), f"`{path[-1]}` is not a modality", _nearest(str(path[-1]), names, "one of"))
    elif kind == "too_short" and len(_value(path, data)) >= error["ctx"]["min_length"]:
        return  # the entries are there, but wrong themselves, and said so
    else:
        yield _unwanted(path, data)


def _missing(path: Path, data: Any) -> Fault:
    key = str(path[-1])
    schema = _schema_at(path, data) or {}
    example = json.dumps(_example(schema), ensure_ascii=False)
    said = _first_sentence(schema.get("description", ""))
    return Fault(in_spec(path), f"`{key}` is missing", f'add it{said}. For example: "{key}": {example}')


def _first_sentence(description: str) -> str:
    return f": {description.strip().rstrip('.').split('. ')[0]}" if description else ""


def _unknown(path: Path, data: Any) -> Fault:
    key, parent = str(path[-1]), path[:-1]
    present = _value(parent, data)
    known = _node_options(_schema_at(parent, data) or {}, present)
    valid = [name for option in known for name in option.get("properties", {})]
    home = [name for name, node in _root()["properties"].items() if _has_property(node, key)]
    close = difflib.get_close_matches(key, valid, 1)
    if close and close[0] in present:
        remedy = f"remove it; `{close[0]}` is there already"
    elif home and not close:
        remedy = f"it belongs to `{home[0]}`; move it there"
    else:
        remedy = _nearest(key, valid, "remove it; the keys here are")
    return Fault(in_spec(path), f"unknown key `{key}`", remedy)


def _has_property(node: dict[str, Any], key: str) -> bool:
    return any(key in option.get("properties", {}) for option in options(node))


def _wrong_op(error: Any, path: Path) -> Fault:
    expected = error.get("ctx", {}).get("expected_tags") or ""
    names = [name.strip("' ") for name in expected.split(",")]
    if error["type"] == "union_tag_not_found":
        return Fault(in_spec(path), "`op` is missing", 'name the operation first. For example: "op": "clip"')
    tag = str(error["ctx"]["tag"])
    return Fault(in_spec((*path, "op")), f"unknown operation `{tag}`", _nearest(tag, names, "one of"))


def _unwanted(path: Path, data: Any) -> Fault:
    """A value that is not what the schema wants there."""
    schema, value = _schema_at(path, data) or {}, _value(path, data)
    if path == ("schema_version",):
        remedy = 'write "1.0"; if the model was made for a later format, update ModalityConversion'
        return Fault(in_spec(path), f"found {_found(value)}, which this version does not read", remedy)
    names = [name for option in options(schema) for name in _names(option)]
    close = difflib.get_close_matches(str(value), names, 1) if isinstance(value, str) else []
    remedy = f"did you mean `{close[0]}`? Wanted: {wanted(schema)}" if close else f"wanted: {wanted(schema)}"
    if any("pattern" in option for option in options(schema)):
        remedy = f"wanted: {schema['description'].rstrip('.')}. For example: {json.dumps(_example(schema))}"
    return Fault(in_spec(path), f"found {_found(value)}", remedy)


def _nearest(word: str, valid: Sequence[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word, valid, 1) or [v for v in valid if v.lower() == word.lower()]
    names = ", ".join(f"`{name}`" for name in valid)
    return f"did you mean `{close[0]}`?" if close else f"{otherwise} {names}"


def _found(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, which JSON does not have"
    if isinstance(value, str):
        return f"the text {as_json(value)}"
    if isinstance(value, (list, dict)):
        size = f"a list of {len(value)}" if isinstance(value, list) else "an object"
        return f"{size}, {as_json(value)}"
    return as_json(value)


def as_json(value: Any) -> str:
    """A value as it stands in the file, shortened where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _value(path: Path, data: Any) -> Any:
    for part in path:
        data = data[part]
    return data


# --- the JSON Schema as a source of words -----------------------------------------------------------------------------


@cache
def _root() -> dict[str, Any]:
    from .schema import json_schema

    return json_schema()


def options(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives of a part of the JSON Schema, references resolved."""
    if "$ref" in node:
        node = {**_root()["$defs"][node["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in node.items() if k != "$ref"}}
    alternatives = node.get("anyOf") or node.get("oneOf")
    return [node] if alternatives is None else [option for a in alternatives for option in options(a)]


def _is_op(option: dict[str, Any], op: Any) -> bool:
    named = option.get("properties", {}).get("op")
    return named is None or named.get("const") == op


def _schema_at(path: Path, data: Any) -> dict[str, Any] | None:
    """The schema of the value at a path, or None where the schema knows no such place."""
    node: dict[str, Any] = _root()
    for depth, part in enumerate(path):
        children = [child for o in _node_options(node, _value(path[:depth], data)) if (child := _child(o, part))]
        if not children:
            return None
        node = children[0]
    return node


def _node_options(node: dict[str, Any], value: Any) -> list[dict[str, Any]]:
    op = value.get("op") if isinstance(value, dict) else None
    return [option for option in options(node) if _is_op(option, op)]


def _child(option: dict[str, Any], part: str | int) -> dict[str, Any] | None:
    if isinstance(part, int):
        entries = option.get("prefixItems", [])
        return entries[part] if part < len(entries) else option.get("items")
    other = option.get("additionalProperties")
    return option.get("properties", {}).get(part) or (other if isinstance(other, dict) else None)


def _names(option: dict[str, Any]) -> list[str]:
    return [str(name) for name in option.get("enum", [option["const"]] if "const" in option else [])]


def wanted(schema: dict[str, Any]) -> str:
    """What a part of the JSON Schema accepts, in words."""
    said = list(dict.fromkeys(_one_wanted(option) for option in options(schema)))
    return " or ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def _one_wanted(option: dict[str, Any]) -> str:
    if "const" in option or "enum" in option:
        names = option.get("enum", [option.get("const")])
        quoted = [json.dumps(name) for name in names]
        return quoted[0] if len(quoted) == 1 else f"one of {', '.join(quoted)}"
    kind = option.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _bounds(option)
    if kind == "array":
        return _wanted_list(option)
    if kind == "object":
        keys = ["op"] if "op" in option.get("properties", {}) else option.get("required", [])
        return "an object" + (f" with {', '.join(f'`{key}`' for key in keys)}" if keys else "")
    return {"boolean": "true or false", "string": _text(option), "null": "null"}.get(str(kind), "another value")


def _text(option: dict[str, Any]) -> str:
    return "a text that is not empty" if option.get("minLength") else "a text"


def _bounds(option: dict[str, Any]) -> str:
    if "exclusiveMinimum" in option:
        return f" above {option['exclusiveMinimum']:g}"
    low, high = option.get("minimum"), option.get("maximum", option.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}" if "maximum" in option else f", {low:g} or more and below {high:g}"
    return f", {low:g} or more" if low is not None else ""


def _wanted_list(option: dict[str, Any]) -> str:
    entries: list[dict[str, Any]] = option.get("prefixItems") or [option.get("items", {})]
    low, high = option.get("minItems", 0), option.get("maxItems")
    count = f" of {low}" if low == high else f" of {low} to {high}" if high else " of one or more" if low else ""
    return f"a list{count} (each {wanted(entries[0])})"


def _example(schema: dict[str, Any]) -> Any:
    """A valid value; of an object, its required keys."""
    option = next((o for o in options(schema) if o.get("type") != "null"), {})
    for source in (schema, option):
        if "examples" in source:
            return source["examples"][0]
    if "const" in option or "enum" in option:
        return option.get("enum", [option.get("const")])[0]
    kind = option.get("type")
    if kind == "object":
        if isinstance(option.get("additionalProperties"), dict) and "propertyNames" in option:
            return {_example(option["propertyNames"]): _example(option["additionalProperties"])}
        return {key: _example(option["properties"][key]) for key in option.get("required", [])}
    if kind == "array":
        entries: Iterable[dict[str, Any]] = option.get("prefixItems") or [option["items"]] * option.get("minItems", 0)
        return [_example(entry) for entry in entries]
    return {"integer": 1, "number": 1, "boolean": True}.get(str(kind), "...")
