"""The trunk of a network that converts, as the beginning of one that outlines.

Both see the same scans, so what fluid, edges and lesions look like need not be learnt twice.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import Field, model_validator
from torch import Tensor

from modality_conversion.modality import Modality
from training.config import ConfigError, Settings
from training.networks.conditional import Trunk


class TrunkOf(Settings):
    """A run whose trunk is taken over: that of the recipe `conditional`, of the same features, blocks, context and `local`."""

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
    context, state = trunk.settings.context, trunk.state_dict()
    for name, own in state.items():
        given = weights.get(f"trunk.{name}")
        if given is None:
            raise ConfigError(
                f"trunk: the other network has no {name}; `features`, `blocks` and `local` must be its own."
            )
        if name == "stem.0.weight" and given.shape[1] % (sources * context) == 0:
            given = given.unflatten(1, (-1, sources, context))[:, :, list(places)].flatten(1, 3)
        elif name.endswith("linear.weight"):
            given = given[:, list(places)]
        elif name.endswith("linear.bias"):
            told = weights[f"trunk.{name.removesuffix('bias')}weight"][:, sources:]
            given = given + (told.mean(1) if told.shape[1] else 0)
        if given.shape != own.shape:
            raise ConfigError(
                f"trunk: {name} has the shape {tuple(given.shape)} there and {tuple(own.shape)} here; `features`, `context` "
                "and `local` must be its own."
            )
        state[name] = torch.clone(given)
    trunk.load_state_dict(state)
