"""DICOM on the command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import Runner, failed, started
from dicom_series import enhanced, gdcm_image, head, synthesised, write_series
from modality_conversion.image_io import read_image, write_image
from test_dicom_write import LABELS

pytestmark = pytest.mark.usefixtures("own_models_only")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Returns its input, with an uncertainty of 2."""
    return write_bundle(
        tmp_path / "models" / "copy",
        lambda path: graphs.linear(path, channels=((1.0, 0.0), (0.0, 2.0))),
        output={"uncertainty": {"channel": 1, "kind": "scale"}},
    )


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with a T1 in DICOM."""
    write_series(tmp_path / "study", head(), series="1.2.3", study="1.2")
    return tmp_path / "study"


def test_a_series_goes_in_and_a_derived_series_comes_out(tmp_path: Path, model: Path, study: Path, run: Runner) -> None:
    out, spread, figure = tmp_path / "synthetic", tmp_path / "spread.dcm", tmp_path / "figure.png"
    outcome = run("convert", study, "--to", "T2", "--out", out, "--uncertainty", spread, "--figure", figure)
    assert outcome.code == 0, outcome.err
    datasets = synthesised(out)
    assert len(datasets) == 12
    assert datasets[0].SyntheticData == "YES"
    assert datasets[0].StudyInstanceUID == "1.2"
    image = head()
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(gdcm_image(out)), sitk.GetArrayFromImage(image), atol=0.6 * 1000 / 65535
    )
    assert pydicom.dcmread(spread).SOPClassUID.name == "Parametric Map Storage"
    assert figure.exists()
    told = json.loads((tmp_path / "synthetic.json").read_text())
    assert told["synthetic"] is True
    assert told["source"]["files"][0]["name"] == "DICOM series 1.2.3"
    assert len(told["source"]["files"][0]["sha256"]) == 64
    assert "S3CR3T" not in json.dumps(told) + outcome.out + outcome.err
    assert {path.name for path in tmp_path.iterdir()} == {
        "models",
        "study",
        "synthetic",
        "synthetic.json",
        "spread.dcm",
        "figure.png",
    }


def test_a_series_can_become_a_nifti(tmp_path: Path, model: Path, study: Path, run: Runner) -> None:
    assert run("convert", study, "--to", "T2", "--out", tmp_path / "out.nii.gz").code == 0
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(read_image(tmp_path / "out.nii.gz")), sitk.GetArrayFromImage(head())
    )


def test_a_multi_frame_file_is_an_input_too(tmp_path: Path, model: Path, study: Path, run: Runner) -> None:
    path = enhanced(tmp_path / "multi", sorted(study.iterdir()))
    outcome = run("convert", path, "--from", "T1", "--to", "T2", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert len(synthesised(tmp_path / "out")) == 12


def test_the_series_is_named_or_follows_from_the_modality(
    tmp_path: Path, model: Path, study: Path, run: Runner
) -> None:
    tags = {"SeriesDescription": "t2_tse", "ScanningSequence": "SE", "RepetitionTime": "4000", "EchoTime": "100"}
    write_series(study, head() + 1, series="1.2.4", study="1.2", names="other {}.dcm", **tags)
    failed(run("convert", study, "--to", "T2", "--out", tmp_path / "a"), 1, "--series")
    assert run("convert", study, "--from", "T1", "--to", "T2", "--out", tmp_path / "b").code == 0
    assert run("convert", study, "--series", "1.2.3", "--to", "T2", "--out", tmp_path / "c.mha").code == 0
    outcome = run("convert", study, "--series", "1.2.4", "--from", "T1", "--to", "T2", "--out", tmp_path / "d.mha")
    assert "It was given as T1, but" in outcome.err
    failed(run("convert", study, "--series", "9.9", "--to", "T2", "--out", tmp_path / "e"), 1, "has no series 9.9")
    listed = run("series", study)
    assert "1.2.3 (T1, 't1_mprage_sag', 12 slices)" in listed.out
    told = json.loads(run("series", study, "--json").out)
    assert [(volume["id"], volume["modality"]) for volume in told["volumes"]] == [("1.2.3", "T1"), ("1.2.4", "T2")]


def test_a_listing_says_what_cannot_be_used_and_why(tmp_path: Path, study: Path, run: Runner) -> None:
    (study / "IM0005.dcm").unlink()
    (study / "broken.dcm").write_bytes(b"\0" * 200)
    said = run("series", study).out
    assert "cannot be used" in said
    assert "lacks 1 slice" in said
    assert "broken.dcm is no DICOM file" in said


def test_labels_become_a_segmentation_object(tmp_path: Path, model: Path, study: Path, run: Runner) -> None:
    labels = LABELS["labels"][:1]
    write_bundle(
        tmp_path / "models" / "bright",
        lambda path: graphs.linear(path, channels=((0.0, 0.0), (1.0, -300.0))),
        targets={},
        segmentation={"labels": labels, "activation": "softmax"},
    )
    out = tmp_path / "labels.dcm"
    outcome = run("segment", study, "--out", out)
    assert outcome.code == 0, outcome.err
    assert pydicom.dcmread(out).SegmentSequence[0].SegmentLabel == "Tumor"
    outcome = run("convert", study, "--to", "T2", "--out", tmp_path / "syn", "--segmentation", tmp_path / "both.dcm")
    assert outcome.code == 0, outcome.err
    assert pydicom.dcmread(tmp_path / "both.dcm").Modality == "SEG"
    assert json.loads((tmp_path / "both.json").read_text())["content"] == "segmentation"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "out.dcm"), "one file a slice"),
        (("--out", "full"), "not empty"),
        (("--out", "nowhere/out"), "does not exist"),
        (("--out", "study"), "not empty"),
        (("--out", "ok", "--uncertainty", "folder"), "not of a kind that can be written"),
    ],
)
def test_places_that_cannot_hold_a_series_are_refused_before_the_work(
    tmp_path: Path, model: Path, study: Path, run: Runner, monkeypatch, arguments, words
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    failed(run("convert", study, "--to", "T2", *arguments), 1, words)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_scan_that_is_no_dicom_makes_no_dicom(tmp_path: Path, model: Path, run: Runner) -> None:
    write_image(head(), tmp_path / "case_T1w.nii.gz")
    for out in ("out", "out.dcm"):
        failed(run("convert", tmp_path / "case_T1w.nii.gz", "--to", "T2", "--out", tmp_path / out), 1, "DICOM")
    outcome = run("convert", tmp_path / "case_T1w.nii.gz", "--series", "1.2", "--to", "T2", "--out", tmp_path / "o.nii")
    assert outcome.code == 2


def test_an_empty_folder_may_be_the_place(tmp_path: Path, model: Path, study: Path, run: Runner) -> None:
    (tmp_path / "out").mkdir()
    assert run("convert", study, "--to", "T2", "--out", tmp_path / "out").code == 0
    assert len(list((tmp_path / "out").iterdir())) == 12
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~_umask()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def test_a_full_disk_leaves_neither_a_series_nor_a_part_of_it(tmp_path: Path, model: Path, study: Path) -> None:
    """The limit of a process on the size of a file stands for a disk that is full: the map does not fit, all else does."""
    resource = pytest.importorskip("resource")
    before = sorted(tmp_path.iterdir())
    process = started(
        *("convert", study, "--to", "T2", "--out", tmp_path / "out", "--uncertainty", tmp_path / "map.dcm"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000)),
        covered=False,
    )
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "cannot be written: File too large" in said
    assert "Traceback" not in said
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_being_written_is_private_and_is_taken_back_when_it_fails(
    tmp_path: Path, model: Path, study: Path, run: Runner, monkeypatch
) -> None:
    seen: list[tuple[int, Path]] = []
    save = pydicom.Dataset.save_as

    def third_fails(dataset, path, **options):
        seen.append((stat.S_IMODE(Path(path).parent.stat().st_mode), Path(path).parent))
        if len(seen) == 3:
            raise OSError(28, "No space left on device")
        return save(dataset, path, **options)

    monkeypatch.setattr(pydicom.dataset.FileDataset, "save_as", third_fails)
    monkeypatch.setattr(pydicom.Dataset, "save_as", third_fails)
    failed(run("convert", study, "--to", "T2", "--out", tmp_path / "out"), 1, "No space left on device")
    assert {mode for mode, _ in seen} == {0o700}
    assert not seen[0][1].exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "study"]
