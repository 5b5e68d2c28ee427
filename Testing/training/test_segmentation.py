"""Recipes of segmentation: they learn, go on after an end, are exported as bundles that the engine runs as PyTorch does, and
are measured against the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from pydantic import ValidationError
from scipy.ndimage import distance_transform_edt

import modality_conversion
import training
from formula_models import ABOUT
from ill_heads import SHAPE, write_ill_heads
from modality_conversion.bundle import Bundle
from modality_conversion.check import check
from modality_conversion.modality import Modality
from modality_conversion.segment import segment
from small_runs import rows, small_loop
from training.config import ConfigError
from training.data.cases import complete_cases, read_case, write_case
from training.data.directions import OneScan
from training.data.pools import Pools, PoolSettings
from training.data.regions import Disease
from training.data.structures import TUMOR, tumor_masks
from training.evaluation.cases import from_packed
from training.evaluation.outline_run import evaluate_outlines
from training.evaluation.outlines import part_figures, region_figures
from training.evaluation.settings import EvaluateSettings, OutlineSettings
from training.export.bundle import Model, write_bundle
from training.export.figures import quality, read_figures
from training.export.settings import ExportSettings
from training.loop import train
from training.networks.deeplab import AtrousPyramid, DeepLab, DeepLabSettings
from training.networks.tumor import NEVER, Staged
from training.parallel import Share
from training.recipes import make_recipe
from training.recipes.segmentation import SegmentationRecipe
from training.simulation.case import Case
from training.simulation.coarser import coarser

FIND = {"size": [32, 32, 32], "features": [8, 8, 8, 16, 16, 8], "smallest_ml": 0.05}
SLAB = {"context": 5, "outputs": 3, "features": [16, 24, 32], "blocks": [1, 1, 1]}
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "2.5D": ("tumor_slab", {"network": SLAB, "crop": [64, 64], "find": FIND}),
    "2D": ("tumor_slab", {"network": SLAB | {"context": 1, "outputs": 1}, "crop": [64, 64], "find": FIND}),
    "3D": (
        "tumor_volume",
        {"network": {"kind": "nnunet", "features": [4, 8, 8], "size": [16, 32, 32], "norm": "batch"}, "find": FIND},
    ),
    "blocks": (
        "tumor_volume",
        {"network": {"kind": "blocks", "features": [8, 16], "size": [16, 24, 24]}, "spacing": 2, "find": FIND},
    ),
    "head": (
        "head_mask",
        {
            "sources": ["T1", "FLAIR", "CT"],
            "network": {"features": [8, 16, 24], "atrous": 1, "rates": [1, 2], "pyramid": 16, "low": 8},
            "crop": [32, 32],
        },
    ),
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ill")
    modalities = (Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.CT)
    write_ill_heads(folder / "training", 6, healthy=1, modalities=modalities)
    write_ill_heads(folder / "test", 2, seed=1, healthy=1, modalities=modalities)
    return folder


def small(name: str, heads: Path, **options: Any) -> SegmentationRecipe[Any]:
    recipe, own = SMALL[name]
    calm = {"augmentation": {"calm": 1.0}}
    pools = {
        "simulated": {"folder": str(heads / "training")} | calm,
        "held_out": {"folder": str(heads / "test")},
    }
    common = {"pools": pools, "validation": "held_out", "validation_batches": 4, "boxes": {"batch": 2, "workers": 0}}
    made = make_recipe(recipe, common | own | options)
    assert isinstance(made, SegmentationRecipe)
    return made


def batch_of(recipe: SegmentationRecipe[Any], number: int = 0) -> Any:
    return next(recipe.batches({"simulated": 1.0}, number, 0))


# --- what they see --------------------------------------------------------------------------------------------------------


def test_only_some_items_of_a_batch_show_the_whole_head_and_they_are_the_first(heads: Path) -> None:
    every, few = (small("2.5D", heads, boxes={"batch": 4, "workers": 0}, find_items=count) for count in (None, 2))
    whole, part = batch_of(every), batch_of(few)
    assert (len(whole["coarse"]), len(part["coarse"]), len(part["source"])) == (4, 2, 4)
    torch.testing.assert_close(part["coarse"][0], whole["coarse"][0], rtol=0, atol=0)
    network = few.network().train()
    losses = few.loss(network, part)
    losses["total"].backward()
    assert torch.isfinite(losses["dice_loss_find"])


def test_slabs_can_have_coarser_voxels(heads: Path) -> None:
    fine, coarse = small("2.5D", heads), small("2.5D", heads, spacing=2)
    assert coarse.declaration()["geometry"]["spacing"] == [2, 2, 2]
    assert coarse.declaration()["geometry"]["interpolation"] == "area"
    one, two = batch_of(fine), batch_of(coarse)
    assert two["source"].shape == one["source"].shape
    assert two["truth"].shape == one["truth"].shape
    assert set(two["truth"].unique().tolist()) <= {0.0, 1.0}
    assert float(two["source"].max()) <= 1
    network = coarse.network().train()
    losses = coarse.loss(network, two)
    losses["total"].backward()
    assert torch.isfinite(losses["dice_loss_outline"])


def coarse_heads(heads: Path, folder: Path) -> Path:
    """The same cases in voxels of 2 mm."""
    for part in ("training", "test"):
        for case in complete_cases(heads / part):
            assert case.tissue is not None
            assert case.disease is not None
            scans = {modality: np.asarray(scan, np.float32) for modality, scan in case.sources.items()}
            maps = [np.asarray(codes) for codes in (case.region, case.tissue, case.disease)]
            small_case = coarser(Case(scans, {}, maps[0], maps[1], {}, maps[2]), 2)
            about = {"person": case.person, "origin": "simulated", "spacing": [2.0] * 3}
            write_case(
                folder / part / case.name,
                small_case.sources,
                {},
                small_case.region,
                about,
                small_case.tissue,
                small_case.disease,
            )
    return folder


@pytest.mark.parametrize("name", ["blocks", "2.5D"])
def test_cases_of_larger_voxels_show_what_those_of_1_mm_do(heads: Path, tmp_path: Path, name: str) -> None:
    """Where neither is cut at the end of the field of view: the same numbers draw the same places, times two."""
    whole = {"boxes": {"batch": 2, "workers": 0, "aimed": 0}}
    if name == "blocks":
        whole |= {"network": SMALL["blocks"][1]["network"] | {"size": [24, 32, 32]}}
    options = whole | ({} if name == "blocks" else {"spacing": 2, "crop": [32, 32]})
    fine, coarse = small(name, heads, **options), small(name, coarse_heads(heads, tmp_path), **options)
    one, two = batch_of(fine), batch_of(coarse)
    assert torch.equal(one["given"], two["given"])
    assert one["source"].shape == two["source"].shape
    if name == "blocks":
        torch.testing.assert_close(one["source"], two["source"], atol=1e-3, rtol=0)
        assert torch.equal(one["truth"], two["truth"])
        assert one["truth"].any()
    # 3 mm from 1 mm are means of three voxels, from 2 mm of one and a half.
    head = one["coarse"] > 0.2
    assert float((one["coarse"] - two["coarse"]).abs()[head].mean()) < 0.05
    inside = [batch["coarse_truth"].sum() for batch in (one, two)]
    assert inside[0] > 0
    assert 0.7 < float(inside[1] / inside[0]) < 1.3


def test_items_aimed_at_a_tumor_show_it_whatever_the_voxels(heads: Path, tmp_path: Path) -> None:
    for folder in (heads, coarse_heads(heads, tmp_path)):
        recipe = small("blocks", folder, boxes={"batch": 4, "workers": 0, "aimed": 1.0})
        batches = [batch_of(recipe, number) for number in range(6)]
        shown = torch.cat([batch["truth"][:, 0].flatten(1).any(1) for batch in batches])
        assert float(shown.float().mean()) > 0.7  # one case in six is healthy


def test_cases_of_larger_voxels_are_refused_where_1_mm_is_needed(heads: Path, tmp_path: Path) -> None:
    folder = coarse_heads(heads, tmp_path)
    with pytest.raises(ConfigError, match=r"case_0 has voxels of 2 mm; here cases of 1 mm are needed"):
        Pools({"a": PoolSettings(folder=folder / "training")}, {"a": 1.0}, OneScan(Modality.T1))
    finer = small("2.5D", folder, spacing=2, find=FIND | {"spacing": 1.5})
    with pytest.raises(ConfigError, match=r"voxels of 2 mm, above the 1.5 mm of the stage that finds"):
        batch_of(finer)


def test_voxels_that_do_not_fit_are_refused_in_words(heads: Path, tmp_path: Path) -> None:
    recipe = small("2.5D", coarse_heads(heads, tmp_path), spacing=1)
    with pytest.raises(ConfigError, match=r"voxels of 2 mm, of which none of 1 mm can be made.*a multiple of 2"):
        batch_of(recipe)


def test_patches_and_coarse_looks_are_turned_with_their_truth_but_for_calm_draws(heads: Path) -> None:
    boxes = {"batch": 4, "workers": 0, "aimed": 1.0}
    turned = boxes | {"turn": {"degrees": 20, "stretch": 0.1}}
    restless = {"simulated": {"folder": str(heads / "training"), "augmentation": {"calm": 0.0, "curve": 0, "noise": 0}}}
    compared = 0
    for number in range(3):
        still = batch_of(small("blocks", heads, boxes=boxes), number)
        calm = batch_of(small("blocks", heads, boxes=turned), number)
        for one, other in zip(still["truth"], calm["truth"], strict=True):  # which side is left is drawn later
            assert torch.equal(one, other) or torch.equal(one, other.flip(-1))
        moved = batch_of(small("blocks", heads, boxes=turned, pools=restless, validation=None), number)
        for scans, truth in (("source", "truth"), ("coarse", "coarse_truth")):
            assert set(moved[truth].unique().tolist()) <= {0.0, 1.0}
            assert not torch.equal(moved[truth], still[truth])
            flair = moved["given"][:, 3] > 0  # where oedema is the brightest
            bright, inside = moved[scans][flair, 3], moved[truth][flair, 0] > 0
            if inside.any():
                compared += 1
                assert bright[inside].mean() > bright[(~inside) & (bright > 0.2)].mean() + 0.1
    assert compared >= 4


def test_the_network_that_finds_can_learn_alone(heads: Path) -> None:
    recipe = small("2.5D", heads, learns="find")
    batch = batch_of(recipe)
    assert "source" not in batch
    network = recipe.network().train()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], 0.1)
    losses = recipe.loss(network, batch)
    losses["total"].backward()
    optimizer.step()
    assert not any("outline" in name for name in losses)
    changed = {name for name, weight in network.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith("find.") for name in changed)
    # Held-out batches are whole, so that the figures of both stay comparable.
    assert {"dice_loss_outline", "dice_loss_find"} <= set(recipe.validate(network.eval()))


def test_at_first_next_to_nothing_is_found_and_a_missed_voxel_can_count_for_more(heads: Path) -> None:
    recipe = small("2.5D", heads)
    network = recipe.network().eval()
    with torch.no_grad():
        find = recipe.answers(network, batch_of(recipe))["find"]
    assert 0.001 < float(find.logits.sigmoid().mean()) < 0.1
    plain, wary = (
        float(small("2.5D", heads, loss={"find_positive": weight}).loss(network, batch_of(recipe))["entropy_find"])
        for weight in (1, 5)
    )
    log = torch.nn.functional.logsigmoid(find.logits)
    missed = -(find.truth * log).mean()
    assert wary - plain == pytest.approx(4 * float(missed), rel=1e-3)


def test_each_process_gets_as_many_whole_heads(heads: Path) -> None:
    recipe = small("2.5D", heads, boxes={"batch": 4, "workers": 0}, find_items=1)
    with pytest.raises(ConfigError, match="a multiple of the 2 processes"):
        recipe.batches({"simulated": 1.0}, 0, 0, Share(0, 2))
    recipe = small("2.5D", heads, boxes={"batch": 4, "workers": 0}, find_items=2)
    alone = batch_of(recipe)
    for rank in (0, 1):
        part = next(recipe.batches({"simulated": 1.0}, 0, 0, Share(rank, 2)))
        torch.testing.assert_close(part["source"], alone["source"][rank::2], rtol=0, atol=0)
        torch.testing.assert_close(part["coarse"], alone["coarse"][rank : rank + 1], rtol=0, atol=0)


def test_the_regions_of_a_tumor_lie_within_each_other() -> None:
    codes = np.arange(6, dtype=np.uint8)[None, None]
    whole, core, enhancing = tumor_masks(codes)[:, 0, 0]
    assert [code for code in Disease if whole[code]] == [Disease.OEDEMA, Disease.CORE, Disease.ENHANCING]
    assert [code for code in Disease if core[code]] == [Disease.CORE, Disease.ENHANCING]
    assert [code for code in Disease if enhancing[code]] == [Disease.ENHANCING]


def test_an_item_shows_a_case_as_it_is_and_the_same_place_of_its_truth(heads: Path) -> None:
    """Found again in the case by its own values, mirrored or not."""
    recipe = small("2.5D", heads, boxes={"batch": 1, "workers": 0, "aimed": 1})
    cases = list(complete_cases(heads / "training"))
    batch = batch_of(recipe)
    slab = batch["source"].unflatten(1, (4, 5))[0, :, 2].numpy()
    place = int(batch["given"][0].argmax())
    modality = recipe.settings.sources[place]
    found = 0
    for case in cases:
        for z in range(SHAPE[0]):
            plane = np.asarray(case.sources[modality][z], np.float32)
            for turned in (plane, plane[:, ::-1]):
                if plane.any() and np.allclose(turned, slab[place], atol=1e-3):
                    truth = TUMOR.masks(case, np.asarray)[:, z]
                    truth = truth if turned is plane else truth[..., ::-1]
                    wanted = batch["truth"].unflatten(1, (3, 3))[0, :, 1].numpy()
                    np.testing.assert_array_equal(wanted > 0.5, truth)
                    found += 1
    assert found == 1


def test_scans_are_dropped_evenly_and_zeros_stand_in_their_places(heads: Path) -> None:
    recipe = small("2.5D", heads, boxes={"batch": 4, "workers": 0}, single=0.5)
    counts = []
    for number in range(12):
        batch = batch_of(recipe, number)
        scans = batch["source"].unflatten(1, (4, 5))
        assert torch.equal(scans.flatten(2).abs().amax(2) > 0, batch["given"] > 0)
        assert torch.equal(batch["coarse"].flatten(2).abs().amax(2) > 0, batch["given"] > 0)
        counts += batch["given"].sum(1).int().tolist()
    assert set(counts) == {1, 2, 3, 4}
    assert 0.3 < np.mean(np.array(counts) == 1) < 0.7


def test_sets_of_scans_that_are_asked_for_often_are_drawn_often(heads: Path) -> None:
    often = {"T1+T1CE+T2+FLAIR": 0.5, "FLAIR": 0.25}
    recipe = small("2.5D", heads, boxes={"batch": 8, "workers": 0}, often=often)
    codes = [tuple(code) for number in range(12) for code in batch_of(recipe, number)["given"].int().tolist()]
    shares = [np.mean([code == wanted for code in codes]) for wanted in ((1, 1, 1, 1), (0, 0, 0, 1))]
    assert 0.4 < shares[0] < 0.75
    assert 0.15 < shares[1] < 0.45
    assert len(set(codes)) > 4  # the others still come


def test_nothing_enhances_where_no_agent_was_given(heads: Path) -> None:
    recipe = small("2.5D", heads)
    network = recipe.network().eval()
    batch = dict(batch_of(recipe))
    batch["truth"] = torch.ones_like(batch["truth"])
    for given, there in (([1, 0, 1, 1], False), ([0, 1, 0, 0], True)):
        batch["given"] = torch.tensor([given, given], dtype=torch.float32)
        answer = recipe.answers(network, batch)["outline"]
        assert bool(answer.truth[:, 2].any()) == there
        assert bool((answer.logits[:, 2] > NEVER / 2).all()) == there
        assert (answer.logits[:, :2] > NEVER / 2).all()


def test_a_truth_on_the_coarse_grid_lies_where_it_lies_on_the_fine_one(heads: Path) -> None:
    recipe = small("2.5D", heads, boxes={"batch": 8, "workers": 0})
    for number in range(4):
        batch = batch_of(recipe, number)
        brightest = batch["coarse"][:, 3][batch["given"][:, 3] > 0]  # FLAIR, where oedema is the brightest
        truth = batch["coarse_truth"][:, 0][batch["given"][:, 3] > 0]
        if truth.any():
            assert brightest[truth > 0].mean() > brightest[(truth == 0) & (brightest > 0.2)].mean() + 0.1


# --- learning -------------------------------------------------------------------------------------------------------------


REDUCED: dict[str, tuple[int, dict[str, Any]]] = {
    "2.5D": (100, {"sources": ["T2", "FLAIR"]}),
    "blocks": (60, {"sources": ["T2", "FLAIR"]}),
    "head": (70, {}),
}


@pytest.mark.parametrize("name", sorted(REDUCED))
def test_a_reduced_recipe_soon_outlines_better_than_its_untrained_self(heads: Path, tmp_path: Path, name: str) -> None:
    steps, options = REDUCED[name]
    recipe = small(name, heads, boxes={"batch": 3, "workers": 0, "aimed": 1.0}, **options)
    settings = small_loop(steps, average=0.9, learning_rate=1e-2, choose="dice", choose_highest=True)
    train(recipe, settings, tmp_path)
    before, after = rows(tmp_path / "validation.csv")
    outermost = "dice_head" if name == "head" else "dice_whole"
    assert 1 - float(after[outermost]) < 0.67 * (1 - float(before[outermost]))
    assert float(after["total"]) < 0.8 * float(before["total"])
    picture = recipe.picture(recipe.network().eval())
    assert picture.ndim == 2
    assert 0 <= picture.min() < picture.max() <= 1


def test_the_loss_of_the_3d_recipe_falls_and_its_figures_are_those_of_both_stages(heads: Path) -> None:
    recipe = small("3D", heads, sources=["T2", "FLAIR"])
    torch.manual_seed(0)
    network = recipe.network().train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    batch, losses = batch_of(recipe), []
    for _ in range(12):
        parts = recipe.loss(network, batch)
        optimizer.zero_grad()
        parts["total"].backward()
        optimizer.step()
        losses.append(parts["total"].item())
    assert losses[-1] < 0.8 * losses[0]
    assert {"dice_loss_outline", "dice_loss_find", "dice"} <= set(recipe.validate(network.eval()))


def test_a_run_that_was_stopped_ends_with_the_same_weights(heads: Path, tmp_path: Path) -> None:
    """Both stages, their draws and their batch statistics."""
    settings, stopped = small_loop(4, choose="dice", choose_highest=True), tmp_path / "stopped"
    train(small("2.5D", heads, validation=None), settings, tmp_path / "whole")
    calls = 1
    while not train(small("2.5D", heads, validation=None), settings, stopped, pause_after=0.0).finished:
        calls += 1
    assert calls > 2
    one, other = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "stopped"))
    assert one["step"] == other["step"] == 4
    assert all(torch.equal(one["network"][key], other["network"][key]) for key in one["network"])


# --- the networks ---------------------------------------------------------------------------------------------------------


def test_the_atrous_pyramid_sees_as_far_as_its_rates_and_the_whole() -> None:
    torch.manual_seed(0)
    pyramid = AtrousPyramid(4, 6, (2, 5)).eval()
    pyramid.whole = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 1), torch.nn.Threshold(1e9, 0.0))  # look near alone
    image = torch.rand(1, 4, 21, 21)
    other = image.clone()
    other[0, :, 10, 10] += 1
    changed = (pyramid(image) - pyramid(other)).abs().amax(1)[0] > 1e-7
    reach = {int(d) for d in torch.unique((changed.nonzero() - 10).abs().amax(1))}
    assert reach <= {0, 2, 5}
    assert 5 in reach


def test_the_head_network_takes_any_size_of_its_multiple() -> None:
    network = DeepLab(DeepLabSettings()).eval()
    for size in ((64, 64), (72, 104)):
        assert network(torch.zeros(1, 3, *size)).shape == (1, 1, *size)


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("2.5D", {"sources": ["T1", "T1"]}, "each MR contrast once"),
        ("2.5D", {"crop": [60, 64]}, "multiples of 8"),
        ("2.5D", {"often": {"T1+CT": 0.5}}, "`often` gives sets of T1, T1CE, T2, FLAIR"),
        ("2.5D", {"often": {"T1": 0.6, "T2": 0.6}}, "shares of 1 in all"),
        ("2.5D", {"network": SLAB | {"outputs": 2}}, "even number more"),
        ("2.5D", {"find": FIND | {"size": [40, 32, 32]}}, "multiples of 32"),
        ("3D", {"network": SMALL["3D"][1]["network"] | {"size": [30, 32, 32]}}, "multiples of 4"),
        ("blocks", {"network": SMALL["blocks"][1]["network"] | {"size": [18, 24, 24]}}, "multiples of 4"),
        ("blocks", {"network": SMALL["blocks"][1]["network"] | {"features": [8, 12]}}, "multiples of `groups`"),
        ("2.5D", {"often": {"T1": float("nan")}}, "T1"),
        ("head", {"network": {"context": 2}}, "must be odd"),
        ("head", {"crop": [30, 32]}, "multiples of 8"),
        ("2.5D", {"validation": "nobody"}, "no pool 'nobody'"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_words(heads: Path, name: str, options: Any, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        small(name, heads, **options).validate(torch.nn.Identity())


def test_a_network_without_a_kind_is_the_basic_one(heads: Path) -> None:
    recipe = small("3D", heads, network={"features": [8] * 6, "size": [32, 32, 32]})
    assert recipe.settings.network.kind == "basic"


def test_cases_older_than_the_maps_of_diseases_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for part in ("training", "test"):
        write_ill_heads(tmp_path / part, 1, disease_maps=False)
    with pytest.raises(ConfigError, match="simulate the cases again"):
        batch_of(small("2.5D", tmp_path))
    assert batch_of(small("head", tmp_path, sources=["T1"]))["source"].shape == (2, 3, 32, 32)


# --- the bundle -----------------------------------------------------------------------------------------------------------


def export_settings(folder: Path) -> ExportSettings:
    content = {"title": "Small", "version": "0.0.1", "citation": "none", "authors": "Nobody", "training": "Not at all."}
    data = {"name": "Balls", "used": "All.", "license": "CC0-1.0", "citation": "none"}
    return ExportSettings.model_validate(
        {"folder": folder, "datasets": [data], "limits": ["Everything."], "torchscript": False, **content}
    )


def exported(name: str, heads: Path, folder: Path) -> tuple[Bundle, SegmentationRecipe[Any], torch.nn.Module]:
    """A bundle of an untrained network whose logits are around 0, so that every part of it matters."""
    torch.manual_seed(0)
    recipe = small(name, heads)
    network = recipe.network()
    for module in network.modules():  # statistics as after training, so that folding them is tested
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    if isinstance(network, Staged):  # it would begin with finding nothing
        network.get_parameter("find.unet.final_conv.bias").data.zero_()
    write_bundle(Model(recipe, network.eval(), ABOUT), export_settings(folder), {})
    return Bundle.load(folder), recipe, network


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_recipe_becomes_a_bundle_that_passes_the_check_when_run(heads: Path, tmp_path: Path, name: str) -> None:
    bundle, recipe, _ = exported(name, heads, tmp_path / "small-bundle")
    assert check(bundle.path, run=True) == []
    assert (bundle.finder is None) == (name == "head")
    declared = bundle.spec.segmentation
    assert declared is not None
    assert len(declared.labels) == (1 if name == "head" else 3)
    assert "Not for diagnosis" in bundle.card
    assert declared.labels[0].name in bundle.card
    metadata = json.loads((bundle.path / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["task"].startswith("Segmentation of")
    assert sum(entry.size for entry in bundle.spec.weights) < 6e6
    assert recipe.declaration()["targets"] == {}
    assert declared.check_lesions == (name == "head")  # what knows tumors alone does not take over the lesion check


def test_both_stages_can_be_stored_in_half_precision(heads: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = small("2.5D", heads)
    network = recipe.network().eval()
    sizes = {}
    for stored in ("float32", "float16"):
        folder = tmp_path / stored
        wanted = export_settings(folder).model_copy(update={"stored": stored})
        write_bundle(Model(recipe, network, ABOUT), wanted, {})
        assert check(folder, run=True) == []
        sizes[stored] = [(folder / "models" / name).stat().st_size for name in ("model.onnx", "find.onnx")]
    assert all(half < 0.75 * full for half, full in zip(sizes["float16"], sizes["float32"], strict=True))
    assert "changes probabilities by up to" in (tmp_path / "float16" / "docs" / "README.md").read_text(encoding="utf-8")


def test_the_engine_segments_with_both_stages_as_pytorch_does(heads: Path, tmp_path: Path) -> None:
    """Without the engine: the coarse grid, the finder, its margin, the slabs, all by hand, from two of four scans."""
    bundle, recipe, network = exported("2.5D", heads, tmp_path / "small-bundle")
    declared = bundle.spec.segmentation
    assert declared is not None
    as_decided = bundle.spec.model_copy(update={"segmentation": declared.model_copy(update={"postprocess": ()})})
    bundle = replace(bundle, spec=as_decided)
    case = read_case(heads / "test" / "case_0")
    chosen = (Modality.T1CE, Modality.FLAIR)
    images = {modality: from_packed(case).scans[modality].image for modality in chosen}
    given = torch.tensor([[float(source in chosen) for source in recipe.settings.sources]])
    volumes = np.zeros((4, *SHAPE), np.float32)
    for place, source in enumerate(recipe.settings.sources):
        if source in chosen:
            volumes[place] = sitk.GetArrayFromImage(images[source])

    def scaled(volume: np.ndarray) -> np.ndarray:
        low, high = np.percentile(volume, [0.5, 99.8])
        clipped = np.clip(volume, low, high)
        return (clipped - clipped.min()) / (clipped.max() - clipped.min()) if high > low else np.zeros_like(volume)

    # The coarse grid has its centre where the fine one has it; 64 voxels do not divide by 3, so that axes are weighted.
    def coarser(volume: np.ndarray, axis: int) -> np.ndarray:
        n, m = volume.shape[axis], round(volume.shape[axis] / 3)
        edges = (np.arange(m + 1) - m / 2) * 3 + n / 2
        low, high = np.maximum(edges[:-1], 0)[:, None], np.minimum(edges[1:], n)[:, None]
        cells = np.arange(n)[None]
        share = np.clip(np.minimum(cells + 1, high) - np.maximum(cells, low), 0, None)
        return np.moveaxis(np.tensordot(share / share.sum(1, keepdims=True), volume, (1, axis)), 0, axis)

    coarse = np.stack([scaled(coarser(coarser(coarser(v, 0), 1), 2).astype(np.float32)) for v in volumes])
    pads = [(0, 0)] + [((32 - n) // 2, 32 - n - (32 - n) // 2) for n in coarse.shape[1:]]
    padded = torch.from_numpy(np.pad(coarse, pads).astype(np.float32))[None]
    with torch.no_grad():
        seen = network.get_submodule("find")(padded, given).sigmoid()[0, 0].numpy()
    seen = seen[tuple(slice(before, before + n) for (before, _), n in zip(pads[1:], coarse.shape[1:], strict=True))]
    near = distance_transform_edt(~(seen > 0.3)) * 3 <= 12 if (seen > 0.3).any() else np.zeros(seen.shape, bool)

    fine = np.stack([scaled(volume) for volume in volumes]).astype(np.float32)
    slices = np.pad(fine, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
    logits = np.zeros((3, *SHAPE), np.float32)
    with torch.no_grad():
        for first in range(0, SHAPE[0], 3):
            slab = torch.from_numpy(slices[:, first : first + 5].reshape(1, 20, *SHAPE[1:]))
            logits[:, first : first + 3] = (
                network.get_submodule("outline")(slab, given)[0].numpy().reshape(3, 3, 64, 64)
            )
    wanted = np.zeros(SHAPE, int)
    for value, channel in enumerate(logits, 1):
        wanted[channel > 0] = value

    done = segment(images, bundle)
    labels = sitk.GetArrayFromImage(done.image)
    assert done.report["found"]["parts"] > 0
    assert done.report["found"]["volume_ml"] == pytest.approx((seen > 0.3).sum() * 0.027, rel=0.02)
    # Where a fine voxel lies on the coarse grid; away from the border of the margin, and of a label, there is no doubt.
    places = [((np.arange(n) + 0.5 - n / 2) / 3 + m / 2).astype(int).clip(0, m - 1) for n, m in zip(SHAPE, near.shape)]
    inside = near[np.ix_(*places)]
    sure = (np.abs(logits).min(0) > 1e-3) & (distance_transform_edt(inside) + distance_transform_edt(~inside) > 5)
    assert (sure & inside).mean() > 0.02
    np.testing.assert_array_equal(labels[sure], np.where(inside, wanted, 0)[sure])


def test_a_case_without_a_tumor_gets_no_label_from_a_finder_that_finds_none(heads: Path, tmp_path: Path) -> None:
    _, recipe, network = exported("2.5D", heads, tmp_path / "small-bundle")
    with torch.no_grad():
        for parameter in list(network.get_submodule("find").parameters())[-1:]:
            parameter.fill_(-50)
    write_bundle(Model(recipe, network, ABOUT), export_settings(tmp_path / "blind"), {})
    case = from_packed(read_case(heads / "test" / "case_0"))
    done = segment({Modality.T1: case.scans[Modality.T1].image}, Bundle.load(tmp_path / "blind"))
    assert not sitk.GetArrayFromImage(done.image).any()
    assert any("Nothing was found" in text for text in done.report["warnings"])


# --- figures --------------------------------------------------------------------------------------------------------------


def test_the_finders_gradient_in_mixed_precision_does_not_depend_on_what_lay_in_memory() -> None:
    script = """
import torch
from training.networks.tumor import Finder, FinderSettings
torch.manual_seed(0)
finder = Finder(FinderSettings(features=(8, 8, 8, 40, 48, 8)), 1)
coarse, given, sums = torch.rand(2, 1, 64, 64, 64), torch.ones(2, 1), []
for mixed in (False, True):
    finder.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        finder(coarse, given).square().mean().backward()
    sums.append(sum(float(part.grad.double().square().sum()) for part in finder.parameters()) ** 0.5)
print(sums[1] / sums[0])
"""
    surroundings = {**os.environ, "MALLOC_PERTURB_": "165", "OMP_NUM_THREADS": "1"}  # glibc fills what it hands out
    paths = [str(Path(training.__file__).parents[1]), str(Path(modality_conversion.__file__).parents[1])]
    surroundings["PYTHONPATH"] = os.pathsep.join(paths)
    done = subprocess.run([sys.executable, "-c", script], env=surroundings, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(1, rel=0.3)


def test_figures_are_those_of_the_definitions() -> None:
    truth, mine = np.zeros((2, 12, 12, 12), bool)
    truth[3:8, 3:8, 3:8] = True
    mine[3:8, 3:8, 5:10] = True
    found = region_figures(truth, mine, (1, 1, 2))
    assert found["dice"] == pytest.approx(2 * 75 / 250)
    assert (found["truth_ml"], found["model_ml"]) == (0.25, 0.25)
    assert region_figures(truth, truth, (1, 1, 1))["surface"] == 0
    assert found["hausdorff95"] == pytest.approx(4)  # shifted by two voxels of 2 mm
    nothing = region_figures(truth, np.zeros_like(truth), (1, 1, 1))
    assert (nothing["dice"], nothing["surface"]) == (0, None)
    assert region_figures(np.zeros_like(truth), np.zeros_like(truth), (1, 1, 1))["dice"] is None


def test_parts_are_found_if_enough_of_them_is_outlined_and_false_if_nothing_true_is_in_them() -> None:
    truth, mine = np.zeros((2, 10, 20, 40), bool)
    truth[2:8, 2:8, 2:8] = True  # a tenth of it outlined
    mine[2:8, 2:8, 7:8] = True
    truth[2:8, 2:8, 20:26] = True  # missed
    truth[0, 0, 39] = True  # too small to count
    mine[2:8, 12:18, 2:8] = True  # false
    found = part_figures(truth, mine, 0.001, OutlineSettings())
    assert [part["found"] for part in found["there"]] == [True, False]
    assert (found["false"], found["false_ml"]) == (1, pytest.approx(0.216))


def test_evaluation_measures_each_set_of_scans_and_tells_the_card(heads: Path, tmp_path: Path) -> None:
    bundle, recipe, network = exported("2.5D", heads, tmp_path / "small-bundle")
    content = {
        "folder": tmp_path / "figures",
        "cases": [heads / "test"],
        "outlines": {"sets": ["T1CE+FLAIR", "FLAIR"], "crf": {"op": "crf", "iterations": 1}},
    }
    settings = EvaluateSettings.model_validate(content)
    figures = evaluate_outlines([bundle], settings)
    assert {entry["model"] for entry in figures["summary"]} == {"small-bundle", "small-bundle+crf"}
    by_scans = {entry["scans"]: entry for entry in figures["summary"] if entry["model"] == "small-bundle"}
    assert set(by_scans) == {"T1CE+FLAIR", "FLAIR"}
    assert set(by_scans["T1CE+FLAIR"]["regions"]) == {"whole", "core", "enhancing"}
    assert set(by_scans["FLAIR"]["regions"]) == {"whole", "core"}  # nobody can see agent on a FLAIR
    assert (by_scans["FLAIR"]["cases"], by_scans["FLAIR"]["healthy"]) == (2, 1)
    row = next(row for row in figures["rows"] if row["case"] == "case_0" and row["scans"] == "FLAIR")
    image = from_packed(read_case(heads / "test" / "case_0")).scans[Modality.FLAIR].image
    labels = sitk.GetArrayFromImage(segment({Modality.FLAIR: image}, bundle).image)
    truth = np.asarray(read_case(heads / "test" / "case_0").disease) > 0
    assert row["regions"]["whole"]["dice"] == pytest.approx(
        2 * (truth & (labels > 0)).sum() / (truth.sum() + (labels > 0).sum())
    )
    page = (tmp_path / "figures" / "report.html").read_text(encoding="utf-8")
    assert "T1CE+FLAIR" in page
    assert all((tmp_path / "figures" / entry["file"]).is_file() for entry in figures["worst"])
    written = write_bundle(
        Model(recipe, network, ABOUT),
        export_settings(tmp_path / "small-bundle"),
        read_figures(tmp_path / "figures"),
        tmp_path / "figures",
    )
    assert written.measured
    told = Bundle.load(tmp_path / "small-bundle")
    assert {entry.metric for entry in told.spec.quality} >= {"Dice", "share of parts found"}
    assert "from FLAIR" in told.card
    assert list((told.path / "docs").glob("*_worst.jpg"))
    assert quality({}) == []


def test_a_folder_without_a_truth_or_without_cases_is_refused(heads: Path, tmp_path: Path) -> None:
    bundle, _, _ = exported("2D", heads, tmp_path / "small-bundle")
    write_ill_heads(tmp_path / "old", 1, disease_maps=False)
    for folder, reason in ((tmp_path / "old", "must be simulated again"), (tmp_path / "none", "no packed case")):
        with pytest.raises(ConfigError, match=reason):
            evaluate_outlines([bundle], EvaluateSettings.model_validate({"folder": tmp_path / "f", "cases": [folder]}))
    with pytest.raises(ValidationError, match="T9"):
        EvaluateSettings.model_validate({"folder": tmp_path, "outlines": {"sets": ["T1+T9"]}})
