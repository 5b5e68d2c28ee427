"""The loop over examples that lie in memory: one loss for each answer, and each cube turned another way each time."""

import json
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.recognise.answers import NOT_ASKED
from training.recognise.examples import Table
from training.recognise.network import Recogniser, answer
from training.recognise.settings import TrainSettings

WEIGHTS = {
    "kind": 1.0,
    "head": 0.5,
    "stripped": 0.3,
    "defaced": 0.15,
    "up": 0.4,
    "front": 0.4,
    "cut": 0.5,
    "brain": 2.0,
}


def turn(blocks: Tensor, truths: Tensor, order: list[int], flipped: list[int]) -> tuple[Tensor, Tensor]:
    """A batch with its axes exchanged (`order[n]` becomes axis n) and some of them mirrored, and its truths."""
    blocks = blocks.permute(0, 1, *(axis + 2 for axis in order))
    if flipped:
        blocks = blocks.flip([axis + 2 for axis in flipped])
    new = {old: place for place, old in enumerate(order)}
    # Where each side of before is now.
    moved = [2 * new[side // 2] + (side % 2 ^ (new[side // 2] in flipped)) for side in range(6)]
    truths = truths.clone()
    for column in (4, 5):
        asked = truths[:, column] != NOT_ASKED
        truths[asked, column] = torch.tensor(moved, dtype=truths.dtype)[truths[asked, column].long()]
    cut = truths[:, 7:].clone()
    truths[:, [7 + side for side in moved]] = cut
    return blocks.contiguous(), truths


def losses(outputs: Tensor, truths: Tensor) -> dict[str, Tensor]:
    """One loss for each answer; `truths` are rows as `Truth.row` makes them. What is not asked for has no share."""
    kind, head, stripped, defaced, up, front, brain = truths[:, :7].T
    asked = head > 0
    plain = asked & (up != NOT_ASKED)

    def binary(name: str, wanted: Tensor, where: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(answer(outputs, name)[where, 0], wanted[where])

    cut = functional.binary_cross_entropy_with_logits(answer(outputs, "cut")[plain], truths[plain, 7:])
    return {
        "kind": functional.cross_entropy(answer(outputs, "kind"), kind.long(), label_smoothing=0.01),
        "head": binary("head", head, head >= 0),
        "stripped": binary("stripped", stripped, asked),
        "defaced": binary("defaced", defaced, asked & (stripped == 0)),
        "up": functional.cross_entropy(answer(outputs, "up")[plain], up[plain].long()),
        "front": functional.cross_entropy(answer(outputs, "front")[plain], front[plain].long()),
        "cut": cut,
        "brain": functional.mse_loss(answer(outputs, "brain")[plain, 0], brain[plain]),
    }


@torch.no_grad()
def accuracy(network: Recogniser, table: Table) -> dict[str, float]:
    """Share of right answers, and the mean error of `brain`."""
    outputs, truths = collect(network, table)
    asked = truths[:, 1] > 0
    plain = asked & (truths[:, 4] != NOT_ASKED)
    everything = torch.ones(len(truths), dtype=torch.bool)

    def right(name: str, column: int, where: Tensor) -> float:
        found = answer(outputs, name)
        said = found.argmax(1) if found.shape[1] > 1 else (found[:, 0] > 0)
        return float((said == truths[:, column].long())[where].float().mean())

    return {
        "kind": right("kind", 0, everything),
        "head": right("head", 1, everything),
        "stripped": right("stripped", 2, asked),
        "defaced": right("defaced", 3, asked & (truths[:, 2] == 0)),
        "up": right("up", 4, plain),
        "front": right("front", 5, plain),
        "cut": float(((answer(outputs, "cut") > 0) == (truths[:, 7:] > 0))[plain].float().mean()),
        "brain": float((answer(outputs, "brain")[:, 0] - truths[:, 6])[plain].abs().mean()),
    }


@torch.no_grad()
def collect(network: Recogniser, table: Table) -> tuple[Tensor, Tensor]:
    """Outputs and truths of many examples."""
    network.eval()
    parts = [network(*_inputs(table, slice(start, start + 64))) for start in range(0, len(table), 64)]
    return torch.cat(parts), torch.from_numpy(table.truths)


def _inputs(table: Table, rows: slice | np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(table.profiles[rows]), torch.from_numpy(table.blocks[rows].astype(np.float32))


def train(
    table: Table, held_out: Table, settings: TrainSettings, say: Callable[[str], None] = lambda _: None
) -> Recogniser:
    """Train; weights and curve are left in `settings.run`."""
    settings.run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    network = Recogniser()
    network.standardise(torch.from_numpy(table.profiles))
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=0.05)
    steps = settings.epochs * (len(table) // settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    curve: list[dict[str, float]] = []
    began = time.process_time()
    for epoch in range(1, settings.epochs + 1):
        network.train()
        rows = rng.permutation(len(table))
        total_loss = 0.0
        for start in range(0, len(rows) - settings.batch + 1, settings.batch):
            some = rows[start : start + settings.batch]
            profile, blocks = _inputs(table, some)
            truths = torch.from_numpy(table.truths[some])
            profile = profile + 0.1 * torch.randn_like(profile) / network.scale
            turned = [axis for axis in range(3) if rng.random() < 0.5] if rng.random() < 0.5 else []
            order = [int(axis) for axis in rng.permutation(3)] if rng.random() < 0.35 else [0, 1, 2]
            if turned == [] and order == [0, 1, 2] and rng.random() < 0.5:
                turned = [2]  # left and right always may be exchanged
            blocks, truths = turn(blocks, truths, order, turned)
            parts = losses(network(profile, blocks), truths)
            # A batch may lack what a loss is about.
            total = torch.stack([WEIGHTS[name] * part for name, part in parts.items() if part.isfinite()]).sum()
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            total_loss += float(total.detach())
        if epoch % 5 == 0 or epoch == settings.epochs:
            measured = accuracy(network, held_out)
            spent = {"epoch": float(epoch), "cpu_seconds": round(time.process_time() - began, 1)}
            curve.append(spent | {"loss": total_loss / max(1, len(rows) // settings.batch)} | measured)
            (settings.run / "curve.json").write_text(json.dumps(curve, indent=1), encoding="utf-8")
            torch.save(network.state_dict(), settings.run / "network.pt")
            say(f"epoch {epoch}: " + ", ".join(f"{name} {value:.3f}" for name, value in curve[-1].items()))
    return network.eval()


def _rate(step: int, steps: int) -> float:
    """A warm-up over a twentieth of the steps, then a cosine to a hundredth."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def read_network(settings: TrainSettings) -> Recogniser:
    """The network of the last training."""
    network = Recogniser()
    network.load_state_dict(torch.load(settings.run / "network.pt", weights_only=True))
    return network.eval()
