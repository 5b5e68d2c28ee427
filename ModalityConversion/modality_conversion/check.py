"""Everything that is wrong with a model folder, all at once.

Faults of one kind never hide those of another: files, declaration, the rules between its sections, metadata, model
card, and last the network itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bundle import read_text, sha256_of
from .check_words import SPEC_FILE, Fault, in_finder, in_spec, read_json, read_spec, sections_of

if TYPE_CHECKING:
    from .schema import ConversionSpec, Weights

METADATA_FILE = "configs/metadata.json"
CARD_FILE = "docs/README.md"
CARD_BLANK = "For the author to state:"
"""Stands in a model card where something is left to say."""

# MONAI's mandatory keys, with what each is and an example. MONAI's own check downloads a schema; this one does not.
METADATA_KEYS: dict[str, tuple[str, Any]] = {
    "version": ("version of the model", "1.0.0"),
    "monai_version": ("version of MONAI it was made with", "1.6.0"),
    "pytorch_version": ("version of PyTorch it was made with", "2.6.0"),
    "numpy_version": ("version of NumPy it was made with", "2.0.0"),
    "required_packages_version": ("further packages and their versions", {}),
    "task": ("what it does, in a few words", "Conversion of T1 to CT"),
    "description": ("what it is, in a sentence or two", "A U-Net that converts a T1 of the head to a CT."),
    "authors": ("who made it", "Jane Doe, Example University"),
    "copyright": ("who holds the rights", "Copyright 2026 Jane Doe"),
    "network_data_format": ("what goes into the network and what comes out", {"inputs": {}, "outputs": {}}),
}


@dataclass
class Reading:
    """What a model folder holds, as far as it could be read, and what is wrong with it."""

    spec: ConversionSpec | None = None
    sections: dict[str, Any] = field(default_factory=dict)
    """The valid sections of the declaration, by name."""
    metadata: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def check(folder: Path | str, run: bool = False) -> list[Fault]:
    """Every fault of a model folder, errors first; [] for one that is right.

    With `run` a bundle without errors is run too: on random numbers, and on `tests/golden.npz` where there is one.
    """
    folder = Path(folder).absolute()
    reading = read(folder)
    faults = [*reading.faults, *_weight_faults(folder, reading.sections)]
    finder = None if reading.spec is None else reading.spec.finder
    if finder is not None:
        faults += in_finder(_weight_faults(folder, sections_of(finder)))
    if run and reading.spec is not None and not any(fault.severity == "error" for fault in faults):
        from .check_run import FINDER_GOLDEN_FILE, run_faults

        faults += run_faults(folder, reading.spec)
        if finder is not None:
            faults += in_finder(run_faults(folder, finder, FINDER_GOLDEN_FILE))
    return sorted(dict.fromkeys(faults), key=lambda fault: fault.severity != "error")


def read(folder: Path) -> Reading:
    """Read a model folder, without the content of its weights."""
    reading = Reading()
    try:
        if not folder.is_dir():
            remedy = "give the folder that holds configs/, models/ and docs/"
            what = "this is a file, not a folder" if folder.exists() else "there is no such folder"
            reading.faults.append(Fault(str(folder), what, remedy))
            return reading
        _read_spec(folder, reading)
        _read_metadata(folder, reading)
        reading.faults += _card_faults(folder)
        reading.faults += _links_that_leave(folder)
    except OSError as error:
        remedy = "allow the folder and everything in it to be read"
        reading.faults.append(Fault(str(folder), f"it cannot be read: {error}", remedy))
    return reading


def _weight_faults(folder: Path, sections: Mapping[str, Any]) -> Iterator[Fault]:
    """What only reading the weight files of a stage shows."""
    whole = []
    for number, entry in enumerate(sections.get("weights", ())):
        if _size_fault(folder, number, entry) is None:
            fault = _hash_fault(folder, number, entry)
            if fault is None:
                whole.append(number)
            else:
                yield fault
    if whole:
        from .check_network import network_faults

        yield from network_faults(folder, sections, whole)


# --- configs/ ---------------------------------------------------------------------------------------------------------


def _read_spec(folder: Path, reading: Reading) -> None:
    remedy = "write the declaration, or make one with `modality-conversion models init MODEL.onnx`"
    data = _load(folder, SPEC_FILE, remedy, reading)
    if data is None:
        return
    from .check_rules import rule_faults

    reading.spec, reading.sections, faults = read_spec(data[0])
    reading.faults += [*faults, *rule_faults(reading.sections)]
    for number, entry in enumerate(reading.sections.get("weights", ())):
        if fault := _size_fault(folder, number, entry):
            reading.faults.append(fault)
    finder = None if reading.spec is None else reading.spec.finder
    if finder is not None:
        reading.faults += in_finder(rule_faults(sections_of(finder)))
        sizes = (_size_fault(folder, number, entry) for number, entry in enumerate(finder.weights))
        reading.faults += in_finder(fault for fault in sizes if fault is not None)
    id = reading.sections.get("id")
    if id is not None and id != folder.name:
        what = f"the id is `{id}`, the folder's name is `{folder.name}`"
        reading.faults.append(Fault(in_spec(("id",)), what, "make them the same; the id is what counts", "warning"))


def _read_metadata(folder: Path, reading: Reading) -> None:
    remedy = f"write MONAI's keys there: {', '.join(METADATA_KEYS)}"
    data = _load(folder, METADATA_FILE, remedy, reading)
    if data is None:
        return
    (metadata,) = data
    if not isinstance(metadata, dict):
        reading.faults.append(Fault(METADATA_FILE, "not an object", remedy))
        return
    from .check_words import as_json

    reading.metadata = metadata
    for key, (meaning, example) in METADATA_KEYS.items():
        where, said = f"{METADATA_FILE}: {key}", f'For example: "{key}": {as_json(example)}'
        if key not in metadata:
            reading.faults.append(Fault(where, f"MONAI's key `{key}` is missing", f"add it: {meaning}. {said}"))
        elif not isinstance(metadata[key], type(example)):
            wanted = "an object" if isinstance(example, dict) else "a text"
            what = f"found {as_json(metadata[key])}"
            reading.faults.append(Fault(where, what, f"wanted: {wanted}, {meaning}. {said}"))
    declared, version = reading.sections.get("version"), metadata.get("version")
    if declared is not None and isinstance(version, str) and version != declared:
        what = f"the version is {version} here and {declared} in {SPEC_FILE}"
        reading.faults.append(Fault(f"{METADATA_FILE}: version", what, "make them the same", "warning"))


def _load(folder: Path, name: str, remedy: str, reading: Reading) -> tuple[Any] | None:
    """The content of a JSON file, in a tuple since it may be null; None where it cannot be read."""
    path = folder / name
    if not path.is_file():
        reading.faults.append(Fault(name, "the file is missing", remedy))
        return None
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        reading.faults.append(Fault(name, "the text is not UTF-8", "save the file as UTF-8"))
        return None
    except (OSError, ValueError) as error:
        reading.faults.append(Fault(name, f"the file cannot be read: {error}", "copy it again"))
        return None
    data, faults = read_json(text, name)
    reading.faults += faults
    return (data,) if data is not None or text.strip() == "null" else None


def _card_faults(folder: Path) -> Iterator[Fault]:
    path = folder / CARD_FILE
    if not path.is_file():
        remedy = "write the model card: data, licence, intended use, limits, measured quality"
        yield Fault(CARD_FILE, "the file is missing", remedy, "warning")
        return
    blanks = path.read_text(encoding="utf-8", errors="replace").count(CARD_BLANK)
    if blanks:
        what = f"the model card leaves {blanks} things unsaid"
        yield Fault(CARD_FILE, what, f'search it for "{CARD_BLANK}" and say them', "warning")


# --- files ------------------------------------------------------------------------------------------------------------


def _size_fault(folder: Path, number: int, entry: Weights) -> Fault | None:
    where, path = in_spec(("weights", number)), folder / entry.path
    if not path.exists():
        return Fault(where, f"{entry.path} is missing", "copy the file there, or correct `path`")
    if not path.is_file():
        return Fault(where, f"{entry.path} is not a file", "correct `path`")
    size = path.stat().st_size
    if size < entry.size:
        what = f"{entry.path} is incomplete: {size} bytes instead of {entry.size}"
        return Fault(where, what, f"copy the file again, or, if it was changed on purpose, set `size` to {size}")
    if size > entry.size:
        what = f"{entry.path} is another file: {size} bytes instead of {entry.size}"
        return Fault(where, what, f"copy the right file, or, if it was changed on purpose, set `size` to {size}")
    return None


def _hash_fault(folder: Path, number: int, entry: Weights) -> Fault | None:
    where = in_spec(("weights", number, "sha256"))
    try:
        digest = sha256_of(folder / entry.path)
    except OSError as error:
        return Fault(where, f"{entry.path} cannot be read: {error.strerror}", "allow it to be read, or copy it again")
    if digest == entry.sha256:
        return None
    what = f"the SHA-256 of {entry.path} is not the declared one, so the file is damaged or was replaced"
    return Fault(where, what, f'copy the file again, or, if it was changed on purpose, write "sha256": "{digest}"')


def _links_that_leave(folder: Path) -> Iterator[Fault]:
    """A fault for each link to something outside of the folder; what it leads to is not looked into."""
    root = os.path.realpath(folder)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            # realpath of everything, not only of links: on Windows a junction is a link that does not say so
            target = os.path.realpath(path)
            if target != root and not target.startswith(root + os.sep):
                where = path.relative_to(folder).as_posix()
                yield Fault(where, f"a link to {target}, outside of the bundle", "put a copy of the file in its place")
