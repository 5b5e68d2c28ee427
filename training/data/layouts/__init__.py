"""Folder layouts: where the scans of a data set are, whose they are, and which belong together. One file a layout."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from training.data.layouts import bids, brats, ixi, lesjak, paired, synthrad
from training.data.layouts.base import CaseFiles, Scan, Source, usable

AnySource = Annotated[
    paired.PairedSource
    | bids.BidsSource
    | brats.BratsSource
    | ixi.IxiSource
    | synthrad.SynthradSource
    | lesjak.LongitudinalSource
    | lesjak.MniSource
    | lesjak.FlairSource,
    Field(discriminator="layout"),
]
"""A source, told apart by its `layout`."""

_FIND: dict[type[Source], Callable[[Any], list[CaseFiles]]] = {
    paired.PairedSource: paired.find,
    bids.BidsSource: bids.find,
    brats.BratsSource: brats.find,
    ixi.IxiSource: ixi.find,
    synthrad.SynthradSource: synthrad.find,
    lesjak.LongitudinalSource: lesjak.find_longitudinal,
    lesjak.MniSource: lesjak.find_mni,
    lesjak.FlairSource: lesjak.find_flair,
}


def find_cases(source: Source) -> list[CaseFiles]:
    """Every case of a source, also those that lack a scan (`usable` sorts these out). Raises ConfigError where none is."""
    return _FIND[type(source)](source)


__all__ = ["AnySource", "CaseFiles", "Scan", "Source", "find_cases", "usable"]
