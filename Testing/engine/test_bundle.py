"""Reading a model folder: what is in it, and that wrong weights are caught before anything loads them."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bundles import LEFT_OUT, edit_spec, identity, write_bundle, write_json
from modality_conversion.bundle import Bundle, Summary, summary
from modality_conversion.errors import ConversionError, InvalidBundle
from modality_conversion.modality import Modality


def test_a_right_folder_gives_its_declaration_metadata_and_card(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "copy", card="# Card\n"))
    assert bundle.spec.id == "copy"
    assert bundle.metadata["task"] == "Conversion of T1 to T2"
    assert bundle.card == "# Card\n"
    assert bundle.weight_paths == (tmp_path / "copy" / "models" / "model.onnx",)
    bundle.verify_weights()


def test_a_bundle_cannot_be_changed(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "copy"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        bundle.path = tmp_path  # type: ignore[misc]


def test_a_relative_folder_gives_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    assert Bundle.load("copy").path == tmp_path / "copy"


def test_only_the_required_fields_mean_the_stated_defaults(tmp_path: Path) -> None:
    spec = Bundle.load(write_bundle(tmp_path / "copy")).spec
    assert spec.geometry.axcodes is None
    assert spec.geometry.spacing is None
    assert spec.mask.use == "none"
    assert spec.ops == ()
    assert [entry.role for entry in spec.inputs] == ["image"]
    assert (spec.sampler.kind, spec.sampler.axes, spec.fusion, spec.output.channel) == ("slice", (0,), "mean", 0)


def test_a_missing_card_is_an_empty_one(tmp_path: Path) -> None:
    assert Bundle.load(write_bundle(tmp_path / "copy", card=None)).card == ""


def test_a_declaration_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    path = folder / "configs" / "conversion.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Bundle.load(folder).spec.id == "copy"
    assert summary(folder).fault is None


def test_a_wrong_folder_is_refused_in_one_line_with_every_fault(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bad", license=LEFT_OUT, colour="red", metadata={"task": LEFT_OUT})
    with pytest.raises(InvalidBundle) as caught:
        Bundle.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert "3 faults" in message
    assert "modality-conversion models check" in message
    assert len(caught.value.faults) == 3


def test_a_warning_does_not_refuse_a_folder(tmp_path: Path) -> None:
    assert Bundle.load(write_bundle(tmp_path / "other-name", id="copy")).spec.id == "copy"


def test_weights_that_are_missing_are_found_on_reading(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    (folder / "models" / "model.onnx").unlink()
    with pytest.raises(InvalidBundle, match=r"models/model\.onnx is missing"):
        Bundle.load(folder)


def test_truncated_weights_are_found_by_their_size(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "copy"))
    (path,) = bundle.weight_paths
    size = path.stat().st_size
    os.truncate(path, size - 1)
    with pytest.raises(
        ConversionError, match=rf"models/model\.onnx.*incomplete: {size - 1} bytes instead of {size}.*Copy"
    ):
        bundle.verify_weights()
    with pytest.raises(InvalidBundle, match="incomplete"):
        Bundle.load(bundle.path)


def test_longer_weights_are_found_by_their_size(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "copy"))
    with bundle.weight_paths[0].open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConversionError, match=r"not the declared one: .* bytes instead of"):
        bundle.verify_weights()


def test_damaged_weights_of_the_right_size_are_found_by_their_hash(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "copy"))
    (path,) = bundle.weight_paths
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConversionError, match="damaged or was replaced"):
        bundle.verify_weights()


def test_weights_that_went_away_are_named(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "copy", [identity, identity]))
    bundle.weight_paths[1].unlink()
    with pytest.raises(ConversionError, match=r"models/model-1\.onnx of copy cannot be read"):
        bundle.verify_weights()


def test_the_hash_is_that_of_the_content_not_of_the_bytes(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    before = Bundle.load(folder).hash
    path = folder / "configs" / "conversion.json"
    fields = json.loads(path.read_text())
    path.write_bytes(json.dumps(dict(reversed(fields.items()))).replace(": ", ":\r\n").encode())
    assert Bundle.load(folder).hash == before
    assert len(before) == 64


@pytest.mark.parametrize("change", [{"title": "Another"}, {"fusion": "median"}, {"ops": [{"op": "exp"}]}])
def test_the_hash_changes_with_the_declaration(tmp_path: Path, change: dict) -> None:
    one = Bundle.load(write_bundle(tmp_path / "one" / "copy"))
    other = Bundle.load(write_bundle(tmp_path / "other" / "copy", **change))
    assert one.hash != other.hash


def test_the_hash_changes_with_the_weights(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "copy"))
    edit_spec(bundle.path, lambda fields: fields["weights"][0].update(sha256="1" * 64))
    assert Bundle.load(bundle.path).hash != bundle.hash


def test_nothing_in_a_bundle_is_executed(tmp_path: Path) -> None:
    """Code in every place where some loader would run it: none of it leaves its mark."""
    mark = tmp_path / "mark"
    folder = write_bundle(tmp_path / "evil")

    class Exploit:
        def __reduce__(self) -> tuple:
            return Path.write_text, (mark, "run")

    for name in ("__init__.py", "configs/inference.py", "scripts/__init__.py", "models/hubconf.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"open({str(mark)!r}, 'w')")
    (folder / "tests").mkdir()
    np.savez(folder / "tests" / "golden.npz", input=np.array([Exploit()], dtype=object))
    (folder / "configs" / "inference.json").write_text('{"_target_": "os.system"}')
    (folder / "models" / "model.pt").write_bytes(pickle.dumps(Exploit()))
    from modality_conversion.check import check

    faults = check(folder, run=True)
    assert [fault.where for fault in faults] == ["tests/golden.npz"]  # refused: it holds objects
    Bundle.load(folder).verify_weights()
    assert not mark.exists()


# --- at a glance, for Slicer ------------------------------------------------------------------------------------------


def test_a_summary_says_what_a_list_shows(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy", sources=[{"modality": "T1"}, {"modality": "T2"}, {"modality": "T1"}])
    assert summary(folder) == Summary(
        id="copy",
        title="T1 to T2, for tests",
        version="1.0.0",
        sources=(Modality.T1, Modality.T2),
        targets=(Modality.T2,),
        segments=False,
        license="CC0-1.0",
        path=folder,
        fault=None,
    )


def test_a_summary_says_that_a_model_segments(tmp_path: Path) -> None:
    assert summary(write_bundle(tmp_path / "seg", targets={}, segmentation={"labels": []})).segments


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "does not hold an object"),
        ("[" * 100_000, "cannot be read"),
        ('{"id": "x", "title": "x", "version": "x", "license": "x"}', "`sources`"),
        ('{"id": "x", "title": "x", "version": "x", "license": "x", "sources": []}', "`targets`"),
        (
            '{"id": "x", "title": "x", "version": "x", "license": "x", "sources": [{"modality": "T9"}], "targets": {}}',
            "T9",
        ),
        ('{"id": 3}', "`id`"),
        ('{"id": "x", "title": "x", "version": "x", "license": "x", "sources": [], "targets": {}}', "`weights`"),
        (
            '{"id": "x", "title": "x", "version": "x", "license": "x", "sources": [], "targets": {}, "weights": [{}]}',
            "missing",
        ),
    ],
)
def test_a_summary_never_fails_but_says_why(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "conversion.json").write_text(content)
    found = summary(tmp_path)
    assert found.fault is not None
    assert reason in found.fault
    assert "\n" not in found.fault


def test_a_summary_of_nothing_says_so(tmp_path: Path) -> None:
    found = summary(tmp_path / "none")
    assert (found.id, found.sources) == ("none", ())
    assert "No such file" in str(found.fault)


def test_a_summary_sees_a_size_that_is_not_the_declared_one(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    os.truncate(folder / "models" / "model.onnx", 3)
    assert "declared size" in str(summary(folder).fault)


def test_a_summary_of_a_huge_file_does_not_read_it_whole(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    with (folder / "configs" / "conversion.json").open("r+b") as file:
        file.truncate(1 << 33)  # sparse
    assert "larger than" in str(summary(folder).fault)


def test_a_summary_says_which_scans_are_read_side_by_side(tmp_path: Path) -> None:
    inputs = [{"name": "x", "role": "image", "modality": name, "missing": "zeros"} for name in ("T1", "FLAIR")]
    sources = [{"modality": "T1"}, {"modality": "FLAIR"}]
    both = summary(write_bundle(tmp_path / "both", sources=sources, inputs=inputs))
    assert (both.joint, both.needs) == ((Modality.T1, Modality.FLAIR), ())
    assert summary(write_bundle(tmp_path / "named", inputs=inputs[:1])).joint == ()
    assert summary(write_bundle(tmp_path / "plain")).joint == ()


def test_listing_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """As in a Slicer where nothing was installed yet: pydantic and platformdirs cannot be imported."""
    write_bundle(tmp_path / "models" / "copy")
    (tmp_path / "models" / "broken" / "configs").mkdir(parents=True)
    program = """
import sys, types
for name in ("pydantic", "platformdirs", "onnxruntime", "torch", "typer", "rich"):
    sys.modules[name] = None
package = types.ModuleType("modality_conversion")  # without __init__, which offers convert as well
package.__path__ = [sys.argv[2]]
sys.modules["modality_conversion"] = package
from modality_conversion.catalog import Catalog
print([(s.id, s.fault is None) for s in Catalog([sys.argv[1]]).summaries() if sys.argv[1] in str(s.path)])
"""
    engine = Path(sys.modules["modality_conversion"].__file__ or "").parent
    arguments = [sys.executable, "-c", program, str(tmp_path / "models"), str(engine)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[('broken', False), ('copy', True)]", done.stderr


def test_helpers_write_the_same_bundle_elsewhere(tmp_path: Path) -> None:
    """A bundle is a folder and nothing else: a copy of it is the same model."""
    folder = write_bundle(tmp_path / "copy")
    shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    assert Bundle.load(tmp_path / "elsewhere" / "copy").hash == Bundle.load(folder).hash


def test_metadata_that_is_no_object_refuses_the_folder(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "copy")
    write_json(folder / "configs" / "metadata.json", [])
    with pytest.raises(InvalidBundle, match="not an object"):
        Bundle.load(folder)
