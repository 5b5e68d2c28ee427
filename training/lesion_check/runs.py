"""Many pairs of scans, one after the other: sampled to fit, or tried to measure."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from modality_conversion.errors import ConversionError
from modality_conversion.lesion_finder import Discriminant
from modality_conversion.modality import Modality
from training.config import ConfigError
from training.lesion_check.known import known_rows
from training.lesion_check.measure import KINDS, Trial, known_trial, trial
from training.lesion_check.samples import Rows, sample
from training.lesion_check.scenes import Scene, scenes

Pair = tuple[Modality, Modality]
_TRIES = 20
_PAIRS_A_SCENE = 2
"""Few, since heads differ more than their pairs do."""


def _endless(folders: Sequence[Path], step: float, rng: np.random.Generator, held_back: bool | None) -> Iterator[Scene]:
    while True:
        yield from scenes(folders, step, rng, held_back)


def _pairs(scene: Scene, rng: np.random.Generator, same: bool) -> list[Pair]:
    every = [(a, b) for a in scene.scans for b in scene.truths if same or a is not b]
    return [every[n] for n in rng.permutation(len(every))]


def sampled(
    folders: Sequence[Path],
    count: int,
    step: float,
    rng: np.random.Generator,
    by: Discriminant | None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Rows]:
    """Rows of so many pairs of people who are not held back; scans of the same modality count as pairs too."""
    rows: list[Rows] = []
    for scene in _endless(folders, step, rng, False):
        for source, target in _pairs(scene, rng, same=True)[:_PAIRS_A_SCENE]:
            found = sample(scene, source, target, rng, by)
            if found is not None:
                rows.append(found)
            if len(rows) >= count:
                return rows
        tell(f"{scene.name}: {len(rows)} of {count} pairs")
    return rows


def known_sampled(
    folders: Sequence[Path],
    count: int,
    step: float,
    rng: np.random.Generator,
    tell: Callable[[str], None] = lambda _: None,
    held_back: bool | None = False,
) -> list[Rows]:
    """Rows of the outlined lesions of so many pairs, for the judge; of people who are not held back.

    Raises ConfigError where twenty heads give none.
    """
    rows: list[Rows] = []
    for heads, scene in enumerate(_endless(folders, step, rng, held_back), 1):
        for source, target in _pairs(scene, rng, same=False)[: 2 * _PAIRS_A_SCENE]:
            found = known_rows(scene, source, target, rng)
            if found is not None:
                rows.append(found)
            if len(rows) >= count:
                return rows
        if heads >= _TRIES and not rows:
            raise ConfigError(
                "No pair of scans has a lesion to judge. The cases need sources and targets of two modalities."
            )
        tell(f"{scene.name}: {len(rows)} of {count} pairs")
    return rows


def run_trials(
    folders: Sequence[Path],
    count: int,
    step: float,
    by: Discriminant,
    rng: np.random.Generator,
    tell: Callable[[str], None] = lambda _: None,
    known: bool = False,
    held_back: bool | None = None,
) -> list[Trial]:
    """So many volumes with one fault each, the kinds in turn; a head without a lesion to erase gets one added."""
    done: list[Trial] = []
    for scene in _endless(folders, step, rng, held_back):
        for source, target in _pairs(scene, rng, same=False)[:_PAIRS_A_SCENE]:
            kind = KINDS[len(done) % (2 if known else len(KINDS))]
            try:
                found = (
                    known_trial(scene, source, target, kind, rng)
                    if known
                    else trial(scene, source, target, kind, by, rng) or trial(scene, source, target, "added", by, rng)
                )
            except ConversionError as refusal:  # a pair that the engine would not check for anyone
                tell(f"{scene.name}, {source} to {target}: refused. {refusal}")
                continue
            if found is not None:
                done.append(found)
            if len(done) >= count:
                return done
        tell(f"{scene.name}: {len(done)} of {count} volumes")
    return done
