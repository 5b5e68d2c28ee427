"""Simulate many cases onto the disk, one process per core; a case that is there already is left alone."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from training.config import ConfigError
from training.data.cases import write_case
from training.data.scale import normalise_source, normalise_target
from training.data.split import Split
from training.simulation.anatomy import head_from_labels, read_labels
from training.simulation.case import CaseSettings, simulate
from training.simulation.settings import SimulateSettings


@dataclass(frozen=True)
class Batch:
    """All cases of one label map: they share the reading and the distances."""

    label_map: Path
    folder: Path
    count: int
    seed: int
    settings: CaseSettings

    def names(self) -> list[str]:
        """The folder names of the cases."""
        stem = self.label_map.name.split(".")[0]
        return [f"{stem}_{index:03d}" for index in range(self.count)]


def plan(settings: SimulateSettings, split: Split) -> list[Batch]:
    """The batches of all parts of the split; small parts first, so that training can start on time."""
    batches = []
    for part, count in sorted(settings.counts.items(), key=lambda item: item[1]):
        for number in getattr(split.labels, part):
            label_map = settings.labels / f"training_seg_{number:02d}.nii.gz"
            if not label_map.is_file():
                raise ConfigError(f"There is no label map {label_map}.")
            batches.append(Batch(label_map, settings.cases / part, count, settings.seed, settings.case))
    return batches


def _simulate_batch(batch: Batch) -> int:
    """Write the cases of a batch; a case depends on the seed, the label map's name and its number alone."""
    torch.set_num_threads(1)
    missing = [(i, name) for i, name in enumerate(batch.names()) if not (batch.folder / name / "case.json").exists()]
    if not missing:
        return batch.count
    head = head_from_labels(read_labels(batch.label_map))
    for index, name in missing:
        seed = [batch.seed, *batch.label_map.name.encode(), index]
        case = simulate(head, batch.settings, np.random.default_rng(seed))
        write_case(
            batch.folder / name,
            normalise_source(case.source),
            normalise_target(case.target, case.region),
            case.region,
            {"origin": "simulated", "label_map": batch.label_map.name, "seed": batch.seed, "index": index},
        )
    return batch.count


def simulate_all(batches: list[Batch], workers: int | None = None) -> Iterator[int]:
    """Run all batches; yields the number of cases of each finished one."""
    workers = workers or os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_simulate_batch, batch) for batch in batches]):
            yield done.result()
