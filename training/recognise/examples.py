"""Examples without end, and those that were made, on disk: what the network sees of each takes 150 kB."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from training.recognise import augment, others
from training.recognise.augment import Example
from training.recognise.heads import Sketch

_ALIKE = (Modality.T1, Modality.T1CE)
CHUNK = 50
"""Examples in a file."""


@dataclass
class Draws:
    """Examples of people at random."""

    people: Sequence[Sketch]
    others: float
    """Fraction that is no head, or no plain scan of one."""
    rng: np.random.Generator

    def one(self) -> Example:
        """A new example; T1 with and without contrast agent, which differ least, are shown more often."""
        sketch = self.people[int(self.rng.integers(len(self.people)))]
        if self.rng.random() < self.others:
            return others.shown(sketch, self.rng)
        kinds = sorted(set(sketch.kinds))
        weights = np.array([1.6 if kind in _ALIKE else 1.0 for kind in kinds])
        kind = kinds[int(self.rng.choice(len(kinds), p=weights / weights.sum()))]
        places = [place for place, own in enumerate(sketch.kinds) if own is kind]
        return augment.shown(sketch, places[int(self.rng.integers(len(places)))], self.rng)


@dataclass(frozen=True)
class Table:
    """Many examples, a row each."""

    profiles: NDArray[np.float32]
    blocks: NDArray[np.float16]
    truths: NDArray[np.float32]
    """As `Truth.row`."""

    def __len__(self) -> int:
        return len(self.truths)

    def __add__(self, other: "Table") -> "Table":
        return Table(
            np.concatenate([self.profiles, other.profiles]),
            np.concatenate([self.blocks, other.blocks]),
            np.concatenate([self.truths, other.truths]),
        )

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "Table":
        """From examples."""
        return cls(
            np.stack([example.view.profile for example in examples]),
            np.stack([example.view.blocks for example in examples]).astype(np.float16),
            np.stack([example.truth.row() for example in examples]),
        )


def make_examples(people: Sequence[Sketch], folder: Path, count: int, share: float, seed: int) -> Iterator[Path]:
    """Write the files that are missing of `count` examples, a fraction `share` of which is something else."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-count // CHUNK)):
        file = folder / f"{number:04}.npz"
        if file.is_file():
            continue
        draws = Draws(people, share, np.random.default_rng([seed, number]))
        yield write_examples(folder, [draws.one() for _ in range(CHUNK)], file.name)


def write_examples(folder: Path, examples: Sequence[Example], name: str = "0000.npz") -> Path:
    """One file of examples."""
    folder.mkdir(parents=True, exist_ok=True)
    file, made = folder / name, Table.of(examples)
    unfinished = file.with_suffix(".partial.npz")
    np.savez(unfinished, profiles=made.profiles, blocks=made.blocks, truths=made.truths)
    unfinished.replace(file)
    return file


def read_examples(folder: Path) -> Table:
    """All examples of a folder."""
    files = [file for file in sorted(folder.glob("*.npz")) if not file.name.endswith(".partial.npz")]
    parts = []
    for file in files:
        with np.load(file) as held:
            parts.append((held["profiles"], held["blocks"], held["truths"]))
    profiles, blocks, truths = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Table(profiles, blocks, truths)
