"""The result lies exactly where the scan lies: its grid bit for bit, its parent transform, whatever they are."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from hypothesis import given
from hypothesis import strategies as st

from modality_conversion.image_io import read_image
from modality_conversion.modality import Modality
from ModalityConversionLib import metaimage
from ModalityConversionLib.conversion import Conversion
from ModalityConversionLib.request import Request
from ModalityConversionLib.run import finished
from scenes import add_scan, fingerprint, grid, ijk_to_ras, linear_transform, warp, world


def converted(scan):
    run = Conversion(Request(scan=scan, modality=Modality.T1, target=Modality.T2))
    run.wait()
    return finished(run).volume


@pytest.mark.parametrize("seed", range(50))
def test_fifty_random_grids_come_back_without_error(scene, copy_model, seed):
    scan = add_scan(shape=(9, 12, 10), matrix=grid(seed))
    parent = [None, linear_transform(seed), warp()][seed % 3]
    scan.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
    before = fingerprint(scan)
    volume = converted(scan)
    assert volume.GetParentTransformNode() is scan.GetParentTransformNode()
    np.testing.assert_array_equal(ijk_to_ras(volume), ijk_to_ras(scan))
    for index in ((0, 0, 0), (9, 11, 8), (3.5, 2.25, 7)):
        np.testing.assert_array_equal(world(volume, index), world(scan, index))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), slicer.util.arrayFromVolume(scan))
    assert fingerprint(scan) == before


@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["i2", "u2", "i1", "u1", "i4", "f4", "f8"]))
def test_what_is_handed_over_is_what_the_engine_reads(tmp_path_factory, seed, kind):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 9, 3))
    array = (rng.normal(0, 50, shape)).astype(kind)
    matrix = grid(seed)
    path = tmp_path_factory.mktemp("over") / "scan.mha"
    assert list(metaimage.write(array, matrix, path))[-1] == 1.0
    image = read_image(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
    to_lps = np.diag([-1, -1, 1, 1]) @ matrix
    for index in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        expected = (to_lps @ np.array([*index, 1.0]))[:3]
        found = image.TransformContinuousIndexToPhysicalPoint([float(n) for n in index])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("compressed", [True, False])
def test_what_the_engine_writes_is_what_comes_back(scene, tmp_path, compressed):
    from ModalityConversionLib.conversion import take_back
    from ModalityConversionLib.volumes import voxels

    array = np.random.default_rng(1).normal(0, 1, (70, 180, 190)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "result.mha"), useCompression=compressed)
    work = take_back(tmp_path / "result.mha", array.shape)
    while True:
        try:
            next(work)
        except StopIteration as stop:
            image = stop.value
            break
    np.testing.assert_array_equal(voxels(image), array)


@pytest.mark.parametrize("fault", ["short", "long", "other size", "text"])
def test_a_damaged_result_is_refused(scene, tmp_path, fault):
    from modality_conversion.errors import ConversionError

    path = tmp_path / "result.mha"
    array = np.zeros((4, 5, 6), np.int16)
    list(metaimage.write(array, np.eye(4), path))
    content = path.read_bytes()
    content = {
        "short": content[:-3],
        "long": content + b"more",
        "other size": content.replace(b"DimSize = 6 5 4", b"DimSize = 6 5 5"),
        "text": b"nothing of the kind",
    }[fault]
    path.write_bytes(content)
    with pytest.raises(ConversionError, match="damaged"):
        list(metaimage.read(path, array.shape))


def test_a_scan_hardened_meanwhile_does_not_move_the_result(scene, copy_model):
    scan = add_scan(shape=(9, 12, 10), matrix=grid(3))
    parent = linear_transform(5)
    scan.SetAndObserveTransformNodeID(parent.GetID())
    expected = world(scan, (2, 3, 4))
    run = Conversion(Request(scan=scan, modality=Modality.T1, target=Modality.T2))
    run._turn()
    scan.HardenTransform()
    run.wait()
    np.testing.assert_allclose(world(finished(run).volume, (2, 3, 4)), expected, atol=1e-9)


def test_a_scan_moved_meanwhile_takes_the_result_along(scene, copy_model):
    scan = add_scan(shape=(9, 12, 10))
    run = Conversion(Request(scan=scan, modality=Modality.T1, target=Modality.T2))
    run._turn()
    parent = linear_transform(6)
    scan.SetAndObserveTransformNodeID(parent.GetID())
    run.wait()
    assert finished(run).volume.GetParentTransformNode() is parent
