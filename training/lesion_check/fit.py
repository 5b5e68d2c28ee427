"""Fits the discriminants of the crude finder and of the judge of outlined lesions, and writes the files the engine reads."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modality_conversion import lesion_judge
from modality_conversion.lesion_features import SOURCES
from modality_conversion.lesion_finder import CLASSES, Discriminant
from training.lesion_check.samples import Rows

_CODES = 2 * len(SOURCES)
"""The last features are codes of modalities, and are not scaled."""


@dataclass(frozen=True)
class Learning:
    """How a discriminant is fitted."""

    classes: tuple[str, ...]
    hidden: tuple[int, ...]
    batch: int
    rate: float
    decay: float = 1e-4
    noise: float = 0.0
    """Deviation of the noise added to the scaled features: few rows are not to be learnt by heart."""
    dropout: float = 0.0


FINDER = Learning(CLASSES, (48, 32), 4096, 6e-3)
JUDGE = Learning(lesion_judge.CLASSES, (32, 16), 128, 4e-3, decay=0.1, noise=0.2, dropout=0.2)


def fit(rows: Sequence[Rows], epochs: int = 20, seed: int = 0, by: Learning = FINDER) -> Discriminant:
    """A discriminant of two hidden layers by cross-entropy; thresholds of 0.5 until better ones are measured."""
    torch.manual_seed(seed)
    features = np.concatenate([part for part, _ in rows]).astype(np.float32)
    classes = torch.from_numpy(np.concatenate([part for _, part in rows]).astype(np.int64))
    middle, spread = features.mean(0), features.std(0) + 1e-3
    middle[-_CODES:], spread[-_CODES:] = 0, 1
    inputs = torch.from_numpy((features - middle) / spread)
    sizes = [features.shape[1], *by.hidden, len(by.classes)]
    linear = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    parts = [part for one in linear for part in (one, nn.ReLU(), nn.Dropout(by.dropout))]
    network = nn.Sequential(*parts[:-2])
    optimizer = torch.optim.AdamW(network.parameters(), by.rate, weight_decay=by.decay)
    steps = -(-len(inputs) // by.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, by.rate, total_steps=epochs * steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(by.batch):
            seen = inputs[batch]
            if by.noise:
                seen = seen + by.noise * torch.randn_like(seen)
            loss = nn.functional.cross_entropy(network(seen), classes[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return folded(linear, middle, spread)


def folded(linear: Sequence[nn.Linear], middle: NDArray[np.float32], spread: NDArray[np.float32]) -> Discriminant:
    """The layers as arrays, the scaling of the features in the first one."""
    layers = [(one.weight.detach().numpy().copy(), one.bias.detach().numpy().copy()) for one in linear]
    weights, offsets = layers[0]
    layers[0] = (weights / spread, offsets - weights @ (middle / spread))
    return Discriminant(tuple(layers), dict.fromkeys(("lost", "added"), 0.5), {})


def write(
    found: Discriminant,
    thresholds: Mapping[str, float],
    about: Mapping[str, Any],
    path: Path,
    classes: Sequence[str] = CLASSES,
) -> None:
    """The file; five digits of each number."""

    def short(array: NDArray[np.floating]) -> Any:
        return np.vectorize(lambda value: float(f"{value:.5g}"))(array).tolist()

    layers = [{"weights": short(weights), "offsets": short(offsets)} for weights, offsets in found.layers]
    content = {"about": dict(about), "threshold": dict(thresholds), "classes": list(classes), "layers": layers}
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
