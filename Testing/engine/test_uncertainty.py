"""Calibrated intervals: the factor of the right tissue, the summary, the line, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from bundles import spec_fields
from lesion_heads import HeadScan
from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality
from modality_conversion.schema import ConversionSpec
from modality_conversion.tissues import CT_TISSUES, MR_TISSUES, tissue_map, tissue_names
from modality_conversion.uncertainty import interval, require_interval, why_no_interval
from volumes import filled

WEIGHTS = {"path": "models/model.onnx", "format": "onnx", "sha256": "0" * 64, "size": 1}
CT = {"units": "HU", "background": -1024, "window": 400, "level": 40}


def spec(*factors: dict[str, Any], **overrides: Any) -> ConversionSpec:
    """T1 or FLAIR to CT or T2, with an uncertainty."""
    fields = spec_fields(
        weights=[WEIGHTS],
        sources=[{"modality": "T1"}, {"modality": "FLAIR"}],
        targets={"CT": CT, "T2": {**CT, "units": "arbitrary", "background": 0}},
        output={"uncertainty": {"channel": 1, "kind": "scale"}},
        calibration={"coverage": 0.9, "factors": list(factors), "data": "twelve heads"} if factors else None,
        **overrides,
    )
    return ConversionSpec.model_validate_json(json.dumps(fields))


def factor(tissue: str, value: float, target: str = "CT", **more: Any) -> dict[str, Any]:
    return {"target": target, "tissue": tissue, "factor": value, "cases": 12, **more}


def ct_head() -> sitk.Image:
    """Air around, bone, brain, and an air cell in the bone."""
    head = HeadScan(noise=0)
    values = head.array()
    hu = np.select([values == 0, values == 8], [-1000.0, 900.0], 40.0).astype(np.float32)
    hu[28, 36, 32] = -950
    assert head.grid is not None
    return filled(head.grid, hu)


def constant(image: sitk.Image, value: float) -> sitk.Image:
    return filled(image, np.full(image.GetSize()[::-1], value, np.float32))


def test_each_tissue_has_its_own_factor_and_nothing_is_said_of_the_air_around() -> None:
    image = ct_head()
    model = spec(factor("soft_tissue", 2.0), factor("bone", 5.0), factor("air", 1.0))
    result = interval(image, constant(image, 20), model, [Modality.T1], Modality.CT)
    assert result is not None
    hu, width = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(result.half_width)
    assert (width[hu == 40] == 40).all()
    assert (width[hu == 900] == 100).all()
    assert width[28, 36, 32] == 20
    assert (width[hu == -1000] == 0).all()
    assert result.verdict == (
        "90 % interval: \N{PLUS-MINUS SIGN}20 HU in air within the body, \N{PLUS-MINUS SIGN}40 HU in soft tissue, "
        "\N{PLUS-MINUS SIGN}100 HU in bone."
    )
    told = {row["tissue"]: row for row in result.as_dict()["tissues"]}
    assert told["bone"]["in_words"] == "\N{PLUS-MINUS SIGN}100 HU in bone"
    assert told["bone"]["volume_ml"] == pytest.approx(np.count_nonzero(hu == 900) * 2.5**3 / 1000)


def test_of_many_kinds_of_tissue_the_line_names_the_narrowest_and_the_widest() -> None:
    image = HeadScan(noise=0).scan()
    names = tissue_names(Modality.T2)
    factors = [
        {"target": "T2", "tissue": name, "factor": number, "floor": 1, "cases": 3}
        for number, name in enumerate(names, start=1)
    ]
    result = interval(image, constant(image, 10), spec(*factors), [Modality.T1], Modality.T2)
    assert result is not None
    assert len(result.tissues) > 3
    first, last = result.tissues[0], result.tissues[-1]
    assert result.verdict.startswith(
        f"90 % interval: \N{PLUS-MINUS SIGN}{first.half_width:g} in {first.name} to "
        f"\N{PLUS-MINUS SIGN}{last.half_width:g} in {last.name}"
    )
    assert first.half_width < last.half_width


def test_intervals_cover_what_they_promise_where_the_error_is_as_calibrated() -> None:
    image = ct_head()
    rng = np.random.default_rng(0)
    sigma = rng.uniform(5, 50, image.GetSize()[::-1]).astype(np.float32)
    truth = sitk.GetArrayFromImage(image) + 2 * sigma * rng.standard_normal(sigma.shape)  # twice as wrong as it says
    model = spec(factor("soft_tissue", 2 * 1.6449), factor("bone", 2 * 1.6449), factor("air", 2 * 1.6449))
    result = interval(image, filled(image, sigma), model, [Modality.T1], Modality.CT)
    assert result is not None
    width = sitk.GetArrayFromImage(result.half_width)
    inside = width > 0
    covered = np.abs(truth - sitk.GetArrayFromImage(image))[inside] <= width[inside]
    assert covered.mean() == pytest.approx(0.9, abs=0.01)


def test_a_source_of_its_own_goes_before_any_source_and_of_several_the_widest_counts() -> None:
    image = ct_head()
    model = spec(factor("bone", 2.0), factor("bone", 3.0, source="T1"), factor("bone", 4.0, source="FLAIR"))

    def width(*sources: Modality) -> float:
        result = interval(image, constant(image, 10), model, sources, Modality.CT)
        assert result is not None
        return next(row.half_width for row in result.tissues if row.tissue == "bone")

    assert width(Modality.T1) == 30
    assert width(Modality.FLAIR) == 40
    assert width(Modality.T1, Modality.FLAIR) == 40
    assert width(Modality.PD) == 20


def test_a_tissue_without_a_factor_takes_the_widest_and_says_so() -> None:
    image = ct_head()
    result = interval(image, constant(image, 10), spec(factor("bone", 4.0)), [Modality.T1], Modality.CT)
    assert result is not None
    assert {row.tissue: (row.half_width, row.assumed) for row in result.tissues} == {
        "air": (40, True),
        "soft_tissue": (40, True),
        "bone": (40, False),
    }


def test_a_deviation_below_the_floor_is_not_believed() -> None:
    image = ct_head()
    result = interval(image, constant(image, 0), spec(factor("bone", 4.0, floor=2.5)), [Modality.T1], Modality.CT)
    assert result is not None
    assert result.tissues[-1].half_width == 10


def test_an_mr_is_told_apart_by_brightness_and_depth() -> None:
    head = HeadScan(noise=0)
    kinds = tissue_map(head.scan(), Modality.T2)
    values = head.array()
    names = ("outside", *tissue_names(Modality.T2))
    k, j, i = 33, 29, 35  # in the ventricle
    assert values[k, j, i] == 30
    assert names[kinds[k, j, i]] == "dark_deep"
    assert names[kinds[28, 45, 20]] == "middle_deep"
    assert names[kinds[28, 36, 2]] == "bright_outer"
    assert names[kinds[0, 0, 0]] == "outside"


def test_no_head_gives_no_interval_but_words() -> None:
    image = constant(ct_head(), -1000)
    result = interval(image, constant(image, 5), spec(factor("bone", 4.0)), [Modality.T1], Modality.CT)
    assert result is not None
    assert not result.tissues
    assert "No head or body was found" in result.verdict
    assert not sitk.GetArrayFromImage(result.half_width).any()


def test_a_model_without_calibration_or_for_another_target_gives_none_and_says_why() -> None:
    image = ct_head()
    assert interval(image, constant(image, 5), spec(), [Modality.T1], Modality.CT) is None
    assert interval(image, constant(image, 5), spec(factor("bone", 2.0)), [Modality.T1], Modality.T2) is None
    assert "not calibrated for CT" in str(why_no_interval(spec(), Modality.CT))
    assert why_no_interval(spec(factor("bone", 2.0)), Modality.CT) is None
    with pytest.raises(ConversionError, match="not calibrated for T2"):
        require_interval(spec(factor("bone", 2.0)), Modality.T2)


def test_a_deviation_on_another_grid_is_refused() -> None:
    image = ct_head()
    other = constant(image, 5)
    other.SetOrigin((0, 0, 0))
    with pytest.raises(ConversionError, match="not on the synthetic scan's grid"):
        interval(image, other, spec(factor("bone", 2.0)), [Modality.T1], Modality.CT)


def test_the_schema_and_the_map_name_the_same_tissues() -> None:
    from typing import get_args

    from modality_conversion.schema import TissueName

    assert set(get_args(TissueName)) == {*CT_TISSUES, *MR_TISSUES}
