"""ModalityConversion: see the scan that you do not have, beside the one that you have.

The module, its widget, its logic and its self-test. What they do lies in ModalityConversionLib; the engine, which knows
nothing of Slicer, in modality_conversion.
"""

import importlib
import logging
import sys

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

OLDEST_PYTHON = (3, 10)


class ModalityConversion(ScriptedLoadableModule):
    """What Slicer's module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Modality Conversion")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        self.parent.dependencies = []
        self.parent.contributors = ["The ModalityConversion developers"]
        self.parent.helpText = _(
            "Converts a CT, T1, T2 or FLAIR scan into another one, exactly in its place, and shows both side by side. "
            "Every result is synthetic and <b>not for diagnosis</b>."
        )
        self.parent.acknowledgementText = _(
            "Models are listed with their data, licence and measured quality in their cards (Models, Card)."
        )
        slicer.app.connect("startupCompleted()", _on_startup)


def _on_startup():
    """Offer the sample scan, and write SYNTHETIC over every synthetic image, also before the panel is first opened."""
    from ModalityConversionLib import layouts, sample_data

    sample_data.register()
    if slicer.app.layoutManager() is not None:
        layouts.register()
    _label_synthetic_images()


def _label_synthetic_images():
    """Start the labels, once; after a reload, with the new code."""
    from ModalityConversionLib.synthetic_label import SyntheticLabels

    former = getattr(slicer.modules, "modalityConversionLabels", None)
    if former is not None:
        former.remove()
    slicer.modules.modalityConversionLabels = SyntheticLabels()


class ModalityConversionWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel, and its life with the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        if sys.version_info < OLDEST_PYTHON:
            self._say_too_old()
            return
        from ModalityConversionLib.panel import Panel

        if not hasattr(slicer.modules, "modalityConversionLabels"):
            _label_synthetic_images()
        self.logic = ModalityConversionLogic()
        self.panel = Panel(self.layout)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        slicer.app.connect("aboutToQuit()", self.onAboutToQuit)
        self.initializeParameterNode()

    def cleanup(self):
        """The module is reloaded, or Slicer ends."""
        self.removeObservers()
        if self.panel is not None:
            slicer.app.disconnect("aboutToQuit()", self.onAboutToQuit)
            self.panel.close()
            self.panel = None

    def enter(self):
        """The user opens the module."""
        if self.panel is not None:
            self.initializeParameterNode()
            self.panel.enter()

    def exit(self):
        """The user opens another module; a conversion goes on."""
        if self.panel is not None:
            self.panel.exit()

    def onReload(self):
        """Reload this file and its library, for developers."""
        if self.panel is not None:
            self.cleanup()
        _forget_modules()
        ScriptedLoadableModuleWidget.onReload(self)
        _label_synthetic_images()

    def onSceneStartClose(self, caller, event):
        """The parameter node is about to go."""
        if self.panel is not None:
            self.panel.bind(None)

    def onSceneEndClose(self, caller, event):
        """A new scene, with new parameters."""
        if self.panel is not None:
            self.panel.scene_closed()
            self.initializeParameterNode()

    def onAboutToQuit(self):
        """Slicer ends: so does a conversion."""
        if self.panel is not None:
            self.panel.close()

    def initializeParameterNode(self):
        """Show the scene's parameters; the first scan is chosen where none is."""
        from ModalityConversionLib import volumes

        parameters = self.logic.getParameterNode()
        if not self.panel.is_bound_to(parameters):
            self.panel.bind(parameters)
        if parameters.inputVolume is None:
            parameters.inputVolume = volumes.first_scan()

    def _say_too_old(self):
        import qt

        label = qt.QLabel(_("Modality Conversion needs Slicer 5.10 or newer: the Python of this one is too old."))
        label.setWordWrap(True)
        self.layout.addWidget(label)
        self.layout.addStretch(1)


class ModalityConversionLogic(ScriptedLoadableModuleLogic):
    """Conversion for scripts."""

    def getParameterNode(self):
        """The panel's choices in this scene."""
        from ModalityConversionLib.parameters import Parameters

        return Parameters(super().getParameterNode())

    def convert(self, inputVolume, target, source=None, model=None, **options):
        """Convert a volume, or each frame of a sequence, and wait for it; Slicer stays responsive.

        :param inputVolume: vtkMRMLScalarVolumeNode, or vtkMRMLSequenceNode of such.
        :param target: what to make: "CT", "T1", "T2", "FLAIR", ...
        :param source: what the input is; as recognised where it is left out.
        :param model: a model's id; the best that fits where it is left out.
        :param options: `mask` and `segment`, `device` ("auto", "cpu", "cuda:0"), `uncertainty`, `interval`, `force`,
            `segmentation`, `check_lesions` and `convert_back` (False), `lesions` (outlines on the scan), `output` (a volume
            to fill), `further` ({"T2": node} for models with joint inputs), and `progress`, called with a `Progress`:
            stage, done, total, seconds_left.
        :return: for a volume, an object with the nodes `volume`, `uncertainty`, `interval`, `segmentation`, `consistency`
            (None where not asked for) and the dictionary `report`; for a sequence, a vtkMRMLSequenceNode.
        :raises modality_conversion.ConversionError: what is wrong and what to do; then no node is left behind.
        """
        from ModalityConversionLib.logic import convert

        return convert(inputVolume, target=target, source=source, model=model, **options)


class ModalityConversionTest(ScriptedLoadableModuleTest):
    """The self-test, for ctest and the reload-and-test button."""

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        """Run the self-test."""
        self.setUp()
        from ModalityConversionLib import self_test

        self_test.run(self)


def _forget_modules():
    """Make Python read the library and the engine again at the next import."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("ModalityConversionLib", "modality_conversion"):
            del sys.modules[name]
    importlib.invalidate_caches()
    logging.debug("ModalityConversion: the library will be read again")
