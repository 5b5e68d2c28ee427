"""What a radiologist looks at first: order of tissues on every contrast, HU, lesions, bone and air on both."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from modality_conversion.modality import Modality
from test_simulation import made
from training.data.regions import Region, Tissue
from training.simulation.anatomy import Head, head_from_labels, read_labels
from training.simulation.case import Case

TARGETS = ["CT", "T1", "T2", "FLAIR"]
SHARED = Path(os.environ.get("MODALITY_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LABEL_MAP = SHARED / "labels" / "training_seg_03.nii.gz"


def middle(case: Case, modality: Modality, tissue: Tissue, *, source: bool = False) -> float:
    """Median of a contrast well inside a tissue."""
    volume = (case.sources if source else case.targets)[modality]
    mask = case.tissue == tissue
    for iterations in (2, 1):
        inner = ndimage.binary_erosion(mask, iterations=iterations)
        if inner.sum() > 30:
            return float(np.median(volume[inner]))
    return float(np.median(volume[mask]))


def check_order(case: Case) -> None:
    """Grey, white and CSF on the targets of a healthy head; HU; bone and air."""
    values = {
        modality: {tissue: middle(case, modality, tissue) for tissue in (Tissue.CSF, Tissue.GREY, Tissue.WHITE)}
        for modality in case.targets
    }
    csf, grey, white = Tissue.CSF, Tissue.GREY, Tissue.WHITE
    assert values[Modality.T1][white] > 1.15 * values[Modality.T1][grey] > 1.5 * values[Modality.T1][csf]
    assert values[Modality.T2][csf] > 1.8 * values[Modality.T2][grey] > 2 * values[Modality.T2][white]
    assert values[Modality.FLAIR][grey] > 1.03 * values[Modality.FLAIR][white] > 2 * values[Modality.FLAIR][csf]
    ct = {tissue: 1000 * middle(case, Modality.CT, tissue) for tissue in Tissue if (case.tissue == tissue).any()}
    assert 20 <= ct[white] <= 30
    assert 37 <= ct[grey] <= 45
    assert 0 <= ct[csf] <= 15
    assert -120 <= ct[Tissue.FAT] <= -50
    assert 300 <= ct[Tissue.BONE] <= 1900
    assert ct[Tissue.NONE] == pytest.approx(-1000, abs=1)
    for modality in (Modality.T1, Modality.T2, Modality.FLAIR):
        assert middle(case, modality, Tissue.NONE) < 0.02
        assert middle(case, modality, Tissue.BONE) < 0.5 * values[modality][white]


@pytest.mark.parametrize("seed", range(4))
def test_tissues_are_in_order_on_every_target_and_ct_is_in_hounsfield_units(head: Head, seed: int) -> None:
    check_order(made(head, seed, targets=TARGETS, disease={}))


@pytest.mark.skipif(not LABEL_MAP.is_file(), reason="needs the shared label maps")
def test_a_real_heads_tissues_are_in_order_and_its_skull_is_bone_on_ct() -> None:
    case = made(
        head_from_labels(read_labels(LABEL_MAP)), 0, sources=["CT"], targets=TARGETS, deformation={"partial": 0}
    )
    check_order(case)
    ct = 1000 * case.targets[Modality.CT]
    bone = ct[case.region == Region.BONE]
    assert 700 < np.percentile(bone, 90) < 1900
    assert (ct[case.tissue == Tissue.AIR] < -300).mean() > 0.5
    assert 0.3 < (case.region == Region.BACKGROUND).mean() < 0.9


@pytest.mark.parametrize("seed", range(4))
def test_fluid_is_bright_on_t2_sources_and_dark_on_t1_and_flair_sources(head: Head, seed: int) -> None:
    case = made(head, seed, sources=["T1", "T2", "FLAIR"], csf_flow=0, unsaid_agent=0)
    at = {
        m: {t: middle(case, m, t, source=True) for t in (Tissue.CSF, Tissue.GREY, Tissue.WHITE)} for m in case.sources
    }
    assert at[Modality.T2][Tissue.CSF] > 1.3 * at[Modality.T2][Tissue.GREY]
    assert at[Modality.T1][Tissue.CSF] < 0.8 * at[Modality.T1][Tissue.WHITE]
    assert at[Modality.FLAIR][Tissue.CSF] < 0.8 * at[Modality.FLAIR][Tissue.GREY]


@pytest.mark.parametrize("disease", ["multiple_sclerosis", "stroke", "metastases", "small_vessels"])
def test_lesions_are_marked_and_bright_on_flair_and_t2(head: Head, disease: str) -> None:
    found = []
    for seed in range(6):
        case = made(head, seed, healthy=0, mass=0, disease={disease: 1.0}, targets=["T2", "FLAIR"])
        lesion = np.isin(case.region, (Region.LESION, Region.TUMOR))
        if lesion.sum() < 20:
            continue
        white = case.tissue == Tissue.WHITE
        # Old strokes are fluid with a bright rim on FLAIR; the edge of a lesion is half white matter.
        bright = {m: np.percentile(case.targets[m][lesion], 85) for m in case.targets}
        found.append([value / np.median(case.targets[m][white]) for m, value in bright.items()])
        assert case.about["disease"] == [disease]
    assert len(found) >= 2
    assert (np.median(found, axis=0) > 1.3).all()


@pytest.mark.parametrize("kind", ["high_grade", "low_grade", "meningioma", "cavity"])
def test_every_kind_of_mass_is_marked_and_changes_every_target(head: Head, kind: str) -> None:
    sizes = []
    for seed in range(4):
        settings = {"targets": [*TARGETS, "T1CE"], "deformation": {"partial": 0}}
        case = made(head, seed, healthy=0, disease={}, mass=1, masses={kind: 1.0}, **settings)
        lesion = np.isin(case.region, (Region.LESION, Region.TUMOR))
        sizes.append(int(lesion.sum()))
        assert case.about["disease"] == [kind]
        if kind != "cavity" and sizes[-1]:
            assert (case.region == Region.TUMOR).any()
    assert np.median(sizes) > 300


def test_a_high_grade_tumor_lights_up_after_contrast_agent_and_a_low_grade_one_does_not(head: Head) -> None:
    brightest = {}
    for kind in ("high_grade", "low_grade"):
        ratios = []
        for seed in range(5):
            case = made(head, seed, healthy=0, disease={}, mass=1, masses={kind: 1.0}, targets=["T1", "T1CE"])
            tumor = case.region == Region.TUMOR
            if tumor.any():
                before, after = (case.targets[m][tumor] for m in (Modality.T1, Modality.T1CE))
                ratios.append(np.percentile(after, 90) / np.percentile(before, 90))
        brightest[kind] = np.median(ratios)
    assert brightest["high_grade"] > 1.5
    assert brightest["low_grade"] < 1.1


def test_fresh_blood_is_brighter_than_brain_on_ct(head: Head) -> None:
    from training.simulation import lesions
    from training.simulation.case import ct_image, make_person
    from training.simulation.settings import CaseSettings

    settings = CaseSettings.model_validate({"healthy": 1, "disease": {}, "deformation": {"partial": 0}})
    person, _ = make_person(head, settings, np.random.default_rng(0))
    for seed in range(20):
        found = lesions.haemorrhage(lesions.Field(person.head, np.random.default_rng(seed)))
        if found[-1].tissue == "acute_clot":
            break
    person.lesions.extend(found)
    core = found[-1].weight > 0.9
    assert 50 < float(ct_image(person, scale=1.0)[found[-1].box][core].median()) < 80
