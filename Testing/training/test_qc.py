"""`qc`: each fault put into a scan is found, a good scan is left alone, and what is found is reported and dropped."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, map_coordinates

from modality_conversion.modality import Modality
from small_head import small_labels
from training.config import check
from training.data.layouts import Source
from training.data.prepare import prepare
from training.data.settings import DataSettings
from training.qc import faults
from training.qc.checks import check_look, check_scan
from training.qc.command import examine
from training.qc.contrast import contrast, decide
from training.qc.duplicates import fingerprint
from training.qc.findings import Finding
from training.qc.look import Look, look
from training.qc.settings import CHECKS, Check, QcSettings
from training.qc.verdicts import judge, read_verdicts, write_verdicts

T1, T2, FLAIR, PD, CT = (Modality(name) for name in ("T1", "T2", "FLAIR", "PD", "CT"))
ALONE: tuple[Check, ...] = tuple(check for check in CHECKS if check not in ("modality", "alignment"))
SHOWN = {  # voxel values by label
    "T1": {2: 100, 3: 70, 4: 20, 24: 25, 506: 30, 507: 90, 509: 45, 511: 120, 515: 30, 516: 110},
    "T2": {2: 60, 3: 85, 4: 160, 24: 150, 506: 150, 507: 35, 509: 70, 511: 90, 515: 20, 516: 95},
}


@lru_cache
def labels_of(person: int) -> np.ndarray:
    """The small head with folds of its own and room around it."""
    labels = np.pad(small_labels(), ((0, 0), (24, 24), (24, 24)))
    rng = np.random.default_rng(person)
    # Nobody's head is as another's, nor round: each surface is bent by up to 5 mm.
    bends = [gaussian_filter(rng.standard_normal(labels.shape), 8) for _ in range(3)]
    bends = [5 * bend / np.abs(bend).max() for bend in bends]
    labels = map_coordinates(labels, np.indices(labels.shape) + np.stack(bends), order=0)
    folds, muscles = (gaussian_filter(rng.standard_normal(labels.shape), 2.5) for _ in range(2))
    labels = np.where(np.isin(labels, (2, 3, 42)), np.where(folds > 0, 2, 3), labels)
    return np.where((labels == 507) & (muscles > 0), 509, labels)


def brain(person: int = 0) -> np.ndarray:
    """Where the brain of that head is."""
    return np.isin(labels_of(person), (2, 3, 4, 24))


def head(contrast: str = "T1", person: int = 0) -> sitk.Image:
    """A scan of that head in slices of 1 mm, with the noise of a good scan."""
    labels, rng = labels_of(person), np.random.default_rng([person, *contrast.encode()])
    values = np.zeros(labels.shape, np.float32)
    for label, value in SHOWN[contrast].items():
        values[labels == label] = value
    values = gaussian_filter(values, 0.7)
    values = np.hypot(values + rng.normal(0, 1.5, values.shape), rng.normal(0, 1.5, values.shape)).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    return image


def settings(folder: Path = Path("unused"), **options: object) -> QcSettings:
    return check(QcSettings, {"folder": folder, **options}, "test.yaml")


def findings(image: sitk.Image, *only: Check) -> list[Finding]:
    scan = look(image, Path("scan.nii.gz"), T1, "anna")
    return list(check_look(scan, settings(checks=only or ALONE)))


def slices_of(found: list[Finding]) -> set[int]:
    return {number for finding in found for number in finding.slices}


def looked(image: sitk.Image) -> Look:
    return look(image, Path("scan.nii.gz"), T1, "anna")


def test_a_good_scan_has_small_end_slices_and_nothing_else() -> None:
    assert {finding.check for finding in findings(head())} <= {"small"}


@pytest.mark.parametrize("name", ["ms_longitudinal/patient20/study2_T1W", "ms_mni/patient19/T1"])
def test_good_real_scans_whole_and_stripped_have_no_other_fault(name: str, shared_data: Path) -> None:
    scan = sitk.ReadImage(str(shared_data / f"{name}.nii.gz"), sitk.sitkFloat32)
    assert {finding.check for finding in findings(scan)} <= {"small"}


def test_slices_that_are_mostly_noise_are_named_and_slightly_noisy_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    bad = [20, 33, 40]
    assert slices_of(findings(faults.noisy_slices(head(), bad, 2.0, rng), "noise")) == set(bad)
    assert not findings(faults.noisy_slices(head(), bad, 0.4, rng), "noise")


def test_slices_with_too_little_body_are_named() -> None:
    changed = faults.small_slices(head(), [30, 31], 5.0, np.random.default_rng(1))
    before, after = slices_of(findings(head(), "small")), slices_of(findings(changed, "small"))
    assert {30, 31} <= after
    assert not {30, 31} & before
    assert {0, 71} <= before  # the head's ends


@pytest.mark.parametrize("strength", [0.1, 0.3])
def test_a_replicated_body_is_found_with_its_strength(strength: float) -> None:
    (found,) = findings(faults.replicated(head(), strength, np.random.default_rng(2)), "ghosts")
    assert found.value == pytest.approx(strength, rel=0.25)
    assert not found.slices


def test_ghosting_of_a_real_scan_is_found(shared_data: Path) -> None:
    path = shared_data / "ms_longitudinal" / "patient20" / "study2_T1W.nii.gz"
    scan = sitk.ReadImage(str(path), sitk.sitkFloat32)
    (found,) = findings(faults.ghosted(scan, 1.0, np.random.default_rng(3)), "ghosts")
    assert not found.slices  # it is in the whole scan


def test_noise_in_the_air_is_found_and_said_to_spare_the_body() -> None:
    (found,) = findings(faults.noisy_air(head(), 0.2, np.random.default_rng(4)), "background")
    assert found.value == pytest.approx(0.2, rel=0.25)
    assert "while the body is finer" in found.says


def test_a_repeated_slice_is_found() -> None:
    array = sitk.GetArrayFromImage(head())
    array[31] = array[30]
    (found,) = findings(sitk.GetImageFromArray(array), "duplicates")
    assert found.slices == (31,)


def test_a_copy_is_known_under_another_window_orientation_and_origin_and_others_are_not_copies() -> None:
    mine = fingerprint(looked(head()))
    likenesses = {
        how: mine.likeness(fingerprint(looked(copy)))
        for how, copy in faults.copies(head(), np.random.default_rng(0)).items()
    }
    limit = settings().likeness
    assert all(likeness > limit for how, likeness in likenesses.items() if "cut off" not in how), likenesses
    assert mine.likeness(fingerprint(looked(head(person=1)))) < limit
    assert mine.likeness(fingerprint(looked(head("T2")))) < limit


@pytest.mark.parametrize(("grey", "csf", "seen"), [(0.85, 0.4, T1), (1.1, 0.5, FLAIR), (1.05, 1.2, PD), (1.2, 2.2, T2)])
def test_modalities_are_told_apart_by_grey_matter_and_csf(grey: float, csf: float, seen: Modality) -> None:
    assert decide(grey, csf) == (seen, True)


def test_what_lies_between_two_modalities_is_not_sure() -> None:
    assert not decide(0.95, 0.5)[1]
    assert not decide(1.0, 1.4)[1]
    assert decide(float("nan"), 1.0) == (None, False)


def test_a_ct_is_known_by_its_units() -> None:
    array = np.where(sitk.GetArrayFromImage(head()) > 10, 40, -1000).astype(np.float32)
    assert contrast(sitk.GetImageFromArray(array)).seen == CT


def test_a_real_t2_said_to_be_a_t1_is_found_and_a_t1_is_not(shared_data: Path) -> None:
    pytest.importorskip("nilearn")
    folder = shared_data / "ms_mni" / "patient07"
    only = settings(checks=["modality"])
    (wrong,) = check_scan(folder / "T2.nii.gz", T1, "mni 07", only).findings
    assert "said to be T1, looks like T2" in wrong.says
    assert not check_scan(folder / "T1.nii.gz", T1, "mni 07", only).findings


@pytest.mark.parametrize("how", ["damaged", "constant", "holes"])
def test_values_that_cannot_be_learnt_from_are_found(how: str, tmp_path: Path) -> None:
    path, array = tmp_path / "scan.nii.gz", sitk.GetArrayFromImage(head())
    if how == "constant":
        array[:] = 7
    array[40, 50:60, 50:60] = np.nan if how == "holes" else array[40, 50:60, 50:60]
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    if how == "damaged":
        path.write_bytes(path.read_bytes()[:999])
    (found,) = check_scan(path, T1, "anna", settings(checks=["values"])).findings
    assert found.slices == ((40,) if how == "holes" else ())
    assert "scan.nii.gz" in found.says


def test_slices_cases_and_scans_are_dropped_and_read_back(tmp_path: Path) -> None:
    found = [
        Finding("noise", Path("a/T1.nii"), "a", "noisy", 1, 0.7, (3, 5)),
        Finding("small", Path("a/T1.nii"), "a", "small", 1, 15, (0, 3)),
        Finding("alignment", Path("b/T1.nii"), "b", "5 mm off", 5, 2, (), Path("b/T2.nii"), "paired_b"),
        Finding("ghosts", Path("c/T1.nii"), "c", "ghosted", 0.3, 0.05),
        Finding("background", Path("d/T1.nii"), "d", "noisy air", 0.3, 0.05),
    ]
    write_verdicts(judge(found, settings().drop), tmp_path)
    verdicts = read_verdicts(tmp_path)
    assert verdicts.bad_slices == {"a/T1.nii": [0, 3, 5]}
    assert verdicts.cases == {"paired_b": "5 mm off"}
    assert verdicts.scans == {"c/T1.nii": "ghosted"}


def write(folder: Path, name: str, image: sitk.Image) -> None:
    path = folder / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def test_a_collection_is_examined_reported_with_pictures_and_packed_without_what_was_dropped(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    scans = tmp_path / "scans"
    mask = sitk.GetImageFromArray(brain().astype(np.uint8))
    mask.CopyInformation(head())
    for person, name in enumerate(("good", "moved", "twin")):
        write(scans / name, "T1", head(person=person % 2))
        write(scans / name, "T2", head("T2", person % 2))
        write(scans / name, "mask", mask)
    moved = sitk.Resample(head("T2", 1), sitk.TranslationTransform(3, (5.0, 4.0, 3.0)))
    write(scans / "moved", "T2", faults.replicated(moved, 0.4, rng))
    noisy = faults.noisy_slices(head(person=0), [40, 41], 3.0, rng)
    write(scans / "good", "T1", noisy)
    data = check(
        DataSettings,
        {
            "cases": tmp_path / "cases",
            "shares": {"training": 1},
            "sources": [{"layout": "paired", "folder": scans, "n4": "none"}],
        },
        "test.yaml",
    )
    sources: tuple[Source, ...] = data.sources
    chosen = settings(tmp_path / "qc", checks=[c for c in CHECKS if c != "modality"])
    found, verdicts = examine(sources, chosen)
    by_check = {check: [one for one in found if one.check == check] for check in CHECKS}
    assert [one.scan.parent.name for one in by_check["ghosts"]] == ["moved"]
    assert [one.case for one in by_check["alignment"]] == ["paired_moved"]
    assert {one.scan.parent.name for one in by_check["duplicates"]} == {"twin"}
    (noise,) = by_check["noise"]
    assert noise.slices == (40, 41)
    assert set(verdicts.cases) == {"paired_moved"}

    report = json.loads((tmp_path / "qc" / "report.json").read_text(encoding="utf-8"))
    assert report["looked_at"] == {"scans": 6, "cases": 3}
    page = (tmp_path / "qc" / "report.html").read_text(encoding="utf-8")
    for one in (*by_check["ghosts"], *by_check["alignment"], noise):
        assert one.picture is not None
        assert one.picture in page
        assert sitk.ReadImage(str(tmp_path / "qc" / one.picture)).GetWidth() >= 600

    said = [text for _, _, text in prepare(data, read_verdicts(tmp_path / "qc"))]
    assert [text.partition(":")[0] for text in said if text.endswith(": packed")] == ["paired_good"]
    packed = sorted(path.parent.name for path in (tmp_path / "cases" / "training").glob("*/case.json"))
    assert packed == ["paired_good_whole_part1", "paired_good_whole_part2"]
