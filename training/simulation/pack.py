"""Simulate many cases onto the disk, one process per core; a case that is there already is left alone."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.cases import MARK, write_case
from training.data.regions import BRAIN_REGIONS
from training.data.split import Part, Split, complete_split, read_split
from training.simulation.anatomy import Head, head_from_labels, read_labels
from training.simulation.case import Case, simulate
from training.simulation.coarser import coarser
from training.simulation.settings import SimulateSettings

SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
"""Files of a folder that are taken for label maps."""


@dataclass(frozen=True)
class Batch:
    """All cases of one label map: they share the reading and the distances."""

    label_map: Path
    person: str
    """Whom it shows, as the split names people."""
    part: Part
    count: int
    settings: SimulateSettings

    @property
    def folder(self) -> Path:
        """Where its cases go."""
        return self.settings.cases / self.part

    @property
    def slices(self) -> int | None:
        """How many slices of each case are kept; None: all."""
        return None if self.part == "test" else self.settings.slices

    @property
    def spacing(self) -> int:
        """Side of the voxels of each case in mm."""
        return 1 if self.part == "test" else self.settings.spacing

    def names(self) -> list[str]:
        """The folder names of the cases."""
        stem = self.label_map.name.split(".")[0]
        return [f"{stem}_{index:03d}" for index in range(self.count)]

    def missing(self) -> list[tuple[int, str]]:
        """Number and name of the cases that are not complete yet."""
        return [(i, name) for i, name in enumerate(self.names()) if not (self.folder / name / MARK).exists()]


def label_maps(folder: Path) -> list[Path]:
    """The label maps of a folder, by name."""
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder} with label maps.")
    found = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES))
    if not found:
        raise ConfigError(f"The folder {folder} has no label maps ({', '.join(SUFFIXES)}).")
    return found


def person_of(label_map: Path) -> str:
    """Who a label map shows, as the split names people: the shipped maps by number, others by file name."""
    name = label_map.name.split(".")[0]
    shipped = re.fullmatch(r"training_seg_(\d+)", name)
    return f"labels {int(shipped.group(1))}" if shipped else f"heads {name.replace(' ', '_')}"


def plan(settings: SimulateSettings, split: Split | None = None) -> list[Batch]:
    """The batches of all parts of the split; small parts first, so that training can start on time.

    Label maps whose person the split does not name are assigned to parts; `split.yaml` beside the cases says how.
    """
    people = {path: person_of(path) for path in label_maps(settings.labels)}
    split = split or read_split()
    if not all(map(split.knows, people.values())):
        split = complete_split(settings.cases / "split.yaml", people.values(), settings.shares, settings.seed)
    batches = [
        Batch(path, person, part, settings.counts[part], settings)
        for path, person in people.items()
        if (part := split.part_of(person)) in settings.counts
    ]
    return sorted((batch for batch in batches if batch.count), key=lambda batch: batch.count)


def keep_slices(case: Case, count: int | None, rng: np.random.Generator) -> Case:
    """A case with only `count` neighbouring axial slices, at a random place that shows brain."""
    depth = case.region.shape[0]
    if count is None or count >= depth:
        return case
    shown = np.flatnonzero(np.isin(case.region, BRAIN_REGIONS).any((1, 2)))
    # The middle slice is drawn, so that the top of the brain and the neck below it are seen too.
    middle = int(rng.integers(shown[0] - count // 6, shown[-1] + count // 6 + 1))
    first = int(np.clip(middle - count // 2, 0, depth - count))
    kept = slice(first, first + count)

    def cut(arrays: dict[Modality, NDArray[np.float32]]) -> dict[Modality, NDArray[np.float32]]:
        return {modality: array[kept] for modality, array in arrays.items()}

    about = case.about | {"first_slice": first}
    return Case(cut(case.sources), cut(case.targets), case.region[kept], case.tissue[kept], about, case.disease[kept])


def write_simulated(batch: Batch, head: Head, index: int, name: str) -> None:
    """Simulate and write one case; it depends on the seed, the label map's name and its number alone."""
    settings = batch.settings
    rng = np.random.default_rng([settings.seed, *batch.label_map.name.encode(), index])
    case = coarser(keep_slices(simulate(head, settings.case, rng), batch.slices, rng), batch.spacing)
    about: dict[str, Any] = {
        "person": batch.person,
        "origin": "simulated",
        "label_map": batch.label_map.name,
        "seed": settings.seed,
        "index": index,
        "spacing": [float(batch.spacing)] * 3,
        **case.about,
    }
    write_case(batch.folder / name, case.sources, case.targets, case.region, about, case.tissue, case.disease)


def _simulate_batch(batch: Batch) -> int:
    """Write the missing cases of one label map; gives their number."""
    torch.set_num_threads(1)
    missing = batch.missing()
    head = head_from_labels(read_labels(batch.label_map), extra=batch.settings.extra_labels)
    for index, name in missing:
        write_simulated(batch, head, index, name)
    return len(missing)


def simulate_all(batches: list[Batch], workers: int | None = None) -> Iterator[int]:
    """Run all batches; yields the number of cases of each finished one, those that were there before first.

    Raises ConfigError where a label map cannot be used, naming it.
    """
    yield sum(batch.count - len(batch.missing()) for batch in batches)
    left = [batch for batch in batches if batch.missing()]
    if not left:
        return
    workers = min(workers or os.cpu_count() or 1, len(left))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        runs = {pool.submit(_simulate_batch, batch): batch for batch in left}
        for run in as_completed(runs):
            try:
                yield run.result()
            except ConfigError as error:
                pool.shutdown(cancel_futures=True)
                raise ConfigError(f"{runs[run].label_map.name}: {error}") from error
