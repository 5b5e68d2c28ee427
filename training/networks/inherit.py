"""The trunk of a network that converts, as the beginning of one that outlines.

Both see scans of the same kinds, so what fluid, edges and lesions look like need not be learnt twice.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import Field, model_validator
from torch import Tensor

from modality_conversion.modality import Modality
from training.config import ConfigError, Settings
from training.networks.conditional import Trunk


class TrunkOf(Settings):
    """A run whose trunk is taken over: one of the recipe `conditional` with the same features, blocks, context and `local`. Of
    `local` only whether there is one can be seen, and is checked."""

    run: Path
    """Its folder."""
    sources: tuple[Modality, ...] = Field(min_length=1)
    """Its sources, in its order."""
    instead: dict[Modality, Modality] = Field(default_factory=lambda: {Modality.T1CE: Modality.T1})
    """A source that it did not have: the one whose weights this begins with."""

    @model_validator(mode="after")
    def _known(self) -> "TrunkOf":
        strange = sorted({str(found) for found in self.instead.values()} - {str(source) for source in self.sources})
        if strange:
            raise ValueError(f"`instead` names {', '.join(strange)}, which `sources` does not")
        return self

    def places(self, sources: Sequence[Modality]) -> list[int]:
        """For each of these sources the place of the one whose weights it takes. Raises ConfigError where there is none."""
        found = []
        for source in sources:
            known = self.instead.get(source, source) if source not in self.sources else source
            if known not in self.sources:
                raise ConfigError(f"trunk: {self.run} never saw {source}. Say with `instead` what it takes after.")
            found.append(self.sources.index(known))
        return found


def inherit_trunk(trunk: Trunk, weights: Mapping[str, Tensor], places: Sequence[int], sources: int) -> None:
    """Give a trunk the weights of another one.

    `weights`: of the whole other network, its trunk's names beginning with `trunk.`; `places`: for each source of this trunk
    its place among the other's `sources`. The other was also told what is wanted; this one begins with the mean of all that can
    be. Raises ConfigError where the two are not alike.
    """
    settings, state = trunk.settings, trunk.state_dict()
    if {name for name in weights if name.startswith("trunk.")} != {f"trunk.{name}" for name in state}:
        raise ConfigError("trunk: the other network has other layers: `features` and `blocks` must be its own.")
    scans = (2 if settings.local else 1, sources, settings.context)
    for name, own in state.items():
        given = weights[f"trunk.{name}"]
        if name == "stem.0.weight":
            if given.shape[1] != math.prod(scans):
                raise ConfigError(
                    f"trunk: the other network takes {given.shape[1]} slices in all, and not {' x '.join(map(str, scans))}: "
                    "`sources`, `context` and `local` must be its own."
                )
            given = given.unflatten(1, scans)[:, :, list(places)].flatten(1, 3)
        elif name.endswith("linear.weight"):
            given = given[:, list(places)]
        elif name.endswith("linear.bias"):
            told = weights[f"trunk.{name.removesuffix('bias')}weight"][:, sources:]
            given = given + (told.mean(1) if told.shape[1] else 0)
        if given.shape != own.shape:
            raise ConfigError(
                f"trunk: {name} has the shape {tuple(given.shape)} there and {tuple(own.shape)} here; `features` and "
                "`sources` must be its own."
            )
        state[name] = torch.clone(given)
    trunk.load_state_dict(state)
