"""The training loop, on Lightning Fabric: short, resumable, ruled by steps or by the clock."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from training.average import MovingAverage
from training.journal import add_row, write_picture
from training.recipes.base import Batch, Recipe
from training.schedule import LoopSettings, Progress, learning_rate, stage_at

Report = Callable[[Progress, float, dict[str, float]], None]
"""Called now and then with where the run stands, the fraction done, and the mean losses since the last call."""


def make_fabric(settings: LoopSettings) -> Fabric:
    """Fabric as configured, launched. On CPUs one process uses all cores, so `auto` devices means one."""
    devices = settings.devices
    if devices == "auto" and (settings.accelerator == "cpu" or not torch.accelerator.is_available()):
        devices = 1
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=devices,
        num_nodes=settings.nodes,
        precision=settings.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


class Run:
    """A run in a folder: its network, the moving average, the optimiser, and where it stands.

    The checkpoint `last.pt` holds state dictionaries and plain values only: `network`, `average`, `optimizer`, `step`,
    `seconds`, `config`; so it outlives changes of this code.
    """

    def __init__(self, recipe: Recipe, settings: LoopSettings, folder: Path, about: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.recipe, self.settings, self.folder, self.about = recipe, settings, folder, about
        self.fabric = make_fabric(settings)
        self.fabric.seed_everything(settings.seed, verbose=False)
        self.bare = recipe.network()
        self.average = MovingAverage(self.bare, recipe.network(), settings.average)
        self.average.network.to(self.fabric.device)
        optimizer = torch.optim.AdamW(
            self.bare.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.progress = Progress()
        if self.last.exists():
            self._load(optimizer)
        self.network, self.optimizer = self.fabric.setup(self.bare, optimizer)

    @property
    def last(self) -> Path:
        """The checkpoint."""
        return self.folder / "last.pt"

    def _load(self, optimizer: torch.optim.Optimizer) -> None:
        saved = torch.load(self.last, map_location="cpu", weights_only=True)
        self.bare.load_state_dict(saved["network"])
        self.average.network.load_state_dict(saved["average"])
        self.average.updates = saved["step"]
        optimizer.load_state_dict(saved["optimizer"])
        self.progress = Progress(saved["step"], saved["seconds"])

    def save(self) -> None:
        """Write the checkpoint, whole or not at all, and look at the held-out data."""
        if not self.fabric.is_global_zero:
            return
        state = {
            "network": self.bare.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.progress.step,
            "seconds": self.progress.seconds,
            "config": self.about,
        }
        part = self.last.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.last)
        with self.fabric.autocast():
            losses = self.recipe.validate(self.average.network)
            picture = self.recipe.picture(self.average.network)
        if losses:
            add_row(self.folder / "validation.csv", self._stamp() | _rounded(losses))
        write_picture(self.folder / "pictures" / f"{self.progress.step:07d}.png", picture)

    def batches(self, stage: int) -> Iterator[Batch]:
        """The data of a stage, from the present step on; each process draws its own."""
        seed = self.settings.seed + self.fabric.global_rank
        return self.recipe.batches(self.settings.stages[stage].mix, self.progress.step, seed)

    def step(self, batch: Batch, rate: float) -> dict[str, float]:
        """Learn from one batch at a learning rate; gives the losses. A step that is not finite is left out."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        parts = self.recipe.loss(self.network, {key: part.to(self.fabric.device) for key, part in batch.items()})
        self.fabric.backward(parts["total"])
        norm = self.fabric.clip_gradients(
            self.network, self.optimizer, max_norm=self.settings.clip, error_if_nonfinite=False
        )
        if norm is None or torch.isfinite(norm):
            self.optimizer.step()
            self.average.update(self.bare)
        self.optimizer.zero_grad()
        return {name: float(value.detach()) for name, value in parts.items()}

    def log(self, stage: int, rate: float, losses: dict[str, float]) -> None:
        """Add a line to the table of losses."""
        if self.fabric.is_global_zero:
            row = self._stamp() | {"stage": stage, "rate": f"{rate:.2e}"} | _rounded(losses)
            add_row(self.folder / "losses.csv", row)

    def _stamp(self) -> dict[str, Any]:
        return {"step": self.progress.step, "minutes": round(self.progress.seconds / 60, 2)}


def _rounded(losses: dict[str, float]) -> dict[str, Any]:
    return {name: f"{value:.5f}" for name, value in losses.items()}


def train(
    recipe: Recipe,
    settings: LoopSettings,
    folder: Path,
    *,
    minutes: float | None = None,
    about: dict[str, Any] | None = None,
    report: Report = lambda *_: None,
) -> Path:
    """Train, or go on where `folder/last.pt` stopped; gives the path of the checkpoint.

    `minutes` overrides the configured length; `about` is kept in the checkpoint: the configuration.
    """
    minutes = settings.minutes if minutes is None else minutes
    run = Run(recipe, settings, folder, about or {})
    progress = run.progress
    stage, data = -1, iter(())  # type: tuple[int, Iterator[Batch]]
    saved_at, tick = progress.seconds, time.monotonic()
    recent: dict[str, float] = {}
    while (fraction := progress.fraction(settings, minutes)) < 1:
        if stage != stage_at(fraction, settings):
            stage = stage_at(fraction, settings)
            data = run.batches(stage)
        rate = learning_rate(fraction, settings)
        for name, value in run.step(next(data), rate).items():
            recent[name] = recent.get(name, 0.0) + value / settings.log_steps
        now = time.monotonic()
        progress.step, progress.seconds, tick = progress.step + 1, progress.seconds + now - tick, now
        if progress.step % settings.log_steps == 0:
            run.log(stage, rate, recent)
            report(progress, fraction, recent)
            recent = {}
        if progress.seconds - saved_at > 60 * settings.checkpoint_minutes:
            run.save()
            saved_at = progress.seconds
    run.save()
    return run.last
