"""A batch from its first case to its summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bundle import Bundle
from ..errors import Cancelled, ConversionError
from ..modality import Modality
from ..progress import Progress, Reporter
from ..version import __version__
from . import bids
from .case import Case, Refused
from .cluster import Cluster, check_address, work_on_cluster
from .further import Pattern
from .places import in_the_way
from .plan import Plan, Question, plan
from .store import Store, write_whole
from .summary import Entry, page, ranked, table
from .workers import default_workers, work

SUMMARY, TABLE = "summary.html", "cases.tsv"
_SUMMARY_EVERY = 20
_SUMMARY_SHARE = 20
"""The summary is written again when so many times the time has passed that writing it took: it grows with the batch."""


@dataclass(frozen=True)
class Settings:
    """What is asked of a batch."""

    target: Modality
    model_for: Callable[..., Bundle]
    """The model for scans of these modalities, the main one first. Raises ConversionError where there is none."""
    source: Modality | None = None
    models_dirs: tuple[Path, ...] = ()
    device: str = "auto"
    workers: int | None = None
    cluster: Cluster | None = None
    """Where the cases are converted, instead of by processes here."""
    further: tuple[Pattern, ...] = ()
    """Where the further scans of each file lie, for a model that reads several."""
    force: bool = False
    """Convert what a model's gate refuses, too, and mark it so."""


@dataclass
class Outcome:
    """How a batch ended."""

    out: Path
    kind: str
    workers: int
    entries: list[Entry] = field(default_factory=list)
    """Cases that are done and those that failed, worst first."""
    left_out: list[Refused] = field(default_factory=list)
    kept: int = 0
    """Cases that an earlier run had done."""

    @property
    def failed(self) -> list[Entry]:
        """Those that failed."""
        return [entry for entry in self.entries if entry.reason]


def run_batch(
    given: Path,
    out: Path,
    settings: Settings,
    progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Convert every scan of a folder, a BIDS data set or a table into `out`, and write a summary.

    What an earlier run did is kept, unless input, model or question changed. A case that fails is written down and the rest
    goes on. `note` is told what the user should know meanwhile. Raises ConversionError where nothing can be done at all,
    Cancelled where `cancel` said so; what is done stays.
    """
    if settings.cluster is not None:
        check_address(settings.cluster)
    made = plan(given, out, Question(settings.target, settings.source, settings.model_for, settings.further), cancel)
    if not made.cases and not made.failed:
        reasons = "; ".join(f"{refused.id}: {refused.reason}" for refused in made.left_out[:3])
        raise ConversionError(f"{given} holds no scan to convert into {settings.target}. {reasons}".strip())
    workers = min(settings.workers or default_workers(settings.device), max(1, len(made.cases)))
    outcome = Outcome(out, made.kind, workers, left_out=made.left_out)
    store = Store(out)
    with store.locked(cancel):
        for name, text in _top(made, out, settings).items():
            write_whole(out / name, text)
        _work(made, store, settings, outcome, Reporter(progress, None), cancel, note)
    if cancel():
        raise Cancelled("Cancelled; what was done is kept. The same command goes on where it was.")
    return outcome


def _work(
    made: Plan,
    store: Store,
    settings: Settings,
    outcome: Outcome,
    reporter: Reporter,
    cancel: Callable[[], bool],
    note: Callable[[str], None],
) -> None:
    entries = {f"refused {n}": Entry(refused.id, reason=refused.reason) for n, refused in enumerate(made.failed)}
    pending: dict[str, dict[str, Any]] = {}
    for case in made.cases:
        try:
            request = request_of(case, settings)
        except (OSError, ValueError):
            entries[case.key] = Entry(case.id, reason="A file of it is gone, or cannot be read.")
            continue
        done = _done(store.record(case.key), request)
        if done is not None:
            entries[case.key] = done
        elif not store.made(case.key) and (reason := in_the_way(case, outcome.out)) is not None:
            entries[case.key] = Entry(case.id, reason=reason)
        else:
            pending[case.key] = request
    outcome.kept = sum(not entry.reason for entry in entries.values())
    total, before = len(made.cases) + len(made.failed), len(entries)
    reporter.start("batch", total, before)
    places: dict[str, Path] = {}
    cases = {case.key: case for case in made.cases}
    summary_due = 0.0

    def prepare(request: Mapping[str, Any]) -> Mapping[str, Any]:
        places[request["key"]] = store.workplace(request["key"])
        # Only now: the cases of one series share them, and they may be many.
        siblings = [str(path.absolute()) for path in cases[request["key"]].siblings]
        return {**request, "siblings": siblings, "folder": str(places[request["key"]].absolute())}

    def settle(request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        nonlocal summary_due
        reason = answer.get("error", "")
        if not reason:
            try:
                entries[request["key"]] = Entry.of(store.commit(request["key"], places[request["key"]]))
            except OSError as error:
                reason = f"Its result cannot be written: {error.strerror or error}."
        if reason:
            store.check()
            entries[request["key"]] = Entry(request["id"], reason=reason)
            store.fail(request["key"], {"id": request["id"], "reason": reason})
        if len(entries) % _SUMMARY_EVERY == 0 and (started := time.monotonic()) >= summary_due:
            _summarise(outcome, entries.values(), settings)
            summary_due = time.monotonic() + _SUMMARY_SHARE * (time.monotonic() - started)
        reporter.advance("batch", len(entries), total)

    if settings.cluster is None:
        work(pending.values(), outcome.workers, prepare, settle, cancel)
    elif pending:
        work_on_cluster(pending.values(), settings.cluster, settings.device, prepare, settle, cancel, note)
    store.check()
    _summarise(outcome, entries.values(), settings)


def _done(record: Mapping[str, Any] | None, request: Mapping[str, Any]) -> Entry | None:
    """A case that an earlier run has done, unless something changed since."""
    if record is None or record.get("fingerprint") != request["fingerprint"]:
        return None
    try:
        return Entry.of(record)
    except (KeyError, TypeError):  # of another version
        return None


def request_of(case: Case, settings: Settings) -> dict[str, Any]:
    """All that a worker must know of a case but its folder, ready for JSON.

    Raises OSError or ValueError where a file is gone.
    """
    return {
        "key": case.key,
        "id": case.id,
        "source": str(case.source.absolute()),
        "series": case.series,
        "modality": case.modality.value,
        "target": settings.target.value,
        "model": case.model,
        "model_sha256": case.model_sha256,
        "engine_version": __version__,
        "models_dirs": [str(folder.absolute()) for folder in settings.models_dirs],
        "device": settings.device,
        "force": settings.force,
        "further": [[modality.value, str(path.absolute())] for modality, path in case.further],
        "mask": str(case.mask.absolute()) if case.mask else None,
        "out": str(case.out),
        "sidecar": dict(case.sidecar),
        "fingerprint": case.fingerprint(),
    }


def _top(made: Plan, out: Path, settings: Settings) -> dict[str, str]:
    """Files at the top of the output folder, by name."""
    if made.kind != "bids":
        return {}
    models = sorted({case.model for case in made.cases})
    return bids.describe(made.root, out, settings.target, models)


def _summarise(outcome: Outcome, entries: Iterable[Entry], settings: Settings) -> None:
    outcome.entries = ranked(list(entries))
    left_out = [(refused.id, refused.reason) for refused in outcome.left_out]
    write_whole(outcome.out / SUMMARY, page(outcome.entries, left_out, settings.target.value))
    write_whole(outcome.out / TABLE, table(outcome.entries))
