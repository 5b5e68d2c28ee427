"""What `convert --segmentation` adds: a label map of the same scans, or of the main one alone, by a model that segments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..bundle import Bundle
from ..catalog import Catalog
from ..gate import Verdict
from ..gate_pass import Look, add_to_report, pass_gate
from ..modality import Modality
from ..progress import Progress
from ..sources import why_unfit
from .scans import Scans, segmenter

if TYPE_CHECKING:
    from ..segment import Segmentation


@dataclass
class Labeller:
    """A model that segments, and which of the scans it takes; seen to be possible before the work begins."""

    bundle: Bundle
    taken: Sequence[Modality]
    force: bool
    """Segment what the model's gate refuses, too."""
    _verdict: Verdict | None = field(default=None, init=False)
    _notes: list[str] = field(default_factory=list, init=False)

    @classmethod
    def of(cls, catalog: Catalog, given: Sequence[Modality], model: str | None, force: bool) -> Labeller:
        """The model named, else the first that takes the scans given, or the main one alone. Raises ConversionError."""
        candidates = [catalog.get(model)] if model is not None else catalog.segmenters(given[0])
        for bundle in candidates:
            for some in (given, given[:1]):
                if why_unfit(bundle.spec, some, None) is None:
                    return cls(bundle, some, force)
        return cls(segmenter(catalog, given[:1], model), given[:1], force)  # which says why there is none

    def pass_gate(self, scans: Scans, look: Look) -> None:
        """Ask the model's own gate. Raises ConversionError for what it refuses, unless forced."""
        self._verdict = pass_gate(scans.only(self.taken).images, self.bundle.spec, self.force, self._notes, look)

    def label(
        self, scans: Scans, device: str, tell: Callable[[Progress], None], cancel: Callable[[], bool]
    ) -> Segmentation:
        """The label map, with its whole report. Raises ConversionError, Cancelled."""
        from ..segment import segment

        used = scans.only(self.taken)
        labels = segment(
            used.images,
            self.bundle,
            device=device,
            mask=scans.mask if self.bundle.spec.mask.use != "none" else None,
            progress=lambda news: _tell_of_tiles(news, tell),
            cancel=cancel,
        )
        labels.report["source"]["files"] = used.account
        add_to_report(labels.report, self._verdict, self.force, self._notes)
        return labels


def _tell_of_tiles(news: Progress, tell: Callable[[Progress], None]) -> None:
    """The tiles, in a stage of their own; preparing and finishing have had their turn."""
    if news.stage == "network":
        tell(Progress("segment", news.done, news.total, news.seconds_left))
