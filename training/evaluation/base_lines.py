"""What the base lines reach region by region: the source itself, and the oracle, the best look-up table of its grey values.

`compare` scores them in its whole mask; a model card sets them beside the model in the bone and in lesions too. By the same
rules: scaled, fitted and looked up once in the whole mask. Without SSIM, which would cost more than all the rest.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modality_conversion import metrics
from modality_conversion.metrics import RULES

Volume = NDArray[np.floating]
Mask = NDArray[np.bool_]
Figures = dict[str, dict[str, dict[str, float | None]]]
"""By base line (`identity`, `oracle`) and state (`as_is`, `fitted`): `mae`, `bias`, `psnr`; None where there is none."""


def base_lines_in(
    real: Volume, source: Volume, inside: Mask, places: Mapping[Any, Mask], protocol: str
) -> dict[Any, Figures]:
    """Figures of the base lines in each of `places`, parts of the mask `inside`; volumes as read, (k, j, i).

    In HU only the oracle, as it is: an MR is in no HU.
    """
    rules = RULES[protocol]
    known = np.isfinite(real) & np.isfinite(source)
    inside = inside & known
    if not inside.any():
        return {}
    real, source = (np.where(known, volume, 0.0) for volume in (real, source))
    grey = metrics.percentile_scale(source, inside)
    wanted = metrics.percentile_scale(real, inside) if rules.scaled else real.astype(np.float64)
    lines = {"identity": grey} if rules.scaled else {}
    lines["oracle"] = metrics.oracle(grey, wanted, inside)
    found: dict[Any, Figures] = {place: {} for place in places}
    for name, line in lines.items():
        states = {"as_is": line}
        if rules.fit:
            states["fitted"] = metrics.affine_fit(wanted, line, inside).apply(line)
        for place, where in places.items():
            found[place][name] = {
                state: _scores(wanted, volume, where & inside, protocol) for state, volume in states.items()
            }
    return found


def _scores(real: Volume, other: Volume, where: Mask, protocol: str) -> dict[str, float | None]:
    rules = RULES[protocol]
    r, p = real[where], other[where]
    everywhere = np.ones(r.shape, bool)
    figures = {"mae": metrics.mae(r, p, everywhere), "bias": metrics.bias(r, p, everywhere)}
    if rules.clip:
        r, p = (np.clip(values, rules.low, rules.high) for values in (r, p))
    figures["psnr"] = metrics.psnr(r, p, everywhere, rules.high - rules.low)
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}
