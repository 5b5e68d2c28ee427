"""Heads made from label maps: anatomy, details, deformation, whole cases, reproducibility."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from modality_conversion.modality import Modality
from small_head import small_labels, write_labels
from training.config import ConfigError
from training.data.regions import BRAIN_REGIONS, Region, Tissue
from training.simulation.ageing import shrink
from training.simulation.anatomy import Deformation, Head, Mass, deform, head_from_labels, is_any, is_brain, read_labels
from training.simulation.case import Case, simulate
from training.simulation.fields import gaussian_blur, smooth_field
from training.simulation.labels import tissue_codes
from training.simulation.outside import add_details, face_cut, stripped_brain
from training.simulation.settings import CaseSettings
from training.simulation.tissues import CAVITY, CODE

WHOLE = Deformation(partial=0)
NOTHING = {
    "healthy": 1.0,
    "stripped": 0.0,
    "defaced": 0.0,
    "thick": 0.0,
    "atrophy": 0.0,
    "smaller": 0.0,
    "fault": 0.0,
    "disease": {},
    "deformation": WHOLE,
}
PLAIN = CaseSettings.model_validate(
    NOTHING | {"sources": ["T1"], "targets": ["T2"], "noise": [0, 0], "bias": [0, 0], "surface": [0, 0]}
)


def plain(**changes: object) -> CaseSettings:
    """Settings under which nothing happens, but for `changes`."""
    return CaseSettings.model_validate(PLAIN.model_dump() | changes)


def made(head: Head, seed: int, **changes: object) -> Case:
    return simulate(head, plain(**changes), np.random.default_rng(seed))


# --- label maps -------------------------------------------------------------------------------------------------------


def test_a_label_map_in_any_orientation_is_read_as_ras(tmp_path: Path) -> None:
    assert np.array_equal(read_labels(write_labels(tmp_path / "labels.nii.gz")), small_labels())


def test_a_label_map_that_is_not_1_mm_is_refused_in_words(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(small_labels())
    image.SetSpacing((2, 2, 2))
    sitk.WriteImage(image, str(tmp_path / "labels.nii.gz"))
    with pytest.raises(ConfigError, match="must be 1 mm"):
        read_labels(tmp_path / "labels.nii.gz")


def test_a_scan_in_the_place_of_a_label_map_is_refused_in_words(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((8, 8, 8), 1.5, np.float32)), str(tmp_path / "t1.nii.gz"))
    with pytest.raises(ConfigError, match="not whole numbers"):
        read_labels(tmp_path / "t1.nii.gz")


def test_a_file_that_is_no_image_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "labels.nii.gz").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labels(tmp_path / "labels.nii.gz")


def test_a_label_without_a_tissue_is_refused_by_number_and_can_be_given_one() -> None:
    labels = np.array([0, 2, 999])
    with pytest.raises(ConfigError, match=r"\[999\].*extra_labels"):
        tissue_codes(labels)
    assert tissue_codes(labels, {999: "fat"}).tolist() == [CODE["air"], CODE["white_matter"], CODE["fat"]]
    with pytest.raises(ConfigError, match="no tissue cheese"):
        tissue_codes(labels, {999: "cheese"})


def test_unknown_labels_are_refused_before_any_work_is_done() -> None:
    labels = small_labels()
    labels[0, 0, 0] = 1234
    with pytest.raises(ConfigError, match="1234"):
        head_from_labels(labels)


def test_a_label_map_without_a_brain_is_refused() -> None:
    labels = np.where(np.isin(small_labels(), (507, 511, 515)), small_labels(), 0)
    with pytest.raises(ConfigError, match="no brain"):
        head_from_labels(labels)
    with pytest.raises(ConfigError, match="empty"):
        head_from_labels(np.zeros((20, 20, 20), int))


# --- anatomy ----------------------------------------------------------------------------------------------------------


def test_distances_are_in_millimetres(head: Head) -> None:
    centre = tuple(n // 2 for n in head.shape)
    assert -24 < float(head.distance("to_brain")[centre]) < -15
    assert float(head.distance("to_ventricle")[centre]) < 1
    skin = tuple(is_any(head.codes, ("skin",)).nonzero()[0].tolist())
    assert 0 <= float(head.distance("depth")[skin]) < 4
    bone = is_any(head.codes, ("cortical_bone", "diploe"))
    assert 1 < float(head.distance("in_bone")[bone].median()) < 3
    left = is_any(head.codes, ("grey_matter",))
    left[..., head.shape[2] // 2 :] = False
    assert (head.distance("side")[left] < 0).float().mean() > 0.9


def test_air_inside_the_head_is_told_from_air_around_it() -> None:
    labels = small_labels()
    labels[34:38, 58:62, 34:38] = 0  # closed in by soft tissue
    labels[20, 20, 20] = 0  # a pit that a segmentation left
    head = head_from_labels(labels, margin=4)
    assert is_any(head.codes, (CAVITY,)).sum() == 64
    assert not is_any(head.codes, (CAVITY,))[:24, :24, :24].any()


def test_details_lie_where_they_belong(head: Head) -> None:
    rng = np.random.default_rng(0)
    detailed = add_details(head, rng)
    depth = {name: float(head.distance("depth")[detailed.within(name)].mean()) for name in ("skin", "fat", "diploe")}
    assert depth["skin"] < depth["fat"] < depth["diploe"]
    assert detailed.within("dura").any()
    assert float(head.distance("to_bone")[detailed.within("dura")].median()) < 3
    assert (detailed.within("white_matter") == head.within("white_matter")).float().mean() > 0.99
    assert not (is_brain(head.codes) & detailed.within("fat", "muscle", "skin", "cortical_bone")).any()


def test_deformation_keeps_the_tissues_and_the_whole_brain(head: Head) -> None:
    for seed in range(3):
        moved = deform(head, WHOLE, np.random.default_rng(seed))
        assert set(moved.codes.unique().tolist()) <= set(head.codes.unique().tolist())
        brain = is_brain(moved.codes)
        assert 0.6 < float(brain.sum() / is_brain(head.codes).sum()) < 1.6
        assert not brain[:, 0].any()
        assert not brain[:, -1].any()
        assert float(moved.distance("to_brain")[brain].median()) < 0


def test_a_partial_field_of_view_shows_a_part_of_the_brain(head: Head) -> None:
    everything = int(is_brain(head.codes).sum())
    for seed in range(6):
        part = deform(head, Deformation(partial=1, scale=0), np.random.default_rng(seed))
        assert 0.1 * everything < int(is_brain(part.codes).sum()) < 0.98 * everything


def test_a_mass_makes_room_for_itself_and_leaves_the_skull_in_place(head: Head) -> None:
    still = Deformation(partial=0, rotation=0, scale=0, shear=0, elastic=0)
    place = np.array(head.shape) / 2 + [6, 0, 8]
    without = deform(head, still, np.random.default_rng(1))
    grown = deform(head, still, np.random.default_rng(1), Mass(place, radius=7, growth=0.8))
    inside = grown.distance("to_mass") < 7
    assert 0.6 < float(inside.sum()) / (4 / 3 * np.pi * 7**3) < 2.5  # tissue of that ball fills more than the ball now
    bone = without.within("cortical_bone", "diploe") != grown.within("cortical_bone", "diploe")
    assert float(bone.sum()) < 0.03 * float(without.within("cortical_bone", "diploe").sum())
    assert float((without.codes != grown.codes).sum()) > 500


def test_an_older_brain_has_more_fluid_and_less_cortex(head: Head) -> None:
    grown_old = [shrink(head, np.random.default_rng(seed)) for seed in range(4)]
    fluid = [int(old.within("csf", "ventricle").sum()) for old in grown_old]
    assert max(fluid) > 1.1 * int(head.within("csf", "ventricle").sum())
    assert all(int(old.within("grey_matter").sum()) <= int(head.within("grey_matter").sum()) for old in grown_old)


def test_a_defaced_head_keeps_its_brain(head: Head) -> None:
    for seed in range(3):
        kept = face_cut(head, np.random.default_rng(seed))
        assert kept[is_brain(head.codes)].all()
        assert not kept.all()


def test_a_stripping_mask_covers_most_of_the_brain_and_no_eye(head: Head) -> None:
    shares = []
    for seed in range(5):
        mask = stripped_brain(head, np.random.default_rng(seed))
        shares.append(float(mask[is_brain(head.codes)].float().mean()))
        assert not mask[head.within("eye")].any()
        assert not mask[head.within("skin")].float().mean() > 0.05
    assert min(shares) > 0.7
    assert max(shares) > 0.95


# --- cases ------------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_case_and_another_seed_another(head: Head) -> None:
    first, again, other = (simulate(head, CaseSettings(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    for modality, volume in first.sources.items():
        assert np.array_equal(volume, again.sources[modality])
    for modality, volume in first.targets.items():
        assert np.array_equal(volume, again.targets[modality])
    assert first.about == again.about
    assert first.region.shape != other.region.shape or not np.array_equal(first.region, other.region)


def test_every_contrast_can_be_source_and_target_and_stays_on_its_scale(head: Head) -> None:
    all_of_them = ["CT", "T1", "T1CE", "T2", "FLAIR", "PD"]
    settings = CaseSettings.model_validate({"sources": all_of_them, "targets": all_of_them})
    for seed in range(3):
        case = simulate(head, settings, np.random.default_rng(seed))
        assert list(case.sources) == list(case.targets) == [Modality(name) for name in all_of_them]
        for volume in case.sources.values():
            assert volume.shape == case.region.shape
            assert np.isfinite(volume).all()
            assert volume.min() >= -1e-5
            assert volume.max() <= 1 + 1e-5
            assert volume.std() > 0.005
        for modality, volume in case.targets.items():
            assert np.isfinite(volume).all()
            limits = (-1.024, 3.071) if modality is Modality.CT else (0, 1.25)
            assert volume.min() >= limits[0]
            assert volume.max() <= limits[1]


def test_only_so_many_sources_are_made_as_asked_for(head: Head) -> None:
    seen = set()
    for seed in range(8):
        case = made(head, seed, sources=["CT", "T1", "T2", "FLAIR"], sources_per_case=2)
        assert len(case.sources) == 2
        seen |= set(case.sources)
    assert len(seen) == 4


def test_a_modality_that_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(ValueError, match="name each once, out of CT"):
        CaseSettings.model_validate({"sources": ["PET"]})
    with pytest.raises(ValueError, match="nothing is known of hiccups"):
        CaseSettings.model_validate({"disease": {"hiccups": 1}})


@pytest.mark.parametrize("modality", ["T1", "CT"])
def test_a_stripped_case_holds_nothing_outside_the_brain_on_any_contrast(head: Head, modality: str) -> None:
    case = made(head, 1, stripped=1.0, negative=0.0, sources=[modality], targets=[modality])
    outside = case.region == Region.BACKGROUND
    assert outside.mean() > 0.3
    source, target = case.sources[Modality(modality)][outside], case.targets[Modality(modality)][outside]
    assert np.ptp(source) == 0
    assert np.ptp(target) == 0
    assert target[0] == (-1.0 if modality == "CT" else 0.0)
    assert case.about["whole_head"] is False
    assert not case.tissue[outside].any()


def test_a_standardised_source_has_brain_darker_than_its_background(head: Head) -> None:
    case = made(head, 2, stripped=1.0, negative=1.0)
    background = case.sources[Modality.T1][case.region == Region.BACKGROUND]
    assert np.ptp(background) == 0
    assert 0.05 < background[0] < 0.95
    assert case.about["protocols"]["T1"]["standardised"]


def test_regions_and_tissues_tell_the_parts_of_a_head_apart(head: Head) -> None:
    case = made(head, 0)
    brain = np.isin(case.region, BRAIN_REGIONS)
    assert set(np.unique(case.region)) == {Region.BACKGROUND, Region.HEAD, Region.BRAIN, Region.BONE}
    for tissue in (Tissue.GREY, Tissue.WHITE):
        assert brain[case.tissue == tissue].all()
    assert (case.region[case.tissue == Tissue.BONE] == Region.BONE).all()
    assert (case.region[case.tissue == Tissue.NONE] == Region.BACKGROUND).all()
    assert {Tissue.FAT, Tissue.SOFT} <= set(np.unique(case.tissue[case.region == Region.HEAD]).tolist())


def test_thick_slices_are_shared_by_a_case_and_its_targets_unless_mixed(head: Head) -> None:
    names = ["T1", "T2", "FLAIR"]
    shared = made(head, 4, thick=1.0, mixed=0.0, sources=names)
    spacings = {tuple(shared.about["protocols"][name]["spacing"]) for name in names}
    assert spacings == {tuple(shared.about["target_spacing"])}
    assert max(spacings.pop()) >= 2
    mixed = made(head, 4, thick=1.0, mixed=1.0, sources=names)
    assert mixed.about["target_spacing"] == [1.0, 1.0, 1.0]
    assert len({tuple(mixed.about["protocols"][name]["spacing"]) for name in names}) > 1


def test_the_targets_of_two_people_have_one_scale_whatever_the_sources(head: Head) -> None:
    medians = []
    for seed in range(3):
        case = made(head, seed, targets=["T1", "FLAIR"])
        medians.append([float(np.median(v[np.isin(case.region, BRAIN_REGIONS)])) for v in case.targets.values()])
    assert np.array(medians) == pytest.approx(np.array([[0.5, 0.4]] * 3), rel=0.02)


# --- fields -----------------------------------------------------------------------------------------------------------


def test_blurring_keeps_a_constant_and_the_sum_of_a_point() -> None:
    assert torch.allclose(gaussian_blur(torch.ones(9, 9, 9), 1.0), torch.ones(9, 9, 9))
    point = torch.zeros(15, 15, 15)
    point[7, 7, 7] = 1
    assert float(gaussian_blur(point, 0.8).sum()) == pytest.approx(1, abs=1e-5)
    along_one = gaussian_blur(point, (0.0, 0.0, 0.8))
    assert float(along_one[7, 7].sum()) == pytest.approx(1, abs=1e-5)


def test_smooth_fields_are_smooth() -> None:
    field = smooth_field((40, 40, 40), 20, torch.Generator().manual_seed(0))[0]
    assert field.diff(dim=0).abs().mean() < 0.2 * field.std()
    field = smooth_field((40, 40, 40), (2, 20, 20), torch.Generator().manual_seed(0))[0]
    assert field.diff(dim=0).abs().mean() > 3 * field.diff(dim=1).abs().mean()
