"""A batch spread over the nodes of a Ray cluster, which decides where each case is converted.

The nodes only make files in the cases' private folders. Everything else, which case is next, which result counts, what is
put in place, stays with the process that was started: Ray brings it the answers. So a node that is lost, or thought to
be lost and still at work, takes nothing along but its cases in hand, which get a new folder elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from ..backends.address import is_server
from ..backends.failures import one_line
from ..errors import Cancelled, ConversionError
from .workers import Answer, Request

TRIES = 4
_CONNECT_S = 10.0
_TRY_S = 60.0
_NODE_WAIT_S = 600.0
_LOOK_AGAIN_S = 5.0
_CORES_WITH_A_CARD = 8


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what one worker takes of it."""

    address: str
    """`auto`, `HOST:6379` or `ray://HOST:10001`; always one that runs already."""
    cores: int | None = None
    """Cores of one worker; None: 1, with a card its share of the node's, 8 at most."""
    cards: float | None = None
    """Graphics cards of one worker, also a part of one; None: 1 where `device` asks for one."""
    workers: int | None = None
    """Most cases at a time; None: as many as there is room for."""


@dataclass(frozen=True)
class Share:
    """What a worker takes of its node."""

    cores: int
    cards: float

    def __str__(self) -> str:
        cards = f" and {self.cards:g} GPU" if self.cards else ""
        return f"{self.cores} CPU{cards}"

    def fits(self, node: Mapping[str, float]) -> int:
        """How many such workers a node has room for."""
        by_cores = int(node.get("CPU", 0) // self.cores)
        return by_cores if not self.cards else min(by_cores, int(node.get("GPU", 0) // self.cards))


def check_address(cluster: Cluster) -> None:
    """Raise ConversionError where nothing listens: Ray itself would wait for minutes, and then end the process."""
    if cluster.address == "auto":
        return
    plain = cluster.address.removeprefix("ray://")
    host, _, port = plain.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConversionError(
            f"{cluster.address!r} is no address of a Ray cluster. Write auto on one of its nodes, HOST:6379, "
            "or ray://HOST:10001."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise ConversionError(
            f"No Ray cluster answers at {cluster.address}: {error.strerror or error}. Start one with `ray start --head`, "
            "or correct the address."
        ) from None


def work_on_cluster(
    requests: Iterable[Request],
    cluster: Cluster,
    device: str,
    prepare: Callable[[Request], Request],
    settle: Callable[[Request, Answer], None],
    cancel: Callable[[], bool],
    note: Callable[[str], None],
) -> None:
    """Have all requests answered by the nodes of a cluster; see `workers.work`.

    A case whose worker or node is lost is tried again, with a new folder. Raises ConversionError where there is no cluster,
    where it is lost, or where a case met only nodes that can convert none.
    """
    with _connected(cluster) as ray:
        try:
            _Crew(ray, cluster, device, prepare, settle, cancel, note).work(list(requests))
        except ray.exceptions.RayError as error:
            raise ConversionError(
                f"The cluster at {cluster.address} was lost ({_kind(error)}). What is done is kept; the same command goes on "
                "where it was."
            ) from None


class _Crew:
    """The cases in hand, and the room there is for more."""

    def __init__(
        self,
        ray: Any,
        cluster: Cluster,
        device: str,
        prepare: Callable[[Request], Request],
        settle: Callable[[Request, Answer], None],
        cancel: Callable[[], bool],
        note: Callable[[str], None],
    ) -> None:
        self._ray, self._cluster = ray, cluster
        self._prepare, self._settle, self._cancel, self._note = prepare, settle, cancel, note
        self._in_hand: dict[Any, tuple[Request, int]] = {}
        self._share = share_of_node(cluster, device, self._nodes())
        from .node import convert_case

        options = {"num_cpus": self._share.cores, "num_gpus": self._share.cards, "max_retries": 0}
        self._convert = ray.remote(**options)(convert_case)

    def work(self, requests: list[Request]) -> None:
        """Until all are settled, or `cancel` says so."""
        waiting = [(request, 1) for request in requests][::-1]
        room, looked = self._room(), time.monotonic()
        try:
            while waiting or self._in_hand:
                while waiting and len(self._in_hand) < room:
                    request, tried = waiting.pop()
                    reference = self._convert.remote(dict(self._prepare(request)), self._share.cores)
                    self._in_hand[reference] = (request, tried)
                done, _ = self._ray.wait(list(self._in_hand), num_returns=1, timeout=0.5)
                for reference in done:
                    request, tried = self._in_hand.pop(reference)
                    if not self._take(reference, request, tried):
                        waiting.append((request, tried + 1))
                if self._cancel():
                    return
                if time.monotonic() - looked > _LOOK_AGAIN_S:
                    room, looked = self._room(), time.monotonic()
        finally:
            for reference in self._in_hand:
                with contextlib.suppress(Exception):
                    self._ray.cancel(reference, force=True)

    def _take(self, reference: Any, request: Request, tried: int) -> bool:
        """Settle a case that has ended; False where it is to be tried again."""
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # nothing of ours raises, so it is the node's Python
            raise ConversionError(
                f"The nodes of {self._cluster.address} cannot run modality-conversion: {one_line(error.cause or error)} "
                "Install the same version on all of them, with the same Python."
            ) from None
        except self._ray.exceptions.RayError as error:
            if tried < TRIES:
                self._note(f"The worker of {request['id']} was lost ({_kind(error)}); it is tried again.")
                return False
            self._settle(request, {"error": f"{TRIES} workers were lost over it, the last by: {_kind(error)}."})
            return True
        if "unfit" not in answer:
            self._settle(request, answer)
            return True
        if tried >= TRIES:
            raise ConversionError(f"{answer['unfit']} What is done is kept; the same command goes on where it was.")
        self._note(answer["unfit"])
        return False

    def _nodes(self) -> list[dict[str, float]]:
        """The resources of every node that is alive."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _room(self) -> int:
        """How many cases may be in hand: twice what there is room for, so that none waits and a cluster that can grow does.

        Waits where no node is large enough. Raises ConversionError where none comes.
        """
        started, told = time.monotonic(), False
        while not (slots := sum(self._share.fits(node) for node in self._nodes())):
            if self._cancel():
                raise Cancelled
            if time.monotonic() - started > _NODE_WAIT_S:
                raise ConversionError(
                    f"No node of {self._cluster.address} has {self._share}, which a worker takes. Add such a node, or ask "
                    "for less with --cpus-per-worker, --gpus-per-worker or --device cpu."
                )
            if not told:
                self._note(f"No node has {self._share} yet. Waiting for one, {_NODE_WAIT_S / 60:.0f} minutes at most.")
                told = True
            time.sleep(1)
        return min(self._cluster.workers or 2 * slots, 2 * slots)


def share_of_node(cluster: Cluster, device: str, nodes: list[dict[str, float]]) -> Share:
    """What one worker takes. Raises ConversionError where `device` names a card, which is Ray's to choose."""
    first = device.split(",")[0].strip().lower()
    most_cards = max((node.get("GPU", 0) for node in nodes), default=0)
    if first.startswith("cuda:") and first != "cuda:0":
        raise ConversionError(f"On a cluster, Ray gives each worker its card. Write --device cuda instead of {first}.")
    wants_card = first.startswith("cuda") or (first == "auto" and most_cards > 0)
    cards = (1.0 if wants_card and not is_server(first) else 0.0) if cluster.cards is None else cluster.cards
    if cluster.cores is not None:
        return Share(cluster.cores, cards)
    if not cards:
        return Share(1, 0.0)
    shares = [node.get("CPU", 0) / (node["GPU"] / cards) for node in nodes if node.get("GPU", 0) >= cards]
    return Share(max(1, min(_CORES_WITH_A_CARD, math.floor(min(shares, default=1)))), cards)


@contextlib.contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    """Ray, connected. Raises ConversionError."""
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConversionError(
            f"Ray cannot be imported, and --ray needs it: pip install modality-conversion[ray]. {one_line(error)}"
        ) from None
    _try_out(cluster.address)
    handlers = _handlers()
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise _no_cluster(cluster.address, one_line(error)) from None
    finally:
        for number, handler in handlers.items():  # Ray puts its own in place, which would end this process
            signal.signal(number, handler)
    with contextlib.redirect_stdout(_WithoutRay(sys.stdout)):
        try:
            yield ray
        finally:
            # On leaving, Ray prints in this thread what it has kept back.
            with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
                ray.shutdown()


class _WithoutRay(io.TextIOBase):
    """Standard output as it is, but for what Ray's own threads print of lost nodes: a program may be reading it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray_"):
            return len(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()


def _try_out(address: str) -> None:
    """Connect once in a process of its own: where something else listens, Ray waits for minutes and then ends its process."""
    words = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR'); ray.shutdown()"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", words, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TRY_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _no_cluster(address, f"nothing that speaks for Ray answered within {_TRY_S:.0f} s.") from None
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise _no_cluster(address, one_line(Exception(last.partition("Error: ")[2] or last)))


def _no_cluster(address: str, words: str) -> ConversionError:
    return ConversionError(
        f"No Ray cluster can be used at {address}: {words} Start one with `ray start --head`, and use one version of Ray "
        "and of Python throughout."
    )


def _handlers() -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _kind(error: Exception) -> str:
    """Ray's own words have paths and logs of the node in them, many lines of it."""
    return type(error).__name__
