"""Which protocol a scan may have: sources vary widely, the target of each contrast is one standard."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modality_conversion.modality import Modality
from training.simulation.signals import (
    InversionRecovery,
    Mprage,
    Sequence,
    SpinEcho,
    SpoiledGradientEcho,
    null_time,
)
from training.simulation.tissues import CODE, FATTY, OUTSIDE_BRAIN, Deviations, TissueValues, values

TARGET_FIELD = 3.0
"""Tesla; the field strength whose tissue values the standard T2 and PD are made with."""
T1_FIELD, FLAIR_FIELD = 1.5, 2.3
"""As `TARGET_FIELD`, chosen by grey over white on a real scan of the training part: 0.77 on T1, where the table has 0.75 at
1.5 T and 0.58 at 3 T; 1.18 on FLAIR, where it has 1.47 and 0.97."""
CSF_T1 = 4200.0
"""ms; what TI is set by."""


@dataclass(frozen=True)
class Protocol:
    """How an MR scan is made. `fat` and the flows are factors of what their protons give."""

    sequence: Sequence
    field: float
    turbo: bool = False
    gadolinium: float = 0.0
    fat: float = 1.0
    """1 without fat suppression."""
    vein: float = 1.0
    """Below 1: flowing blood leaves before its echo. Above 1: fresh blood flows in."""
    artery: float = 1.0

    def table(self, deviations: Deviations, scale: float) -> TissueValues:
        """The tissue values that this protocol sees in a head."""
        found = values(self.field, deviations, scale=scale, turbo=self.turbo, gadolinium=self.gadolinium)
        found.pd[[CODE[name] for name in FATTY]] *= self.fat
        found.pd[CODE["vein"]] *= self.vein
        found.pd[CODE["artery"]] *= self.artery
        return found

    def signal(self, table: TissueValues) -> NDArray[np.float64]:
        """Signal by tissue code."""
        return np.asarray(self.sequence(table.pd, table.t1, table.t2), np.float64)

    def about(self) -> dict[str, Any]:
        """For `case.json`."""
        numbers = {name: round(float(value), 3) for name, value in asdict(self.sequence).items()}  # type: ignore[call-overload]
        return {
            "sequence": type(self.sequence).__name__,
            **numbers,
            "field": round(self.field, 2),
            "gadolinium": round(self.gadolinium, 2),
            "fat": round(self.fat, 2),
        }


def _any_field(rng: np.random.Generator) -> float:
    """1.5 T or 3 T, a little off: published relaxation times differ by as much."""
    return float(np.clip(rng.choice([1.5, 3.0]) * np.exp(rng.normal(0, 0.08)), 1.5, 3.0))


def _fat(rng: np.random.Generator, suppressed: float) -> float:
    return float(rng.uniform(0.05, 0.45) if rng.random() < suppressed else rng.uniform(0.8, 1.15))


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


def random_protocol(modality: Modality, rng: np.random.Generator) -> Protocol:
    """An MR protocol as some hospital runs it."""
    field = _any_field(rng)
    if modality in (Modality.T1, Modality.T1CE):
        sequence = random_t1(rng)
        spin_echo = isinstance(sequence, SpinEcho)
        dose = rng.uniform(0.5, 1.5) if modality is Modality.T1CE else 0.0
        return Protocol(
            sequence,
            field,
            gadolinium=float(dose),
            fat=_fat(rng, 0.3 if dose else 0.12),
            vein=float(rng.uniform(0.15, 0.9) if spin_echo else rng.uniform(0.6, 1.5)),
            artery=float(rng.uniform(0.05, 0.4) if spin_echo else rng.uniform(0.6, 3.0)),
        )
    vein, artery = float(rng.uniform(0.05, 0.7)), float(rng.uniform(0.02, 0.3))
    if modality is Modality.T2:
        spin_echo_2d = SpinEcho(tr=rng.uniform(2500, 8000), te=rng.uniform(75, 130))
        return Protocol(spin_echo_2d, field, turbo=rng.random() < 0.9, fat=_fat(rng, 0.25), vein=vein, artery=artery)
    if modality is Modality.PD:
        spin_echo_2d = SpinEcho(tr=rng.uniform(1800, 5000), te=rng.uniform(8, 35))
        return Protocol(spin_echo_2d, field, turbo=rng.random() < 0.8, fat=_fat(rng, 0.2), vein=vein, artery=artery)
    if modality is Modality.FLAIR:
        tr = rng.uniform(5500, 11000)
        ti = null_time(tr, CSF_T1) * rng.uniform(0.93, 1.05)
        sequence = InversionRecovery(tr=tr, ti=ti, te=rng.uniform(80, 150))
        # The table's contrast of grey and white vanishes above this field; on real scans grey is the brighter.
        field = min(field, FLAIR_FIELD)
        return Protocol(sequence, field, turbo=True, fat=_fat(rng, 0.55), vein=vein, artery=artery)
    raise ValueError(f"There is no MR protocol for {modality}.")


_STANDARD_T1 = Mprage(tr=2100, ti=1000, te=3, flip=9, pulses=150, spacing=8)
STANDARD: dict[Modality, Protocol] = {
    Modality.T1: Protocol(_STANDARD_T1, T1_FIELD, vein=0.9, artery=0.9),
    Modality.T1CE: Protocol(_STANDARD_T1, T1_FIELD, gadolinium=1.0, vein=1.0, artery=1.0),
    Modality.T2: Protocol(SpinEcho(tr=6000, te=100), TARGET_FIELD, turbo=True, vein=0.3, artery=0.1),
    Modality.FLAIR: Protocol(
        InversionRecovery(tr=9000, ti=2500, te=110), FLAIR_FIELD, turbo=True, fat=0.2, vein=0.3, artery=0.1
    ),
    Modality.PD: Protocol(SpinEcho(tr=3000, te=20), TARGET_FIELD, turbo=True, vein=0.4, artery=0.15),
}
"""The one protocol of each contrast that a network learns to show. On T2, CSF is 3.3 times the brain's median, as on the
real scans that we have; there fat is suppressed on FLAIR and bright on T1 and T2."""


def vary_outside(table: TissueValues, rng: np.random.Generator) -> None:
    """Outside the brain a source may be far from the table: coil, saturation bands, shift of fat. In place."""
    for name in OUTSIDE_BRAIN:
        table.pd[CODE[name]] *= rng.uniform(0.6, 1.15)
