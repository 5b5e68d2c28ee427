"""Faults planted into simulated scans: there, as strong as said, and nowhere else; and how finding them is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from modality_conversion.lesion_finder import CLASSES, Discriminant, discriminant
from modality_conversion.modality import Modality
from training.data.regions import Region, Tissue
from training.lesion_check.fit import fit, write
from training.lesion_check.measure import Alarm, Trial, rates, thresholds
from training.lesion_check.plant import Head, degraded

SIDE = 60


@pytest.fixture(scope="module")
def brain() -> Head:
    """A ball of brain, half white and half grey, with one lesion."""
    z, y, x = (axis - SIDE / 2 for axis in np.ogrid[:SIDE, :SIDE, :SIDE])
    radius = np.sqrt(z**2 + y**2 + x**2)
    region = np.where(radius < 26, Region.BRAIN, Region.BACKGROUND).astype(np.uint8)
    tissue = np.where(radius < 18, Tissue.WHITE, Tissue.GREY).astype(np.uint8) * (region > 0)
    lesion = np.sqrt((z - 5) ** 2 + y**2 + (x + 6) ** 2) < 4
    region[lesion], tissue[lesion] = Region.LESION, Tissue.LESION
    return Head(region, tissue.astype(np.uint8))


def scan(brain: Head) -> np.ndarray:
    """White 100, grey 130, lesion 180."""
    return np.array([0, 30, 130, 100, 0, 0, 0, 0, 180], np.float32)[brain.tissue]


def test_a_lesion_has_the_volume_and_the_contrast_it_was_made_with(brain: Head) -> None:
    (site,) = brain.sites(scan(brain), 2 * scan(brain))
    assert site.volume_ml == pytest.approx(4 / 3 * np.pi * 4**3 / 1000, rel=0.1)
    assert site.real == pytest.approx(80)
    assert site.synthetic == pytest.approx(160)


@pytest.mark.parametrize("kept", [0.0, 0.25, 1.0])
def test_a_weakened_lesion_keeps_just_that_share_and_the_rest_of_the_head_is_untouched(
    brain: Head, kept: float
) -> None:
    (site,) = brain.sites(scan(brain), scan(brain))
    changed = brain.weakened(scan(brain), site.voxels, kept)
    left = brain.contrast(changed, site.voxels, brain.healthy)
    assert left == pytest.approx(80 * kept, abs=6)
    far = ~ndimage.binary_dilation(site.voxels, iterations=6)
    np.testing.assert_allclose(changed[far], scan(brain)[far], atol=1e-3)


def test_an_added_lesion_lies_in_healthy_tissue_apart_from_others_and_is_as_strong_as_asked(brain: Head) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        where = brain.free_place(np.zeros(brain.region.shape, bool), rng)
        assert where is not None
        assert 0.1 <= brain.ml(where.sum()) <= 6
        assert brain.healthy[where].all()
        assert ndimage.distance_transform_edt(~brain.lesions)[where].min() > 3
        changed = brain.added(scan(brain), where, 50)
        core = ndimage.binary_erosion(where)
        if core.any():
            assert (changed - scan(brain))[core].mean() > 15
        far = ~ndimage.binary_dilation(where, iterations=6)
        np.testing.assert_allclose(changed[far], scan(brain)[far], atol=1e-3)


def test_there_is_no_free_place_where_everything_is_taken(brain: Head) -> None:
    assert brain.free_place(np.ones(brain.region.shape, bool), np.random.default_rng(0)) is None


@pytest.mark.parametrize("hounsfield", [True, False])
def test_a_degraded_scan_is_close_to_the_true_one(brain: Head, hounsfield: bool) -> None:
    true = scan(brain)
    worse = degraded(true, hounsfield, np.random.default_rng(1))
    assert np.corrcoef(true.ravel(), worse.ravel())[0, 1] > 0.95
    assert not np.array_equal(true, worse)


def trial(kind: str, *alarms: Alarm) -> Trial:
    return Trial("head", "T1", "T2", kind, 0.5, alarms)


def test_false_alarms_are_limited_by_the_threshold_and_counted() -> None:
    trials = [
        trial("added", Alarm("added", 0.3, 0.9, True), Alarm("lost", 0.2, 0.5 + n / 40, False)) for n in range(20)
    ]
    limits = thresholds(trials, 0.1)  # one false alarm of `lost` in twenty volumes
    result = rates(trials, limits)
    assert result["share_found"] == 1
    assert result["false_alarms_a_volume"] == pytest.approx(1 / 20)
    assert result["found"]["added"] == [20, 20]
    none = rates(trials, {"lost": 1.1, "added": 0.95})
    assert none["share_found"] == 0
    assert none["false_alarms_a_volume"] == 0


def test_a_discriminant_learns_what_can_be_told_apart_and_reads_back_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = len(discriminant().layers[0][0][0])
    classes = rng.integers(0, len(CLASSES), 3000).astype(np.uint8)
    values = rng.normal(0, 0.3, (3000, features))
    values[np.arange(3000), classes] += 2
    found = fit([(values.astype(np.float16), classes)], epochs=60)
    assert (found(values.astype(np.float32)).argmax(1) == classes).mean() > 0.98
    write(found, {"lost": 0.7, "added": 0.8}, {"fitted_on": "a test"}, tmp_path / "found.json")
    from modality_conversion import lesion_finder

    before = lesion_finder.WEIGHTS
    try:
        lesion_finder.WEIGHTS = tmp_path / "found.json"
        lesion_finder.discriminant.cache_clear()
        again = lesion_finder.discriminant()
    finally:
        lesion_finder.WEIGHTS = before
        lesion_finder.discriminant.cache_clear()
    np.testing.assert_allclose(again(values.astype(np.float32)), found(values.astype(np.float32)), atol=1e-3)
    assert again.threshold["added"] == 0.8


def test_a_trial_on_a_packed_head_finds_its_own_place(cases: Path) -> None:
    from training.lesion_check.measure import trial as run
    from training.lesion_check.scenes import scenes

    scene = next(iter(scenes([cases], 2.0, np.random.default_rng(0))))
    done = run(scene, Modality.T1, Modality.T2, "added", discriminant(), np.random.default_rng(0))
    assert done is not None
    assert done.kind == "added"
    assert done.volume_ml >= 0.1


def test_the_judge_is_told_of_each_outlined_lesion_and_whether_it_was_lost(cases: Path) -> None:
    from training.lesion_check.known import known_rows, outlined
    from training.lesion_check.scenes import scenes

    scene = next(iter(scenes([cases], 2.0, np.random.default_rng(0))))
    known = outlined(scene, Modality.T1, Modality.T2, np.random.default_rng(0))
    assert known is not None
    assert np.isin(known.head.region[known.mask], (Region.LESION, Region.TUMOR)).all()
    lost = []
    for seed in range(6):
        found = known_rows(scene, Modality.T1, Modality.T2, np.random.default_rng(seed))
        assert found is not None
        rows, classes = found
        assert len(rows) == len(classes)
        assert np.isfinite(rows).all()
        lost.append(int(classes.sum()))
    assert 0 < sum(lost) < 30


def test_limits_of_the_judge_leave_as_many_errors_as_allowed() -> None:
    from training.lesion_check.known import judged, limits_of_judge

    certain = Discriminant(((np.array([[0.0], [1.0]], np.float32), np.zeros(2, np.float32)),), {}, {})
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(5, 1)), np.zeros(5, np.uint8)) for _ in range(100)]
    pairs += [(rng.normal(4, size=(1, 1)), np.ones(1, np.uint8)) for _ in range(100)]
    limits = limits_of_judge(certain, pairs, 0.1, 0.05)
    said = judged(certain, pairs, limits)
    assert said["kept lesions"]["lost"] == 20
    assert said["lost lesions"]["kept"] <= 5
    assert sum(said["lost lesions"].values()) == 100
    assert 0 < limits["unclear"] <= limits["lost"] < 1


def test_the_command_fits_the_judge_and_writes_it(cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from modality_conversion import lesion_judge
    from training.lesion_check.__main__ import app

    monkeypatch.setattr(lesion_judge, "WEIGHTS", tmp_path / "judge.json")
    few = ["--pairs", "6", "--trials", "4", "--epochs", "3"]
    done = CliRunner().invoke(app, ["judge", str(cases), *few])
    assert done.exit_code == 0, done.output
    lesion_judge.judge.cache_clear()
    found = lesion_judge.judge()
    lesion_judge.judge.cache_clear()
    assert found.about["calibration"]["volumes"] == 4  # type: ignore[index]
    assert set(found.threshold) == {"lost", "unclear"}
