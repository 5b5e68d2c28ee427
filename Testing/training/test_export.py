"""The bundle: the same numbers as PyTorch, accepted and run by the engine; measured by the engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from modality_conversion.bundle import Bundle
from modality_conversion.check import check
from modality_conversion.convert import convert
from training.evaluation.cases import simulated_cases
from training.evaluation.run import evaluate
from training.export.bundle import write_bundle
from training.export.graph import IR_VERSION, OPSET, ExportError, write_graph
from training.export.settings import DatasetSettings, ExportSettings
from training.networks.slab import SlabNet, SlabNetSettings

ABOUT = {"step": 10.0, "minutes": 1.0}


@pytest.fixture(scope="module")
def network() -> SlabNet:
    torch.manual_seed(0)
    network = SlabNet(SlabNetSettings(context=9, outputs=5, features=(8, 8, 8, 8, 8, 8), detail=4, head=8))
    for module in network.modules():  # statistics as after training, so that folding them is tested
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ExportSettings:
    return ExportSettings(
        folder=tmp_path_factory.mktemp("models") / "t1-to-t2-tiny",
        title="Tiny",
        version="0.0.1",
        citation="none",
        authors="Nobody",
        source="T1",
        target="T2",
        datasets=(DatasetSettings(name="Balls", used="All.", license="CC0-1.0", citation="none"),),
        training="Not at all.",
        limits=("Everything.",),
    )


@pytest.fixture(scope="module")
def bundle(network: SlabNet, settings: ExportSettings) -> Bundle:
    write_bundle(network, settings, {}, ABOUT)
    return Bundle.load(settings.folder)


def test_the_graph_is_one_file_old_enough_for_the_oldest_runtime(bundle: Bundle) -> None:
    model = onnx.load(str(bundle.weight_paths[0]))
    assert model.ir_version == IR_VERSION <= 10
    assert model.opset_import[0].version == OPSET <= 17
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        "",
        "height",
        "width",
    ]


def test_the_golden_pair_is_what_pytorch_gives(bundle: Bundle, network: SlabNet) -> None:
    golden = np.load(bundle.path / "tests" / "golden.npz")
    with torch.no_grad():
        output = network(torch.from_numpy(golden["input"])).numpy()
    assert np.abs(output - golden["output"]).max() < 1e-4


def test_a_graph_that_differs_from_the_network_is_refused(tmp_path: Path) -> None:
    class Moody(torch.nn.Module):
        def forward(self, slab: torch.Tensor) -> torch.Tensor:
            return slab * (1.0 if torch.onnx.is_in_onnx_export() else 1.1)

    with pytest.raises(ExportError, match="differ"):
        write_graph(Moody(), torch.rand(1, 9, 32, 32), tmp_path / "model.onnx")


def test_the_engine_finds_no_fault_in_the_bundle(bundle: Bundle) -> None:
    assert check(bundle.path, run=True) == []


def test_the_engine_converts_with_it_and_the_figures_reach_the_card(
    bundle: Bundle, network: SlabNet, settings: ExportSettings, cases: Path, tmp_path: Path
) -> None:
    case = next(simulated_cases(cases))
    conversion = convert({"T1": case.source}, bundle, target="T2", device="cpu")
    assert conversion.image.GetSize() == case.source.GetSize()
    assert conversion.uncertainty is not None

    figures = evaluate(bundle, [case], tmp_path)
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8")) == json.loads(json.dumps(figures))
    assert len(list(tmp_path.glob("*.png"))) == 1
    figures["cases"][0]["real"] = True
    write_bundle(network, settings, figures, ABOUT)
    assert case.name in Bundle.load(settings.folder).card
    declared = json.loads((settings.folder / "configs" / "conversion.json").read_text(encoding="utf-8"))
    assert {entry["metric"] for entry in declared["quality"]} == {"PSNR", "SSIM", "through-plane ratio R"}
