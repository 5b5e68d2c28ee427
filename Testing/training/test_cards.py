"""The figures and pictures of a model card: the right ones in the right group, and small enough to go along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from formula_models import ABOUT, Formula, FormulaRecipe, head_regions, head_values, settings
from modality_conversion.compare import compare
from training.data.regions import BRAIN_REGIONS, Region
from training.evaluation.base_lines import base_lines_in
from training.evaluation.group_table import group_tables
from training.evaluation.groups import FROM_CT, GROUPS, MR_REAL, MR_SIMULATED, TO_CT, group_of
from training.evaluation.measure import WHOLE_HEAD
from training.evaluation.picture import Slices
from training.evaluation.settings import LesionSettings
from training.export.card import card, every_case
from training.export.pictures import add_pictures, write_small

NAMES = ("CT", "T1", "T2", "FLAIR")


@pytest.mark.parametrize(
    ("direction", "real", "group"),
    [
        ("T1->T2", True, MR_REAL),
        ("T1+FLAIR->T2", False, MR_SIMULATED),
        ("T1->CT", True, TO_CT),
        ("FLAIR->CBCT", False, TO_CT),
        ("CT->T1", False, FROM_CT),
        ("T1+CT->T2", True, FROM_CT),
    ],
)
def test_a_direction_belongs_to_one_group(direction: str, real: bool, group: tuple) -> None:
    assert group_of({"direction": direction, "real": real}) == group


# --- base lines ---------------------------------------------------------------------------------------------------------


def image(array: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(array.astype(np.float32))


@pytest.mark.parametrize("protocol", ["slices", "synthrad2023"])
def test_base_lines_of_the_whole_mask_are_those_that_compare_gives(protocol: str) -> None:
    brain = np.isin(head_regions(), BRAIN_REGIONS)
    real, source = 1000 * head_values(1), 300 + 50 * (1 - head_values(2)) ** 2
    real = real - 300 if protocol != "slices" else real
    mask = sitk.GetImageFromArray(brain.astype(np.uint8))
    wanted = compare(image(real), image(real), mask=mask, source=image(source), protocol=protocol).as_dict()
    found = base_lines_in(real, source, brain, {0: brain}, protocol)[0]
    assert set(found) == set(wanted["base_lines"])
    for name, states in found.items():
        for state, figures in states.items():
            theirs = wanted["base_lines"][name][state]
            assert figures == pytest.approx({figure: theirs[figure] for figure in figures}, rel=1e-5)


def test_base_lines_of_a_region_are_scaled_and_fitted_in_the_whole_mask() -> None:
    region = head_regions()
    brain, lesion = np.isin(region, BRAIN_REGIONS), region == Region.LESION
    real = head_values(1)
    found = base_lines_in(real, 7 - 2 * real, brain, {"lesion": lesion}, "slices")["lesion"]
    low, high = np.percentile(real[brain], (0.5, 99.5))
    scaled = np.clip((real - low) / (high - low), 0, 1)
    error = np.abs((1 - scaled) - scaled)[lesion]  # the source turned round, scaled by its own percentiles
    assert found["identity"]["as_is"]["mae"] == pytest.approx(error.mean(), abs=2e-3)
    assert found["identity"]["fitted"]["mae"] < 1e-6  # one line turns it back
    assert found["oracle"]["as_is"]["mae"] < 3e-3


def test_a_voxel_without_a_number_is_left_out_of_base_lines() -> None:
    brain = np.isin(head_regions(), BRAIN_REGIONS)
    real, source = head_values(1), head_values(2)
    holed = source.copy()
    holed[32, 32, 20:30] = np.nan
    whole, without = (base_lines_in(real, one, brain, {0: brain}, "slices")[0] for one in (source, holed))
    assert without["oracle"]["as_is"]["psnr"] == pytest.approx(whole["oracle"]["as_is"]["psnr"], abs=0.1)


# --- tables -------------------------------------------------------------------------------------------------------------


def scores(value: float) -> dict[str, Any]:
    return {"voxels": 10, "mae": value / 100, "bias": -value / 100, "psnr": value, "ssim": value / 40}


def found(value: float, region: str = "", hu: bool = False) -> dict[str, Any]:
    lines = {"oracle": {"as_is": scores(value + 3)}}
    if not hu:
        lines["identity"] = {"as_is": scores(value - 5), "fitted": scores(value - 4)}
    states = {"as_is": scores(value)} | ({} if hu else {"fitted": scores(value + 1)})
    return states | {"base_lines": lines} | ({"name": region} if region else {})


def comparison(value: float, regions: tuple[str, ...], hu: bool = False) -> dict[str, Any]:
    whole = found(value, hu=hu)
    parts = [found(value - n - 1, name, hu) for n, name in enumerate(regions)]
    lines = whole.pop("base_lines")
    return {"mask": "the mask given", "synthetic": whole, "base_lines": lines, "regions": parts}


def row(direction: str, case: str, real: bool, value: float) -> dict[str, Any]:
    about = {"model": "any", "direction": direction, "case": case, "real": real, "warnings": []}
    if direction.endswith("->CT"):
        comparisons = {"synthrad2023": comparison(value, ("brain", "bone"), hu=True)}
        return about | {"protocol": "synthrad2023", "comparisons": comparisons, "bone_dice": 0.5 + value / 100}
    comparisons = {"slices": comparison(value, ("lesion",)) | {"between_slices": {"ratio": 1 + value / 1000}}}
    comparisons[WHOLE_HEAD] = comparison(value - 10, ("soft tissue", "bone"))
    return about | {"protocol": "slices", "comparisons": comparisons}


def figures_of_twelve() -> dict[str, Any]:
    """Made-up figures of a network for everything, on two people (MR alone) and three simulated heads."""
    directions = [f"{a}->{b}" for a in NAMES for b in NAMES if a != b]
    rows = []
    for number, case in enumerate(("anna", "bert", "head_0", "head_1", "head_2")):
        for direction in directions:
            if number > 1 or "CT" not in direction:
                rows.append(row(direction, case, number < 2, 20.0 + number))
    summary = [{"model": "any", "direction": one, "real": False, "lesions": None} for one in directions]
    model = {"id": "any", "title": "Any", "weights": []}
    limits = LesionSettings().model_dump()
    return {"models": [model], "rows": rows, "summary": summary, "lesions": limits, "worst": []}


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_twelve_directions_are_four_tables_with_a_line_for_each_region() -> None:
    tables = group_tables(figures_of_twelve(), "any")
    assert list(tables) == list(GROUPS)
    lines = {group: cells(table)[2:] for group, table in tables.items()}
    assert {group: len(found) for group, found in lines.items()} == {
        MR_REAL: 24, MR_SIMULATED: 24, TO_CT: 9, FROM_CT: 12,
    }  # fmt: skip
    assert [line[1] for line in lines[MR_REAL][:4]] == ["brain", "lesion", "head", "bone"]
    assert [line[0] for line in lines[MR_REAL][:5]] == ["T1->T2", "", "", "", "T1->FLAIR"]
    assert [line[2] for line in lines[TO_CT][:3]] == ["body", "brain", "bone"]
    assert {len(line) for table in tables.values() for line in cells(table)} <= {12, 13, 14}


def test_a_line_has_the_means_as_they_are_and_after_the_fit_beside_the_base_lines() -> None:
    tables = group_tables(figures_of_twelve(), "any")
    heading, _, brain, lesion, head, *_rest = cells(tables[MR_REAL])
    values = dict(zip(heading, brain, strict=True))
    assert (values["cases"], values["PSNR dB"]) == ("2", "20.50 / 21.50")  # of 20 and 21, people alone
    assert (values["PSNR dB, identity"], values["PSNR dB, oracle"]) == ("15.50 / 16.50", "23.50")
    assert values["R"] == "1.020" or values["R"] == "1.021"
    assert dict(zip(heading, lesion, strict=True))["PSNR dB"] == "19.50 / 20.50"
    assert dict(zip(heading, head, strict=True))["PSNR dB"] == "10.50 / 11.50"
    heading, _, body, _brain, bone = cells(tables[TO_CT])[:5]
    values = dict(zip(heading, body, strict=True))
    assert (values["cases"], values["PSNR dB"], values["PSNR, oracle"]) == ("3", "23.00", "26.00")
    assert (values["Dice of bone"], bone[-1]) == ("-", "0.730")


def test_a_region_that_a_case_does_not_have_is_not_averaged_in() -> None:
    figures = figures_of_twelve()
    figures["rows"][0]["comparisons"]["slices"]["regions"] = []  # anna, T1->T2: no lesion
    del figures["rows"][1]["comparisons"][WHOLE_HEAD]  # anna, T1->FLAIR: stripped
    lines = cells(group_tables(figures, "any")[MR_REAL])[2:]
    assert [line[1:3] for line in lines[:8]] == [
        ["brain", "2"], ["lesion", "1"], ["head", "2"], ["bone", "2"],
        ["brain", "2"], ["lesion", "2"], ["head", "1"], ["bone", "1"],
    ]  # fmt: skip
    assert lines[1][3] == "20.00 / 21.00"


def test_a_case_whose_brain_nobody_knows_is_told_apart() -> None:
    figures = figures_of_twelve()
    figures["rows"][0]["comparisons"]["slices"]["mask"] = "the real scan's foreground"
    lines = cells(group_tables(figures, "any")[MR_REAL])[2:]
    assert [line[1:3] for line in lines[:2]] == [["brain", "1"], ["foreground", "1"]]


# --- the card -----------------------------------------------------------------------------------------------------------


def card_of(figures: dict[str, Any], **changes: Any) -> str:
    return card(settings(Path("any"), **changes), FormulaRecipe(Formula()).declaration(), 10, ABOUT, figures)


def test_the_card_has_a_part_for_each_group_with_its_worst_case_and_the_cases_stand_elsewhere() -> None:
    figures = figures_of_twelve()
    entry = {"model": "any", "group": "to_ct", "direction": "T2->CT", "case": "head_1", "file": "x.png"}
    figures["worst"] = [entry | {"card": "to_ct_worst.jpg"}, entry | {"group": "from_ct"}]  # of which one was lost
    text = card_of(figures)
    titles = [line[4:] for line in text.splitlines() if line.startswith("### ")]
    assert titles == [group.title for group in GROUPS]
    assert "(to_ct_worst.jpg)" in text.split("### To CT")[1].split("### From CT")[0]
    assert text.count("![") == 1
    assert "anna" not in text
    for case in ("anna", "head_2"):
        assert case in every_case("Any", figures, "any")
    assert "Not for diagnosis" in every_case("Any", figures, "any")
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) < 200


def test_known_failures_have_a_part_of_their_own_where_there_are_any() -> None:
    failures = ("Sutures are closed.", "Contrast agent is lost.")
    part = card_of({}, known_failures=failures).split("## Known failures")[1].split("## Limits")[0]
    assert all(f"- {failure}" in part for failure in failures)
    assert "Known failures" not in card_of({})


# --- pictures -----------------------------------------------------------------------------------------------------------


def noise(path: Path, size: tuple[int, int] = (900, 700)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(values).save(path)
    return path


def test_a_picture_is_made_coarser_and_smaller_until_it_fits(tmp_path: Path) -> None:
    source = noise(tmp_path / "noise.png")
    for limit in (400_000, 30_000):
        write_small(source, tmp_path / "small.jpg", limit)
        assert (tmp_path / "small.jpg").stat().st_size <= limit
        with Image.open(tmp_path / "small.jpg") as small:
            assert small.width / small.height == pytest.approx(9 / 7, rel=0.02)


def test_pictures_share_what_room_there_is_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    entries = [{"group": name, "file": f"{name}.png", "real": False} for name in ("a", "b", "c")]
    for name in ("a", "c"):
        noise(tmp_path / f"{name}.png", (500, 400))
    shown = add_pictures({"worst": entries}, tmp_path, tmp_path / "docs", 60_000)["worst"]
    assert [entry.get("card") for entry in shown] == ["a_worst.jpg", None, "c_worst.jpg"]
    assert sum(file.stat().st_size for file in (tmp_path / "docs").iterdir()) <= 60_000
    assert all("card" not in entry for entry in entries)


def test_a_real_person_is_shown_only_where_that_is_allowed(tmp_path: Path) -> None:
    noise(tmp_path / "a.png")
    figures = {"worst": [{"group": "a", "file": "a.png", "real": True}]}
    assert "card" not in add_pictures(figures, tmp_path, tmp_path / "docs", 60_000)["worst"][0]
    assert not (tmp_path / "docs").exists()
    assert "card" in add_pictures(figures, tmp_path, tmp_path / "docs", 60_000, real=True)["worst"][0]


def test_a_picture_for_the_card_of_one_model_shows_no_other() -> None:
    planes = [np.zeros((2, 2), np.float16)] * 3
    grey = dict.fromkeys(("T1 (source)", "SYNTHETIC T2, any", "SYNTHETIC T2, any-int8", "T2 (real)"), planes)
    slices = Slices(grey, dict.fromkeys(("error, any", "error, any-int8"), planes), (1, 1, 1))
    mine = slices.of_model("any", ["any", "any-int8"])
    assert list(mine.grey) == ["T1 (source)", "SYNTHETIC T2, any", "T2 (real)"]
    assert list(mine.error) == ["error, any"]
    assert slices.of_model("any", ["any"]) == slices
