"""The frame of a model card: what every model says of itself, in the order in which it is read."""

from collections.abc import Iterable, Mapping
from typing import Any

from training.export.metadata import said
from training.export.settings import ExportSettings

NOT_MEASURED = "Not measured yet."


def framed(
    settings: ExportSettings,
    declared: Mapping[str, Any],
    weights: int,
    about: Mapping[str, float],
    notes: Iterable[str],
    *,
    warning: str,
    does: str,
    how: str = "",
    measured: str,
    limits: Iterable[str] = (),
) -> str:
    """The text of `docs/README.md`. The first arguments are those of `card.card`.

    What each kind of model says for itself: `warning`, after "Not for diagnosis"; `does`, what goes in and comes out; `how`,
    further sentences on how it works; `measured`, tables and pictures; `limits`, beside those of the settings.
    """
    network = "\n\n".join((_network(declared, weights) + how, *notes))
    data = _listed(f"**{item.name}** ({item.license}). {item.used} Cite: {item.citation}" for item in settings.datasets)
    return f"""# {settings.title}

**Not for diagnosis.** {warning}

Version {settings.version}, licence {settings.license}, by {settings.authors}. Cite: {settings.citation}

## What it does

{does}

{network}

## Data

{data}

Training, validation and test never share a person.

## Training

{settings.training} The weights are those after {about["step"]:.0f} steps, {about["minutes"]:.0f} minutes.

## Measured

{measured}

{_failures(settings)}## Limits

{_listed((*settings.limits, *limits))}
"""


def _network(declared: Mapping[str, Any], weights: int) -> str:
    side = declared["geometry"]["spacing"][0]
    return f"The network has {weights / 1e6:.2f} million weights: {said(declared)}; on a grid of {side:g} mm."


def _failures(settings: ExportSettings) -> str:
    """A section of its own, where there is anything to say."""
    return f"## Known failures\n\n{_listed(settings.known_failures)}\n\n" if settings.known_failures else ""


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
