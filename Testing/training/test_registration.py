"""Alignment, registration and packing: on the small head, and on real scans where they are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from modality_conversion.geometry import plan_grid
from modality_conversion.modality import Modality
from modality_conversion.schema import Geometry
from small_head import small_labels
from training.config import ConfigError, check
from training.data.alignment import alignment
from training.data.cases import complete_cases
from training.data.images import one_millimetre, onto, read_scan
from training.data.layouts import CaseFiles, Source, find_cases
from training.data.layouts.lesjak import LongitudinalSource
from training.data.load import load_case
from training.data.pack import pack
from training.data.prepare import LEFT_OUT, plan, prepare
from training.data.regions import Region
from training.data.registration import register
from training.data.scale import TARGET_MEDIAN
from training.data.settings import DataSettings
from training.qc.verdicts import Verdicts

T1, T2, CT = Modality.T1, Modality.T2, Modality.CT
SHOWN = {  # voxel values by label
    "T1": {2: 100, 3: 70, 4: 20, 24: 25, 506: 30, 507: 90, 509: 45, 511: 120, 515: 10, 516: 110},
    "T2": {2: 60, 3: 85, 4: 160, 24: 150, 506: 150, 507: 35, 509: 70, 511: 90, 515: 8, 516: 95},
    "CT": {2: 30, 3: 40, 4: 10, 24: 10, 506: 10, 507: 50, 509: 60, 511: 70, 515: 1200, 516: 600},
}


def head(contrast: str = "T1", spacing: tuple[float, float, float] = (1, 1, 1)) -> sitk.Image:
    """The small head as a smooth scan with an uneven surface, irregular so that no shift maps it onto itself."""
    labels = small_labels()
    rng = np.random.default_rng(0)
    folds, muscles = (gaussian_filter(rng.standard_normal(labels.shape), 2.0) for _ in range(2))
    labels = np.where(np.isin(labels, (2, 3, 42)), np.where(folds > 0, 2, 3), labels)
    labels = np.where((labels == 507) & (muscles > 0), 509, labels)
    values = np.full(labels.shape, -1000 if contrast == "CT" else 0, np.float32)
    for label, value in SHOWN[contrast].items():
        values[labels == label] = value
    image = sitk.GetImageFromArray(values)
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    image = sitk.SmoothingRecursiveGaussian(image, 0.7)
    size = [round(n / s) for n, s in zip(image.GetSize(), spacing, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint([s / 2 - 0.5 for s in spacing])
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, image.GetDirection())


def brain() -> sitk.Image:
    mask = sitk.GetImageFromArray(np.isin(small_labels(), (2, 3, 4, 42)).astype(np.uint8))
    mask.CopyInformation(head())
    return mask


def shift(image: sitk.Image, by: tuple[float, float, float]) -> sitk.Image:
    """The scan, its contents moved within its grid."""
    return sitk.Resample(image, sitk.TranslationTransform(3, by), sitk.sitkLinear, 0.0)


def write(folder: Path, images: Mapping[str, sitk.Image]) -> Path:
    for name, image in images.items():
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path))
    return folder


def paired(folder: Path, **options: object) -> tuple[CaseFiles, Source]:
    content = {"cases": "unused", "sources": [{"layout": "paired", "folder": folder, "n4": "none", **options}]}
    source = check(DataSettings, content, "test.yaml").sources[0]
    (case,) = find_cases(source)
    return case, source


def settings(folder: Path, **options: object) -> DataSettings:
    return check(
        DataSettings,
        {
            "cases": folder / "cases",
            "sources": [{"layout": "paired", "folder": folder / "scans", "n4": "none"}],
            **options,
        },
        "test.yaml",
    )


def test_the_one_millimetre_grid_is_the_engines() -> None:
    thick = head(spacing=(0.9, 0.9, 3.0))
    geometry = Geometry(axcodes="RAS", spacing=(1.0, 1.0, 1.0))
    _, engine = plan_grid(thick, sitk.GetArrayFromImage(thick), geometry)
    ours = sitk.GetArrayFromImage(sitk.Resample(thick, one_millimetre(thick), sitk.Transform(), sitk.sitkLinear))
    assert ours.shape == engine.shape
    inner = (slice(3, -3),) * 3  # beyond the outermost centres the two may differ
    assert np.abs(ours - engine)[inner].max() < 0.02 * engine.max()


def test_air_around_a_ct_is_air_and_not_water() -> None:
    grid = one_millimetre(head("CT"))
    moved = sitk.TranslationTransform(3, (30.0, 0.0, 0.0))
    array = sitk.GetArrayFromImage(onto(grid, head("CT"), moved, outside=-1024.0))
    assert array.min() == pytest.approx(-1024)
    assert not ((array > -900) & (array < -100)).all(axis=(0, 1)).any()


@pytest.mark.parametrize("by", [(0.0, 0.0, 0.0), (2.0, -1.0, 2.0), (5.0, 3.0, -4.0)])
def test_edges_tell_how_far_two_contrasts_are_out_of_line(by: tuple[float, float, float]) -> None:
    found = alignment(head(), shift(head("T2"), by))
    assert found.offset == pytest.approx(np.linalg.norm(by), abs=0.8)


def test_scans_without_edges_are_not_said_to_be_in_line() -> None:
    noise = sitk.GetImageFromArray(np.random.default_rng(0).random((40, 40, 40)).astype(np.float32))
    flat = sitk.Image(40, 40, 40, sitk.sitkFloat32)
    with pytest.raises(ValueError, match="too few edges"):
        alignment(noise, flat)


def test_a_shifted_scan_is_brought_back_and_the_check_says_so() -> None:
    by = (4.0, -3.0, 5.0)
    before = register(head(), shift(head("T2"), by), "none")
    found = register(head(), shift(head("T2"), by), "rigid")
    assert before.offset is not None
    assert found.offset is not None
    assert before.offset > 5 > 1.2 > found.offset
    assert found.moved == pytest.approx(np.linalg.norm(by), abs=1.0)


def test_registration_never_makes_it_worse() -> None:
    found = register(head(), head("T2"), "rigid")
    before = register(head(), head("T2"), "none").offset
    assert before is not None
    assert found.offset is not None
    assert found.offset <= before


def test_a_scan_that_lost_its_origin_is_found_again() -> None:
    lost = head("T2")
    lost.SetOrigin((900.0, -800.0, 700.0))
    found = register(head(), lost, "rigid")
    assert found.offset is not None
    assert found.offset < 1.2


def test_a_pair_is_packed_in_variants_on_one_scale(tmp_path: Path) -> None:
    write(tmp_path, {"anna/T1": head(), "anna/T2": head("T2"), "anna/mask": brain()})
    case, source = paired(tmp_path, variants=["whole", "tight", "wide"])
    pack(case, source, tmp_path / "packed")
    packed = {found.name: found for found in complete_cases(tmp_path / "packed")}
    assert list(packed) == ["paired_anna_tight", "paired_anna_whole", "paired_anna_wide"]
    tight, whole = packed["paired_anna_tight"], packed["paired_anna_whole"]
    inside = np.asarray(tight.region) == Region.BRAIN
    assert tight.person == "paired anna"
    assert whole.about["whole_head"]
    assert not tight.about["whole_head"]
    for kind in (T1, T2):
        assert np.median(np.asarray(whole.targets[kind])[inside]) == pytest.approx(TARGET_MEDIAN[kind], rel=0.02)
        assert not np.asarray(tight.sources[kind])[~inside].any()
        assert np.array_equal(np.asarray(tight.targets[kind])[inside], np.asarray(whole.targets[kind])[inside])


def test_a_ct_brings_bone_and_keeps_its_units(tmp_path: Path) -> None:
    write(tmp_path, {"anna/T1": head(), "anna/CT": head("CT"), "anna/mask": brain()})
    case, source = paired(tmp_path)
    (folder,) = pack(case, source, tmp_path / "packed")
    (packed,) = complete_cases(folder.parent)
    ct, region = np.asarray(packed.targets[CT], np.float32), np.asarray(packed.region)
    assert ct.min() == pytest.approx(-1.0, abs=0.03)  # HU / 1000
    assert np.median(ct[region == Region.BRAIN]) == pytest.approx(0.035, abs=0.01)
    assert np.median(ct[region == Region.BONE]) > 0.3


def test_labels_of_a_tumor_are_a_region(tmp_path: Path) -> None:
    seg = sitk.GetImageFromArray((np.linalg.norm(np.indices((72,) * 3) - 40, axis=0) < 6).astype(np.uint8) * 4)
    seg.CopyInformation(head())
    stripped = {kind: sitk.Mask(head(contrast), brain()) for kind, contrast in (("t1n", "T1"), ("t2w", "T2"))}
    name = "BraTS-GLI-00001-000"
    write(tmp_path / name, {f"{name}-{kind}": image for kind, image in stripped.items()} | {f"{name}-seg": seg})
    content = {"cases": "unused", "sources": [{"layout": "brats", "folder": tmp_path, "n4": "none"}]}
    source = check(DataSettings, content, "test.yaml").sources[0]
    (case,) = find_cases(source)
    pack(case, source, tmp_path / "packed")
    (packed,) = complete_cases(tmp_path / "packed")
    assert (np.asarray(packed.region) == Region.TUMOR).sum() == pytest.approx(
        sitk.GetArrayFromImage(seg > 0).sum(), rel=0.02
    )
    assert not packed.about["whole_head"]


def test_voxels_that_are_no_numbers_become_nothing_with_a_warning(tmp_path: Path) -> None:
    holed = sitk.GetArrayFromImage(head())
    holed[30:33, 30:33, 30:33], holed[0, 0, 0] = np.nan, np.inf
    image = sitk.GetImageFromArray(holed)
    image.CopyInformation(head())
    write(tmp_path, {"anna/T1": image, "anna/T2": head("T2"), "anna/mask": brain()})
    warnings: list[str] = []
    read = sitk.GetArrayFromImage(read_scan(tmp_path / "anna" / "T1.nii.gz", T1, warnings.append))
    assert np.isfinite(read).all()
    assert not read[30:33, 30:33, 30:33].any()
    assert "28 voxels are NaN or infinite" in warnings[0]
    case, source = paired(tmp_path)
    pack(case, source, tmp_path / "packed")
    (packed,) = complete_cases(tmp_path / "packed")
    assert "NaN" in packed.about["warnings"][0]


def test_scans_on_different_grids_of_one_space_are_brought_to_the_references(tmp_path: Path) -> None:
    coarse = head("T2", spacing=(2.0, 1.5, 3.0))
    write(tmp_path, {"anna/T1": head(), "anna/T2": sitk.DICOMOrient(coarse, "PIR"), "anna/mask": brain()})
    case, source = paired(tmp_path)
    loaded = load_case(case, source)
    assert loaded.images[T2].GetSize() == loaded.images[T1].GetSize()
    assert loaded.offsets[T2] < 1.5


def test_scans_of_different_places_are_refused_with_advice(tmp_path: Path) -> None:
    elsewhere = head("T2")
    elsewhere.SetOrigin((500.0, 0.0, 0.0))
    write(tmp_path, {"anna/T1": head(), "anna/T2": elsewhere, "anna/mask": brain()})
    with pytest.raises(ConfigError, match=r"T2 covers only 0% of T1.*registration: rigid"):
        load_case(*paired(tmp_path))
    assert load_case(*paired(tmp_path, registration="rigid")).offsets[T2] < 1.2


def test_scans_out_of_line_are_refused_and_registered_when_asked(tmp_path: Path) -> None:
    write(tmp_path, {"anna/T1": head(), "anna/T2": shift(head("T2"), (4, 3, 4)), "anna/mask": brain()})
    with pytest.raises(ConfigError, match=r"T2 is \d\.\d mm out of line with T1.*registration: rigid"):
        load_case(*paired(tmp_path))
    assert load_case(*paired(tmp_path, registration="rigid")).offsets[T2] < 1.2


def test_a_mask_of_another_scan_is_refused(tmp_path: Path) -> None:
    mask = brain()
    mask.SetOrigin((500.0, 0.0, 0.0))
    write(tmp_path, {"anna/T1": head(), "anna/T2": head("T2"), "anna/mask": mask})
    with pytest.raises(ConfigError, match=r"mask .* has nothing on the scan's grid"):
        load_case(*paired(tmp_path))


def test_a_brain_mask_with_the_skull_in_it_gives_way_to_the_template(shared_data: Path) -> None:
    pytest.importorskip("nilearn")
    source = LongitudinalSource(folder=shared_data / "ms_longitudinal", modalities=(Modality.FLAIR,))
    case = next(case for case in find_cases(source) if case.name == "longitudinal_19_study2")
    loaded = load_case(case, source)
    assert loaded.brain is not None
    assert 1.0 < loaded.brain.sum() / 1e6 < 1.9  # litres; its mask has 2.43
    assert any("more than a brain" in warning for warning in loaded.warnings)


def test_slices_that_qc_drops_are_not_packed_and_the_rest_is_in_pieces(tmp_path: Path) -> None:
    thick = head("T2", spacing=(1, 1, 3))
    write(tmp_path, {"anna/T1": head(), "anna/T2": thick, "anna/mask": brain()})
    case, source = paired(tmp_path)
    pack(case, source, tmp_path / "packed", {T2: [11]})
    packed = list(complete_cases(tmp_path / "packed"))
    assert [found.name for found in packed] == ["paired_anna_whole_part1", "paired_anna_whole_part2"]
    whole = sitk.GetArrayFromImage(load_case(case, source).images[T2])
    planes = [found.shape[0] for found in packed]
    assert planes == [33, len(whole) - 36]  # 3 mm at 33 to 35 mm are gone


def test_cases_are_packed_by_part_and_the_bad_ones_are_written_down(tmp_path: Path) -> None:
    for person in ("anna", "bob", "carl"):
        write(tmp_path / "scans", {f"{person}/T1": head(), f"{person}/T2": head("T2"), f"{person}/mask": brain()})
    write(tmp_path / "scans", {"dora/T1": head()})
    (tmp_path / "scans" / "bob" / "T2.nii.gz").write_bytes(b"damaged")
    wanted = settings(tmp_path, shares={"training": 1})
    said = [text for _, _, text in prepare(wanted, Verdicts(cases={"paired_carl": "it is ghosted"}))]
    assert said[0] == "paired_anna: packed"
    left_out = (tmp_path / "cases" / LEFT_OUT).read_text(encoding="utf-8")
    assert "paired_bob" in left_out
    assert "it is ghosted" in left_out
    assert "has only a T1" in left_out
    assert [case.name for case in complete_cases(tmp_path / "cases" / "training")] == ["paired_anna_whole"]
    assert plan(wanted)[2].part_of("paired anna") == "training"


def test_when_nothing_can_be_packed_every_reason_is_given(tmp_path: Path) -> None:
    write(tmp_path / "scans", {"bob/T1": head(), "bob/T2": head("T2")})
    (tmp_path / "scans" / "bob" / "T2.nii.gz").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"(?s)No case could be packed.*T2\.nii\.gz"):
        list(prepare(settings(tmp_path)))


def test_two_sources_with_a_case_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"anna/T1": head(), "anna/T2": head("T2")})
    twice = {"layout": "paired", "folder": tmp_path}
    both = check(DataSettings, {"cases": tmp_path / "cases", "sources": [twice, twice]}, "test.yaml")
    with pytest.raises(ConfigError, match="Two sources both have a case paired_anna"):
        plan(both)


def test_a_real_study_lies_on_one_grid_with_its_brain(shared_data: Path) -> None:
    source = LongitudinalSource(folder=shared_data / "ms_longitudinal", modalities=(T1, T2))
    case = next(case for case in find_cases(source) if case.name == "longitudinal_04_study1")
    loaded = load_case(case, source)
    assert loaded.images[T1].GetSize() == loaded.images[T2].GetSize()
    assert loaded.offsets[T2] < 0.8  # mm; the given transforms are good
    assert loaded.brain is not None
    assert 1000 < loaded.brain.sum() / 1000 < 1900  # mL
    assert loaded.whole_head
