"""A batch from its first case to its summary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bundle import Bundle
from ..errors import Cancelled, ConversionError
from ..modality import Modality
from ..progress import Progress, Reporter
from . import bids
from .case import Case, Refused
from .plan import Plan, Question, plan
from .store import Store, write_whole
from .summary import Entry, page, ranked, table
from .workers import default_workers, work

SUMMARY, TABLE = "summary.html", "cases.tsv"
_SUMMARY_EVERY = 20


@dataclass(frozen=True)
class Settings:
    """What is asked of a batch."""

    target: Modality
    model_for: Callable[[Modality], Bundle]
    """The model for scans of a modality. Raises ConversionError where there is none."""
    source: Modality | None = None
    models_dirs: tuple[Path, ...] = ()
    device: str = "auto"
    workers: int | None = None


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
) -> Outcome:
    """Convert every scan of a folder, a BIDS data set or a table into `out`, and write a summary.

    What an earlier run did is kept, unless input, model or question changed. A case that fails is written down and the rest
    goes on. Raises ConversionError where nothing can be done at all, Cancelled where `cancel` said so; what is done stays.
    """
    made = plan(given, out, Question(settings.target, settings.source, settings.model_for), cancel)
    if not made.cases and not made.failed:
        reasons = "; ".join(f"{refused.id}: {refused.reason}" for refused in made.left_out[:3])
        raise ConversionError(f"{given} holds no scan to convert into {settings.target}. {reasons}".strip())
    workers = min(settings.workers or default_workers(settings.device), max(1, len(made.cases)))
    outcome = Outcome(out, made.kind, workers, left_out=made.left_out)
    store = Store(out)
    with store.locked():
        for name, text in _top(made, out, settings).items():
            write_whole(out / name, text)
        _work(made, store, settings, outcome, Reporter(progress, None), cancel)
    if cancel():
        raise Cancelled("Cancelled; what was done is kept. The same command goes on where it was.")
    return outcome


def _work(
    made: Plan, store: Store, settings: Settings, outcome: Outcome, reporter: Reporter, cancel: Callable[[], bool]
) -> None:
    entries = {f"refused {n}": Entry(refused.id, reason=refused.reason) for n, refused in enumerate(made.failed)}
    pending: dict[str, dict[str, Any]] = {}
    for case in made.cases:
        try:
            request = request_of(case, settings)
        except OSError:
            entries[case.key] = Entry(case.id, reason="A file of it is gone, or cannot be read.")
            continue
        told = store.record(case.key)
        if told is not None and told["fingerprint"] == request["fingerprint"]:
            entries[case.key] = Entry.of(told)
        else:
            pending[case.key] = request
    outcome.kept = sum(not entry.reason for entry in entries.values())
    total, before = len(made.cases) + len(made.failed), len(entries)
    reporter.start("batch", total, before)
    places: dict[str, Path] = {}

    def prepare(request: Mapping[str, Any]) -> Mapping[str, Any]:
        places[request["key"]] = store.workplace(request["key"])
        return {**request, "folder": str(places[request["key"]].absolute())}

    def settle(request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        reason = answer.get("error", "")
        if not reason:
            try:
                entries[request["key"]] = Entry.of(store.commit(request["key"], places[request["key"]]))
            except OSError as error:
                reason = f"Its result cannot be written: {error.strerror or error}."
        if reason:
            entries[request["key"]] = Entry(request["id"], reason=reason)
            store.fail(request["key"], {"id": request["id"], "reason": reason})
        if len(entries) % _SUMMARY_EVERY == 0:
            _summarise(outcome, entries.values(), settings)
        reporter.advance("batch", len(entries), total)

    work(pending.values(), outcome.workers, prepare, settle, cancel)
    _summarise(outcome, entries.values(), settings)


def request_of(case: Case, settings: Settings) -> dict[str, Any]:
    """All that a worker must know of a case but its folder, ready for JSON. Raises OSError where a file is gone."""
    return {
        "key": case.key,
        "id": case.id,
        "source": str(case.source.absolute()),
        "series": case.series,
        "modality": case.modality.value,
        "target": settings.target.value,
        "model": case.model,
        "models_dirs": [str(folder.absolute()) for folder in settings.models_dirs],
        "device": settings.device,
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
