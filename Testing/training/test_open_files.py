"""Many packed cases on a system that lets a process open few files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import modality_conversion
import training
from modality_conversion.modality import Modality
from packed_heads import write_heads
from training.data.cases import opened_cases
from training.data.directions import AnyDirection
from training.data.pools import Pools, PoolSettings
from training.open_files import ENOUGH, allow_many_files

SCRIPT = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from training.data.cases import opened_cases
if sys.argv[2] == "raised":
    from training.open_files import allow_many_files
    allow_many_files()
print(len(opened_cases(Path(sys.argv[1]))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("limit", ["raised", "as it was"])
def test_more_cases_than_files_may_be_open_by_default(tmp_path: Path, limit: str) -> None:
    write_heads(tmp_path, 5)  # nine files each
    paths = [Path(training.__file__).parents[1], Path(modality_conversion.__file__).parents[1]]
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), limit]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    if limit == "raised":
        assert done.stdout == "5\n", done.stderr
    else:
        assert "Too many open files" in done.stderr


@pytest.mark.parametrize(
    ("limits", "allowed", "ends"),
    [
        ((1024, 4096), 1 << 20, [4096]),
        ((1024, -1), 1 << 20, [ENOUGH]),
        ((256, -1), 10240, [10240]),  # macOS names no limit and refuses more
        ((1 << 17, 1 << 20), 1 << 20, []),
        ((-1, -1), 1 << 20, []),
        ((256, -1), 0, []),
    ],
)
def test_the_limit_is_raised_as_far_as_the_system_lets_it(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], allowed: int, ends: list[int]
) -> None:
    made: list[int] = []

    def set_limit(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > allowed:
            raise ValueError("not allowed")
        made.append(wanted[0])

    system = SimpleNamespace(RLIMIT_NOFILE=7, RLIM_INFINITY=-1, getrlimit=lambda _: limits, setrlimit=set_limit)
    monkeypatch.setitem(sys.modules, "resource", system)  # type: ignore[arg-type]
    allow_many_files()
    assert made == ends


def test_a_system_without_limits_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    allow_many_files()


def test_a_case_is_opened_once_for_all_directions_and_anew_when_it_changed(tmp_path: Path) -> None:
    write_heads(tmp_path, 2)
    wanted = AnyDirection((Modality.T1, Modality.T2), (Modality.T1, Modality.T2), {}, 1)
    pools = {"some": PoolSettings(folder=tmp_path)}
    first, second = (Pools(pools, {"some": 1.0}, wanted).cases["some"] for _ in range(2))
    assert all(one is other for one, other in zip(first, second, strict=True))
    write_heads(tmp_path, 2, seed=5)
    anew = opened_cases(tmp_path)
    assert not any(one is other for one, other in zip(first, anew, strict=True))
    assert (anew[0].sources[Modality.T1] != first[0].sources[Modality.T1]).any()
