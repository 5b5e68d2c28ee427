"""`lesions`, and what `convert` adds to say how far its result can be believed, run as a user runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import Runner, failed
from lesion_heads import Ball, HeadScan
from modality_conversion.image_io import read_image, write_image
from volumes import geometry

pytestmark = pytest.mark.usefixtures("own_models_only")
ONE, TWO = Ball((20, 40, 25), 7.0, 50.0), Ball((44, 30, 30), 9.0, 60.0)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A real T1 with two lesions, a synthetic T2 that has one of them, outlines of each."""
    real, synthetic = HeadScan((ONE, TWO)), HeadScan((TWO,), seed=1)
    images = {
        "real_T1.nii.gz": real.scan(),
        "synthetic_T2.nii.gz": synthetic.scan(),
        "real_lesions.nii.gz": real.mask(),
        "synthetic_lesions.nii.gz": synthetic.mask(),
        "brain.nii.gz": real.brain(),
    }
    for name, image in images.items():
        write_image(image, tmp_path / name)
    return {name.partition(".")[0]: tmp_path / name for name in images}


def outlines(files: dict[str, Path]) -> list[object]:
    return ["--lesions", files["real_lesions"], "--synthetic-lesions", files["synthetic_lesions"]]


def test_the_list_is_told_as_text_as_json_and_as_a_page_that_needs_nothing_else(
    tmp_path: Path, files: dict[str, Path], run: Runner
) -> None:
    page, report = tmp_path / "page.html", tmp_path / "report.json"
    command = ["lesions", files["real_T1"], files["synthetic_T2"], *outlines(files), "--mask", files["brain"]]
    outcome = run(*command, "--html", page, "--report", report)
    assert outcome.code == 0, outcome.err
    assert "2 lesions: 1 lost, 1 kept" in outcome.out
    content = json.loads(report.read_text())
    assert content["synthetic"] is True
    assert content["not_for_diagnosis"] is True
    lost = content["lesions"][0]
    assert lost["verdict"] == "lost"
    assert lost["voxel_ijk"] == list(ONE.centre)
    assert lost["volume_ml"] == pytest.approx(4 / 3 * np.pi * 7**3 / 1000, rel=0.15)
    assert content["files"]["real"]["name"] == "real_T1.nii.gz"
    text = page.read_text(encoding="utf-8")
    assert "NOT FOR DIAGNOSIS" in text
    assert text.count("SYNTHETIC</text>") == 12  # two lesions in three planes, outline and letters
    assert text.count("data:image/png;base64,") == 12
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "<script" not in text
    again = run(*command, "--json")
    assert json.loads(again.out)["counts"] == content["counts"]


def test_what_a_file_is_called_cannot_become_part_of_the_page(
    tmp_path: Path, files: dict[str, Path], run: Runner
) -> None:
    named = tmp_path / "T1 <script>alert(1)<b>.nii.gz"
    files["real_T1"].rename(named)
    page = tmp_path / "page.html"
    outcome = run("lesions", named, files["synthetic_T2"], "--from", "T1", *outlines(files), "--html", page)
    assert outcome.code == 0, outcome.err
    assert "<script" not in page.read_text(encoding="utf-8")


def test_a_real_target_on_another_grid_adds_a_check_against_it(
    tmp_path: Path, files: dict[str, Path], run: Runner
) -> None:
    truth = HeadScan((TWO,), gain=2.0, seed=3).scan()
    wider = sitk.Image([80, 80, 70], sitk.sitkFloat32)
    wider.SetSpacing((2.2, 2.4, 2.6))
    wider.SetDirection(truth.GetDirection())
    wider.SetOrigin(truth.GetOrigin())
    path = tmp_path / "truth_T2.nii.gz"
    write_image(sitk.Resample(truth, wider), path)
    outcome = run("lesions", files["real_T1"], files["synthetic_T2"], *outlines(files), "--real-target", path, "--json")
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert content["against_real_target"]["real_modality"] == "T2"
    assert any("resampled onto the real scan's grid" in w for w in content["against_real_target"]["warnings"])


def segmenter(tmp_path: Path, category: str, **declared: bool) -> None:
    """Labels whatever is above 190, on T1 or T2."""
    code = {"scheme": "SCT", "value": category, "meaning": "For a test"}
    label = {"value": 1, "name": "Bright", "terminology": {"category": code, "type": code}}
    write_bundle(
        tmp_path / "models" / "bright",
        lambda path: graphs.linear(path, channels=((0.0, 0.0), (1.0, -190.0))),
        sources=[{"modality": "T1"}, {"modality": "T2"}],
        targets={},
        segmentation={"labels": [label], **declared},
    )


def bright_pair(tmp_path: Path) -> tuple[Path, Path]:
    first, second = Ball((20, 40, 25), 7.0, 150.0), Ball((44, 30, 30), 9.0, 150.0)
    paths = tmp_path / "a_T1.nii.gz", tmp_path / "b_T2.nii.gz"
    for path, head in zip(paths, (HeadScan((first, second)), HeadScan((second,), seed=1))):
        write_image(head.scan(), path)
    return paths


def test_an_installed_model_that_outlines_lesions_is_asked_about_each_scan(tmp_path: Path, run: Runner) -> None:
    segmenter(tmp_path, "49755003")
    outcome = run("lesions", *bright_pair(tmp_path), "--json")
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert content["method"] == "outlines"
    assert content["outlined_by"] == ["bright 1.0.0"]
    assert content["counts"] == {"lost": 1, "added": 0, "changed": 0, "unclear": 0, "kept": 1}


def test_a_model_that_wants_to_be_named_outlines_lesions_only_then(tmp_path: Path, run: Runner) -> None:
    segmenter(tmp_path, "49755003", check_lesions=False)
    pair = bright_pair(tmp_path)
    assert json.loads(run("lesions", *pair, "--json").out)["method"] == "crude"
    named = json.loads(run("lesions", *pair, "--json", "--finder", "bright").out)
    assert named["outlined_by"] == ["bright 1.0.0"]


def test_a_model_that_outlines_anatomy_is_not_taken_for_one_of_lesions(tmp_path: Path, run: Runner) -> None:
    segmenter(tmp_path, "123037004")  # body structure
    pair = bright_pair(tmp_path)
    content = json.loads(run("lesions", *pair, "--json").out)
    assert content["method"] == "crude"
    assert content["outlined_by"] == []
    failed(run("lesions", *pair, "--finder", "bright"), 1, "does not outline lesions")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--html", "page.txt"], "end in .html"),
        (["--html", "missing/page.html"], "missing"),
        (["--report", "real_T1.nii.gz"], "one of the files given"),
        (["--finder", "no-such-model"], "no model"),
        (["--to", "PET", "--finder", "crude"], "does not know it"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(
    tmp_path: Path, files: dict[str, Path], run: Runner, arguments: list[str], words: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    placed = [str(tmp_path / a) if "." in a else a for a in arguments]
    failed(run("lesions", files["real_T1"], files["synthetic_T2"], *placed), 1, words)
    assert sorted(tmp_path.rglob("*")) == before


def test_scans_that_do_not_say_what_they_are_must_be_named(tmp_path: Path, files: dict[str, Path], run: Runner) -> None:
    plain = tmp_path / "scan.nii.gz"
    files["real_T1"].rename(plain)
    failed(run("lesions", plain, files["synthetic_T2"]), 1, "Say so with --from")
    assert run("lesions", plain, files["synthetic_T2"], "--from", "MRI").code == 2


# --- convert ------------------------------------------------------------------------------------------------------------

MR = {"units": "arbitrary", "background": 0.0, "window": 200.0, "level": 100.0, "dtype": "float32"}
TISSUES = [f"{level}_{place}" for place in ("deep", "outer") for level in ("dark", "middle", "bright")]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """T1 to T2: returns its input with an uncertainty of 3, calibrated; and a second model that goes back."""
    write_bundle(tmp_path / "models" / "back", sources=[{"modality": "T2"}], targets={"T1": MR})
    factors = [{"target": "T2", "tissue": tissue, "factor": 2.0, "cases": 4} for tissue in TISSUES]
    return write_bundle(
        tmp_path / "models" / "there",
        lambda path: graphs.linear(path, channels=((1.0, 0.0), (0.0, 3.0))),
        targets={"T2": MR},
        output={"uncertainty": {"channel": 1, "kind": "scale"}},
        calibration={"coverage": 0.9, "factors": factors, "data": "four heads"},
    )


@pytest.mark.usefixtures("model")
def test_a_conversion_says_how_far_it_can_be_believed(tmp_path: Path, files: dict[str, Path], run: Runner) -> None:
    out, interval, back, page = (tmp_path / n for n in ("out.nii.gz", "half.nii.gz", "back.mha", "lesions.html"))
    outcome = run(
        *("convert", files["real_T1"], "--to", "T2", "--out", out, "--interval", interval, "--consistency", back),
        *("--lesion-report", page, "--lesions", files["real_lesions"], "--progress", "none"),
    )
    assert outcome.code == 0, outcome.err
    assert "90 % interval" in outcome.out
    assert "Converted back" in outcome.out
    report = json.loads((tmp_path / "out.json").read_text())
    assert {row["half_width"] for row in report["interval"]["tissues"]} == {6.0}
    assert report["consistency"]["mean_absolute"] < 1e-4
    assert report["lesion_check"]["method"] == "given"
    assert report["lesion_check"]["counts"]["lost"] == 0
    for path in (interval, back):
        for ours, theirs in zip(geometry(read_image(path)), geometry(read_image(files["real_T1"]))):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert set(np.unique(sitk.GetArrayFromImage(read_image(interval)))) == {0, 6}
    assert "not for diagnosis" in sitk.ReadImage(str(back)).GetMetaData("ITK_FileNotes")
    text = page.read_text(encoding="utf-8")
    assert "90 % interval" in text
    assert "there 1.0.0" in text


@pytest.mark.usefixtures("model")
def test_lesions_can_be_checked_without_a_page(tmp_path: Path, files: dict[str, Path], run: Runner) -> None:
    command = ["convert", files["real_T1"], "--to", "T2", "--out", tmp_path / "out.mha", "--progress", "none"]
    outcome = run(*command, "--check-lesions", "--lesions", files["real_lesions"])
    assert outcome.code == 0, outcome.err
    report = json.loads((tmp_path / "out.json").read_text())
    assert [lesion["verdict"] for lesion in report["lesion_check"]["lesions"]] == ["kept", "kept"]
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.usefixtures("model")
def test_a_calibrated_model_says_its_interval_unasked(tmp_path: Path, files: dict[str, Path], run: Runner) -> None:
    outcome = run("convert", files["real_T1"], "--to", "T2", "--out", tmp_path / "out.mha", "--progress", "json")
    assert outcome.code == 0, outcome.err
    assert "interval" in json.loads(outcome.lines[-1])["result"]
    assert not (tmp_path / "half.nii.gz").exists()


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--lesions", "real_lesions.nii.gz"], 2, "--lesion-report"),
        (["--lesion-report", "out.mha"], 1, "end in .html"),
        (["--lesion-report", "p.html", "--lesions", "real_T1.nii"], 1, "does not exist"),
        (["--lesion-report", "p.html", "--lesions", "small.nii.gz"], 1, "not on the scan's grid"),
        (["--lesion-report", "p.html", "--finder", "nobody"], 1, "no model"),
        (["--interval", "out.mha"], 1, "--interval"),
    ],
)
def test_wrong_wishes_are_refused_before_the_work(
    tmp_path: Path, files: dict[str, Path], run: Runner, arguments: list[str], code: int, words: str
) -> None:
    write_image(HeadScan((ONE,)).mask()[:20], tmp_path / "small.nii.gz")
    placed = [str(tmp_path / a) if "." in a else a for a in arguments]
    outcome = run(
        "convert", files["real_T1"], "--to", "T2", "--out", tmp_path / "out.mha", "--progress", "none", *placed
    )
    assert outcome.code == code, outcome.err
    assert words in re.sub(r"\s+", " ", outcome.err)
    assert not (tmp_path / "out.mha").exists()


def test_a_model_without_calibration_or_way_back_says_so(tmp_path: Path, files: dict[str, Path], run: Runner) -> None:
    write_bundle(tmp_path / "models" / "oneway")
    command = ["convert", files["real_T1"], "--to", "T2", "--out", tmp_path / "out.mha", "--progress", "none"]
    failed(run(*command, "--interval", tmp_path / "i.mha"), 1, "does not say how sure it is")
    failed(run(*command, "--consistency", tmp_path / "c.mha"), 1, "No installed model makes T1 from T2")
    assert not list(tmp_path.glob("*.mha"))


@pytest.mark.usefixtures("model")
def test_a_check_that_cannot_be_made_is_said_and_does_not_cost_the_conversion(
    tmp_path: Path, files: dict[str, Path], run: Runner
) -> None:
    flat = tmp_path / "flat_T1.nii.gz"
    write_image(HeadScan().scan() * 0, flat)
    page = tmp_path / "page.html"
    out = tmp_path / "out.mha"
    outcome = run("convert", flat, "--to", "T2", "--out", out, "--lesion-report", page, "--progress", "none")
    assert outcome.code == 0, outcome.err
    assert out.exists()
    assert "Lesions were not checked" in page.read_text(encoding="utf-8")
