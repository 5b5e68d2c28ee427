"""The TorchScript backend: what it runs, and that an archive is data: nothing in it may touch a file."""

from __future__ import annotations

import builtins
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modality_conversion.backends import processor
from modality_conversion.backends.archive import check_archive
from modality_conversion.errors import ConversionError, OutOfMemory

torch = pytest.importorskip("torch")
from modality_conversion.backends import torchscript  # noqa: E402
from modality_conversion.backends.torchscript import TorchScriptBackend  # noqa: E402


class Scaled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, image: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        return image * self.factor + code.sum()


class Convolutions(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [torch.nn.Conv2d(5, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU()]
        self.layers = torch.nn.Sequential(*layers, torch.nn.Conv2d(32, 1, 3, padding=1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


class Several(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        return {"first": (image.half() * 2, image), "second": (image, image)}


class Failing(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.reshape(7)


class Saving(torch.nn.Module):
    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        torch.save(image, self.place)
        return image


class Reading(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8) + image


def scripted(path: Path, network: Any) -> Path:
    torch.jit.script(network.eval()).save(str(path))
    return path


def rewritten(path: Path, change: Any) -> Path:
    """The archive with every member's bytes passed through `change(name, data)`; None leaves a member out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            new = change(name, data)
            if new is not None:
                archive.writestr(name, new)
    return path


# --- running ----------------------------------------------------------------------------------------------------------


def test_a_network_is_run_by_the_names_of_its_inputs(tmp_path: Path) -> None:
    backend = TorchScriptBackend(scripted(tmp_path / "m.ts", Scaled()), "cpu")
    assert [tensor.name for tensor in backend.inputs] == ["image", "code"]
    assert (backend.inputs[0].shape, backend.fixed_batch, backend.device) == (None, None, "cpu")
    image = np.ones((2, 1, 3, 3), np.float32)
    output = backend.run({"code": np.full((1,), 3, np.float32), "image": image})
    np.testing.assert_array_equal(output, image * 5)


def test_the_first_of_several_outputs_is_taken_as_float32(tmp_path: Path) -> None:
    backend = TorchScriptBackend(scripted(tmp_path / "m.ts", Several()), "cpu")
    output = backend.run({"image": np.ones((1, 1, 3, 3), np.float32)})
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, 2)


def test_the_same_bytes_come_out_for_any_batch_size_and_at_every_run(tmp_path: Path) -> None:
    backend = TorchScriptBackend(scripted(tmp_path / "m.ts", Convolutions()), "cpu")
    tiles = np.random.default_rng(0).normal(size=(8, 5, 96, 112)).astype(np.float32)
    single = np.concatenate([backend.run({"image": tile[None]}) for tile in tiles])
    for batch in (2, 3, 8, 1):
        output = np.concatenate([backend.run({"image": tiles[i : i + batch]}) for i in range(0, 8, batch)])
        assert output.tobytes() == single.tobytes()


def test_the_environment_sets_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv(processor.ENVIRONMENT, "1")
    TorchScriptBackend(scripted(tmp_path / "m.ts", Scaled()), "cpu")
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


# --- failing ----------------------------------------------------------------------------------------------------------


def test_a_network_that_fails_is_one_line_with_the_cause(tmp_path: Path) -> None:
    backend = TorchScriptBackend(scripted(tmp_path / "m.ts", Failing()), "cpu")
    with pytest.raises(ConversionError, match=r"m\.ts failed on cpu: .*shape '\[7\]' is invalid") as caught:
        backend.run({"image": np.ones((1, 1, 3, 3), np.float32)})
    assert "\n" not in str(caught.value)


def test_a_missing_feed_is_one_line(tmp_path: Path) -> None:
    backend = TorchScriptBackend(scripted(tmp_path / "m.ts", Scaled()), "cpu")
    with pytest.raises(ConversionError, match="code"):
        backend.run({"image": np.ones((1, 1, 3, 3), np.float32)})


def test_out_of_memory_is_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TorchScriptBackend(scripted(tmp_path / "m.ts", Scaled()), "cpu")

    def fail(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(backend, "_network", fail)
    with pytest.raises(OutOfMemory):
        backend.run({"image": np.ones((1, 1, 3, 3), np.float32), "code": np.ones(1, np.float32)})


@pytest.mark.parametrize(
    ("device", "reason"), [("dml:0", "run on cpu and cuda"), ("cuda:0", "no CUDA|finds"), ("cuda:99", "no CUDA|finds")]
)
def test_a_device_that_torch_lacks_is_refused(tmp_path: Path, device: str, reason: str) -> None:
    if device == "cuda:0" and torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(ConversionError, match=reason):
        TorchScriptBackend(scripted(tmp_path / "m.ts", Scaled()), device)


def test_a_card_number_is_checked_against_the_cards_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert torchscript.fault("cuda:0") is None
    assert "finds 1 NVIDIA card" in str(torchscript.fault("cuda:1"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            r"pip install modality-conversion\[torchscript\]",
        ),
        (ImportError("libtorch_cpu.so: undefined symbol"), "cannot be imported: libtorch_cpu.so"),
    ],
)
def test_a_missing_torch_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: ImportError, expected: str
) -> None:
    path = scripted(tmp_path / "m.ts", Scaled())
    real = builtins.__import__

    def guarded(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "torch":
            raise error
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", guarded)
    with pytest.raises(ConversionError, match=expected):
        TorchScriptBackend(path, "cpu")


# --- an archive is data -----------------------------------------------------------------------------------------------


def test_an_ordinary_network_scripted_or_traced_is_accepted(tmp_path: Path) -> None:
    check_archive(scripted(tmp_path / "a.ts", Convolutions()))
    torch.jit.trace(Convolutions().eval(), torch.zeros(1, 5, 8, 8)).save(str(tmp_path / "b.ts"))
    check_archive(tmp_path / "b.ts")


def test_torchscript_itself_would_write_a_file_so_such_a_network_is_refused(tmp_path: Path) -> None:
    path, written = scripted(tmp_path / "m.ts", Saving(str(tmp_path / "written"))), tmp_path / "written"
    with pytest.raises(ConversionError, match="`save`"):
        TorchScriptBackend(path, "cpu")
    assert not written.exists()
    torch.jit.load(str(path))(torch.zeros(1))  # the reason for the check; when this stops writing, so may the check
    assert written.exists()


def test_a_network_that_reads_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="`from_file`"):
        check_archive(scripted(tmp_path / "m.ts", Reading()))


@pytest.mark.parametrize(
    "code",
    [
        "x = getattr(torch, '\\x73ave')",
        'x = getattr(torch, "save")',
        "ops.evil.run(x)",
        "ops.aten.save(x)",
        "_c = __torch__.torch.classes.dist.Store()",
    ],
)
def test_code_that_could_leave_arithmetic_is_refused(tmp_path: Path, code: str) -> None:
    def add(name: str, data: bytes) -> bytes:
        return data + code.encode() if name.endswith(".py") else data

    with pytest.raises(ConversionError, match="can do more than arithmetic"):
        check_archive(rewritten(scripted(tmp_path / "m.ts", Scaled()), add))


def test_a_foreign_class_in_the_data_is_refused(tmp_path: Path) -> None:
    def add(name: str, data: bytes) -> bytes:
        return data + b"c__torch__.torch.classes.dist\nStore\n" if name.endswith("/data.pkl") else data

    with pytest.raises(ConversionError, match=r"torch\.classes\.dist"):
        check_archive(rewritten(scripted(tmp_path / "m.ts", Scaled()), add))


def test_the_archive_format_of_torch_1_0_is_refused(tmp_path: Path) -> None:
    path = scripted(tmp_path / "m.ts", Scaled())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/model.json", "{}")
    with pytest.raises(ConversionError, match=r"torch 1\.0"):
        check_archive(path)


@pytest.mark.parametrize("kind", ["network", "state dict", "pickle", "text"])
def test_a_pickle_is_refused_and_never_loaded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.ts"
    if kind == "network":
        torch.save(Scaled(), path)
    elif kind == "state dict":
        torch.save(Scaled().state_dict(), path)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    else:
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ConversionError, match=r"m\.ts is no TorchScript archive.*export to ONNX"):
        TorchScriptBackend(path, "cpu")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_means_different_things_to_different_readers_is_refused(tmp_path: Path) -> None:
    path = scripted(tmp_path / "m.ts", Scaled())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.namelist()[0], b"another")
    with pytest.raises(ConversionError, match="no TorchScript archive"):
        check_archive(path)
    hidden = tmp_path / "hidden.ts"
    hidden.write_bytes(b"PTMF----" + scripted(tmp_path / "n.ts", Scaled()).read_bytes())
    with pytest.raises(ConversionError, match="no TorchScript archive"):
        check_archive(hidden)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_archive_is_refused(tmp_path: Path, kept: float) -> None:
    path = scripted(tmp_path / "m.ts", Convolutions())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ConversionError, match="is damaged"):
        check_archive(path)


def test_an_archive_without_its_weights_is_one_line(tmp_path: Path) -> None:
    path = rewritten(scripted(tmp_path / "m.ts", Scaled()), lambda name, data: None if "/data/" in name else data)
    with pytest.raises(ConversionError, match="failed on cpu") as caught:
        TorchScriptBackend(path, "cpu")
    assert "\n" not in str(caught.value)


def test_a_missing_archive_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="cannot be read"):
        check_archive(tmp_path / "none.ts")
