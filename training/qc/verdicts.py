"""What `qc` decided, for `data.prepare` to heed: scans, cases and slices to leave out."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.layouts.base import CaseFiles
from training.qc.findings import Finding
from training.qc.settings import Check

FILE = "verdicts.json"


@dataclass
class Verdicts:
    """Reasons by scan (its path) and by case (its name); bad slices by scan. All empty: nothing is dropped."""

    scans: dict[str, str] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)
    bad_slices: dict[str, list[int]] = field(default_factory=dict)

    def case(self, case: CaseFiles) -> str | None:
        """Why a case is left out, or None."""
        reasons = [self.scans[str(path)] for path in case.scans.values() if str(path) in self.scans]
        return self.cases.get(case.name) or (reasons[0] if reasons else None)

    def slices(self, case: CaseFiles) -> dict[Modality, list[int]]:
        """Slices of a case to leave out, by scan."""
        found = {kind: self.bad_slices.get(str(path), []) for kind, path in case.scans.items()}
        return {kind: slices for kind, slices in found.items() if slices}


def judge(findings: Iterable[Finding], drop: Iterable[Check]) -> Verdicts:
    """What is dropped for these findings: slices where they name slices, else the case, else the scan."""
    verdicts = Verdicts()
    dropping = set(drop)
    for finding in findings:
        if finding.check not in dropping:
            continue
        if finding.slices:
            slices = verdicts.bad_slices.setdefault(str(finding.scan), [])
            slices.extend(number for number in finding.slices if number not in slices)
            slices.sort()
        elif finding.case is not None:
            verdicts.cases.setdefault(finding.case, finding.says)
        else:
            verdicts.scans.setdefault(str(finding.scan), finding.says)
    return verdicts


def write_verdicts(verdicts: Verdicts, folder: Path) -> Path:
    """Write `verdicts.json`. A person may edit it: what is taken out of it is not dropped."""
    path = folder / FILE
    content = {"scans": verdicts.scans, "cases": verdicts.cases, "slices": verdicts.bad_slices}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_verdicts(folder: Path) -> Verdicts:
    """The verdicts of the last `qc` in a folder; none where it was not run. Raises ConfigError for a damaged file."""
    path = folder / FILE
    if not path.is_file():
        return Verdicts()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Verdicts(
            dict(content["scans"]), dict(content["cases"]), {k: list(v) for k, v in content["slices"].items()}
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged ({error}). Run `python -m training qc` again.") from None
