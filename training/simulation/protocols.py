"""Which sequence parameters a scan may have: the source contrast varies widely, the target contrast is one standard."""

import numpy as np

from training.simulation.signals import Mprage, Sequence, SpinEcho, SpoiledGradientEcho

TARGET_FIELD = 3.0
"""Tesla; the field strength whose tissue values the standard target is made with."""


def random_t1(rng: np.random.Generator) -> Sequence:
    """A T1-weighted sequence as hospitals run them: MPRAGE, spin echo, or spoiled gradient echo."""
    kind = rng.choice(["mprage", "spin_echo", "gradient_echo"], p=[0.4, 0.35, 0.25])
    if kind == "spin_echo":
        return SpinEcho(tr=rng.uniform(350, 800), te=rng.uniform(8, 20))
    if kind == "gradient_echo":
        return SpoiledGradientEcho(tr=rng.uniform(7, 30), te=rng.uniform(2, 6), flip=rng.uniform(14, 32))
    tr, ti = rng.uniform(1700, 2500), rng.uniform(800, 1150)
    train = rng.uniform(600, 1.9 * min(ti, tr - ti))
    spacing = rng.uniform(6.5, 10)
    return Mprage(tr, ti, te=rng.uniform(2, 5), flip=rng.uniform(7, 12), pulses=int(train / spacing), spacing=spacing)


def standard_t2() -> Sequence:
    """The one T2 that the network learns to show: turbo spin echo, TR 6000 ms, effective TE 100 ms.

    With these CSF is 3.3 times the median of the brain, as on the real scans that we have.
    """
    return SpinEcho(tr=6000, te=100)
