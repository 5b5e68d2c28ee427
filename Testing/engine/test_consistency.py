"""Converting back: which model, what disagrees, and that agreement is not called proof."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from lesion_heads import Ball, HeadScan
from modality_conversion.bundle import Bundle
from modality_conversion.catalog import Catalog
from modality_conversion.consistency import check_consistency, require_reverse, reverse_model
from modality_conversion.errors import Cancelled, ConversionError
from modality_conversion.modality import Modality
from volumes import filled

pytestmark = pytest.mark.usefixtures("own_models_only")
MR = {"units": "arbitrary", "background": 0.0, "window": 1.0, "level": 0.5, "dtype": "float32"}
CT = {"units": "HU", "background": -1024.0, "window": 400, "level": 40, "dtype": "float32"}
SPOT = Ball((20, 40, 25), 7.0, 60.0)


def model(tmp_path: Path, name: str, source: str, target: str, scale: float = 1.0) -> Bundle:
    """Multiplies by `scale`."""
    folder = write_bundle(
        tmp_path / "models" / name,
        lambda path: graphs.linear(path, channels=((scale, 0.0),)),
        sources=[{"modality": source}],
        targets={target: CT if target == "CT" else MR},
    )
    return Bundle.load(folder)


def test_a_perfect_way_back_agrees_and_says_that_this_proves_nothing(tmp_path: Path) -> None:
    scan = HeadScan((SPOT,)).scan()
    back = model(tmp_path, "back", "T2", "T1", 0.5)
    result = check_consistency(scan, scan * 2.0 + 7.0, back, source_modality=Modality.T1, target=Modality.T2)
    assert np.abs(sitk.GetArrayFromImage(result.disagreement)).max() < 1e-4
    assert result.mean < 1e-5
    assert "Agreement does not prove" in result.verdict
    assert result.disagreement.GetOrigin() == scan.GetOrigin()


def test_what_was_lost_on_the_way_stands_out(tmp_path: Path) -> None:
    head, without = HeadScan((SPOT,)), HeadScan()
    back = model(tmp_path, "back", "T2", "T1")
    result = check_consistency(head.scan(), without.scan(), back, source_modality=Modality.T1, target=Modality.T2)
    difference = sitk.GetArrayFromImage(result.disagreement)
    where = head.where(SPOT)
    assert difference[where].mean() < -0.25
    assert np.abs(difference[~where]).mean() < 0.02
    assert result.share == pytest.approx(where.sum() / (difference != 0).sum(), rel=0.2)
    assert result.as_dict()["model"]["id"] == "back"


def test_a_ct_is_compared_in_hu(tmp_path: Path) -> None:
    head = HeadScan(noise=0)
    values = np.where(head.array() == 0, -1000.0, head.array()).astype(np.float32)
    assert head.grid is not None
    scan = filled(head.grid, values)
    back = model(tmp_path, "back", "T1", "CT")
    off = filled(head.grid, np.where(values > -500, values + 150, values))
    result = check_consistency(scan, off, back, source_modality=Modality.CT, target=Modality.T1)
    assert result.units == "HU"
    assert result.mean == pytest.approx(150, abs=1)
    assert result.share == pytest.approx(1, abs=0.01)


def test_the_same_model_goes_first_then_any_other_and_where_none_goes_back_it_is_said(tmp_path: Path) -> None:
    there = model(tmp_path, "there", "T1", "T2")
    catalog = Catalog([tmp_path / "models"])
    assert reverse_model(catalog, there, Modality.T1, Modality.T2) is None
    with pytest.raises(ConversionError, match="No installed model makes T1 from T2"):
        require_reverse(catalog, there, Modality.T1, Modality.T2)
    model(tmp_path, "back", "T2", "T1")
    found = reverse_model(catalog, there, Modality.T1, Modality.T2)
    assert found is not None
    assert found.spec.id == "back"
    folder = write_bundle(
        tmp_path / "models" / "any",
        lambda path: graphs.with_inputs(path, {"code": ("batch", 2)}),
        sources=[{"modality": m} for m in ("T1", "T2")],
        targets={"T1": MR, "T2": MR},
        inputs=[{"name": "image"}, {"name": "code", "role": "target_code", "order": ["T1", "T2"]}],
    )
    both = Bundle.load(folder)
    assert reverse_model(catalog, both, Modality.T1, Modality.T2) is both


def test_missing_voxels_other_grids_and_cancelling(tmp_path: Path) -> None:
    head = HeadScan((SPOT,))
    back = model(tmp_path, "back", "T2", "T1")
    kinds = {"source_modality": Modality.T1, "target": Modality.T2}
    holes = head.array()
    holes[20:24] = np.nan
    assert head.grid is not None
    result = check_consistency(filled(head.grid, holes), head.scan(), back, **kinds)  # type: ignore[arg-type]
    difference = sitk.GetArrayFromImage(result.disagreement)
    assert np.isfinite(difference).all()
    assert not difference[20:24].any()
    moved = head.scan()
    moved.SetOrigin((0, 0, 0))
    with pytest.raises(ConversionError, match="not on the source scan's grid"):
        check_consistency(head.scan(), moved, back, **kinds)  # type: ignore[arg-type]
    with pytest.raises(Cancelled):
        check_consistency(head.scan(), head.scan(), back, cancel=lambda: True, **kinds)  # type: ignore[arg-type]
