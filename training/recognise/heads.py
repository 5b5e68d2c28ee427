"""Simulated people for the recogniser: noiseless scans on voxels of 3 mm, and what a stripping tool would leave.

Making a person takes seven seconds, painting it under another protocol a quarter of one; so each is painted often, and
scanner, field of view and stripping are drawn anew each time it is shown (`augment`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from modality_conversion.modality import Modality
from modality_conversion.recognise_input import SPACING
from training.data.split import Part, read_split
from training.recognise.settings import HeadSettings
from training.simulation import ct
from training.simulation.anatomy import Head, head_from_labels, is_any, is_brain, read_labels
from training.simulation.case import Person, ct_image, make_person, mr_signal
from training.simulation.fields import smooth_field, torch_generator
from training.simulation.outside import face_cut, stripped_brain
from training.simulation.pack import label_maps, person_of
from training.simulation.protocols import random_protocol, vary_outside
from training.simulation.settings import CaseSettings

KEPT = ("stripped_0", "stripped_1", "defaced_0", "defaced_1")
"""What is left by two stripping and two defacing tools."""


@dataclass(frozen=True)
class Sketch:
    """One person on voxels of 3 mm, (z, y, x) toward superior, anterior and right."""

    person: str
    scans: NDArray[np.float16]
    """(n, z, y, x): MR signal, its 99th percentile 1, or HU."""
    kinds: tuple[Modality, ...]
    """What each scan is."""
    kept: NDArray[np.float16]
    """(4, z, y, x): the share of each voxel that is left, in the order of `KEPT`."""
    brain: NDArray[np.float16]
    """Share of brain."""


def coarse(volume: Tensor, factor: int = round(SPACING)) -> NDArray[np.float16]:
    """Means over cubes of `factor` voxels; what is left over at the ends is dropped."""
    pooled = functional.avg_pool3d(volume[None, None].float(), factor)[0, 0]
    return pooled.numpy().astype(np.float16)


def paint_mr(person: Person, kind: Modality, settings: CaseSettings, rng: np.random.Generator) -> Tensor:
    """A noiseless MR scan under a random protocol, with the coil's and the flowing fluid's share in it."""
    protocol = random_protocol(kind, rng)
    table = protocol.table(person.deviations, settings.source_spread)
    vary_outside(table, rng)
    volume = mr_signal(person, protocol, table)
    if kind is Modality.FLAIR and rng.random() < settings.csf_flow:
        moving = is_any(person.head.codes, ("csf", "ventricle"))
        patches = smooth_field(person.shape, 16, torch_generator(rng))[0] - float(rng.uniform(0.3, 1.2))
        volume += moving * patches.clamp_min(0) * float(rng.uniform(0.05, 0.3) * volume.max())
    depth = person.head.distance("depth")
    volume *= 1 + float(rng.uniform(*settings.surface)) * (-depth / 18).exp()
    return volume / volume[::4, ::4, ::4].flatten().quantile(0.99).clamp_min(1e-6)


def paint_ct(person: Person, settings: CaseSettings, rng: np.random.Generator) -> Tensor:
    """A noiseless CT in HU, now and then with contrast agent or a head rest."""
    agent = float(rng.uniform(0.5, 1.3)) if rng.random() < settings.ct_agent else 0.0
    volume = ct_image(person, scale=1.0, agent=agent)
    return ct.head_rest(volume, rng) if rng.random() < settings.ct_rest else volume


def sketch(original: Head, name: str, settings: HeadSettings, rng: np.random.Generator) -> Sketch:
    """A new person made of a head, and its scans."""
    person, _ = make_person(original, settings.case, rng)
    kinds = [kind for kind, count in settings.scans.items() for _ in range(count)]
    scans = [
        coarse(
            paint_ct(person, settings.case, rng) if kind is Modality.CT else paint_mr(person, kind, settings.case, rng)
        )
        for kind in kinds
    ]
    tools = [stripped_brain(person.head, rng) for _ in range(2)] + [face_cut(person.head, rng) for _ in range(2)]
    sulci = is_any(person.head.codes, ("csf", "vein", "artery")) & (person.head.distance("to_brain") < 1)
    return Sketch(
        name,
        np.stack(scans),
        tuple(kinds),
        np.stack([coarse(kept) for kept in tools]),
        coarse(is_brain(person.head.codes) | sulci),
    )


def make_sketches(settings: HeadSettings, part: Part) -> Iterator[Path]:
    """Write what is missing of a part of the split; yields each file."""
    torch.set_num_threads(1)
    split = read_split()
    folder = settings.folder / part
    folder.mkdir(parents=True, exist_ok=True)
    for path in label_maps(settings.labels):
        if split.part_of(person_of(path)) != part:
            continue
        stem = path.name.split(".")[0]
        files = [folder / f"{stem}_{index:02}.npz" for index in range(settings.people[part])]
        missing = [file for file in files if not file.is_file()]
        if not missing:
            continue
        original = head_from_labels(read_labels(path))
        for file in missing:
            rng = np.random.default_rng([settings.seed, *file.stem.encode()])
            made = sketch(original, person_of(path), settings, rng)
            unfinished = file.with_suffix(".partial.npz")
            np.savez(
                unfinished,
                person=made.person,
                scans=made.scans,
                kinds=[kind.value for kind in made.kinds],
                kept=made.kept,
                brain=made.brain,
            )
            unfinished.replace(file)
            yield file


def read_sketches(folder: Path) -> list[Sketch]:
    """All people of a folder, by name."""
    found = []
    for file in sorted(folder.glob("*.npz")):
        if file.name.endswith(".partial.npz"):
            continue
        with np.load(file) as held:
            kinds = tuple(Modality(str(kind)) for kind in held["kinds"])
            found.append(Sketch(str(held["person"]), held["scans"], kinds, held["kept"], held["brain"]))
    return found
