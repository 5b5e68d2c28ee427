"""A batch on the nodes of a Ray cluster.

The real cluster takes a minute to start and is left out unless RAY_TESTS=1 is set. How cases are given out, lost and given
out again is tested with a stand-in for Ray too, whose nodes are threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import PACKAGE, Runner, failed, started
from dicom_series import head
from modality_conversion.batch import cluster as cluster_module
from modality_conversion.batch import node as node_module
from modality_conversion.batch.cluster import TRIES, Cluster, Share, check_address, share_of_node, work_on_cluster
from modality_conversion.batch.node import convert_case
from modality_conversion.batch.store import NAME
from modality_conversion.bundle import Bundle
from modality_conversion.errors import Cancelled, ConversionError
from modality_conversion.image_io import read_image, write_image
from modality_conversion.version import __version__

pytestmark = pytest.mark.usefixtures("own_models_only")
real_cluster = pytest.mark.skipif(os.environ.get("RAY_TESTS") != "1", reason="a real cluster is slow; set RAY_TESTS=1")


# --- what a worker takes ------------------------------------------------------------------------------------------------

CPU_NODE, GPU_NODE = {"CPU": 32.0}, {"CPU": 48.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("device", "asked", "share"),
    [
        ("auto", {}, Share(8, 1.0)),
        ("cuda", {}, Share(8, 1.0)),
        ("cuda:0,cpu", {"cards": 0.5}, Share(6, 0.5)),
        ("cuda", {"cores": 3}, Share(3, 1.0)),
        ("cpu", {}, Share(1, 0.0)),
        ("grpc://gpu:8001,cpu", {}, Share(1, 0.0)),
        ("auto", {"cards": 0.0, "cores": 4}, Share(4, 0.0)),
    ],
)
def test_a_worker_takes_a_card_where_the_device_is_one(device: str, asked: dict, share: Share) -> None:
    assert share_of_node(Cluster("auto", **asked), device, [CPU_NODE, GPU_NODE]) == share


def test_without_cards_auto_takes_cores_and_a_numbered_card_is_refused() -> None:
    assert share_of_node(Cluster("auto"), "auto", [CPU_NODE]) == Share(1, 0.0)
    with pytest.raises(ConversionError, match="Ray gives each worker its card"):
        share_of_node(Cluster("auto"), "cuda:1", [GPU_NODE])
    assert [Share(8, 1.0).fits(node) for node in (CPU_NODE, GPU_NODE, {"GPU": 4.0, "CPU": 20.0}, {})] == [0, 4, 2, 0]


# --- no cluster ---------------------------------------------------------------------------------------------------------


def test_no_cluster_at_the_address_is_said_at_once(tmp_path: Path, run: Runner) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"  # bound, but it does not listen
        before = time.monotonic()
        for form in (address, f"ray://{address}"):
            outcome = run("batch", tmp_path, "--to", "T2", "--out", tmp_path / "out", "--ray", form)
            failed(outcome, 1, f"No Ray cluster answers at {form}")
        assert time.monotonic() - before < 5
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["", "gpu07", "gpu07:", ":6379", "gpu07:99999", "http://x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConversionError, match="no address of a Ray cluster"):
        check_address(Cluster(address))


def test_something_else_at_the_address_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(cluster_module, "_TRY_S", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        cluster = Cluster(f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ConversionError, match="nothing that speaks for Ray answered"):
            work_on_cluster([{}], cluster, "cpu", dict, lambda r, a: None, lambda: False, print)


def test_options_of_a_cluster_need_one(tmp_path: Path, run: Runner) -> None:
    outcome = run("batch", tmp_path, "--to", "T2", "--out", tmp_path / "out", "--gpus-per-worker", "0.5")
    assert outcome.code == 2
    assert "--ray" in outcome.err


# --- a stand-in for Ray -------------------------------------------------------------------------------------------------


class Lost(Exception):
    """As ray.exceptions.RayError: a worker or a node is gone."""


class Raised(Lost):
    """As ray.exceptions.RayTaskError."""

    cause = ImportError("No module named 'modality_conversion'")


class StandIn:
    """The few calls that are used. `behave` says what becomes of the n-th time that a case is given out."""

    exceptions = SimpleNamespace(RayError=Lost, RayTaskError=Raised)

    def __init__(self, behave: Callable[[str, int], Any], nodes: list[dict] | None = None) -> None:
        self.behave, self.times, self.asked = behave, {}, {}  # type: ignore[var-annotated]
        self.resources = nodes or [{"CPU": 1.0}, {"CPU": 1.0}]
        self.cancelled = 0
        self.most = 0
        self._pool, self._lock = ThreadPoolExecutor(8), threading.Lock()

    def nodes(self) -> list[dict]:
        return [{"Alive": True, "Resources": node} for node in self.resources] + [
            {"Alive": False, "Resources": {"CPU": 9}}
        ]

    def remote(self, **options: Any) -> Callable:
        self.asked = options
        return lambda function: SimpleNamespace(remote=self._start)

    def _start(self, request: dict, cores: int) -> Future:
        with self._lock:
            self.times[request["key"]] = self.times.get(request["key"], 0) + 1
            number = self.times[request["key"]]
        return self._pool.submit(self._behave, request["key"], number)

    def _behave(self, key: str, number: int) -> Any:
        result = self.behave(key, number)
        if isinstance(result, Exception):
            raise result
        return result

    def wait(self, references: list[Future], num_returns: int, timeout: float) -> tuple[list, list]:
        self.most = max(self.most, len(references))
        done, others = wait(references, timeout, return_when=FIRST_COMPLETED)
        return list(done), list(others)

    def get(self, reference: Future) -> Any:
        return reference.result()

    def cancel(self, reference: Future, force: bool) -> None:
        self.cancelled += 1


def given_out(
    behave: Callable[[str, int], Any],
    monkeypatch: pytest.MonkeyPatch,
    keys: str = "abcdefgh",
    cancel: Callable[[], bool] = lambda: False,
    cluster: Cluster = Cluster("auto"),  # noqa: B008, it cannot be changed
    nodes: list[dict] | None = None,
) -> tuple[dict[str, Any], dict[str, list[str]], StandIn, list[str]]:
    """What was answered by key, the folders each case got, the stand-in, and what was said."""
    ray, answers, folders, said = StandIn(behave, nodes), {}, {}, []  # type: ignore[var-annotated]
    monkeypatch.setattr(cluster_module, "_connected", lambda cluster: _given(ray))

    def prepare(request: Any) -> dict:
        made = folders.setdefault(request["key"], [])
        made.append(f"{request['key']}-{len(made)}")
        return {**request, "folder": made[-1]}

    def settle(request: Any, answer: Any) -> None:
        assert request["key"] not in answers, "settled twice"
        answers[request["key"]] = answer

    requests = [{"key": key, "id": key} for key in keys]
    work_on_cluster(requests, cluster, "cpu", prepare, settle, cancel, said.append)
    return answers, folders, ray, said


class _given:  # noqa: N801, a context manager used like a function
    def __init__(self, ray: StandIn) -> None:
        self.ray = ray

    def __enter__(self) -> StandIn:
        return self.ray

    def __exit__(self, *exception: object) -> None:
        pass


DONE = {"done": True}


def test_a_lost_worker_costs_only_its_case_in_hand_which_gets_a_new_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {"b": 1, "e": TRIES - 1, "g": TRIES}
    behave: Callable[[str, int], Any] = lambda key, number: Lost() if number <= lost.get(key, 0) else DONE  # noqa: E731
    answers, folders, ray, said = given_out(behave, monkeypatch)
    assert len(said) == sum(min(times, TRIES - 1) for times in lost.values())
    assert set(answers) == set("abcdefgh")
    assert answers.pop("g") == {"error": f"{TRIES} workers were lost over it, the last by: Lost."}
    assert all(answer == DONE for answer in answers.values())
    assert {key: len(made) for key, made in folders.items() if len(made) > 1} == {"b": 2, "e": TRIES, "g": TRIES}
    assert ray.asked == {
        "num_cpus": 1,
        "num_gpus": 0.0,
        "max_retries": 0,
    }  # Ray itself would give the same folder again
    assert ray.most == 4  # twice what two nodes of one core have room for


def test_a_node_that_is_not_fit_is_named_and_its_case_goes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    unfit = {"unfit": "The node gpu07 cannot convert: it does not see /out."}
    answers, _, _, said = given_out(lambda key, number: unfit if (key, number) == ("c", 1) else DONE, monkeypatch)
    assert all(answer == DONE for answer in answers.values())
    assert said == [unfit["unfit"]]
    with pytest.raises(ConversionError, match="gpu07 cannot convert"):
        given_out(lambda key, number: unfit, monkeypatch)


def test_nodes_without_the_engine_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConversionError, match="Install the same version on all of them"):
        given_out(lambda key, number: Raised(), monkeypatch)


def test_what_ray_prints_does_not_get_among_the_lines_that_a_program_reads(capsys: pytest.CaptureFixture) -> None:
    quiet = cluster_module._WithoutRay(sys.stdout)
    with contextlib.redirect_stdout(quiet):
        for name in ("ray_listen_error_messages", "our own"):
            thread = threading.Thread(target=print, args=(name,), name=name)  # as Ray does it
            thread.start()
            thread.join()
    assert capsys.readouterr().out == "our own\n"


def test_what_ray_keeps_back_until_it_leaves_is_not_printed_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    ray = ModuleType("ray")
    ray.init = lambda **options: None  # type: ignore[attr-defined]
    ray.shutdown = lambda: print("(raylet) a node was lost")  # type: ignore[attr-defined]  # noqa: T201
    ray.exceptions = ModuleType("ray.exceptions")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)  # type: ignore[attr-defined]
    monkeypatch.setattr(cluster_module, "_try_out", lambda address: None)
    with cluster_module._connected(Cluster("auto")):
        print("our own")  # noqa: T201
    assert capsys.readouterr().out == "our own\n"


def test_a_cluster_that_is_lost_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: StandIn, *arguments: Any, **options: Any) -> Any:
        raise Lost

    monkeypatch.setattr(StandIn, "wait", lost)
    with pytest.raises(ConversionError, match=r"was lost .* the same command goes on where it was"):
        given_out(lambda key, number: DONE, monkeypatch)


def test_cancelling_ends_what_is_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    answers, _, ray, _ = given_out(lambda key, number: ended.wait(5) and DONE, monkeypatch, cancel=lambda: True)
    ended.set()
    assert answers == {}
    assert ray.cancelled == 4


def test_a_cluster_without_room_is_waited_for_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_NODE_WAIT_S", 0.5)
    cluster = Cluster("auto", cores=16)
    with pytest.raises(ConversionError, match="No node of auto has 16 CPU"):
        given_out(lambda key, number: DONE, monkeypatch, cluster=cluster)
    with pytest.raises(Cancelled):
        given_out(lambda key, number: DONE, monkeypatch, cluster=cluster, cancel=lambda: True)
    answers, _, ray, said = given_out(lambda key, number: DONE, monkeypatch, cluster=Cluster("auto", workers=1))
    assert (len(answers), ray.most, said) == (8, 1, [])


# --- on the node --------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two convolutions in earnest, so that a case takes a while."""
    return write_bundle(
        tmp_path / "models" / "brain",
        lambda path: graphs.conv(path, features=16, layers=3),
        sampler={"kind": "slice", "axes": [0], "batch": 4},
    )


def asked(tmp_path: Path, bundle: Path, **changes: object) -> dict[str, Any]:
    (tmp_path / "folder").mkdir(exist_ok=True)
    write_image(head(), tmp_path / "a_T1w.nii.gz")
    fields = {
        "key": "key",
        "id": "a",
        "source": str(tmp_path / "a_T1w.nii.gz"),
        "series": None,
        "modality": "T1",
        "further": [],
        "target": "T2",
        "model": "brain",
        "model_sha256": Bundle.load(bundle).hash,
        "models_dirs": [],
        "device": "cpu",
        "force": False,
        "mask": None,
        "out": "a.nii.gz",
        "sidecar": {},
        "fingerprint": "f",
        "folder": str(tmp_path / "folder"),
        "engine_version": __version__,
    }
    return {**fields, **changes}


@pytest.fixture
def own_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a node does to its process, undone."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    monkeypatch.setattr(os, "environ", dict(os.environ))
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_a_node_converts_a_case_and_says_what_is_wrong_with_it(tmp_path: Path, model: Path, own_threads: None) -> None:
    assert convert_case(asked(tmp_path, model), 1) == {"done": True}
    assert (tmp_path / "folder" / "manifest.json").exists()
    assert os.environ["OMP_NUM_THREADS"] == os.environ["MODALITY_CONVERSION_THREADS"] == "1"
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 1
    broken = convert_case(asked(tmp_path, model, source=str(tmp_path / "none.nii.gz")), 1)
    assert "none.nii.gz" in broken["error"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine_version": "0.0.1"}, "Install the same on all"),
        ({"folder": "/nowhere/at/all"}, "does not see /nowhere/at/all"),
        ({"model_sha256": "00"}, "its model brain is another one"),
        ({"model": "none"}, "none"),
        ({"device": "cuda"}, "onnxruntime"),
        ({"device": "grpc://127.0.0.1:1"}, "127.0.0.1:1"),
    ],
)
def test_a_node_that_lacks_something_says_what(
    tmp_path: Path, model: Path, changes: dict, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "_PENALTY_S", 0.0)
    answer = convert_case(asked(tmp_path, model, **changes), 1)
    assert words in answer["unfit"]
    assert socket.gethostname() in answer["unfit"]
    assert not any((tmp_path / "folder").iterdir())


# --- a real cluster -----------------------------------------------------------------------------------------------------


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that computes nothing, and two nodes of one core each, all on this machine."""
    utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("PYTHONPATH", PACKAGE)
    small = {"object_store_memory": 80 << 20}
    made = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    made.workers = [made.add_node(num_cpus=1, **small) for _ in range(2)]
    yield made
    made.shutdown()


@real_cluster
def test_a_node_killed_half_way_loses_doubles_and_halves_nothing(tmp_path: Path, model: Path, two_nodes: Any) -> None:
    cases = int(os.environ.get("RAY_CASES", "30"))
    root, out = tmp_path / "in", tmp_path / "out"
    for number in range(cases):
        write_image(head() + number, root.mkdir(exist_ok=True) or root / f"{number:02}_T1w.nii.gz")
    process = started("batch", root, "--to", "T2", "--out", out, "--ray", two_nodes.address, "--progress", "json")
    assert process.stdout is not None
    told = [json.loads(process.stdout.readline())]
    while told[-1].get("done", 0) < cases // 2:
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
        told.append(json.loads(line))
    seen = {path: path.stat().st_ino for path in out.rglob("*_synthetic-T2.nii.gz")}
    two_nodes.remove_node(two_nodes.workers[1], allow_graceful=False)
    text, said = process.communicate(timeout=500)
    assert process.returncode == 0, said
    result = [json.loads(line) for line in text.splitlines()][-1]["result"]  # nothing of Ray's between our lines
    assert (result["done"], result["failed"]) == (cases, [])
    made = sorted(out.rglob("*_synthetic-T2.nii.gz"))
    assert len(made) == cases
    assert all(path.stat().st_ino == mark for path, mark in seen.items())
    local = tmp_path / "local"
    again = started("batch", root, "--to", "T2", "--out", local, "--workers", 1, "--progress", "none")
    assert again.wait(timeout=500) == 0
    for path in made:
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(read_image(path)), sitk.GetArrayFromImage(read_image(local / path.name))
        )
    assert {path.name for path in (out / NAME).iterdir()} == {"lock", "ready", "done", "failed"}
    assert len(list((out / NAME / "done").iterdir())) == cases
    assert not any((out / NAME / "ready").iterdir())

    # Ctrl-C ends a run, and the next one goes on where it was.
    (out / made[0].name).unlink()
    (root / made[1].name.replace("_synthetic-T2", "")).touch()
    process = started("batch", root, "--to", "T2", "--out", out, "--ray", two_nodes.address, "--progress", "json")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode in (130, 0)
    process = started("batch", root, "--to", "T2", "--out", out, "--ray", "auto", "--progress", "json")
    text, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert json.loads(text.splitlines()[-1])["result"]["kept"] >= cases - 2
