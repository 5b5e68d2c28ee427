"""Folders, tables and names that nobody meant to give to a batch: one of them must not cost the others, or the user's files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import Runner, failed, started
from dicom_series import head, synthesised, write_series
from modality_conversion.batch.store import NAME, Store
from modality_conversion.image_io import read_image, write_image
from test_batch import places, planned, scan

pytestmark = pytest.mark.usefixtures("own_models_only")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names or files")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Returns its input."""
    return write_bundle(tmp_path / "models" / "copy", graphs.linear)


def rows(path: Path, *lines: tuple[str, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the user's own files -------------------------------------------------------------------------------------------------


def test_a_table_that_would_write_over_what_it_reads_is_refused_row_by_row(tmp_path, model, run: Runner):
    scan(tmp_path / "data" / "a_T1w.nii.gz")
    scan(tmp_path / "data" / "b_T1w.nrrd")
    scan(tmp_path / "data" / "mask.nrrd")
    write_series(tmp_path / "data" / "patient", head(), series="1.2.3", study="1.2")
    listing = rows(
        tmp_path / "data" / "list.csv",
        ("input", "output", "mask"),
        ("a_T1w.nii.gz", "a_T1w.nii.gz", ""),
        ("patient", "patient", ""),
        ("a_T1w.nii.gz", "patient.nii.gz/../a_T1w.nii.gz", ""),
        ("a_T1w.nii.gz", "mask.nrrd", "mask.nrrd"),
        ("b_T1w.nrrd", "good.nrrd", ""),
    )
    before = contents(tmp_path / "data")
    outcome = run("batch", listing, "--from", "T1", "--to", "T2", "--out", tmp_path / "data", "--workers", 1)
    assert outcome.code == 1
    assert {path: content for path, content in contents(tmp_path / "data").items() if path in before} == before
    assert (tmp_path / "data" / "good.nrrd").exists()
    assert "4 of 5 cases failed" in outcome.err


def test_a_folder_of_the_users_where_a_series_should_go_is_left_alone(tmp_path, model, run: Runner):
    write_series(tmp_path / "patient", head(), series="1.2.3", study="1.2")
    mine = tmp_path / "out" / "results" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    listing = rows(tmp_path / "list.csv", ("input", "output"), ("patient", "results"))
    command = ("batch", listing, "--to", "T2", "--out", tmp_path / "out", "--workers", 1)
    assert run(*command).code == 1
    assert mine.read_text() == "years of work"
    mine.unlink()
    assert run(*command).code == 0
    assert len(synthesised(tmp_path / "out" / "results")) == 12
    shutil.rmtree(tmp_path / "out" / NAME)  # its own results are no stranger's
    assert run(*command).code == 0


def test_two_results_never_share_a_side_car(tmp_path):
    scan(tmp_path / "in" / "a_T1w.nii.gz")
    scan(tmp_path / "in" / "a_T1w.nrrd", add=5)
    made = planned(tmp_path / "in", tmp_path / "out")
    assert len(made.cases) == 1
    assert "a_T1w.nii.gz" in made.failed[0].reason


def test_a_table_cannot_take_the_names_of_the_summary(tmp_path):
    write_series(tmp_path / "patient", head(), series="1.2.3", study="1.2")
    write_series(tmp_path / "other", head(), series="1.2.4", study="1.3")
    scan(tmp_path / "x_T1w.nii.gz")
    listing = rows(
        tmp_path / "list.csv",
        ("input", "output"),
        ("patient", "summary.html"),
        ("other", "inside"),
        ("x_T1w.nii.gz", "inside/x.nii.gz"),
        ("./x_T1w.nii.gz", "figures/x.nii.gz"),
        ("././x_T1w.nii.gz", "figures"),
    )
    made = planned(listing, tmp_path / "out")
    assert list(places(made)) == ["other", "./x_T1w.nii.gz"]
    assert len(made.failed) == 3


def test_a_series_whose_identifier_is_a_path_stays_in_the_output_folder(tmp_path, model, run: Runner):
    root, out = tmp_path / "in", tmp_path / "deep" / "out"
    write_series(root / "study", head(), series="../../../../escaped", study="1.2")
    outcome = run("batch", root, "--to", "T2", "--out", out, "--workers", 1)
    assert outcome.code in (0, 1)
    assert not [path for path in tmp_path.rglob("*escaped*") if out not in path.parents]
    made = planned(root, out)
    assert all(".." not in case.out.parts for case in made.cases)


def test_records_that_somebody_else_made_put_nothing_outside_the_output_folder(tmp_path, model, run: Runner):
    scan(tmp_path / "in" / "a_T1w.nii.gz")
    ready = tmp_path / "out" / NAME / "ready" / "evil"
    ready.mkdir(parents=True)
    (ready / "volume").write_text("evil")
    for moves in ([["volume", "../escaped"]], [["../../../../victim", "taken"]], [["volume", str(tmp_path / "abs")]]):
        (tmp_path / "victim").write_text("victim")
        (ready / "manifest.json").write_text(json.dumps({"moves": moves, "record": {}}))
        run("batch", tmp_path / "in", "--to", "T2", "--out", tmp_path / "out", "--workers", 1)
        assert not (tmp_path / "escaped").exists()
        assert not (tmp_path / "abs").exists()
        assert (tmp_path / "victim").read_text() == "victim"
        ready.mkdir(exist_ok=True)
        (ready / "volume").write_text("evil")


def test_an_input_below_the_output_folder_is_said_to_be_so(tmp_path, model, run: Runner):
    scan(tmp_path / "data" / "in" / "a_T1w.nii.gz")
    for out in (tmp_path / "data", tmp_path / "data" / "in"):
        failed(run("batch", tmp_path / "data" / "in", "--to", "T2", "--out", out), 1, "lies in the output folder")
    assert sorted(path.name for path in (tmp_path / "data").rglob("*")) == ["a_T1w.nii.gz", "in"]


# --- one bad thing among many ---------------------------------------------------------------------------------------------


@on_linux
def test_names_of_any_bytes_cost_no_other_case(tmp_path, model, run: Runner):
    root, out = tmp_path / "in", tmp_path / "out"
    scan(root / "good_T1w.nii.gz")
    shutil.copy(root / "good_T1w.nii.gz", root / os.fsdecode(b"caf\xe9_T1w.nii.gz"))
    shutil.copy(root / "good_T1w.nii.gz", root / "two\nlines\t<b>_T1w.nii.gz")
    write_series(root / os.fsdecode(b"Z\xfcrich"), head(), series="1.2.3", study="1.2")
    outcome = run("batch", root, "--to", "T2", "--out", out, "--workers", 1)
    assert outcome.code == 1
    assert "1 of 4 cases failed" in outcome.err
    assert "no UTF-8" in outcome.out
    assert len(synthesised(out / os.fsdecode(b"Z\xfcrich") / "synthetic-T2_1.2.3")) == 12
    with (out / "cases.tsv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file, delimiter="\t"))) == 5
    assert "caf" in (out / "summary.html").read_text(encoding="utf-8")


@on_linux
def test_pipes_sockets_and_links_in_circles_do_not_hang_or_end_a_batch(tmp_path, model):
    root, out = tmp_path / "in", tmp_path / "out"
    scan(root / "good_T1w.nii.gz")
    os.mkfifo(root / "pipe_T1w.nii.gz")
    os.mkfifo(root / "pipe.dcm")
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "good_T1w.json")
    (root / "circle_T1w.nii.gz").symlink_to("circle_T1w.nii.gz")
    (root / "circle.dcm").symlink_to("circle.dcm")
    (root / "gone_T1w.nii.gz").symlink_to(tmp_path / "gone")
    process = started("batch", root, "--to", "T2", "--out", out, "--workers", 1, "--progress", "json")
    try:
        said, wrong = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1, wrong
    told = json.loads(said.splitlines()[-1])["result"]
    assert told["done"] == 1
    assert {entry["case"] for entry in told["failed"]} >= {"circle_T1w.nii.gz", "gone_T1w.nii.gz"}
    assert "unexpected" not in said + wrong


@pytest.mark.parametrize(
    "content", ["[]", "[" * 100_000, '{"Name": ["a"]}', '"text"', "\udcff", '{"modality": ' + "[" * 100_000]
)
def test_a_data_set_with_odd_json_is_converted_all_the_same(tmp_path, model, run: Runner, content):
    root, out = tmp_path / "raw", tmp_path / "out"
    path = scan(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    for name in (root / "dataset_description.json", path.with_name("sub-01_T1w.json")):
        name.write_bytes(content.encode("utf-8", "surrogateescape"))
    outcome = run("batch", root, "--to", "T2", "--out", out, "--workers", 1)
    assert outcome.code == 0, outcome.err
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"


def test_a_row_that_no_system_can_read_is_that_rows_fault(tmp_path):
    scan(tmp_path / "x_T1w.nii.gz")
    listing = rows(
        tmp_path / "list.csv",
        ("input", "output", "mask"),
        ("x_T1w.nii.gz", "", ""),
        ("n\0ul_T1w.nii.gz", "", ""),
        ("l" * 5000 + "_T1w.nii.gz", "", ""),
        ("x_T1w.nii.gz", "n\0ul.nii.gz", ""),
        ("x_T1w.nii.gz", "mask.nii.gz", "m\0.nii.gz"),
        ("x_T1w.nii.gz/y_T1w.nii.gz", "", ""),
    )
    made = planned(listing, tmp_path / "out")
    assert list(places(made)) == ["x_T1w.nii.gz"]
    assert len(made.failed) == 5


def test_a_field_with_a_line_break_stays_one_row(tmp_path):
    scan(tmp_path / "two\u2028lines_T1w.nii.gz")
    listing = rows(tmp_path / "list.csv", ("input",), ("two\u2028lines_T1w.nii.gz",))
    assert len(planned(listing, tmp_path / "out").cases) == 1


def test_a_record_that_is_damaged_costs_a_case_made_again(tmp_path, model, run: Runner):
    scan(tmp_path / "in" / "a_T1w.nii.gz")
    command = ("batch", tmp_path / "in", "--to", "T2", "--out", tmp_path / "out", "--workers", 1)
    assert run(*command).code == 0
    (record,) = (tmp_path / "out" / NAME / "done").iterdir()
    whole = record.read_text()
    for damaged in ("{}", whole[: len(whole) // 2], "[]", '{"moves": 3}', '{"moves": [], "record": {}}', "[" * 100_000):
        record.write_text(damaged)
        outcome = run(*command)
        assert outcome.code == 0, (damaged[:40], outcome.err)
        assert json.loads(record.read_text())["record"]["id"] == "a_T1w.nii.gz"


def test_a_scan_in_two_files_is_another_one_when_its_voxels_change(tmp_path, model, run: Runner):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    command = ("batch", root, "--to", "T2", "--out", out, "--workers", 1, "--progress", "json")
    dates: dict[Path, tuple[int, int]] = {}
    for add in (0, 9):
        for ending in ("mhd", "nhdr"):
            sitk.WriteImage(head() + add, str(root / f"{ending}_T1w.{ending}"))
            if add:  # a header that is copied along keeps its date
                header = root / f"{ending}_T1w.{ending}"
                os.utime(header, ns=dates[header])
        dates = {path: (path.stat().st_mtime_ns,) * 2 for path in root.iterdir() if path.suffix != ".raw"}
        assert run(*command).code == 0
        for name in ("mhd_T1w_synthetic-T2.mha", "nhdr_T1w_synthetic-T2.nrrd"):
            made = sitk.GetArrayFromImage(read_image(out / name))
            np.testing.assert_array_equal(made, sitk.GetArrayFromImage(head() + add))


# --- a disk that is full --------------------------------------------------------------------------------------------------


def test_a_full_disk_fails_the_cases_that_do_not_fit_and_leaves_no_part_of_them(tmp_path, model, run: Runner):
    """The limit of a process on the size of a file stands for a disk that is full."""
    resource = pytest.importorskip("resource")
    root, out = tmp_path / "in", tmp_path / "out"
    scan(root / "small_T1w.nii.gz")
    noise = np.random.default_rng(0).integers(-3000, 3000, (40, 40, 40)).astype(np.int16)
    write_image(sitk.GetImageFromArray(noise), root / "large_T1w.nii.gz")
    write_series(root / "study", sitk.GetImageFromArray(noise), series="1.2.3", study="1.2")
    process = started(
        *("batch", root, "--to", "T2", "--out", out, "--workers", 2),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        covered=False,
    )
    said, wrong = process.communicate(timeout=120)
    assert process.returncode == 1, wrong
    assert "failed: large_T1w.nii.gz" in said
    assert "Free some space" in said
    assert "Traceback" not in wrong
    assert not list(out.rglob("large*"))
    assert not (out / NAME / "work").exists()
    assert (out / "small_T1w_synthetic-T2.nii.gz").exists()
    assert run("batch", root, "--to", "T2", "--out", out, "--workers", 1).code == 0  # space was made
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(out / "large_T1w_synthetic-T2.nii.gz")), noise)


def test_a_disk_that_is_full_from_the_start_is_one_line(tmp_path, model):
    resource = pytest.importorskip("resource")
    scan(tmp_path / "in" / "a_T1w.nii.gz")
    process = started(
        *("batch", tmp_path / "in", "--to", "T2", "--out", tmp_path / "out", "--workers", 1, "--progress", "none"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50)),
        covered=False,
    )
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert len(said.strip().splitlines()) == 1
    assert "cannot be written: File too large" in said
    assert not list((tmp_path / "out").glob("*[!h]"))  # but for the folder of the records, which ends in h


def test_a_store_left_by_a_full_disk_is_no_obstacle(tmp_path):
    store = Store(tmp_path)
    with store.locked():
        (store.workplace("key") / "volume").write_text("half")
        (store.root / "ready" / "half").mkdir()
    with store.locked():
        assert not any((store.root / "work").iterdir())
        assert not any((store.root / "ready").iterdir())
