"""The `simulate` section of a configuration."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from modality_conversion.modality import Modality
from training.config import Settings
from training.data.split import Part
from training.simulation.anatomy import Deformation
from training.simulation.lesions import KINDS, MASS_KINDS
from training.simulation.tissues import CODE

SIMULATED = (Modality.CT, Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.PD)
"""What can be simulated."""


def _default_disease() -> dict[str, float]:
    return {
        "multiple_sclerosis": 0.35,
        "small_vessels": 0.25,
        "stroke": 0.12,
        "haemorrhage": 0.1,
        "subdural": 0.04,
        "metastases": 0.05,
        "calcifications": 0.4,
    }


class CaseSettings(Settings):
    """What is made of each head, how often things happen to it, and how strongly."""

    sources: tuple[Modality, ...] = (Modality.CT, Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR)
    """Contrasts made as sources, each under a protocol of its own."""
    sources_per_case: int | None = Field(None, ge=1)
    """Only so many of them, drawn for each case, to save time and disk. None: all."""
    targets: tuple[Modality, ...] = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)
    """Contrasts made as targets, each under its one standard protocol; none for a network that segments."""

    deformation: Deformation = Deformation()
    """How far a head is from its label map, and what of it is in the field of view."""
    atrophy: float = Field(0.35, ge=0, le=1)
    """Fraction of cases with a thinner cortex and wider ventricles than the label map."""
    healthy: float = Field(0.2, ge=0, le=1)
    """Fraction of cases with no disease at all; the following fractions are of the others."""
    disease: dict[str, float] = Field(default_factory=_default_disease)
    """How often each kind of lesion happens; `calcifications` are drawn for the healthy too."""
    mass: float = Field(0.3, ge=0, le=1)
    """Fraction of cases with one mass that pushes the brain aside."""
    masses: dict[str, float] = Field(default_factory=lambda: dict(MASS_KINDS))
    """How often each kind of mass is drawn, relative to the others."""

    stripped: float = Field(0.4, ge=0, le=1)
    """Fraction of cases with the skull stripped: background exactly 0."""
    defaced: float = Field(0.3, ge=0, le=1)
    """Fraction of the whole heads whose face is cut away."""

    thick: float = Field(0.5, ge=0, le=1)
    """Fraction of cases with slices of `thickness` mm; the rest is isotropic, 1 mm."""
    thickness: tuple[float, float] = (2.0, 5.0)
    """Thickness of thick slices in mm."""
    mixed: float = Field(0.2, ge=0, le=1)
    """Fraction of the thick cases in which each source has slices of its own and the targets are of 1 mm; in the others
    all have the same slices, the targets too."""
    pixels: float = Field(0.3, ge=0, le=1)
    """Fraction of the thick scans with pixels above 1 mm."""
    blur: tuple[float, float] = (0.45, 0.8)
    """Deviation in mm of the blur that makes partial volume; one for the targets and the least for the sources."""
    softer: tuple[float, float] = (0.0, 0.6)
    """Deviation in mm of a further blur of each source."""

    passage: tuple[float, float] = (0.5, 1.2)
    """Deviation in mm of the blur between grey and white matter, which have no sharp border."""
    texture: tuple[float, float] = (0.5, 1.8)
    """How much tissues vary from place to place; 1: white matter's T1 by 5 %."""
    source_spread: float = 1.6
    """How far tissue values of sources are from the table, in spreads."""
    target_spread: float = 0.35
    """The same for targets, which should not depend on what a network cannot know."""
    noise: tuple[float, float] = (0.0, 0.06)
    """Deviation of the Rician noise of an MR source, as a fraction of its brain's median."""
    bias: tuple[float, float] = (0.0, 0.28)
    """Strength of a source's bias field (see `scanner.bias_field`)."""
    surface: tuple[float, float] = (0.0, 0.8)
    """How much brighter a source is at the skin, near the coil."""
    fault: float = Field(0.1, ge=0, le=1)
    """Fraction of MR sources with movement, ghosts or spikes."""
    dark_background: float = Field(0.25, ge=0, le=1)
    """Fraction of MR sources whose noise outside the head was set to 0."""
    negative: float = Field(0.04, ge=0, le=1)
    """Fraction of MR sources that were standardised, so that parts of the brain lie below the background's 0."""
    smaller: float = Field(0.06, ge=0, le=1)
    """Fraction of sources that end before the grid does, with zeros beyond."""
    unsaid_agent: float = Field(0.08, ge=0, le=1)
    """Fraction of T1 sources after contrast agent, though nobody said so."""
    csf_flow: float = Field(0.3, ge=0, le=1)
    """Fraction of FLAIR sources with bright patches in CSF that moves."""

    ct_noise: tuple[float, float] = (1.5, 12.0)
    """Deviation of the noise of a CT source, HU."""
    ct_windowed: float = Field(0.45, ge=0, le=1)
    """Fraction of CT sources cut to a window."""
    ct_eight_bit: float = Field(0.1, ge=0, le=1)
    """Fraction of the windowed ones stored as 0 .. 255."""
    ct_rest: float = Field(0.4, ge=0, le=1)
    """Fraction of whole CT sources with a head rest."""
    ct_agent: float = Field(0.1, ge=0, le=1)
    """Fraction of CT sources after contrast agent."""

    @field_validator("sources", "targets")
    @classmethod
    def _can_be_made(cls, value: tuple[Modality, ...], about: ValidationInfo) -> tuple[Modality, ...]:
        wrong = [str(modality) for modality in value if modality not in SIMULATED]
        missing = not value and about.field_name == "sources"
        if wrong or missing or len(set(value)) < len(value):
            raise ValueError(f"name each once, out of {', '.join(SIMULATED)}")
        return value

    @field_validator("disease", "masses")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        known = {*KINDS, *MASS_KINDS}
        if wrong := sorted(set(value) - known):
            raise ValueError(f"nothing is known of {', '.join(wrong)}; there are {', '.join(sorted(known))}")
        return value


def _default_shares() -> dict[Part, float]:
    return {"training": 0.8, "validation": 0.1, "test": 0.1}


def _default_counts() -> dict[Part, int]:
    return {"training": 9, "validation": 3, "test": 2}


class SimulateSettings(Settings):
    """What `simulate` makes."""

    labels: Path
    """Folder with the label maps, 1 mm."""
    cases: Path
    """Folder for the cases; each part of the split gets a folder of its own."""
    counts: dict[Part, int] = Field(default_factory=_default_counts)
    """Cases of each label map, by part of the split."""
    shares: dict[Part, float] = Field(default_factory=_default_shares)
    """How label maps that the split does not name are divided; `split.yaml` beside the cases says how they were."""
    seed: int = 2026
    """Rules everything random in a case, together with its label map's name and its number."""
    slices: int | None = Field(None, ge=16)
    """Of each case to learn from, or to choose an epoch with, keep only so many neighbouring axial slices, at a random place,
    scaled by the whole: more heads on the same disk. Cases of the test part are whole. None: all."""
    spacing: int = Field(1, ge=1, le=4)
    """Side in mm of the voxels of cases to learn from, or to choose an epoch with; all are simulated at 1 mm, and those of the
    test part stay so."""
    extra_labels: dict[int, str] = Field(default_factory=dict)
    """Tissue of labels that the shipped label maps do not have, by number; a tissue's name, or `air`."""
    case: CaseSettings = CaseSettings()
    """What happens to a head."""

    @field_validator("extra_labels")
    @classmethod
    def _tissues(cls, value: dict[int, str]) -> dict[int, str]:
        if wrong := sorted(set(value.values()) - set(CODE)):
            raise ValueError(f"there is no tissue {', '.join(wrong)}; there are {', '.join(CODE)}")
        return value
