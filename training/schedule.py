"""When what happens in a run: its length, its mixes of data, its learning rate, its epochs."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from training.config import Settings


class StageSettings(Settings):
    """A part of the run with its own mix of data."""

    until: float
    """Where the stage ends, as a fraction of the run; the last stage ends at 1."""
    mix: dict[str, float]
    """Share of each pool."""


class LoopSettings(Settings):
    """How long, how fast, how often."""

    minutes: float | None = Field(60, gt=0)
    """Wall-clock length of the run; `--max-minutes` overrides it. null: `steps` alone rule, as an exact repetition needs."""
    steps: int = Field(1_000_000, gt=0)
    """Largest number of steps; the run ends at whichever comes first."""
    begin_with: Path | None = None
    """Folder of another run, whose chosen weights this one begins with; this network may be the wider one, see
    `checkpoint.begin_with`. None: random weights, or what the recipe takes over by itself (`trunk`)."""
    stages: tuple[StageSettings, ...]
    """Mixes of data, in order."""
    learning_rate: float = 1e-3
    """Highest learning rate; reached after the warm-up."""
    falling: Literal["cosine", "linear", "constant"] = "cosine"
    """What comes after the warm-up: a cosine down to 1 %; the highest rate, held and then falling on a straight line to 0, as
    adversarial recipes are published with; or the highest rate to the end."""
    hold: float = Field(0.5, ge=0, lt=1)
    """Fraction of the run at which a `linear` fall begins."""
    warm_up: float = 0.02
    """Fraction of the run in which the learning rate rises."""
    weight_decay: float = 0.01
    """AdamW's weight decay. Recipes that bring optimisers of their own have none."""
    clip: float | None = Field(1.0, gt=0)
    """Largest norm of the gradient, of each optimiser's parameters. null: not limited."""
    collapse_steps: int = Field(200, gt=0)
    """After so many steps on end in which a discriminator told everything, or nothing, that is said."""
    average: float = Field(0.998, ge=0, lt=1)
    """Decay of the moving average of the weights, which is what is kept in the end; 0: the last weights themselves."""
    accumulate: int = Field(1, gt=0)
    """Batches whose gradients are added up to one step: a larger batch in the same memory."""
    seed: int = 2026
    """Rules the first weights and every draw."""
    precision: str = "bf16-mixed"
    """Fabric's precision. bf16 doubles the speed on CPUs with AVX512-BF16 or AMX and on GPUs; elsewhere use 32-true."""
    accelerator: str = "auto"
    """Fabric's accelerator: auto, cpu, cuda, mps."""
    devices: int | str = "auto"
    """How many devices; `auto` takes all. On CPUs one process uses all cores, so auto means 1."""
    nodes: int = 1
    """How many machines."""
    log_steps: int = Field(25, gt=0)
    """A line in the table of losses every so many steps."""
    checkpoint_minutes: float | None = Field(5, gt=0)
    """An epoch ends every so many minutes: checkpoint, validation, picture. null: not by the clock."""
    checkpoint_steps: int | None = Field(None, gt=0)
    """An epoch also ends every so many steps. null: not by steps."""
    keep: int = Field(5, gt=0)
    """Epochs whose weights are kept for the choice: the best ones."""
    choose: str = "total"
    """The figure of the validation that the best epoch is chosen by, a column of `validation.csv`."""
    choose_highest: bool = False
    """Whether the best is the highest, as of `psnr`, or the lowest, as of losses."""

    @model_validator(mode="after")
    def _covered(self) -> "LoopSettings":
        ends = [stage.until for stage in self.stages]
        if not ends or ends[-1] < 1 or ends != sorted(ends):
            raise ValueError("the stages must follow each other and the last one must have `until: 1`")
        return self


@dataclass
class Progress:
    """Where a run stands; kept in the checkpoint."""

    step: int = 0
    seconds: float = 0.0

    def fraction(self, settings: LoopSettings, minutes: float | None) -> float:
        """How much of the run is over, by steps or by the clock, whichever is further."""
        by_clock = 0.0 if minutes is None else self.seconds / (60 * minutes)
        return min(1.0, max(self.step / settings.steps, by_clock))

    def seconds_left(self, fraction: float) -> float | None:
        """The time to go if it goes on as it did; None at the very start."""
        return self.seconds * (1 - fraction) / fraction if fraction > 0 and self.seconds > 0 else None


def stage_at(fraction: float, settings: LoopSettings) -> int:
    """The number of the stage that a run is in."""
    return next(number for number, stage in enumerate(settings.stages) if fraction < stage.until)


def learning_rate(fraction: float, settings: LoopSettings) -> float:
    """Linear warm-up, then as `falling` says."""
    if fraction < settings.warm_up:
        return settings.learning_rate * max(fraction / settings.warm_up, 0.01)
    if settings.falling == "constant":
        return settings.learning_rate
    if settings.falling == "linear":
        return settings.learning_rate * min(1.0, (1 - fraction) / (1 - settings.hold))
    rest = (fraction - settings.warm_up) / (1 - settings.warm_up)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * rest)))
