"""One run at a time in an output folder, also where several machines see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from modality_conversion.batch import lock as lock_module
from modality_conversion.batch.lock import OWNER, OutputLock, Owner
from modality_conversion.batch.store import Store
from modality_conversion.errors import Cancelled, ConversionError

BEAT, LIMIT = 0.1, 1.0


@pytest.fixture
def no_system_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on shared file systems that have none."""
    monkeypatch.setattr(lock_module, "_lock", lambda handle: None)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Callable[..., Owner]]:
    """Puts in place what a run on another machine leaves; it goes on touching it if it is `alive`."""
    ended = threading.Event()

    def put(alive: bool, age: float = 0.0, **fields: object) -> Owner:
        owner = replace(Owner.this(), **{"host": "gpu07", "boot": "another", "pid": 4711, "user": "ada", **fields})
        path = tmp_path / OWNER
        path.write_text(json.dumps(asdict(owner)))
        then = time.time() - age
        os.utime(path, (then, then))

        def beat() -> None:
            while not ended.wait(BEAT):
                os.utime(path)

        if alive:
            threading.Thread(target=beat, daemon=True).start()
        return owner

    yield put
    ended.set()


def lock(folder: Path) -> OutputLock:
    return OutputLock(folder, folder / "out", BEAT, LIMIT)


def held_by(folder: Path) -> str:
    return json.loads((folder / OWNER).read_text())["token"]


def test_a_run_on_another_machine_keeps_its_folder_and_is_named(
    tmp_path: Path, elsewhere: Callable[..., Owner], no_system_locks: None
) -> None:
    owner = elsewhere(alive=True)
    with pytest.raises(ConversionError, match="process 4711 of ada on gpu07"), lock(tmp_path).held():
        pass
    assert held_by(tmp_path) == owner.token


def test_a_slow_clock_of_the_other_machine_does_not_matter(
    tmp_path: Path, elsewhere: Callable[..., Owner], no_system_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(alive=True)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)  # ours is an hour ahead of the file system's
    with pytest.raises(ConversionError, match="gpu07"), lock(tmp_path).held():
        pass


def test_a_folder_whose_machine_is_gone_is_taken_over_after_a_while(
    tmp_path: Path, elsewhere: Callable[..., Owner], no_system_locks: None
) -> None:
    owner = elsewhere(alive=False)
    started = time.monotonic()
    with lock(tmp_path).held():
        assert LIMIT * 0.8 < time.monotonic() - started < LIMIT * 5
        assert held_by(tmp_path) != owner.token
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}


def test_what_a_killed_run_left_on_this_machine_is_taken_at_once(
    tmp_path: Path, elsewhere: Callable[..., Owner]
) -> None:
    here = Owner.this()
    elsewhere(alive=False, host=here.host, boot=here.boot)
    started = time.monotonic()
    with lock(tmp_path).held():
        assert time.monotonic() - started < LIMIT / 2


def test_another_machine_of_the_same_name_is_not_this_one(tmp_path: Path, elsewhere: Callable[..., Owner]) -> None:
    elsewhere(alive=True, host=Owner.this().host)
    with pytest.raises(ConversionError, match="Another batch"), lock(tmp_path).held():
        pass


def test_waiting_can_be_cancelled(tmp_path: Path, elsewhere: Callable[..., Owner], no_system_locks: None) -> None:
    elsewhere(alive=False)
    with pytest.raises(Cancelled), lock(tmp_path).held(lambda: True):
        pass


@pytest.mark.parametrize("words", ["", '{"token": 1}'])
def test_an_owner_that_cannot_be_read_is_taken_over_too(tmp_path: Path, no_system_locks: None, words: str) -> None:
    (tmp_path / OWNER).write_text(words)
    with lock(tmp_path).held():
        assert held_by(tmp_path)


def test_a_run_that_slept_too_long_puts_nothing_more_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "_lock", lambda handle: None)
    store = Store(tmp_path)

    def work() -> None:
        with store.locked():
            folder = store.workplace("case")
            (folder / "volume").write_text("late")
            (folder / "manifest.json").write_text(json.dumps({"moves": [["volume", "volume"]], "record": {}}))
            (store.root / OWNER).write_text(json.dumps(asdict(replace(Owner.this(), host="gpu07", user="ada"))))
            store.commit("case", folder)

    with pytest.raises(ConversionError, match=r"was taken over by process .* of ada on gpu07"):
        work()
    assert not (tmp_path / "volume").exists()
    assert (store.root / OWNER).exists()  # the other's


def test_of_many_that_want_a_folder_left_behind_only_one_may_write(
    tmp_path: Path, elsewhere: Callable[..., Owner], no_system_locks: None
) -> None:
    elsewhere(alive=False, age=LIMIT * 10)
    writing, most, turns, refused = [0], [0], [0], [0]
    guard = threading.Lock()

    def contend() -> None:
        mine = lock(tmp_path)
        try:
            with mine.held():
                time.sleep(0.02)
                mine.check()
                with guard:
                    writing[0] += 1
                    turns[0] += 1
                    most[0] = max(most[0], writing[0])
                time.sleep(0.05)
                with guard:
                    writing[0] -= 1
        except ConversionError:
            with guard:
                refused[0] += 1

    contenders = [threading.Thread(target=contend) for _ in range(12)]
    for one in contenders:
        one.start()
    for one in contenders:
        one.join()
    assert most[0] == 1
    assert turns[0] >= 1
    assert turns[0] + refused[0] == 12


def test_two_users_of_one_folder_without_system_locks(tmp_path: Path, no_system_locks: None) -> None:
    """The other is a process of its own."""
    here = str(Path(lock_module.__file__).parents[2])
    words = (
        f"import sys, time; sys.path.insert(0, {here!r})\n"
        "from pathlib import Path\nfrom modality_conversion.batch.lock import OutputLock\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"with OutputLock(folder, folder, {BEAT}, {LIMIT}).held():\n    print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "held"
        with pytest.raises(ConversionError, match=f"process {other.pid} of"), lock(tmp_path).held():
            pass
    finally:
        other.kill()
        other.wait()
    with lock(tmp_path).held():  # after a while
        assert held_by(tmp_path)
