"""From the channels of a segmenting network to a label map on the scan's grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from .clean_up import clean_up
from .errors import ConversionError
from .foreground import foreground
from .prepare import Prepared
from .random_field import refined

if TYPE_CHECKING:
    from .schema import ConversionSpec, Label, Segmentation

_THRESHOLD = 0.5
_ABNORMAL = ("SCT", "49755003")
"""SNOMED CT: morphologically abnormal structure. Labels of any other category are anatomy, not lesions."""
_WHOLE = 0.3
_HUGE_ML = 300.0
"""A share of what a scan shows, and a volume, that lesions do not take up; a brain does, with or without its head."""


def label_map(
    channels: np.ndarray, prepared: Prepared, spec: ConversionSpec, check: Callable[[], None] = lambda: None
) -> np.ndarray:
    """The labels on the source's grid, (k, j, i), uint8 or, for values above 255, uint16; 0 is background.

    `channels` are those of `LabelChannels`, on the network's grid, before the activation. Probabilities are brought to the
    source's grid by linear interpolation, and only there it is decided; what had been cropped away, and what lies outside
    the mask, is background. `check` is called now and then, and may raise.

    Raises ConversionError when the network gave anything but numbers.
    """
    declared = spec.segmentation
    assert declared is not None  # whoever calls this has seen it
    probabilities = activated(finite(channels, spec), declared.activation)
    if declared.crf is not None:
        scans = list(prepared.volumes.values())
        probabilities = refined(probabilities, scans, prepared.grid_spacing, declared.crf, declared.activation, check)
    labels = _decided(probabilities, prepared, declared, check)
    if prepared.native_mask is not None:
        labels[~prepared.native_mask] = 0
    values = [label.value for label in declared.labels]
    clean_up(labels, values, declared.postprocess, prepared.source.GetSpacing()[::-1], check)
    return labels


def finite(channels: np.ndarray, spec: ConversionSpec) -> np.ndarray:
    """The channels as they are. Raises ConversionError when the network gave anything but numbers."""
    if not np.isfinite(channels).all():
        raise ConversionError(
            f"The network of {spec.id} gave values that are not numbers; nothing was kept. Tell the model's author."
        )
    return channels


def activated(channels: np.ndarray, activation: str) -> np.ndarray:
    """Probabilities, same shape and type; with `softmax` they sum to 1 over the first axis."""
    if activation == "softmax":
        powers = np.exp(channels - channels.max(axis=0))
        powers /= powers.sum(axis=0)
        return powers
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-np.clip(channels, -80, 80)))
    return channels


def _decided(
    probabilities: np.ndarray, prepared: Prepared, declared: Segmentation, check: Callable[[], None]
) -> np.ndarray:
    """The label of each voxel of the source's grid; one channel at a time, for they may be many."""
    values = [label.value for label in declared.labels]
    back = prepared.grid_map.inverse_linear
    labels = np.zeros(prepared.source.GetSize()[::-1], dtype=np.uint8 if max(values) < 256 else np.uint16)
    excludes = declared.background is not None
    # Of equally probable ones the first, background before all.
    best: Any = back(probabilities[0], 1.0) if excludes else _THRESHOLD
    for value, channel in zip(values, probabilities[1:] if excludes else probabilities):
        check()
        native = back(channel)
        wins = native > best
        labels[wins] = value
        if excludes:
            best = np.maximum(best, native)
    return labels


def lesion_values(declared: Sequence[Label]) -> list[int]:
    """The values of the labels that are lesions, by their coded category."""
    return [
        label.value
        for label in declared
        if (label.terminology.category.scheme, label.terminology.category.value) == _ABNORMAL
    ]


def far_too_much(labels: np.ndarray, declared: Sequence[Label], scan: sitk.Image) -> str | None:
    """What to say of lesions that take up more of a scan than lesions do; None where they do not."""
    lesions = np.isin(labels, lesion_values(declared))
    if np.count_nonzero(lesions) * float(np.prod(scan.GetSpacing())) / 1000 <= _HUGE_ML:
        return None
    shown = foreground(np.nan_to_num(sitk.GetArrayViewFromImage(scan))) | lesions
    share = int(np.count_nonzero(lesions)) / max(1, int(np.count_nonzero(shown)))
    if share <= _WHOLE:
        return None
    return (
        f"The model calls {share:.0%} of what the scan shows a lesion, which is more than lesions take up. The outline is most "
        "likely wrong; look at it before it is used."
    )


def measured(labels: np.ndarray, declared: Sequence[Label], spacing: Sequence[float]) -> list[dict[str, Any]]:
    """What each label is and how much of it there is, ready for JSON. `spacing` is in mm."""
    counts = np.bincount(labels.ravel(), minlength=1 + max(label.value for label in declared))
    voxel_ml = float(np.prod(spacing)) / 1000
    return [
        {
            **label.model_dump(mode="json", exclude={"channel"}),
            "voxels": int(counts[label.value]),
            "volume_ml": float(counts[label.value]) * voxel_ml,
        }
        for label in declared
    ]
