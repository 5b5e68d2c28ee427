"""From the `data` section to packed cases: find, split by person, leave out what `qc` dropped, pack."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.config import ConfigError
from training.data.cases import MARK
from training.data.layouts import CaseFiles, Source, find_cases, usable
from training.data.pack import pack
from training.data.settings import DataSettings
from training.data.split import Part, Split, complete_split
from training.qc.verdicts import Verdicts

LEFT_OUT = "left_out.json"
"""File beside the cases that says, by name, which cases were not packed and why."""


@dataclass(frozen=True)
class Planned:
    """A case to pack, and where to."""

    files: CaseFiles
    source: Source
    part: Part


def plan(settings: DataSettings) -> tuple[list[Planned], dict[str, str], Split]:
    """What is to be packed, why other cases are not, and the split, completed and written down.

    Raises ConfigError where a source has no scans or none of its cases can be used.
    """
    found: list[tuple[Source, CaseFiles]] = []
    left_out: dict[str, str] = {}
    for source in settings.sources:
        cases, missing = usable(source, find_cases(source))
        left_out |= missing
        found += [(source, case) for case in cases]
    names = [case.name for _, case in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"Two sources both have a case {', '.join(twice)}. Give one of the sources another `name`.")
    people = [case.person for _, case in found]
    split = complete_split(settings.split_file(), people, settings.shares, settings.seed)
    planned = [Planned(case, source, split.part_of(case.person)) for source, case in found]
    return [one for one in planned if one.part in settings.parts], left_out, split


def prepare(settings: DataSettings, verdicts: Verdicts | None = None) -> Iterator[tuple[int, int, str]]:
    """Pack what is not packed yet; yields (done, planned, what happened to the case).

    A case that cannot be used does not end the run: it is left out, and `left_out.json` says why. Raises ConfigError when
    every case was left out.
    """
    verdicts = verdicts or Verdicts()
    planned, left_out, _ = plan(settings)
    good = 0
    for done, one in enumerate(planned, 1):
        reason = verdicts.case(one.files)
        folder = settings.cases / one.part
        try:
            if reason is not None:
                raise ConfigError(f"{one.files.name}: dropped by qc: {reason}")
            if not _packed(folder, one):
                pack(one.files, one.source, folder, verdicts.slices(one.files))
            good += 1
            said = f"{one.files.name}: packed"
        except ConfigError as error:
            left_out[one.files.name] = said = str(error)
        yield done, len(planned), said
    _write(settings.cases / LEFT_OUT, left_out)
    if planned and not good:
        reasons = "\n".join(f"  {reason}" for reason in sorted(set(left_out.values())))
        raise ConfigError(f"No case could be packed:\n{reasons}")


def _packed(folder: Path, one: Planned) -> bool:
    """Whether every variant of a case is there."""
    return all(any(folder.glob(f"{one.files.name}_{variant}*/{MARK}")) for variant in one.source.variants)


def _write(path: Path, content: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
