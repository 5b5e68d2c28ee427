"""Convert one medical imaging modality into another, or segment it, on the input's own voxel grid.

>>> from modality_conversion import Catalog, convert, read_image
>>> bundle = Catalog().get("any-to-any-slab")                     # doctest: +SKIP
>>> result = convert({"T1": read_image("t1.nii.gz")}, bundle, target="T2")   # doctest: +SKIP

Every result is synthetic and not for diagnosis.
"""

from __future__ import annotations

from . import telemetry
from .bundle import Bundle
from .catalog import Catalog
from .convert import Conversion, convert
from .errors import Cancelled, ConversionError
from .image_io import read_image, write_image
from .modality import Modality
from .recognise import Recognition, recognise
from .segment import Segmentation, segment
from .version import __version__

telemetry.forbid()

__all__ = [
    "Bundle",
    "Cancelled",
    "Catalog",
    "Conversion",
    "ConversionError",
    "Modality",
    "Recognition",
    "Segmentation",
    "__version__",
    "convert",
    "read_image",
    "recognise",
    "segment",
    "write_image",
]
