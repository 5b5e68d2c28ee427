"""Tests inside a real Slicer, run by ctest: the conversion of a phantom, and the panel through the life of a scene."""

import unittest

import slicer

import ModalityConversion


class ModalityConversionSelfTest(unittest.TestCase):
    """What only the application itself can show."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def test_conversion_of_a_phantom(self):
        test = ModalityConversion.ModalityConversionTest()
        test.runTest()

    def test_the_panel_lives_through_closing_the_scene(self):
        from ModalityConversionLib import self_test

        slicer.util.selectModule("ModalityConversion")
        panel = slicer.modules.modalityconversion.widgetRepresentation().self().panel
        self_test.phantom()
        slicer.app.processEvents()  # the panel looks at the scene when all that happens at once has happened
        self.assertEqual(panel.input.modality.value, "T1")
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()
        self.assertIsNone(panel.input.scan)
        self.assertFalse(panel.options.ui.convertButton.enabled)

    def test_leaving_and_entering_the_module(self):
        slicer.util.selectModule("ModalityConversion")
        slicer.util.selectModule("Data")
        slicer.util.selectModule("ModalityConversion")
        panel = slicer.modules.modalityconversion.widgetRepresentation().self().panel
        self.assertTrue(panel.is_entered)
