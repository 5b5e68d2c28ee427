"""A Slicer to test in: the real MRML library, and a stand-in for the application around it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

OURS = ("ModalityConversionLib", "modality_conversion")
TESTING = Path(__file__).resolve().parents[1]
for folder in (TESTING, Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

if importlib.util.find_spec("slicer") is None or importlib.util.find_spec("PySide6") is None:
    # PyPI has Slicer's MRML library for Python 3.11 and newer only.
    collect_ignore_glob = ["test_*.py"]
else:
    import slicer_standin as standin

    standin.install()

    import slicer

    import slow
    from bundles import write_bundle


def unsure(folder: Path, **fields: object) -> Path:
    """Write a model that returns its input and, as a second channel, what it takes for the logarithm of its variance."""
    output = {
        "channel": 0,
        "ops": [{"op": "linear", "scale": 1000}],
        "uncertainty": {"channel": 1, "kind": "log_variance"},
    }
    return write_bundle(
        folder,
        slow.twice,
        id=folder.name,
        ops=[{"op": "linear", "stage": "grid", "scale": 0.001}],
        output=output,
        **fields,
    )


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty scene, fresh settings, no answers waiting, a temporary folder; one bundled model, for T1 to T2."""
    from modality_conversion import catalog
    from ModalityConversionLib import models

    real, bundled = catalog.bundled_models_dir(), tmp_path / "bundled"
    bundled.mkdir()
    (bundled / "recogniser").symlink_to(real / "recogniser", target_is_directory=True)
    unsure(bundled / "t1-to-t2-bundled", title="T1 to T2, bundled")
    for module in (catalog, models):
        monkeypatch.setattr(module, "bundled_models_dir", lambda: bundled)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("MODALITY_CONVERSION_MODELS", raising=False)
    # A module that is unloaded takes its library along; tests hold on to the one that they imported.
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] in OURS}
    paths = list(sys.path)
    standin.fresh()
    yield
    labels = getattr(slicer.modules, "modalityConversionLabels", None)
    if labels is not None:  # they live as long as the application, which ends here
        labels.remove()
    standin.fresh()
    sys.modules.update(ours)
    sys.path[:] = paths


@pytest.fixture
def any_to_any(scene: None, tmp_path: Path) -> None:
    """The model that comes with the module, in place of the small one. To be asked for before `panel`."""
    name = "any-to-any-slab"
    shutil.rmtree(tmp_path / "bundled" / "t1-to-t2-bundled")
    (tmp_path / "bundled" / name).symlink_to(TESTING.parent / "Resources" / "Models" / name, target_is_directory=True)


@pytest.fixture
def models_dir(scene: None, tmp_path: Path) -> Path:
    """The folder of the user's models, empty."""
    from ModalityConversionLib import settings

    folder = tmp_path / "own models"
    folder.mkdir()
    settings.set_models_dir(folder)
    return folder


@pytest.fixture
def copy_model(models_dir: Path) -> Path:
    """A model that returns its input as a T2, and says nothing of how sure it is."""
    return write_bundle(models_dir / "t1-to-t2-copy")


@pytest.fixture
def slow_model(models_dir: Path) -> Path:
    """A model that takes a minute."""
    return write_bundle(models_dir / "t1-to-t2-slow", slow.graph, id="t1-to-t2-slow")


@pytest.fixture
def slow_model_dir(tmp_path: Path) -> Path:
    """A folder with a model that takes a minute, without a scene."""
    write_bundle(tmp_path / "slow models" / "t1-to-t2-slow", slow.graph, id="t1-to-t2-slow")
    return tmp_path / "slow models"


@pytest.fixture
def uncertain_model(models_dir: Path) -> Path:
    """A model that returns its input and, as a second channel, what it takes for the logarithm of its variance."""
    return unsure(models_dir / "t1-to-t2-unsure")


@pytest.fixture
def panel(scene: None) -> Iterator[object]:
    """The module's panel, opened as a user opens it."""
    standin.load_module(str(TESTING.parent / "ModalityConversion" / "ModalityConversion.py"))
    yield standin.open_panel("ModalityConversion").panel
    standin.check()
