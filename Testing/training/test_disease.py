"""The map of diseases of a simulated head: each part of a tumor where it was painted, other disease apart from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modality_conversion.modality import Modality
from training.data.cases import read_case, write_case
from training.data.regions import TUMOR_PARTS, Disease, Region
from training.simulation.anatomy import Head
from training.simulation.case import simulate
from training.simulation.disease import disease_map, disease_of
from training.simulation.lesions import MASS_KINDS, Lesion
from training.simulation.settings import CaseSettings

T1CE, FLAIR = Modality.T1CE, Modality.FLAIR


def ill(head: Head, seed: int, **changes: object) -> tuple[np.ndarray, np.ndarray, dict]:
    """Disease codes and regions, and the sources, of one simulated case without noise or faults."""
    content = {
        "sources": ["T1CE", "FLAIR"],
        "targets": [],
        "healthy": 0,
        "disease": {},
        "stripped": 0,
        "defaced": 0,
        "thick": 0,
        "noise": (0, 0),
        "bias": (0, 0),
        "surface": (0, 0),
        "fault": 0,
        "negative": 0,
        "smaller": 0,
        **changes,
    }
    case = simulate(head, CaseSettings.model_validate(content), np.random.default_rng(seed))
    return case.disease, case.region, case.sources


def test_the_enhancing_part_of_a_high_grade_tumor_is_what_shines_after_contrast_agent(head: Head) -> None:
    told = []
    for seed in range(4):
        disease, region, sources = ill(head, seed, mass=1, masses={"high_grade": 1})
        assert set(np.unique(disease)) <= {0, *map(int, TUMOR_PARTS)}
        inside = np.isin(disease, (Disease.CORE, Disease.ENHANCING))
        assert (region[inside] == Region.TUMOR).mean() > 0.97
        if (disease == Disease.ENHANCING).sum() > 30 and (disease == Disease.CORE).sum() > 30:
            told.append(
                sources[T1CE][disease == Disease.ENHANCING].mean() - sources[T1CE][disease == Disease.CORE].mean()
            )
    assert told
    assert min(told) > 0.05


@pytest.mark.parametrize("kind", sorted(MASS_KINDS))
def test_every_mass_is_told_by_its_parts(head: Head, kind: str) -> None:
    found = set()
    for seed in range(3):
        disease, _, _ = ill(head, seed, mass=1, masses={kind: 1}, sources=["T1CE"])
        found |= set(np.unique(disease).tolist()) - {0}
    wanted = {
        "high_grade": {Disease.OEDEMA, Disease.CORE, Disease.ENHANCING},
        "low_grade": {Disease.CORE},
        "meningioma": {Disease.OEDEMA, Disease.CORE, Disease.ENHANCING},
        "cavity": {Disease.OTHER, Disease.ENHANCING},
    }[kind]
    assert found <= wanted
    assert found & {Disease.CORE, Disease.ENHANCING, Disease.OTHER}


def test_multiple_sclerosis_is_no_tumor_even_where_it_takes_up_agent(head: Head) -> None:
    disease, region, _ = ill(head, 1, mass=0, disease={"multiple_sclerosis": 1}, sources=["T1CE"])
    assert set(np.unique(disease)) == {0, Disease.MS_LESION}
    np.testing.assert_array_equal(disease > 0, region == Region.LESION)


def test_a_healthy_head_and_harmless_lime_have_no_disease(head: Head) -> None:
    disease, _, _ = ill(head, 0, healthy=1, mass=0, disease={"calcifications": 1}, sources=["T1CE"])
    assert not disease.any()


def test_later_lesions_lie_over_earlier_ones_and_bone_is_none() -> None:
    region = torch.full((4, 4, 4), int(Region.BRAIN), dtype=torch.uint8)
    region[0] = int(Region.BONE)
    whole = (slice(0, 4),) * 3
    weight = torch.ones(4, 4, 4)
    half = weight.clone()
    half[:, 2:] = 0.2
    lesions = [
        Lesion(whole, weight, "ms_lesion", kind="multiple_sclerosis"),
        Lesion(whole, half, "enhancing", Region.TUMOR, kind="metastases"),
        Lesion(whole, weight, "csf", None, kind="meningioma"),
    ]
    found = disease_map(region, lesions)
    assert not found[0].any()
    assert (found[1:, :2] == Disease.ENHANCING).all()
    assert (found[1:, 2:] == Disease.MS_LESION).all()
    assert disease_of(Lesion(whole, weight, "oedema", kind="haemorrhage")) == Disease.OTHER
    assert disease_of(Lesion(whole, weight, "oedema", kind="high_grade")) == Disease.OEDEMA


def test_a_case_keeps_its_map_and_an_older_case_is_read_without_one(tmp_path: Path) -> None:
    region = np.full((2, 3, 4), Region.BRAIN, np.uint8)
    disease = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 6
    about = {"person": "a", "origin": "simulated"}
    for name, codes in (("new", disease), ("old", None)):
        write_case(tmp_path / name, {FLAIR: region.astype(float)}, {}, region, about, disease=codes)
    np.testing.assert_array_equal(np.asarray(read_case(tmp_path / "new").disease), disease)
    assert read_case(tmp_path / "old").disease is None
