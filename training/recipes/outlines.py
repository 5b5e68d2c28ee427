"""What recipes of segmentation declare alike: the grid, the scales, the labels and their coded meaning."""

from collections.abc import Sequence
from typing import Any

from modality_conversion.modality import Modality
from training.data.scale import declared_ops
from training.networks.tumor import FinderSettings
from training.recipes.declared import before_padding, padded

_ABNORMAL = ("SCT", "49755003", "Morphologically Abnormal Structure")
_ANATOMICAL = ("SCT", "123037004", "Anatomical Structure")
TUMOR_LABELS = (
    ("Oedema around the core", _ABNORMAL, ("SCT", "79654002", "Edema")),
    ("Tumor core", _ABNORMAL, ("SCT", "108369006", "Neoplasm")),
    ("Enhancing part of the core", _ABNORMAL, ("NCIt", "C113842", "Enhancing Lesion")),
)
"""What is in one of `TUMOR_REGIONS` and not in the next; terms of DICOM CID 7159."""
HEAD_LABELS = (("Head", _ANATOMICAL, ("SCT", "69536005", "Head")),)

Term = tuple[str, str, str]
NamedLabel = tuple[str, Term, Term]


def _code(term: Term) -> dict[str, str]:
    return dict(zip(("scheme", "value", "meaning"), term, strict=True))


def labels(named: Sequence[NamedLabel]) -> list[dict[str, Any]]:
    """`segmentation.labels`, numbered from 1 in their order."""
    return [
        {"value": value, "name": name, "terminology": {"category": _code(category), "type": _code(kind)}}
        for value, (name, category, kind) in enumerate(named, 1)
    ]


def grid(spacing: float, *, pad_multiple: list[int | None] | None = None) -> dict[str, Any]:
    """`geometry`: RAS, arrays (z, y, x), cubic voxels; coarser ones are averages."""
    interpolation = "linear" if spacing <= 1 else "area"
    geometry: dict[str, Any] = {"axcodes": "RAS", "array_order": "kji", "spacing": [spacing] * 3}
    geometry |= {"interpolation": interpolation}
    return geometry | padded(pad_multiple)


def joint_inputs(image: str, sources: Sequence[Modality]) -> list[dict[str, Any]]:
    """`inputs`: any of these scans, and a code that says which."""
    return [
        *({"name": image, "role": "image", "modality": str(source), "missing": "zeros"} for source in sources),
        {"name": "given", "role": "source_code", "order": [str(source) for source in sources]},
    ]


def segmenting(
    sources: Sequence[Modality],
    inputs: list[dict[str, Any]],
    sampler: dict[str, Any],
    geometry: dict[str, Any],
    segmentation: dict[str, Any],
    fusion: str = "mean",
) -> dict[str, Any]:
    """The part of `conversion.json` that says how the engine feeds a network that only segments."""
    return {
        "sources": [{"modality": str(modality), "anatomy": "head"} for modality in sources],
        "targets": {},
        "geometry": geometry,
        "ops": before_padding(declared_ops(sources), sources),
        "inputs": inputs,
        "sampler": sampler,
        "fusion": fusion,
        "segmentation": segmentation,
    }


def finder(settings: FinderSettings, sources: Sequence[Modality]) -> dict[str, Any]:
    """`segmentation.find`, without its weights."""
    return {
        "geometry": grid(settings.spacing),
        "inputs": joint_inputs("coarse", sources),
        "sampler": {"kind": "patch", "size": list(settings.size), "overlap": 0.25, "batch": 1, "edge": "zero"},
        "fusion": "gaussian",
        "threshold": settings.threshold,
        "smallest_ml": settings.smallest_ml,
        "margin_mm": settings.margin,
    }
