"""Many packed cases on a system that lets a process open few files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import modality_conversion
import training
from modality_conversion.modality import Modality
from packed_heads import write_heads
from training.data.cases import opened_cases
from training.data.directions import AnyDirection
from training.data.pools import Pools, PoolSettings

resource = pytest.importorskip("resource")

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


def test_a_case_is_opened_once_for_all_directions_and_anew_when_it_changed(tmp_path: Path) -> None:
    write_heads(tmp_path, 2)
    wanted = AnyDirection((Modality.T1, Modality.T2), (Modality.T1, Modality.T2), {}, 1)
    pools = {"some": PoolSettings(folder=tmp_path)}
    first, second = (Pools(pools, {"some": 1.0}, wanted).cases["some"] for _ in range(2))
    assert all(one is other for one, other in zip(first, second, strict=True))
    write_heads(tmp_path, 3)
    assert len(opened_cases(tmp_path)) == 3
