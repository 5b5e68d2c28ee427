"""A public scan to try the module on, offered in the Sample Data module."""

from __future__ import annotations

from .i18n import tr as _

_SHA256 = "cc211f0dfd9a05ca3841ce1141b292898b2dd2d3f08286affadf823a7e58df93"


def register() -> None:
    """Register Slicer's MRHead, a T1 scan donated to be used without any restriction, under the module's own heading."""
    try:
        import SampleData
    except ImportError:  # a Slicer built without it
        return
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="ModalityConversion",
        sampleName=_("Head, T1"),
        uris=f"https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/{_SHA256}",
        fileNames="ModalityConversion-HeadT1.nrrd",
        nodeNames="Head T1",
        checksums=f"SHA256:{_SHA256}",
    )
