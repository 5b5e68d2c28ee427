"""What there is to do: the scans of a folder, a BIDS data set or a table, and a place for each result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..bundle import Bundle
from ..dicom import DicomVolume, find_volumes
from ..dicom.find import files_below, holds_dicom
from ..errors import ConversionError
from ..image_io import READABLE, suffix
from ..modality import Modality, read_sidecar, recognise_file
from . import bids, table
from .case import Case, Refused
from .further import Further, Pattern
from .further import found as found_further

# A file of a kind that is read but not written has its result in the nearest one that is.
_WRITTEN_AS = {".nhdr": ".nrrd", ".mhd": ".mha"}


@dataclass(frozen=True)
class Question:
    """What is asked of every scan."""

    target: Modality
    source: Modality | None
    """Only scans of this kind, or None for all of which a model makes the target."""
    model_for: Callable[..., Bundle]
    """The model for scans of these modalities, the main one first. Raises ConversionError where there is none."""
    further: tuple[Pattern, ...] = ()
    """Where each file's further scans lie."""


@dataclass
class Plan:
    """The cases of a run, and what is none."""

    kind: str
    """`folder`, `bids` or `table`."""
    root: Path
    cases: list[Case] = field(default_factory=list)
    failed: list[Refused] = field(default_factory=list)
    """Scans that should be cases, but cannot."""
    left_out: list[Refused] = field(default_factory=list)
    """Files that need not be: of another kind, synthetic themselves."""
    _places: dict[PurePosixPath, str] = field(default_factory=dict)

    def add(self, case: Case) -> None:
        """Add a case, unless its result would have the name of another's."""
        other = self._places.setdefault(case.out, case.id)
        if other is not case.id:
            self.failed.append(Refused(case.id, f"Its result would have the same name as that of {other}."))
            return
        self.cases.append(case)


def plan(given: Path, out: Path, question: Question, cancel: Callable[[], bool] = lambda: False) -> Plan:
    """The cases of a folder, a BIDS data set (a folder with dataset_description.json), or a table (.csv, .tsv).

    Nothing below `out` is taken as input. Raises ConversionError where `given` is none of these.
    """
    if not given.exists():
        raise ConversionError(f"{given} does not exist. Check the path.")
    if given.is_file():
        made = Plan("table", given.parent)
        for row in table.rows(given):
            _add_row(row, made, question)
        return made
    made = Plan("bids" if bids.is_dataset(given) else "folder", given)
    for path in _scans(given, out, made):
        _add_file(path, made, question)
    if made.kind == "folder":
        _add_series(given, out, made, question, cancel)
    made.cases.sort(key=lambda case: case.id)
    return made


def _scans(root: Path, out: Path, made: Plan) -> Iterator[Path]:
    """Files that are scans by their names."""
    below = out.resolve()
    for path in bids.scans(root) if made.kind == "bids" else files_below(root):
        if suffix(path) in READABLE and below not in path.resolve().parents:
            yield path


def _add_file(path: Path, made: Plan, question: Question) -> None:
    id = path.relative_to(made.root).as_posix()
    if read_sidecar(path).get("synthetic"):
        made.left_out.append(Refused(id, "It is synthetic itself."))
        return
    found = recognise_file(path)
    if found is None:
        made.left_out.append(Refused(id, "Neither its side-car nor its name says what kind of scan it is."))
        return
    modality = found[0]
    if (reason := _unwanted(modality, question)) is not None:
        made.left_out.append(Refused(id, reason))
        return
    try:
        bundle = question.model_for(modality, *(pattern.modality for pattern in question.further))
    except ConversionError as error:
        made.left_out.append(Refused(id, str(error)))
        return
    try:
        further = found_further(path, question.further)
    except ConversionError as error:
        made.failed.append(Refused(id, str(error)))
        return
    if made.kind == "bids":
        place = bids.place(path.relative_to(made.root), modality, question.target)
        others = [Path(os.path.relpath(other, made.root)) for _, other in further]
        sidecar = bids.sidecar(path.relative_to(made.root), modality, question.target, others)
    else:
        place, sidecar = beside(PurePosixPath(id), question.target), {}
    files = (path, *(other for _, other in further))
    made.add(Case(id, path, modality, place, bundle.spec.id, bundle.hash, None, files, None, sidecar, further))


def beside(path: PurePosixPath, target: Modality) -> PurePosixPath:
    """`a/scan_T1w.nii.gz` becomes `a/scan_T1w_synthetic-T2.nii.gz`."""
    ending = suffix(Path(path.name))
    stem = path.name[: len(path.name) - len(ending)]
    return path.with_name(f"{stem}_synthetic-{target}{_WRITTEN_AS.get(ending, ending)}")


def _add_series(root: Path, out: Path, made: Plan, question: Question, cancel: Callable[[], bool]) -> None:
    """Every DICOM series below a folder that is of the kind wanted."""
    if not holds_dicom(root):
        return
    listing, below = find_volumes(root, cancel=cancel), out.resolve()
    for path, reason in listing.damaged:
        made.failed.append(Refused(path.relative_to(root).as_posix(), f"The file {reason}."))
    for volume in listing.volumes:
        if below in volume.paths[0].resolve().parents:
            continue
        folder = volume.paths[0].parent.relative_to(root)
        id = f"{folder.as_posix()} series {volume.id}"
        modality, reason = _modality_of(volume, question)
        if modality is None:
            made.left_out.append(Refused(id, reason))
        elif question.further:
            made.failed.append(Refused(id, "Further scans are looked for beside files, not beside DICOM series."))
        elif volume.refusal:
            made.failed.append(Refused(id, f"The series {volume.refusal}"))
        elif any(path.parent in {other.parent for other in volume.paths} for path, _ in listing.damaged):
            made.failed.append(Refused(id, "A damaged file lies in its folder, which may belong to it."))
        else:
            name = f"synthetic-{question.target}_{volume.id.replace('#', '_')}"
            bundle = question.model_for(modality)
            place = PurePosixPath(folder.as_posix()) / name
            source = volume.paths[0].parent if _in_one_folder(volume) else root
            made.add(Case(id, source, modality, place, bundle.spec.id, bundle.hash, volume.id, volume.paths))


def _in_one_folder(volume: DicomVolume) -> bool:
    return len({path.parent for path in volume.paths}) == 1


def _modality_of(volume: DicomVolume, question: Question) -> tuple[Modality | None, str]:
    """The modality of a volume that is wanted; else None and the reason."""
    if volume.is_synthetic:
        return None, "It is synthetic itself."
    modality = volume.found.modality
    if modality is None:
        return None, volume.found.why or "Its tags do not say what kind of scan it is."
    reason = _unwanted(modality, question)
    if reason is None:
        try:
            question.model_for(modality, *(pattern.modality for pattern in question.further))
        except ConversionError as error:
            reason = str(error)
    return (modality, "") if reason is None else (None, reason)


def _unwanted(modality: Modality, question: Question) -> str | None:
    if question.source is not None and modality != question.source:
        return f"It is a {modality}; wanted were {question.source}."
    return f"It is a {modality} already." if modality == question.target else None


def _add_row(row: table.Row, made: Plan, question: Question) -> None:
    """A row of a table; whatever is wrong with it is this row's alone."""
    try:
        if row.fault:
            raise ConversionError(row.fault)
        if not row.source.exists():
            raise ConversionError(f"{row.source} does not exist.")
        volume = None
        if row.source.is_dir():
            from ..dicom import choose

            volume = choose(find_volumes(row.source), row.series, row.modality or question.source)
            modality = row.modality or question.source or volume.found.modality
        else:
            found = recognise_file(row.source)
            modality = row.modality or question.source or (found[0] if found else None)
        if modality is None:
            raise ConversionError("Nothing says what kind of scan it is. Say so in the column `from`, or with --from.")
        place = row.place or _place_of(row, volume, question.target)
        further = _further_of(row, modality)
        bundle = question.model_for(modality, *(other for other, _ in further))
        series, files = (volume.id, volume.paths) if volume else (None, (row.source,))
        files = (*files, *(path for _, path in further))
        model = bundle.spec.id, bundle.hash
        made.add(Case(row.id, row.source, modality, place, *model, series, files, row.mask, {}, further))
    except ConversionError as error:
        made.failed.append(Refused(row.id, str(error)))


def _further_of(row: table.Row, modality: Modality) -> Further:
    """The further scans that a row names. Raises ConversionError where one is not there, or called as the main scan is."""
    for other, path in row.further:
        if other == modality:
            raise ConversionError(f"Its column {other} names a second {other}. Leave it empty.")
        if not path.is_file():
            raise ConversionError(f"{path}, its {other}, is no file. A further scan is a file, not a DICOM folder.")
    return row.further


def _place_of(row: table.Row, volume: DicomVolume | None, target: Modality) -> PurePosixPath:
    """Where the result of a row goes that does not say so: as the input lies below the table, else by its name alone."""
    given = PurePosixPath(row.id)
    inside = not given.is_absolute() and ".." not in given.parts and not Path(row.id).is_absolute()
    start = given if inside else PurePosixPath(row.source.name)
    return start / f"synthetic-{target}_{volume.id.replace('#', '_')}" if volume else beside(start, target)
