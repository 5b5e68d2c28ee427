"""Fits the crude finder's discriminant and writes the file that the engine reads."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modality_conversion.lesion_features import SOURCES
from modality_conversion.lesion_finder import CLASSES, Discriminant
from training.lesion_check.samples import Rows

HIDDEN = (48, 32)
_BATCH = 4096
_LEARNING_RATE = 6e-3
_CODES = 2 * len(SOURCES)
"""The last features are codes of modalities, and are not scaled."""


def fit(rows: Sequence[Rows], epochs: int = 20, seed: int = 0) -> Discriminant:
    """A discriminant of two hidden layers by cross-entropy; thresholds of 0.5 until `measure` finds better ones."""
    torch.manual_seed(seed)
    features = np.concatenate([part for part, _ in rows]).astype(np.float32)
    classes = torch.from_numpy(np.concatenate([part for _, part in rows]).astype(np.int64))
    middle, spread = features.mean(0), features.std(0) + 1e-3
    middle[-_CODES:], spread[-_CODES:] = 0, 1
    inputs = torch.from_numpy((features - middle) / spread)
    sizes = [features.shape[1], *HIDDEN, len(CLASSES)]
    linear = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    network = nn.Sequential(*(layer for one in linear for layer in (one, nn.ReLU())))[:-1]
    optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=1e-4)
    steps = -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=epochs * steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(_BATCH):
            loss = nn.functional.cross_entropy(network(inputs[batch]), classes[batch])
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


def write(found: Discriminant, thresholds: Mapping[str, float], about: Mapping[str, Any], path: Path) -> None:
    """The file; five digits of each number."""

    def short(array: NDArray[np.floating]) -> Any:
        return np.vectorize(lambda value: float(f"{value:.5g}"))(array).tolist()

    layers = [{"weights": short(weights), "offsets": short(offsets)} for weights, offsets in found.layers]
    content = {"about": dict(about), "threshold": dict(thresholds), "classes": list(CLASSES), "layers": layers}
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
