"""Which channels of the network's output are kept, and how tiles, planes and weight files of them are put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .feeds import TilePreparation
from .fusion import fuse_planes

if TYPE_CHECKING:
    from .schema import ConversionSpec, Segmentation

CERTAIN = -80.0
"""The log-variance that stands for none, and the logit that stands for never: its exponential is still a float32."""


class Channels(Protocol):
    """The channels of one kind of result. Arrays have the channels kept as first axis, in the order of `numbers`."""

    @property
    def section(self) -> str:
        """The part of the declaration that names them."""
        ...

    @property
    def numbers(self) -> list[int]:
        """The channel numbers, in the order kept."""
        ...

    @property
    def nothing(self) -> list[float]:
        """What they hold where the network did not run."""
        ...

    def after_network(self, output: np.ndarray, start: np.ndarray, preparation: TilePreparation) -> np.ndarray:
        """One tile, shape (channels kept, *box_out), as it is blended with others."""
        ...

    def fused(self, planes: Sequence[np.ndarray], fusion: str) -> np.ndarray:
        """One array of those of several planes, float32."""
        ...

    def averaged(self, runs: Iterable[np.ndarray]) -> np.ndarray:
        """One array of those of several weight files and variants, which come one by one, since each is large."""
        ...


@dataclass(frozen=True)
class ImageChannels:
    """The image, then the uncertainty where the model has one: `log_variance` as it is until the planes are fused."""

    image: int
    uncertainty: int | None = None
    uncertainty_is_log_variance: bool = True
    tells_spread: bool = False
    """Whether the disagreement of several runs is all that is known of the uncertainty."""
    section: str = "output"

    @classmethod
    def of(cls, spec: ConversionSpec, wants_uncertainty: bool) -> ImageChannels:
        """The channels that a declaration names."""
        declared = spec.output.uncertainty if wants_uncertainty else None
        if declared is None:
            return cls(spec.output.channel)
        kind = declared.kind
        return cls(spec.output.channel, declared.channel, kind == "log_variance", tells_spread=kind == "spread")

    @property
    def numbers(self) -> list[int]:
        return [self.image] if self.uncertainty is None else [self.image, self.uncertainty]

    @property
    def nothing(self) -> list[float]:
        """0, and no uncertainty."""
        return [0.0, CERTAIN if self.uncertainty_is_log_variance else 0.0][: len(self.numbers)]

    def after_network(self, output: np.ndarray, start: np.ndarray, preparation: TilePreparation) -> np.ndarray:
        """The output operations of stage `tile`."""
        if not any(op.stage == "tile" for op in preparation.spec.output.ops):
            return output
        image, slope = preparation.finished(output[0], start)
        if len(output) == 1:
            return image[None]
        if not self.uncertainty_is_log_variance:
            return np.stack([image, output[1] * slope])
        with np.errstate(divide="ignore"):
            return np.stack([image, np.maximum(output[1] + 2 * np.log(slope), CERTAIN)])

    def fused(self, planes: Sequence[np.ndarray], fusion: str) -> np.ndarray:
        """The image, and its variance where there is one."""
        image = fuse_planes([plane[0] for plane in planes], fusion)
        if self.uncertainty is None:
            return image[None]
        return np.stack([image, np.mean([self._variance(plane[1]) for plane in planes], axis=0)])

    def averaged(self, runs: Iterable[np.ndarray]) -> np.ndarray:
        """Their mean, and its variance by the law of total variance: the mean of their own, and how far they disagree.

        The disagreement is summed up as by Welford (Note on a Method for Calculating Corrected Sums of Squares, 1962).
        """
        tells = self.tells_spread or self.uncertainty is not None
        total, centre, squares, count = None, None, None, 0
        for run in runs:
            count += 1
            total = run.copy() if total is None else np.add(total, run, out=total)
            if tells:
                centre = np.zeros_like(run[0]) if centre is None else centre
                squares = np.zeros_like(run[0]) if squares is None else squares
                before = run[0] - centre
                centre += before / count
                squares += before * (run[0] - centre)
        assert total is not None  # there is always one run
        mean: np.ndarray = np.divide(total, count, out=total)
        if squares is None:
            return mean
        spread = squares / count
        return np.stack([mean[0], mean[1] + spread if len(mean) == 2 else spread])

    def _variance(self, channel: np.ndarray) -> np.ndarray:
        """Limited to what float32 can hold."""
        if self.uncertainty_is_log_variance:
            return np.exp(np.clip(channel, CERTAIN, -CERTAIN))
        return np.square(channel)


@dataclass(frozen=True)
class LabelChannels:
    """The background where it has a channel, with softmax, then the labels in their order; before the activation."""

    labels: tuple[int, ...]
    background: int | None
    activation: str
    section: str = "segmentation"

    @classmethod
    def of(cls, declared: Segmentation) -> LabelChannels:
        """The channels that a declaration names, or that follow from the order of its labels."""
        return cls(declared.channels, declared.background, declared.activation)

    @property
    def numbers(self) -> list[int]:
        return [*self.labels] if self.background is None else [self.background, *self.labels]

    @property
    def nothing(self) -> list[float]:
        """Background, for sure."""
        never = 0.0 if self.activation == "none" else CERTAIN
        return [0.0] * (len(self.numbers) - len(self.labels)) + [never] * len(self.labels)

    def after_network(self, output: np.ndarray, start: np.ndarray, preparation: TilePreparation) -> np.ndarray:
        """As it is: the output operations are for images."""
        return output

    def fused(self, planes: Sequence[np.ndarray], fusion: str) -> np.ndarray:
        if len(planes) == 1:
            return planes[0]
        return np.stack([fuse_planes(same, fusion) for same in zip(*planes)])

    def averaged(self, runs: Iterable[np.ndarray]) -> np.ndarray:
        total, count = None, 0
        for run in runs:
            count += 1
            total = run.copy() if total is None else np.add(total, run, out=total)
        assert total is not None  # there is always one run
        mean: np.ndarray = np.divide(total, count, out=total)
        return mean
