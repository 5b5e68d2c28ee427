"""Recipes that learn by turns, and the flow: they go on where they were killed, say a collapse, and convert in the engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor, nn

from formula_models import ABOUT, settings
from modality_conversion.bundle import Bundle
from modality_conversion.check import check
from modality_conversion.convert import convert
from modality_conversion.modality import Modality
from packed_heads import write_heads
from small_runs import rows, small_loop, small_recipe
from training.adversarial import adversarial_loss, gradient_penalty, judged
from training.collapse import CollapseWatch
from training.config import ConfigError
from training.data.cases import read_case, write_case
from training.data.scale import normalise_source
from training.data.unpaired import UnpairedMaker
from training.export.bundle import Model, write_bundle
from training.image_pool import ImagePool
from training.loop import train
from training.recipes import make_recipe
from training.recipes.base import Recipe, TakesTurns

TURNS = ("content_style", "cycle_gan", "pix2pix", "star_gan")
NAMES = (*TURNS, "flow_refiner")
PUBLISHED = {"falling": "linear", "warm_up": 0, "clip": None, "learning_rate": 2e-4, "log_steps": 1}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"), 3)


def optimised(recipe: Recipe, network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The parameters of each turn's optimiser."""
    assert isinstance(recipe, TakesTurns)
    optimizers = recipe.optimizers(network, 1e-3)
    return {name: [p for group in o.param_groups for p in group["params"]] for name, o in optimizers.items()}


# --- learning by turns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_was_killed_ends_with_the_same_bits(heads: Path, tmp_path: Path, name: str) -> None:
    changed = small_loop(7, checkpoint_steps=3, accumulate=2 if name == "cycle_gan" else 1, **PUBLISHED)
    train(small_recipe(name, heads), changed, tmp_path / "whole")

    killed: Any = small_recipe(name, heads)
    batches = killed.batches

    def breaking(*args: Any, **kwargs: Any) -> Iterator[dict[str, Tensor]]:
        for number, batch in enumerate(batches(*args, **kwargs)):
            if number == 5 * changed.accumulate:
                raise RuntimeError("killed")
            yield batch

    killed.batches = breaking
    with pytest.raises(RuntimeError, match="killed"):
        train(killed, changed, tmp_path / "killed")
    train(small_recipe(name, heads), changed, tmp_path / "killed")

    one, other = (torch.load(tmp_path / run / "last.pt", weights_only=True) for run in ("whole", "killed"))
    assert one["step"] == other["step"] == 7
    for part in ("network", "average"):
        assert all(torch.equal(one[part][key], other[part][key]) for key in one[part])
    assert one.get("recipe", {}).keys() == other.get("recipe", {}).keys()
    assert all(torch.equal(value, other["recipe"][key]) for key, value in one.get("recipe", {}).items())
    for table in ("losses.csv", "validation.csv"):
        first, second = (
            [{key: value for key, value in row.items() if key != "minutes"} for row in rows(tmp_path / run / table)]
            for run in ("whole", "killed")
        )
        assert first == second


@pytest.mark.parametrize("name", TURNS)
def test_each_turn_moves_its_own_weights_and_every_weight_has_one_turn(heads: Path, tmp_path: Path, name: str) -> None:
    recipe: Any = small_recipe(name, heads)
    network = recipe.network()
    owners = optimised(recipe, network)
    ids = [id(parameter) for parameters in owners.values() for parameter in parameters]
    assert sorted(ids) == sorted(id(parameter) for parameter in network.parameters())
    steps = next(n for n in range(1, 10) if len(recipe.turns(n - 1)) == len(owners))
    seen: dict[str, dict[str, Tensor]] = {}
    turn = recipe.turn

    def watched(which: str, net: nn.Module, *args: Any) -> dict[str, Tensor]:
        seen.setdefault(which, {key: value.detach().clone() for key, value in net.named_parameters()})
        learning = {id(p) for p in net.parameters() if p.requires_grad}
        assert learning == {id(p) for p in optimised(recipe, net)[which]}
        result: dict[str, Tensor] = turn(which, net, *args)
        return result

    recipe.turn = watched
    train(recipe, small_loop(steps, **PUBLISHED), tmp_path)
    assert set(seen) == set(owners)
    last = torch.load(tmp_path / "last.pt", weights_only=True)["network"]
    begun = next(iter(seen.values()))
    moved = [key for key in begun if not torch.equal(begun[key], last[key])]
    # A bias before a normalisation has no gradient but rounding; weights do.
    assert {key for key in begun if key.endswith("weight") and begun[key].dim() > 1} <= set(moved)


def test_the_generator_of_stargan_learns_at_every_fifth_step(heads: Path, tmp_path: Path) -> None:
    train(small_recipe("star_gan", heads), small_loop(10, **PUBLISHED), tmp_path)
    table = rows(tmp_path / "losses.csv")
    assert [row["step"] for row in table if row["adversarial"]] == ["5", "10"]
    assert all(row["penalty"] for row in table)


def test_gradients_of_several_batches_make_one_turn(heads: Path, tmp_path: Path) -> None:
    """Two batches of one item, or one of two: the same step, where nothing is normalised over the batch."""
    common = {"pool": 0, "resnet": {"features": 4, "blocks": 1}, "discriminator": {"features": 4, "layers": 1}}
    drawn = {"crop": [32, 32], "workers": 0}
    for batch, accumulate in ((2, 1), (1, 2)):
        recipe = small_recipe("cycle_gan", heads, slabs=drawn | {"batch": batch}, **common)
        train(recipe, small_loop(1, **PUBLISHED | {"accumulate": accumulate}), tmp_path / str(batch))
    whole, parts = (rows(tmp_path / name / "losses.csv")[0] for name in ("2", "1"))
    for name in ("cycle", "identity", "adversarial_of_target", "discriminator_T1", "total"):
        assert float(whole[name]) == pytest.approx(float(parts[name]), rel=1e-4)


def test_a_checkpoint_of_another_discriminator_is_refused(heads: Path, tmp_path: Path) -> None:
    train(small_recipe("pix2pix", heads), small_loop(1, **PUBLISHED), tmp_path)
    with pytest.raises(ConfigError, match="is of another network"):
        train(small_recipe("pix2pix", heads, discriminator={"features": 4}), small_loop(2, **PUBLISHED), tmp_path)
    with pytest.raises(ConfigError, match="is of another network"):
        train(small_recipe("slab_regression", heads), small_loop(2), tmp_path)


def test_the_best_epoch_is_chosen_by_figures_and_shown_in_pictures(heads: Path, tmp_path: Path) -> None:
    changed = small_loop(4, checkpoint_steps=2, choose="psnr_fitted", choose_highest=True, **PUBLISHED)
    train(small_recipe("pix2pix", heads), changed, tmp_path)
    table = rows(tmp_path / "validation.csv")
    best = max(table[1:], key=lambda row: float(row["psnr_fitted"]))
    assert torch.load(tmp_path / "best.pt", weights_only=True)["step"] == int(best["step"])
    assert "psnr_fitted" in (tmp_path / "choice.html").read_text(encoding="utf-8")
    assert [path.stem for path in sorted((tmp_path / "pictures").glob("*.png"))] == ["0000000", "0000002", "0000004"]


@pytest.mark.parametrize("name", NAMES)
def test_they_learn_in_mixed_precision(heads: Path, tmp_path: Path, name: str) -> None:
    train(small_recipe(name, heads), small_loop(5, **PUBLISHED | {"precision": "bf16-mixed"}), tmp_path)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert {value.dtype for value in saved["network"].values() if value.is_floating_point()} == {torch.float32}


# --- parts ------------------------------------------------------------------------------------------------------------------


def test_the_losses_are_those_of_the_publications() -> None:
    scores = torch.tensor([[-1.0, 0.0], [0.5, 2.0]]).reshape(2, 1, 1, 2)
    for real, label in ((True, 1.0), (False, 0.0)):
        assert adversarial_loss(scores, "least_squares", real=real) == pytest.approx(
            float((scores - label).square().mean())
        )
        likely = torch.sigmoid(scores) if real else 1 - torch.sigmoid(scores)
        assert adversarial_loss(scores, "bce", real=real) == pytest.approx(float(-likely.log().mean()))


def test_the_gradient_penalty_is_that_of_a_straight_line() -> None:
    class Line(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return (image * 3).flatten(1)[:, :4].sum(1)

    real, fake = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    assert gradient_penalty(Line(), real, fake) == pytest.approx((4**0.5 * 3 - 1) ** 2)


def test_the_pool_hands_on_what_is_new_until_it_is_full_and_then_half_of_the_time_what_is_old() -> None:
    torch.manual_seed(0)
    pool = ImagePool(50)
    first = torch.arange(50.0).reshape(50, 1, 1, 1)
    assert torch.equal(pool.exchange(first), first)
    new = 1000 + torch.arange(2000.0).reshape(-1, 1, 1, 1)
    given = torch.cat([pool.exchange(image) for image in new.split(1)])
    same = (given == new).float().mean()
    assert 0.45 < same < 0.55
    assert (given <= new).all()
    assert len(given.unique()) == len(given)  # what was handed out is not in the pool any more
    assert pool.images is not None
    assert len(pool.images) == 50
    off = ImagePool(0)
    assert torch.equal(off.exchange(new[:3]), new[:3])


# --- collapse ---------------------------------------------------------------------------------------------------------------


def test_judged_says_how_well_a_discriminator_tells() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.ones(4, 1, 32, 32)
    scores = torch.rand(4, 1, 8, 8, generator=generator)
    assert judged(scores + 2, scores, image, image)["told"] == 1
    assert judged(scores, torch.rand(4, 1, 8, 8, generator=generator), image, image)["told"] == pytest.approx(
        0.5, abs=0.1
    )
    same = judged(0 * scores, 0 * scores, image, image)
    assert (float(same["told"]), float(same["spread"])) == (0.5, 0.0)
    # Patches that show nothing do not count: in the left half all is told, in the right, which is empty, nothing.
    half = image.clone()
    half[..., 16:] = -1
    better = scores.clone()
    better[..., :4] += 2
    assert judged(better, scores, half, half)["told"] == 1


def test_a_collapse_is_said_once_and_again_after_it_was_over() -> None:
    watch = CollapseWatch(3)
    fine, blind, all_told = (
        {"told_CT": told, "spread_CT": spread, "total": 1.0} for told, spread in ((0.8, 0.3), (0.5, 0.0), (0.999, 0.4))
    )
    assert [len(watch.see(losses)) for losses in (fine, blind, blind, fine, blind, blind)] == [0] * 6
    (said,) = watch.see(blind)
    assert "The discriminator of CT has collapsed: for 3 steps" in said
    assert watch.see(blind) == []
    again = CollapseWatch(3)
    again.take(watch.state())
    assert again.see(blind) == []  # a resumed run does not say it twice
    assert [len(watch.see(losses)) for losses in (all_told, all_told)] == [0, 0]
    assert "tells every real patch from every synthetic one" in watch.see(all_told)[0]
    assert watch.see({"value": 1.0}) == []


def test_a_collapsed_discriminator_is_said_and_written_into_the_journal(heads: Path, tmp_path: Path) -> None:
    class Blind(nn.Module):
        """The same score for everything."""

        def __init__(self) -> None:
            super().__init__()
            self.score = nn.Parameter(torch.tensor(0.5))

        def forward(self, image: Tensor) -> Tensor:
            return self.score + 0 * image[:, :1, ::4, ::4]

    recipe: Any = small_recipe("pix2pix", heads)
    network = recipe.network
    recipe.network = lambda: nn.ModuleDict(dict(network()) | {"discriminator": Blind()})
    said: list[str] = []
    train(recipe, small_loop(6, collapse_steps=4, **PUBLISHED), tmp_path, say=said.append)
    assert [text[:42] for text in said] == ["Step 4: The discriminator has collapsed: f"]
    (row,) = rows(tmp_path / "messages.csv")
    assert row["step"] == "4"
    assert "lower `train.learning_rate`" in row["message"]


def test_a_healthy_run_says_nothing(heads: Path, tmp_path: Path) -> None:
    said: list[str] = []
    train(small_recipe("cycle_gan", heads), small_loop(6, collapse_steps=3, **PUBLISHED), tmp_path, say=said.append)
    assert said == []
    assert not (tmp_path / "messages.csv").exists()


# --- unpaired data ----------------------------------------------------------------------------------------------------------


def maker(folder: Path, *pools: str, a: Modality = Modality.T1, b: Modality = Modality.CT) -> UnpairedMaker:
    recipe: Any = make_recipe(
        "cycle_gan",
        {
            "source": str(a),
            "target": str(b),
            "slabs": {"crop": [64, 64], "batch": 1, "workers": 0},
            "pools": {name: {"folder": str(folder / name)} for name in pools},
        },
    )
    made: UnpairedMaker = recipe.draws(dict.fromkeys(pools, 1.0), 0).make
    return made


def test_the_two_sides_of_an_item_are_of_different_people_and_each_from_the_pools_that_have_it(tmp_path: Path) -> None:
    write_heads(tmp_path / "mr", 3, seed=1, modalities=(Modality.T1,))
    write_heads(tmp_path / "both", 2, seed=2, modalities=(Modality.T1, Modality.CT))
    made = maker(tmp_path, "mr", "both")
    assert (made.a.count, made.b.count) == (5, 2)
    people: set[tuple[str, str]] = set()
    for side in (made.a, made.b):
        draw = side.draw

        def noted(rng: np.random.Generator, draw: Any = draw) -> Any:
            drawn = draw(rng)
            last.append(drawn.case.person)
            return drawn

        side.draw = noted  # type: ignore[method-assign]
    for number in range(40):
        last: list[str] = []
        item = made(np.random.default_rng(number))
        people.add((last[-2], last[-1]))
        assert item["a"].shape == item["b"].shape == (1, 64, 64)
    assert all(a != b for a, b in people)
    assert {a for a, _ in people} == {f"head 1-{n}" for n in range(3)} | {f"head 2-{n}" for n in range(2)}
    assert {b for _, b in people} == {"head 2-0", "head 2-1"}


def test_one_scan_on_one_side_and_many_on_the_other_train(tmp_path: Path) -> None:
    write_heads(tmp_path / "few", 1, seed=1, modalities=(Modality.CT,))
    write_heads(tmp_path / "many", 12, seed=2, modalities=(Modality.T1,))
    made = maker(tmp_path, "few", "many")
    assert (made.a.count, made.b.count) == (12, 1)
    seen = {round(float(made(np.random.default_rng(number))["a"].sum())) for number in range(40)}
    assert len(seen) > 12  # every large side's scan gets its turn


def test_an_empty_side_is_refused_with_what_there_is(tmp_path: Path) -> None:
    write_heads(tmp_path / "mr", 2, modalities=(Modality.T1, Modality.T2))
    with pytest.raises(ConfigError, match=r"One side is empty: no pool of the mix \(mr\) has a scan CT.*2 T1, 2 T2"):
        maker(tmp_path, "mr")
    (tmp_path / "ct").mkdir()
    with pytest.raises(ConfigError, match="pool 'ct' has no cases"):
        maker(tmp_path, "mr", "ct")
    with pytest.raises(ConfigError, match="pool 'other' is not there"):
        maker(tmp_path, "mr", "other")


def test_scans_of_one_person_alone_are_refused(tmp_path: Path) -> None:
    write_heads(tmp_path / "one", 1)
    with pytest.raises(ConfigError, match=r"are of one person \(head 0-0\)"):
        maker(tmp_path, "one")


def test_a_slab_of_one_value_is_never_drawn(tmp_path: Path) -> None:
    """Norms over an item divide by next to nothing there: the gradient of two dozen layers is no number."""
    write_heads(tmp_path / "heads", 3, modalities=(Modality.T1, Modality.CT))
    for number, empty in ((0, slice(4, None)), (1, slice(None))):  # nearly all of a scan, and all of another
        file = tmp_path / "heads" / f"case_{number}" / "source_T1.npy"
        scan = np.load(file)
        scan[:, empty] = 0.25
        np.save(file, scan)
    made = maker(tmp_path, "heads", a=Modality.CT, b=Modality.T1)
    seen, refused = 0, []
    for number in range(60):
        try:
            item = made(np.random.default_rng(number))
        except ConfigError as error:
            refused.append(str(error))
            continue
        seen += 1
        assert all(float(item[side].min()) < float(item[side].max()) for side in "ab")
    assert seen > 20
    assert len(refused) > 5
    assert all(re.search(r"T1 of the case case_1 has a single value.*out of the pool", text) for text in refused)


def test_scans_of_other_sizes_stand_in_the_same_crop(tmp_path: Path) -> None:
    write_heads(tmp_path / "heads", 2, modalities=(Modality.T1, Modality.CT))
    case = read_case(tmp_path / "heads" / "case_1")
    small = {Modality.CT: case.sources[Modality.CT][10:20, 20:50, 10:64]}
    write_case(tmp_path / "small" / "case", small, {}, case.region[10:20, 20:50, 10:64], dict(case.about))
    (tmp_path / "mr").mkdir()
    (tmp_path / "heads" / "case_0").rename(tmp_path / "mr" / "case_0")
    item = maker(tmp_path, "mr", "small")(np.random.default_rng(0))
    assert item["b"].shape == (1, 64, 64)
    assert (item["b"][0, :17] == 0).all()
    assert (item["b"][0, 17:47] > 0).any()


def test_a_validation_pool_without_pairs_is_refused_with_a_way_out(tmp_path: Path) -> None:
    write_heads(tmp_path / "mr", 2, modalities=(Modality.T1,))
    write_heads(tmp_path / "ct", 2, seed=1, modalities=(Modality.CT,))
    recipe = small_recipe("cycle_gan", tmp_path / "ct", held_out=tmp_path / "mr", target="CT")
    with pytest.raises(ConfigError, match=r"`validation: null`"):
        recipe.validate(recipe.network())
    alone = small_recipe("cycle_gan", tmp_path / "ct", target="CT", validation=None)
    assert alone.validate(alone.network()) == {}
    assert alone.picture(alone.network()).size == 1


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("pix2pix", {"slabs": {"crop": [192, 192]}}, "multiples of 256"),
        ("cycle_gan", {"slabs": {"crop": [66, 64]}}, "multiples of 4"),
        ("cycle_gan", {"slices": 2}, "must be odd"),
        ("cycle_gan", {"source": "T1", "target": "T1"}, "nothing to convert"),
        ("pix2pix", {"context": 2, "slabs": {"crop": [256, 256]}}, "an even number more"),
        ("star_gan", {"modalities": ["T1", "T1"]}, "names a modality twice"),
        ("star_gan", {"slabs": {"crop": [96, 96]}}, "multiples of 64"),
        ("content_style", {"slabs": {"crop": [72, 72]}}, "multiples of 16"),
        ("flow_refiner", {"flow": {"steps": 9}}, "less than or equal to 4"),
        ("cycle_gan", {"generator": "transformer"}, "'resnet' or 'unet'"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_words(name: str, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        make_recipe(name, {"pools": {}} | options)


# --- what is exported -------------------------------------------------------------------------------------------------------

EXPORTS: list[tuple[str, dict[str, Any], Modality, Modality]] = [
    ("pix2pix", {"slices": 3, "context": 5}, Modality.T1, Modality.T2),
    ("cycle_gan", {"target": "CT", "slices": 3}, Modality.T1, Modality.CT),
    (
        "cycle_gan",
        {"generator": "unet", "unet": {"features": 8, "depth": 4, "dropout": 0}},
        Modality.T1,
        Modality.T2,
    ),
    ("star_gan", {}, Modality.FLAIR, Modality.CT),
    ("content_style", {"target": "CT"}, Modality.T1, Modality.CT),
]


def trained(recipe: Recipe) -> nn.Module:
    """A network whose statistics and scales are not those it began with."""
    torch.manual_seed(1)
    network = recipe.network()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)
    return network


def scan_of(depth: int) -> tuple[np.ndarray, sitk.Image]:
    """A scan on the network's own grid, so that slabs of it can be put through PyTorch as they are."""
    array = 1000 * np.random.default_rng(0).random((depth, 64, 64), np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # RAS
    return array, image


def by_pytorch(graph: nn.Module, seen: Tensor, sampler: Any, *codes: Tensor) -> np.ndarray:
    """The mean of all slabs that show a slice, (z, y, x), in units; the volume's ends are repeated."""
    depth, outputs = len(seen), sampler.outputs
    margin, stride = (sampler.context - outputs) // 2, max(1, round(outputs * (1 - sampler.overlap)))
    total, count = np.zeros(seen.shape), np.zeros((depth, 1, 1))
    for start in sorted({min(start, depth - outputs) for start in range(0, depth, stride)}):
        places = np.clip(np.arange(start - margin, start + outputs + margin), 0, depth - 1)
        with torch.no_grad():
            total[start : start + outputs] += 1000 * graph(seen[places][None], *codes)[0, :outputs].numpy()
        count[start : start + outputs] += 1
    return total / count


@pytest.mark.parametrize(("name", "options", "source", "target"), EXPORTS)
def test_the_exported_bundle_converts_in_the_engine_to_what_pytorch_gives(
    heads: Path, tmp_path: Path, name: str, options: dict[str, Any], source: Modality, target: Modality
) -> None:
    recipe: Any = small_recipe(name, heads, **options)
    model = Model(recipe, trained(recipe), ABOUT)
    written = write_bundle(model, settings(tmp_path / "model", torchscript=name == "star_gan"), {})
    assert written.difference < 1e-4
    bundle = Bundle.load(tmp_path / "model")
    assert check(bundle.path, run=True) == []
    assert bundle.spec.output.uncertainty is None
    array, scan = scan_of(5)
    found = sitk.GetArrayFromImage(convert({str(source): scan}, bundle, target=target, device="cpu").image)
    kinds = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)
    codes = [torch.eye(4)[[kinds.index(target)]]] if name == "star_gan" else []
    wanted = by_pytorch(model.graph, torch.from_numpy(normalise_source(array, source)), bundle.spec.sampler, *codes)
    assert np.abs(found - wanted).max() <= 0.6  # int16 rounds, and 1e-4 of the scale is 0.1
    assert found.std() > 10


def test_the_way_back_is_the_other_generator_and_the_other_direction(heads: Path) -> None:
    for name in ("cycle_gan", "content_style"):
        forth, back = (small_recipe(name, heads, target="CT", reverse=reverse) for reverse in (False, True))
        network = trained(forth)
        slab = torch.rand(1, 1, 64, 64)
        with torch.no_grad():
            there, here = (recipe.graph(network)(slab) for recipe in (forth, back))
        assert there.min() < -0.1  # HU / 1000
        assert 0 <= here.min() <= here.max() <= 1
        declared = back.declaration()
        assert (declared["sources"][0]["modality"], list(declared["targets"])) == ("CT", ["T1"])


def test_the_card_of_a_recipe_without_uncertainty_promises_none(heads: Path, tmp_path: Path) -> None:
    recipe = small_recipe("pix2pix", heads)
    model = Model(recipe, trained(recipe), ABOUT)
    write_bundle(model, settings(tmp_path / "model"), {})
    bundle = Bundle.load(tmp_path / "model")
    assert "standard deviation" not in bundle.card
    assert "log-variance" not in bundle.card
    generator = sum(p.numel() for p in model.network.get_submodule("generator").parameters())
    assert model.weights == generator  # the discriminator stays behind
    assert list(bundle.metadata["network_data_format"]["outputs"]["output"]["channel_def"].values()) == ["value"]


def test_texture_is_off_until_one_number_of_the_declaration_is_changed_and_labelled_either_way(
    heads: Path, tmp_path: Path
) -> None:
    recipe = small_recipe("flow_refiner", heads, flow={"features": [8] * 6, "steps": 1})
    model = Model(recipe, trained(recipe), ABOUT)
    assert write_bundle(model, settings(tmp_path / "model"), {}).difference < 1e-4
    bundle = Bundle.load(tmp_path / "model")
    assert check(bundle.path, run=True) == []
    assert "texture, not truth" in bundle.card
    array, scan = scan_of(5)
    seen = torch.from_numpy(normalise_source(array, Modality.T1))
    done = convert({"T1": scan}, bundle, target="T2", device="cpu", uncertainty=False)
    assert "texture, not truth" in str(done.report)
    plain = sitk.GetArrayFromImage(done.image)
    regression = model.network.get_submodule("mean")
    assert np.abs(plain - by_pytorch(regression, seen, bundle.spec.sampler)).max() <= 0.6

    path = bundle.path / "configs" / "conversion.json"
    declared = json.loads(path.read_text(encoding="utf-8"))
    (texture,) = [entry for entry in declared["inputs"] if entry["name"] == "texture"]
    assert texture["value"] == 0
    texture["value"] = 1
    path.write_text(json.dumps(declared), encoding="utf-8")
    bundle = Bundle.load(bundle.path)
    done = convert({"T1": scan}, bundle, target="T2", device="cpu", uncertainty=False)
    refined = sitk.GetArrayFromImage(done.image)
    assert np.abs(refined - by_pytorch(model.graph, seen, bundle.spec.sampler, torch.ones(1))).max() <= 0.6
    assert np.abs(refined - plain).mean() > 5
    assert "Fine texture was made up" in str(small_recipe("flow_refiner", heads, texture=1).declaration()["targets"])


def test_the_flow_does_not_move_the_mean(heads: Path) -> None:
    recipe: Any = small_recipe("flow_refiner", heads)
    network = recipe.network().train()
    batch = next(recipe.batches({"simulated": 1.0}, 0, 0))
    recipe.loss(network, batch)["flow"].backward()
    assert all(p.grad is None or not p.grad.any() for p in network.get_submodule("mean").parameters())
    assert any(p.grad is not None and p.grad.any() for p in network.get_submodule("velocity_net").parameters())


def test_the_flow_of_a_network_that_knows_the_way_ends_at_the_target(heads: Path) -> None:
    for steps in (1, 3, 4):
        recipe: Any = small_recipe("flow_refiner", heads, flow={"features": [8] * 6, "steps": steps})
        network = recipe.network().eval()
        slab, target = torch.rand(1, 5, 64, 64), torch.rand(1, 3, 64, 64)
        mean = torch.full_like(target, 0.5)
        noise = network.fixed_noise(mean)
        network.velocity = lambda *_, t=target, m=mean, n=noise, s=network.settings.spread: (t - m) / s - n
        assert torch.allclose(mean + network.texture(slab, mean), target, atol=1e-5)
