"""Odd scans: each is what it says, lies where the patient lies, and the verb shows what comes of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from rich.console import Console

from formula_models import SIDE, formula_bundle, write_formula_heads
from modality_conversion.modality import Modality
from training.config import ConfigError
from training.evaluation.command import run_odd
from training.evaluation.odd_scans import CHANGES
from training.project import Project


def head() -> sitk.Image:
    """A ball with one bright spot, off the middle along every axis, in RAS."""
    z, y, x = np.ogrid[:SIDE, :SIDE, :SIDE]
    values = 100.0 * ((z - 32) ** 2 + (y - 32) ** 2 + (x - 32) ** 2 < 28**2)
    values[34:38, 40:44, 44:48] = 400
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    return image


def spot(image: sitk.Image) -> np.ndarray:
    """Where the brightest part lies, in mm."""
    values = sitk.GetArrayFromImage(image)
    k, j, i = np.argwhere(values > 0.6 * values.max()).mean(0)
    return np.array(image.TransformContinuousIndexToPhysicalPoint((i, j, k)))


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("turned, other axes", "noisy")])
def test_an_odd_scan_shows_the_patient_in_place(name: str) -> None:
    odd = CHANGES[name](head(), Modality.T1)
    assert np.abs(spot(odd) - spot(head())).max() <= 2


def test_odd_scans_are_what_they_are_called() -> None:
    usual = head()
    made = {name: change(usual, Modality.T1) for name, change in CHANGES.items()}
    spacings = {name: image.GetSpacing() for name, image in made.items()}
    assert spacings["axial slices of 4 mm"] == (1, 1, 4)
    assert spacings["sagittal slices of 4 mm"] == (1, 1, 4)  # stored slice by slice
    sideways = np.array(made["sagittal slices of 4 mm"].GetDirection()).reshape(3, 3)[:, 2]
    assert np.abs(sideways).tolist() == [1, 0, 0]
    assert made["half a head"].GetSize() == (SIDE // 2, SIDE, SIDE)
    assert sitk.GetArrayViewFromImage(made["standardised, half negative"]).min() < 0
    ragged, whole = (sitk.GetArrayFromImage(made[name]) > 0 for name in ("stripped with ragged edges", "as it is"))
    assert not (ragged & ~whole).any()
    assert 0.3 < ragged.sum() / whole.sum() < 0.95
    assert not np.allclose(np.abs(np.array(made["turned, other axes"].GetDirection())).max(0), 1, atol=1e-3)


def test_the_verb_draws_a_picture_and_says_how_far_each_answer_is(tmp_path: Path) -> None:
    write_formula_heads(tmp_path / "cases", 1)
    formula_bundle(tmp_path / "copy", scale=0.5)
    wanted = {"folder": tmp_path / "out", "cases": [tmp_path / "cases"], "bundles": [tmp_path / "copy"]}
    run_odd(Project.model_validate({"evaluate": wanted}), Console(quiet=True))
    rows = json.loads((tmp_path / "out" / "odd" / "odd.json").read_text())
    assert [row["scan"] for row in rows] == list(CHANGES)
    far = {row["scan"]: row["psnr_to_usual"] for row in rows}
    assert far["as it is"] > 100
    assert far["turned, other axes"] is None
    assert far["scaled and moved"] > 25 > far["noisy"]
    (picture,) = (tmp_path / "out" / "odd").glob("*_T1.jpg")
    assert Image.open(picture).size[1] > 500


def test_without_fine_voxels_there_is_nothing_to_make_odd_scans_of(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names neither"):
        run_odd(Project.model_validate({"evaluate": {"folder": tmp_path, "bundles": []}}), Console(quiet=True))
