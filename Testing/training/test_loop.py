"""The loop: a tiny run learns, keeps its best epochs, and says in words what went wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from packed_heads import write_heads
from small_runs import SMALL, rows, small_loop, small_recipe
from training import checkpoint
from training.average import MovingAverage
from training.checkpoint import averaged_network
from training.config import ConfigError, RunError, check
from training.journal import add_row, drop_after, read_rows
from training.loop import train
from training.parallel import ALL, Share
from training.recipes.base import Recipe
from training.schedule import LoopSettings, Progress, learning_rate, stage_at
from training.trouble import memory_advice

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"), 2)


class Line:
    """The smallest recipe: y = 2 x, one weight; `losses` are what validation says, one a call."""

    def __init__(self, losses: list[float] | None = None) -> None:
        self.said = iter(losses or [])

    def network(self) -> nn.Module:
        return nn.Linear(1, 1)

    def batches(
        self, shares: dict[str, float], first: int, seed: int, share: Share = ALL
    ) -> Iterator[dict[str, Tensor]]:
        number = first
        while True:
            yield {"x": torch.randn(4, 1, generator=torch.Generator().manual_seed(seed + number))}
            number += 1

    def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        error = (network(batch["x"]) - 2 * batch["x"]).square().mean()
        return {"square": error, "total": error}

    def validate(self, network: nn.Module) -> dict[str, float]:
        value = next(self.said, None)
        return {} if value is None else {"total": value, "psnr": -value}

    def picture(self, network: nn.Module) -> np.ndarray:
        return np.full((4, 8), 0.5)


def line(losses: list[float] | None = None) -> Recipe:
    recipe: Any = Line(losses)
    return recipe  # type: ignore[no-any-return]


def test_a_run_lowers_the_loss_and_goes_on_where_it_stopped(heads: Path, tmp_path: Path) -> None:
    recipe = small_recipe("slab_regression", heads)
    train(recipe, small_loop(20), tmp_path, about={"note": 1})
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert saved["step"] == 20
    assert saved["config"] == {"note": 1}
    result = train(recipe, small_loop(40), tmp_path)
    assert result.finished
    losses = [float(row["value"]) for row in rows(tmp_path / "losses.csv")]
    assert [row["step"] for row in rows(tmp_path / "losses.csv")] == [str(step) for step in range(5, 45, 5)]
    assert losses[-1] < 0.8 * losses[0]
    assert [row["step"] for row in rows(tmp_path / "validation.csv")] == ["0", "20", "40"]
    assert [path.stem for path in sorted((tmp_path / "pictures").glob("*.png"))] == ["0000000", "0000020", "0000040"]
    assert list((tmp_path / "tensorboard").glob("events.*"))
    network, about = averaged_network(recipe, tmp_path)
    assert about["step"] == 40
    assert not network.training


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    train(line(), small_loop(6), tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    assert train(line(), small_loop(6), tmp_path).finished
    assert (tmp_path / "last.pt").read_bytes() == before


def test_the_clock_ends_a_run(tmp_path: Path) -> None:
    result = train(line(), small_loop(10**6), tmp_path, minutes=0.02)
    assert result.finished
    assert 1.2 <= torch.load(tmp_path / "last.pt", weights_only=True)["seconds"] < 10


def test_a_pause_ends_the_call_and_not_the_run(tmp_path: Path) -> None:
    first = train(line(), small_loop(10**9), tmp_path, pause_after=0.01)
    assert not first.finished
    assert first.progress.step > 0
    second = train(line(), small_loop(10**9), tmp_path, pause_after=0.01)
    assert second.progress.step > first.progress.step


def test_the_best_epochs_are_kept_and_the_best_of_them_is_chosen(tmp_path: Path) -> None:
    said = [9.0, 5.0, 3.0, 1.0, 2.0, 4.0, 6.0]  # before the training, then after each epoch
    settings = small_loop(12, checkpoint_steps=2, keep=2)
    train(line(said), settings, tmp_path)
    assert [path.stem for path in sorted((tmp_path / "epochs").glob("*.pt"))] == ["0000006", "0000008"]
    assert torch.load(tmp_path / "best.pt", weights_only=True)["step"] == 6
    assert json.loads((tmp_path / "choice.json").read_text()) == {
        "chosen": 6,
        "by": "total",
        "highest": False,
        "value": 1.0,
    }
    page = (tmp_path / "choice.html").read_text()
    assert "Step 6 has the lowest <b>total</b>, 1" in page
    assert all(f'src="pictures/{step:07d}.png"' in page for step in range(0, 14, 2))
    assert averaged_network(line(), tmp_path)[1]["step"] == 6


def test_the_choice_may_be_by_the_highest_of_another_figure(tmp_path: Path) -> None:
    settings = small_loop(6, checkpoint_steps=2, choose="psnr", choose_highest=True)
    train(line([9.0, 5.0, 1.0, 3.0]), settings, tmp_path)
    assert torch.load(tmp_path / "best.pt", weights_only=True)["step"] == 4


def test_a_figure_that_the_validation_does_not_have_is_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no figure 'beauty'; it has: total, psnr"):
        train(line([1.0]), small_loop(4, choose="beauty"), tmp_path)
    assert not (tmp_path / "last.pt").exists()


def test_without_held_out_data_the_newest_epoch_is_the_choice(tmp_path: Path) -> None:
    train(line(), small_loop(6, checkpoint_steps=2), tmp_path)
    assert torch.load(tmp_path / "best.pt", weights_only=True)["step"] == 6
    assert "nothing to choose by" in (tmp_path / "choice.html").read_text()


def test_the_clock_ends_epochs_too(tmp_path: Path) -> None:
    train(line([1.0] * 1000), small_loop(10**9, checkpoint_minutes=0.002), tmp_path, minutes=0.02)
    assert len(read_rows(tmp_path / "validation.csv")) >= 4


def test_gradients_of_several_batches_make_one_step(tmp_path: Path) -> None:
    class Whole(Line):
        def batches(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Tensor]]:
            parts = super().batches(*args, **kwargs)
            while True:
                yield {"x": torch.cat([next(parts)["x"], next(parts)["x"]])}

    whole: Any = Whole()
    # `first` counts batches: with twice as many a step, step n begins at the same one.
    train(whole, small_loop(1), tmp_path / "whole")
    train(line(), small_loop(1, accumulate=2), tmp_path / "parts")
    weights = [torch.load(tmp_path / name / "last.pt")["network"]["weight"] for name in ("whole", "parts")]
    assert torch.allclose(*weights)


def test_mixed_precision_does_not_round_what_the_network_is_given(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Watched(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            seen.append(input)
            return super().forward(input)

    recipe: Any = Line()
    recipe.network = lambda: Watched(1, 1)
    train(recipe, small_loop(2, precision="bf16-mixed"), tmp_path)
    assert {part.dtype for part in seen} == {torch.float32}
    assert torch.load(tmp_path / "last.pt", weights_only=True)["network"]["weight"].dtype == torch.float32


@pytest.mark.parametrize("name", ["slab_regression", "conditional", "volume_regression"])
def test_every_recipe_learns_in_mixed_precision(heads: Path, tmp_path: Path, name: str) -> None:
    train(small_recipe(name, heads, loss={"anatomy": 0.1}), small_loop(2, precision="bf16-mixed"), tmp_path)
    assert len(rows(tmp_path / "validation.csv")) == 2


class Broken(Line):
    """Its batch number 7 is broken."""

    def batches(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Tensor]]:
        for number, batch in enumerate(super().batches(*args, **kwargs)):
            yield {"x": batch["x"] * float("nan")} if number == 7 else batch


def test_a_nan_stops_the_run_and_the_batch_is_kept(tmp_path: Path) -> None:
    recipe: Any = Broken()
    with pytest.raises(RunError, match=r"Step 7: the loss or its gradient is not a number.*not_finite\.pt"):
        train(recipe, small_loop(20, checkpoint_steps=5), tmp_path)
    kept = torch.load(tmp_path / "not_finite.pt", weights_only=True)
    assert kept["batch"]["x"].isnan().all()
    assert kept["step"] == 7
    assert all(weight.isfinite().all() for weight in kept["network"].values())
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 5


def test_an_infinite_gradient_of_a_finite_loss_stops_the_run_too(tmp_path: Path) -> None:
    class Root(Line):
        def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            error = (0 * network(batch["x"])).square().sum().sqrt()
            return {"total": error}

    recipe: Any = Root()
    with pytest.raises(RunError, match="Step 0: the loss or its gradient"):
        train(recipe, small_loop(3), tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
    ],
)
def test_want_of_memory_comes_with_advice(error: Exception) -> None:
    with pytest.raises(RunError, match=r"halve `batch`|`workers`"), memory_advice():
        raise error


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_advice():
        raise RuntimeError("shape mismatch")


def test_a_batch_that_no_memory_can_hold_ends_in_advice(tmp_path: Path) -> None:
    class Huge(Line):
        def loss(self, network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"total": torch.empty(2**55).sum()}

    recipe: Any = Huge()
    with pytest.raises(RunError, match=r"Out of memory\. What helps"):
        train(recipe, small_loop(3), tmp_path)


def test_a_full_disk_is_said_before_the_training_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = os.statvfs(tmp_path), 0, 100
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: type("Usage", (), {"free": usage[2]}))
    network: Any = Line()
    network.network = lambda: nn.Linear(1000, 1000)
    with pytest.raises(RunError, match=r"0 MiB free; the checkpoints of this run need 46 MiB"):
        train(network, small_loop(3), tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_leaves_the_checkpoint_before_whole(tmp_path: Path) -> None:
    train(line(), small_loop(4), tmp_path)
    (tmp_path / "fresh.part").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"could not be written.*make room"):
        train(line(), small_loop(8), tmp_path)
    assert checkpoint.read(tmp_path / "last.pt")["step"] == 4
    assert train(line(), small_loop(8), tmp_path).progress.step == 8  # room again


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "no archive"])
def test_a_corrupted_checkpoint_is_noticed_and_the_one_before_it_taken(tmp_path: Path, damage: str) -> None:
    train(line(), small_loop(8, checkpoint_steps=4), tmp_path)
    path = tmp_path / "last.pt"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "changed":
        content[content.index(checkpoint.read(path)["network"]["weight"].numpy().tobytes())] ^= 1
    elif damage == "empty":
        content = bytearray()
    else:
        content[:] = b"x" * len(content)
    path.write_bytes(content)
    said: list[str] = []
    result = train(line(), small_loop(12), tmp_path, say=said.append)
    assert "is damaged" in said[0]
    assert "previous.pt, step 4" in said[0]
    assert result.progress.step == 12


def test_two_corrupted_checkpoints_are_refused_with_what_to_do(tmp_path: Path) -> None:
    train(line(), small_loop(8, checkpoint_steps=4), tmp_path)
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"is damaged.*remove last\.pt and previous\.pt there to begin anew"):
        train(line(), small_loop(12), tmp_path)


def test_a_checkpoint_of_another_network_is_refused_by_the_run_and_by_its_readers(heads: Path, tmp_path: Path) -> None:
    train(line(), small_loop(2), tmp_path)
    recipe = small_recipe("slab_regression", heads)
    with pytest.raises(ConfigError, match="is of another network"):
        train(recipe, small_loop(4), tmp_path)
    with pytest.raises(ConfigError, match="does not fit"):
        averaged_network(recipe, tmp_path)


def test_a_run_can_begin_with_the_weights_that_another_one_chose(tmp_path: Path) -> None:
    train(line(), small_loop(40), tmp_path / "first")
    chosen, _ = averaged_network(line(), tmp_path / "first")
    train(line(), small_loop(1, learning_rate=1e-9, begin_with=tmp_path / "first"), tmp_path / "second")
    begun = checkpoint.read(tmp_path / "second" / "last.pt")["network"]
    for name, weight in chosen.state_dict().items():
        assert torch.allclose(begun[name], weight, atol=1e-6)
    # Once it has a checkpoint of its own, that is where it goes on.
    shutil.rmtree(tmp_path / "first")
    train(line(), small_loop(2, begin_with=tmp_path / "first"), tmp_path / "second")


def test_a_wider_network_begins_with_a_narrower_one_and_not_the_other_way_round(heads: Path, tmp_path: Path) -> None:
    narrow = small_recipe("conditional", heads)
    wide = small_recipe("conditional", heads, network=SMALL["conditional"]["network"] | {"local": 40})
    train(narrow, small_loop(1), tmp_path / "narrow")
    train(wide, small_loop(1, learning_rate=1e-9, begin_with=tmp_path / "narrow"), tmp_path / "wide")
    chosen, _ = averaged_network(narrow, tmp_path / "narrow")
    begun = checkpoint.read(tmp_path / "wide" / "last.pt")["network"]
    for name, weight in chosen.named_parameters():
        assert torch.allclose(begun[name][tuple(map(slice, weight.shape))], weight, atol=1e-6)
    stem = begun["trunk.stem.0.weight"]
    assert stem.shape[1] == 40
    assert stem[:, 20:].abs().max() < 1e-6
    with pytest.raises(ConfigError, match="not one that this configuration's could begin with"):
        train(narrow, small_loop(1, begin_with=tmp_path / "wide"), tmp_path / "third")


def test_a_missing_checkpoint_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training train"):
        averaged_network(line(), tmp_path)


def test_tables_grow_in_width_and_forget_what_a_killed_run_did_after_its_checkpoint(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    add_row(table, {"step": 1, "a": 2})
    add_row(table, {"step": 2, "a": 3, "b": 4})
    add_row(table, {"step": 3, "a": 5})
    assert read_rows(table)[1] == {"step": "2", "a": "3", "b": "4"}
    drop_after(table, 2)
    assert [row["step"] for row in read_rows(table)] == ["1", "2"]


@pytest.mark.parametrize("ends", [[], [0.5], [0.7, 0.5, 1.0]])
def test_stages_that_do_not_cover_the_run_are_refused(ends: list[float]) -> None:
    with pytest.raises(ConfigError, match="until: 1"):
        check(LoopSettings, {"stages": [{"until": end, "mix": {}} for end in ends]}, "train")


def test_a_stage_lasts_until_its_end() -> None:
    settings = LoopSettings.model_validate({"stages": [{"until": 0.6, "mix": {}}, {"until": 1, "mix": {}}]})
    assert [stage_at(fraction, settings) for fraction in (0, 0.59, 0.6, 0.999)] == [0, 0, 1, 1]


def test_the_learning_rate_rises_then_falls_to_one_percent() -> None:
    settings = small_loop(10)
    rates = [learning_rate(fraction, settings) for fraction in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(settings.learning_rate)
    assert rates.index(max(rates)) == 2  # warm-up of 2 %
    assert rates[-1] == pytest.approx(0.01 * settings.learning_rate)


def test_the_time_to_go_follows_from_the_time_spent() -> None:
    assert Progress(10, 60).seconds_left(0.25) == pytest.approx(180)
    assert Progress().seconds_left(0) is None


def test_the_average_follows_the_network() -> None:
    network, copy = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    average = MovingAverage(network, copy, 0.5)
    with torch.no_grad():
        network.weight.add_(1.0)
    before = average.network.weight.clone()
    for _ in range(60):
        average.update(network)
    assert not torch.allclose(before, average.network.weight)
    assert torch.allclose(average.network.weight, network.weight, atol=1e-4)
