"""Further scans of the same person, for models that read several at once: which to offer, and why one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import slicer

from modality_conversion.bundle import Summary
from modality_conversion.modality import Modality

from . import hierarchy, marks, volumes
from .i18n import tr as _
from .recognise import recognise

MOST = 3
"""How many further scans the panel takes."""


class NamedScan(NamedTuple):
    """A scan and what it is; None where nobody knows."""

    volume: slicer.vtkMRMLScalarVolumeNode
    modality: Modality | None


def used(chosen: Sequence[NamedScan], model: Summary | None) -> list[NamedScan]:
    """The further scans that a model reads: all, or none where it takes one scan at a time."""
    return list(chosen) if model is not None and model.joint else []


def fault(
    main: NamedScan, further: Sequence[NamedScan], target: Modality | None, model: Summary | None = None
) -> str | None:
    """Why these scans cannot go into one conversion, with what to do; None if they can.

    `target` is None for a segmentation, `model` where the engine is to choose one.
    """
    scans = [main]
    for scan in further:
        reason = _fault_beside(scans, scan, target, model)
        if reason:
            return reason
        scans.append(scan)
    return None


def _fault_beside(
    scans: Sequence[NamedScan], scan: NamedScan, target: Modality | None, model: Summary | None
) -> str | None:
    name = scan.volume.GetName()
    if any(other.volume is scan.volume for other in scans):
        return _("{name} is chosen twice. Choose another scan in its second place, or none.").format(name=name)
    reason = volumes.why_unfit(scan.volume)
    if reason:
        return reason
    if scan.modality is None:
        return _("Choose what kind of scan {name} is, or take it out.").format(name=name)
    if scan.modality is target:
        return _(
            "{name} is a {modality}, which is what is to be made. Take it out, or choose what else to convert to."
        ).format(name=name, modality=target)
    for other in scans:
        if other.modality is scan.modality:
            return _("Two scans are given as {modality}: {first} and {second}. Give one of each.").format(
                modality=scan.modality, first=other.volume.GetName(), second=name
            )
    if model is not None and scan.modality not in model.joint:
        return _("{title} does not read a {modality}; it reads {accepted}. Take {name} out, or choose a model.").format(
            title=model.title, modality=scan.modality, accepted=", ".join(model.joint), name=name
        )
    return None


def suggestions(
    main: NamedScan, chosen: Sequence[NamedScan], target: Modality | None, model: Summary | None
) -> list[NamedScan]:
    """Real scans of the main one's study that the model could read too, at most as many as there is room for."""
    scans = used([main], model)
    if not scans or volumes.why_unfit(main.volume) is not None:
        return []
    found = [
        scan
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if not node.GetHideFromEditors() and not marks.is_synthetic(node)
        if hierarchy.are_of_one_study(main.volume, node)
        for scan in [NamedScan(node, recognise(node).modality)]
        if _fault_beside([main, *chosen], scan, target, model) is None
    ]
    return found[: MOST - len(chosen)]
