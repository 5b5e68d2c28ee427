"""A first bundle around a bare network: it passes `check`, and says what the graph says."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphs
from modality_conversion.bundle import Bundle
from modality_conversion.check import check
from modality_conversion.errors import ConversionError
from modality_conversion.scaffold import init


def made(tmp_path: Path, graph: Any, **options: Any) -> Bundle:
    """The bundle around a graph; `check`, run included, must find no error."""
    model = tmp_path / "net.onnx"
    graph(model)
    folder = init(model, into=tmp_path / "out", **{"source": "T1", "target": "T2", **options})
    assert [fault for fault in check(folder, run=True) if fault.severity == "error"] == []
    return Bundle.load(folder)


def test_a_network_for_slices_becomes_a_bundle(tmp_path: Path) -> None:
    bundle = made(tmp_path, graphs.identity)
    assert bundle.path == tmp_path / "out" / "t1-to-t2-net"
    assert bundle.spec.modalities == ("T1",)
    assert list(bundle.spec.targets) == ["T2"]
    assert (bundle.spec.sampler.kind, bundle.spec.sampler.context) == ("slice", 1)
    bundle.verify_weights()


@pytest.mark.parametrize(
    ("graph", "context", "outputs"),
    [
        (partial(graphs.identity, context=7), 7, 1),
        (partial(graphs.linear, context=7, channels=((1, 0), (2, 0))), 7, 1),
        (partial(graphs.linear, context=9, outputs=5), 9, 5),
        (partial(graphs.linear, context=9, outputs=5, volume_layout=True, channels=((1, 0), (2, 0))), 9, 5),
        (partial(graphs.linear, context=4, outputs=2), 4, 2),
    ],
)
def test_slices_in_and_out_are_read_from_the_graph(tmp_path: Path, graph: Any, context: int, outputs: int) -> None:
    sampler = made(tmp_path, graph).spec.sampler
    assert (sampler.context, sampler.outputs) == (context, outputs)
    assert sampler.kind == ("slice" if outputs == 1 else "slab")


def test_slices_out_may_be_said(tmp_path: Path) -> None:
    """Three channels of one slice look like three slices."""
    graph = partial(graphs.linear, context=5, channels=((1, 0), (2, 0), (3, 0)))
    assert made(tmp_path, graph, outputs=1).spec.sampler.outputs == 1


def test_a_network_for_patches_gets_patches(tmp_path: Path) -> None:
    spec = made(tmp_path, partial(graphs.linear, patch=True)).spec
    assert (spec.sampler.kind, spec.sampler.size, spec.fusion) == ("patch", (96, 96, 96), "gaussian")


def test_a_fixed_patch_size_is_kept(tmp_path: Path) -> None:
    assert made(tmp_path, partial(graphs.linear, patch=True, size=(16, 32, 16))).spec.sampler.size == (16, 32, 16)


def test_a_patch_size_may_be_said(tmp_path: Path) -> None:
    assert made(tmp_path, partial(graphs.linear, patch=True), patch=(16, 16, 16)).spec.sampler.size == (16, 16, 16)


def test_slices_are_resized_to_a_fixed_plane(tmp_path: Path) -> None:
    (op,) = made(tmp_path, partial(graphs.linear, size=(64, 48))).spec.ops
    assert (op.op, op.size) == ("resize", (64, 48))


def test_other_types_and_names_are_kept(tmp_path: Path) -> None:
    (entry,) = made(tmp_path, partial(graphs.linear, dtype=np.float16, input_name="scan")).spec.inputs
    assert (entry.name, entry.dtype) == ("scan", "float16")


def test_inputs_that_are_no_pictures_become_constants(tmp_path: Path) -> None:
    graph = partial(graphs.with_inputs, others={"timestep": (1,), "code": ("batch", 3)})
    spec = made(tmp_path, graph).spec
    assert [(entry.name, entry.role, entry.shape) for entry in spec.inputs] == [
        ("image", "image", None),
        ("timestep", "constant", (1,)),
        ("code", "constant", (1, 3)),
    ]
    assert spec.sampler.batch == 1  # a constant is fed as it is, whatever the batch


def test_several_sources_share_the_channels_of_one_input(tmp_path: Path) -> None:
    spec = made(tmp_path, partial(graphs.linear, context=6), source=["T1", "T2"], target="FLAIR").spec
    assert [(entry.name, entry.modality) for entry in spec.inputs] == [("image", "T1"), ("image", "T2")]
    assert spec.sampler.context == 3


def test_several_sources_take_one_input_each(tmp_path: Path) -> None:
    graph = partial(graphs.with_inputs, others={"t2": ("batch", 1, "height", "width")})
    spec = made(tmp_path, graph, source=["T1", "T2"], target="CT").spec
    assert [(entry.name, entry.modality) for entry in spec.inputs] == [("image", "T1"), ("t2", "T2")]


def test_what_the_author_says_is_written(tmp_path: Path) -> None:
    bundle = made(
        tmp_path,
        graphs.identity,
        source="T1",
        target="ct",
        id="my-model",
        title="Mine",
        version="2.0",
        license="MIT",
        citation="Me, 2026",
        authors="Jane Doe",
        anatomy="head",
    )
    spec = bundle.spec
    assert (spec.id, spec.title, spec.version, spec.license, spec.citation) == (
        "my-model",
        "Mine",
        "2.0",
        "MIT",
        "Me, 2026",
    )
    assert spec.sources[0].anatomy == "head"
    assert (spec.targets["CT"].units, spec.targets["CT"].background) == ("HU", -1024)
    assert bundle.metadata["authors"] == "Jane Doe"
    for said in ("Mine", "Version 2.0, by Jane Doe", "MIT", "Me, 2026", "CT in HU units", spec.weights[0].sha256):
        assert said in bundle.card


def test_what_the_author_did_not_say_is_asked_for_in_the_card(tmp_path: Path) -> None:
    bundle = made(tmp_path, graphs.identity)
    warnings = check(bundle.path)
    assert {fault.where for fault in warnings} == {"configs/conversion.json: license", "docs/README.md"}
    assert bundle.card.count("For the author to state:") == 7


def test_torchscript_is_taken_unopened_with_what_is_said(tmp_path: Path) -> None:
    model = tmp_path / "net.pt"
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("net/code/x.py", "")
        archive.writestr("net/constants.pkl", "")
    spec = Bundle.load(init(model, source="T1", target="T2", into=tmp_path, context=5)).spec
    assert (spec.weights[0].format, spec.weights[0].path) == ("torchscript", "models/model.ts")
    assert spec.sampler.context == 5
    spec = Bundle.load(init(model, source=["T1", "T2"], target="PD", into=tmp_path, patch=(8, 8, 8))).spec
    assert spec.sampler.size == (8, 8, 8)
    assert [entry.modality for entry in spec.inputs] == ["T1", "T2"]


@pytest.mark.parametrize(
    ("graph", "options", "said"),
    [
        (partial(graphs.identity, context=2), {}, "has no middle"),
        (graphs.wrong_rank, {}, "does not fit this format"),
        (partial(graphs.with_inputs, others={"t2": ("batch", 1, "h", "w")}), {}, "takes 2 pictures (image, t2)"),
        (partial(graphs.linear, context=3), {"source": ["T1", "T2"]}, "which 2 scans do not fill"),
        (partial(graphs.linear, patch=True), {"source": ["T1", "T2"]}, "which 2 scans do not fill"),
        (graphs.identity, {"id": "Not An Id"}, "is no id"),
        (lambda path: path.write_bytes(b"x"), {}, "net.onnx"),
    ],
)
def test_a_network_that_cannot_be_described_is_refused_and_nothing_is_left(
    tmp_path: Path, graph: Any, options: dict, said: str
) -> None:
    with pytest.raises(ConversionError) as caught:
        made(tmp_path, graph, **options)
    assert said in str(caught.value)
    assert not list(tmp_path.glob("out/*"))


def test_a_network_without_a_picture_is_refused(tmp_path: Path) -> None:
    def numbers(path: Path) -> None:
        node = graphs.helper.make_node("Identity", ["x"], ["y"])
        graphs.save(path, [node], [graphs.tensor("x", ("batch", 3))], [graphs.tensor("y", ("batch", 3))])

    with pytest.raises(ConversionError, match="takes a picture"):
        made(tmp_path, numbers)


def test_a_network_that_takes_what_cannot_be_fed_is_refused(tmp_path: Path) -> None:
    def flags(path: Path) -> None:
        shape = ("batch", 1, "height", "width")
        node = graphs.helper.make_node("Not", ["x"], ["y"])
        graphs.save(path, [node], [graphs.tensor("x", shape, np.bool_)], [graphs.tensor("y", shape, np.bool_)])

    with pytest.raises(ConversionError, match="takes bool"):
        made(tmp_path, flags)


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    bundle = made(tmp_path, graphs.identity)
    (bundle.path / "mine.txt").write_text("mine")
    with pytest.raises(ConversionError, match="exists already"):
        made(tmp_path, graphs.identity)
    assert (bundle.path / "mine.txt").read_text() == "mine"


def test_files_that_are_missing_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="no file"):
        init(tmp_path / "none.onnx", source="T1", target="T2")
    (tmp_path / "net.h5").touch()
    with pytest.raises(ConversionError, match=r"neither ONNX .* nor TorchScript"):
        init(tmp_path / "net.h5", source="T1", target="T2", into=tmp_path)


def test_a_modality_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="T9"):
        made(tmp_path, graphs.identity, target="T9")
