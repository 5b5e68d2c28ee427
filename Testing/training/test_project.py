"""A configuration file as a whole: its sections, what each verb needs of them, and what a verb says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from packed_heads import write_heads
from small_runs import SMALL
from training import cli
from training.config import ConfigError
from training.project import Project, read_project

SECTIONS = {
    "simulate": ["simulate"],
    "qc": ["data"],
    "train": ["recipe", "train"],
    "evaluate": ["evaluate"],
    "export": ["recipe", "export"],
}


def write(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def small(folder: Path) -> dict[str, Any]:
    """A configuration whose training takes a second."""
    pools = {"heads": {"folder": str(write_heads(folder / "heads", 1))}}
    return {
        "run": str(folder / "run"),
        "recipe": {
            "name": "slab_regression",
            "options": {"pools": pools, "validation": "heads"} | SMALL["slab_regression"],
        },
        "train": {
            "steps": 3,
            "minutes": None,
            "precision": "32-true",
            "accelerator": "cpu",
            "log_steps": 1,
            "stages": [{"until": 1, "mix": {"heads": 1}}],
        },
    }


@pytest.mark.parametrize("verb", sorted(SECTIONS))
def test_a_verb_without_its_section_says_which_one_is_missing(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["training", verb, str(write(tmp_path, {"run": "x"}))])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert all(f"`{section}`" in said for section in SECTIONS[verb])
    assert "Traceback" not in said


def test_an_empty_file_of_sections_is_a_project_and_an_unknown_section_is_none(tmp_path: Path) -> None:
    assert read_project(write(tmp_path, {"run": "x"})) == Project(run=Path("x"))
    with pytest.raises(ConfigError, match="tarin: there is no such option"):
        read_project(write(tmp_path, {"tarin": {}}))


def test_a_fault_in_a_recipes_options_is_found_when_the_file_is_read(tmp_path: Path) -> None:
    content = small(tmp_path)
    content["recipe"]["options"]["network"] = {"context": 4}
    with pytest.raises(ConfigError, match="even number"):
        read_project(write(tmp_path, content))
    content["train"]["steps"] = 0
    content["recipe"]["options"]["network"] = {}
    with pytest.raises(ConfigError, match=r"train\.steps"):
        read_project(write(tmp_path, content))


def test_train_says_where_the_checkpoint_is_and_how_the_epoch_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.console, "width", 300)
    path = write(tmp_path, small(tmp_path))
    result = CliRunner().invoke(cli.app, ["train", str(path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "last.pt").is_file()
    said = result.output + capsys.readouterr().err
    assert "step 3" in said
    assert "choice.html" in said


def test_a_pool_without_cases_ends_in_words_and_exit_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = small(tmp_path)
    content["recipe"]["options"]["pools"]["heads"]["folder"] = str(tmp_path)
    monkeypatch.setattr("sys.argv", ["training", "train", str(write(tmp_path, content))])
    monkeypatch.setattr(cli.console, "width", 300)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert "has no cases in" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "said"), [(20, "< 1 min"), (600, "10 min"), (4000, "1 h 07 min")])
def test_the_time_to_go_is_said_shortly(seconds: float, said: str) -> None:
    assert cli._duration(seconds) == said
