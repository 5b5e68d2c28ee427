"""What there is to do: the scans of a folder, a BIDS data set or a table, and a place for each result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..bundle import Bundle
from ..dicom import DicomVolume, Listing, find_volumes
from ..dicom.find import files_below, holds_dicom
from ..errors import Cancelled, ConversionError
from ..image_io import READABLE, real_path, scan_files, suffix, why_refused
from ..modality import Modality, read_sidecar, recognise_file
from . import bids, table
from .case import Case, Refused
from .further import Further, Pattern
from .further import found as found_further
from .places import Inputs, Places, series_folder

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
    _places: Places = field(default_factory=Places)
    _listings: dict[Path, Listing] = field(default_factory=dict)

    def add(self, case: Case) -> None:
        """Add a case, unless its result has the name of another's, or one that this tool needs."""
        reason = self._places.take(case)
        if reason is None:
            self.cases.append(case)
        else:
            self.failed.append(Refused(case.id, reason))

    def listing(self, folder: Path, cancel: Callable[[], bool]) -> Listing:
        """What a folder of DICOM holds; looked through once, however many rows of a table name it."""
        if folder not in self._listings:
            self._listings[folder] = find_volumes(folder, cancel=cancel)
        return self._listings[folder]

    def keep_inputs(self, out: Path) -> None:
        """Leave out the cases whose result would take the place of what any of them reads."""
        read = Inputs(self.cases)
        cases, self.cases = self.cases, []
        for case in cases:
            if (reason := read.harmed_by(case, out)) is None:
                self.cases.append(case)
            else:
                self.failed.append(Refused(case.id, reason))


def plan(given: Path, out: Path, question: Question, cancel: Callable[[], bool] = lambda: False) -> Plan:
    """The cases of a folder, a BIDS data set (a folder with dataset_description.json), or a table (.csv, .tsv).

    Nothing below `out` is taken as input. Raises ConversionError where `given` is none of these.
    """
    if not given.exists():
        raise ConversionError(f"{given} does not exist. Check the path.")
    if given.is_file():
        made = Plan("table", given.parent)
        for row in table.rows(given):
            _add_row(row, made, question, cancel)
        made.keep_inputs(out)
        return made
    if real_path(given).is_relative_to(real_path(out)):
        raise ConversionError(f"{given} lies in the output folder {out}. Choose an output folder beside it, or inside.")
    made = Plan("bids" if bids.is_dataset(given) else "folder", given)
    for path in _scans(given, out, made):
        _add_file(path, made, question)
    if made.kind == "folder":
        _add_series(given, out, made, question, cancel)
    made.cases.sort(key=lambda case: case.id)
    return made


def _scans(root: Path, out: Path, made: Plan) -> Iterator[Path]:
    """Files that are scans by their names."""
    below = real_path(out)
    for path in bids.scans(root) if made.kind == "bids" else files_below(root):
        if suffix(path) in READABLE and below not in real_path(path).parents:
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
    files = tuple(file for scan in (path, *(other for _, other in further)) for file in scan_files(scan))
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
    listing, below = find_volumes(root, cancel=cancel), real_path(out)
    for path, reason in listing.damaged:
        made.failed.append(Refused(path.relative_to(root).as_posix(), f"The file {reason}."))
    damaged = {path.parent for path, _ in listing.damaged}
    for volume in listing.volumes:
        if below in real_path(volume.paths[0]).parents:
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
        elif damaged and not damaged.isdisjoint(path.parent for path in volume.paths):
            made.failed.append(Refused(id, "A damaged file lies in its folder, which may belong to it."))
        else:
            bundle = question.model_for(modality)
            place = PurePosixPath(folder.as_posix()) / series_folder(volume.id, question.target)
            source = volume.paths[0].parent if _in_one_folder(volume) else root
            model, paths = (bundle.spec.id, bundle.hash), (volume.paths, volume.siblings)
            made.add(Case(id, source, modality, place, *model, volume.id, paths[0], siblings=paths[1]))


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


def _add_row(row: table.Row, made: Plan, question: Question, cancel: Callable[[], bool]) -> None:
    """A row of a table; whatever is wrong with it is this row's alone."""
    try:
        if row.fault:
            raise ConversionError(row.fault)
        if not row.source.exists():
            raise ConversionError(f"{row.source} does not exist.")
        volume = None
        if row.source.is_dir():
            from ..dicom import choose

            volume = choose(made.listing(row.source, cancel), row.series, row.modality or question.source)
            modality = row.modality or question.source or volume.found.modality
        else:
            found = recognise_file(row.source)
            modality = row.modality or question.source or (found[0] if found else None)
        if modality is None:
            raise ConversionError("Nothing says what kind of scan it is. Say so in the column `from`, or with --from.")
        place = row.place or _place_of(row, volume, question.target)
        further = _further_of(row, modality)
        bundle = question.model_for(modality, *(other for other, _ in further))
        series, files = (volume.id, volume.paths) if volume else (None, scan_files(row.source))
        files = (*files, *(file for _, path in further for file in scan_files(path)))
        siblings = volume.siblings if volume else ()
        model = bundle.spec.id, bundle.hash
        made.add(Case(row.id, row.source, modality, place, *model, series, files, row.mask, {}, further, siblings))
    except Cancelled:
        raise
    except ConversionError as error:
        made.failed.append(Refused(row.id, str(error)))
    except (OSError, ValueError) as error:  # a name that no system can have
        made.failed.append(Refused(row.id, f"It cannot be looked at: {why_refused(error)}."))


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
    return start / series_folder(volume.id, target) if volume else beside(start, target)
