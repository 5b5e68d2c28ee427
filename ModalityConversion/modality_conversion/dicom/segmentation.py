"""A label map as a DICOM Segmentation object (PS3.3, A.51): one binary segment a label, with its coded meaning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .derived import series_number
from .library import highdicom, pydicom, quiet
from .read import DicomScan
from .sources import algorithm_of, headers, maker, on_grid, signed


def save_segmentation(path: Path, labels: sitk.Image, report: Mapping[str, Any], scan: DicomScan) -> None:
    """Write a label map that lies on the grid of `scan`; `report` is that of a segmentation, with its `labels`.

    Segments are numbered from 1 in the order of the report. Frames without a labelled voxel are left out, unless all are.
    """
    with quiet():
        hd, uid = highdicom(), pydicom().uid.generate_uid
        values = [label["value"] for label in report["labels"]]
        array = sitk.GetArrayViewFromImage(labels)
        numbered = np.zeros(array.shape, dtype=np.uint8 if len(values) < 256 else np.uint16)
        for number, value in enumerate(values, 1):
            numbered[array == value] = number
        sources = headers(scan)
        dataset = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=on_grid(scan, numbered),
            segmentation_type="BINARY",
            segment_descriptions=[_described(n, label, report) for n, label in enumerate(report["labels"], 1)],
            series_instance_uid=uid(prefix=None),
            series_number=series_number(sources[0], "segmentation"),
            sop_instance_uid=uid(prefix=None),
            instance_number=1,
            content_description="Labels made by a model, not for diagnosis",
            content_label="MODEL_LABELS",
            omit_empty_frames=bool(numbered.any()),
            **maker(),
        )
        signed(dataset, sources[0], report, f"SEGMENTATION by {report['model']['id']} - not for diagnosis")
        dataset.save_as(path, enforce_file_format=True)


def _described(number: int, label: Mapping[str, Any], report: Mapping[str, Any]) -> Any:
    from pydicom.sr.coding import Code

    def coded(part: Mapping[str, str]) -> Code:
        return Code(part["value"], part["scheme"], part["meaning"])

    return highdicom().seg.SegmentDescription(
        segment_number=number,
        segment_label=label["name"][:64],
        segmented_property_category=coded(label["terminology"]["category"]),
        segmented_property_type=coded(label["terminology"]["type"]),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm_of(report),
        tracking_uid=pydicom().uid.generate_uid(prefix=None),
        tracking_id=label["name"][:64],
    )
