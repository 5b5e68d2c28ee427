"""Is a lesion that was outlined on the real scan on the synthetic one of another modality too?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from lesion_heads import Ball, HeadScan
from modality_conversion import lesion_judge, lesions
from modality_conversion.lesion_finder import Discriminant
from modality_conversion.lesion_judge import chances_of_loss, judge, knows, traits
from modality_conversion.lesion_match import parts
from modality_conversion.lesions import check_lesions
from modality_conversion.modality import Modality

FOUR = (Ball((20, 40, 25), 7.0, 40.0), Ball((44, 30, 30), 8.0, 45.0), Ball((30, 20, 18), 6.0, 40.0))
FOUR = (*FOUR, Ball((40, 48, 20), 7.0, 50.0))
SPACING = (2.5, 2.5, 2.5)
KINDS = (Modality.FLAIR, Modality.T2)


def inside(image: sitk.Image) -> np.ndarray:
    mask: np.ndarray = sitk.GetArrayFromImage(image) > 0
    return mask


def seen(
    real: np.ndarray,
    synthetic: np.ndarray,
    mask: np.ndarray,
    brain: np.ndarray,
    least: tuple[float, float] = (4.0, 4.0),
) -> list[np.ndarray | None]:
    found, _ = parts(mask, SPACING, 15.0)
    return traits((real, synthetic), KINDS, least, found, mask, brain, SPACING)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    real, synthetic = HeadScan(FOUR), HeadScan(FOUR[1:], seed=1)
    return real.array(), synthetic.array(), inside(real.mask()), inside(real.brain())


def test_the_numbers_that_come_with_the_program_fit_what_is_looked_at(
    pair: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    (row, *_) = seen(*pair)
    assert row is not None
    first, last = judge().layers[0][0], judge().layers[-1][0]
    assert first.shape[1] == len(row)
    assert len(last) == len(lesion_judge.CLASSES)
    assert 0 < judge().threshold["unclear"] <= judge().threshold["lost"] < 1


def test_what_is_looked_at_depends_on_no_unit_and_no_side(
    pair: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    plain = np.stack(seen(*pair))  # type: ignore[arg-type]
    real, synthetic, mask, brain = pair
    scaled = np.stack(seen(3 * real + 7, synthetic / 5, mask, brain, (12.0, 0.8)))  # type: ignore[arg-type]
    np.testing.assert_allclose(scaled, plain, atol=1e-4)
    mirrored = [np.ascontiguousarray(array[:, :, ::-1]) for array in pair]
    flipped = np.stack(seen(*mirrored))  # type: ignore[arg-type]
    # Lesions of one size may come in another order.
    for row in plain:
        assert np.abs(flipped - row).max(1).min() < 1e-4


def test_nothing_is_said_where_nothing_is_around(pair: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> None:
    real, synthetic, _, brain = pair
    found, _ = parts(brain, SPACING, 15.0)
    rows = traits((real, synthetic), KINDS, (4.0, 4.0), found, brain, brain, SPACING)
    assert chances_of_loss(rows) == [None]


def test_a_scan_without_contrast_in_the_brain_is_unclear(
    pair: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    real, synthetic, mask, brain = pair
    assert seen(real, np.where(brain, 50.0, synthetic), mask, brain, (4.0, 0.0)) == [None] * 4
    head = HeadScan(FOUR)
    small = head.mask(replace(FOUR[0], radius=8.5))
    flat = sitk.Mask(head.scan(), sitk.Cast(small, sitk.sitkUInt8) == 0, 50.0)
    outline = head.mask(replace(FOUR[0], radius=4.0))
    kinds = {"real_modality": KINDS[0], "synthetic_modality": KINDS[1]}
    result = check_lesions(
        head.scan(),
        flat,
        **kinds,
        real_lesions=outline,
        zone=small,
        look_for_added=False,  # type: ignore[arg-type]
    )
    assert [lesion.verdict for lesion in result.lesions] == ["unclear"]


def test_it_judges_two_modalities_that_it_has_seen_and_no_others() -> None:
    assert knows((Modality.T1, Modality.T2))
    assert knows((Modality.CT, Modality.FLAIR))
    assert not knows((Modality.T2, Modality.T2))
    assert not knows((Modality.T1, Modality.PD))


def check(synthetic: HeadScan) -> lesions.LesionCheck:
    real = HeadScan(FOUR)
    return check_lesions(
        real.scan(),
        synthetic.scan(),
        real_modality=KINDS[0],
        synthetic_modality=KINDS[1],
        real_lesions=real.mask(),
        zone=real.brain(),
        look_for_added=False,
    )


def test_lesions_of_a_faultless_synthetic_scan_are_kept_and_one_that_is_gone_is_lost() -> None:
    assert check(HeadScan(FOUR, seed=1)).counts["kept"] == 4
    for gone in range(4):
        rest = tuple(ball for number, ball in enumerate(FOUR) if number != gone)
        found = {lesion.voxel: lesion.verdict for lesion in check(HeadScan(rest, seed=1)).lesions}
        assert found[FOUR[gone].centre] == "lost"
        assert sum(verdict == "kept" for verdict in found.values()) == 3


@pytest.mark.parametrize(
    ("chance", "verdict"), [(0.05, "kept"), (0.4, "unclear"), (0.9, "changed")], ids=["kept", "unclear", "changed"]
)
def test_the_verdict_follows_the_chance(chance: float, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    certain = Discriminant((), {"lost": 0.8, "unclear": 0.3}, {})
    monkeypatch.setattr(lesions, "judge", lambda: certain)
    monkeypatch.setattr(lesions, "chances_of_loss", lambda rows: [chance] * len(rows))
    found = check(HeadScan(FOUR, seed=1)).lesions
    assert {lesion.verdict for lesion in found} == {verdict}
    assert found[0].as_dict(1)["chance_of_loss"] == chance
    faint = HeadScan(tuple(replace(ball, value=0.0) for ball in FOUR), seed=1)
    assert {lesion.verdict for lesion in check(faint).lesions} == {"lost" if verdict == "changed" else verdict}
