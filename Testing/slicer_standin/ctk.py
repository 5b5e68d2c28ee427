"""The CTK widgets that a scripted module's .ui file may hold. CTK: Libs/Widgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from slicer_standin.custom import prop, via
from slicer_standin.pythonqt import emit

Qt = QtCore.Qt
_INVALID_ROLE = -1


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """Libs/Widgets/ctkCollapsibleButton.h"""

    _cpp = True
    _signals = ("contentsCollapsed(bool)",)

    def __init__(self, text: Any = "", parent: Any = None) -> None:
        text, parent = ("", text) if isinstance(text, QtWidgets.QWidget) else (text, parent)
        super().__init__(parent)
        self._hidden_by_user: set[Any] = set()
        self._forcing = False
        self.setText(text or "")
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.connect("toggled(bool)", self._collapse)

    def _is_collapsed(self) -> bool:
        return not self.checked

    def _set_collapsed(self, value: bool) -> None:
        self.setChecked(not value)

    collapsed = QtCore.Property(bool, _is_collapsed, _set_collapsed)
    collapsedHeight = prop(int, "collapsedHeight", 14)
    flat = prop(bool, "flat", False)
    contentsFrameShape = prop(int, "contentsFrameShape", 0)
    contentsFrameShadow = prop(int, "contentsFrameShadow", 16)
    contentsLineWidth = prop(int, "contentsLineWidth", 1)
    contentsMidLineWidth = prop(int, "contentsMidLineWidth", 0)
    buttonTextAlignment = prop(int, "buttonTextAlignment", 0x81)
    indicatorAlignment = prop(int, "indicatorAlignment", 0x81)

    def _header_height(self) -> int:
        return int(self.fontMetrics().height() + 8)

    def _collapse(self, expanded: bool) -> None:
        self.setMaximumHeight(16777215 if expanded else self._header_height())
        self._forcing = True
        for child in self.findChildren(QtWidgets.QWidget):
            if child.parent() is self and child not in self._hidden_by_user:
                child.setVisible(expanded)
        self._forcing = False
        emit(self, "contentsCollapsed(bool)", not expanded)

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        if event.type() == QtCore.QEvent.ChildAdded and event.child().isWidgetType():
            event.child().installEventFilter(self)
        super().childEvent(event)

    def eventFilter(self, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        if not self.__dict__.get("_forcing", True) and child.parent() is self:
            if event.type() == QtCore.QEvent.HideToParent:
                self._hidden_by_user.add(child)
            elif event.type() == QtCore.QEvent.ShowToParent:
                self._hidden_by_user.discard(child)
                if not self.checked:
                    self._forcing = True
                    child.hide()  # type: ignore[attr-defined]
                    self._forcing = False
        return False

    def sizeHint(self) -> QtCore.QSize:
        inner = self.layout().sizeHint() if self.layout() and self.checked else QtCore.QSize(0, 0)
        width = max(inner.width(), self.fontMetrics().horizontalAdvance(self.text) + 30)
        return QtCore.QSize(width, max(inner.height(), self._header_height()))

    minimumSizeHint = sizeHint

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return bool(position.y() <= self._header_height())

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self._header_height())
        option.text = ("▾ " if self.checked else "▸ ") + self.text
        painter = QtGui.QPainter(self)
        self.style().drawPrimitive(QtWidgets.QStyle.PE_PanelButtonBevel, option, painter, self)
        painter.drawText(option.rect.adjusted(8, 0, 0, 0), Qt.AlignLeft | Qt.AlignVCenter, option.text)


class ctkSliderWidget(QtWidgets.QWidget):
    """Libs/Widgets/ctkSliderWidget.h"""

    _cpp = True
    _signals = ("valueChanged(double)", "valueIsChanging(double)", "decimalsChanged(int)")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(Qt.Horizontal, self)
        self._spin = QtWidgets.QDoubleSpinBox(self)
        self._updating = False
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._spin)
        self._spin.maximum = 100.0
        self._fit_slider()
        self._spin.connect("valueChanged(double)", self._spin_changed)
        self._slider.connect("valueChanged(int)", self._slider_changed)

    def _fit_slider(self) -> None:
        step = self._spin.singleStep or 1.0
        self._updating = True
        self._slider.setRange(0, max(0, round((self._spin.maximum - self._spin.minimum) / step)))
        self._slider.setValue(round((self._spin.value - self._spin.minimum) / step))
        self._updating = False

    def _slider_changed(self, position: int) -> None:
        if not self._updating:
            value = self._spin.minimum + position * (self._spin.singleStep or 1.0)
            emit(self, "valueIsChanging(double)", value)
            self._spin.value = value

    def _spin_changed(self, value: float) -> None:
        self._fit_slider()
        emit(self, "valueChanged(double)", value)

    def _set_minimum(self, value: float) -> None:
        self._spin.minimum = value
        self._fit_slider()

    def _set_maximum(self, value: float) -> None:
        self._spin.maximum = value
        self._fit_slider()

    def _set_step(self, value: float) -> None:
        self._spin.singleStep = value
        self._fit_slider()

    minimum = QtCore.Property(float, lambda self: self._spin.minimum, _set_minimum)
    maximum = QtCore.Property(float, lambda self: self._spin.maximum, _set_maximum)
    singleStep = QtCore.Property(float, lambda self: self._spin.singleStep, _set_step)
    value = via(float, "_spin", "value")
    prefix = via(str, "_spin", "prefix")
    suffix = via(str, "_spin", "suffix")
    decimals = via(int, "_spin", "decimals")
    pageStep = prop(float, "pageStep", 10.0)
    tickInterval = prop(float, "tickInterval", 0.0)
    tickPosition = prop(int, "tickPosition", 0)
    synchronizeSiblings = prop(int, "synchronizeSiblings", 1)
    spinBoxAlignment = prop(int, "spinBoxAlignment", 2)
    tracking = via(bool, "_slider", "tracking")
    popupSlider = prop(bool, "popupSlider", False)
    invertedAppearance = via(bool, "_slider", "invertedAppearance")
    invertedControls = via(bool, "_slider", "invertedControls")
    spinBoxVisible = QtCore.Property(
        bool, lambda self: not self._spin.isHidden(), lambda self, value: self._spin.setVisible(value)
    )

    def setValue(self, value: float) -> None:
        self._spin.value = value

    def setSpinBoxVisible(self, visible: bool) -> None:
        self._spin.setVisible(visible)

    def setDecimals(self, decimals: int) -> None:
        self._spin.decimals = decimals

    def reset(self) -> None:
        self._spin.value = 0.0


class ctkPathLineEdit(QtWidgets.QWidget):
    """Libs/Widgets/ctkPathLineEdit.h"""

    _cpp = True
    _signals = ("validInputChanged(bool)", "currentPathChanged(QString)")
    Dirs, Files, Drives, NoSymLinks, AllEntries = 0x1, 0x2, 0x4, 0x8, 0x7
    Readable, Writable, Executable, Modified, Hidden, System = 0x10, 0x20, 0x40, 0x80, 0x100, 0x200
    AllDirs, CaseSensitive, NoDotAndDotDot, NoDot, NoDotDot, NoFilter = 0x400, 0x800, 0x1000, 0x2000, 0x4000, -1

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setEditable(True)
        self._button = QtWidgets.QPushButton("...", self)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        row.addWidget(self._button)
        self._button.connect("clicked()", self.browse)
        self._combo.connect("editTextChanged(QString)", self._changed)

    def _changed(self, path: str) -> None:
        emit(self, "currentPathChanged(QString)", path)

    currentPath = QtCore.Property(
        str, lambda self: self._combo.currentText, lambda self, path: self._combo.setEditText(path)
    )
    label = prop(str, "label", "")
    filters = prop(int, "filters", 0x7)
    options = prop(int, "options", 0)
    nameFilters = prop("QStringList", "nameFilters", [])
    settingKey = prop(str, "settingKey", "")
    showBrowseButton = QtCore.Property(
        bool, lambda self: not self._button.isHidden(), lambda self, value: self._button.setVisible(value)
    )
    showHistoryButton = prop(bool, "showHistoryButton", True)
    sizeAdjustPolicy = prop(int, "sizeAdjustPolicy", 0)
    minimumContentsLength = prop(int, "minimumContentsLength", 0)

    def setCurrentPath(self, path: str) -> None:
        self.currentPath = path

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo

    def browse(self) -> None:
        files = QtWidgets.QFileDialog
        ask = files.getExistingDirectory if not self.filters & self.Files else files.getOpenFileName
        path = ask(self, self.label or "Select a path to load", self.currentPath)
        if path:
            self.currentPath = str(path)

    def addCurrentPathToHistory(self) -> None:
        if self._combo.findText(self.currentPath) < 0:
            self._combo.insertItem(0, self.currentPath)

    def retrieveHistory(self) -> None:
        return


class ctkDirectoryButton(QtWidgets.QWidget):
    """Libs/Widgets/ctkDirectoryButton.h"""

    _cpp = True
    _signals = ("directorySelected(QString)", "directoryChanged(QString)")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._button = QtWidgets.QPushButton(self)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._button)
        self._path = str(Path.cwd())
        self._button.connect("clicked()", self.browse)

    def _set_directory(self, path: str) -> None:
        if path != self._path:
            self._path = path
            self._button.text = self.text or path
            emit(self, "directoryChanged(QString)", path)

    directory = QtCore.Property(str, lambda self: self._path, _set_directory)
    caption = prop(str, "caption", "")
    text = prop(str, "text", "")
    acceptMode = prop(int, "acceptMode", 0)
    elideMode = prop(int, "elideMode", 3)
    options = prop(int, "options", 1)

    def browse(self) -> None:
        path = QtWidgets.QFileDialog.getExistingDirectory(self, self.caption or "Select a folder", self._path)
        if path:
            self.directory = str(path)
            emit(self, "directorySelected(QString)", self._path)


class ctkMessageBox(QtWidgets.QMessageBox):
    """Libs/Widgets/ctkMessageBox.h: a box that can be told not to come again."""

    _cpp = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._check = QtWidgets.QCheckBox("Don't show this message again", self)
        self._check.hide()
        self._roles = [QtWidgets.QMessageBox.AcceptRole]
        self._key = ""
        self.connect("finished(int)", self._save)

    def _set_key(self, key: str) -> None:
        if key == self._key:
            return
        self._key = key
        self._check.checked = self._setting() != _INVALID_ROLE
        self._set_visible(bool(key))

    def _set_visible(self, visible: bool) -> None:
        self._check.setVisible(visible)
        if visible:
            self.setCheckBox(self._check)

    def _setting(self) -> int:
        return int(QtCore.QSettings().value(self._key, _INVALID_ROLE)) if self._key else _INVALID_ROLE

    def _stored_button(self) -> Any:
        """The button that is pressed without asking, if the user has once said so."""
        if not self._check.checked:
            return None
        wanted = self._setting()
        wanted = int(QtWidgets.QMessageBox.AcceptRole.value) if wanted == _INVALID_ROLE else wanted
        if not self.buttons():
            self.addButton(QtWidgets.QMessageBox.Ok)
        for button in self.buttons():
            if int(self.standardButton(button)) == wanted:
                return button
        return next((button for button in self.buttons() if self.buttonRole(button).value == wanted), None)

    def _save(self) -> None:
        button = self.clickedButton()
        if button is None or self.buttonRole(button) not in self._roles or not self._key:
            return
        standard = int(self.standardButton(button)) or int(self.buttonRole(button).value)
        QtCore.QSettings().setValue(self._key, standard if self._check.checked else _INVALID_ROLE)

    dontShowAgain = QtCore.Property(
        bool, lambda self: self._check.checked, lambda self, value: self._check.setChecked(value)
    )
    dontShowAgainSettingsKey = QtCore.Property(str, lambda self: self._key, _set_key)
    dontShowAgainVisible = QtCore.Property(bool, lambda self: not self._check.isHidden(), _set_visible)

    def setDontShowAgain(self, value: bool) -> None:
        self._check.checked = value

    def addDontShowAgainButtonRole(self, role: Any) -> None:
        self._roles.append(role)


class ctkComboBox(QtWidgets.QComboBox):
    """Libs/Widgets/ctkComboBox.h"""

    _cpp = True
    defaultText = prop(str, "defaultText", "")
    forceDefault = prop(bool, "forceDefault", False)
    elideMode = prop(int, "elideMode", 3)
    scrollWheelEffect = prop(int, "scrollWheelEffect", 0)


class ctkCheckBox(QtWidgets.QCheckBox):
    """Libs/Widgets/ctkCheckBox.h"""

    _cpp = True


class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    """Libs/Widgets/ctkDoubleSpinBox.h (which wraps a spin box; here it is one)"""

    _cpp = True


class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """Libs/Widgets/ctkFittedTextBrowser.h"""

    _cpp = True
    disableMouseScroll = prop(bool, "disableMouseScroll", False)
    collapsed = prop(bool, "collapsed", True)
    showDetailsText = prop(str, "showDetailsText", "Show details...")
    hideDetailsText = prop(str, "hideDetailsText", "Hide details.")


class ctkExpandableWidget(QtWidgets.QFrame):
    """Libs/Widgets/ctkExpandableWidget.h"""

    _cpp = True
    orientations = prop(int, "orientations", 3)


class ctkMenuButton(QtWidgets.QPushButton):
    """Libs/Widgets/ctkMenuButton.h"""

    _cpp = True


WIDGETS = {
    name: kind
    for name, kind in dict(globals()).items()
    if name.startswith("ctk") and isinstance(kind, type) and issubclass(kind, QtWidgets.QWidget)
}
