"""The evaluation: right about models that are right, about lesions that were lost or invented, and in its report."""

from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from rich.console import Console

import training.evaluation.command as evaluation_command
from formula_models import LESIONS, ball, formula_bundle, head_regions, head_values, write_formula_heads
from modality_conversion.bundle import Bundle
from modality_conversion.modality import Modality
from modality_conversion.schema import ConversionSpec
from training.config import ConfigError, check
from training.data import load
from training.data.cases import complete_cases, write_case
from training.data.layouts import find_cases
from training.data.regions import BRAIN_REGIONS, Region
from training.data.scale import normalise_source
from training.data.split import Split, read_split
from training.evaluation.cases import Placed, TestCase, packed_cases
from training.evaluation.directions import Direction, possible
from training.evaluation.lesions import lesion_figures
from training.evaluation.measure import make_task, measure
from training.evaluation.run import evaluate
from training.evaluation.scanned import scanned_cases
from training.evaluation.settings import EvaluateSettings, LesionSettings
from training.evaluation.summary import merit, summarise
from training.project import Project

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("MODALITY_DATA", ROOT.parent / "shared" / "data"))
ONE_MM = (1.0, 1.0, 1.0)


# --- directions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["T1->T2", "T1+FLAIR->CT"])
def test_a_direction_is_written_as_it_is_read(text: str) -> None:
    assert str(Direction.parse(text)) == text


@pytest.mark.parametrize("text", ["T1", "T1->", "T9->T1", "T1+T1->T2", "T1+T2->T1"])
def test_a_direction_that_makes_no_sense_is_refused_with_the_option_that_has_it(text: str) -> None:
    with pytest.raises(ConfigError, match="directions"):
        check(EvaluateSettings, {"folder": "x", "directions": [text]}, "evaluate")


def spec(inputs: list[dict], sources: list[str], targets: list[str]) -> ConversionSpec:
    mr = {"units": "arbitrary", "background": 0, "window": 1, "level": 0}
    fields = {
        **dict.fromkeys(("id", "title", "version", "license", "citation", "intended_use"), "x"),
        "schema_version": "1.0",
        "weights": [{"path": "m.onnx", "format": "onnx", "sha256": "0" * 64, "size": 1}],
        "sources": [{"modality": source} for source in sources],
        "targets": dict.fromkeys(targets, mr),
        "inputs": inputs,
    }
    return ConversionSpec.model_validate_json(json.dumps(fields))


def test_a_network_for_everything_goes_every_direction_that_the_case_has_both_ends_of() -> None:
    four = ["CT", "T1", "T2", "FLAIR"]
    inputs = [{"name": "x", "modality": name, "missing": "zeros"} for name in four]
    model = spec([*inputs, {"name": "to", "role": "target_code", "order": four}], four, four)
    everything = [Modality(name) for name in four]
    assert len({str(direction) for direction in possible(model, everything, everything)}) == 12
    found = possible(model, [Modality.T1, Modality.CT], [Modality.T2, Modality.CT])
    assert sorted(map(str, found)) == ["CT->T2", "T1->CT", "T1->T2"]
    wanted = [Direction.parse("T1+T2->FLAIR"), Direction.parse("PD->T1")]
    assert list(possible(model, everything, everything, wanted)) == wanted[:1]


def test_a_network_that_needs_two_scans_gets_both() -> None:
    model = spec([{"name": "a", "modality": "T1"}, {"name": "b", "modality": "T2"}], ["T1", "T2"], ["FLAIR"])
    flair = [Modality.FLAIR]
    assert list(map(str, possible(model, [Modality.T2, Modality.T1], flair))) == ["T1+T2->FLAIR"]
    assert list(possible(model, [Modality.T1], flair)) == []


# --- cases ----------------------------------------------------------------------------------------------------------------


def test_a_packed_case_is_a_scan_again_ct_in_hounsfield_units_and_the_engine_scales_it_to_the_same(
    tmp_path: Path,
) -> None:
    mr = 400 * head_values()
    ct = np.where(head_regions() == Region.BONE, 1200.0, np.where(head_regions() > 0, 35.0, -1000.0))
    sources = {Modality.T1: normalise_source(mr, Modality.T1), Modality.CT: normalise_source(ct, Modality.CT)}
    about = {"person": "a", "origin": "simulated"}
    write_case(tmp_path / "case", sources, {Modality.CT: ct / 1000}, head_regions(), about)
    (packed,), (case,) = complete_cases(tmp_path), packed_cases(tmp_path)
    for modality, placed in case.scans.items():
        again = normalise_source(sitk.GetArrayFromImage(placed.image), modality)
        assert np.abs(again - packed.sources[modality]).max() < 2e-3
    for placed in (case.scans[Modality.CT], case.truths[Modality.CT]):
        found = sitk.GetArrayFromImage(placed.image)
        assert np.abs(found - ct)[ct < 100].max() < 3
        assert np.abs(found - ct).max() < 10
    assert case.truths[Modality.CT].image.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)


def test_of_many_cases_some_are_picked_evenly_and_none_is_said(tmp_path: Path) -> None:
    write_formula_heads(tmp_path, 5)
    assert [case.name for case in packed_cases(tmp_path, most=3)] == ["head_0", "head_2", "head_4"]
    with pytest.raises(ConfigError, match="no packed case"):
        list(packed_cases(tmp_path / "head_0"))


def test_a_truth_scanned_elsewhere_is_brought_to_the_source_and_looked_at_only_where_it_was_scanned() -> None:
    values, regions = head_values(noise=0), head_regions()
    source = sitk.GetImageFromArray(values.astype(np.float32))
    upper = sitk.GetImageFromArray(values[24:].astype(np.float32))
    shift = sitk.TranslationTransform(3, (3.0, -2.0, 100.0 - 24.0))
    upper.SetOrigin((3.0, -2.0, 100.0))
    placed = {Modality.T1: Placed(source), Modality.T2: Placed(upper, shift)}
    case = TestCase("half", placed, placed, Placed(sitk.GetImageFromArray(regions)), True, True)
    task = make_task(case, Direction.parse("T1->T2"))
    assert task is not None
    assert task.brain is not None
    brain = sitk.GetArrayFromImage(task.brain) > 0
    assert np.array_equal(brain[25:], np.isin(regions, BRAIN_REGIONS)[25:])
    assert not brain[:24].any()
    assert np.abs(sitk.GetArrayFromImage(task.truth) - values)[brain].max() < 1e-4


def test_scans_that_share_no_brain_are_no_task() -> None:
    image = sitk.GetImageFromArray(head_values().astype(np.float32))
    far = Placed(image, sitk.TranslationTransform(3, (500.0, 0.0, 0.0)))
    placed = {Modality.T1: Placed(image), Modality.T2: far}
    case = TestCase("apart", placed, placed, Placed(sitk.GetImageFromArray(head_regions())), True, True)
    assert make_task(case, Direction.parse("T1->T2")) is None


def folder_of_scans(folder: Path) -> Path:
    image = sitk.GetImageFromArray((1000 * head_values()).astype(np.float32))
    mask = sitk.GetImageFromArray(np.isin(head_regions(), BRAIN_REGIONS).astype(np.uint8))
    for person in ("anna", "bert", "carl"):
        for name, content in (("T1", image), ("T2", image), ("mask", mask)):
            path = folder / person / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(content, str(path))
    return folder


def test_of_scans_only_people_of_the_part_are_measured_on_and_strangers_are_named(tmp_path: Path) -> None:
    folder = folder_of_scans(tmp_path)
    wanted = check(EvaluateSettings, {"folder": tmp_path, "scans": [{"layout": "paired", "folder": str(folder)}]}, "e")
    group = wanted.scans[0].group()
    split = check(Split, {"people": {group: {"training": ["anna"], "test": ["bert"]}}}, "split")
    said: list[str] = []
    (case,) = scanned_cases(wanted.scans[0], split, "test", warn=said.append)
    assert "bert" in case.name
    assert case.real
    assert any("carl" in text for text in said)
    assert set(case.scans) == {Modality.T1, Modality.T2}


def test_a_mask_with_the_skull_in_it_gives_way_to_the_template_as_it_does_in_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, brain = folder_of_scans(tmp_path), np.isin(head_regions(), BRAIN_REGIONS)
    for path in folder.glob("*/*.nii.gz"):
        image = sitk.ReadImage(str(path))
        is_mask = (
            path.name == "mask.nii.gz"
        )  # it gets all of the image; a scan gets air that is not 0, as in a whole head
        image = sitk.Cast(image >= 0, sitk.sitkUInt8) if is_mask else image + 20
        image.SetSpacing([2.5] * 3)
        sitk.WriteImage(image, str(path))

    class Fits:
        agreement = 0.5

        def brain(self, grid: sitk.Image) -> sitk.Image:
            found = sitk.GetImageFromArray(brain.astype(np.uint8))
            found.SetSpacing([2.5] * 3)
            return sitk.Resample(found, grid, sitk.Transform(), sitk.sitkNearestNeighbor)

    monkeypatch.setattr(load, "fit_template", lambda scan: Fits())

    def case_with(**options: str) -> tuple[TestCase, list[str]]:
        source = {"layout": "paired", "folder": str(folder), "largest_offset": 1000} | options
        (wanted,) = check(EvaluateSettings, {"folder": tmp_path, "scans": [source]}, "e").scans
        split = check(Split, {"people": {wanted.group(): {"test": ["anna"]}}}, "split")
        said: list[str] = []
        (case,) = scanned_cases(wanted, split, "test", warn=said.append)
        files = next(one for one in find_cases(wanted) if one.name == case.name)
        if wanted.brain == "auto":
            packed = load.load_case(files, wanted, native=Modality.T1).brain
            assert case.regions is not None
            assert np.array_equal(packed, sitk.GetArrayFromImage(case.regions.image) > 0)
        return case, said

    case, said = case_with()
    assert case.regions is not None
    assert np.array_equal(sitk.GetArrayFromImage(case.regions.image) == Region.BRAIN, brain)
    assert any("more than a brain" in text for text in said)
    assert case_with(brain="none")[0].regions is None
    with pytest.raises(ConfigError, match="brain: template"):
        case_with(brain="mask")


# --- lesions --------------------------------------------------------------------------------------------------------------


def lesions_of(synthetic: np.ndarray, spacing: tuple[float, ...] = ONE_MM, **changes: float) -> dict:
    """The figures of a synthetic head; only its values differ from the real one's."""
    region = head_regions()
    brain, lesions = np.isin(region, BRAIN_REGIONS), region == Region.LESION
    wanted = LesionSettings(**changes)
    return lesion_figures(head_values(), synthetic, lesions, brain, spacing, wanted, hounsfield=False)


def test_the_real_scan_itself_keeps_every_lesion_and_invents_none() -> None:
    figures = lesions_of(head_values())
    assert (figures["count"], figures["shown"], figures["recall"], figures["ratio"]) == (3, 3, 1.0, 1.0)
    assert figures["in_band"] == 1.0
    assert figures["false"] == []
    assert {tuple(lesion["centre"]) for lesion in figures["lesions"]} == set(LESIONS)
    assert figures["lesions"][0]["volume_ml"] == pytest.approx(0.257, abs=0.005)


def test_a_lesion_that_is_gone_is_missed_and_one_at_half_strength_is_out_of_band() -> None:
    synthetic = head_values(seed=1)
    synthetic[ball(LESIONS[0], 4)] = 0.3
    synthetic[ball(LESIONS[1], 4)] = 0.3 + 0.6 * 0.45
    figures = lesions_of(synthetic)
    ratios = {tuple(lesion["centre"]): lesion["ratio"] for lesion in figures["lesions"]}
    assert ratios[LESIONS[0]] == pytest.approx(0, abs=0.02)
    assert ratios[LESIONS[1]] == pytest.approx(0.6, abs=0.02)
    assert ratios[LESIONS[2]] == pytest.approx(1, abs=0.02)
    assert figures["recall"] == pytest.approx(2 / 3)
    assert figures["in_band"] == pytest.approx(1 / 3)
    assert figures["false"] == []


def test_a_lesion_that_turned_dark_is_not_found_again() -> None:
    figures = lesions_of(head_values(lesion=0.05))
    assert figures["recall"] == 0
    assert figures["ratio"] < 0


@pytest.mark.parametrize("value", [0.7, 0.02])
def test_a_lesion_that_was_not_there_is_false_whether_bright_or_dark(value: float) -> None:
    synthetic, place = head_values(seed=1), (32, 26, 44)
    synthetic[ball(place, 4)] = value
    (false,) = lesions_of(synthetic)["false"]
    assert np.linalg.norm(np.subtract(false["centre"], place)) <= 2
    assert 0.1 <= false["volume_ml"] <= 0.4
    assert false["bright"] == (value > 0.3)


def test_what_is_too_small_too_shallow_or_too_faint_is_no_false_lesion() -> None:
    for place, radius, value in (((32, 26, 44), 2, 0.7), ((32, 10, 32), 3, 0.9), ((32, 26, 44), 4, 0.38)):
        synthetic = head_values(seed=1)
        synthetic[ball(place, radius)] = value
        assert lesions_of(synthetic)["false"] == []


def test_a_lesion_that_the_real_scan_does_not_show_counts_neither_way() -> None:
    region = head_regions()
    brain, lesions = np.isin(region, BRAIN_REGIONS), region == Region.LESION
    real = head_values(lesion=0.32)
    figures = lesion_figures(real, head_values(lesion=0.8), lesions, brain, ONE_MM, LesionSettings(), hounsfield=False)
    assert (figures["count"], figures["shown"], figures["recall"]) == (3, 0, None)


def test_volumes_are_in_millilitres_whatever_the_voxels() -> None:
    thick = lesions_of(head_values(), (3.0, 1.0, 1.0))
    assert thick["lesions"][0]["volume_ml"] == pytest.approx(3 * 0.257, abs=0.02)
    assert lesions_of(head_values(), smallest=0.3)["count"] == 0


# --- measuring ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_formula_heads(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "copy": formula_bundle(folder / "copy"),
        "blurred": formula_bundle(folder / "blurred", blur=2),
        "to-ct": formula_bundle(folder / "to-ct", target=Modality.CT, offset=-0.5),
    }


def test_a_model_that_copies_its_input_scores_as_the_identity_does(models: dict[str, Bundle], heads: Path) -> None:
    task = make_task(next(packed_cases(heads)), Direction.parse("T1->T2"))
    assert task is not None
    row = measure(models["copy"], task, EvaluateSettings(folder=heads)).row
    brain = row["comparisons"]["slices"]
    identity = brain["base_lines"]["identity"]
    assert brain["synthetic"]["fitted"]["psnr"] == pytest.approx(identity["fitted"]["psnr"], abs=0.05)
    assert brain["synthetic"]["as_is"]["ssim"] > 0.9
    assert [region["name"] for region in brain["regions"]] == ["lesion"]
    head = row["comparisons"]["slices, whole head"]
    assert [region["name"] for region in head["regions"]] == ["soft tissue", "brain", "lesion", "bone"]
    assert head["voxels"] > brain["voxels"]
    assert row["lesions"]["recall"] == 1


def test_a_right_ct_has_a_small_error_in_hounsfield_units_in_every_region(
    models: dict[str, Bundle], heads: Path
) -> None:
    task = make_task(next(packed_cases(heads)), Direction.parse("T1->CT"))
    assert task is not None
    row = measure(models["to-ct"], task, EvaluateSettings(folder=heads)).row
    assert set(row["comparisons"]) == {"synthrad2023", "synthrad2025"}
    own = row["comparisons"]["synthrad2023"]
    assert own["units"] == "HU"
    assert own["synthetic"]["as_is"]["mae"] < 5  # the source was clipped at its percentiles
    assert {region["name"] for region in own["regions"]} == {"soft tissue", "brain", "lesion", "bone"}
    assert row["comparisons"]["synthrad2025"]["synthetic"]["as_is"]["ms_ssim"] > 0.99
    assert row["bone_dice"] > 0.95


def test_a_case_without_a_known_brain_is_compared_in_the_foreground_of_the_real_scan(
    models: dict[str, Bundle], heads: Path
) -> None:
    case = next(packed_cases(heads))
    unknown = TestCase(case.name, case.scans, case.truths, None, True, True)
    task = make_task(unknown, Direction.parse("T1->T2"))
    assert task is not None
    row = measure(models["copy"], task, EvaluateSettings(folder=heads)).row
    assert row["comparisons"]["slices"]["mask"] == "where the real scan is not 0"
    assert set(row["comparisons"]) == {"slices"}
    assert "lesions" not in row


# --- side by side, and the report -------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """The pictures of a page, and whether every element that was opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(str(dict(attrs)["src"]))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def evaluated(models: dict[str, Bundle], heads: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("evaluation")
    wanted = EvaluateSettings(folder=folder, cases=(heads,))
    return evaluate([models["copy"], models["blurred"], models["to-ct"]], packed_cases(heads), wanted), folder


def test_models_stand_side_by_side_with_the_same_base_lines(evaluated: tuple[dict, Path]) -> None:
    figures, folder = evaluated
    assert json.loads((folder / "figures.json").read_text(encoding="utf-8")) == json.loads(json.dumps(figures))
    means = {(entry["model"], entry["direction"]): entry["metrics"] for entry in figures["summary"]}
    assert set(means) == {("copy", "T1->T2"), ("blurred", "T1->T2"), ("to-ct", "T1->CT")}
    good, poor = means["copy", "T1->T2"], means["blurred", "T1->T2"]
    assert good["psnr_fitted"]["mean"] > poor["psnr_fitted"]["mean"] + 1
    assert good["oracle_psnr"] == poor["oracle_psnr"]
    assert good["gain_psnr"]["mean"] == pytest.approx(good["psnr_fitted"]["mean"] - good["oracle_psnr"]["mean"])
    lesions = {entry["model"]: entry["lesions"] for entry in figures["summary"]}
    assert lesions["copy"]["count"] == 9
    assert lesions["copy"]["recall"] == 1
    assert lesions["blurred"]["ratio"] < 0.9 * lesions["copy"]["ratio"]


def test_the_worst_case_of_each_model_in_each_group_is_pictured(evaluated: tuple[dict, Path]) -> None:
    figures, folder = evaluated
    worst = {(entry["model"], entry["group"]): entry for entry in figures["worst"]}
    assert set(worst) == {("copy", "mr_to_mr_simulated"), ("blurred", "mr_to_mr_simulated"), ("to-ct", "to_ct")}
    assert worst["copy", "mr_to_mr_simulated"]["case"] == "head_2"  # each noisier than the one before
    alone, both = (folder / worst["copy", "mr_to_mr_simulated"]["file"], folder / "pictures" / "T1_to_T2_worst.png")
    with Image.open(alone) as one, Image.open(both) as side_by_side:
        assert one.width < side_by_side.width
    regions = figures["rows"][0]["comparisons"]["slices, whole head"]["regions"]
    assert all(set(region["base_lines"]) == {"identity", "oracle"} for region in regions)


def test_the_report_shows_the_best_the_median_and_the_worst_case(evaluated: tuple[dict, Path]) -> None:
    figures, folder = evaluated
    shown = {p["place"]: p["case"] for p in figures["pictures"] if p["direction"] == "T1->T2"}
    assert shown == {"best": "head_0", "median": "head_1", "worst": "head_2"}  # each noisier than the one before
    page = (folder / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert links.open == []
    assert sorted(links.pictures) == sorted(picture["file"] for picture in figures["pictures"])
    assert len(links.pictures) == 6
    for picture in links.pictures:
        with Image.open(folder / picture) as image:
            assert min(image.size) > 300
            assert np.asarray(image.convert("L")).std() > 20
    for text in ("not for diagnosis", "blurred", "T1-&gt;CT", "oracle", "MAE HU", "lesions one by one", "synthrad2025"):
        assert text in page


def test_names_from_outside_cannot_become_part_of_the_page(
    models: dict[str, Bundle], heads: Path, tmp_path: Path
) -> None:
    case = next(packed_cases(heads))
    odd = TestCase("<script>alert(1)</script>", case.scans, case.truths, case.regions, True, True)
    evaluate([models["copy"]], [odd], EvaluateSettings(folder=tmp_path))
    assert "<script" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_real_people_and_simulated_heads_are_never_averaged_together(evaluated: tuple[dict, Path]) -> None:
    rows = [row | {"real": number == 0} for number, row in enumerate(evaluated[0]["rows"]) if row["model"] == "copy"]
    entries = summarise(rows, LesionSettings())
    assert sorted((entry["real"], entry["cases"]) for entry in entries) == [(False, 2), (True, 1)]


def test_the_worst_r_is_the_one_furthest_from_one(evaluated: tuple[dict, Path]) -> None:
    rows = json.loads(json.dumps([row for row in evaluated[0]["rows"] if row["model"] == "copy"]))
    for row, ratio in zip(rows, (1.3, 0.5, 1.0), strict=True):
        row["comparisons"]["slices"]["between_slices"]["ratio"] = ratio
    (entry,) = summarise(rows, LesionSettings())
    assert entry["metrics"]["ratio"]["worst"] == 0.5


def test_a_figure_that_could_not_be_had_is_left_out_of_the_mean(evaluated: tuple[dict, Path]) -> None:
    rows = json.loads(json.dumps([row for row in evaluated[0]["rows"] if row["model"] == "copy"]))
    kept = [row["comparisons"]["slices"]["synthetic"]["as_is"]["psnr"] for row in rows[1:]]
    rows[0]["comparisons"]["slices"]["synthetic"]["as_is"]["psnr"] = None  # infinite, or not a number
    (entry,) = summarise(rows, LesionSettings())
    assert entry["metrics"]["psnr"]["mean"] == pytest.approx(np.mean(kept))
    assert merit(rows[0]) > -np.inf


def test_what_cannot_be_measured_is_said(models: dict[str, Bundle], heads: Path, tmp_path: Path) -> None:
    wanted = EvaluateSettings(folder=tmp_path, directions=("FLAIR->T2",))
    with pytest.raises(ConfigError, match="Nothing could be measured"):
        evaluate([models["copy"]], packed_cases(heads), wanted)
    with pytest.raises(ConfigError, match="same id"):
        evaluate([models["copy"], models["copy"]], packed_cases(heads), wanted)


def test_an_evaluation_of_no_bundle_or_of_nobody_is_refused(models: dict[str, Bundle], tmp_path: Path) -> None:
    nothing = EvaluateSettings(folder=tmp_path)
    with pytest.raises(ConfigError, match=r"evaluate\.bundles"):
        evaluation_command.run(Project(evaluate=nothing), Console())
    named = nothing.model_copy(update={"bundles": (models["copy"].path,)})
    with pytest.raises(ConfigError, match="nobody to measure on"):
        evaluation_command.run(Project(evaluate=named), Console())
    broken = nothing.model_copy(update={"bundles": (tmp_path / "not there",)})
    with pytest.raises(ConfigError, match="models check"):
        evaluation_command.run(Project(evaluate=broken), Console())


# --- on real scans ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "ms_mni").is_dir(), reason="needs the folder of real scans")
def test_the_bundled_model_has_the_figures_of_its_card_on_a_person_nobody_trained_on(tmp_path: Path) -> None:
    source = {"layout": "mni", "folder": str(DATA / "ms_mni"), "modalities": ["T1", "T2"]}
    content = {"folder": tmp_path, "scans": [source], "directions": ["T1->T2"]}
    wanted = check(EvaluateSettings, content, "evaluate")
    bundle = Bundle.load(ROOT / "Resources" / "Models" / "any-to-any-slab")
    figures = evaluate([bundle], scanned_cases(wanted.scans[0], read_split(), "test"), wanted)
    (row,) = figures["rows"]
    own = row["comparisons"]["slices"]
    assert own["synthetic"]["as_is"]["psnr"] == pytest.approx(16.97, abs=0.05)
    assert own["synthetic"]["fitted"]["ssim"] == pytest.approx(0.739, abs=0.005)
    assert own["base_lines"]["oracle"]["as_is"]["psnr"] == pytest.approx(16.9, abs=0.06)
    assert row["lesions"]["count"] >= 4
    assert 0.3 < row["lesions"]["ratio"] < 0.6  # its card says: about half of their contrast
