"""A scripted module as small as can be, for the stand-in's own tests: written to a folder, then loaded."""

from pathlib import Path

CODE = """
from typing import Annotated, Optional
from enum import Enum
import ctk, qt, slicer, vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class Speed(Enum):
    SLOW = 1
    FAST = 2


class Demo(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Demo")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Examples")]
        slicer.app.connect("startupCompleted()", self.onStarted)

    def onStarted(self):
        import SampleData
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="Demo", sampleName="D", uris="https://example.org/d.nrrd", fileNames="d.nrrd", nodeNames="d",
            checksums="SHA256:00")


@parameterNodeWrapper
class DemoParameterNode:
    inputVolume: vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(0, 10)] = 3.0
    name: str = "x"
    flag: bool = True
    speed: Speed = Speed.FAST
    target: Annotated[str, Choice(["T1", "T2"]), Default("T2")]
    other: Optional[vtkMRMLScalarVolumeNode] = None


class DemoWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._parameterNode = self._tag = None
        self.events = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Demo.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = DemoLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.initialize()

    def initialize(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, node):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._tag)
        self._parameterNode = node
        if node:
            self._tag = node.connectGui(self.ui)

    def cleanup(self):
        self.events.append("cleanup")
        self.removeObservers()

    def enter(self):
        self.events.append("enter")
        self.initialize()

    def exit(self):
        self.events.append("exit")

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        self.initialize()

    def onApply(self):
        with slicer.util.tryWithErrorDisplay("It failed.", waitCursor=True):
            if slicer.util.confirmYesNoDisplay("Really?"):
                raise RuntimeError("broken")


class DemoLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return DemoParameterNode(super().getParameterNode())


class DemoTest(ScriptedLoadableModuleTest):
    def test_something(self):
        self.delayDisplay("tested")
        slicer.demoTested = True
"""

FORM = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Demo</class>
 <widget class="qMRMLWidget" name="Demo">
  <layout class="QVBoxLayout" name="verticalLayout">
   <item>
    <widget class="ctkCollapsibleButton" name="inputs">
     <property name="text"><string>Inputs</string></property>
     <layout class="QFormLayout" name="formLayout">
      <item row="0" column="1">
       <widget class="qMRMLNodeComboBox" name="inputSelector">
        <property name="nodeTypes"><stringlist notr="true"><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
        <property name="showChildNodeTypes"><bool>false</bool></property>
        <property name="addEnabled"><bool>false</bool></property>
        <property name="SlicerParameterName" stdset="0"><string>inputVolume</string></property>
       </widget>
      </item>
      <item row="1" column="1">
       <widget class="ctkSliderWidget" name="slider">
        <property name="SlicerParameterName" stdset="0"><string>threshold</string></property>
       </widget>
      </item>
      <item row="2" column="1">
       <widget class="QComboBox" name="speedBox">
        <property name="SlicerParameterName" stdset="0"><string>speed</string></property>
       </widget>
      </item>
      <item row="3" column="1">
       <widget class="QCheckBox" name="flagBox">
        <property name="SlicerParameterName" stdset="0"><string>flag</string></property>
       </widget>
      </item>
     </layout>
    </widget>
   </item>
   <item>
    <widget class="QPushButton" name="applyButton">
     <property name="enabled"><bool>true</bool></property>
     <property name="text"><string>Apply</string></property>
    </widget>
   </item>
  </layout>
 </widget>
 <customwidgets/>
 <resources/>
 <connections>
  <connection>
   <sender>Demo</sender>
   <signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
   <receiver>inputSelector</receiver>
   <slot>setMRMLScene(vtkMRMLScene*)</slot>
  </connection>
 </connections>
</ui>
"""


def write(folder: Path, form: str = FORM) -> Path:
    """Write the module; its .py file comes back."""
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "Resources" / "UI" / "Demo.ui").write_text(form)
    path = folder / "Demo.py"
    path.write_text(CODE)
    return path
