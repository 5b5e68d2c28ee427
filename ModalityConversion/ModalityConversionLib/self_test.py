"""The self-test inside Slicer: a phantom head through the whole way, as a user's script would go."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from . import dependencies, marks, models, volumes
from .logic import convert
from .results import Results


def run(test: Any) -> None:
    """Convert a phantom where the software is there, else check that the panel says what is missing.

    `test`: a unittest.TestCase, for its assertions and `delayDisplay`.
    """
    scan = phantom()
    before = slicer.util.arrayFromVolume(scan).copy()
    if dependencies.missing():
        test.delayDisplay(f"Not converted: {', '.join(dependencies.missing())} is missing")
        test.assertIsNone(volumes.why_unfit(scan))
        return
    test.assertTrue(models.usable(), "there should be a bundled model")
    model = models.usable()[0]
    source, target = model.sources[0], next(t for t in model.targets if t != model.sources[0])
    test.delayDisplay(f"Converting a phantom from {source} to {target}")
    results = convert(scan, target=target.value, source=source.value, uncertainty=model.tells_uncertainty)
    assert isinstance(results, Results)
    assert results.volume is not None
    test.assertEqual(volumes.grid(results.volume), volumes.grid(scan))
    test.assertEqual(results.volume.GetTransformNodeID(), scan.GetTransformNodeID())
    test.assertEqual(volumes.size(results.volume), volumes.size(scan))
    test.assertTrue(marks.is_synthetic(results.volume))
    test.assertTrue(np.isfinite(slicer.util.arrayFromVolume(results.volume)).all())
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(scan), before)
    test.delayDisplay("Passed")


def phantom() -> slicer.vtkMRMLScalarVolumeNode:
    """A small head-like volume, oblique, with thick slices, under a transform."""
    k, j, i = np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 96), np.linspace(-1, 1, 80), indexing="ij")
    radius = np.sqrt(k**2 + j**2 + i**2)
    values = 700.0 * (radius < 0.8) * (1 - 0.4 * (radius < 0.3)) + 250.0 * ((radius >= 0.8) & (radius < 0.9))
    scan = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Phantom T1")
    slicer.util.updateVolumeFromArray(scan, values.astype(np.int16))
    turn = np.deg2rad(12)
    directions = (np.cos(turn), -np.sin(turn), 0.0, np.sin(turn), np.cos(turn), 0.0, 0.0, 0.0, 1.0)
    volumes.set_grid(scan, volumes.Grid((2.0, 2.0, 7.0), (-70.0, 12.5, 40.0), directions))
    scan.CreateDefaultDisplayNodes()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Phantom's place")
    scan.SetAndObserveTransformNodeID(transform.GetID())
    return scan
