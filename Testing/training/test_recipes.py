"""The recipes: each learns something, and declares what the engine needs to use what it learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from modality_conversion.modality import Modality
from modality_conversion.schema import ConversionSpec
from packed_heads import FOUR, write_heads
from small_runs import SMALL, rows, small_loop, small_recipe
from training.config import ConfigError
from training.loop import train
from training.recipes import RECIPES, make_recipe

SEGMENTING = {"head_mask", "tumor_slab", "tumor_volume"}  # those of `test_segmentation.py`
ADVERSARIAL = {"content_style", "cycle_gan", "flow_refiner", "pix2pix", "star_gan"}  # those of `test_adversarial.py`
NAMES = sorted(RECIPES.keys() - ADVERSARIAL - SEGMENTING)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"), 2)


REDUCED: dict[str, tuple[int, dict[str, Any]]] = {
    "slab_regression": (
        200,
        {"network": {"context": 5, "outputs": 3, "features": [16, 16, 32, 32, 32, 16], "head": 8}},
    ),
    "conditional": (260, {"network": {"context": 5, "outputs": 3, "features": [32, 48, 64], "blocks": [1, 1, 1]}}),
    "properties": (260, {"network": {"context": 5, "outputs": 3, "features": [32, 48, 64], "blocks": [1, 1, 1]}}),
    "conditional_volume": (
        100,
        {
            "network": {"features": [16, 32, 32], "size": [24, 48, 48]},
            "sources": ["T1", "T2"],
            "targets": ["T1", "T2"],
            "single": 1,
        },
    ),
    "volume_regression": (120, {"network": {"features": [8, 8, 16, 32, 32, 8], "size": [48, 48, 48]}}),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_reduced_recipe_soon_beats_its_untrained_self_and_the_source_itself(
    simulated: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    steps, options = REDUCED[name]
    drawing = {"slabs": SMALL[name]["slabs"] | {"batch": 8}} if "slabs" in SMALL[name] else {}
    recipe = small_recipe(name, *simulated, **options, **drawing)
    train(recipe, small_loop(steps, average=0.95, learning_rate=2e-3), tmp_path)
    before, after = rows(tmp_path / "validation.csv")
    assert float(after["psnr"]) > float(before["psnr"]) + 2
    assert float(after["psnr"]) > float(after["source_psnr"]) + 2
    assert float(after["psnr_fitted"]) > float(before["psnr_fitted"]) + 1
    assert float(after["mae"]) < 0.7 * float(before["mae"])
    assert float(after["total"]) < 0.7 * float(before["total"])


@pytest.mark.parametrize("name", NAMES)
def test_the_declaration_is_one_that_the_engine_reads_and_fits_the_example(heads: Path, name: str) -> None:
    recipe = small_recipe(name, heads)
    declared = recipe.declaration()
    rest = {
        "schema_version": "1.0",
        "id": "some",
        "title": "Some",
        "version": "1.0",
        "license": "CC0-1.0",
        "citation": "",
        "intended_use": "research",
        "weights": [{"path": "models/model.onnx", "format": "onnx", "sha256": "0" * 64, "size": 1}],
    }
    spec = ConversionSpec.model_validate_json(json.dumps(declared | rest))
    network = recipe.network()
    inputs = recipe.example(network)
    names = list(dict.fromkeys(entry.name for entry in spec.inputs))
    assert len(inputs) == len(names)
    channels = {given: sum(entry.name == given for entry in spec.inputs) for given in names}
    sampler = spec.sampler
    assert inputs[0].shape[1] == channels[names[0]] * (sampler.context if sampler.kind == "slab" else 1)
    for entry in spec.inputs:
        if entry.order:
            assert inputs[names.index(entry.name)].shape == (1, len(entry.order))
    slices = sampler.outputs if sampler.kind == "slab" else 1
    with torch.no_grad():
        assert recipe.graph(network)(*inputs).shape == (1, 2 * slices, *inputs[0].shape[2:])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")  # the exporter of TorchScript's time warns of its age and of shapes it traced
def test_the_graph_gives_the_same_in_onnx(heads: Path, tmp_path: Path, name: str) -> None:
    recipe = small_recipe(name, heads)
    torch.manual_seed(0)
    network = recipe.network()
    inputs = recipe.example(network)
    graph = recipe.graph(network)
    path = tmp_path / "model.onnx"
    names = [f"input_{number}" for number in range(len(inputs))]
    free = {given: {0: "batch"} for given in names}
    if inputs[0].dim() == 4:
        free[names[0]] |= {2: "height", 3: "width"}
    torch.onnx.export(graph, inputs, str(path), opset_version=17, input_names=names, dynamic_axes=free, dynamo=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    several = [torch.cat([given, given.flip(-1)]) for given in inputs]
    for batch in ([given.contiguous() for given in inputs], several):
        with torch.no_grad():
            wanted = graph(*batch).numpy()
        found = session.run(None, {n: given.numpy() for n, given in zip(names, batch, strict=True)})[0]
        assert np.abs(found - wanted).max() < 1e-4


def test_a_ct_is_scaled_before_it_is_padded_so_that_padding_is_air(heads: Path) -> None:
    for name in ("conditional", "slab_regression"):
        options = {} if name == "conditional" else {"source": "CT", "target": "T1"}
        declared = small_recipe(name, heads, **options).declaration()
        ct = [op for op in declared["ops"] if op.get("modalities", ["CT"]) == ["CT"]]
        assert ct
        assert all(op["stage"] == "native" for op in ct)
        others = [op for op in declared["ops"] if op not in ct]
        assert all(op["stage"] == "grid" for op in others)
    target = small_recipe("slab_regression", heads, source="T1", target="CT").declaration()["targets"]["CT"]
    assert (target["units"], target["background"]) == ("HU", -1024)


def test_the_conditional_network_is_measured_in_every_direction(heads: Path) -> None:
    recipe = small_recipe("conditional", heads)
    figures = recipe.validate(recipe.network().eval())
    assert {f"psnr_{modality}" for modality in FOUR} <= set(figures)
    picture = recipe.picture(recipe.network().eval())
    assert picture.shape == (12 * 64, 4 * 64)
    assert 0 <= picture.min() < picture.max() <= 1


def test_a_validation_pool_that_lacks_some_directions_measures_the_others(tmp_path: Path) -> None:
    write_heads(tmp_path, 1, modalities=(Modality.T1, Modality.T2))
    recipe = small_recipe("conditional", tmp_path)
    figures = recipe.validate(recipe.network().eval())
    assert {name for name in figures if name.startswith("psnr_") and name != "psnr_fitted"} == {"psnr_T1", "psnr_T2"}


def test_a_validation_pool_without_any_direction_is_refused(tmp_path: Path) -> None:
    write_heads(tmp_path, 1, modalities=(Modality.T1,))
    recipe = small_recipe("conditional", tmp_path)
    with pytest.raises(ConfigError, match="No case of the pool 'held_out' has"):
        recipe.validate(recipe.network().eval())


def test_anatomy_guidance_adds_a_loss_to_every_recipe_and_nothing_to_what_is_exported(heads: Path) -> None:
    for name in [name for name in NAMES if name != "properties"]:
        recipe = small_recipe(name, heads, loss={"anatomy": 0.1})
        network = recipe.network().train()
        batch = next(recipe.batches({"simulated": 1.0}, 0, 0))
        assert recipe.loss(network, batch)["anatomy"].item() > 0
        assert "anatomy" not in recipe.validate(network.eval())
        plain = small_recipe(name, heads)
        exported = recipe.graph(network)(*recipe.example(network))
        assert exported.shape == plain.graph(plain.network())(*plain.example(network)).shape


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"sources": ["T1", "T1"]}, "names a modality twice"),
        ({"sources": ["T1"], "targets": ["T1"]}, "nothing to convert"),
        ({"slabs": {"crop": [60, 64]}}, "multiples of 16"),
        ({"network": {"blocks": [1]}}, "one length"),
        ({"network": {"features": [16, 16], "blocks": [1, 1], "local": 40}}, "at least three"),
        ({"network": {"context": 6}}, "even number"),
        ({"target_shares": {"X9": 1}}, "target_shares"),
        ({"singel": 0.5}, "singel: there is no such option"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_words(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        make_recipe("conditional", {"pools": {}} | options)


def test_a_patch_that_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiples of 16"):
        make_recipe("volume_regression", {"pools": {}, "network": {"size": [40, 48, 48]}})
    with pytest.raises(ConfigError, match="multiples of 16"):
        make_recipe("conditional_volume", {"pools": {}, "network": {"size": [40, 48, 48]}})
    with pytest.raises(ConfigError, match=r"multiples of `groups` \(8\)"):
        make_recipe("conditional_volume", {"pools": {}, "network": {"features": [12, 16], "size": [32, 32, 32]}})


def test_an_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=", ".join(sorted(RECIPES))):
        make_recipe("alchemy", {})


LATE = SMALL["conditional"]["network"] | {"late": True}


@pytest.mark.parametrize(("name", "network"), [("properties", SMALL["properties"]["network"]), ("conditional", LATE)])
def test_an_item_teaches_every_target_that_is_there_and_not_given(
    tmp_path: Path, name: str, network: dict[str, Any]
) -> None:
    write_heads(tmp_path, 1, modalities=(Modality.CT, Modality.T1, Modality.T2))
    recipe = small_recipe(name, tmp_path, network=network)
    batch = next(recipe.batches({"simulated": 1.0}, 0, 0))
    has = torch.tensor([1.0, 1, 1, 0])  # of CT, T1, T2, FLAIR
    assert torch.equal(batch["there"], has * (1 - batch["given"]))
    assert batch["there"].sum() >= len(batch["there"])
    assert batch["targets"].shape == (2, 4, 3, 64, 64)
    model = recipe.network().train()
    torch.manual_seed(0)
    before = recipe.loss(model, batch)["value"]
    spoiled = dict(batch) | {"targets": torch.where(batch["there"][:, :, None, None, None] > 0, batch["targets"], 7.0)}
    torch.manual_seed(0)
    assert recipe.loss(model, spoiled)["value"] == before  # what is not there counts for nothing
    item, place = batch["there"].nonzero()[-1].tolist()
    spoiled["targets"][item, place] = 7
    assert recipe.loss(model, spoiled)["value"] > before


def test_a_network_whose_targets_part_late_gives_the_same_for_several_at_once(heads: Path) -> None:
    recipe = small_recipe("conditional", heads, network=LATE)
    torch.manual_seed(0)
    network = recipe.network().eval()
    slab, given, _ = recipe.example(network)
    every = torch.eye(4)
    with torch.no_grad():
        together = network(slab, given, every, torch.zeros(4, dtype=torch.long))
        for number in range(4):
            alone = network(slab, given, every[number : number + 1])
            assert torch.allclose(together[number : number + 1], alone, atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_the_recipe_of_properties_refuses_anatomy_guidance(heads: Path) -> None:
    with pytest.raises(ConfigError, match="anatomy"):
        small_recipe("properties", heads, loss={"anatomy": 0.1})
