"""The bundle: the same numbers as PyTorch in every file, accepted and run by the engine, with the figures of its weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import SimpleITK as sitk
import torch
from rich.console import Console

import training.evaluation.command as evaluation_command
import training.export.bundle as export_bundle
import training.export.command as export_command
from formula_models import ABOUT, Formula, FormulaRecipe, formula_bundle, settings, write_formula_heads
from modality_conversion.bundle import Bundle, sha256_of
from modality_conversion.check import check
from modality_conversion.convert import convert
from modality_conversion.modality import Modality
from packed_heads import write_heads
from training.config import ConfigError
from training.config import check as check_settings
from training.evaluation.cases import packed_cases
from training.evaluation.run import evaluate
from training.evaluation.settings import EvaluateSettings
from training.export.bundle import Model, write_bundle
from training.export.graph import IR_VERSION, OPSET, ExportError, alternatives, write_onnx
from training.export.reduced import calibration_feeds, write_reduced
from training.export.settings import ExportSettings
from training.export.storage import halve_weights
from training.project import read_project
from training.recipes import make_recipe

TINY = {
    "slab_regression": {"network": {"features": [8] * 6, "detail": 4, "head": 8}},
    "volume_regression": {"network": {"features": [4, 4, 8, 8, 8, 4], "size": [32, 32, 32]}},
    "conditional": {
        "network": {"features": [16, 24, 32], "blocks": [1, 1, 1], "context": 5, "outputs": 3, "local": 40}
    },
}


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"), 2)


def model_of(name: str, heads: Path, **network_options: list[int]) -> Model:
    torch.manual_seed(0)
    options = {"network": TINY[name]["network"] | network_options}
    recipe = make_recipe(name, {"pools": {"a": {"folder": str(heads)}}} | options)
    network = recipe.network()
    for module in network.modules():  # statistics as after training, so that folding them is tested
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, torch.nn.Linear):  # codes that make a difference
            module.weight.data.normal_(std=0.3)
    return Model(recipe, network, ABOUT)


@pytest.fixture(scope="module", params=sorted(TINY))
def exported(
    request: pytest.FixtureRequest, heads: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Model, Bundle]:
    model = model_of(request.param, heads)
    folder = tmp_path_factory.mktemp("models") / request.param.replace("_", "-")
    written = write_bundle(model, settings(folder, torchscript=True), {})
    assert written.difference < 1e-4
    return model, Bundle.load(folder)


# --- the files --------------------------------------------------------------------------------------------------------------


def test_the_graph_is_one_file_old_enough_for_the_oldest_runtime_and_its_batch_is_free(
    exported: tuple[Model, Bundle],
) -> None:
    model, bundle = exported
    graph = onnx.load(str(bundle.weight_paths[0]))
    assert graph.ir_version == IR_VERSION <= 10
    assert graph.opset_import[0].version == OPSET <= 17
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}
    assert [entry.name for entry in graph.graph.input] == model.names
    for entry in (*graph.graph.input, *graph.graph.output):
        shape = entry.type.tensor_type.shape.dim
        assert shape[0].dim_param == "batch"
        assert shape[1].dim_value > 0
        assert all(side.dim_param for side in shape[2:])


def test_the_engine_finds_no_fault_in_the_bundle(exported: tuple[Model, Bundle]) -> None:
    assert check(exported[1].path, run=True) == []


def test_the_golden_pair_is_what_pytorch_gives(exported: tuple[Model, Bundle]) -> None:
    model, bundle = exported
    golden = dict(np.load(bundle.path / "tests" / "golden.npz"))
    inputs = [golden["input"]] if len(model.names) == 1 else [golden[f"input_{name}"] for name in model.names]
    with torch.no_grad():
        output = model.network(*map(torch.from_numpy, inputs)).numpy()
    assert np.abs(output - golden["output"]).max() < 1e-4
    assert golden["output"].std() > 1e-3


def test_the_torchscript_file_converts_a_scan_to_the_same_values(exported: tuple[Model, Bundle], heads: Path) -> None:
    _, bundle = exported
    folder = bundle.path.parent / f"{bundle.spec.id}-ts"
    shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
    path = folder / "configs" / "conversion.json"
    declared = json.loads(path.read_text(encoding="utf-8"))
    file = folder / "models" / "model.ts"
    declared["id"] = folder.name
    declared["weights"] = [
        {"path": "models/model.ts", "format": "torchscript", "sha256": sha256_of(file), "size": file.stat().st_size}
    ]
    for target in declared["targets"].values():
        target["dtype"] = "float32"
    path.write_text(json.dumps(declared), encoding="utf-8")
    assert check(folder, run=True) == []
    scan = next(packed_cases(heads)).scans[Modality.T1].image[8:56, 8:56, 4:36]
    found = [
        convert({"T1": scan}, one, target=Modality.T2, device="cpu", uncertainty=False).image
        for one in (Bundle.load(folder), bundle)
    ]
    scripted, plain = (sitk.GetArrayFromImage(image) for image in found)
    assert np.abs(scripted - plain).max() <= 0.5 + 0.1  # int16 rounds; 1e-4 of the network's scale is 0.1


def test_metadata_says_what_goes_in_channel_by_channel(exported: tuple[Model, Bundle]) -> None:
    model, bundle = exported
    inputs = bundle.metadata["network_data_format"]["inputs"]
    assert list(inputs) == model.names
    for name, tensor in zip(model.names, model.example, strict=True):
        assert inputs[name]["num_channels"] == tensor.shape[1] == len(inputs[name]["channel_def"])


def test_the_same_weights_give_the_same_bytes(exported: tuple[Model, Bundle], tmp_path: Path) -> None:
    model, bundle = exported
    write_onnx(model.graph, alternatives(model.graph, model.example, model.multiples), model.names, tmp_path / "m.onnx")
    assert sha256_of(tmp_path / "m.onnx") == bundle.spec.weights[0].sha256


def test_weights_stored_in_half_precision_halve_the_file_and_hardly_change_a_conversion(
    heads: Path, tmp_path: Path
) -> None:
    model = model_of("conditional", heads, features=[32, 64, 96])
    full, half = tmp_path / "full", tmp_path / "half"
    write_bundle(model, settings(full), {})
    write_bundle(model, settings(half, stored="float16"), {})
    assert check(half, run=True) == []
    large, small = Bundle.load(full), Bundle.load(half)
    assert small.spec.weights[0].size < 0.6 * large.spec.weights[0].size
    assert "stored in half precision and used in full" in small.card
    scan = next(packed_cases(heads)).scans[Modality.T1].image
    values = [
        sitk.GetArrayFromImage(convert({"T1": scan}, one, target="T2", device="cpu").image).astype(float)
        for one in (large, small)
    ]
    apart = np.abs(values[0] - values[1]).max()
    assert 0 < apart < 0.01 * np.ptp(values[0])


def test_weights_too_large_for_half_precision_are_refused_in_words(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.full((64, 64), 1e6, np.float32), "w")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "large",
        [value("x", onnx.TensorProto.FLOAT, [1, 64])],
        [value("y", onnx.TensorProto.FLOAT, [1, 64])],
        [weight],
    )
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "m.onnx"))
    before = (tmp_path / "m.onnx").read_bytes()
    with pytest.raises(ExportError, match="'w' are too large"):
        halve_weights(tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == before


def test_half_precision_that_would_be_seen_is_refused(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("conditional", heads, features=[32, 64, 96])
    monkeypatch.setattr(export_bundle, "ROUNDING", 1e-7)  # as a network with large weights would exceed the real one
    with pytest.raises(ExportError, match="Half precision changes values"):
        write_bundle(model, settings(tmp_path / "loud", stored="float16"), {})
    assert not (tmp_path / "loud").exists()


class Moody(Formula):
    """Something else in a file than in PyTorch."""

    def forward(self, slab: torch.Tensor) -> torch.Tensor:
        return super().forward(slab) * (1.0 if torch.onnx.is_in_onnx_export() or torch.jit.is_tracing() else 1.1)


class Renamed(Formula):
    """An input of another name than the one declared."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image)


def test_a_graph_that_differs_from_the_network_is_refused_and_the_older_bundle_stays(tmp_path: Path) -> None:
    older = formula_bundle(tmp_path / "model")
    before = sorted((path.relative_to(tmp_path), path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file())
    for network, reason in ((Moody(), "differ"), (Renamed(), "are declared")):
        with pytest.raises(ExportError, match=reason):
            write_bundle(Model(FormulaRecipe(network), network, ABOUT), settings(older.path, torchscript=True), {})
    after = sorted((path.relative_to(tmp_path), path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file())
    assert after == before


def test_a_folder_that_is_no_model_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no model"):
        formula_bundle(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text(encoding="utf-8") == "years of work"


def test_an_id_that_the_engine_would_refuse_is_refused_before_any_work(tmp_path: Path) -> None:
    content = settings(tmp_path / "fine").model_dump() | {"folder": tmp_path / "T1 to T2"}
    with pytest.raises(ConfigError, match="lower-case"):
        check_settings(ExportSettings, content, "export")


def test_a_patch_network_is_tried_at_half_the_size_if_it_takes_it() -> None:
    image = torch.nn.Conv3d(1, 1, 3, padding=1)
    _, half = alternatives(image, (torch.rand(1, 1, 32, 64, 32),), [None, None, None])
    assert half[0].shape == (2, 1, 16, 32, 16)
    _, same = alternatives(image, (torch.rand(1, 1, 48, 64, 32),), [None, None, None])
    assert same[0].shape == (2, 1, 48, 64, 32)


# --- figures ----------------------------------------------------------------------------------------------------------------


def test_the_figures_of_these_weights_reach_the_card_and_the_declaration(tmp_path: Path) -> None:
    cases = write_formula_heads(tmp_path / "heads", 2)
    bundle, other = formula_bundle(tmp_path / "model"), formula_bundle(tmp_path / "other", blur=2)
    wanted = EvaluateSettings(folder=tmp_path / "evaluation")
    figures = evaluate([bundle, other], packed_cases(cases), wanted)

    network = Formula()
    again = Model(FormulaRecipe(network), network, ABOUT)
    assert write_bundle(again, settings(bundle.path), figures, wanted.folder).measured
    measured = Bundle.load(bundle.path)
    told = {entry.metric: entry for entry in measured.spec.quality}
    assert set(told) == {"PSNR", "PSNR after affine fit", "SSIM", "R"}
    mean = next(entry for entry in figures["summary"] if entry["model"] == "model")["metrics"]["psnr"]["mean"]
    assert told["PSNR"].value == pytest.approx(mean, abs=1e-3)
    assert (told["PSNR"].source, told["PSNR"].target, told["PSNR"].data) == ("T1", "T2", "2 simulated heads")
    assert f"{mean:.2f}" in measured.card
    assert "head_1" in measured.card
    assert "other" not in measured.card
    assert "Measured on simulated heads alone: T1->T2." in measured.card
    assert "head_0" not in measured.card  # every case stands in a file of its own
    assert "head_0" in (bundle.path / "docs" / "cases.md").read_text(encoding="utf-8")
    assert (bundle.path / "docs" / "mr_to_mr_simulated_worst.jpg").is_file()
    assert "(mr_to_mr_simulated_worst.jpg)" in measured.card
    write_bundle(again, settings(bundle.path, docs_kilobytes=100), figures, wanted.folder)
    assert sum(file.stat().st_size for file in (bundle.path / "docs").iterdir()) <= 100_000
    assert check(bundle.path, run=True) == []


def test_figures_of_other_weights_are_left_out(tmp_path: Path) -> None:
    cases = write_formula_heads(tmp_path / "heads", 1)
    wanted = EvaluateSettings(folder=tmp_path / "evaluation")
    figures = evaluate([formula_bundle(tmp_path / "model")], packed_cases(cases), wanted)
    network = Formula(scale=0.9)
    written = write_bundle(Model(FormulaRecipe(network), network, ABOUT), settings(tmp_path / "model"), figures)
    assert not written.measured
    assert "Not measured yet." in Bundle.load(tmp_path / "model").card
    assert Bundle.load(tmp_path / "model").spec.quality == ()


def test_a_synthetic_ct_that_met_no_real_one_says_so(tmp_path: Path) -> None:
    assert "not validated against real CT" in formula_bundle(tmp_path / "a", target=Modality.CT).card
    assert "not validated" not in formula_bundle(tmp_path / "b").card


# --- reduced forms ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, ExportSettings]:
    """A network large enough that weights, not the graph, are what fills the file."""
    model = model_of("conditional", heads, features=[32, 64, 96])
    folder = tmp_path_factory.mktemp("reduced") / "any"
    wanted = settings(folder, reduced=["float16", "int8"], calibration=heads, calibration_tiles=12)
    write_bundle(model, wanted, {})
    return model, wanted


@pytest.mark.parametrize(("kind", "size", "difference"), [("float16", 0.62, 5e-3), ("int8", 0.4, 0.15)])
def test_a_reduced_form_is_smaller_and_the_engine_takes_it(
    large: tuple[Model, ExportSettings], heads: Path, kind: str, size: float, difference: float
) -> None:
    model, wanted = large
    full = Bundle.load(wanted.folder)
    written = write_reduced(kind, full, model, wanted, {}, None)  # type: ignore[arg-type]
    small = Bundle.load(written.folder)
    assert small.spec.id == f"any-{kind}"
    assert small.spec.weights[0].size < size * full.spec.weights[0].size
    assert check(small.path, run=True) == []
    output = np.load(full.path / "tests" / "golden.npz")["output"]
    assert written.difference < difference * np.abs(output).max()
    assert f"smaller form of `{full.spec.id}`" in small.card
    scan = next(packed_cases(heads)).scans[Modality.CT].image
    assert convert({"CT": scan}, small, target="FLAIR", device="cpu").image.GetSize() == scan.GetSize()


def test_int8_learns_its_ranges_from_what_the_engine_feeds_in_many_directions(
    large: tuple[Model, ExportSettings],
) -> None:
    model, wanted = large
    feeds = calibration_feeds(Bundle.load(wanted.folder), wanted)
    assert all(list(tiles) == model.names for tiles in feeds)
    assert all(len(array) == 1 for tiles in feeds for array in tiles.values())
    assert {int(tiles["wanted"].argmax()) for tiles in feeds} == {0, 1, 2, 3}
    assert max(float(tiles["slab"].max()) for tiles in feeds) <= 1.0


def test_int8_without_training_cases_is_refused_with_the_option_that_is_missing(
    large: tuple[Model, ExportSettings],
) -> None:
    model, wanted = large
    without = wanted.model_copy(update={"calibration": None})
    with pytest.raises(ConfigError, match=r"export\.calibration"):
        write_reduced("int8", Bundle.load(wanted.folder), model, without, {}, None)
    assert not list(wanted.folder.parent.glob(".export-*"))


# --- the verbs --------------------------------------------------------------------------------------------------------------


def test_export_evaluate_and_export_again_is_a_bundle_with_figures(tmp_path: Path) -> None:
    heads = write_heads(tmp_path / "cases" / "test", 1)
    config = tmp_path / "model.yaml"
    names = {
        "title": "Any",
        "version": "0.0.1",
        "citation": "none",
        "authors": "Nobody",
        "training": "No.",
        "limits": [],
    }
    pools = {"a": {"folder": str(heads)}}
    options = TINY["conditional"] | {"sources": ["CT", "T1"], "targets": ["T2"], "pools": pools}
    content = {
        "run": str(tmp_path / "run"),
        "recipe": {"name": "conditional", "options": options},
        "evaluate": {
            "folder": str(tmp_path / "evaluation"),
            "cases": [str(heads)],
            "directions": ["T1->T2", "CT+T1->T2"],
        },
        "export": {"folder": str(tmp_path / "any"), "datasets": [], "reduced": ["float16"], **names},
    }
    config.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    project = read_project(config)
    state = {"average": project.make_recipe().network().state_dict(), "step": 7, "seconds": 60.0}
    (tmp_path / "run").mkdir()
    torch.save(state, tmp_path / "run" / "last.pt")

    console = Console(record=True, width=200)
    with pytest.raises(ConfigError, match="training export"):
        evaluation_command.run(project, console)
    for verb in (export_command, evaluation_command, export_command):
        verb.run(project, console)
    said = console.export_text()
    assert said.count("It was not evaluated yet") == 2  # both forms, the first time
    assert "report.html" in said
    for name in ("any", "any-float16"):
        bundle = Bundle.load(tmp_path / name)
        told = {(entry.source, entry.target, entry.data) for entry in bundle.spec.quality}
        assert told == {("T1", "T2", "1 simulated head"), (None, "T2", "1 simulated head, from CT+T1")}
        assert "after 7 steps" in bundle.card
        assert check(bundle.path, run=True) == []


def test_differences_count_as_shares_of_what_is_larger_than_one_in_their_channel() -> None:
    from training.export.graph import difference

    wanted = np.array([[[0.5, -0.9], [0.5, -20.0]]])
    for channel, share in ((0, 2e-4), (1, 1e-5)):
        found = wanted.copy()
        found[0, channel, 0] += 2e-4
        assert difference(found, wanted) == pytest.approx(share)
