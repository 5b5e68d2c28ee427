"""The configuration of the recogniser: one YAML file, read by every step."""

from pathlib import Path

from pydantic import Field

from modality_conversion.modality import Modality
from training.config import Settings, check, read_yaml
from training.data.split import Part
from training.simulation.anatomy import Deformation
from training.simulation.settings import CaseSettings


def _default_people() -> dict[Part, int]:
    return {"training": 4, "validation": 2, "test": 4}


def _default_scans() -> dict[Modality, int]:
    mr = (Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.PD)
    return dict.fromkeys(mr, 2) | {Modality.CT: 1}


def _default_examples() -> dict[Part, int]:
    return {"training": 11000, "validation": 400}


class HeadSettings(Settings):
    """Simulated people, painted under several protocols each and kept on voxels of 3 mm."""

    labels: Path
    """Folder with the label maps, 1 mm."""
    folder: Path
    """Where they go; each part of the split gets a folder of its own."""
    people: dict[Part, int] = Field(default_factory=_default_people)
    """People made of each label map of the part."""
    scans: dict[Modality, int] = Field(default_factory=_default_scans)
    """Scans of each training person, each under a protocol of its own."""
    seed: int = 2026
    """Rules everything random."""
    case: CaseSettings = CaseSettings(deformation=Deformation(partial=0.0))
    """What happens to a person; scanners are simulated while training."""


class TrainSettings(Settings):
    """The examples and the training."""

    run: Path
    """Folder for the examples, the weights and the curve."""
    examples: dict[Part, int] = Field(default_factory=_default_examples)
    """Examples that are made once, a twentieth of a second each: a scan of someone under a new scanner, cut and turned."""
    others: float = Field(0.16, ge=0, lt=1)
    """Fraction of them that is no head, or no plain scan of one."""
    real: int = Field(20, ge=0)
    """Examples made of each real scan of the training people of the split; 0: only simulated ones."""
    epochs: int = Field(22, ge=1)
    """Times that each is shown, turned another way."""
    batch: int = Field(48, ge=2)
    """Examples a step."""
    learning_rate: float = Field(0.002, gt=0)
    """Highest learning rate of AdamW, reached after a twentieth of the steps, then falling by a cosine."""
    seed: int = 7
    """Rules everything random."""


class BundleSettings(Settings):
    """The folder that the engine reads."""

    folder: Path
    """Where it goes."""
    title: str = "Recogniser"
    """Name to show."""
    version: str = "1.0.0"
    """Version of the network."""
    citation: str = "ModalityConversion for 3D Slicer, 2026"
    """How to cite it."""
    known_above: float = Field(0.9, gt=0.5, lt=1)
    """Probability from which a modality is named; below it is `do not know`."""


class MeasureSettings(Settings):
    """What the finished recogniser is measured on."""

    data: Path
    """Folder with `ms_longitudinal`, `ms_mni` and `ms_flair`."""
    cases: Path | None = None
    """Folder of packed cases of people kept out (`simulate`), which may show a part of the head alone."""
    folder: Path
    """Where figures go."""


class RecogniserSettings(Settings):
    """A configuration file."""

    heads: HeadSettings
    """Simulated people."""
    train: TrainSettings
    """The training."""
    bundle: BundleSettings
    """What is exported."""
    measure: MeasureSettings
    """What it is measured on."""


def read_settings(path: Path) -> RecogniserSettings:
    """Read and check a configuration file. Raises ConfigError."""
    return check(RecogniserSettings, read_yaml(path), path.name)
