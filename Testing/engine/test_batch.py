"""Many scans in one run: planned, converted by processes, resumed after any end."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import graphs
from bundles import write_bundle
from command import Runner, failed, started
from dicom_series import head, synthesised, write_series
from modality_conversion.batch import store as store_module
from modality_conversion.batch.case import Case
from modality_conversion.batch.plan import Plan, Question, beside, plan
from modality_conversion.batch.store import NAME, Store
from modality_conversion.batch.summary import Entry, page, ranked, table
from modality_conversion.batch.workers import default_workers, environment, share_of_threads, work
from modality_conversion.errors import ConversionError
from modality_conversion.image_io import read_image, write_image
from modality_conversion.modality import Modality

pytestmark = pytest.mark.usefixtures("own_models_only")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Returns its input, with an uncertainty of 2."""
    return write_bundle(
        tmp_path / "models" / "copy",
        lambda path: graphs.linear(path, channels=((1.0, 0.0), (0.0, 2.0))),
        output={"uncertainty": {"channel": 1, "kind": "scale"}},
    )


def scan(path: Path, add: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(head() + add, path)
    return path


def question(target: Modality = Modality.T2, source: Modality | None = None) -> Question:
    bundle: Any = SimpleNamespace(spec=SimpleNamespace(id="copy"), hash="00")

    def model_for(modality: Modality) -> Any:
        if modality is not Modality.T1:
            raise ConversionError(f"No installed model makes {target} from {modality}.")
        return bundle

    return Question(target, source, model_for)


def planned(given: Path, out: Path, **asked: Any) -> Plan:
    return plan(given, out, question(**asked))


def places(made: Plan) -> dict[str, str]:
    return {case.id: str(case.out) for case in made.cases}


def reasons(refused: list) -> dict[str, str]:
    return {one.id: one.reason for one in refused}


# --- the plan -----------------------------------------------------------------------------------------------------------


def test_a_folder_keeps_its_layout(tmp_path):
    root = tmp_path / "a data set"
    scan(root / "Zoë" / "visit 1_T1w.nii.gz")
    scan(root / "b_t1.nrrd")
    scan(root / "b_flair.nrrd")
    scan(root / "c_T2w.nii.gz")
    scan(root / "mask.nii.gz")
    scan(root / "out" / "x_T1w.nii.gz")
    scan(root / ".hidden" / "y_T1w.nii.gz")
    (root / "made_T1w.json").write_text('{"synthetic": true}')
    scan(root / "made_T1w.nii.gz")
    made = planned(root, root / "out")
    assert places(made) == {
        "Zoë/visit 1_T1w.nii.gz": "Zoë/visit 1_T1w_synthetic-T2.nii.gz",
        "b_t1.nrrd": "b_t1_synthetic-T2.nrrd",
    }
    assert reasons(made.left_out) == {
        "b_flair.nrrd": "No installed model makes T2 from FLAIR.",
        "c_T2w.nii.gz": "It is a T2 already.",
        "mask.nii.gz": "Neither its side-car nor its name says what kind of scan it is.",
        "made_T1w.nii.gz": "It is synthetic itself.",
    }


def test_only_scans_of_the_kind_asked_for_are_cases(tmp_path):
    scan(tmp_path / "in" / "a_T1w.nii.gz")
    scan(tmp_path / "in" / "a_FLAIR.nii.gz")
    made = planned(tmp_path / "in", tmp_path / "out", source=Modality.T1)
    assert list(places(made)) == ["a_T1w.nii.gz"]
    assert reasons(made.left_out) == {"a_FLAIR.nii.gz": "It is a FLAIR; wanted were T1."}


def test_formats_that_are_only_read_become_one_that_is_written():
    assert str(beside(PurePosixPath("a/b_T1.mhd"), Modality.CT)) == "a/b_T1_synthetic-CT.mha"
    assert str(beside(PurePosixPath("b_T1.nhdr"), Modality.CT)) == "b_T1_synthetic-CT.nrrd"


def test_two_scans_that_would_write_one_file_are_one_case_and_a_fault(tmp_path):
    scan(tmp_path / "in" / "a_T1w.mha")
    sitk.WriteImage(head(), str(tmp_path / "in" / "a_T1w.mhd"))
    made = planned(tmp_path / "in", tmp_path / "out")
    assert len(made.cases) == 1
    assert "same name as that of a_T1w.mha" in made.failed[0].reason


def test_a_bids_data_set_becomes_a_derivative(tmp_path):
    root = tmp_path / "raw"
    scan(root / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_run-1_T1w.nii.gz")
    scan(root / "sub-02" / "anat" / "sub-02_T1w.nii.gz")
    scan(root / "sub-02" / "func" / "sub-02_task-rest_bold.nii.gz")
    scan(root / "derivatives" / "other" / "sub-02" / "anat" / "sub-02_T1w.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "Heads", "BIDSVersion": "1.8.0"}')
    made = planned(root, root / "derivatives" / "synthetic")
    assert made.kind == "bids"
    assert places(made) == {
        "sub-01/ses-a/anat/sub-01_ses-a_run-1_T1w.nii.gz": (
            "sub-01/ses-a/anat/sub-01_ses-a_run-1_desc-syntheticFromT1_T2w.nii.gz"
        ),
        "sub-02/anat/sub-02_T1w.nii.gz": "sub-02/anat/sub-02_desc-syntheticFromT1_T2w.nii.gz",
    }
    assert made.cases[0].sidecar["Sources"] == ["bids:raw:sub-01/ses-a/anat/sub-01_ses-a_run-1_T1w.nii.gz"]


def test_dicom_series_are_cases_and_keep_their_folders(tmp_path):
    root = tmp_path / "in"
    write_series(root / "patient 1" / "mixed", head(), series="1.2.3", study="1.2")
    write_series(
        root / "patient 1" / "mixed", head(), series="1.2.4", study="1.2", names="b{}.dcm", SyntheticData="YES"
    )
    gap = write_series(root / "patient 2", head(), series="1.2.5", study="1.3")
    gap[4].unlink()
    write_series(root / "patient 3", head(), series="1.2.6", study="1.4", names="{}")[11].write_bytes(
        b"\0" * 128 + b"DICM"
    )
    made = planned(root, tmp_path / "out")
    assert places(made) == {"patient 1/mixed series 1.2.3": "patient 1/mixed/synthetic-T2_1.2.3"}
    told = reasons(made.failed)
    assert "lacks 1 slice" in told["patient 2 series 1.2.5"]
    assert "damaged" in told["patient 3/11"]
    assert "may belong to it" in told["patient 3 series 1.2.6"]
    assert reasons(made.left_out) == {"patient 1/mixed series 1.2.4": "It is synthetic itself."}


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_table_says_what_is_what(tmp_path, ending):
    scan(tmp_path / "x.nii.gz")
    scan(tmp_path / "sub dir" / "y_T1w.nii.gz")
    write_series(tmp_path / "dicom", head(), series="1.2.3", study="1.2")
    rows = [
        ("input", "from", "output", "series", "mask"),
        ("x.nii.gz", "t1", "renamed.mha", "", ""),
        ("sub dir/y_T1w.nii.gz", "", "", "", "x.nii.gz"),
        ("dicom", "", "", "1.2.3", ""),
        ("x.nii.gz", "", "", "", ""),
        ("missing_T1w.nii.gz", "", "", "", ""),
        ("x.nii.gz", "T1", "../../etc/passwd.nii", "", ""),
        ("x.nii.gz", "T9", "", "", ""),
        ("x.nii.gz", "T1", "y.txt", "", ""),
        ("", "T1", "", "", ""),
        ("", "", "", "", ""),
    ]
    separator = "," if ending == "csv" else "\t"
    listing = tmp_path / f"list.{ending}"
    listing.write_text("\ufeff" + "\n".join(separator.join(row) for row in rows), encoding="utf-8")
    made = planned(listing, tmp_path / "out")
    assert places(made) == {
        "x.nii.gz": "renamed.mha",
        "sub dir/y_T1w.nii.gz": "sub dir/y_T1w_synthetic-T2.nii.gz",
        "dicom": "dicom/synthetic-T2_1.2.3",
    }
    assert made.cases[1].mask == tmp_path / "x.nii.gz"
    said = [refused.reason for refused in made.failed]
    for words in ("column `from`", "does not exist", "output folder", "'T9'", "kind that can be written", "no input"):
        assert any(words in reason for reason in said), (words, said)
    assert len(said) == 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("scan,from\na,b\n", "not known"),
        ("from\nT1\n", "no column `input`"),
        ('input\n"never closed\n', "no table"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, content, words):
    listing = tmp_path / "list.csv"
    listing.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConversionError, match=words):
        planned(listing, tmp_path / "out")


def test_what_is_neither_a_folder_nor_a_table_is_refused(tmp_path):
    with pytest.raises(ConversionError, match="does not exist"):
        planned(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ConversionError, match="no folder and no table"):
        planned(tmp_path / "a.txt", tmp_path / "out")


def test_a_case_is_another_one_when_its_input_or_its_model_changes(tmp_path):
    path = scan(tmp_path / "a_T1w.nii.gz")

    def case(**changes: Any) -> Case:
        fields: dict[str, Any] = {"source": path, "modality": Modality.T1, "out": PurePosixPath("o"), "model": "m"}
        return Case("a", **{**fields, "model_sha256": "1", "files": (path,), **changes})

    before = case().fingerprint()
    assert case().fingerprint() == before
    assert case(model_sha256="2").fingerprint() != before
    assert case(modality=Modality.PD).fingerprint() != before
    path.write_bytes(b"something else")
    assert case().fingerprint() != before


# --- the records --------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may run after it."""


def staged(store: Store, key: str, words: str) -> Path:
    """What a worker leaves: a volume, an account, a folder, and the manifest."""
    folder = store.workplace(key)
    (folder / "volume").write_text(words)
    (folder / "account").write_text(words)
    (folder / "series").mkdir()
    (folder / "series" / "1").write_text(words)
    moves = [["volume", f"a/{key}.vol"], ["account", f"a/{key}.json"], ["series", f"b/{key}"]]
    (folder / "manifest.json").write_text(json.dumps({"moves": moves, "record": {"words": words}}))
    return folder


def result(store: Store, key: str) -> list[str]:
    paths = (store.out / "a" / f"{key}.vol", store.out / "a" / f"{key}.json", store.out / "b" / key / "1")
    return [path.read_text() if path.exists() else "" for path in paths]


@pytest.mark.parametrize("first", ["", "old"])
def test_a_run_that_is_killed_at_any_step_leaves_a_case_whole_or_to_be_done(tmp_path, monkeypatch, first):
    """Every change of the file system in a commit is a step; the run is killed before the first, the second, and so on."""
    steps = ("replace", "rename", "mkdir", "unlink")
    real = {name: getattr(Path, name) for name in steps}
    outcomes = set()
    for last in itertools.count():
        store = Store(tmp_path / f"out{last}")
        if first:
            with store.locked():
                store.commit("case", staged(store, "case", first))
        count = itertools.count()

        def counted(name: str, count: Any = count, last: int = last) -> Callable:
            def step(self: Path, *args: Any, **kwargs: Any) -> Any:
                if next(count) >= last:
                    raise Killed
                return real[name](self, *args, **kwargs)

            return step

        removed = store_module.shutil.rmtree
        finished = False
        with monkeypatch.context() as patched, store.locked():
            folder = staged(store, "case", "new")
            for name in steps:
                patched.setattr(Path, name, counted(name))
            try:
                store.commit("case", folder)
                finished = True
            except Killed:
                patched.setattr(store_module.shutil, "rmtree", lambda *args, **kwargs: None)  # nor does it clean up
        assert store_module.shutil.rmtree is removed
        with store.locked():  # the next run
            told, found = store.record("case"), result(store, "case")
            assert not any((store.root / "work").iterdir())
            assert not any((store.root / "ready").iterdir())
        decided = told == {"words": "new"}
        assert found == (["new"] * 3 if decided else [first] * 3), (last, told, found)
        assert decided or told == ({"words": first} if first else None)
        outcomes.add(decided)
        if finished:
            break
    assert last > 5
    assert outcomes == {True, False}


def test_only_one_run_at_a_time_writes_to_a_folder_and_a_killed_one_lets_go(tmp_path):
    here = str(Path(store_module.__file__).parents[2])
    words = (
        f"import sys, time; sys.path.insert(0, {here!r})\n"
        "from pathlib import Path\nfrom modality_conversion.batch.store import Store\n"
        f"with Store(Path({str(tmp_path)!r})).locked():\n    print('locked', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "locked"
        with pytest.raises(ConversionError, match="Another batch"), Store(tmp_path).locked():
            pass
    finally:
        other.kill()
        other.wait()
    with Store(tmp_path).locked():
        pass


def test_records_and_what_is_being_made_are_private(tmp_path):
    store = Store(tmp_path / "out")
    with store.locked():
        for folder in (store.root, store.root / "work", store.workplace("key")):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not (store.root / "work").exists()


def test_a_case_whose_file_was_removed_is_to_be_done_again(tmp_path):
    store = Store(tmp_path)
    with store.locked():
        store.commit("case", staged(store, "case", "new"))
        assert store.record("case") == {"words": "new"}
        (tmp_path / "a" / "case.vol").unlink()
        assert store.record("case") is None


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConversionError, match="cannot be written"), Store(tmp_path / "file" / "out").locked():
        pass


# --- the workers --------------------------------------------------------------------------------------------------------

ECHO = """
import json, os, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["key"] == "dies" or (request["key"] == "dies once" and not os.path.exists(request["mark"])):
        if "mark" in request: open(request["mark"], "w").close()
        os.kill(os.getpid(), 9)
    answer = {"error": "bad"} if request["key"] == "bad" else {"done": True, "threads": os.environ["OMP_NUM_THREADS"]}
    print(json.dumps(answer), flush=True)
"""


def answers(requests: list[dict], workers: int, cancel: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    found: dict[str, Any] = {}
    work(
        requests, workers, lambda r: r, lambda r, a: found.setdefault(r["key"], a), cancel, (sys.executable, "-c", ECHO)
    )
    return found


def test_a_worker_that_dies_costs_neither_the_others_nor_the_next_cases(tmp_path):
    requests = [{"key": key} for key in ("a", "dies", "b", "bad", "c")]
    requests.insert(2, {"key": "dies once", "mark": str(tmp_path / "mark")})
    found = answers(requests, 2)
    assert set(found) == {"a", "b", "c", "dies", "bad", "dies once"}
    assert found["bad"] == {"error": "bad"}
    assert "by signal 9" in found["dies"]["error"]
    assert all(found[key]["done"] for key in ("a", "b", "c", "dies once"))


def test_no_request_no_process():
    assert answers([], 4) == {}


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MODALITY_CONVERSION_THREADS", raising=False)
    from modality_conversion.batch import workers

    monkeypatch.setattr(workers, "physical_cores", lambda: 8)
    monkeypatch.setattr(workers, "_memory", lambda: 7 << 30)
    assert [share_of_threads(n) for n in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    assert environment(4)["MODALITY_CONVERSION_THREADS"] == "2"
    assert environment(4)["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] == "2"
    assert default_workers("cpu") == 3  # 7 GiB
    assert default_workers("cuda:0") == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environment(4)["OMP_NUM_THREADS"] == "5"


def test_cancelling_ends_the_workers():
    asked = itertools.chain([False], itertools.repeat(True))
    found = answers([{"key": str(n)} for n in range(50)], 1, lambda: next(asked))
    assert len(found) < 5


# --- the summary --------------------------------------------------------------------------------------------------------


def entries() -> list[Entry]:
    usual = [
        Entry(f"case {n}", out=f"o{n}", source="T1", features={"uncertainty": 0.1 + n / 100, "head_ml": 1000.0 + n})
        for n in range(6)
    ]
    odd = Entry("odd", out="odd", source="T1", features={"uncertainty": 0.12, "head_ml": 300.0})
    unsure = Entry("unsure", out="u", source="T1", features={"uncertainty": 0.4, "head_ml": 1002.0})
    sure = Entry("sure", out="s", source="T1", features={"uncertainty": 0.0001, "head_ml": 1003.0})
    warned = Entry("warned", out="w", source="T1", warnings=("look",), features={"head_ml": 1002.0})
    return [*usual, sure, unsure, odd, warned, Entry("<b>broken</b>", reason="5 < 6 & so on")]


def test_the_worst_cases_come_first():
    order = [entry.id for entry in ranked(entries())]
    assert order[:4] == ["<b>broken</b>", "warned", "odd", "unsure"]
    assert order.index("sure") > 4


def test_the_page_says_all_and_lets_no_name_become_html():
    text = page(ranked(entries()), [("x<y", "left & out")], "T2")
    assert "<b>broken</b>" not in text
    assert "&lt;b&gt;broken" in text
    assert "5 &lt; 6 &amp; so on" in text
    assert "x&lt;y" in text
    assert "Not for diagnosis" in text
    assert text.index("odd") < text.index("case 3")
    assert "http" not in text  # it loads nothing from anywhere


def test_the_table_has_a_line_for_each_case():
    lines = table(ranked(entries())).splitlines()
    assert len(lines) == 12
    assert lines[1].split("\t")[:3] == ["<b>broken</b>", "failed", "5 < 6 & so on"]


# --- all of it ----------------------------------------------------------------------------------------------------------


def test_a_mixed_folder_is_converted_and_a_second_run_does_nothing_again(tmp_path, model, run: Runner):
    root, out = tmp_path / "in put", tmp_path / "out"
    scan(root / "é" / "a_T1w.nii.gz")
    scan(root / "b_T1w.nrrd", add=3)
    (root / "broken_T1w.nii.gz").write_bytes(b"nothing")
    write_series(root / "study", head(), series="1.2.3", study="1.2")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    outcome = run("batch", root, "--to", "T2", "--out", out, "--workers", 2)
    failed_words = "1 of 4 cases failed"
    assert outcome.code == 1
    assert failed_words in outcome.err
    assert "failed: broken_T1w.nii.gz" in outcome.out
    assert "S3CR3T" not in outcome.out + outcome.err
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(read_image(out / "b_T1w_synthetic-T2.nrrd")), sitk.GetArrayFromImage(head() + 3)
    )
    assert json.loads((out / "é" / "a_T1w_synthetic-T2.json").read_text())["not_for_diagnosis"] is True
    assert len(synthesised(out / "study" / "synthetic-T2_1.2.3")) == 12
    assert json.loads((out / "study" / "synthetic-T2_1.2.3.json").read_text())["synthetic"] is True
    summary = (out / "summary.html").read_text()
    assert "broken_T1w.nii.gz" in summary
    assert len(list((out / "figures").iterdir())) == 3
    assert summary.count("<img") == 3
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    kept = "S3CR3T"
    for path in (out / NAME).rglob("*"):
        assert path.is_dir() or kept not in path.read_text()

    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".gz", ".nrrd", ".dcm")}
    scan(root / "broken_T1w.nii.gz")  # repaired
    outcome = run("batch", root, "--to", "T2", "--out", out, "--progress", "json", "--workers", 1)
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.lines[-1])["result"]
    assert (told["done"], told["kept"], told["failed"]) == (4, 3, [])
    assert all(path.stat().st_mtime_ns == then for path, then in times.items())
    assert not any((out / NAME / "failed").iterdir())


def test_what_a_gate_refuses_is_a_failure_unless_forced_and_then_marked(tmp_path, run: Runner):
    write_bundle(tmp_path / "models" / "fine", gate={"spacing": {"warn": [0.1, 0.2], "refuse": [0.1, 0.2]}})
    scan(tmp_path / "in" / "a_T1w.nii.gz")
    command = ("batch", tmp_path / "in", "--to", "T2", "--out", tmp_path / "out", "--workers", 1)
    refused = run(*command)
    assert refused.code == 1
    assert "--force" in refused.out
    outcome = run(*command, "--force")
    assert outcome.code == 0, outcome.err
    account = json.loads((tmp_path / "out" / "a_T1w_synthetic-T2.json").read_text())
    assert account["forced"] is True
    assert "Forced" in (tmp_path / "out" / "summary.html").read_text()


def test_a_bids_data_set_has_its_description(tmp_path, model, run: Runner):
    root, out = tmp_path / "raw", tmp_path / "raw" / "derivatives" / "synthetic"
    scan(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "Heads", "BIDSVersion": "1.8.0"}')
    assert run("batch", root, "--to", "T2", "--out", out).code == 0
    told = json.loads((out / "dataset_description.json").read_text())
    assert told["DatasetType"] == "derivative"
    assert told["Name"] == "Synthetic T2 of Heads"
    assert told["GeneratedBy"][0]["Name"] == "ModalityConversion"
    assert told["DatasetLinks"] == {"raw": "../.."}
    sidecar = json.loads((out / "sub-01" / "anat" / "sub-01_desc-syntheticFromT1_T2w.json").read_text())
    assert sidecar["Sources"] == ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]
    assert sidecar["synthetic"] is True


def test_nothing_to_convert_and_no_model_are_said(tmp_path, model, run: Runner):
    scan(tmp_path / "in" / "a_T2w.nii.gz")
    failed(
        run("batch", tmp_path / "in", "--to", "T2", "--out", tmp_path / "out"), 1, "holds no scan to convert into T2"
    )
    failed(
        run("batch", tmp_path / "in", "--from", "T2", "--to", "CT", "--out", tmp_path / "out"), 1, "makes CT from T2"
    )
    assert not (tmp_path / "out").exists()


def test_killed_runs_lose_double_and_halve_nothing(tmp_path, model):
    """`kill -9` at random moments; BATCH_KILLS and BATCH_CASES make more of them than the suite has time for."""
    kills, cases = int(os.environ.get("BATCH_KILLS", "2")), int(os.environ.get("BATCH_CASES", "6"))
    root, out = tmp_path / "in", tmp_path / "out"
    for number in range(cases):
        scan(root / f"{number:02}_T1w.nii.gz", add=number)
    draw = random.Random(7)
    arguments = ("batch", root, "--to", "T2", "--out", out, "--workers", 2, "--progress", "json")
    seen: dict[Path, tuple[int, int]] = {}
    stopped = 0

    def finished() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.rglob("*_synthetic-T2.nii.gz")}

    for _ in range(kills):
        process = started(*arguments)
        assert process.stdout is not None
        process.stdout.readline()  # it is under way
        wanted = draw.randint(1, max(1, cases // kills))
        for _ in range(wanted):
            process.stdout.readline()
        time.sleep(draw.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        stopped += 1
        now = finished()
        for path, mark in seen.items():
            assert now[path] == mark, f"{path.name} was made again"
        for path in now:
            read_image(path)  # whole
        seen = now

    process = started(*arguments)
    text, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    told = json.loads(text.splitlines()[-1])["result"]
    assert told["done"] == cases
    assert told["kept"] >= len(seen)
    now = finished()
    assert all(now[path] == mark for path, mark in seen.items())
    assert len(now) == cases
    for path in now:
        number = int(path.name[:2])
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path)), sitk.GetArrayFromImage(head() + number))
    left = {path.name for path in (out / NAME).iterdir()}
    assert left == {"lock", "ready", "done", "failed"}
    assert not any((out / NAME / "ready").iterdir())
    assert stopped == kills
