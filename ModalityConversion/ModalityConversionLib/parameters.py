"""The panel's choices, kept in the scene by a parameter node, so that a saved scene brings them back."""

# No `from __future__ import annotations`: the wrapper reads the types at run time.
from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class Parameters:
    """What is chosen in the panel.

    inputVolume - The scan to convert.
    modality - What it is, where the user said so; empty: as recognised.
    further1, further2, further3 - Further scans of the same person, for models that read several at once.
    furtherModality1, furtherModality2, furtherModality3 - What they are, where the user said so.
    target - What to make.
    model - A model's id; empty: the best that fits.
    mask - Where to convert: a volume, labelmap or segmentation; None: as the model says.
    maskSegment - The segment, where the mask is a segmentation.
    device - auto, cpu, cuda:0, ...
    uncertainty - Whether to make the uncertainty map too.
    force - Whether to convert what the model was not made for, too.
    segmentation - Whether to outline the tumor too.
    checkLesions - Whether to look whether lesions were kept.
    lesions - Lesions outlined on the scan: a segmentation, labelmap or volume; None: nobody outlined them.
    convertBack - Whether to convert the result back and compare it with the scan.
    outputVolume - The volume to fill; None: a new one.
    referenceVolume - A real scan of the target modality, to compare with.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    modality: str = ""
    further1: vtkMRMLScalarVolumeNode
    further2: vtkMRMLScalarVolumeNode
    further3: vtkMRMLScalarVolumeNode
    furtherModality1: str = ""
    furtherModality2: str = ""
    furtherModality3: str = ""
    target: str = ""
    model: str = ""
    mask: vtkMRMLNode
    maskSegment: str = ""
    device: str = "auto"
    uncertainty: bool = True
    force: bool = False
    segmentation: bool = False
    checkLesions: bool = False
    lesions: vtkMRMLNode
    convertBack: bool = False
    outputVolume: vtkMRMLScalarVolumeNode
    referenceVolume: vtkMRMLScalarVolumeNode
