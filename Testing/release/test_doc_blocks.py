"""Every block of code in the documentation runs, or says why it does not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
import typer.main

import readers_folder
from doc_blocks import CODE, DATA, PAGES, PLAIN, ROOT, all_blocks, blocks, commands, reasons
from modality_conversion import cli
from modality_conversion.cli.app import app

EVERY = all_blocks()


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_every_block_says_its_language():
    assert [str(block) for block in EVERY if block.language not in (*CODE, *DATA, *PLAIN)] == []


def test_no_block_of_code_is_passed_over_without_a_reason():
    """Those without a reason are run below; those that no test here can run have one, in words."""
    silent = [block for block in EVERY if block.language == "powershell" and not block.reason]
    assert [str(block) for block in silent] == []
    assert [str(block) for block in EVERY if block.reason is not None and len(block.reason.split()) < 2] == []


def test_a_reason_stands_right_above_a_block_of_code():
    for page in PAGES:
        assert reasons(page) == sum(block.reason is not None and block.language in CODE for block in blocks(page)), page


def test_plain_text_hides_no_command():
    """What begins with the program's name and is no synopsis could have been run."""
    for block in EVERY:
        for line in block.text.splitlines() if block.language in PLAIN else ():
            assert not line.startswith(("python ", "pip ", "make ")), block
            assert not line.startswith("modality-conversion ") or re.search(r"[\[|]|[A-Z]{3}", line), block


def runnable(page: Path) -> bool:
    return any(block.language in ("bash", "python") and not block.reason for block in blocks(page))


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name_of)
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """One after the other in one folder, as somebody who reads the page would; commands in this process, to save time."""
    pytest.importorskip("pydicom")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("MODALITY_CONVERSION_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("MODALITY_CONVERSION_THREADS", "1")
    readers_folder.models(tmp_path / "models")
    folder = tmp_path / "reader"
    folder.mkdir()
    readers_folder.fill(folder)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.reason or block.language not in ("bash", "python"):
            continue
        if block.language == "python":
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
            continue
        for words in commands(block.text):
            assert words[0] == "modality-conversion", f"{block}: no test runs {words[0]}. Say above the block why not."
            code = cli.run(words[1:])
            assert code == 0, f"{block}: {' '.join(words)}\n{capfd.readouterr().err}"


def synopses() -> dict[str, set[str]]:
    """The options of each command, as the synopses of the pages name them."""
    found: dict[str, set[str]] = {}
    for block in EVERY:
        if block.page.name != "command-line.md" or block.language not in PLAIN:
            continue
        for entry in re.split(r"^modality-conversion ", block.text, flags=re.MULTILINE)[1:]:
            words = entry.split()
            name = " ".join(words[: 2 if words[0] == "models" else 1])
            found.setdefault(name, set()).update(re.findall(r"(?<![\w-])--[a-z0-9-]+", entry))
    return found


def declared() -> dict[str, set[str]]:
    """The options of each command, as the program has them."""
    top = typer.main.get_command(app)
    assert isinstance(top, click.Group) or hasattr(top, "commands")
    found = {}
    for name, command in top.commands.items():
        inner = {f"{name} {one}": sub for one, sub in command.commands.items()} if name == "models" else {name: command}
        for one, sub in inner.items():
            options = {opt for param in sub.params for opt in param.opts if opt.startswith("--")}
            found[one] = options - {"--help"}
    return found


def test_the_page_of_the_command_line_names_every_command_and_option_and_no_other():
    written, real = synopses(), declared()
    without = {name for name, options in real.items() if not options}
    assert set(written) | without == set(real)
    assert {name: real[name] - written[name] for name in written if real[name] - written[name]} == {}
    assert {name: written[name] - real[name] for name in written if written[name] - real[name]} == {}


YAML = [block for block in EVERY if block.language == "yaml" and "training" in block.page.parts]


@pytest.mark.parametrize("block", YAML, ids=str)
def test_a_configuration_of_a_training_is_one_that_the_training_takes(block, tmp_path, monkeypatch):
    """An excerpt may leave something out; what it names must exist and be of the right kind."""
    for library in ("torch", "monai", "lightning_fabric", "yaml"):
        pytest.importorskip(library)
    from pydantic import ValidationError

    from training.config import read_yaml
    from training.project import Project

    monkeypatch.setenv("MODALITY_DATA", str(tmp_path))
    path = tmp_path / "config.yaml"
    path.write_text(block.text, encoding="utf-8")
    wrong, project = [], None
    try:
        project = Project.model_validate(read_yaml(path))
    except ValidationError as error:
        wrong = [fault for fault in error.errors() if fault["type"] != "missing"]
    assert wrong == []
    if project is not None and project.recipe is not None:
        project.make_recipe()


def test_the_examples_in_json_are_json():
    for block in EVERY:
        if block.language == "json":
            json.loads(block.text)
