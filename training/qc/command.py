"""`python -m training qc CONFIG.yaml`: look at every scan of the `data` section, report, drop, and pack the rest."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from training.config import ConfigError
from training.data.layouts import CaseFiles, Source, find_cases
from training.data.prepare import prepare
from training.qc.checks import Checked, check_case, check_duplicates, check_scan, worst_first
from training.qc.findings import Finding
from training.qc.pictures import draw
from training.qc.report import TITLES, write_report
from training.qc.settings import QcSettings
from training.qc.verdicts import Verdicts, judge, read_verdicts, write_verdicts

if TYPE_CHECKING:
    from training.project import Project


def run(project: "Project", console: Console) -> None:
    """The verb `qc`: look, report, and pack what is good. Without a `qc` section everything is packed unseen.

    Raises ConfigError where there are no scans, or none that can be packed.
    """
    if project.data is None:
        raise ConfigError("`qc` needs the section `data` in the configuration.")
    verdicts = Verdicts()
    if project.qc is not None:
        findings, _ = examine(project.data.sources, project.qc, console)
        verdicts = read_verdicts(project.qc.folder)
        for check, found in worst_first(findings).items():
            console.print(f"{TITLES[check]}: {len(found)}", markup=False, highlight=False)
        slices = sum(map(len, verdicts.bad_slices.values()))
        dropped = f"{len(verdicts.scans)} scans, {len(verdicts.cases)} cases, {slices} slices"
        console.print(f"Dropped: {dropped}. Report: {project.qc.folder / 'report.html'}", markup=False, highlight=False)
    packed = 0
    for done, planned, said in prepare(project.data, verdicts):
        packed += said.endswith(": packed")
        console.print(f"{done} of {planned}: {said}", markup=False, highlight=False)
    console.print(
        f"Packed {packed} cases in {project.data.cases}; who is in which part: {project.data.split_file()}",
        markup=False,
        highlight=False,
    )


def examine(
    sources: Sequence[Source], settings: QcSettings, console: Console | None = None
) -> tuple[list[Finding], Verdicts]:
    """Look at every scan and case of some sources; write report, pictures and verdicts into the settings' folder."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    cases = [(case, source) for source in sources for case in find_cases(source)]
    checked: dict[str, Checked] = {}
    owners: dict[str, tuple[CaseFiles, Source]] = {}
    findings: list[Finding] = []
    for case, source in track(cases, "looking at cases", console=console, disable=console is None):
        for kind, path in case.scans.items():
            if str(path) not in checked:
                checked[str(path)] = check_scan(path, kind, case.person, settings)
                owners[str(path)] = (case, source)
                findings += checked[str(path)].findings
        findings += check_case(case, source, settings)
    findings += check_duplicates(list(checked.values()), settings)
    findings = _with_pictures(findings, checked, owners, settings)
    verdicts = judge(findings, settings.drop)
    write_verdicts(verdicts, settings.folder)
    write_report(findings, {"scans": len(checked), "cases": len(cases)}, verdicts, settings)
    return findings, verdicts


def _with_pictures(
    findings: Sequence[Finding],
    checked: dict[str, Checked],
    owners: dict[str, tuple[CaseFiles, Source]],
    settings: QcSettings,
) -> list[Finding]:
    """The findings, the worst of each check with a picture, as far as the settings allow."""
    by_check = worst_first(findings)
    share = max(1, settings.pictures // max(1, len(by_check)))
    for old in settings.folder.glob("*.png"):
        old.unlink()
    done: list[Finding] = []
    left = settings.pictures
    for check, found in by_check.items():
        for number, finding in enumerate(found):
            name = f"{check}_{number + 1}.png"
            modality = checked[str(finding.scan)].modality
            case, source = owners[str(finding.scan)]
            if number < share and left > 0 and draw(finding, modality, case, source, settings.folder / name):
                finding = replace(finding, picture=name)
                left -= 1
            done.append(finding)
    return done
