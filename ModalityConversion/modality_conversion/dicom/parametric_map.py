"""The uncertainty as a DICOM Parametric Map (PS3.3, A.75): one standard deviation, floating point, in the target's units."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .derived import algorithm, series_number
from .frame import text
from .library import highdicom, pydicom, quiet
from .read import DicomScan
from .sources import headers, maker, on_grid, signed


def save_uncertainty(path: Path, uncertainty: sitk.Image, report: Mapping[str, Any], scan: DicomScan) -> None:
    """Write an uncertainty that lies on the grid of `scan`; `report` is that of the conversion."""
    from pydicom.sr.coding import Code

    with quiet():
        hd, uid = highdicom(), pydicom().uid.generate_uid
        array = np.asarray(sitk.GetArrayViewFromImage(uncertainty), dtype=np.float32)
        units = (
            Code("[hnsf'U]", "UCUM", "Hounsfield unit") if report["units"] == "HU" else Code("1", "UCUM", "no units")
        )
        high = max(float(array.max()), 1e-6)
        mapping = hd.pm.RealWorldValueMapping(
            lut_label="STD_DEVIATION",
            lut_explanation=f"One standard deviation of the synthetic {report['modality']}",
            unit=units,
            value_range=(float(min(array.min(), 0.0)), high),
            slope=1.0,
            intercept=0.0,
            quantity_definition=Code("386136009", "SCT", "Standard deviation"),
        )
        sources = headers(scan)
        dataset = hd.pm.ParametricMap(
            source_images=sources,
            pixel_array=on_grid(scan, array),
            series_instance_uid=uid(prefix=None),
            series_number=series_number(sources[0], "uncertainty"),
            sop_instance_uid=uid(prefix=None),
            instance_number=1,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            window_center=high / 2,
            window_width=high,
            content_description="Uncertainty of a synthetic image",
            content_label="UNCERTAINTY",
            content_qualification="RESEARCH",
            **maker(),
        )
        dataset.SyntheticData = "YES"
        if not text(sources[0], "BodyPartExamined"):
            dataset.Laterality = None  # not known to be of one side, nor not to be
        dataset.DerivationAlgorithmSequence = [algorithm(report)]
        signed(dataset, sources[0], report, f"UNCERTAINTY of SYNTHETIC {report['modality']} - not for diagnosis")
        dataset.save_as(path, enforce_file_format=True)
