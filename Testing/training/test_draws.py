"""What is drawn from packed cases: slabs, patches, directions, and how sources are changed."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modality_conversion.modality import Modality
from modality_conversion.sampler import tilings
from modality_conversion.schema import Sampler
from packed_heads import FOUR, SHAPE, write_heads
from training.config import ConfigError
from training.data.augment import SourceAugmentation, augment_source, rising_curve
from training.data.cases import complete_cases, write_case
from training.data.directions import AnyDirection, OneDirection
from training.data.patches import PatchMaker, PatchSettings, cut_patch
from training.data.pools import Draws, Pools, PoolSettings, batches
from training.data.regions import Region, Tissue
from training.data.slabs import Box, SlabMaker, SlabSettings
from training.parallel import Share

T1_T2 = OneDirection(Modality.T1, Modality.T2)
ANY = AnyDirection(FOUR, FOUR, {}, single=0.5)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"), 2)


def pools(folder: Path, directions: Any = T1_T2, **changes: float) -> Pools:
    return Pools({"a": PoolSettings(folder=folder, augmentation=SourceAugmentation(**changes))}, {"a": 1.0}, directions)


def slabs(
    folder: Path, directions: Any = T1_T2, seed: int = 1, crop: tuple[int, int] = (48, 80), tissue: bool = False
) -> Draws:
    targets = FOUR if directions is ANY else (Modality.T2,)
    settings = SlabSettings(crop=crop, batch=4, workers=0)
    maker = SlabMaker(pools(folder, directions), directions, targets, settings, context=9, outputs=5, tissue=tissue)
    return Draws(maker, seed)


@pytest.mark.parametrize("z", [0, 1, 20, SHAPE[0] - 5])
def test_a_slab_is_cut_as_the_engine_cuts_it_at_the_ends_too(heads: Path, z: int) -> None:
    case = next(complete_cases(heads))
    volume = np.asarray(case.sources[Modality.T1], np.float32)
    (tiling,) = tilings(Sampler(kind="slab", axes=(0,), context=9, outputs=5), volume.shape)
    box = Box(z + 2, 0, 0, (SHAPE[1], SHAPE[2]))
    assert np.array_equal(box.cut(volume, 9), tiling.pad(volume)[z : z + 9])
    assert np.array_equal(box.cut(case.targets[Modality.T2], 5), case.targets[Modality.T2][z : z + 5])


def test_a_draw_depends_on_the_seed_and_its_number_alone(heads: Path) -> None:
    first, again, other = slabs(heads)[7], slabs(heads)[7], slabs(heads)[8]
    assert all((first[key] == again[key]).all() for key in first)
    assert not (first["source"] == other["source"]).all()
    assert not (first["source"] == slabs(heads, seed=2)[7]["source"]).all()


def test_a_draw_has_the_size_asked_for_whatever_the_case_has(heads: Path) -> None:
    draw = slabs(heads, tissue=True)[0]
    assert draw["source"].shape == (9, 48, 80)
    assert draw["target"].shape == draw["region"].shape == draw["tissue"].shape == (5, 48, 80)
    edges = draw["source"][..., :8], draw["source"][..., -8:]  # the case has 64 columns: 8 zeros on either side
    assert not any(edge.any() for edge in edges)


def test_source_target_region_and_tissue_show_the_same_place(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 64), (16, 64, 64)).astype(np.float32)
    codes = np.where(ramp > 0.5, Region.BRAIN, Region.HEAD).astype(np.uint8)
    about = {"person": "a", "origin": "simulated"}
    write_case(tmp_path / "a", {Modality.T1: ramp}, {Modality.T2: ramp}, codes, about, codes)
    settings = SlabSettings(crop=(32, 32), workers=0)
    maker = SlabMaker(pools(tmp_path, calm=1.0), T1_T2, (Modality.T2,), settings, context=3, outputs=1, tissue=True)
    for number in range(8):
        draw = Draws(maker, 3)[number]
        assert torch.equal(draw["source"][1], draw["target"][0])
        assert torch.equal(draw["region"][0] == Region.BRAIN, draw["target"][0] > 0.5)
        assert torch.equal(draw["region"], draw["tissue"])


def test_slabs_show_lesions_as_often_as_asked_and_stay_in_the_case(tmp_path: Path) -> None:
    codes = np.full((24, 80, 96), Region.BRAIN, np.uint8)
    codes[3, 2, 90] = Region.LESION  # near a corner, which chance hardly ever shows
    codes[20, 40, 5] = Region.TUMOR
    volume = np.ones(codes.shape, np.float32)
    about = {"person": "a", "origin": "simulated"}
    write_case(tmp_path / "a", {Modality.T1: volume}, {Modality.T2: volume}, codes, about)
    seen = {}
    for share in (0.0, 1.0):
        settings = SlabSettings(crop=(32, 32), workers=0, lesions=share)
        draws = Draws(SlabMaker(pools(tmp_path), T1_T2, (Modality.T2,), settings, context=3, outputs=1), 3)
        items = [draws[number] for number in range(60)]
        seen[share] = [set(item["region"].unique().tolist()) & {Region.LESION, Region.TUMOR} for item in items]
        assert all((item["target"] == 1).all() for item in items)  # no zeros: nothing lies beyond the case
    assert sum(map(bool, seen[0.0])) < 6
    assert all(seen[1.0])
    assert set.union(*seen[1.0]) == {Region.LESION, Region.TUMOR}


def test_processes_share_each_batch_and_together_see_all_of_it(heads: Path) -> None:
    whole = list(islice(batches(slabs(heads), 3, 4, 0), 2))
    parts = [list(islice(batches(slabs(heads), 3, 4, 0, Share(rank, 2)), 2)) for rank in (0, 1)]
    for number in range(2):
        for rank in (0, 1):
            assert torch.equal(parts[rank][number]["source"], whole[number]["source"][rank::2])


def test_a_run_that_goes_on_sees_what_it_would_have_seen(heads: Path) -> None:
    whole = list(islice(batches(slabs(heads), 0, 2, 0), 4))
    later = next(batches(slabs(heads), 3, 2, 0))
    assert torch.equal(later["source"], whole[3]["source"])


def test_a_batch_that_cannot_be_shared_evenly_is_refused(heads: Path) -> None:
    with pytest.raises(ConfigError, match="divided among 3 processes"):
        batches(slabs(heads), 0, 4, 0, Share(0, 3))


def test_an_empty_pool_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training simulate"):
        pools(tmp_path)
    with pytest.raises(ConfigError, match="is not there"):
        pools(tmp_path / "missing")


def test_a_pool_without_the_modality_asked_for_says_what_it_has(tmp_path: Path) -> None:
    write_heads(tmp_path, 1, modalities=(Modality.T1, Modality.CT))
    with pytest.raises(ConfigError, match=r"has a source T1 and a target T2.* have: CT, T1"):
        pools(tmp_path)


def test_cases_that_lack_the_modality_are_left_out(tmp_path: Path) -> None:
    write_heads(tmp_path, 1)
    write_heads(tmp_path / "more", 1, modalities=(Modality.CT,))
    (tmp_path / "more" / "case_0").rename(tmp_path / "case_9")
    assert [case.name for case in pools(tmp_path).cases["a"]] == ["case_0"]


def test_a_mix_of_an_unknown_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fantasy"):
        Pools({}, {"fantasy": 1.0}, T1_T2)
    with pytest.raises(ConfigError, match="no pool with a share above 0"):
        Pools({}, {"a": 0.0}, T1_T2)


def test_every_direction_is_drawn_with_one_or_several_sources_never_the_target(heads: Path) -> None:
    case = next(complete_cases(heads))
    rng = np.random.default_rng(0)
    drawn = [ANY.draw(case, rng) for _ in range(600)]
    single = {(next(filter(None, d.sources)), d.target) for d in drawn if sum(s is not None for s in d.sources) == 1}
    assert len(single) == 12
    assert all(d.target not in d.sources for d in drawn)
    counts = Counter(sum(source is not None for source in d.sources) for d in drawn)
    assert counts[1] > counts[2] > 60
    assert counts[3] > 60


def test_targets_are_drawn_by_their_shares(heads: Path) -> None:
    case = next(complete_cases(heads))
    directions = AnyDirection(FOUR, FOUR, {Modality.CT: 0.0, Modality.T1: 4.0}, single=1.0)
    drawn = Counter(directions.draw(case, np.random.default_rng(number)).target for number in range(300))
    assert drawn[Modality.CT] == 0
    assert drawn[Modality.T1] > 1.5 * drawn[Modality.T2]


def test_a_missing_scan_is_zeros_in_its_place_and_the_code_says_so(heads: Path) -> None:
    for number in range(12):
        draw = slabs(heads, ANY, crop=(64, 64))[number]
        scans = draw["source"].unflatten(0, (4, 9))
        assert draw["given"].tolist() == [float(scan.any()) for scan in scans]
        assert draw["given"][int(draw["wanted"])] == 0


def test_a_patch_shows_the_same_place_in_source_and_target_and_has_its_size(heads: Path) -> None:
    maker = PatchMaker(pools(heads, calm=1.0), T1_T2, (48, 32, 32), PatchSettings(workers=0), tissue=True)
    draw = Draws(maker, 0)[3]
    assert draw["source"].shape == (1, 48, 32, 32)
    assert draw["target"].shape == draw["region"].shape == draw["tissue"].shape == (48, 32, 32)
    assert not draw["target"][:4].any()  # the case has 40 slices: 4 of zeros before and after
    assert torch.equal(draw["region"] == Region.BONE, draw["tissue"] == Tissue.BONE)
    bright = draw["region"] == Region.BRAIN
    pair = torch.stack([draw["source"][0][bright], draw["target"][bright]])
    assert torch.corrcoef(pair)[0, 1] < -0.7  # what is bright on T1 is dark on T2


def test_a_patch_beyond_the_case_has_zeros_there() -> None:
    volume = np.ones((4, 4, 4), np.float32)
    assert cut_patch(volume, (-1, 2, 0), (4, 4, 4)).sum() == 3 * 2 * 4


def test_random_curves_rise_from_zero_to_one() -> None:
    for seed in range(20):
        heights = rising_curve(1.0, np.random.default_rng(seed))
        assert (np.diff(heights) >= 0).all()
        assert heights[[0, -1]] == pytest.approx([0, 1])
    assert rising_curve(0.0, np.random.default_rng(0)) == pytest.approx(np.linspace(0, 1, 7))


@pytest.mark.parametrize("modality", [Modality.T1, Modality.CT])
def test_augmentation_stays_in_range_and_changes_something(modality: Modality) -> None:
    slab = np.random.default_rng(0).random((9, 20, 20)).astype(np.float32)
    before = slab.copy()
    for seed in range(10):
        changed = augment_source(slab, SourceAugmentation(calm=0), np.random.default_rng(seed), modality)
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert not np.array_equal(changed, slab)
    assert np.array_equal(slab, before)


def test_augmentation_leaves_the_zeros_around_a_stripped_brain_alone() -> None:
    slab = np.random.default_rng(0).random((9, 20, 20)).astype(np.float32)
    slab[:, :5] = 0
    for seed in range(10):
        assert not augment_source(slab, SourceAugmentation(calm=0), np.random.default_rng(seed))[:, :5].any()


def test_a_ct_keeps_its_scale_but_for_a_window() -> None:
    slab = np.linspace(0, 1, 9 * 400, dtype=np.float32).reshape(9, 20, 20)
    settings = SourceAugmentation(calm=0, noise=0, window=1)
    cut = augment_source(slab, settings, np.random.default_rng(0), Modality.CT)
    kept = (cut > cut.min()) & (cut < cut.max())
    assert np.array_equal(cut[kept], slab[kept])
    assert 0.15 < kept.mean() < 1
    whole = augment_source(slab, SourceAugmentation(calm=0, noise=0, window=0), np.random.default_rng(0), Modality.CT)
    assert np.array_equal(whole, slab)


def test_calm_draws_are_left_as_they_are() -> None:
    slab = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    assert augment_source(slab, SourceAugmentation(calm=1), np.random.default_rng(0)) is slab
