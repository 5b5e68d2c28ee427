"""Comparing a synthetic scan with the real one: by each protocol, and what is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import modality_conversion
from modality_conversion.compare import PROTOCOLS, compare, default_mask, difference
from modality_conversion.errors import ConversionError
from modality_conversion.grid import check_same_grid

RNG = np.random.default_rng(23)
SHAPE = (14, 18, 16)


def image(array, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), direction=None):
    result = sitk.GetImageFromArray(np.asarray(array))
    result.SetSpacing(spacing)
    result.SetOrigin(origin)
    if direction is not None:
        result.SetDirection(direction)
    return result


def smooth(shape=SHAPE, rng=RNG):
    volume = rng.random(shape)
    for axis in range(3):
        volume = (volume + np.roll(volume, 1, axis)) / 2
    return volume


def case():
    """Real, synthetic, source, mask and label map, as arrays."""
    real = 300 * smooth() + 20
    synthetic = 0.5 * real + 40 * smooth() + 7
    source = 900 - 2 * real + 50 * smooth()
    mask = np.zeros(SHAPE, bool)
    mask[1:-1, 2:-2, 1:-2] = True
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 5:9, 5:9] = 1
    labels[8:11, 9:12, 6:9] = 7
    return real, synthetic, source, mask, labels


def images(*arrays):
    return [image(a.astype(np.uint8) if a.dtype == bool else a) for a in arrays]


def scaled(volume, mask):
    low, high = np.percentile(volume[mask], (0.5, 99.5))
    return np.clip((volume - low) / (high - low), 0, 1)


def ssim_map(real, synthetic, data_range):
    reference = pytest.importorskip("skimage.metrics").structural_similarity
    return reference(real, synthetic, win_size=7, data_range=data_range, full=True)[1]


def slices_by_definition(real, synthetic, mask, where):
    """The figures of scaled volumes, by scikit-image and numpy."""
    structure = ssim_map(real * mask, synthetic * mask, 1.0)
    error = (synthetic - real)[where]
    return {
        "mae": np.abs(error).mean(),
        "bias": error.mean(),
        "psnr": -10 * math.log10(np.square(error).mean()),
        "ssim": structure[where].mean(),
    }


def check(scores, expected):
    for name, value in expected.items():
        assert getattr(scores, name) == pytest.approx(value, abs=1e-9), name


def test_the_slices_protocol_is_its_definition_as_is_and_after_the_fit():
    real, synthetic, _, mask, _ = case()
    result = compare(*images(real, synthetic), mask=images(mask)[0])
    r, p = scaled(real, mask), scaled(synthetic, mask)
    check(result.synthetic.as_is, slices_by_definition(r, p, mask, mask))
    slope, intercept = np.polyfit(p[mask], r[mask], 1)
    assert (result.synthetic.fit.slope, result.synthetic.fit.intercept) == pytest.approx((slope, intercept))
    check(result.synthetic.fitted, slices_by_definition(r, slope * p + intercept, mask, mask))
    assert result.protocol == "slices"
    assert result.voxels == mask.sum()


def test_what_lies_outside_the_mask_does_not_count():
    real, synthetic, source, mask, labels = case()
    elsewhere = np.where(mask, synthetic, 1e4 * RNG.random(SHAPE))
    results = [
        compare(*images(real, volume), mask=images(mask)[0], source=images(source)[0], regions=images(labels)[0])
        for volume in (synthetic, elsewhere)
    ]
    assert results[0] == results[1]


def test_the_fit_is_the_whole_masks_and_regions_are_scored_inside_the_mask():
    real, synthetic, _, mask, labels = case()
    mask[5] = False
    result = compare(
        *images(real, synthetic), mask=images(mask)[0], regions=images(labels)[0], region_names={1: "lesion"}
    )
    assert [(region.value, region.name) for region in result.regions] == [(1, "lesion"), (7, "label 7")]
    r, p = scaled(real, mask), scaled(synthetic, mask)
    slope, intercept = np.polyfit(p[mask], r[mask], 1)
    for region in result.regions:
        where = (labels == region.value) & mask
        assert region.as_is.voxels == where.sum()
        check(region.as_is, slices_by_definition(r, p, mask, where))
        check(region.fitted, slices_by_definition(r, slope * p + intercept, mask, where))
    assert result.warnings == ("Region lesion: 16 voxels lie outside the mask and were left out.",)


def test_a_region_wholly_outside_the_mask_has_no_figures():
    real, synthetic, _, mask, labels = case()
    result = compare(*images(real, synthetic), mask=images(mask & (labels != 7))[0], regions=images(labels)[0])
    lost = result.regions[1].as_is
    assert lost.voxels == 0
    assert all(math.isnan(value) for value in (lost.mae, lost.psnr, lost.ssim))
    assert result.as_dict()["regions"][1]["as_is"]["mae"] is None


def test_base_lines_are_scored_like_the_synthetic_volume():
    real, synthetic, source, mask, _ = case()
    result = compare(*images(real, synthetic), mask=images(mask)[0], source=images(source)[0])
    r, s = scaled(real, mask), scaled(source, mask)
    check(result.base_lines["identity"].as_is, slices_by_definition(r, s, mask, mask))
    bins = np.minimum((s * 256).astype(int), 255)
    oracle = np.zeros(SHAPE)
    for place in np.argwhere(mask):
        same = mask & (bins == bins[tuple(place)])
        oracle[tuple(place)] = r[same].mean()
    check(result.base_lines["oracle"].as_is, slices_by_definition(r, oracle, mask, mask))
    assert result.base_lines["identity"].fit.slope < 0
    assert result.base_lines["identity"].fitted.psnr > result.base_lines["identity"].as_is.psnr
    assert not compare(*images(real, synthetic), mask=images(mask)[0]).base_lines


def test_measures_between_slices_are_those_of_the_scaled_volumes():
    real, synthetic, _, mask, _ = case()
    arrays = [image(a, spacing=(1.0, 1.0, 3.0)) for a in (real, synthetic, mask.astype(np.uint8))]
    between = compare(arrays[0], arrays[1], mask=arrays[2]).between_slices
    r, p = scaled(real, mask), scaled(synthetic, mask)

    def step(volume, axis):
        both = np.logical_and(*(np.take(mask, range(n, mask.shape[axis] - 1 + n), axis) for n in (0, 1)))
        return np.diff(volume, axis=axis)[both]

    anisotropy = [np.abs(step(v, 0)).mean() / np.mean([np.abs(step(v, a)).mean() for a in (1, 2)]) for v in (p, r)]
    assert between.ratio == pytest.approx(anisotropy[0] / anisotropy[1])
    assert between.step_error == pytest.approx(np.abs(step(p, 0) - step(r, 0)).mean())
    assert (between.axis, between.plane) == ("k", "axial")
    coronal = np.stack([ssim_map(a, b, 1.0) for a, b in zip(*((v * mask).swapaxes(0, 1) for v in (r, p)), strict=True)])
    assert between.ssim["coronal"] == pytest.approx(coronal[mask.swapaxes(0, 1)].mean())
    assert set(between.ssim) == {"coronal", "sagittal"}


def test_reformats_are_named_after_the_patient_not_after_the_array():
    real, synthetic, *_ = case()
    lia = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, -1.0, 0.0)  # i to the left, j to inferior, k to anterior
    result = compare(*(image(a, direction=lia) for a in (real, synthetic)), mask=image(np.ones(SHAPE), direction=lia))
    assert result.between_slices.plane == "coronal"
    assert set(result.between_slices.ssim) == {"axial", "sagittal"}


def ct_case():
    real = 1500 * smooth() - 1200
    synthetic = real + 300 * RNG.normal(size=SHAPE)
    synthetic.flat[::50] = 4000
    mask = np.zeros(SHAPE, bool)
    mask[:, 2:-2, 1:] = True
    return real, synthetic, mask


@pytest.mark.parametrize(("protocol", "top"), [("synthrad2023", 3000), ("synthrad2025", 3071)])
def test_the_synthrad_protocols_are_their_definition(protocol, top):
    real, synthetic, mask = ct_case()
    result = compare(*images(real, synthetic), mask=images(mask)[0], protocol=protocol)
    scores = result.synthetic.as_is
    clipped = [np.clip(volume, -1024, top) for volume in (real, synthetic)]
    error = (clipped[1] - clipped[0])[mask]
    assert scores.mae == pytest.approx(np.abs(synthetic - real)[mask].mean())  # not clipped
    assert scores.psnr == pytest.approx(10 * math.log10((top + 1024) ** 2 / np.square(error).mean()))
    assert result.units == "HU"
    assert result.synthetic.fitted is None
    assert result.between_slices is None
    if protocol == "synthrad2023":
        structure = ssim_map(*(np.where(mask, volume + 1024, 0) for volume in clipped), 4024.0)
        inner = (slice(3, -3),) * 3
        assert scores.ssim == pytest.approx(structure[inner][mask[inner]].mean(), abs=1e-10)
        assert scores.ms_ssim is None
    else:
        assert scores.ssim is None
        assert 0 < scores.ms_ssim < 1
        assert "padded" in result.warnings[0]


def test_synthrad_takes_regions_and_an_oracle_in_hu_but_no_identity():
    real, synthetic, mask = ct_case()
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:10, 5:12, 5:12] = 3
    source, regions = images(real * -0.3 + 7, labels)
    result = compare(
        *images(real, synthetic), mask=images(mask)[0], source=source, regions=regions, protocol="synthrad2025"
    )
    assert set(result.base_lines) == {"oracle"}
    assert result.base_lines["oracle"].as_is.mae < 10
    assert result.regions[0].as_is.mae == pytest.approx(np.abs(synthetic - real)[labels == 3].mean())
    assert result.regions[0].as_is.ms_ssim is None


def test_a_scan_without_negative_values_is_said_not_to_look_like_ct():
    real, synthetic, _, mask, _ = case()
    result = compare(*images(real, synthetic), mask=images(mask)[0], protocol="synthrad2023")
    assert any("does not look like a CT" in warning for warning in result.warnings)


def test_the_same_volume_scores_perfectly_and_says_so():
    real, _, _, mask, labels = case()
    result = compare(*images(real, real), mask=images(mask)[0], regions=images(labels)[0])
    assert result.synthetic.as_is.mae == 0
    assert result.synthetic.as_is.ssim == pytest.approx(1)
    assert result.between_slices.ratio == 1
    assert math.isinf(result.synthetic.as_is.psnr)
    assert any("PSNR is infinite" in warning for warning in result.warnings)
    assert result.as_dict()["synthetic"]["as_is"]["psnr"] is None


def test_an_inverted_contrast_is_pointed_out():
    real, _, _, mask, _ = case()
    result = compare(*images(real, -real), mask=images(mask)[0])
    assert any("turned the synthetic contrast round" in warning for warning in result.warnings)
    assert result.synthetic.fitted.mae == pytest.approx(0, abs=1e-9)


def test_units_of_mr_do_not_matter():
    real, synthetic, _, mask, _ = case()
    plain = compare(*images(real, synthetic), mask=images(mask)[0]).synthetic
    other = compare(*images(0.01 * real - 3, 77 * synthetic + 1e4), mask=images(mask)[0]).synthetic
    for name in ("mae", "psnr", "ssim"):
        assert getattr(plain.as_is, name) == pytest.approx(getattr(other.as_is, name), rel=1e-6)
        assert getattr(plain.fitted, name) == pytest.approx(getattr(other.fitted, name), rel=1e-6)


def test_voxels_without_a_number_are_left_out_and_counted():
    real, synthetic, source, mask, _ = case()
    synthetic[5, 6, 7], source[5, 6, 8], real[0, 0, 0] = math.nan, math.inf, math.nan
    result = compare(*images(real, synthetic), mask=images(mask)[0], source=images(source)[0])
    assert result.voxels == mask.sum() - 2
    assert result.warnings == ("2 voxels of the mask are NaN or infinite in one of the volumes; they were left out.",)
    assert math.isfinite(result.synthetic.as_is.ssim)


def test_a_constant_volume_is_scored_with_a_warning():
    real, _, _, mask, _ = case()
    result = compare(*images(real, np.full(SHAPE, 3.0)), mask=images(mask)[0])
    assert any("constant" in warning for warning in result.warnings)
    assert math.isfinite(result.synthetic.as_is.psnr)


def test_a_stack_too_thin_for_the_window_is_scored_without_ssim():
    real, synthetic, _, mask, _ = (volume[:5] for volume in case())
    result = compare(*(image(a, spacing=(1, 1, 5)) for a in (real, synthetic)), mask=image(mask * 1, spacing=(1, 1, 5)))
    assert math.isnan(result.synthetic.as_is.ssim)
    assert math.isfinite(result.synthetic.as_is.psnr)
    assert all(math.isnan(value) for value in result.between_slices.ssim.values())
    assert result.warnings == ("SSIM needs 7 voxels along each axis; the size is (16, 18, 5).",)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
def test_any_voxel_type_is_compared_without_overflow(dtype):
    real, synthetic, _, mask, _ = case()
    real, synthetic = (np.clip(volume, 0, 255).astype(dtype) for volume in (real, synthetic))
    result = compare(*images(real, synthetic), mask=images(mask)[0])
    wide = compare(*images(real.astype(float), synthetic.astype(float)), mask=images(mask)[0])
    assert result == wide


# --- where, when no mask is given -------------------------------------------------------------------------------------


def ball(shape, radius, centre=None):
    grid = np.indices(shape)
    centre = centre or [n / 2 for n in shape]
    return sum(((axis - c) / radius) ** 2 for axis, c in zip(grid, centre, strict=True)) <= 1


def test_a_stripped_brain_is_compared_where_it_is_not_zero():
    brain = ball((30, 30, 30), 10)
    array = np.where(brain, 100 + 20 * RNG.normal(size=brain.shape), 0)
    array[15, 15, 15] = -3.0  # interpolation leaves small negative values
    mask, how = default_mask(image(array))
    np.testing.assert_array_equal(mask, brain)
    assert how == "where the real scan is not 0"


def test_a_whole_head_is_compared_in_its_foreground_even_where_the_face_was_zeroed():
    head = ball((30, 30, 30), 11)
    array = np.where(head, 300 + 20 * RNG.normal(size=head.shape), np.abs(5 * RNG.normal(size=head.shape)))
    array[:, :5] = 0
    mask, how = default_mask(image(array))
    np.testing.assert_array_equal(mask, head & (array > 0))
    assert how == "the real scan's foreground"


def test_a_ct_is_compared_in_the_body_with_its_cavities_and_without_the_table():
    body = ball((24, 40, 40), 11, (12, 18, 20))
    array = np.where(body, 40.0, -1000.0)
    array[ball(body.shape, 3, (12, 18, 20))] = -950  # an air-filled sinus
    array[:, 35:37, 5:35] = 200  # the table
    for options in ({}, {"protocol": "synthrad2023"}):
        result = compare(image(array), image(array + RNG.normal(size=body.shape)), **options)
        assert result.voxels == body.sum()
        assert "body" in result.mask


def test_the_mask_is_taken_from_the_real_scan_only():
    real = np.where(ball((20, 20, 20), 7), 100 + 9 * RNG.normal(size=(20, 20, 20)), 0)
    everywhere = 100 + 9 * RNG.normal(size=real.shape)
    assert compare(image(real), image(everywhere)).voxels == np.count_nonzero(real)


def test_a_scan_without_foreground_is_refused():
    with pytest.raises(ConversionError, match="Give a mask"):
        compare(*images(np.ones(SHAPE), np.ones(SHAPE)))
    with pytest.raises(ConversionError, match="Give a mask"):
        compare(*images(np.full(SHAPE, -1000.0), np.ones(SHAPE)), protocol="synthrad2023")


# --- refused ----------------------------------------------------------------------------------------------------------


def grids():
    tilted = np.array([[1, 0, 0], [0, np.cos(0.01), -np.sin(0.01)], [0, np.sin(0.01), np.cos(0.01)]])
    return {
        "size (16, 18, 13) instead of (16, 18, 14)": image(smooth((13, 18, 16))),
        "spacing (1, 1, 1.001) instead of (1, 1, 1)": image(smooth(), spacing=(1, 1, 1.001)),
        "origin (0, 0.02, 0) instead of (0, 0, 0)": image(smooth(), origin=(0, 0.02, 0)),
        "direction": image(smooth(), direction=tilted.ravel().tolist()),
    }


@pytest.mark.parametrize("said", grids())
@pytest.mark.parametrize("role", ["synthetic", "mask", "source", "regions"])
def test_a_volume_on_another_grid_is_refused_saying_what_differs_and_what_to_do(role, said):
    real = image(smooth())
    arguments = {"synthetic": image(smooth()), role: grids()[said]}
    with pytest.raises(ConversionError) as refusal:
        compare(real, **arguments)
    assert said in str(refusal.value)
    assert "Resample it onto the real scan's grid" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_rounding_of_nifti_headers_is_no_other_grid(tmp_path):
    angle = 0.123456789
    turned = [math.cos(angle), -math.sin(angle), 0, math.sin(angle), math.cos(angle), 0, 0, 0, 1]
    real = image(
        smooth(), spacing=(0.71875, 0.71875, 3.3000001), origin=(-123.456789, 87.654321, 1.0 / 3), direction=turned
    )
    sitk.WriteImage(real, str(tmp_path / "real.nii.gz"))
    check_same_grid(real, sitk.ReadImage(str(tmp_path / "real.nii.gz")), "The copy")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"synthetic": sitk.Image([4, 4, 4, 4], sitk.sitkFloat32)}, "synthetic volume has 4 dimensions"),
        ({"synthetic": sitk.Image([16, 18, 14], sitk.sitkVectorFloat32, 3)}, "several numbers per voxel"),
        ({"synthetic": image(np.full(SHAPE, np.nan))}, "no number"),
        ({"real": image(np.full(SHAPE, np.nan))}, "real scan has no number"),
        ({"mask": image(np.zeros(SHAPE, np.uint8))}, "mask is empty"),
        ({"regions": image(np.zeros(SHAPE, np.uint8))}, "without a|at least one label"),
        ({"regions": image(np.full(SHAPE, 0.5))}, "whole numbers"),
        ({"protocol": "synthrad2024"}, "slices, synthrad2023, synthrad2025"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(changed, said):
    arguments = {"real": image(smooth()), "synthetic": image(smooth()), **changed}
    with pytest.raises(ConversionError, match=said) as refusal:
        compare(arguments.pop("real"), arguments.pop("synthetic"), **arguments)
    assert "\n" not in str(refusal.value)


def test_a_mask_that_holds_only_voxels_without_a_number_is_refused():
    real, synthetic, _, mask, _ = case()
    synthetic[mask] = math.nan
    with pytest.raises(ConversionError, match="No voxel of the mask has a number"):
        compare(*images(real, synthetic), mask=images(mask)[0])


# --- how it is told ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_result_is_json_that_names_its_protocol_and_says_what_it_is(protocol):
    real, synthetic, source, mask, labels = case()
    result = compare(
        *images(real, synthetic),
        mask=images(mask)[0],
        source=images(source)[0],
        regions=images(labels)[0],
        protocol=protocol,
    )
    fields = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert fields["kind"] == "synthetic-comparison"
    assert fields["not_for_diagnosis"] is True
    assert fields["protocol"] == protocol
    assert fields["voxels"] == mask.sum()
    assert fields["mask"] == "the mask given"
    assert ("ssim" in fields["synthetic"]["as_is"]) == (protocol != "synthrad2025")
    assert ("ms_ssim" in fields["synthetic"]["as_is"]) == (protocol == "synthrad2025")


def test_the_table_has_a_row_for_each_figure_with_its_protocol_and_voxels():
    real, synthetic, source, mask, labels = case()
    result = compare(
        *images(real, synthetic),
        mask=images(mask)[0],
        source=images(source)[0],
        regions=images(labels)[0],
        region_names={1: "lesion"},
    )
    rows = result.table()
    assert rows[0] == ("Synthetic against real, protocol slices", "as is", "after affine fit")
    shown = {row[0]: row[1:] for row in rows}
    assert shown["Voxels compared (the mask given)"] == (f"{mask.sum():,}", "")
    before, after = result.synthetic.as_is, result.synthetic.fitted
    assert shown["PSNR (dB)"] == (f"{before.psnr:.2f}", f"{after.psnr:.2f}")
    assert shown["Base line oracle: SSIM"][0] == f"{result.base_lines['oracle'].as_is.ssim:.3f}"
    assert shown["lesion: voxels"] == ("64", "")
    assert shown["Between axial slices (k): ratio R"][0] == f"{result.between_slices.ratio:.3f}"
    assert "SSIM of sagittal planes" in shown


def test_the_table_of_ct_figures_has_no_column_for_a_fit_and_shows_a_missing_figure_as_a_dash():
    real, synthetic, mask = ct_case()
    result = compare(*(image(a[:5]) for a in (real, synthetic)), mask=image(mask[:5] * 1), protocol="synthrad2023")
    shown = {row[0]: row[1:] for row in result.table()}
    assert shown["SSIM"] == ("-", "")
    assert shown["MAE (HU)"] == (f"{result.synthetic.as_is.mae:.1f}", "")


# --- the difference ---------------------------------------------------------------------------------------------------


def test_the_difference_is_synthetic_minus_real_on_the_real_grid():
    real, synthetic, _, mask, _ = case()
    grid = {"spacing": (1, 1, 2), "origin": (3, 4, 5)}
    a, b, m = (image(v, **grid) for v in (real, synthetic, mask.astype(np.uint8)))
    plain = difference(a, b, fit=False)
    np.testing.assert_allclose(sitk.GetArrayFromImage(plain), synthetic - real, rtol=1e-5, atol=1e-4)
    check_same_grid(a, plain, "The difference")
    assert plain.GetPixelID() == sitk.sitkFloat32
    slope, intercept = np.polyfit(synthetic[mask], real[mask], 1)
    fitted = sitk.GetArrayFromImage(difference(a, b, m))
    np.testing.assert_allclose(fitted, np.where(mask, slope * synthetic + intercept - real, 0), rtol=1e-4, atol=1e-3)


def test_the_difference_of_the_same_scan_in_other_units_is_zero():
    real, *_ = case()
    assert np.abs(sitk.GetArrayFromImage(difference(*images(real, -4 * real + 9)))).max() < 1e-3


def test_the_difference_is_zero_where_there_is_no_number():
    real, synthetic, *_ = case()
    synthetic[3, 3, 3] = math.nan
    assert sitk.GetArrayFromImage(difference(*images(real, synthetic)))[3, 3, 3] == 0


def test_a_difference_needs_the_same_grid():
    with pytest.raises(ConversionError, match="grid"):
        difference(image(smooth()), image(smooth(), spacing=(1, 1, 2)))


# --- light, and on real scans -----------------------------------------------------------------------------------------

_LARGE = """
import sys
import numpy as np, SimpleITK as sitk
from modality_conversion.compare import compare
from modality_conversion.phantom import head_phantom
real = head_phantom((192, 224, 160))
synthetic = sitk.SmoothingRecursiveGaussian(real, 1.0)
compare(real, synthetic, source=real)
heavy = {"scipy", "skimage", "torch", "monai", "matplotlib", "onnxruntime"} & {name.split(".")[0] for name in sys.modules}
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss counts the parent's too
print(int(peak.split()[1]) / 1024**2, *sorted(heavy))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_volume_needs_less_than_one_and_a_half_gib_and_only_numpy_and_simpleitk():
    folder = str(Path(modality_conversion.__path__[0]).parent)
    run = subprocess.run([sys.executable, "-c", _LARGE], env={"PYTHONPATH": folder}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    gib, *heavy = run.stdout.split()
    assert float(gib) < 1.5
    assert not heavy


def test_on_a_real_brain_the_oracle_from_t1_to_t2_is_what_was_measured_before(shared_data):
    t1, t2 = (sitk.ReadImage(str(shared_data / "ms_mni" / "patient07" / f"{name}.nii.gz")) for name in ("T1", "T2"))
    result = compare(t2, sitk.SmoothingRecursiveGaussian(t2, 1.0), source=t1)
    assert result.mask == "where the real scan is not 0"
    oracle = result.base_lines["oracle"].as_is
    assert (oracle.psnr, oracle.ssim) == pytest.approx((19.13, 0.724), abs=0.01)
    assert result.synthetic.fitted.psnr > oracle.psnr
