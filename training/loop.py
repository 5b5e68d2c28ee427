"""The training loop, on Lightning Fabric: short, resumable, ruled by steps or by the clock.

Everything random in step n is ruled by the seed and n, so a run that was killed and goes on from its checkpoint ends with
the same weights as one that was not (bit for bit on CPUs, as long as steps and not the clock rule its length); and several
processes learn what one would learn from the same whole batch.
"""

import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from training import checkpoint, epochs
from training.average import MovingAverage
from training.collapse import CollapseWatch
from training.config import ConfigError
from training.journal import Journal
from training.learner import NotFinite, make_learner
from training.metrics import mean_rows
from training.parallel import Share, join_batch_norms
from training.recipes.base import Batch, Inherits, Recipe
from training.schedule import LoopSettings, Progress, learning_rate, stage_at
from training.trouble import StopSignal, memory_advice, not_finite

Report = Callable[[Progress, float, dict[str, float]], None]
"""Called now and then with where the run stands, the fraction done, and the mean losses since the last call."""
Say = Callable[[str], None]
"""Called with a sentence for the user."""


class Result(NamedTuple):
    """How a run ended."""

    checkpoint: Path
    """Where it stands."""
    finished: bool
    """False: it was asked to stop; the same command goes on."""
    progress: Progress
    """Where it stands, in numbers."""


class Autocast(MixedPrecision):
    """Mixed precision that leaves the inputs as they are: a network rounds them itself, where it can bear that."""

    def convert_input(self, data: Any) -> Any:
        """Fabric would round every image to half precision, which has fewer grey values than an image."""
        return data


def make_fabric(settings: LoopSettings) -> Fabric:
    """Fabric as configured, its processes started; under `fabric run`, which has started them, the options given there win.

    On CPUs one process uses all cores, so `auto` devices means one.
    """
    started = os.environ.get("LT_CLI_USED") == "1"
    accelerator = os.environ.get("LT_ACCELERATOR", settings.accelerator) if started else settings.accelerator
    on_cpu = accelerator == "cpu" or not torch.accelerator.is_available()
    # Taken out of the environment, for Fabric does not want it beside a precision of one's own.
    precision: Any = os.environ.pop("LT_PRECISION", settings.precision) if started else settings.precision
    wanted: dict[str, Any] = {"precision": precision}
    if precision in ("16-mixed", "bf16-mixed"):
        device = torch.accelerator.current_accelerator()
        wanted = {"plugins": Autocast(precision, "cpu" if on_cpu or device is None else device.type)}
    if started:
        return Fabric(accelerator="auto" if "LT_ACCELERATOR" in os.environ else accelerator, **wanted)
    devices = 1 if settings.devices == "auto" and on_cpu else settings.devices
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=settings.nodes, **wanted)
    fabric.launch()
    return fabric


class Run:
    """A run in a folder: its network, the moving average, what makes its steps, and where it stands.

    The checkpoint `last.pt` holds `network`, `average`, `optimizer`, `step`, `seconds`, `config`, `watch`, and of a recipe
    that takes turns `recipe`.
    """

    def __init__(self, recipe: Recipe, settings: LoopSettings, folder: Path, about: dict[str, Any], say: Say) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.recipe, self.settings, self.folder, self.about, self.say = recipe, settings, folder, about, say
        self.fabric = make_fabric(settings)
        self.first = self.fabric.is_global_zero
        self.fabric.seed_everything(settings.seed, verbose=False)
        self.bare = recipe.network()
        saved, trouble = checkpoint.read_last(folder)
        if saved is None:
            self._begin()
        self.average = MovingAverage(self.bare, recipe.network(), settings.average)
        self.average.network.to(self.fabric.device)
        self.progress = Progress()
        self.watch = CollapseWatch(settings.collapse_steps)
        if trouble and self.first:
            say(trouble)
        if self.fabric.world_size > 1:
            self.bare = join_batch_norms(self.bare)
        try:
            if saved is not None:
                self._take(saved)
            self.learner = make_learner(self.fabric, recipe, self.bare, settings, saved)
        except (RuntimeError, ValueError, KeyError) as error:
            if saved is None or isinstance(error, torch.OutOfMemoryError):
                raise
            raise ConfigError(
                f"The checkpoint in {folder} is of another network than this configuration describes. Go back to its "
                f"configuration, or set `run` to a new folder. ({error})"
            ) from error
        self.saved_step = self.progress.step
        self.journal: Journal | None = None
        if self.first:
            weights = sum(p.numel() * p.element_size() for p in self.bare.parameters())
            checkpoint.need_room(folder, 4 * weights)  # the network, its average, and the optimiser's two moments
            epochs.forget_after(folder, self.progress.step)
            self.journal = Journal(folder, self.progress.step)

    def _begin(self) -> None:
        """Give the new network what it does not learn anew: all of another run's weights, or what its recipe takes over."""
        recipe, begin_with = self.recipe, self.settings.begin_with
        inherited = recipe.inherits_from if isinstance(recipe, Inherits) else None
        if begin_with is not None and inherited is not None:
            raise ConfigError("`train.begin_with` and the recipe's `trunk` both say what to begin with. Leave out one.")
        if begin_with is not None:
            checkpoint.begin_with(self.bare, begin_with)
        elif isinstance(recipe, Inherits) and inherited is not None:
            recipe.inherit(self.bare, checkpoint.chosen(inherited)[1]["average"])

    def _take(self, saved: dict[str, Any]) -> None:
        self.bare.load_state_dict(saved["network"])
        self.average.network.load_state_dict(saved["average"])
        self.watch.take(saved.get("watch", {}))
        self.average.updates = saved["step"]
        self.progress = Progress(saved["step"], saved["seconds"])

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        if self.first and self.progress.step > self.saved_step:
            state = {
                "network": self.bare.state_dict(),
                "average": self.average.network.state_dict(),
                "watch": self.watch.state(),
                "step": self.progress.step,
                "seconds": self.progress.seconds,
                "config": self.about,
            } | self.learner.state()
            checkpoint.write_last(state, self.folder)
        self.saved_step = self.progress.step
        self.fabric.barrier()

    def epoch(self) -> None:
        """End an epoch: look at the held-out data, keep the weights if they are among the best, write the checkpoint."""
        if self.first:
            self.validate()
            state = {
                "average": self.average.network.state_dict(),
                "step": self.progress.step,
                "seconds": self.progress.seconds,
            }
            epochs.keep(self.folder, self.settings, state)
        self.save()

    def validate(self) -> None:
        """Look at the held-out data with the averaged weights; in the first process only."""
        assert self.journal is not None
        with self.fabric.autocast():
            figures = self.recipe.validate(self.average.network)
            picture = self.recipe.picture(self.average.network)
        epochs.check_choice(self.settings, figures)
        self.journal.validation(self._stamp(), figures, picture)

    def batches(self, stage: int) -> Iterator[Batch]:
        """The data of a stage, from the present step on: this process' share of each batch."""
        share = Share(self.fabric.global_rank, self.fabric.world_size)
        first = self.progress.step * self.settings.accumulate
        return self.recipe.batches(self.settings.stages[stage].mix, first, self.settings.seed, share)

    def step(self, data: Iterator[Batch], rate: float) -> dict[str, float]:
        """Learn from the next batch, or batches, at a learning rate; gives the losses."""
        batches = [
            {key: part.to(self.fabric.device, non_blocking=True) for key, part in batch.items()}
            for batch in islice(data, self.settings.accumulate)
        ]
        # What a step draws depends on its number alone, and so after its data are there.
        torch.manual_seed(self.settings.seed * 1_000_003 + self.progress.step)
        try:
            losses = self.learner.step(self.progress.step, batches, rate)
        except NotFinite as error:
            self._keep_evidence(error.batch, error.losses)
        self.average.update(self.bare)
        return losses

    def _keep_evidence(self, batch: Batch, losses: dict[str, float]) -> NoReturn:
        state = {
            "batch": {key: part.cpu() for key, part in batch.items()},
            "losses": losses,
            "network": self.bare.state_dict(),
        }
        raise not_finite(self.folder, self.fabric.global_rank, self.progress.step, state)

    def log(self, stage: int, rate: float, losses: dict[str, float]) -> None:
        """Add a line to the table of losses."""
        if self.journal is not None:
            self.journal.losses(self._stamp(), stage, rate, losses)

    def look_for_collapse(self, losses: dict[str, float]) -> None:
        """Say, and write down, what a discriminator has come to."""
        for text in self.watch.see(losses):
            if self.journal is not None:
                self.journal.message(self._stamp(), text)
                self.say(f"Step {self.progress.step}: {text}")

    def agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        """The first process' clock and will, so that all end at the same step."""
        if self.fabric.world_size == 1:
            return seconds, stop
        told = torch.tensor([seconds, float(stop)], dtype=torch.float64, device=self.fabric.device)
        torch.distributed.broadcast(told, 0)
        return float(told[0]), bool(told[1])

    def _stamp(self) -> dict[str, Any]:
        return {"step": self.progress.step, "minutes": round(self.progress.seconds / 60, 2)}


def train(
    recipe: Recipe,
    settings: LoopSettings,
    folder: Path,
    *,
    minutes: float | None = None,
    pause_after: float | None = None,
    about: dict[str, Any] | None = None,
    report: Report = lambda *_: None,
    say: Say = lambda _: None,
) -> Result:
    """Train, or go on where `folder/last.pt` stopped.

    `minutes` overrides the configured length; `pause_after`: minutes after which this call ends, however much of the run
    is left; `about` is kept in the checkpoint: the configuration.
    """
    minutes = settings.minutes if minutes is None else minutes
    with memory_advice(), StopSignal() as signal:
        run = Run(recipe, settings, folder, about or {}, say)
        try:
            return _train(run, minutes, pause_after, report, signal)
        finally:
            if run.journal is not None:
                run.journal.close()


def _train(run: Run, minutes: float | None, pause_after: float | None, report: Report, signal: StopSignal) -> Result:
    settings, progress = run.settings, run.progress
    if progress.step == 0 and run.first:
        run.validate()  # what an untrained network is worth; and every fault of the held-out data shows before the training
    run.fabric.barrier()
    stage, data = -1, iter(())  # type: tuple[int, Iterator[Batch]]
    epoch_at = progress.seconds
    began = tick = time.monotonic()
    recent: list[dict[str, float]] = []
    stop = False
    while not stop and (fraction := progress.fraction(settings, minutes)) < 1:
        if stage != stage_at(fraction, settings):
            stage = stage_at(fraction, settings)
            data = run.batches(stage)
        rate = learning_rate(fraction, settings)
        recent.append(run.step(data, rate))
        now = time.monotonic()
        progress.step += 1
        run.look_for_collapse(recent[-1])
        paused = pause_after is not None and now - began > 60 * pause_after
        progress.seconds, stop = run.agree(progress.seconds + now - tick, signal.asked or paused)
        tick = now
        if progress.step % settings.log_steps == 0:
            losses = mean_rows(recent)  # of each part over the steps that had it: not every step has every turn
            run.log(stage, rate, losses)
            report(progress, fraction, losses)
            recent = []
        if _epoch_ends(settings, progress, epoch_at):
            run.epoch()
            epoch_at = progress.seconds
            tick = time.monotonic()  # the clock of the run counts training alone
    if stop:
        run.save()
    elif progress.step > run.saved_step:
        run.epoch()
    return Result(run.folder / checkpoint.LAST, not stop, progress)


def _epoch_ends(settings: LoopSettings, progress: Progress, epoch_at: float) -> bool:
    by_steps = settings.checkpoint_steps is not None and progress.step % settings.checkpoint_steps == 0
    by_clock = (
        settings.checkpoint_minutes is not None and progress.seconds - epoch_at > 60 * settings.checkpoint_minutes
    )
    return by_steps or by_clock
