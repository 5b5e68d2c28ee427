"""How close a synthetic volume comes to the real one, by a named protocol, so that figures are never mixed.

| protocol | for | volumes | PSNR | structure |
| --- | --- | --- | --- | --- |
| `slices` | MR, any contrast | each scaled by its own 0.5-99.5 percentiles in the mask, clipped to [0, 1] | range 1 | SSIM |
| `synthrad2023` | CT | HU | clipped to [-1024, 3000], range 4024 | SSIM, 3 voxels at every face left out |
| `synthrad2025` | CT | HU | clipped to [-1024, 3071], range 4095 | MS-SSIM, five scales |

All figures are means over the mask. For SSIM and MS-SSIM both volumes are set to the low end of the range outside the mask
(0, or -1024 HU), so nothing outside counts. The SynthRAD protocols follow the challenges' published evaluation code. `slices`
scores each pair twice, as it is and after one least-squares affine fit a*p + b in the mask (not clipped again), since MR
units are arbitrary; adds measures between slices; and, when the source is given, scores two base lines in the same way: the
source itself, and the oracle, the best look-up table of the source's grey values. The oracle is already in the target's
scale, so it is not scaled by its own percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from . import metrics
from .errors import ConversionError
from .foreground import foreground
from .geometry import axis_codes
from .grid import on_grid_of
from .metrics import RULES, BetweenSlices, Comparison, Region, Rules, Scored, score
from .same_grid import check_together

PROTOCOLS = tuple(RULES)

# A stripped brain: of the voxels that are not exactly 0 at least this share is above the foreground threshold. Measured:
# 0.92 to 0.99 in stripped scans, 0.41 to 0.84 in whole heads, whose air is noise.
_STRIPPED_SHARE = 0.88
_BODY_HU = -500.0
# Key of a difference image's header: whether the synthetic volume was fitted to the real one first.
FITTED = "affine_fit"
_PLANES = {"L": "sagittal", "R": "sagittal", "P": "coronal", "A": "coronal", "S": "axial", "I": "axial"}


def compare(
    real: sitk.Image,
    synthetic: sitk.Image,
    *,
    mask: sitk.Image | None = None,
    source: sitk.Image | None = None,
    protocol: str = "slices",
    regions: sitk.Image | None = None,
    region_names: Mapping[int, str] | None = None,
) -> Comparison:
    """Score `synthetic` against `real`, by protocol (see the module), in the mask.

    `mask`: any voxel that is not 0 counts; without one, see `default_mask`. `source`: what the synthetic volume was made
    from; adds base lines (`identity` only to `slices`, since MR is not in HU). `regions`: a label map; adds figures for each
    of its labels except 0, inside the mask, named by `region_names`; synthrad2025 gives no structure figure for them.

    A voxel that is NaN or infinite in any of the volumes counts as outside the mask. SSIM needs 7 voxels along each axis and
    is nan in a thinner volume; MS-SSIM pads one of fewer than 97 by repeating its faces, as the challenge does. Both are
    said in `warnings`.

    Raises ConversionError for an unknown protocol; an image that is not 3D and scalar or has no number; one that does not lie
    on the real one's grid; an empty mask; a label map without a label.
    """
    if protocol not in RULES:
        raise ConversionError(f"{protocol!r} is not a protocol. Use one of {', '.join(PROTOCOLS)}.")
    rules = RULES[protocol]
    warnings: list[str] = []
    given = {"synthetic volume": synthetic, "mask": mask, "source": source, "label map of regions": regions}
    check_together(real, given)

    inside, how = _mask(real, mask, is_ct=True if rules.units == "HU" else None)
    volumes = [
        sitk.GetArrayViewFromImage(image).astype(np.float64) for image in (real, synthetic, source) if image is not None
    ]
    inside, volumes = _without_gaps(inside, volumes, warnings)
    labels = _labels(regions, region_names, inside, warnings) if regions is not None else []
    if rules.units == "HU" and volumes[0][inside].min() >= 0:
        warnings.append("The real scan has no value below 0 in the mask: it does not look like a CT in HU.")
    scaled = [_scaled(volume, inside, warnings) if rules.scaled else volume for volume in volumes[:2]]
    _warn_of_size(real, rules, warnings)

    places = [inside, *(where for _, _, where in labels)]
    whole, *parts = score(scaled[0], scaled[1], places, rules)
    if math.isinf(whole.as_is.psnr):
        warnings.append("The two volumes are the same in every voxel of the mask; PSNR is infinite.")
    if whole.fit is not None and whole.fit.slope < 0:
        warnings.append("The affine fit turned the synthetic contrast round: bright in one is dark in the other.")
    return Comparison(
        protocol=protocol,
        definition=rules.definition,
        units=rules.units,
        mask=how,
        synthetic=whole,
        between_slices=_between_slices(real, scaled[0], scaled[1], inside) if rules.scaled else None,
        base_lines=_base_lines(scaled[0], volumes[2], inside, rules) if source is not None else {},
        regions=tuple(
            Region(part.as_is, part.fitted, part.fit, value, name) for (value, name, _), part in zip(labels, parts)
        ),
        warnings=tuple(warnings),
    )


def difference(
    real: sitk.Image, synthetic: sitk.Image, mask: sitk.Image | None = None, *, fit: bool = True
) -> sitk.Image:
    """Synthetic minus real, float32, on the real one's grid, in its units.

    `fit`: after the least-squares affine fit of the synthetic volume to the real one, for MR, whose units are arbitrary;
    False takes the values as they are, for HU. The fit is made in the mask, or in the default mask. With a mask the
    difference is 0 outside it; without, it is taken everywhere. 0 where either has no number. The header field
    `affine_fit` says YES or NO.

    Raises ConversionError as `compare` does.
    """
    check_together(real, {"synthetic volume": synthetic, "mask": mask})
    inside, _ = _mask(real, mask, is_ct=None)
    r, p = (sitk.GetArrayViewFromImage(image).astype(np.float64) for image in (real, synthetic))
    defined = np.isfinite(r) & np.isfinite(p)
    inside, (r, p) = _without_gaps(inside, [r, p], [])
    result = (metrics.affine_fit(r, p, inside).apply(p) if fit else p) - r
    result[~(inside if mask is not None else defined)] = 0
    image = on_grid_of(real, result.astype(np.float32))
    image.SetMetaData(FITTED, "YES" if fit else "NO")
    return image


def default_mask(real: sitk.Image, is_ct: bool | None = None) -> tuple[np.ndarray, str]:
    """Where to compare when no mask is given: bool (k, j, i), and how it was found, in words. From the real scan only.

    CT, said by `is_ct` or seen by a 1st percentile below -500: above -500 HU, the largest connected part, holes filled in
    each slice. A stripped scan, where at least 88 % of the voxels that are not exactly 0 are above the foreground
    threshold: not 0. Other scans: above the foreground threshold (`foreground`). NaN and infinite are outside.
    """
    array = sitk.GetArrayViewFromImage(real)
    finite = np.isfinite(array)
    values = np.where(finite, array, array[finite].min())
    if is_ct is None:
        is_ct = bool(np.percentile(values, 1) < _BODY_HU)
    if is_ct:
        body = _body(values, metrics.slice_axis(real.GetSpacing())) & finite
        return body, "the body: above -500 HU, largest part, filled"
    tissue, filled = foreground(values) & finite, (values != 0) & finite
    if filled.any() and not filled.all() and tissue[filled].mean() >= _STRIPPED_SHARE:
        return filled, "where the real scan is not 0"
    return tissue, "the real scan's foreground"


def _body(values: np.ndarray, axis: int) -> np.ndarray:
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray((values > _BODY_HU).astype(np.uint8)))
    sizes = np.bincount(sitk.GetArrayViewFromImage(parts).ravel())
    if sizes.size < 2:
        return np.zeros(values.shape, dtype=bool)
    largest = sitk.GetArrayViewFromImage(parts) == 1 + int(np.argmax(sizes[1:]))
    planes = np.moveaxis(largest, axis, 0).astype(np.uint8)
    filled = [sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(plane))) for plane in planes]
    return np.moveaxis(np.stack(filled), 0, axis) != 0


def _mask(real: sitk.Image, mask: sitk.Image | None, is_ct: bool | None) -> tuple[np.ndarray, str]:
    if mask is None:
        inside, how = default_mask(real, is_ct)
        if not inside.any():
            raise ConversionError("No foreground was found in the real scan. Give a mask.")
        return inside, how
    inside = np.nan_to_num(sitk.GetArrayViewFromImage(mask)) != 0
    if not inside.any():
        raise ConversionError("The mask is empty. Give one with at least one voxel inside.")
    return inside, "the mask given"


def _without_gaps(
    inside: np.ndarray, volumes: list[np.ndarray], warnings: list[str]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Take voxels without a number out of the mask; they become 0, which nothing reads."""
    gaps = np.zeros(inside.shape, dtype=bool)
    for volume in volumes:
        gaps |= ~np.isfinite(volume)
    if not gaps.any():
        return inside, volumes
    lost = int(np.count_nonzero(gaps & inside))
    if lost == np.count_nonzero(inside):
        raise ConversionError("No voxel of the mask has a number in every volume (NaN or infinite). Check the volumes.")
    if lost:
        warnings.append(f"{lost:,} voxels of the mask are NaN or infinite in one of the volumes; they were left out.")
    return inside & ~gaps, [np.where(gaps, 0.0, volume) for volume in volumes]


def _labels(
    regions: sitk.Image, names: Mapping[int, str] | None, inside: np.ndarray, warnings: list[str]
) -> list[tuple[int, str, np.ndarray]]:
    array = np.nan_to_num(sitk.GetArrayViewFromImage(regions))
    if np.any(array != np.round(array)):
        raise ConversionError("The label map of regions holds fractions. Give one whose voxels are whole numbers.")
    found = []
    for value in (int(v) for v in np.unique(array) if v != 0):
        name = (names or {}).get(value, f"label {value}")
        whole = array == value
        where = whole & inside
        outside = int(np.count_nonzero(whole)) - int(np.count_nonzero(where))
        if outside:
            warnings.append(f"Region {name}: {outside:,} voxels lie outside the mask and were left out.")
        found.append((value, name, where))
    if not found:
        raise ConversionError("The label map of regions is empty. Give one with at least one label.")
    return found


def _scaled(volume: np.ndarray, inside: np.ndarray, warnings: list[str]) -> np.ndarray:
    scaled = metrics.percentile_scale(volume, inside)
    if not scaled[inside].any():
        warnings.append("A volume is constant between its 0.5 and 99.5 percentiles in the mask; it was scaled to 0.")
    return scaled


def _base_lines(real: np.ndarray, source: np.ndarray, inside: np.ndarray, rules: Rules) -> dict[str, Scored]:
    """What the source itself and the oracle reach; `real` is on the protocol's scale, `source` as it was read."""
    grey = metrics.percentile_scale(source, inside)
    lines = {"identity": grey} if rules.scaled else {}
    lines["oracle"] = metrics.oracle(grey, real, inside)
    return {name: score(real, line, [inside], rules)[0] for name, line in lines.items()}


def _warn_of_size(real: sitk.Image, rules: Rules, warnings: list[str]) -> None:
    size = real.GetSize()
    if rules.scales and min(size) < metrics.MS_SMALLEST:
        warnings.append(
            f"MS-SSIM: the size {size} was padded to at least {metrics.MS_SMALLEST} voxels by repeating its faces."
        )
    elif not rules.scales and min(size) < metrics.WINDOW:
        warnings.append(f"SSIM needs {metrics.WINDOW} voxels along each axis; the size is {size}.")


def _between_slices(image: sitk.Image, real: np.ndarray, synthetic: np.ndarray, inside: np.ndarray) -> BetweenSlices:
    axis = metrics.slice_axis(image.GetSpacing())
    names = [_PLANES[letter] for letter in reversed(axis_codes(image.GetDirection()))]  # by array axis
    r, p = (np.where(inside, volume, 0.0) for volume in (real, synthetic))
    ssim = {}
    for across in (other for other in range(3) if other != axis):
        fits = all(real.shape[along] >= metrics.WINDOW for along in range(3) if along != across)
        ssim[names[across]] = metrics.plane_ssim(r, p, inside, 1.0, across) if fits else math.nan
    return BetweenSlices(
        axis="kji"[axis],
        plane=names[axis],
        ratio=metrics.through_plane_ratio(real, synthetic, inside, axis),
        step_error=metrics.step_error(real, synthetic, inside, axis),
        ssim=ssim,
    )
