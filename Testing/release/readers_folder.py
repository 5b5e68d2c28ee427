"""What lies in the folder of somebody who tries the examples of the documentation, and the models that they have.

The models return what they get, so that an example takes a moment: it is the examples that are tried, not the models.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

import dicom_series
import graphs
import heads
from bundles import write_bundle
from modality_conversion.image_io import write_image

LABEL = {
    "value": 1,
    "name": "lesion",
    "terminology": {
        "category": {"scheme": "SCT", "value": "49755003", "meaning": "Morphologically Abnormal Structure"},
        "type": {"scheme": "SCT", "value": "4147007", "meaning": "Mass"},
    },
}
CT = {"units": "HU", "background": -1024, "window": 400, "level": 40, "dtype": "float32"}
SERIES = "1.2.840.113619.2.55"
"""The SeriesInstanceUID of the series in the folder, as the examples name it."""


def fill(folder: Path) -> None:
    """Scans as files and as DICOM, a data set, a table, an outline, a bare network."""
    t1 = heads.head("T1")
    write_image(t1, folder / "scan.nii.gz")
    write_image(heads.head("T2"), folder / "real_T2.nii.gz")
    write_image(heads.head("FLAIR"), folder / "flair.nii.gz")
    write_image(_outline(t1), folder / "mask.nii.gz")
    dicom_series.write_series(folder / "study", dicom_series.head(), series=SERIES)
    _data_set(folder / "dataset", t1)
    with (folder / "scans.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("input", "from"), ("scan.nii.gz", "T1")])
    graphs.identity(folder / "network.onnx")
    graphs.identity(folder / "models" / "model.onnx", dynamic=False)


def models(folder: Path) -> None:
    """A model for each direction that the examples go, one that reads two scans, one that segments."""
    spread = {"output": {"uncertainty": {"channel": 1, "kind": "scale"}}}

    def twice(path: Path) -> Path:
        return graphs.linear(path, channels=((1.0, 0.0), (0.0, 2.0)))

    write_bundle(folder / "any-to-any-slab", twice, **spread)
    write_bundle(folder / "t1-to-ct-copy", twice, targets={"CT": CT}, **spread)
    write_bundle(
        folder / "t1-and-flair-to-t2",
        lambda path: graphs.with_inputs(path, {"flair": ("batch", 1, "height", "width")}),
        sources=[{"modality": "T1"}, {"modality": "FLAIR"}],
        inputs=[{"name": "image", "modality": "T1"}, {"name": "flair", "modality": "FLAIR"}],
    )
    write_bundle(
        folder / "bright-spots",
        lambda path: graphs.linear(path, channels=((0.0, 0.0), (1.0, -1e9))),
        targets={},
        segmentation={"labels": [LABEL], "activation": "softmax"},
    )


def _outline(scan: sitk.Image) -> sitk.Image:
    """A ball of some 5 mL in the middle of a head."""
    place = np.indices(scan.GetSize()[::-1]) - np.reshape(scan.GetSize()[::-1], (3, 1, 1, 1)) / 2
    outline = sitk.GetImageFromArray((np.sqrt((place**2).sum(axis=0)) < 3.5).astype(np.uint8))
    outline.CopyInformation(scan)
    return outline


def _data_set(folder: Path, scan: sitk.Image) -> None:
    """A BIDS data set of one person."""
    (folder / "sub-01" / "anat").mkdir(parents=True)
    description = {"Name": "One head", "BIDSVersion": "1.10.0"}
    (folder / "dataset_description.json").write_text(json.dumps(description), encoding="utf-8")
    write_image(scan, folder / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    write_image(heads.head("FLAIR"), folder / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz")
