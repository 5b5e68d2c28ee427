"""The command line as tests run it: in this process, or as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from modality_conversion import cli

PACKAGE = str(Path(cli.__file__).parents[2])


class Outcome:
    """How a command ended, and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.lines = out.splitlines()


Runner = Callable[..., Outcome]


def started(*arguments: object, covered: bool = True, **options: object) -> subprocess.Popen:
    """The command line in a process of its own, its standard output and error in pipes, as text.

    Not `covered`: coverage is not measured in it, and so writes no file of its own when it ends.
    """
    environment = {name: value for name, value in os.environ.items() if covered or not name.startswith("COV")}
    return subprocess.Popen(
        [sys.executable, "-m", "modality_conversion.cli", *map(str, arguments)],
        env={**environment, "PYTHONPATH": PACKAGE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def failed(outcome: Outcome, code: int, words: str) -> None:
    """Assert that a command ended with this exit code and one line on standard error, with these words in it."""
    assert outcome.code == code, outcome.err
    assert words in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
