"""What is handed out: the wheel and the sdist hold what they should, and the wheel alone converts a scan."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import SimpleITK as sitk

import heads
from modality_conversion.image_io import write_image
from modality_conversion.version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="Python 3.10 has no tomllib")

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "ModalityConversion" / "modality_conversion"
MODELS = ROOT / "Resources" / "Models"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def build(source: Path, into: Path, *targets: str) -> None:
    """What `python -m build --no-isolation` does, without its look at the index."""
    pytest.importorskip("hatchling")
    chosen = [option for target in targets for option in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(into), *chosen]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "sdist", "wheel")
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_engine_and_the_bundled_models_and_nothing_else(unpacked):
    held = {name for name in files_below(unpacked) if ".dist-info/" not in name}
    engine = {f"modality_conversion/{name}" for name in files_below(ENGINE)}
    models = {f"modality_conversion/bundled_models/{name}" for name in files_below(MODELS)}
    assert models
    assert held == engine | models


def test_the_wheel_says_what_it_needs_and_how_it_is_called(unpacked):
    (about,) = unpacked.glob("*.dist-info")
    metadata = email.message_from_string((about / "METADATA").read_text(encoding="utf-8"))
    plain = {line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert {line.replace(" ", "").lower() for line in plain} == {line.lower() for line in PROJECT["dependencies"]}
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == "<3.14,>=3.10"
    assert "modality-conversion = modality_conversion.cli:main" in (about / "entry_points.txt").read_text()
    assert (about / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_sdist_gives_the_same_wheel_to_the_byte(built, wheel, tmp_path):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "again", "wheel")
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_wheel_alone_converts_a_scan(unpacked, tmp_path):
    write_image(heads.head("T1"), tmp_path / "scan.nii.gz")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "MODALITY_"))}
    environment |= {
        "PYTHONPATH": str(unpacked),
        "MODALITY_CONVERSION_THREADS": "1",
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }

    def ran(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = ran("-c", "import modality_conversion; print(modality_conversion.__file__)")
    assert Path(where.strip()).is_relative_to(unpacked)
    ran("-m", "modality_conversion.cli", "convert", "scan.nii.gz", "--from", "T1", "--to", "T2", "--out", "out.mha")

    account = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert account["synthetic"] is True
    assert (
        sitk.ReadImage(str(tmp_path / "out.mha")).GetSize() == sitk.ReadImage(str(tmp_path / "scan.nii.gz")).GetSize()
    )
