"""How sure the network may be: a temperature for the kind, and how far scans usually lie from those it knows."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from modality_conversion.recognise_network import KINDS
from training.recognise.examples import Table
from training.recognise.network import Recogniser, answer
from training.recognise.training import collect

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995)
"""Of held-out scans; their distances are declared."""
BEYOND = 1.25
"""What is further than the furthest held-out scan by this factor has the share 1."""


@torch.no_grad()
def remember(network: Recogniser, known: Table) -> None:
    """Let the network know the features of known scans, plain ones alone."""
    network.eval()
    found = []
    for start in range(0, len(known), 64):
        rows = slice(start, start + 64)
        blocks = torch.from_numpy(known.blocks[rows].astype(np.float32))
        found.append(network.features(torch.from_numpy(known.profiles[rows]), blocks)[1])
    kinds = torch.from_numpy(known.truths[:, 0]).long()
    plain = kinds != KINDS.index("other")
    network.remember(torch.cat(found)[plain], kinds[plain])


def fit_temperature(network: Recogniser, held_out: Table) -> float:
    """Set the temperature that makes the held-out kinds likeliest (Guo et al. 2017), and give it; never below 1."""
    network.temperature.fill_(1.0)
    outputs, truths = collect(network, held_out)
    logits, kinds = answer(outputs, "kind"), truths[:, 0].long()
    tried = np.geomspace(1.0, 6.0, 60)
    losses = [float(functional.cross_entropy(logits / value, kinds)) for value in tried]
    network.temperature.fill_(float(tried[int(np.argmin(losses))]))
    return float(network.temperature)


def distances(network: Recogniser, examples: Table) -> NDArray[np.float64]:
    """Of the plain scans among the examples."""
    outputs, truths = collect(network, examples)
    plain = truths[:, 0] != KINDS.index("other")
    found: Tensor = answer(outputs, "distance")[plain, 0]
    return found.double().numpy()


def table(simulated: NDArray[np.float64], real: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Rising pairs of a share and a distance, as `recogniser.json` declares them.

    Simulated and real scans have half the say each, however many they are: a simulation is not the world. Without real
    scans, the simulated ones alone.
    """
    groups = [group for group in (simulated, real) if len(group)]
    found = np.concatenate(groups)
    weight = np.concatenate([np.full(len(group), 1 / len(group)) for group in groups])
    order = np.argsort(found)
    rising = (np.cumsum(weight[order]) - weight[order] / 2) / weight.sum()
    pairs = [(share, float(np.interp(share, rising, found[order]))) for share in SHARES]
    pairs.append((1.0, BEYOND * float(found.max())))
    return [pairs[0], *(pair for before, pair in pairwise(pairs) if pair[1] > before[1])]
