"""Whether a scan is what a model was made for: the gate's rules, and what the command line does with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import heads
from bundles import write_bundle
from command import Runner, failed
from modality_conversion import ConversionError, catalog, read_image
from modality_conversion.bundle import Bundle
from modality_conversion.check import check
from modality_conversion.gate import Verdict, judge, judge_scan, mismatch, refuse
from modality_conversion.modality import Modality
from modality_conversion.recognise import Orientation, Recognition, recognise
from modality_conversion.recognise_network import KINDS, open_network
from modality_conversion.schema import Gate

T1, T2, CT, PET, CBCT = Modality.T1, Modality.T2, Modality.CT, Modality.PET, Modality.CBCT


def seen(kind: str = "T1", sure: float = 0.99, **changes: Any) -> Recognition:
    """A whole upright head of a kind, recognised with this probability."""
    rest = (1 - sure) / (len(KINDS) - 1)
    ordinary = Recognition(
        modality=None if kind == "other" else Modality(kind),
        confidence=sure,
        known=sure >= 0.7,
        enough=True,
        probabilities={name: sure if name == kind else rest for name in KINDS},
        head=0.99,
        stripped=0.02,
        defaced=0.5,
        orientation=Orientation(True, "superior", "anterior", 0.99),
        coverage=0.98,
        cut=(),
        size=(100, 100, 100),
        spacing=(1.0, 1.0, 1.0),
        distance=7.0,
        unusual=0.4,
        notes=(),
        seconds=0.1,
        recogniser="1.0.0",
    )
    return replace(ordinary, **changes)


def gate(**fields: Any) -> Gate:
    return Gate.model_validate_json(json.dumps(fields))


STRICT = gate(
    anatomy="head",
    skull=["whole", "defaced"],
    orientation="upright",
    coverage={"warn": 0.3, "refuse": 0.7},
    spacing={"warn": [0.4, 5], "refuse": [0.2, 8]},
    unusual={"warn": 0.99, "refuse": 1},
)


def said(recognition: Recognition, given: Modality = T1, rules: Gate = STRICT) -> list[tuple[str, str]]:
    return [(found.severity, found.about) for found in judge_scan(recognition, given, rules, "a-model")]


# --- the rules --------------------------------------------------------------------------------------------------------


def test_an_ordinary_scan_passes_without_a_word() -> None:
    assert said(seen()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "T1CE"}, [("refuse", "mismatch")]),
        ({"probabilities": {**dict.fromkeys(KINDS, 0.0), "T1": 0.2, "T1CE": 0.8}}, [("warn", "mismatch")]),
        ({"kind": "T1", "sure": 0.4}, []),
        ({"kind": "T1", "sure": 0.25}, [("warn", "mismatch")]),
        ({"kind": "other"}, [("refuse", "mismatch")]),
        ({"head": 0.05}, [("refuse", "anatomy")]),
        ({"head": 0.45}, [("warn", "anatomy")]),
        ({"stripped": 0.95}, [("refuse", "skull")]),
        ({"stripped": 0.6}, [("warn", "skull")]),
        ({"orientation": Orientation(False, "inferior", "anterior", 0.97)}, [("refuse", "orientation")]),
        ({"orientation": Orientation(None, "inferior", "anterior", 0.5)}, []),
        ({"coverage": 0.5, "cut": ("superior",)}, [("warn", "coverage")]),
        ({"coverage": 0.1}, [("refuse", "coverage")]),
        ({"spacing": (1.0, 1.0, 6.0)}, [("warn", "spacing")]),
        ({"spacing": (1.0, 1.0, 12.0)}, [("refuse", "spacing")]),
        ({"spacing": (0.1, 0.1, 1.0)}, [("refuse", "spacing")]),
        ({"unusual": 0.995}, [("warn", "unusual")]),
        ({"unusual": 1.0}, [("refuse", "unusual")]),
        ({"kind": "T2", "enough": False, "notes": ("The scan is thin.",)}, [("warn", "mismatch")]),
        ({"kind": "other", "notes": ("The scan has 3 values.",)}, [("refuse", "mismatch"), ("warn", "mismatch")]),
    ],
)
def test_what_the_model_was_not_made_for_is_refused_and_what_is_unusual_warned_of(
    changes: dict, expected: list
) -> None:
    assert said(seen(**changes)) == expected


def test_of_several_reasons_all_are_said_and_refusals_come_first() -> None:
    found = said(seen(kind="T2", spacing=(1.0, 1.0, 6.0), stripped=0.99, unusual=0.999))
    assert found == [("refuse", "mismatch"), ("refuse", "skull"), ("warn", "spacing"), ("warn", "unusual")]


def test_what_is_no_head_is_not_asked_about_its_skull_or_its_orientation() -> None:
    upside_down = Orientation(False, "inferior", "posterior", 0.99)
    assert said(seen(head=0.01, stripped=0.99, orientation=upside_down, coverage=0.0)) == [("refuse", "anatomy")]
    assert said(seen(head=0.01), rules=gate()) == []


def test_a_model_of_stripped_brains_refuses_a_whole_head() -> None:
    rules = gate(anatomy="head", skull=["stripped"])
    assert said(seen(stripped=0.01), rules=rules) == [("refuse", "skull")]
    assert said(seen(stripped=0.99), rules=rules) == []


@pytest.mark.parametrize(
    ("skull", "defaced", "expected"),
    [
        (["whole"], 0.95, [("warn", "skull")]),
        (["whole"], 0.5, []),
        (["defaced"], 0.05, [("warn", "skull")]),
        (["defaced", "whole"], 0.95, []),
    ],
)
def test_a_face_that_the_model_did_or_did_not_see_is_warned_of(skull: list, defaced: float, expected: list) -> None:
    assert said(seen(defaced=defaced), rules=gate(anatomy="head", skull=skull)) == expected


def test_limits_that_are_not_there_let_everything_through() -> None:
    rules = gate(mismatch={"warn": None, "refuse": None})
    assert said(seen(kind="T2", spacing=(0.01, 9, 99), unusual=1.0, coverage=0.0), rules=rules) == []


def test_cone_beam_ct_is_compared_with_ct_and_pet_with_nothing() -> None:
    assert mismatch(seen(kind="CT"), CBCT) == pytest.approx(0.01)
    assert mismatch(seen(kind="CT"), PET) is None
    assert said(seen(kind="CT"), given=PET) == []
    assert said(seen(kind="T2"), given=CBCT) == [("refuse", "mismatch")]


def test_reasons_name_the_scan_the_finding_and_what_to_do() -> None:
    (found,) = judge_scan(seen(kind="T1CE"), T1, STRICT, "a-model")
    assert found.reason == (
        "The scan given as T1 looks like T1CE (99% sure). Check what it is, and say so with --from."
    )
    upside_down = Orientation(False, "inferior", "anterior", 0.97)
    (found,) = judge_scan(seen(orientation=upside_down), T1, STRICT, "a-model")
    assert "top of the head points to inferior and the face to anterior" in found.reason
    (found,) = judge_scan(seen(coverage=0.5, cut=("superior",)), T1, STRICT, "a-model")
    assert "only about 50% of the brain, at its superior end" in found.reason
    (found,) = judge_scan(seen(spacing=(1.0, 1.0, 12.0)), T1, STRICT, "a-model")
    assert "voxels of 1 x 1 x 12 mm; a-model was made for 0.4 to 5 mm" in found.reason


def test_a_verdict_refuses_with_every_reason_and_the_way_round_it() -> None:
    found = judge_scan(seen(kind="T2", stripped=0.99), T1, STRICT, "a-model")
    verdict = Verdict(tuple(found), {}, "Defaced heads.")
    with pytest.raises(ConversionError, match=r"looks like T2.*skull stripped.*--force; the result is then marked so"):
        refuse(verdict)
    assert [line.split(":")[0] for line in verdict.warnings(forced=True)] == [
        "Forced",
        "Forced",
        "The model was trained on",
    ]
    assert verdict.warnings() == ["The model was trained on: Defaced heads."]
    assert verdict.as_json(forced=True)["passed"] is False
    refuse(Verdict((), {}, ""))


# --- the declaration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"coverage": {"warn": 0.9, "refuse": 0.5}}, "`warn` is above `refuse`"),
        ({"spacing": {"warn": [5, 1]}}, "not the smaller one"),
        ({"spacing": {"warn": [0.1, 9], "refuse": [0.2, 8]}}, "reaches beyond `refuse`"),
        ({"unusual": {"warn": 2}}, "from 0 to 1"),
        ({"skull": []}, "a list of one or more"),
        ({"skull": ["shaved"]}, "whole"),
        ({"anatomy": "knee"}, "any"),
        ({"modality": "T1"}, "modality"),
    ],
)
def test_a_wrong_gate_is_said_by_models_check(section: dict, words: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "gated", gate=section)
    faults = [str(fault) for fault in check(folder) if fault.severity == "error"]
    assert faults
    assert "gate" in faults[0]
    assert any(words in fault for fault in faults)


def test_a_gate_that_does_not_suit_the_sources_is_said(tmp_path: Path) -> None:
    other = [{"modality": "T1", "anatomy": "pelvis"}]
    folder = write_bundle(tmp_path / "pelvis", gate={"anatomy": "head"}, sources=other)
    assert any("gate lets only heads in" in str(fault) for fault in check(folder))
    folder = write_bundle(tmp_path / "upright", gate={"orientation": "upright"})
    assert [fault.severity for fault in check(folder)] == ["warning"]


def test_a_model_without_a_gate_has_none(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "open"))
    assert judge({T1: heads.noise()}, bundle.spec, look=lambda image: pytest.fail("looked")) is None


# --- the command line -------------------------------------------------------------------------------------------------

GATE = {
    "anatomy": "head",
    "skull": ["whole"],
    "orientation": "upright",
    "spacing": {"refuse": [0.2, 8]},
    "trained_on": "Whole heads made for a test.",
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_models_only: None) -> Path:
    """A gated model, an open one, and the bundled recogniser."""
    (tmp_path / "bundled").mkdir()
    (tmp_path / "bundled" / "recogniser").symlink_to(heads.RECOGNISER)
    write_bundle(tmp_path / "models" / "gated", gate=GATE, mask={"use": "none"})
    write_bundle(tmp_path / "models" / "open")
    return tmp_path


def written(folder: Path, image: sitk.Image, name: str = "scan.nrrd") -> Path:
    sitk.WriteImage(image, str(folder / name))
    return folder / name


def test_a_scan_that_passes_is_converted_and_the_report_says_what_was_seen(models: Path, run: Runner) -> None:
    scan, out = written(models, heads.head("T1")), models / "out.nrrd"
    outcome = run("convert", scan, "--from", "T1", "--to", "T2", "--model", "gated", "--out", out)
    assert outcome.code == 0, outcome.err
    report = json.loads((models / "out.json").read_text())
    assert report["gate"]["passed"] is True
    assert report["gate"]["forced"] is False
    assert report["gate"]["scans"]["T1"]["kind"] == "T1"
    assert "forced" not in report
    assert "The model was trained on: Whole heads made for a test." in report["warnings"]
    assert not read_image(out).HasMetaDataKey("forced")


@pytest.mark.parametrize(
    ("image", "given", "words"),
    [
        (heads.head("T1CE"), "T1", "looks like T1CE"),
        (heads.knee(), "T1", "does not look like a head"),
        (heads.noise(), "T1", "does not look like a head"),
        (heads.placed(np.flip(heads.voxels("T1"), 0)), "T1", "points to inferior"),
        (heads.head("T1", stripped=True), "T1", "skull stripped"),
    ],
    ids=["T1CE", "knee", "noise", "upside-down", "stripped"],
)
def test_what_the_model_was_not_made_for_is_refused_with_the_reason_and_nothing_is_written(
    image: sitk.Image, given: str, words: str, models: Path, run: Runner
) -> None:
    scan, out = written(models, image), models / "out.nrrd"
    before = sorted(path.name for path in models.iterdir())
    arguments = ("convert", scan, "--from", given, "--to", "T2", "--model", "gated", "--out", out)
    failed(run(*arguments), 1, words)
    assert sorted(path.name for path in models.iterdir()) == before
    assert run(*arguments, "--force").code == 0
    report = json.loads((models / "out.json").read_text())
    assert report["forced"] is True
    assert any(line.startswith("Forced: ") and words in line for line in report["warnings"])
    assert read_image(out).GetMetaData("forced") == "YES"
    assert "FORCED" in read_image(out).GetMetaData("ITK_FileNotes")


def test_a_pd_given_as_t2_is_refused(models: Path, run: Runner) -> None:
    write_bundle(models / "models" / "t2", gate={}, sources=[{"modality": "T2"}], targets=_t1_target())
    scan = written(models, heads.head("PD"))
    failed(run("convert", scan, "--from", "T2", "--to", "T1", "--out", models / "o.nrrd"), 1, "looks like PD")


def _t1_target() -> dict[str, Any]:
    return {"T1": {"units": "arbitrary", "background": 0.0, "window": 1.0, "level": 0.5, "dtype": "float32"}}


def test_force_changes_nothing_where_nothing_is_refused(models: Path, run: Runner) -> None:
    scan, out = written(models, heads.head("T1")), models / "out.nii.gz"
    assert run("convert", scan, "--from", "T1", "--to", "T2", "--model", "gated", "--out", out, "--force").code == 0
    assert "forced" not in json.loads((models / "out.json").read_text())
    assert read_image(out).GetMetaData("descrip").startswith("SYNTHETIC T2, not for diagnosis")


def test_a_model_without_a_gate_takes_anything_as_before(models: Path, run: Runner) -> None:
    scan, out = written(models, heads.noise()), models / "out.nrrd"
    assert run("convert", scan, "--from", "T1", "--to", "T2", "--model", "open", "--out", out).code == 0
    assert "gate" not in json.loads((models / "out.json").read_text())


def test_without_a_recogniser_the_conversion_goes_on_and_says_that_nothing_was_checked(
    models: Path, run: Runner
) -> None:
    (models / "bundled" / "recogniser").unlink()
    scan, out = written(models, heads.noise()), models / "out.nrrd"
    assert run("convert", scan, "--from", "T1", "--to", "T2", "--model", "gated", "--out", out).code == 0
    report = json.loads((models / "out.json").read_text())
    assert any("was not checked before the conversion" in line for line in report["warnings"])


def test_a_scan_that_does_not_say_what_it_is_is_taken_for_what_it_looks_like(models: Path, run: Runner) -> None:
    scan, out = written(models, heads.head("T1"), "unnamed.nrrd"), models / "out.nrrd"
    assert run("convert", scan, "--to", "T2", "--model", "gated", "--out", out).code == 0
    report = json.loads((models / "out.json").read_text())
    assert report["source"]["modality"] == ["T1"]
    assert report["warnings"][0].startswith(
        "unnamed.nrrd does not say what kind of scan it is; by its image it was taken for T1"
    )


def test_a_scan_that_neither_says_nor_shows_what_it_is_is_asked_for(models: Path, run: Runner) -> None:
    scan = written(models, heads.knee(), "unnamed.nrrd")
    failed(run("convert", scan, "--to", "T2", "--out", models / "o.nrrd"), 1, "Say so, for example with --from T1")


SEGMENTATION = {
    "labels": [
        {
            "value": 1,
            "name": "Bright",
            "terminology": {
                "category": {"scheme": "SCT", "value": "85756007", "meaning": "Tissue"},
                "type": {"scheme": "SCT", "value": "85756007", "meaning": "Tissue"},
            },
        }
    ],
    "activation": "none",
}


def test_segment_refuses_what_its_model_was_not_made_for_and_marks_what_was_forced(models: Path, run: Runner) -> None:
    write_bundle(models / "models" / "outlines", targets={}, segmentation=SEGMENTATION, gate=GATE)
    out = models / "labels.nrrd"
    for image, words in ((heads.knee(), "does not look like a head"), (heads.head("T1CE"), "looks like T1CE")):
        scan = written(models, image)
        arguments = ("segment", scan, "--from", "T1", "--model", "outlines", "--out", out)
        failed(run(*arguments), 1, words)
        assert not out.exists()
    assert run(*arguments, "--force").code == 0
    report = json.loads((models / "labels.json").read_text())
    assert report["forced"] is True
    assert report["gate"]["passed"] is False
    assert any(line.startswith("Forced: ") and "T1CE" in line for line in report["warnings"])
    assert "FORCED" in read_image(out).GetMetaData("ITK_FileNotes")


def test_convert_asks_the_gate_of_the_model_that_segments_before_it_begins(models: Path, run: Runner) -> None:
    write_bundle(models / "models" / "outlines", targets={}, segmentation=SEGMENTATION, gate=GATE)
    scan, out, labels = written(models, heads.knee()), models / "out.nrrd", models / "labels.nrrd"
    arguments = ("convert", scan, "--from", "T1", "--to", "T2", "--model", "open", "--out", out)
    arguments = (*arguments, "--segmentation", labels, "--segmentation-model", "outlines")
    failed(run(*arguments), 1, "does not look like a head")
    assert not out.exists()
    assert run(*arguments, "--force").code == 0
    assert json.loads((models / "labels.json").read_text())["forced"] is True
    assert "forced" not in json.loads((models / "out.json").read_text())  # the converting model has no gate


def test_how_sure_the_recogniser_is_of_each_head_tells_right_from_wrong_sequences() -> None:
    network = open_network(heads.RECOGNISER)
    looks = {kind: recognise(heads.head(kind), network) for kind in ("T1", "T1CE", "T2", "FLAIR", "PD", "CT")}
    right = [mismatch(look, Modality(kind)) for kind, look in looks.items()]
    wrong = [mismatch(look, Modality(given)) for kind, look in looks.items() for given in looks if given != kind]
    assert max(right) < 0.7 < min(wrong)


def test_the_bundled_models_let_heads_in(monkeypatch: pytest.MonkeyPatch) -> None:
    gated = [bundle for bundle in catalog.Catalog().bundles() if bundle.spec.gate is not None]
    assert gated
    for bundle in gated:
        for modality in bundle.spec.modalities:
            verdict = judge({modality: heads.head(modality.value)}, bundle.spec)
            assert verdict is not None
            assert not verdict.refusals, verdict.refusals
