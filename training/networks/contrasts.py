"""The signal equations of `training.simulation.signals`, differentiable: from maps of tissue properties to contrasts."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from modality_conversion.modality import Modality
from training.data.scale import TARGET_MEDIAN
from training.simulation.protocols import STANDARD
from training.simulation.signals import InversionRecovery, Mprage, Sequence, SpinEcho
from training.simulation.tissues import CODE, values


def spin_echo(of: SpinEcho, pd: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
    """See `signals.SpinEcho`."""
    return pd * (1 - torch.exp(-of.tr / t1)) * torch.exp(-of.te / t2)


def inversion_recovery(of: InversionRecovery, pd: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
    """See `signals.InversionRecovery`."""
    recovered = (1 - 2 * torch.exp(-of.ti / t1) + torch.exp(-of.tr / t1)).abs()
    return pd * recovered * torch.exp(-of.te / t2)


def mprage(of: Mprage, pd: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
    """See `signals.Mprage`."""
    train = of.pulses * of.spacing
    before, after = of.ti - train / 2, of.tr - of.ti - train / 2
    rate = 1 / t1 - math.log(math.cos(math.radians(of.flip))) / of.spacing
    plateau = (1 - torch.exp(-of.spacing / t1)) / (1 - torch.exp(-of.spacing * rate))
    free_before, free_after, half = torch.exp(-before / t1), torch.exp(-after / t1), torch.exp(-train / 2 * rate)
    end = ((1 - free_before) * half * half + plateau * (1 - half * half)) * free_after + 1 - free_after
    steady = end / (1 + free_before * half * half * free_after)
    middle = (1 - free_before - free_before * steady) * half + plateau * (1 - half)
    return pd * math.sin(math.radians(of.flip)) * middle.abs() * torch.exp(-of.te / t2)


_EQUATIONS: dict[type, Callable[..., Tensor]] = {
    SpinEcho: spin_echo,
    InversionRecovery: inversion_recovery,
    Mprage: mprage,
}


def signal(sequence: Sequence, pd: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
    """The magnitude signal on the scale of `pd`; times in ms. Tensors of one shape, float32."""
    return _EQUATIONS[type(sequence)](sequence, pd, t1, t2)


def usual_gain(target: Modality) -> float:
    """What brings the signal of a healthy brain under the standard protocol to the target's scale (`TARGET_MEDIAN`)."""
    protocol = STANDARD[target]
    found = protocol.signal(values(protocol.field, turbo=protocol.turbo))
    brain = float(np.mean([found[CODE["white_matter"]], found[CODE["grey_matter"]]]))
    return TARGET_MEDIAN[target] / brain
