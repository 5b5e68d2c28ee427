"""The network: a perceptron for the profile, three strided convolutions for the blocks, and what both say together."""

import torch
from torch import Tensor, nn

from modality_conversion.recognise_input import BLOCKS
from modality_conversion.recognise_network import KINDS, OUTPUTS
from modality_conversion.recognise_profile import LENGTH
from training.recognise.answers import place

FEATURES = 48
"""Length of the features that the kind is read from, and whose distance from known ones says how unusual a scan is."""
_HIDDEN, _POSED = 128, 64
_CHANNELS = (16, 32, 48)
_CELLS = 27
"""Places that the last convolution has left of the blocks."""


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv3d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True))


class Recogniser(nn.Module):
    """(N, LENGTH) and (N, *BLOCKS) to (N, sum of `OUTPUTS`), logits but for `brain` (0..1) and `distance`.

    `distance` is the Mahalanobis distance of the features from the nearest kind, with one covariance for all kinds
    (Lee et al. 2018), 0 until `remember` has been called; `temperature` divides the logits of the kind (Guo et al. 2017).
    """

    centre: Tensor
    scale: Tensor
    means: Tensor
    whitening: Tensor
    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        a, b, c = _CHANNELS
        self.body = nn.Sequential(_layer(BLOCKS[0], a), _layer(a, b), _layer(b, c))
        self.seen = nn.Sequential(nn.Linear(LENGTH, _HIDDEN), nn.ReLU(inplace=True), nn.Dropout(0.2))
        self.common = nn.Sequential(nn.Linear(_HIDDEN + c, FEATURES), nn.ReLU(inplace=True))
        self.dropout = nn.Dropout(0.1)
        self.kind = nn.Linear(FEATURES, len(KINDS))
        self.looks = nn.Linear(FEATURES, OUTPUTS["head"] + OUTPUTS["stripped"] + OUTPUTS["defaced"])
        # Which way is up, and what is cut off, depends on where things are.
        self.placed = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(_CELLS * c, _POSED), nn.ReLU(inplace=True))
        rest = OUTPUTS["up"] + OUTPUTS["front"] + OUTPUTS["cut"] + OUTPUTS["brain"]
        self.pose = nn.Linear(_POSED + FEATURES, rest)
        self.register_buffer("centre", torch.zeros(LENGTH))
        self.register_buffer("scale", torch.ones(LENGTH))
        self.register_buffer("means", torch.zeros(len(KINDS), FEATURES))
        self.register_buffer("whitening", torch.zeros(FEATURES, FEATURES))
        self.register_buffer("temperature", torch.ones(1))

    def features(self, profile: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of the last convolution, and the features."""
        maps = self.body(blocks)
        # Beyond four deviations a profile says no more than that it is far out.
        seen = self.seen(((profile - self.centre) * self.scale).clamp(-4, 4))
        return maps, self.common(torch.cat([seen, maps.mean((2, 3, 4))], 1))

    def forward(self, profile: Tensor, blocks: Tensor) -> Tensor:
        maps, features = self.features(profile, blocks)
        dropped = self.dropout(features)
        pose = self.pose(torch.cat([self.placed(maps), dropped], 1))
        offsets = (features[:, None] - self.means[None]) @ self.whitening
        distance = offsets.square().sum(2).amin(1, keepdim=True).clamp_min(1e-12).sqrt()
        answers = [self.kind(dropped) / self.temperature, self.looks(dropped)]
        return torch.cat([*answers, pose[:, :-1], pose[:, -1:].sigmoid(), distance], 1)  # `brain` is last of the pose

    @torch.no_grad()
    def standardise(self, profiles: Tensor) -> None:
        """Take the mean and the deviation of many profiles."""
        self.centre.copy_(profiles.mean(0))
        self.scale.copy_(1 / profiles.std(0).clamp_min(0.01))

    @torch.no_grad()
    def remember(self, features: Tensor, kinds: Tensor, shrinkage: float = 0.05) -> None:
        """Take means and covariance of features (n, FEATURES) of known scans whose kinds have these numbers.

        The covariance is drawn toward a multiple of the identity by `shrinkage` (Ledoit and Wolf 2004, amount fixed), since
        some features hardly vary.
        """
        centred = torch.empty_like(features, dtype=torch.float64)
        present = kinds.unique().tolist()
        self.means.fill_(1e4)  # a kind that is not there is far from everything
        for number in present:
            mine = features[kinds == number].double()
            self.means[number] = mine.mean(0).float()
            centred[kinds == number] = mine - mine.mean(0)
        covariance = centred.T @ centred / len(centred)
        level = torch.diagonal(covariance).mean()
        covariance = (1 - shrinkage) * covariance + shrinkage * level * torch.eye(FEATURES, dtype=torch.float64)
        values, vectors = torch.linalg.eigh(covariance)
        self.whitening.copy_((vectors / values.sqrt()).float())


def answer(outputs: Tensor, name: str) -> Tensor:
    """One of `OUTPUTS`, (N, width)."""
    return outputs[:, place(name)]
