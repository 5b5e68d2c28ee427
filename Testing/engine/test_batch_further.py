"""Cases of several scans in a batch: found beside the scan by a pattern, or named in a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import Runner, failed
from dicom_series import head, write_series
from modality_conversion.batch.case import Case
from modality_conversion.batch.further import Pattern
from modality_conversion.errors import ConversionError
from modality_conversion.image_io import read_image, write_image
from modality_conversion.modality import Modality
from test_batch import scan

pytestmark = pytest.mark.usefixtures("own_models_only")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The sum of a T1 and a FLAIR."""
    return write_bundle(
        tmp_path / "models" / "joint",
        lambda path: graphs.with_inputs(path, {"flair": ("batch", 1, "height", "width")}),
        sources=[{"modality": "T1"}, {"modality": "FLAIR"}],
        inputs=[{"name": "image", "modality": "T1"}, {"name": "flair", "modality": "FLAIR"}],
    )


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image).astype(np.float64)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FLAIR={case}_FLAIR.nii.gz", "a_1_FLAIR.nii.gz"),
        ("FLAIR={case}_*LAIR.nii*", "a_1_FLAIR.nii.gz"),
        ("FLAIR=../other/{case}.mha", "../other/a_1.mha"),
    ],
)
def test_a_pattern_means_the_one_file_beside_a_scan(tmp_path, text, found):
    for name in ("x/a_1_T1w.nii.gz", "x/a_1_FLAIR.nii.gz", "x/b_1_FLAIR.nii.gz", "other/a_1.mha"):
        scan(tmp_path / name)
    pattern = Pattern.parse(text)
    assert pattern.modality is Modality.FLAIR
    assert pattern.beside(tmp_path / "x" / "a_1_T1w.nii.gz").resolve() == (tmp_path / "x" / found).resolve()


def test_a_pattern_that_means_none_or_several_is_said(tmp_path):
    for name in ("a_T1w.nii.gz", "a_FLAIR.nii.gz", "a_run-2_FLAIR.nii.gz", "plain.nii.gz"):
        scan(tmp_path / name)
    with pytest.raises(ConversionError, match=r"Several files match \(a_FLAIR.nii.gz, a_run-2_FLAIR.nii.gz\)"):
        Pattern.parse("FLAIR={case}_*FLAIR.nii.gz").beside(tmp_path / "a_T1w.nii.gz")
    with pytest.raises(ConversionError, match="No file matches"):
        Pattern.parse("FLAIR={case}_FLAIR.nrrd").beside(tmp_path / "a_T1w.nii.gz")
    with pytest.raises(ConversionError, match="no underscore"):
        Pattern.parse("FLAIR={case}_FLAIR.nii.gz").beside(tmp_path / "plain.nii.gz")
    for text in ("FLAIR", "FLAIR=", "FLAIR=/etc/x.nii", "SONAR=x.nii"):
        with pytest.raises(ValueError):
            Pattern.parse(text)


def test_a_name_with_brackets_is_no_pattern(tmp_path):
    for name in ("a[1]_T1w.nii.gz", "a[1]_FLAIR.nii.gz", "a1_FLAIR.nii.gz"):
        scan(tmp_path / name)
    found = Pattern.parse("FLAIR={case}_FLAIR.nii.gz").beside(tmp_path / "a[1]_T1w.nii.gz")
    assert found.name == "a[1]_FLAIR.nii.gz"


def test_what_is_synthetic_is_no_further_scan(tmp_path):
    scan(tmp_path / "a_T1w.nii.gz")
    scan(tmp_path / "a_FLAIR.nii.gz")
    (tmp_path / "a_FLAIR.json").write_text('{"synthetic": true}')
    with pytest.raises(ConversionError, match="No file matches"):
        Pattern.parse("FLAIR={case}_FLAIR.nii.gz").beside(tmp_path / "a_T1w.nii.gz")


def test_a_data_set_is_converted_from_two_scans_of_each_person(tmp_path: Path, model: Path, run: Runner) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    for person in ("sub-01", "sub-02"):
        scan(root / person / "anat" / f"{person}_T1w.nii.gz")
    scan(root / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz", add=5)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    asked = ("batch", root, "--from", "T1", "--to", "T2", "--out", out, "--input", "FLAIR={case}_FLAIR.nii.gz")
    outcome = run(*asked, "--workers", "1")
    failed(outcome, 1, "1 of 2 cases failed")
    assert "sub-02" in outcome.out
    assert "No file matches" in outcome.out
    made = out / "sub-01" / "anat" / "sub-01_desc-syntheticFromT1_T2w"
    np.testing.assert_allclose(values(read_image(f"{made}.nii.gz")), 2 * values(head()) + 5, rtol=1e-5)
    account = json.loads(Path(f"{made}.json").read_text(encoding="utf-8"))
    assert [(one["modality"], one["name"]) for one in account["source"]["files"]] == [
        ("T1", "sub-01_T1w.nii.gz"),
        ("FLAIR", "sub-01_FLAIR.nii.gz"),
    ]
    assert account["Sources"] == [f"bids:raw:sub-01/anat/sub-01_{kind}.nii.gz" for kind in ("T1w", "FLAIR")]


def test_a_table_names_further_scans_in_columns(tmp_path: Path, model: Path, run: Runner) -> None:
    scan(tmp_path / "one.mha")
    scan(tmp_path / "two.mha", add=7)
    rows = "input,from,flair,output\none.mha,T1,two.mha,made.mha\none.mha,T1,gone.mha,lost.mha\none.mha,T1,,alone.mha\n"
    (tmp_path / "scans.csv").write_text(rows, encoding="utf-8")
    outcome = run("batch", tmp_path / "scans.csv", "--to", "T2", "--out", tmp_path / "out", "--workers", "1")
    failed(outcome, 1, "2 of 3 cases failed")
    assert "gone.mha, its FLAIR, is no file" in outcome.out
    np.testing.assert_allclose(values(read_image(tmp_path / "out" / "made.mha")), 2 * values(head()) + 7, rtol=1e-5)
    assert not (tmp_path / "out" / "alone.mha").exists()


def test_a_case_is_another_one_when_its_further_scan_changes(tmp_path):
    main, other = scan(tmp_path / "a.mha"), scan(tmp_path / "b.mha")
    place = Path("x.mha")

    def case(modality: Modality | None) -> Case:
        further = ((modality, other),) if modality else ()
        files = (main, other) if modality else (main,)
        return Case("a", main, Modality.T1, place, "m", "0", None, files, further=further)  # type: ignore[arg-type]

    prints = {case(kind).fingerprint() for kind in (None, Modality.T2, Modality.FLAIR)}
    write_image(head() + 1, other)
    assert len(prints | {case(Modality.T2).fingerprint()}) == 4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--input", "FLAIR=x.nii"), "--from"),
        (("--from", "T1", "--input", "FLAIR"), "not of the form"),
        (("--from", "T1", "--input", "T1=x.nii"), "once"),
    ],
)
def test_wrong_wishes_are_refused_before_the_work(tmp_path, model, run: Runner, more, words):
    scan(tmp_path / "in" / "a_T1w.nii.gz")
    outcome = run("batch", tmp_path / "in", "--to", "T2", "--out", tmp_path / "out", *more)
    assert outcome.code == 2
    assert words in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_series_has_nothing_beside_it(tmp_path: Path, model: Path, run: Runner) -> None:
    write_series(tmp_path / "in" / "study", head())
    asked = ("batch", tmp_path / "in", "--from", "T1", "--to", "T2", "--out", tmp_path / "out")
    outcome = run(*asked, "--input", "FLAIR=*.nii")
    failed(outcome, 1, "1 of 1 cases failed")
    assert "not beside DICOM series" in outcome.out
