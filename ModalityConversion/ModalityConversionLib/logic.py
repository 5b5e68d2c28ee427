"""Conversion for scripts, without the panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import slicer

from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality
from modality_conversion.progress import Progress

from . import dependencies, models
from .conversion import Conversion
from .i18n import tr as _
from .recognise import recognise
from .request import Request
from .results import Results
from .run import finished
from .sequences import convert_sequence


def convert(
    input: slicer.vtkMRMLNode,
    *,
    target: str,
    source: str | None = None,
    model: str | None = None,
    further: Mapping[str, slicer.vtkMRMLScalarVolumeNode] | None = None,
    mask: slicer.vtkMRMLNode | None = None,
    segment: str = "",
    device: str = "auto",
    uncertainty: bool = False,
    interval: bool = False,
    force: bool = False,
    segmentation: bool = False,
    check_lesions: bool = False,
    lesions: slicer.vtkMRMLNode | None = None,
    convert_back: bool = False,
    output: slicer.vtkMRMLScalarVolumeNode | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Results | slicer.vtkMRMLSequenceNode:
    """See `ModalityConversionLogic.convert`."""
    missing = dependencies.missing()
    if missing:
        raise ConversionError(
            _("These packages are missing: {packages}. Install them in the module's panel, under Software.").format(
                packages=", ".join(missing)
            )
        )

    def request(scan: slicer.vtkMRMLScalarVolumeNode) -> Request:
        modality = _modality(scan, source)
        return Request(
            scan=scan,
            modality=modality,
            target=_target(modality, target),
            model=model or "",
            further={_parsed(name): node for name, node in (further or {}).items()},
            mask=mask,
            segment=segment,
            device=device,
            uncertainty=uncertainty,
            interval=interval,
            force=force,
            segmentation=segmentation,
            check_lesions=check_lesions or lesions is not None,
            lesions=lesions,
            convert_back=convert_back,
            output=output,
        )

    if input is not None and input.IsA("vtkMRMLSequenceNode"):
        if output is not None:
            raise ConversionError(_("A sequence makes a new sequence. Leave the output volume out."))
        return convert_sequence(input, request, progress)
    if input is None:
        raise ConversionError(_("Choose the volume to convert."))
    run = Conversion(request(input), progress)
    run.wait()
    results: Results = finished(run)
    return results


def _parsed(name: str) -> Modality:
    try:
        return Modality.parse(name)
    except ValueError as error:
        raise ConversionError(str(error)) from None


def _modality(scan: slicer.vtkMRMLScalarVolumeNode, source: str | None) -> Modality:
    found = _parsed(source) if source else recognise(scan).modality
    if found is None:
        raise ConversionError(
            _('Nothing says what kind of scan {name} is. Say so, for example with source="T1".').format(
                name=scan.GetName()
            )
        )
    return found


def _target(modality: Modality, target: str) -> Modality:
    wanted = _parsed(target)
    reachable = models.targets(modality)
    if wanted not in reachable:
        raise ConversionError(
            _("No installed model makes {target} from {source}; from {source} there is {reachable}.").format(
                target=wanted, source=modality, reachable=", ".join(reachable) or _("nothing")
            )
        )
    return wanted
