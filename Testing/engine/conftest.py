"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from command import Outcome, Runner
from modality_conversion import catalog, cli


@pytest.fixture
def own_models_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models come from `tmp_path / "models"`: neither those of whoever runs the tests nor the bundled ones matter."""
    monkeypatch.setattr(catalog, "bundled_models_dir", lambda: tmp_path / "bundled")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("MODALITY_CONVERSION_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def run(capfd: pytest.CaptureFixture) -> Iterator[Runner]:
    """Runs the command line in this process."""

    def go(*arguments: object) -> Outcome:
        code = cli.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return go
