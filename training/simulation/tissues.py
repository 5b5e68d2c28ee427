"""Tissue values: proton density, T1 and T2 at 1.5 T and 3 T, Hounsfield units; and how one head's values are drawn.

Source: the table of FIELD.md section 5 (`table` below). Where the table is silent the value is our estimate, marked so;
such tissues are drawn from a wider range.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.data.regions import Tissue as Kind

FIELDS = (1.5, 3.0)
"""Field strengths of the table, tesla; between them values are interpolated on a logarithmic scale."""


@dataclass(frozen=True)
class Tissue:
    """Proton density relative to CSF; T1 and T2 in ms at 1.5 T and at 3 T; range of HU; `spread` of the MR values.

    `turbo` is the share of signal left in a turbo spin echo, whose many pulses saturate protons bound to large molecules
    (magnetisation transfer). Our estimate: with it grey over white is 1.40 on the standard T2; a real scan measured 1.39.
    `gadolinium` is the rise of 1/T1 (1/s) after a usual dose; `grain` how much more it varies from place to place than
    white matter does.
    """

    pd: float
    t1: tuple[float, float]
    t2: tuple[float, float]
    hu: tuple[float, float]
    kind: Kind
    spread: float = 0.1
    turbo: float = 1.0
    gadolinium: float = 0.0
    grain: float = 1.0
    grey: float | None = None
    """How far brain tissue is on the way from white (0) to grey matter (1); None for other tissue."""

    def at(self, field: float) -> tuple[float, float, float]:
        """(PD, T1, T2) at the given field strength in tesla."""
        share = float(np.clip(np.log(field / FIELDS[0]) / np.log(FIELDS[1] / FIELDS[0]), 0, 1))
        t1, t2 = (low * (high / low) ** share for low, high in (self.t1, self.t2))
        return self.pd, t1, t2


def _between(grey: float, *, iron: float = 1.0, spread: float = 0.08) -> Tissue:
    """A structure that is the fraction `grey` of grey matter, the rest white; iron shortens its T2 by the factor."""
    white, cortex = TISSUES["white_matter"], TISSUES["grey_matter"]

    def mix(a: float, b: float) -> float:
        return a + grey * (b - a)

    return Tissue(
        pd=mix(white.pd, cortex.pd),
        t1=(mix(white.t1[0], cortex.t1[0]), mix(white.t1[1], cortex.t1[1])),
        t2=(iron * mix(white.t2[0], cortex.t2[0]), iron * mix(white.t2[1], cortex.t2[1])),
        hu=(mix(white.hu[0], cortex.hu[0]), mix(white.hu[1], cortex.hu[1])),
        kind=Kind.GREY if grey > 0.5 else Kind.WHITE,
        spread=spread,
        turbo=mix(white.turbo, cortex.turbo),
        grey=grey,
    )


TISSUES: dict[str, Tissue] = {
    "white_matter": Tissue(0.77, (500, 830), (70, 75), (20, 30), Kind.WHITE, turbo=0.86, grey=0),  # table
    "grey_matter": Tissue(0.86, (833, 1558), (83, 83), (37, 45), Kind.GREY, turbo=0.97, grey=1),  # table
    "csf": Tissue(1.0, (4300, 4163), (2200, 1650), (0, 15), Kind.CSF, 0.04, grain=0),  # table; at 1.5 T its upper value
    "fat": Tissue(1.0, (350, 374), (70, 125), (-120, -50), Kind.FAT, 0.15, turbo=0.75, grain=1.5),  # table
    "muscle": Tissue(
        1.0, (900, 1100), (47, 40), (10, 40), Kind.SOFT, 0.15, turbo=0.8, gadolinium=0.3, grain=3
    ),  # table
    # Table at 3 T and in HU; PD and 1.5 T estimated.
    "marrow": Tissue(0.8, (450, 586), (110, 127), (300, 400), Kind.BONE, 0.25, turbo=0.8, gadolinium=0.3, grain=5),
    "cortical_bone": Tissue(0.05, (250, 250), (5, 5), (700, 1900), Kind.BONE, 0.2, grain=2),  # table
    # Table; less PD, since flowing blood loses signal (estimate).
    "vein": Tissue(0.6, (1350, 1600), (80, 50), (45, 65), Kind.SOFT, 0.3, gadolinium=9.0),
    "ms_lesion": Tissue(0.8, (752, 1250), (150, 150), (18, 28), Kind.LESION, 0.2),  # table, T2 lowered for milder ones
    "oedema": Tissue(0.9, (1100, 1500), (130, 140), (15, 25), Kind.LESION, 0.15, turbo=0.95),  # table
    "tumor": Tissue(0.9, (1200, 1600), (110, 120), (25, 45), Kind.LESION, 0.2, turbo=0.95, gadolinium=0.3, grain=2.5),
}
TISSUES |= {  # grey and white in proportion, deep nuclei with iron (estimates)
    "thalamus": _between(0.55),
    "caudate": _between(0.9, iron=0.95),
    "putamen": _between(0.8, iron=0.92),
    "pallidum": replace(_between(0.35, iron=0.78), hu=(34, 46), kind=Kind.GREY),
    "brain_stem": _between(0.3, spread=0.06),
    "ventral_dc": _between(0.4, iron=0.9),
    "cerebellar_cortex": _between(0.85),
    "cerebellar_white": _between(0.08, spread=0.06),
    "hippocampus": replace(_between(0.95), t2=(88, 88)),
}
TISSUES |= {  # outside the brain (estimates)
    "ventricle": TISSUES["csf"],
    "artery": replace(TISSUES["vein"], pd=0.5),
    "dura": Tissue(0.7, (900, 1200), (45, 40), (40, 60), Kind.SOFT, 0.2, turbo=0.85, gadolinium=3.0),
    "choroid": Tissue(0.9, (1100, 1500), (110, 115), (30, 50), Kind.SOFT, 0.2, gadolinium=5.0, grain=2),
    # Spongy bone between the tables of the skull: half marrow, half trabeculae, thinner than a voxel.
    "diploe": Tissue(0.4, (400, 480), (60, 70), (350, 650), Kind.BONE, 0.3, turbo=0.8, gadolinium=0.5, grain=6),
    "skin": Tissue(0.8, (700, 900), (45, 40), (20, 60), Kind.SOFT, 0.25, gadolinium=0.6),
    "eye": Tissue(1.0, (3500, 4000), (900, 800), (5, 15), Kind.SOFT, 0.15, grain=0),  # vitreous is nearly water
    "lens": Tissue(0.7, (1000, 1300), (30, 28), (60, 90), Kind.SOFT, 0.15, turbo=0.8, grain=0.5),
    "sclera": Tissue(0.6, (800, 1000), (35, 32), (30, 50), Kind.SOFT, 0.2, gadolinium=2.0),
    "mucosa": Tissue(0.9, (1000, 1300), (100, 95), (20, 50), Kind.SOFT, 0.25, gadolinium=1.3, grain=3),
    "mucus": Tissue(0.95, (1500, 1900), (250, 220), (10, 40), Kind.SOFT, 0.3, grain=1.5),  # fluid in a sinus
    "soft": Tissue(0.9, (850, 1050), (50, 45), (20, 45), Kind.SOFT, 0.2, turbo=0.8, gadolinium=0.5, grain=2),
}
TISSUES |= {  # disease (estimates)
    "leukoaraiosis": Tissue(0.8, (650, 1050), (100, 105), (18, 27), Kind.LESION, 0.15, turbo=0.9, grey=0),
    "gliosis": Tissue(0.88, (950, 1400), (125, 130), (18, 28), Kind.LESION, 0.15, turbo=0.95),
    "infarct": Tissue(0.88, (1000, 1550), (115, 120), (18, 28), Kind.LESION, 0.15, turbo=0.95, gadolinium=0.3),
    "subacute_infarct": Tissue(0.9, (950, 1500), (130, 135), (22, 32), Kind.LESION, 0.15, turbo=0.95, gadolinium=0.9),
    "cyst": Tissue(1.0, (3200, 3400), (900, 800), (2, 14), Kind.LESION, 0.2, grain=0.5),
    "enhancing": Tissue(0.88, (1050, 1450), (100, 105), (30, 45), Kind.LESION, 0.2, 0.95, gadolinium=4.0, grain=2.5),
    "necrosis": Tissue(0.96, (2300, 2700), (300, 280), (10, 22), Kind.LESION, 0.25, grain=2),
    "glioma": Tissue(0.92, (1350, 1750), (150, 155), (20, 30), Kind.LESION, 0.2, grain=1.5),
    "meningioma": Tissue(0.86, (900, 1450), (90, 92), (38, 55), Kind.LESION, 0.15, 0.95, gadolinium=6.0, grain=1.5),
    # Blood clots by age: iso-intense, dark on T2, bright on T1, bright on both, iron around an old one.
    "acute_clot": Tissue(0.85, (1100, 1450), (48, 38), (58, 75), Kind.LESION, 0.15, grain=2.5),
    "early_clot": Tissue(0.85, (420, 480), (45, 38), (50, 65), Kind.LESION, 0.15, grain=2.5),
    "late_clot": Tissue(0.95, (420, 480), (160, 150), (28, 45), Kind.LESION, 0.15, grain=2.5),
    "haemosiderin": Tissue(0.6, (900, 1300), (30, 22), (28, 40), Kind.LESION, 0.15, grain=2.5),
    "calcification": Tissue(0.4, (600, 800), (25, 22), (90, 350), Kind.LESION, 0.3),
}

AIR, CAVITY = "air", "cavity"
"""Air around the head, and within it."""
NAMES: tuple[str, ...] = (AIR, CAVITY, *TISSUES)
CODE: dict[str, int] = {name: code for code, name in enumerate(NAMES)}
AIR_HU = -1000.0

BRAIN_TISSUE = (
    *("white_matter", "grey_matter", "thalamus", "caudate", "putamen", "pallidum", "brain_stem", "ventral_dc"),
    *("cerebellar_cortex", "cerebellar_white", "hippocampus", "leukoaraiosis"),
)
WHITE = ("white_matter", "cerebellar_white", "brain_stem", "leukoaraiosis")
BRAIN = (*BRAIN_TISSUE, "ventricle", "choroid")
"""Brain tissue with its ventricles, without the CSF around it."""
BONE = ("cortical_bone", "diploe", "marrow")
FATTY = ("fat", "marrow", "diploe")
OUTSIDE_BRAIN = ("fat", "muscle", "marrow", "diploe", "cortical_bone", "skin", "eye", "mucosa", "soft")


def kinds() -> NDArray[np.uint8]:
    """`training.data.regions.Tissue` of each tissue code."""
    outside = [Kind.NONE, Kind.AIR]
    return np.array([*outside, *(tissue.kind for tissue in TISSUES.values())], np.uint8)


@dataclass(frozen=True)
class TissueValues:
    """One head's values, indexed by tissue code: arrays of length `len(NAMES)`; air has no proton density."""

    pd: NDArray[np.float64]
    t1: NDArray[np.float64]
    t2: NDArray[np.float64]


Deviations = Mapping[str, NDArray[np.float64]]


def draw_deviations(rng: np.random.Generator) -> Deviations:
    """For each tissue four numbers in [-1, 1], for PD, T1, T2 and HU.

    One draw serves all contrasts of a head, at any field strength: a head with watery white matter has it on all.
    """
    return {name: rng.uniform(-1, 1, 4) for name in TISSUES}


def values(
    field: float,
    deviations: Deviations | None = None,
    *,
    scale: float = 1.0,
    turbo: bool = False,
    gadolinium: float = 0.0,
) -> TissueValues:
    """Tissue values at `field` tesla, moved by `deviations` times each tissue's spread times `scale`.

    With `turbo` the proton density holds only what a turbo spin echo leaves of it. `gadolinium` is the dose of contrast
    agent, 1 being the usual one.
    """
    rows = np.ones((len(NAMES), 3))
    rows[[CODE[AIR], CODE[CAVITY]], 0] = 0
    for name, tissue in TISSUES.items():
        moved = np.zeros(3) if deviations is None else deviations[name][:3] * tissue.spread * scale
        moved[0] *= 0.5  # proton density varies less than relaxation does
        row = np.array(tissue.at(field)) * np.exp(moved)
        row[0] *= tissue.turbo if turbo else 1
        row[1] = 1 / (1 / row[1] + gadolinium * tissue.gadolinium / 1000)
        rows[CODE[name]] = row
    return TissueValues(rows[:, 0], rows[:, 1], rows[:, 2])


def hounsfield(deviations: Deviations | None = None, *, scale: float = 1.0) -> NDArray[np.float64]:
    """HU by tissue code: the middle of each range, moved by `deviations` times half its width times `scale` (0 .. 1)."""
    found = np.full(len(NAMES), AIR_HU)
    for name, tissue in TISSUES.items():
        low, high = tissue.hu
        moved = 0.0 if deviations is None else deviations[name][3] * scale
        found[CODE[name]] = (low + high) / 2 + moved * (high - low) / 2
    return found


def greyness() -> NDArray[np.float64]:
    """`Tissue.grey` by tissue code; not a number where it has none."""
    return np.array([np.nan, np.nan, *(np.nan if t.grey is None else t.grey for t in TISSUES.values())])


def grains() -> NDArray[np.float64]:
    """By tissue code, how much it varies from place to place; white matter 1, air 0."""
    return np.array([0.0, 0.0, *(tissue.grain for tissue in TISSUES.values())])
