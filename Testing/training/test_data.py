"""The scales, the packed cases, the slabs drawn from them, and who is in which part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modality_conversion import ops
from modality_conversion.sampler import tilings
from modality_conversion.schema import Sampler
from training.config import ConfigError
from training.data.augment import SourceAugmentation, augment_source, rising_curve
from training.data.cases import complete_cases
from training.data.regions import Region
from training.data.scale import SOURCE_OPS, TARGET_MEDIAN, normalise_source, normalise_target
from training.data.slabs import PoolSettings, SlabDraws, SlabSettings, cut
from training.data.split import read_split

SETTINGS = SlabSettings(crop=(64, 96), batch=2, workers=0)


def draws(folder: Path, seed: int = 1, **changes: float) -> SlabDraws:
    pools = {"a": PoolSettings(folder=folder, augmentation=SourceAugmentation(**changes))}
    return SlabDraws(pools, {"a": 1.0}, SETTINGS, context=9, outputs=5, seed=seed)


def test_the_source_is_scaled_by_the_engines_own_operations() -> None:
    volume = np.random.default_rng(0).gamma(2, 50, (20, 30, 40)).astype(np.float32)
    low, high = np.percentile(volume, (0.5, 99.8))
    expected = (np.clip(volume, low, high) - low) / (high - low)
    assert normalise_source(volume) == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(normalise_source(volume), ops.apply(SOURCE_OPS, "grid", volume, ops.Context()))


def test_csf_at_the_edge_of_a_stripped_brain_stays_apart_from_the_zeros_around_it() -> None:
    volume = np.zeros((20, 20, 20), np.float32)
    volume[4:16, 4:16, 4:16], volume[4:6, 4:16, 4:16] = 400, 36
    assert normalise_source(volume)[5, 8, 8] > 0.05


def test_a_constant_source_becomes_zeros() -> None:
    assert not normalise_source(np.full((4, 4, 4), 7.0)).any()


def test_the_brains_median_is_the_same_on_every_target() -> None:
    rng = np.random.default_rng(0)
    region = np.full((8, 8, 8), Region.BRAIN, np.uint8)
    for scale in (0.01, 1, 5000):
        target = normalise_target(scale * rng.uniform(1, 2, (8, 8, 8)), region)
        assert np.median(target) == pytest.approx(TARGET_MEDIAN, rel=1e-4)


def test_a_case_without_brain_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no brain"):
        normalise_target(np.ones((2, 2, 2)), np.zeros((2, 2, 2), np.uint8))


@pytest.mark.parametrize("z", [0, 1, 20])
def test_a_slab_is_cut_as_the_engine_cuts_it_at_the_ends_too(cases: Path, z: int) -> None:
    case = next(complete_cases(cases))
    volume = np.asarray(case.source, np.float32)
    (tiling,) = tilings(Sampler(kind="slab", axes=(0,), context=9, outputs=5), volume.shape)
    padded = tiling.pad(volume)
    slab = cut(case, z + 2, 9, 5, (slice(None), slice(None)))
    assert np.array_equal(slab.source, padded[z : z + 9])
    assert np.array_equal(slab.target, case.target[z : z + 5].astype(np.float32))


def test_a_draw_depends_on_the_seed_and_its_number_alone(cases: Path) -> None:
    first, again, other = draws(cases)[7], draws(cases)[7], draws(cases)[8]
    assert all((first[key] == again[key]).all() for key in first)
    assert not (first["source"] == other["source"]).all()
    assert not (first["source"] == draws(cases, seed=2)[7]["source"]).all()


def test_a_draw_has_the_size_asked_for_whatever_the_case_has(cases: Path) -> None:
    draw = draws(cases)[0]
    assert draw["source"].shape == (9, 64, 96)
    assert draw["target"].shape == draw["region"].shape == (5, 64, 96)


def test_an_empty_pool_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training simulate"):
        draws(tmp_path)


def test_a_mix_of_an_unknown_pool_is_refused() -> None:
    with pytest.raises(ConfigError, match="fantasy"):
        SlabDraws({}, {"fantasy": 1.0}, SETTINGS, 9, 5, 0)


def test_random_curves_rise_from_zero_to_one() -> None:
    for seed in range(20):
        heights = rising_curve(1.0, np.random.default_rng(seed))
        assert (np.diff(heights) >= 0).all()
        assert heights[[0, -1]] == pytest.approx([0, 1])
    assert rising_curve(0.0, np.random.default_rng(0)) == pytest.approx(np.linspace(0, 1, 7))


def test_augmentation_stays_in_range_and_leaves_zeros_alone() -> None:
    slab = np.random.default_rng(0).random((9, 20, 20)).astype(np.float32)
    slab[:, :5] = 0
    for seed in range(10):
        changed = augment_source(slab, SourceAugmentation(calm=0), np.random.default_rng(seed))
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert not changed[:, :5].any()
        assert not np.array_equal(changed, slab)


def test_nobody_is_in_two_parts_and_the_held_out_people_are_in_test() -> None:
    split = read_split()
    assert "04" in split.longitudinal.test
    assert "19" in split.mni.test
    assert "19" not in split.longitudinal.training
    assert not {17, 18, 19, 20} & set(split.labels.training)


def test_a_person_in_two_parts_is_refused_by_name(tmp_path: Path) -> None:
    text = Path(read_split.__code__.co_filename).with_name("split.yaml").read_text(encoding="utf-8")
    path = tmp_path / "split.yaml"
    path.write_text(text.replace('training: ["07"]', 'training: ["07", "19"]'), encoding="utf-8")
    with pytest.raises(ConfigError, match="mni: 19 in more than one part"):
        read_split(path)
