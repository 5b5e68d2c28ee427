"""A derived series to an archive and back, over the network of this machine alone: DCMTK's storescp, and Orthanc."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dicom_series import gdcm_image, head, synthesised, write_series
from modality_conversion.dicom import choose, find_volumes, read_volume
from modality_conversion.dicom.write import write_series as write_synthetic
from test_dicom_write import REPORT

PATIENCE_S = 60


def program(name: str) -> str:
    """Its path; tests that need it skip where it is absent."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} (Debian's packages dcmtk and orthanc) is not on this machine")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(command: list[str], port: int) -> Iterator[None]:
    """A server of ours until the block ends; it answers on its port when the block begins."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None, "the server did not start"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def client(*command: object) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A synthetic series, made of a DICOM series."""
    write_series(tmp_path / "source", head())
    scan = read_volume(choose(find_volumes(tmp_path / "source")))
    folder = tmp_path / "synthetic"
    folder.mkdir()
    write_synthetic(folder, sitk.Cast(scan.image, sitk.sitkFloat32) * 1.5 + 1, REPORT, scan)
    return folder


def came_back_whole(sent: Path, received: Path) -> None:
    before, after = synthesised(sent), synthesised(received)
    assert len(after) == len(before) == 12
    for ours, theirs in zip(before, after):
        assert {element.tag for element in ours} <= {element.tag for element in theirs}
        for element in ours:
            if element.VR != "SQ":
                assert theirs[element.tag].value == element.value, element.keyword
        assert theirs.SourceImageSequence == ours.SourceImageSequence
        assert theirs.ContributingEquipmentSequence == ours.ContributingEquipmentSequence
    ours_image, theirs_image = gdcm_image(sent), gdcm_image(received)
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(theirs_image), sitk.GetArrayViewFromImage(ours_image))
    assert theirs_image.GetOrigin() == ours_image.GetOrigin()
    assert theirs_image.GetDirection() == ours_image.GetDirection()


def test_a_series_goes_through_a_storage_server_unchanged(tmp_path, series):
    storescp, storescu = program("storescp"), program("storescu")
    received, port = tmp_path / "received", free_port()
    received.mkdir()
    with serving([storescp, "--output-directory", str(received), str(port)], port):
        client(storescu, "--scan-directories", "127.0.0.1", port, series)
    came_back_whole(series, received)


def test_an_archive_takes_a_series_and_gives_it_back(tmp_path, series):
    orthanc, storescu, getscu = program("Orthanc"), program("storescu"), program("getscu")
    port, store, received = free_port(), tmp_path / "store", tmp_path / "received"
    settings = {
        "Name": "test",
        "DicomAet": "ARCHIVE",
        "DicomPort": port,
        "HttpServerEnabled": False,
        "StorageDirectory": str(store),
        "IndexDirectory": str(store),
        "Plugins": [],
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowFind": True,
        "DicomCheckCalledAet": False,
    }
    configuration = tmp_path / "orthanc.json"
    configuration.write_text(json.dumps(settings))
    store.mkdir()
    received.mkdir()
    first = synthesised(series)[0]
    with serving([orthanc, str(configuration)], port):
        client(storescu, "--scan-directories", "-aec", "ARCHIVE", "127.0.0.1", port, series)
        client(storescu, "--scan-directories", "-aec", "ARCHIVE", "127.0.0.1", port, tmp_path / "source")
        query = ["-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={first.StudyInstanceUID}"]
        query += ["-k", f"SeriesInstanceUID={first.SeriesInstanceUID}"]
        client(getscu, "-S", "-aec", "ARCHIVE", "-od", received, *query, "127.0.0.1", port)
    came_back_whole(series, received)
    # The archive keeps the result in the source's study, beside the source.
    source = pydicom.dcmread(next((tmp_path / "source").iterdir()))
    assert source.StudyInstanceUID == first.StudyInstanceUID
