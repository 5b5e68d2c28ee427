"""What is said of a result: that no verdict promises more than was looked at, and none hides what was found."""

from __future__ import annotations

from typing import Any

import pytest

from ModalityConversionLib.trust import Level, judge, looks_like

PASSED = {"passed": True, "forced": False, "findings": [], "scans": {}}
UNUSUAL = {"severity": "warn", "about": "spacing", "scan": "T1", "reason": "The T1 scan has thick slices."}
REFUSED = {"severity": "refuse", "about": "anatomy", "scan": "T1", "reason": "That is no head."}


def lesions(method: str = "given", modality: str = "T1", **counts: int) -> dict[str, Any]:
    """A lesion check with so many lesions of each verdict."""
    contrast = {"mean": 150.0, "median": 150.0, "around": 100.0, "ratio": 1.5, "least": 4.0, "difference": 50.0}
    listed = [
        {
            "verdict": verdict,
            "reason": f"it was {verdict}",
            "voxel_ijk": [1, 2, 3],
            "volume_ml": 0.5,
            "contrast_real": contrast,
            "contrast_synthetic": None,
        }
        for verdict, count in counts.items()
        for _ in range(count)
    ]
    return {
        "verdict": "What became of them.",
        "method": method,
        "real_modality": modality,
        "synthetic_modality": "T2",
        "counts": {"lost": 0, "added": 0, "changed": 0, "unclear": 0, "kept": 0, **counts},
        "lesions": listed,
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("report", "level"),
    [
        ({}, Level.unchecked),
        ({"gate": PASSED}, Level.no_fault),
        ({"gate": {**PASSED, "findings": [UNUSUAL]}}, Level.look),
        ({"gate": {**PASSED, "findings": [REFUSED, UNUSUAL]}, "forced": True}, Level.doubt),
        ({"gate": PASSED, "caution": "Simulated training data."}, Level.look),
        ({"gate": PASSED, "lesion_check": lesions(kept=2)}, Level.no_fault),
        ({"gate": PASSED, "lesion_check": lesions(kept=2, changed=1)}, Level.look),
        ({"gate": PASSED, "lesion_check": lesions(unclear=1)}, Level.look),
        ({"gate": PASSED, "lesion_check": lesions(lost=1, kept=5)}, Level.doubt),
        ({"gate": PASSED, "lesion_check": lesions("outlines", added=1)}, Level.doubt),
        ({"gate": PASSED, "lesion_check": lesions("crude", unclear=2)}, Level.look),
        ({"lesion_check": lesions("crude")}, Level.unchecked),
        ({"lesion_check": lesions("given")}, Level.unchecked),
        ({"lesion_check": {**lesions(kept=1), "against_real_target": lesions(modality="T2", lost=1)}}, Level.doubt),
        ({"gate": PASSED, "consistency": {"share_large": 0.02, "verdict": "It comes back."}}, Level.no_fault),
        ({"gate": PASSED, "consistency": {"share_large": 0.4, "verdict": "It does not."}}, Level.look),
    ],
)
def test_the_worst_that_is_known_decides_and_what_nobody_looked_at_is_not_praised(report: dict, level: Level) -> None:
    assert judge(report).level is level


def test_every_verdict_begins_with_a_word_of_its_own() -> None:
    reports: list[dict] = [{}, {"gate": PASSED}, {"gate": PASSED, "caution": "Simulated."}, {"forced": True}]
    words = {judge(report).verdict.partition(":")[0] for report in reports}
    assert words == {"NOT CHECKED", "NO FAULT FOUND", "LOOK CLOSELY", "DO NOT RELY ON IT"}


def test_no_fault_found_says_what_was_looked_at_and_that_it_proves_nothing() -> None:
    said = judge({"gate": PASSED, "lesion_check": lesions(kept=1)}).verdict
    assert "the scan, the lesions outlined" in said
    assert "does not prove" in said


def test_forced_says_why_the_model_was_not_made_for_it() -> None:
    known = judge({"gate": {**PASSED, "findings": [REFUSED, UNUSUAL]}, "forced": True})
    assert "not made for this scan" in known.verdict
    assert known.reasons == ("Forced: That is no head.", "The T1 scan has thick slices.")


def test_without_a_gate_that_is_said_with_the_reason() -> None:
    assert "was not looked at" in judge({}).reasons[0]
    said = "The scan was not checked before the conversion: the recogniser is damaged."
    assert judge({"warnings": ["Another.", said]}).reasons == (said,)


def test_the_interval_is_told_with_what_it_was_calibrated_on_or_that_there_is_none() -> None:
    assert judge({}).interval == "no calibrated interval"
    tissues = [
        {"name": "bone", "assumed": True, "in_words": "310 HU in bone"},
        {"name": "air", "assumed": False, "in_words": "5 HU in air"},
    ]
    found = {"verdict": "90 % interval: wide.", "calibrated_on": "six simulated heads", "tissues": tissues}
    said = judge({"interval": found}).interval
    assert judge({"interval": found}).tissues == "310 HU in bone\n5 HU in air"
    assert judge({"interval": found | {"tissues": [{"name": "bone"}]}}).tissues == ""  # a report of before
    assert judge({}).tissues == ""
    assert said.startswith("90 % interval: wide. Calibrated on: six simulated heads")
    assert "Not calibrated in bone" in said


def test_what_the_image_looks_like_is_told_and_do_not_know_too() -> None:
    known = {"known": True, "modality": "T1", "confidence": 0.97, "probabilities": {"T1": 0.97, "T2": 0.03}}
    unsure = {"known": False, "modality": None, "confidence": 0.41, "probabilities": {"T1": 0.3, "FLAIR": 0.41}}
    other = {"known": True, "modality": None, "confidence": 0.95, "probabilities": {"other": 0.95}}
    assert looks_like(known) == "T1 (97% sure)"
    assert looks_like(unsure) == "do not know (perhaps FLAIR, 41%)"
    assert looks_like(other).startswith("none of those")
    said = judge({"gate": {**PASSED, "scans": {"T1": unsure}}}).seen
    assert said == "given as T1, looks like: do not know (perhaps FLAIR, 41%)"


def test_contrast_is_a_ratio_on_mr_and_hu_on_ct_and_nothing_where_it_cannot_be_told() -> None:
    assert judge({"lesion_check": lesions(kept=1)}).rows[0].contrasts == ("1.50", "-")
    assert judge({"lesion_check": lesions(modality="CT", kept=1)}).rows[0].contrasts[0] == "+50 HU"


def test_of_two_checks_it_is_said_which_one_found_it_and_what_needs_a_look_comes_first() -> None:
    both = {**lesions(kept=1), "against_real_target": lesions(modality="T2", lost=1)}
    known = judge({"gate": PASSED, "lesion_check": both})
    assert "1 lost (against the real T2)" in known.verdict
    assert [(row.verdict, row.against) for row in known.rows] == [("lost", "T2"), ("kept", "T1")]


def test_a_later_check_takes_the_place_of_the_first() -> None:
    report = {"gate": PASSED, "lesion_check": lesions("crude", unclear=2)}
    assert judge(report, lesions(kept=1)).level is Level.no_fault
