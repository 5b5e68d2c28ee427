"""A network that runs on a server: the repository for it, the same result, and every way in which a server can fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import Runner, failed
from modality_conversion import devices
from modality_conversion.backends import remote
from modality_conversion.backends.address import Address, served_version
from modality_conversion.bundle import Bundle
from modality_conversion.convert import Conversion, convert
from modality_conversion.errors import ConversionError
from modality_conversion.image_io import write_image
from modality_conversion.phantom import head_phantom
from modality_conversion.triton import Service, write_repository

pytest.importorskip("served", reason="the extra `remote` is not installed", exc_type=ImportError)

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from served import Served

SLAB = {"kind": "slab", "axes": [0], "context": 5, "outputs": 3, "overlap": 0.34, "batch": 4}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "repository").mkdir()
    return tmp_path / "models"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts a server for models, written into a repository first."""
    running: list[Served] = []

    def start(*bundles: Bundle, **options: object) -> Served:
        for bundle in bundles:
            write_repository(bundle, tmp_path / "repository", Service(**options))  # type: ignore[arg-type]
        running.append(Served(tmp_path / "repository"))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def slab(folder: Path, seed: int = 0, **fields: object) -> Bundle:
    """A small network in earnest."""

    def graph(path: Path) -> Path:
        return graphs.conv(path, context=5, outputs=3, features=8, layers=2, seed=seed)

    return Bundle.load(write_bundle(folder, graph, sampler=SLAB, **fields))


def scan() -> sitk.Image:
    return head_phantom((20, 24, 18), spacing=8)


def made(bundle: Bundle, device: str) -> Conversion:
    return convert({"T1": scan()}, bundle, target="T2", device=device)


def difference(one: Conversion, other: Conversion) -> float:
    """Relative to the range of values."""
    first, second = sitk.GetArrayFromImage(one.image), sitk.GetArrayFromImage(other.image)
    return float(np.abs(first - second).max() / np.ptp(second))


# --- addresses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "server", "name", "is_secure"),
    [
        ("grpc://gpu.hospital.org:8001", "grpc://gpu.hospital.org:8001", None, False),
        ("grpcs://gpu", "grpcs://gpu:8001", None, True),
        (" grpc://10.0.0.7:9/brain ", "grpc://10.0.0.7:9", "brain", False),
        ("grpc://[::1]:8001/", "grpc://[::1]:8001", None, False),
    ],
)
def test_an_address_says_where_and_how(text: str, server: str, name: str | None, is_secure: bool) -> None:
    address = Address.parse(text)
    assert (address.server, address.name, address.is_secure) == (server, name, is_secure)


@pytest.mark.parametrize(
    "text", ["http://gpu:8000", "grpc://", "grpc://gpu:x", "grpc://gpu:99999", "grpc://me:secret@gpu", "grpc://gpu/a/b"]
)
def test_what_is_no_address_is_refused_before_anything_is_sent(text: str) -> None:
    with pytest.raises(ConversionError, match="no address of a server"):
        devices.names(text)


def test_a_list_of_devices_is_checked_as_a_whole() -> None:
    assert devices.names("grpc://Gpu:8001, CPU") == ("grpc://Gpu:8001", "cpu")
    for text in ("grpc://gpu:8001,", "grpc://gpu:8001,tpu", ",cpu"):
        with pytest.raises(ConversionError, match="no device"):
            devices.names(text)


# --- the repository -----------------------------------------------------------------------------------------------------


def parsed(folder: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_a_repository_is_what_triton_reads(models: Path, tmp_path: Path) -> None:
    bundle = slab(models / "two-planes", title='A "quoted" title, Zürich\\x')
    (folder,) = write_repository(bundle, tmp_path / "repository")
    config, sha256 = parsed(folder), bundle.spec.weights[0].sha256
    assert (config.name, config.backend, config.max_batch_size) == ("two-planes", "onnxruntime", 16)
    assert [(t.name, list(t.dims)) for t in config.input] == [("image", [5, -1, -1])]
    assert [(t.name, list(t.dims)) for t in config.output] == [("converted", [3, -1, -1])]
    assert config.input[0].data_type == model_config_pb2.TYPE_FP32
    assert config.HasField("dynamic_batching")
    assert config.parameters["sha256"].string_value == sha256
    assert config.parameters["model_version"].string_value == "1.0.0"
    assert list(config.version_policy.specific.versions) == [int(sha256[:12], 16)]
    network = folder / str(int(sha256[:12], 16)) / "model.onnx"
    assert network.read_bytes() == bundle.weight_paths[0].read_bytes()
    assert {path.name for path in (tmp_path / "repository").iterdir()} == {"two-planes"}


def test_a_text_of_any_kind_stays_what_it_is(models: Path, tmp_path: Path) -> None:
    bundle = slab(models / "odd", license='LicenseRef-"Zürich"\\n')
    (folder,) = write_repository(bundle, tmp_path / "repository")
    assert parsed(folder).parameters["license"].string_value == 'LicenseRef-"Zürich"\\n'


def test_requests_are_joined_only_where_the_graph_allows_it(models: Path, tmp_path: Path) -> None:
    fixed = write_bundle(models / "fixed", lambda path: graphs.fixed_batch(path, 3))
    (folder,) = write_repository(Bundle.load(fixed), tmp_path / "repository")
    assert parsed(folder).max_batch_size == 0
    assert not parsed(folder).HasField("dynamic_batching")
    assert list(parsed(folder).input[0].dims)[:2] == [3, 1]


def test_an_older_version_is_replaced_whole_and_what_is_not_ours_stays(
    models: Path, tmp_path: Path, run: Runner
) -> None:
    repository = tmp_path / "repository"
    slab(models / "brain")
    assert run("models", "triton", models / "brain", "--out", repository).code == 0
    first = {path.name for path in (repository / "brain").iterdir()}
    shutil.rmtree(models / "brain")
    slab(models / "brain", seed=1)
    assert run("models", "triton", models / "brain", "--out", repository, "--max-batch", 7).code == 0
    assert parsed(repository / "brain").max_batch_size == 7
    assert len({path.name for path in (repository / "brain").iterdir()} - first) == 1
    assert len(list((repository / "brain").iterdir())) == 2
    (repository / "brain" / "config.pbtxt").write_text('name: "brain"')
    failed(run("models", "triton", models / "brain", "--out", repository), 1, "not written by this command")
    assert (repository / "brain" / "config.pbtxt").read_text() == 'name: "brain"'
    failed(run("models", "triton", models / "brain", "--out", tmp_path / "none"), 1, "is no folder")
    assert run("models", "triton", models / "brain", "--out", repository, "--name", "a/b").code == 2


def test_weights_that_are_not_what_is_declared_are_not_written(models: Path, tmp_path: Path) -> None:
    bundle = slab(models / "brain")
    bundle.weight_paths[0].write_bytes(bundle.weight_paths[0].read_bytes()[:-1] + b"!")
    with pytest.raises(ConversionError, match="damaged or was replaced"):
        write_repository(bundle, tmp_path / "repository")
    assert not any((tmp_path / "repository").iterdir())


# --- the same result ----------------------------------------------------------------------------------------------------


def test_a_served_network_gives_the_local_result(models: Path, serve: Callable[..., Served]) -> None:
    bundle = slab(models / "brain")
    server = serve(bundle, largest_batch=2)  # smaller than the model's own batch of 4
    there, here = made(bundle, server.device), made(bundle, "cpu")
    assert difference(there, here) < 1e-5
    assert there.report["device"] == server.device
    assert there.report["warnings"] == here.report["warnings"]
    assert server.service.models["brain"].largest == 2
    assert server.service.models["brain"].count >= there.report["tiles"]


def test_ensembles_codes_and_constants_are_served(models: Path, serve: Callable[..., Served]) -> None:
    pair = [lambda path: graphs.linear(path, channels=((2.0, 0.0),)), lambda path: graphs.linear(path)]
    ensemble = Bundle.load(write_bundle(models / "pair", pair))
    others = {"code": ("batch", 3), "step": (1,)}
    declared = [
        {"name": "image", "role": "image"},
        {"name": "code", "role": "target_code", "order": ["T1", "T2", "CT"]},
        {"name": "step", "role": "constant", "value": 0.25, "shape": [1]},
    ]
    coded = Bundle.load(
        write_bundle(models / "coded", lambda path: graphs.with_inputs(path, others, context=1), inputs=declared)
    )
    server = serve(ensemble, coded)
    for bundle in (ensemble, coded):
        assert difference(made(bundle, server.device), made(bundle, "cpu")) < 1e-5
    assert set(server.service.models) == {"pair-0", "pair-1", "coded"}


def test_a_model_can_have_another_name_on_the_server(models: Path, serve: Callable[..., Served]) -> None:
    bundle = slab(models / "brain")
    server = serve(bundle, name="brain-trial")
    assert difference(made(bundle, f"{server.device}/brain-trial"), made(bundle, "cpu")) < 1e-5
    with pytest.raises(ConversionError, match="has not got this version of the model brain ready"):
        made(bundle, server.device)


# --- servers that fail --------------------------------------------------------------------------------------------------


def test_another_version_is_refused_even_where_a_fallback_is_named(models: Path, serve: Callable[..., Served]) -> None:
    server = serve(slab(models / "elsewhere" / "brain", seed=1, version="2.1.0"))
    bundle = slab(models / "brain")
    for device in (server.device, f"{server.device},cpu"):
        with pytest.raises(ConversionError, match=r"another version of brain .* version 2\.1\.0") as refused:
            made(bundle, device)
        assert "models triton" in str(refused.value)
    assert server.service.asked == 0


def test_a_model_exchanged_between_two_tiles_is_never_mixed_in(models: Path, serve: Callable[..., Served]) -> None:
    bundle = slab(models / "brain")
    server = serve(bundle)

    def exchange(number: int) -> None:
        server.service.models["brain"].versions = [str(served_version("ff" * 32))]

    server.service.before = exchange
    with pytest.raises(ConversionError, match="not got this version"):
        made(bundle, server.device)
    assert server.service.asked == 1


@pytest.mark.parametrize("fallback", [False, True])
def test_a_network_cut_in_the_middle_is_said_or_goes_on_here(
    models: Path, serve: Callable[..., Served], fallback: bool
) -> None:
    bundle = slab(models / "brain")
    server = serve(bundle)
    server.service.before = lambda number: server.stop() if number == 2 else None
    if not fallback:
        with pytest.raises(ConversionError, match="does not answer any more"):
            made(bundle, server.device)
        return
    result, here = made(bundle, f"{server.device},cpu"), made(bundle, "cpu")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result.image), sitk.GetArrayFromImage(here.image))
    assert result.report["device"] == "cpu"
    assert any(
        "does not answer any more" in note and "cpu was used instead" in note for note in result.report["warnings"]
    )
    assert server.service.asked >= 2


def test_a_server_that_hangs_is_given_up(
    models: Path, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = slab(models / "brain")
    server = serve(bundle)
    server.service.before = lambda number: time.sleep(3)
    monkeypatch.setenv(remote.TIMEOUT, "0.5")
    started = time.monotonic()
    with pytest.raises(ConversionError, match="does not answer any more"):
        made(bundle, server.device)
    assert time.monotonic() - started < 3
    monkeypatch.setenv(remote.TIMEOUT, "soon")
    with pytest.raises(ConversionError, match="no number of seconds"):
        made(bundle, server.device)


def test_no_server_is_said_or_goes_on_here(models: Path, serve: Callable[..., Served], tmp_path: Path) -> None:
    bundle = slab(models / "brain")
    server = serve()
    server.stop()
    with pytest.raises(ConversionError, match="cannot be reached"):
        made(bundle, server.device)
    result = made(bundle, f"{server.device},cpu")
    assert result.report["device"] == "cpu"
    assert any("cannot be reached" in note for note in result.report["warnings"])


def test_a_server_that_does_not_say_which_weights_it_has_is_refused(models: Path, serve: Callable[..., Served]) -> None:
    bundle = slab(models / "brain")
    server = serve(bundle)
    del server.service.models["brain"].config.parameters["sha256"]
    with pytest.raises(ConversionError, match="does not say which weights"):
        made(bundle, server.device)
    server.service.speaks_config = False
    with pytest.raises(ConversionError, match="without the model configuration"):
        made(bundle, server.device)


def test_a_full_server_gets_less_at_a_time_and_the_cpu_is_only_used_where_it_was_named(
    models: Path, serve: Callable[..., Served]
) -> None:
    bundle = slab(models / "brain")
    server = serve(bundle)

    def full(number: int) -> None:
        if number == 1:
            raise MemoryError

    server.service.before = full
    result = made(bundle, server.device)
    assert result.report["batch"] == 2
    assert difference(result, made(bundle, "cpu")) < 1e-5

    def always_full(number: int) -> None:
        raise MemoryError

    server.service.before = always_full
    with pytest.raises(ConversionError, match="ran out of memory"):
        made(bundle, server.device)
    assert made(bundle, f"{server.device},cpu").report["device"] == "cpu"


def test_a_torchscript_model_is_not_sent_to_a_server() -> None:
    with pytest.raises(ConversionError, match="ONNX models only"):
        devices.resolve("grpc://127.0.0.1:1", "torchscript")


def test_without_the_client_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tritonclient", None)
    monkeypatch.setitem(__import__("sys").modules, "tritonclient.grpc", None)
    with pytest.raises(ConversionError, match=r"modality-conversion\[remote\]|Install it again"):
        devices.resolve("grpc://127.0.0.1:1", "onnx")


# --- encrypted ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate for this machine, signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not on this machine")
    key, own = tmp_path / "key.pem", tmp_path / "own.pem"
    words = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-keyout", str(key), "-out", str(own), "-days", "1", "-subj", "/CN=test"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    return key, own


def test_an_encrypted_server_is_trusted_only_with_its_certificate(
    models: Path, tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import grpc

    key, own = certificate
    bundle = slab(models / "brain")
    write_repository(bundle, tmp_path / "repository")
    server = Served(tmp_path / "repository", grpc.ssl_server_credentials([(key.read_bytes(), own.read_bytes())]))
    encrypted = server.device.replace("grpc:", "grpcs:")
    try:
        for device in (encrypted, server.device):
            with pytest.raises(ConversionError, match="cannot be reached"):
                made(bundle, device)
        monkeypatch.setenv(remote.CA, str(own))
        assert difference(made(bundle, encrypted), made(bundle, "cpu")) < 1e-5
        monkeypatch.setenv(remote.CA, str(tmp_path / "none.pem"))
        with pytest.raises(ConversionError, match="is no file"):
            made(bundle, encrypted)
    finally:
        server.stop()


# --- the command line ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("own_models_only")
def test_a_failed_run_writes_nothing_and_a_measurement_shows_what_the_way_costs(
    models: Path, tmp_path: Path, serve: Callable[..., Served], run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = slab(models / "brain")
    server = serve(bundle)
    path, out = tmp_path / "case_T1w.nii.gz", tmp_path / "out.nii.gz"
    write_image(scan(), path)
    monkeypatch.setenv(devices.SERVER, server.device)
    assert f"{server.device} served model" in run("devices").out
    outcome = run("bench", "--device", server.device, "--size", "64x64x64", "--repeats", 1, "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["server_compute_s"] > 0
    assert told["server_overhead_s"] > 0
    assert told["local_difference"] < 1e-5 * 1000
    server.service.before = lambda number: server.stop()
    arguments = ("convert", path, "--to", "T2", "--out", out, "--progress", "none", "--device")
    failed(run(*arguments, server.device), 1, "does not answer any more")
    assert not list(tmp_path.glob("out*"))
    assert run(*arguments, f"{server.device},cpu").code == 0
    assert json.loads((tmp_path / "out.json").read_text())["device"] == "cpu"
