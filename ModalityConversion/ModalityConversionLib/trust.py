"""Can a result be believed? What its report says of that, in words: one verdict, the reasons, a line for each check.

A program cannot vouch for a synthetic image, so no verdict says more than that nothing was found. Knows no widgets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from modality_conversion.lesion_list import VERDICTS
from modality_conversion.modality import Modality

from .i18n import tr as _

_LARGE_SHARE = 0.1
"""Where more than this share of the brain disagrees with the way back, the verdict says so."""
_CONTRAST_IN_HU = (Modality.CT.value, Modality.CBCT.value)
_UNKNOWN = "-"


class Level(str, Enum):
    """How far a result can be believed; the worst first."""

    doubt = "doubt"
    """Something speaks against it."""
    look = "look"
    """Something is to be looked at."""
    unchecked = "unchecked"
    """Nothing was looked at."""
    no_fault = "no fault"
    """What was looked at shows no fault."""


@dataclass(frozen=True)
class Reason:
    """One thing that the verdict rests on."""

    level: Level
    short: str
    """A few words, for the verdict's line."""
    sentence: str
    """All of it; empty where the few words say it."""


@dataclass(frozen=True)
class LesionRow:
    """One lesion of a report, as the table shows it."""

    against: str
    """The real scan that it was compared with: `T1`."""
    verdict: str
    reason: str
    volume_ml: float
    contrasts: tuple[str, str]
    """On the real and on the synthetic scan, in words."""
    voxel: tuple[int, int, int]
    """(i, j, k) on the synthetic volume's grid."""


@dataclass(frozen=True)
class Trust:
    """What is known of a result."""

    level: Level
    verdict: str
    """One line, which begins with a word that stands for the level."""
    reasons: tuple[str, ...]
    """Sentences."""
    seen: str
    """What the scans look like."""
    interval: str
    tissues: str
    """The interval in each kind of tissue, a line each; empty where there is none."""
    way_back: str
    """Empty where it was not asked for."""
    lesions: str
    rows: tuple[LesionRow, ...]


def word(level: Level) -> str:
    """The word that begins a verdict."""
    return {
        Level.doubt: _("DO NOT RELY ON IT"),
        Level.look: _("LOOK CLOSELY"),
        Level.unchecked: _("NOT CHECKED"),
        Level.no_fault: _("NO FAULT FOUND"),
    }[level]


def judge(report: Mapping[str, Any], check: Mapping[str, Any] | None = None) -> Trust:
    """What the report of a conversion says; `check`: a lesion check made since, instead of the one in the report."""
    lesions = check or _part(report, "lesion_check")
    reasons = [*_of_the_gate(report), *_of_lesions(lesions), *_of_the_way_back(report)]
    if report.get("caution"):
        reasons.append(Reason(Level.look, report["caution"], ""))
    level = next((one for one in (Level.doubt, Level.look) if any(reason.level is one for reason in reasons)), None)
    done = _done(report, lesions)
    if level is None:
        level = Level.no_fault if done else Level.unchecked
    if reasons:
        said = "; ".join(dict.fromkeys(reason.short.rstrip(".") for reason in reasons if reason.level is level)) + "."
    elif done:
        said = _("looked at: {checks}. That does not prove it right.").format(checks=", ".join(done))
    else:
        said = _("nobody looked at the scan, or for lesions.")
    return Trust(
        level,
        f"{word(level)}: {said}",
        tuple(reason.sentence for reason in reasons if reason.sentence) + _not_looked_at(report),
        _seen(report),
        _interval(report),
        _tissues(report),
        _part(report, "consistency").get("verdict", ""),
        _lesions(lesions),
        tuple(sorted(_rows(lesions), key=lambda row: _order(row.verdict))),  # of both checks, what needs a look first
    )


def _part(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of a report; empty where there is none, as in scenes of other versions."""
    found = report.get(name)
    return found if isinstance(found, Mapping) else {}


def _of_the_gate(report: Mapping[str, Any]) -> Iterator[Reason]:
    findings = _part(report, "gate").get("findings", [])
    forced = bool(report.get("forced"))
    if forced:
        refused = " ".join(one["reason"] for one in findings if one["severity"] == "refuse")
        yield Reason(
            Level.doubt, _("the model was not made for this scan (forced)"), _("Forced: {why}").format(why=refused)
        )
    for one in findings:
        if one["severity"] == "warn":
            yield Reason(Level.look, _("the scan is unusual for this model"), one["reason"])


def _not_looked_at(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Why there is no word of the gate."""
    if _part(report, "gate"):
        return ()
    failed = [line for line in report.get("warnings", []) if "was not checked" in line]
    return tuple(failed) or (
        _("This model does not say what it was made for, so the scan was not looked at before the conversion."),
    )


def _of_lesions(check: Mapping[str, Any] | None) -> Iterator[Reason]:
    for one in _checks(check):
        counts = one.get("counts", {})
        for level, verdicts in ((Level.doubt, ("lost", "added")), (Level.look, ("changed", "unclear"))):
            found = [f"{counts[verdict]} {verdict_word(verdict)}" for verdict in verdicts if counts.get(verdict)]
            if not found:
                continue
            if one.get("method") == "crude":
                said = _("places to look at: {count}").format(count=counts.get("unclear", 0))
            else:
                said = _("lesions: {counts}").format(counts=", ".join(found))
            if _is_double(check):
                said += " " + _("(against the real {modality})").format(modality=one["real_modality"])
            yield Reason(Level.look if one.get("method") == "crude" else level, said, "")


def _of_the_way_back(report: Mapping[str, Any]) -> Iterator[Reason]:
    share = _part(report, "consistency").get("share_large", 0.0)
    if share > _LARGE_SHARE:
        yield Reason(Level.look, _("converted back, {share:.0%} of it is another scan").format(share=share), "")


def _done(report: Mapping[str, Any], check: Mapping[str, Any] | None) -> list[str]:
    """The checks that were made and could have found something."""
    done = [_("the scan")] if _part(report, "gate") else []
    done += [_("the way back")] if _part(report, "consistency") else []
    # The crude finder misses most, and an empty outline holds nothing: neither is a check that was passed.
    looked = [one for one in _checks(check) if one.get("method") in ("outlines", "given") and one.get("lesions")]
    return done + ([_("the lesions outlined")] if looked else [])


def _seen(report: Mapping[str, Any]) -> str:
    """What the recogniser says of each scan."""
    said = []
    for given, seen in _part(report, "gate").get("scans", {}).items():
        said.append(_("given as {given}, looks like: {what}").format(given=given, what=looks_like(seen)))
    return "; ".join(said)


def looks_like(seen: Mapping[str, Any]) -> str:
    """What an image looks like, by the recogniser's answer."""
    sure = seen.get("confidence", 0.0)
    if seen.get("known"):
        kind = seen.get("modality") or _("none of those that it knows")
        return _("{kind} ({sure:.0%} sure)").format(kind=kind, sure=sure)
    likeliest = max(seen.get("probabilities", {"": 0.0}).items(), key=lambda entry: entry[1])[0]
    return _("do not know (perhaps {kind}, {sure:.0%})").format(kind=likeliest, sure=sure)


def _interval(report: Mapping[str, Any]) -> str:
    found = _part(report, "interval")
    if not found:
        return _("no calibrated interval")
    text = found["verdict"]
    if found.get("calibrated_on"):
        text += " " + _("Calibrated on: {data}").format(data=found["calibrated_on"])
    assumed = [tissue["name"] for tissue in found.get("tissues", []) if tissue.get("assumed")]
    if assumed:
        text += " " + _("Not calibrated in {tissues}: the widest of the others was taken.").format(
            tissues=", ".join(assumed)
        )
    return text


def _tissues(report: Mapping[str, Any]) -> str:
    return "\n".join(
        tissue["in_words"] for tissue in _part(report, "interval").get("tissues", []) if "in_words" in tissue
    )


def _lesions(check: Mapping[str, Any] | None) -> str:
    lines = []
    for one in _checks(check):
        against = _("Against the real {modality}: ").format(modality=one["real_modality"]) if _is_double(check) else ""
        lines.append(" ".join([against + one["verdict"], *one.get("warnings", [])]))
    return "\n".join(lines) or _("not checked")


def _checks(check: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The check against the scan that was converted, and the one against a real scan of the target."""
    if not check:
        return []
    return [check, *([check["against_real_target"]] if _is_double(check) else [])]


def _is_double(check: Mapping[str, Any] | None) -> bool:
    return bool(check and check.get("against_real_target"))


def _rows(check: Mapping[str, Any] | None) -> Iterator[LesionRow]:
    for one in _checks(check):
        kinds = one.get("real_modality", ""), one.get("synthetic_modality", "")
        for lesion in one.get("lesions", []):
            i, j, k = lesion["voxel_ijk"]
            yield LesionRow(
                kinds[0],
                lesion["verdict"],
                lesion["reason"],
                lesion["volume_ml"],
                (_contrast(lesion["contrast_real"], kinds[0]), _contrast(lesion["contrast_synthetic"], kinds[1])),
                (i, j, k),
            )


def _order(verdict: str) -> int:
    return VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS)


def _contrast(measured: Mapping[str, Any] | None, modality: str) -> str:
    """On CT the difference from what is around, in HU; else the ratio to it."""
    if measured is None:
        return _UNKNOWN
    if modality in _CONTRAST_IN_HU:
        return f"{measured['difference']:+.0f} HU"
    return f"{measured['ratio']:.2f}" if measured["ratio"] is not None else _UNKNOWN


def verdict_word(verdict: str) -> str:
    """A lesion's verdict in the user's language."""
    return {
        "kept": _("kept"),
        "lost": _("lost"),
        "added": _("added"),
        "changed": _("changed"),
        "unclear": _("unclear"),
    }.get(verdict, verdict)
