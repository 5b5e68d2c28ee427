"""The software under the conversion: one question, one installation, Slicer's own packages left alone."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path
from typing import ClassVar

import pytest
import slicer

from modality_conversion.errors import ConversionError
from ModalityConversionLib import dependencies, settings

real_version = importlib.metadata.version


class Pip:
    """What is installed, in a make-believe Slicer."""

    def __init__(self) -> None:
        self.there = {"numpy": "2.4.0", "SimpleITK": "2.5.0", "platformdirs": "4.1", "rich": "13.7"}
        self.calls: list[list[str]] = []
        self.fails = False
        self.constraints = ""

    def version(self, name: str) -> str:
        if name not in self.there:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.there[name]

    def install(self, requirements, constraints=None, **options) -> None:
        words = list(requirements)
        if constraints is None and "--constraint" in words:
            constraints = words[words.index("--constraint") + 1]
        self.constraints = Path(constraints).read_text(encoding="utf-8")
        self.calls.append(words)
        if self.fails:
            raise subprocess.CalledProcessError(1, "pip")
        for word in words:
            if word.startswith("-") or "/" in word:
                continue
            name = word.split(">=")[0].split("[")[0]
            self.there[name] = word.partition(">=")[2] or "1.99"

    def uninstall(self, names, **options) -> None:
        self.calls.append(["uninstall", names])
        for name in names.split():
            self.there.pop(name, None)


@pytest.fixture
def pip(scene, monkeypatch):
    pip = Pip()
    monkeypatch.setattr(dependencies.importlib.metadata, "version", pip.version)
    monkeypatch.setattr(dependencies, "_all_packages", lambda: set(pip.there))
    monkeypatch.setattr(slicer.util, "pip_install", pip.install)
    monkeypatch.setattr(slicer.util, "pip_uninstall", pip.uninstall)
    monkeypatch.setattr(slicer, "packaging", None, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "slicer.packaging", None)
    return pip


def test_what_is_missing_is_what_is_absent_or_too_old(pip):
    assert dependencies.missing() == ("onnxruntime>=1.20", "pydantic>=2.7", "typer>=0.19")
    pip.there |= {"onnxruntime": "1.19.2", "pydantic": "2.10.1", "typer": "0.9"}
    assert dependencies.missing() == ("onnxruntime>=1.20", "typer>=0.19")


@pytest.mark.parametrize("build", ["onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"])
def test_any_build_of_onnxruntime_will_do(pip, build):
    pip.there[build] = "1.25.0"
    assert "onnxruntime>=1.20" not in dependencies.missing()


def test_the_question_says_what_and_how_large(pip):
    asked = dependencies.question(dependencies.plan())
    assert "onnxruntime" in asked
    assert "About 30 MB" in asked
    assert "No restart" in asked


def test_one_installation_brings_everything(pip):
    dependencies.install(dependencies.plan())
    assert len(pip.calls) == 1
    assert dependencies.missing() == ()
    dependencies.install(dependencies.plan())  # nothing is left to do
    assert len(pip.calls) == 1


def test_a_build_that_is_too_old_is_replaced_by_a_newer_one_of_its_kind(pip):
    pip.there |= {"onnxruntime": "1.17", "pydantic": "2.10", "typer": "0.20"}
    plan = dependencies.plan(dependencies.current_build())
    assert plan.packages == ("onnxruntime>=1.20",)
    assert plan.remove_first == ()


def test_the_gpu_build_stays_when_something_else_is_missing(pip):
    pip.there["onnxruntime-gpu"] = "1.25"
    plan = dependencies.plan(dependencies.current_build())
    assert plan.remove_first == ()
    assert plan.packages == ("pydantic>=2.7", "typer>=0.19")


def test_a_build_removed_to_make_room_comes_back_when_its_successor_fails(pip):
    dependencies.install(dependencies.plan())
    install, failures = pip.install, []

    def fails_once(requirements, **options):
        if not failures:
            failures.append(1)
            raise subprocess.CalledProcessError(1, "pip")
        pip.there[requirements[0]] = "1.25"

    slicer.util.pip_install = fails_once
    try:
        with pytest.raises(ConversionError):
            dependencies.install(dependencies.plan("onnxruntime-gpu"))
    finally:
        slicer.util.pip_install = install
    assert dependencies.installed_runtimes() == ("onnxruntime",)


def test_slicers_own_numpy_and_simpleitk_are_pinned(pip):
    dependencies.install(dependencies.plan())
    assert pip.constraints.splitlines() == ["numpy==2.4.0", "SimpleITK==2.5.0"]
    assert pip.there["numpy"] == "2.4.0"


def test_slicers_packaging_is_used_where_there_is_one(pip, monkeypatch):
    class Packaging:
        seen: ClassVar[dict] = {}

        @staticmethod
        def pip_ensure(requirements, **options):
            Packaging.seen = options
            pip.install(requirements, options["constraints"])

    monkeypatch.setattr(slicer, "packaging", Packaging, raising=False)
    dependencies.install(dependencies.plan())
    assert Packaging.seen["prompt_install"] is False
    assert Packaging.seen["prompt_restart"] is False
    assert dependencies.missing() == ()


def test_the_gpu_build_takes_the_place_of_the_cpu_build(pip):
    dependencies.install(dependencies.plan())
    plan = dependencies.plan("onnxruntime-gpu")
    assert plan.remove_first == ("onnxruntime",)
    assert plan.packages == ("onnxruntime-gpu[cuda,cudnn]>=1.20",)
    dependencies.install(plan)
    assert dependencies.installed_runtimes() == ("onnxruntime-gpu",)
    assert pip.calls[-2] == ["uninstall", "onnxruntime"]


def test_two_builds_side_by_side_are_put_right(pip):
    pip.there |= {"onnxruntime": "1.25", "onnxruntime-gpu": "1.25"}
    plan = dependencies.plan()
    assert plan.remove_first == ("onnxruntime", "onnxruntime-gpu")
    dependencies.install(plan)
    assert dependencies.installed_runtimes() == ("onnxruntime",)


def test_a_folder_of_wheels_needs_no_network(pip, tmp_path):
    dependencies.install(dependencies.plan(), tmp_path)
    words = pip.calls[-1]
    assert "--no-index" in words
    assert words[words.index("--find-links") + 1] == str(tmp_path)


def test_a_failed_installation_says_what_to_do(pip):
    pip.fails = True
    with pytest.raises(ConversionError, match="proxy"):
        dependencies.install(dependencies.plan())


def test_what_was_installed_here_can_be_removed_here(pip):
    dependencies.install(dependencies.plan())
    assert set(settings.installed_packages()) == {"onnxruntime", "pydantic", "typer"}
    assert set(dependencies.uninstall()) == {"onnxruntime", "pydantic", "typer"}
    assert "numpy" in pip.there
    assert "rich" in pip.there  # was there before
    assert settings.installed_packages() == []


def test_the_requirements_are_those_of_the_package():
    from pathlib import Path

    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    own = {line for line in project["dependencies"] if not line.startswith(("numpy", "SimpleITK"))}
    assert set(dependencies._requirements()) == own | set(project["optional-dependencies"]["cpu"])


def test_nothing_of_it_is_imported_to_find_out():
    code = (
        "import sys; sys.path[:0] = %r; import slicer_standin; slicer_standin.install()\n"
        "from ModalityConversionLib import dependencies; dependencies.missing(); dependencies.installed_runtimes()\n"
        "print(sorted({'onnxruntime', 'pydantic', 'typer', 'torch'} & set(sys.modules)))"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code % sys.path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
