"""Tissue values: proton density, T1 and T2 at 1.5 T and 3 T, and how one head's values are drawn around them.

Source: the table of FIELD.md section 5 (`table` below). Where the table is silent the value is our estimate, marked so;
such tissues are drawn from a wider range.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

FIELDS = (1.5, 3.0)
"""Field strengths of the table, tesla."""


@dataclass(frozen=True)
class Tissue:
    """Proton density relative to CSF; T1 and T2 in ms at 1.5 T and at 3 T; `spread` as a fraction of each value.

    `turbo` is the share of signal left in a turbo spin echo, whose many pulses saturate protons bound to large molecules
    (magnetisation transfer). Our estimate: with it grey over white is 1.40 on the standard T2; a real scan measured 1.39.
    """

    pd: float
    t1: tuple[float, float]
    t2: tuple[float, float]
    spread: float = 0.1
    turbo: float = 1.0

    def at(self, field: float) -> tuple[float, float, float]:
        """(PD, T1, T2) at the given field strength in tesla."""
        index = FIELDS.index(field)
        return self.pd, self.t1[index], self.t2[index]


def _between(grey: float, *, iron: float = 1.0, spread: float = 0.08) -> Tissue:
    """A structure that is the fraction `grey` of grey matter, the rest white; iron shortens its T2 by the factor."""
    white, cortex = TISSUES["white_matter"], TISSUES["grey_matter"]

    def mix(a: float, b: float) -> float:
        return a + grey * (b - a)

    return Tissue(
        pd=mix(white.pd, cortex.pd),
        t1=(mix(white.t1[0], cortex.t1[0]), mix(white.t1[1], cortex.t1[1])),
        t2=(iron * mix(white.t2[0], cortex.t2[0]), iron * mix(white.t2[1], cortex.t2[1])),
        spread=spread,
        turbo=mix(white.turbo, cortex.turbo),
    )


TISSUES: dict[str, Tissue] = {
    "white_matter": Tissue(0.77, (500, 830), (70, 75), turbo=0.86),  # table
    "grey_matter": Tissue(0.86, (833, 1558), (83, 83), turbo=0.97),  # table
    "csf": Tissue(1.0, (4300, 4163), (2200, 1650)),  # table; 1.5 T is the upper of its two values
    "fat": Tissue(1.0, (350, 374), (70, 125), 0.15),  # table
    "muscle": Tissue(1.0, (900, 1100), (47, 40), 0.15, turbo=0.8),  # table
    "marrow": Tissue(0.8, (450, 586), (110, 127), 0.25),  # table at 3 T; PD and 1.5 T estimated
    "cortical_bone": Tissue(0.05, (250, 250), (5, 5), 0.2),  # table
    "blood": Tissue(0.6, (1350, 1600), (80, 50), 0.3),  # table; less PD, since flowing blood loses signal (estimate)
    "ms_lesion": Tissue(0.8, (752, 1250), (190, 180), 0.2),  # table at 1.5 T, its T2 lowered for milder lesions
    "oedema": Tissue(0.9, (1100, 1500), (130, 140), 0.15),  # table
    "tumor": Tissue(0.9, (1200, 1600), (110, 120), 0.2),  # table
    "skin": Tissue(0.8, (700, 900), (45, 40), 0.25),  # estimate
    "eye": Tissue(1.0, (3500, 4000), (900, 800), 0.15),  # estimate: vitreous is nearly water
    "mucosa": Tissue(0.9, (1000, 1300), (100, 95), 0.25),  # estimate: bright on T2
}
TISSUES |= {  # grey and white in proportion, deep nuclei with iron (estimates)
    "thalamus": _between(0.55),
    "caudate": _between(0.9, iron=0.95),
    "putamen": _between(0.8, iron=0.92),
    "pallidum": _between(0.35, iron=0.78),
    "brain_stem": _between(0.3, spread=0.06),
    "ventral_dc": _between(0.4, iron=0.9),
    "cerebellar_cortex": _between(0.85),
    "cerebellar_white": _between(0.08, spread=0.06),
    "hippocampus": replace(_between(0.95), t2=(88, 88)),
}

AIR = "air"
NAMES: tuple[str, ...] = (AIR, *TISSUES)
CODE: dict[str, int] = {name: code for code, name in enumerate(NAMES)}


@dataclass(frozen=True)
class TissueValues:
    """One head's values, indexed by tissue code: arrays of length `len(NAMES)`; air has no proton density."""

    pd: np.ndarray
    t1: np.ndarray
    t2: np.ndarray


def draw_deviations(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """For each tissue three numbers in [-1, 1] for PD, T1 and T2.

    One draw serves both contrasts of a head, at any field strength: a head with watery white matter has it on both.
    """
    return {name: rng.uniform(-1, 1, 3) for name in TISSUES}


def values(
    field: float,
    deviations: Mapping[str, np.ndarray] | None = None,
    *,
    scale: float = 1.0,
    turbo: bool = False,
) -> TissueValues:
    """Tissue values at `field` tesla, moved by `deviations` times each tissue's spread times `scale`.

    With `turbo` the proton density holds only what a turbo spin echo leaves of it.
    """
    rows = np.ones((len(NAMES), 3), np.float32)
    rows[CODE[AIR], 0] = 0
    for name, tissue in TISSUES.items():
        moved = np.zeros(3) if deviations is None else deviations[name] * tissue.spread * scale
        moved[0] *= 0.5  # proton density varies less than relaxation does
        rows[CODE[name]] = np.array(tissue.at(field)) * np.exp(moved)
        if turbo:
            rows[CODE[name], 0] *= tissue.turbo
    return TissueValues(rows[:, 0], rows[:, 1], rows[:, 2])


OUTSIDE_BRAIN = ("fat", "muscle", "marrow", "cortical_bone", "skin", "eye", "mucosa")
