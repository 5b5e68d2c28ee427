"""DICOM in and out: series read onto a grid or refused with the reason, results written so that an archive takes them.

pydicom reads and writes, highdicom makes segmentations, parametric maps and structured reports; both come with the extra
`dicom` and are imported only where they are used. What is read and written is in docs/dicom.md.
"""

from __future__ import annotations

from .choose import choose
from .find import Listing, find_volumes, is_dicom
from .read import DicomScan, read_volume
from .volume import DicomVolume

__all__ = ["DicomScan", "DicomVolume", "Listing", "choose", "find_volumes", "is_dicom", "read_volume"]
