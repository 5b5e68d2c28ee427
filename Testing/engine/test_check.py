"""`check` of a whole folder: files, metadata, model card, and the network against its declaration."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphs
from bundles import LEFT_OUT, edit_spec, write_bundle, write_json
from modality_conversion.check import METADATA_KEYS, Fault, check
from modality_conversion.check_network import grid_size
from modality_conversion.schema import Geometry

T1_T2 = [{"modality": "T1"}, {"modality": "T2"}]
PATCH = {"kind": "patch", "size": [16, 16, 16]}


def places(faults: list[Fault]) -> list[str]:
    return [fault.where.removeprefix("configs/conversion.json: ") for fault in faults]


def test_a_right_bundle_has_no_faults_and_runs(tmp_path: Path) -> None:
    assert check(write_bundle(tmp_path / "copy"), run=True) == []


def test_checking_changes_nothing(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    check(folder, run=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    (fault,) = check(tmp_path / "none")
    assert (fault.where, fault.what) == (str(tmp_path / "none"), "there is no such folder")


def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (fault,) = check(tmp_path / "file")
    assert fault.what == "this is a file, not a folder"


def test_an_empty_folder_lacks_everything(tmp_path: Path) -> None:
    assert places(check(tmp_path)) == ["configs/conversion.json", "configs/metadata.json", "docs/README.md"]


def test_weights_that_are_missing_short_long_or_changed_are_told_apart(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "four", [graphs.identity] * 5)
    paths = sorted((folder / "models").iterdir())
    paths[0].unlink()
    os.truncate(paths[1], 10)
    with paths[2].open("ab") as file:
        file.write(b"more")
    paths[3].write_bytes(paths[3].read_bytes()[::-1])
    faults = check(folder)
    assert places(faults) == ["weights[0]", "weights[1]", "weights[2]", "weights[3].sha256"]
    for fault, said in zip(
        faults, ("missing", "incomplete: 10 bytes", "another file", "damaged or was replaced"), strict=True
    ):
        assert said in fault.what


def test_a_folder_in_place_of_the_weights_is_a_fault(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    edit_spec(folder, lambda fields: fields["weights"][0].update(path="models"))
    (fault,) = check(folder)
    assert fault.what == "models is not a file"


def test_the_remedy_for_a_hash_is_the_right_one(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    edit_spec(folder, lambda fields: fields["weights"][0].update(sha256="1" * 64))
    (fault,) = check(folder)
    digest = fault.remedy.split('"')[3]
    edit_spec(folder, lambda fields: fields["weights"][0].update(sha256=digest))
    assert check(folder) == []


@pytest.mark.parametrize("name", ["models/model.onnx", "extra", "docs/sub/link"])
def test_a_link_that_leaves_the_bundle_is_a_fault(tmp_path: Path, name: str) -> None:
    folder = write_bundle(tmp_path / "copy")
    outside = tmp_path / "outside"
    outside.write_bytes((folder / "models" / "model.onnx").read_bytes())
    link = folder / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    (fault,) = check(folder)
    assert fault.where == name
    assert fault.severity == "error"
    assert str(outside) in fault.what


def test_a_linked_folder_that_leaves_the_bundle_is_a_fault(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    (folder / "more").symlink_to(tmp_path)
    assert places(check(folder)) == ["more"]


def test_a_link_inside_the_bundle_and_a_linked_bundle_are_no_faults(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "real" / "copy")
    (folder / "models" / "again.onnx").symlink_to("model.onnx")
    (tmp_path / "copy").symlink_to(folder)
    assert check(tmp_path / "copy") == []


def test_an_id_that_is_not_the_folders_name_is_a_warning(tmp_path: Path) -> None:
    (fault,) = check(write_bundle(tmp_path / "other", id="copy"))
    assert (places([fault]), fault.severity) == (["id"], "warning")


def test_errors_come_before_warnings(tmp_path: Path) -> None:
    faults = check(write_bundle(tmp_path / "other", id="copy", card=None, license="NONE", fusion="x"))
    assert [fault.severity for fault in faults] == ["error", "warning", "warning", "warning"]


def test_a_folder_that_cannot_be_read_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bundle(tmp_path / "copy")

    def refuse(self: Path, *rest: Any) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    faults = check(folder)
    assert "Permission denied" in faults[0].what


# --- metadata and card ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", METADATA_KEYS)
def test_each_of_monais_keys_is_missed(tmp_path: Path, key: str) -> None:
    (fault,) = check(write_bundle(tmp_path / "copy", metadata={key: LEFT_OUT}))
    assert fault.where == f"configs/metadata.json: {key}"
    assert "For example" in fault.remedy


def test_monais_keys_are_those_monai_requires() -> None:
    """The list in MONAI's own metadata schema (meta_schema_20240725), so that `monai.bundle` reads our bundles too."""
    assert set(METADATA_KEYS) == {
        "version",
        "monai_version",
        "pytorch_version",
        "numpy_version",
        "required_packages_version",
        "task",
        "description",
        "authors",
        "copyright",
        "network_data_format",
    }


def test_a_key_of_the_wrong_type_is_a_fault(tmp_path: Path) -> None:
    (fault,) = check(write_bundle(tmp_path / "copy", metadata={"authors": ["A", "B"]}))
    assert fault.what == 'found ["A", "B"]'
    assert fault.remedy.startswith("wanted: a text, who made it")


def test_another_version_in_the_metadata_is_a_warning(tmp_path: Path) -> None:
    (fault,) = check(write_bundle(tmp_path / "copy", metadata={"version": "2.0.0"}))
    assert (fault.where, fault.severity) == ("configs/metadata.json: version", "warning")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"{,}", "not JSON"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"null", "not an object"),
        (b" " * (5 << 20), "larger than"),
    ],
)
def test_metadata_that_cannot_be_read_is_one_fault(tmp_path: Path, content: bytes, what: str) -> None:
    folder = write_bundle(tmp_path / "copy")
    (folder / "configs" / "metadata.json").write_bytes(content)
    (fault,) = check(folder)
    assert fault.where == "configs/metadata.json"
    assert what in fault.what


def test_faults_of_declaration_metadata_weights_and_card_are_said_together(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bad", card=None, metadata={"task": LEFT_OUT}, title="", sampler={"context": 3})
    os.truncate(folder / "models" / "model.onnx", 10)
    assert places(check(folder)) == ["title", "weights[0]", "configs/metadata.json: task", "docs/README.md"]


def test_a_card_with_blanks_is_a_warning(tmp_path: Path) -> None:
    (fault,) = check(write_bundle(tmp_path / "copy", card="*For the author to state: the data.*"))
    assert (fault.where, fault.severity) == ("docs/README.md", "warning")


# --- the network against its declaration ------------------------------------------------------------------------------

codes = partial(graphs.with_inputs, others={"code": ("batch", 3)})
steps = partial(graphs.with_inputs, others={"timestep": (1,)})
scans = partial(graphs.with_inputs, others={"t2": ("batch", 1, "height", "width")})


def two_outputs(path: Path) -> None:
    shape = ("batch", 1, "height", "width")
    nodes = [graphs.helper.make_node("Identity", ["image"], [name]) for name in ("one", "two")]
    graphs.save(
        path, nodes, [graphs.tensor("image", shape)], [graphs.tensor("one", shape), graphs.tensor("two", shape)]
    )


def takes_bool(path: Path) -> None:
    shape = ("batch", 1, "height", "width")
    node = graphs.helper.make_node("Cast", ["image"], ["out"], to=1)
    graphs.save(path, [node], [graphs.tensor("image", shape, np.bool_)], [graphs.tensor("out", shape)])


@pytest.mark.parametrize(
    ("graph", "overrides", "where", "said"),
    [
        (partial(graphs.identity, context=3), {}, "sampler.context", "set `context` to 3"),
        (graphs.identity, {"sampler": {"context": 5}}, "sampler.context", "set `context` to 1"),
        (graphs.identity, {"inputs": [{"name": "img"}]}, "inputs[0]", "its inputs are `image` (?, 1, ?, ?)"),
        (graphs.identity, {"inputs": [{}, {"role": "constant", "value": 1}]}, "inputs[1]", "no input number 2"),
        (steps, {}, "inputs", '"name": "timestep"'),
        (graphs.identity, {"inputs": [{"dtype": "float16"}]}, "inputs[0].dtype", '"dtype": "float32"'),
        (partial(graphs.linear, dtype=np.float16), {}, "inputs[0].dtype", '"dtype": "float16"'),
        (takes_bool, {}, "inputs[0].dtype", "export the network with float32"),
        (partial(graphs.linear, patch=True), {}, "sampler.kind", "use kind patch"),
        (graphs.identity, {"sampler": PATCH}, "sampler.kind", "use kind slice or slab"),
        (partial(graphs.linear, patch=True, size=(8, 16, 16)), {"sampler": PATCH}, "inputs[0]", "fixed at 8 on axis 2"),
        (
            partial(graphs.linear, size=(64, 32)),
            {"ops": [{"op": "resize", "size": [64, 64]}]},
            "inputs[0]",
            "fixed at 32 on axis 3",
        ),
        (
            partial(graphs.linear, size=(64, 64)),
            {"geometry": {"resize": {"max": 32}, "pad_to": [32, 32, 64]}},
            "inputs[0]",
            "fixed at 64 on axis 2",
        ),
        (
            steps,
            {"inputs": [{}, {"role": "constant", "value": 0, "shape": [2], "name": "timestep"}]},
            "inputs[1]",
            '"shape": [1]',
        ),
        (steps, {"inputs": [{}, {"role": "constant", "value": 0, "name": "timestep"}]}, "inputs[1]", '"shape": [1]'),
        (codes, {"inputs": [{}, {"role": "source_code", "order": ["T1"]}]}, "inputs[1]", "give `order` that many"),
        (
            partial(graphs.linear, context=4),
            {"sources": T1_T2, "inputs": [{"name": "image", "modality": m} for m in ("T1", "T2")]},
            "sampler.context",
            "set `context` to 2",
        ),
        (
            partial(graphs.linear, context=3),
            {"sources": T1_T2, "inputs": [{"name": "image", "modality": m} for m in ("T1", "T2")]},
            "sampler.context",
            "join 3 image or mask inputs",
        ),
        (graphs.identity, {"output": {"channel": 1}}, "output.channel", "write 0 to 0"),
        (
            partial(graphs.linear, channels=((1, 0), (2, 0))),
            {"output": {"channel": 0, "uncertainty": {"channel": 2, "kind": "scale"}}},
            "output.uncertainty.channel",
            "write 0 to 1",
        ),
        (
            partial(graphs.linear, context=5, outputs=3, volume_layout=True),
            {"sampler": {"kind": "slab", "context": 5, "outputs": 5}},
            "sampler.outputs",
            "set `outputs` to 3",
        ),
        (
            partial(graphs.linear, context=5, outputs=3),
            {"sampler": {"kind": "slab", "context": 5, "outputs": 5}},
            "sampler.outputs",
            "a divisor of 3",
        ),
        (graphs.wrong_rank, {}, "sampler", "export a network that gives (batch"),
    ],
)
def test_a_network_that_is_not_the_declared_one_is_one_fault(
    tmp_path: Path, graph: Callable, overrides: dict, where: str, said: str
) -> None:
    (fault,) = check(write_bundle(tmp_path / "model", graph, **overrides))
    assert places([fault]) == [where]
    assert fault.severity == "error"
    assert said in str(fault)


@pytest.mark.parametrize(
    ("graph", "overrides"),
    [
        (
            partial(graphs.linear, context=7, channels=((1, 0), (2, 0))),
            {"sampler": {"context": 7}, "output": {"channel": 1}},
        ),
        (partial(graphs.linear, context=9, outputs=5), {"sampler": {"kind": "slab", "context": 9, "outputs": 5}}),
        (
            partial(graphs.linear, context=9, outputs=5, volume_layout=True, channels=((1, 0), (2, 0))),
            {
                "sampler": {"kind": "slab", "context": 9, "outputs": 5},
                "output": {"uncertainty": {"channel": 1, "kind": "scale"}},
            },
        ),
        (partial(graphs.linear, patch=True), {"sampler": PATCH}),
        (partial(graphs.linear, patch=True, size=(16, 16, 16), batch=2), {"sampler": PATCH}),
        (partial(graphs.linear, size=(64, 32)), {"ops": [{"op": "resize", "size": [64, 32]}]}),
        (
            partial(graphs.linear, size=(64, 32), batch=1),
            {"geometry": {"crop": [None, 64, 32], "pad_to": [None, 64, 32]}},
        ),
        (partial(graphs.linear, dtype=np.float16), {"inputs": [{"dtype": "float16"}]}),
        (steps, {"inputs": [{}, {"name": "timestep", "role": "constant", "value": 0, "shape": [1]}]}),
        (codes, {"inputs": [{}, {"role": "source_code", "order": ["CT", "T1", "T2"]}]}),
        (scans, {"sources": T1_T2, "inputs": [{"modality": "T1"}, {"modality": "T2", "missing": "zeros"}]}),
        (scans, {"inputs": [{}, {"role": "mask"}], "mask": {"use": "optional"}}),
        (
            partial(graphs.linear, context=6),
            {
                "sources": T1_T2,
                "sampler": {"context": 3},
                "inputs": [{"name": "image", "modality": m} for m in ("T1", "T2")],
            },
        ),
        (partial(graphs.conv, context=3), {"sampler": {"context": 3}, "geometry": {"pad_multiple": [1, 24, 24]}}),
    ],
)
def test_a_network_that_is_the_declared_one_has_no_faults_and_runs(
    tmp_path: Path, graph: Callable, overrides: dict
) -> None:
    assert check(write_bundle(tmp_path / "model", graph, **overrides), run=True) == []


def test_a_size_that_nothing_ensures_is_a_warning(tmp_path: Path) -> None:
    faults = check(write_bundle(tmp_path / "model", partial(graphs.linear, size=(64, 32))))
    assert [fault.severity for fault in faults] == ["warning", "warning"]
    assert "nothing makes the tiles that size" in faults[0].what


def test_further_outputs_are_a_warning(tmp_path: Path) -> None:
    (fault,) = check(write_bundle(tmp_path / "model", two_outputs))
    assert (places([fault]), fault.severity) == (["output"], "warning")
    assert "only the first, `one`" in fault.what


@pytest.mark.parametrize(("activation", "labels"), [("softmax", 1), ("sigmoid", 2), ("none", 2)])
def test_labels_and_channels_are_counted(tmp_path: Path, activation: str, labels: int) -> None:
    code = {"scheme": "SCT", "value": "1", "meaning": "x"}
    all_labels = [{"value": n, "name": str(n), "terminology": {"category": code, "type": code}} for n in range(1, 4)]
    two = partial(graphs.linear, channels=((1, 0), (2, 0)))
    segmentation = {"labels": all_labels[:labels], "activation": activation}
    assert check(write_bundle(tmp_path / "right", two, targets={}, segmentation=segmentation), run=True) == []
    segmentation["labels"] = all_labels
    assert places(check(write_bundle(tmp_path / "wrong", two, targets={}, segmentation=segmentation))) == [
        "segmentation.labels"
    ]


def test_labels_that_name_their_channels_need_no_more_than_there_are(tmp_path: Path) -> None:
    code = {"scheme": "SCT", "value": "1", "meaning": "x"}
    one = {"value": 1, "name": "x", "terminology": {"category": code, "type": code}, "channel": 2}
    three = partial(graphs.linear, channels=((1, 0), (2, 0), (3, 0)))
    segmentation = {"labels": [one], "background_channel": 1}
    assert check(write_bundle(tmp_path / "right", three, segmentation=segmentation), run=True) == []
    two = partial(graphs.linear, channels=((1, 0), (2, 0)))
    faults = check(write_bundle(tmp_path / "wrong", two, segmentation={**segmentation, "background_channel": 3}))
    assert places(faults) == ["segmentation.labels[0].channel", "segmentation.background_channel"]
    assert "write 0 to 1" in faults[0].remedy


def test_the_same_fault_of_several_files_is_said_once(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "model", [partial(graphs.identity, context=3)] * 3)
    assert places(check(folder)) == ["sampler.context"]


def test_a_file_that_is_no_onnx_is_a_fault(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "model", lambda path: path.write_bytes(b"not a graph"))
    (fault,) = check(folder)
    assert places([fault]) == ["weights[0]"]


def test_weights_kept_in_another_file_are_a_fault(tmp_path: Path) -> None:
    """No SHA-256 covers that file, so a damaged one would be loaded unseen."""
    folder = write_bundle(tmp_path / "model", partial(graphs.external_data, location="weights.bin"))
    (folder / "models" / "weights.bin").write_bytes(np.array([2], np.float32).tobytes())
    (fault,) = check(folder)
    assert "weights.bin, which no SHA-256 covers" in fault.what


def test_the_network_is_looked_at_although_other_sections_are_wrong(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "model", partial(graphs.identity, context=3), geometry={"crop": 1}, title="")
    assert places(check(folder)) == ["title", "geometry.crop", "sampler.context"]


def test_the_network_is_only_opened_where_inputs_and_sampler_are_right(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "model", partial(graphs.identity, context=3), sampler={"context": 0})
    assert places(check(folder)) == ["sampler.context"]


def test_without_onnxruntime_the_rest_is_checked_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (fault,) = check(write_bundle(tmp_path / "model", partial(graphs.identity, context=3)))
    assert fault.severity == "warning"
    assert "pip install modality-conversion[cpu]" in fault.remedy


# --- TorchScript ------------------------------------------------------------------------------------------------------


def archive(path: Path, code: str, *more: str) -> None:
    with zipfile.ZipFile(path, "w") as opened:
        for member in ("net/data.pkl", "net/constants.pkl", *more):
            opened.writestr(member, "x")
        opened.writestr("net/code/__torch__.py", code)


def test_a_torchscript_archive_is_accepted_without_loading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert check(write_bundle(tmp_path / "model", partial(archive, code="return x"), suffix=".ts")) == []


def test_a_torchscript_archive_that_writes_files_is_refused(tmp_path: Path) -> None:
    (fault,) = check(write_bundle(tmp_path / "model", partial(archive, code="torch.save(x, y)"), suffix=".ts"))
    assert places([fault]) == ["weights[0]"]
    assert "`save`" in fault.what


@pytest.mark.parametrize("content", [b"x", b"", b"\x80\x04K\x01."])
def test_a_checkpoint_or_any_other_file_is_refused_as_torchscript(tmp_path: Path, content: bytes) -> None:
    content = content or b"PK\x03\x04"
    (fault,) = check(write_bundle(tmp_path / "model", lambda path: path.write_bytes(content), suffix=".ts"))
    assert places([fault]) == ["weights[0]"]
    assert "torch.jit.trace" in fault.remedy


def test_a_torchscript_network_is_run_when_asked(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Double(torch.nn.Module):
        def forward(self, image: Any) -> Any:
            return image * 2

    def network(path: Path) -> None:
        torch.jit.trace(Double(), torch.zeros(1, 1, 8, 8)).save(str(path))

    right = write_bundle(tmp_path / "right", network, suffix=".ts", golden={"input": IMAGE, "output": IMAGE * 2})
    assert check(right, run=True) == []
    wrong = write_bundle(tmp_path / "wrong", network, suffix=".ts", output={"channel": 1})
    assert places(check(wrong, run=True)) == ["output.channel"]


# --- one run ----------------------------------------------------------------------------------------------------------

IMAGE = np.random.default_rng(0).random((2, 1, 8, 8), dtype=np.float32)


def golden(folder: Path, graph: Any = graphs.identity, **arrays: np.ndarray) -> list[Fault]:
    return check(write_bundle(folder, graph, golden=arrays), run=True)


def test_a_golden_pair_that_fits_is_no_fault(tmp_path: Path) -> None:
    assert golden(tmp_path / "one", input=IMAGE, output=IMAGE) == []
    assert golden(tmp_path / "two", input_image=IMAGE, output=IMAGE + 5e-5) == []


def test_a_golden_pair_is_only_compared_when_asked(tmp_path: Path) -> None:
    assert check(write_bundle(tmp_path / "one", golden={"input": IMAGE, "output": IMAGE + 1})) == []


def test_an_output_that_differs_is_a_fault_with_its_size(tmp_path: Path) -> None:
    (fault,) = golden(tmp_path / "one", input=IMAGE, output=IMAGE + 0.5)
    assert fault.where == "tests/golden.npz"
    assert "differs from the stored one by up to 0.5" in fault.what


def test_the_golden_output_of_an_ensemble_is_the_mean(tmp_path: Path) -> None:
    double = partial(graphs.linear, channels=((2, 0),))
    assert golden(tmp_path / "one", [graphs.identity, double], input=IMAGE, output=IMAGE * 1.5) == []


def test_a_golden_pair_of_several_inputs_is_named(tmp_path: Path) -> None:
    arrays = {"input_image": IMAGE, "input_timestep": np.array([3], np.float32), "output": IMAGE + 3}
    inputs = [{}, {"name": "timestep", "role": "constant", "value": 0, "shape": [1]}]
    assert check(write_bundle(tmp_path / "one", steps, golden=arrays, inputs=inputs), run=True) == []
    del arrays["input_timestep"]
    (fault,) = check(write_bundle(tmp_path / "two", steps, golden=arrays, inputs=inputs), run=True)
    assert "there is no `input_timestep`" in fault.what


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"input": IMAGE}, "there is no `output`"),
        ({"input": IMAGE, "output": IMAGE[:1]}, "(2, 1, 8, 8), the stored output is (1, 1, 8, 8)"),
        ({"output": IMAGE}, "there is no `input_image`"),
        ({"input": IMAGE[0], "output": IMAGE}, "does not run"),
    ],
)
def test_a_golden_pair_that_is_not_one_is_a_fault(tmp_path: Path, arrays: dict, said: str) -> None:
    (fault,) = golden(tmp_path / "one", **arrays)
    assert said in fault.what


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_a_golden_file_that_cannot_be_read_is_a_fault(tmp_path: Path, content: bytes) -> None:
    folder = write_bundle(tmp_path / "one", golden={})
    (folder / "tests" / "golden.npz").write_bytes(content)
    (fault,) = check(folder, run=True)
    assert fault.where == "tests/golden.npz"


def test_a_golden_file_with_a_single_array_is_a_fault(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "one", golden={})
    with (folder / "tests" / "golden.npz").open("wb") as file:
        np.save(file, IMAGE)
    (fault,) = check(folder, run=True)
    assert "not an archive of named arrays" in fault.what


def test_a_network_whose_output_does_not_fit_the_tile_is_found_by_running(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "model", graphs.half_size)
    assert check(folder) == []
    (fault,) = check(folder, run=True)
    assert places([fault]) == ["weights[0]"]
    assert "does not run" in fault.what


def test_a_network_that_gives_no_numbers_is_found_by_running(tmp_path: Path) -> None:
    def divides_by_zero(path: Path) -> None:
        shape = ("batch", 1, "height", "width")
        nodes = [
            graphs.helper.make_node("Sub", ["image", "image"], ["zero"]),
            graphs.helper.make_node("Div", ["image", "zero"], ["out"]),
        ]
        graphs.save(path, nodes, [graphs.tensor("image", shape)], [graphs.tensor("out", shape)])

    (fault,) = check(write_bundle(tmp_path / "model", divides_by_zero), run=True)
    assert "not finite" in fault.what


def test_a_bundle_with_errors_is_not_run(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "model", graphs.half_size, metadata={"task": LEFT_OUT})
    assert places(check(folder, run=True)) == ["configs/metadata.json: task"]


def test_the_channel_is_checked_on_what_really_comes_out(tmp_path: Path) -> None:
    """Where the graph leaves the number of channels open."""

    def open_channels(path: Path) -> None:
        node = graphs.helper.make_node("Identity", ["image"], ["out"])
        out = graphs.tensor("out", ("batch", "channels", "height", "width"))
        graphs.save(path, [node], [graphs.tensor("image", ("batch", "channels", "height", "width"))], [out])

    folder = write_bundle(tmp_path / "model", open_channels, output={"channel": 1})
    assert check(folder) == []
    assert places(check(folder, run=True)) == ["output.channel"]


# --- the size of the grid ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        ({}, (None, None, None)),
        ({"resize": (5, None, 7)}, (5, None, 7)),
        ({"crop": (328, 256, 328), "resize": {"max": 256}, "pad_to": (256, 256, 256)}, (256, 256, 256)),
        ({"crop": (100, 100, None), "pad_to": (100, 99, 100)}, (100, None, None)),
        ({"resize": (5, 6, 7), "pad_to": (8, 4, None), "pad_multiple": 4}, (8, 8, 8)),
        ({"crop": "foreground", "pad_to": (9, 9, 9)}, (None, None, None)),
        ({"resize": (5, 6, 7), "pad_multiple": (None, 4, 5)}, (5, 8, 10)),
    ],
)
def test_the_grid_size_is_known_where_the_geometry_forces_it(geometry: dict, size: tuple) -> None:
    assert grid_size(Geometry(**geometry)) == size


def test_a_declaration_that_is_null_is_a_fault(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    write_json(folder / "configs" / "conversion.json", None)
    assert places(check(folder)) == ["configs/conversion.json"]
