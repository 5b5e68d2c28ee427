"""Configuration files: typed, checked, and refused in words; the command line that reads them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from typer.testing import CliRunner

import training
from training import cli
from training.config import ConfigError, Settings, check, read_yaml
from training.project import read_project
from training.recipes import RECIPES

SHIPPED = [
    path for path in sorted((Path(training.__file__).parent / "configs").rglob("*.yaml")) if path.stem != "split"
]


class Small(Settings):
    count: int = 1
    """Some number."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODALITY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MODALITY_WORK", str(tmp_path / "work"))


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"small\.yaml cannot be used:\n  cuont: there is no such option"):
        check(Small, {"cuont": 2}, "small.yaml")


def test_every_fault_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check(Small, {"cuont": 2, "count": "many"}, "small.yaml")
    assert "cuont" in str(caught.value)
    assert "count: Input should be a valid integer" in str(caught.value)


def test_the_environment_is_filled_in_and_a_missing_variable_named(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("a: ${MODALITY_DATA}/x\nb: ${NOT_SET_ANYWHERE:-runs}/y\n", encoding="utf-8")
    assert read_yaml(path) == {"a": f"{tmp_path / 'data'}/x", "b": "runs/y"}
    path.write_text("a: ${NOT_SET_ANYWHERE}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE is not set"):
        read_yaml(path)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"some\.yaml"):
        read_yaml(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid_and_names_no_path_of_one_machine(path: Path) -> None:
    project = read_project(path)
    assert project.train is not None
    assert project.train.stages[-1].until == 1
    assert project.recipe is not None
    pools = project.recipe.options["pools"]
    assert all(set(stage.mix) <= set(pools) for stage in project.train.stages)
    assert project.recipe.options["validation"] not in project.train.stages[-1].mix
    text = path.read_text(encoding="utf-8")
    assert "/work" not in text
    assert "/home" not in text


def test_an_unknown_recipe_and_an_unknown_recipe_option_are_refused(tmp_path: Path) -> None:
    text = next(path for path in SHIPPED if path.stem == "t1_to_t2").read_text(encoding="utf-8")
    path = tmp_path / "some.yaml"
    path.write_text(text.replace("name: slab_regression", "name: alchemy"), encoding="utf-8")
    with pytest.raises(
        ConfigError,
        match=f"no recipe 'alchemy'; there are: {', '.join(sorted(RECIPES))}",
    ):
        read_project(path)
    path.write_text(text.replace("validation: held_out", "validatoin: held_out"), encoding="utf-8")
    with pytest.raises(ConfigError, match="validatoin: there is no such option"):
        read_project(path)


def test_every_option_is_documented() -> None:
    for path in Path(training.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            bases = [getattr(base, "id", "") for base in node.bases] if isinstance(node, ast.ClassDef) else []
            if not (isinstance(node, ast.ClassDef) and any(base.endswith(("Settings", "Source")) for base in bases)):
                continue
            body = node.body
            for field, following in zip(body, [*body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign) and "split" not in path.stem:
                    documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                    assert documented, f"{path.name}: {node.name}.{ast.unparse(field.target)}"


def test_a_wrong_configuration_ends_in_one_line_and_exit_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["training", "train", str(tmp_path / "missing.yaml")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1


def test_the_verbs_are_listed() -> None:
    result = CliRunner().invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    assert all(verb in result.output for verb in ("simulate", "qc", "train", "evaluate", "export"))
