"""The crude finder: what it looks at points at what differs, in its place, on any grid; and it never claims more than that."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from lesion_heads import SIZE, Ball, HeadScan
from modality_conversion.lesion_features import SOURCES, look
from modality_conversion.lesion_finder import CLASSES, Discriminant, discriminant, find
from modality_conversion.lesions import check_lesions
from modality_conversion.modality import Modality
from volumes import filled, rotation

SPOT = Ball((20, 40, 25), 9.0, 70.0)
PAIR = (Modality.T1, Modality.T2)
UNUSUAL = {"lost": 16, "added": 23}
"""Columns: how unusual a voxel of the real, and of the synthetic scan is, smoothed over 2.5 mm."""


def pointing() -> Discriminant:
    """Nothing fitted: a place counts as lost or added where the one scan is unusual given the other, bright or dark."""
    features = len(discriminant().layers[0][0][0])
    up = np.zeros((4, features), np.float32)
    for row, (column, sign) in enumerate((c, s) for c in UNUSUAL.values() for s in (1, -1)):
        up[row, column] = sign
    out = np.zeros((len(CLASSES), 4), np.float32)
    out[CLASSES.index("lost"), :2] = 4
    out[CLASSES.index("added"), 2:] = 4
    offsets = np.where(np.isin(CLASSES, ("lost", "added")), -6, 0).astype(np.float32)
    return Discriminant(((up, np.zeros(4, np.float32)), (out, offsets)), {"lost": 0.5, "added": 0.5}, {})


def other_contrast(head: HeadScan) -> sitk.Image:
    """The same head with its contrast turned round, as a T2 is to a T1."""
    values = head.array()
    assert head.grid is not None
    return filled(head.grid, np.where(values > 0, np.maximum(260 - values, 5), 0).astype(np.float32))


def test_the_numbers_that_come_with_the_program_fit_what_is_looked_at() -> None:
    looked = look(HeadScan().scan(), other_contrast(HeadScan()), PAIR)
    assert looked is not None
    layers = discriminant().layers
    assert looked.values.shape[1] == layers[0][0].shape[1]
    assert layers[-1][0].shape[0] == len(CLASSES)
    assert set(discriminant().threshold) == {"lost", "added"}
    chances = discriminant()(looked.values)
    assert np.isfinite(chances).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["lost", "added"])
def test_a_spot_on_one_scan_alone_is_pointed_at_in_its_place(kind: str) -> None:
    real, synthetic = HeadScan((SPOT,) if kind == "lost" else ()), HeadScan((SPOT,) if kind == "added" else (), seed=1)
    found = find(real.scan(), other_contrast(synthetic), PAIR, by=pointing())
    assert found is not None
    chances = found.lost if kind == "lost" else found.added
    where = real.where(SPOT)
    deep = sitk.GetArrayFromImage(real.brain()) != 0
    assert chances[where].mean() > 5 * chances[deep & ~where].mean()
    assert where[np.unravel_index(np.argmax(chances * deep), where.shape)]


def test_the_place_is_right_on_an_oblique_anisotropic_flipped_grid() -> None:
    grid = sitk.Image(SIZE, sitk.sitkFloat32)
    grid.SetSpacing((2.5, 2.5, 2.5))
    grid.SetOrigin((-20.0, 31.0, 400.0))
    grid.SetDirection((rotation((0.2, -0.3, 0.1)) * [1, -1, -1]).ravel().tolist())
    real, synthetic = HeadScan(grid=grid), HeadScan((SPOT,), seed=1, grid=grid)
    thin = real.scan()[:, :, ::2], other_contrast(synthetic)[:, :, ::2]
    found = find(*thin, PAIR, by=pointing())
    assert found is not None
    k, j, i = np.unravel_index(
        np.argmax(found.added * (sitk.GetArrayFromImage(real.brain())[::2] != 0)), found.added.shape
    )
    assert found.added.shape == thin[0].GetSize()[::-1]
    place = thin[0].TransformIndexToPhysicalPoint((int(i), int(j), int(k)))
    wanted = real.scan().TransformIndexToPhysicalPoint(SPOT.centre)
    assert np.linalg.norm(np.subtract(place, wanted)) < SPOT.radius


def test_without_outlines_nothing_is_called_kept_or_lost_and_the_words_say_so() -> None:
    check = check_lesions(
        HeadScan((SPOT,)).scan(), other_contrast(HeadScan(seed=1)), real_modality=PAIR[0], synthetic_modality=PAIR[1]
    )
    assert check.method == "crude"
    assert {lesion.verdict for lesion in check.lesions} <= {"unclear"}
    assert "nobody knows whether they were kept" in check.verdict


@pytest.mark.parametrize("kind", SOURCES)
def test_every_modality_that_it_claims_to_know_can_be_looked_at(kind: Modality) -> None:
    scan = HeadScan().scan()
    if kind is Modality.CT:
        values = sitk.GetArrayFromImage(scan)
        scan = filled(scan, np.where(values == 0, -1000, values / 2).astype(np.float32))
    looked = look(scan, scan, (kind, kind))
    assert looked is not None
    assert np.isfinite(looked.values).all()


def test_a_volume_without_a_brain_is_said_to_have_none() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (7, 9, 8)).repeat(8, 0).repeat(8, 1).repeat(8, 2).astype(np.float32)
    noise[28, 36, 32] = 1000
    grid = HeadScan().grid
    assert grid is not None
    dust = filled(grid, np.abs(noise))
    check = check_lesions(dust, dust, real_modality=PAIR[0], synthetic_modality=PAIR[1])
    assert not check.lesions
    empty = filled(grid, (np.abs(noise) > 900).astype(np.float32))
    check = check_lesions(empty, empty, real_modality=PAIR[0], synthetic_modality=PAIR[1])
    assert not check.lesions
    assert any("No brain was found" in warning for warning in check.warnings)
