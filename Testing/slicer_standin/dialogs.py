"""Modal dialogs that never block: a test queues the answers beforehand and reads afterwards what was asked."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from PySide6 import QtGui, QtWidgets

from slicer_standin import pythonqt


class UnansweredError(AssertionError):
    """A modal dialog opened and the test had queued no answer: in Slicer, the user would have to deal with it."""


@dataclass
class Question:
    """One dialog that opened. `kind` is message, dialog, menu, file or input."""

    kind: str
    title: str
    text: str
    details: str = ""
    widget: Any = None


@dataclass
class Answers:
    """The queue of answers, one for each dialog, in order.

    Message box: a button (`qt.QMessageBox.Yes`) or the label of one. File or input dialog: a text, or None for
    Cancel. Any other dialog: its return code, or a function that is given the dialog, may operate it, and returns
    the code. Menu: the text of an action, or None. A function may stand for any of these.
    """

    waiting: deque[Any] = field(default_factory=deque)
    asked: list[Question] = field(default_factory=list)
    unanswered: list[Question] = field(default_factory=list)
    opened_urls: list[str] = field(default_factory=list)

    def queue(self, *answers: Any) -> None:
        self.waiting.extend(answers)

    def clear(self) -> None:
        for kept in (self.waiting, self.asked, self.unanswered, self.opened_urls):
            kept.clear()

    def take(self, question: Question, argument: Any = None) -> Any:
        self.asked.append(question)
        if not self.waiting:
            self.unanswered.append(question)
            raise UnansweredError(f"a {question.kind} dialog opened unanswered: {question.title!r} {question.text!r}")
        answer = self.waiting.popleft()
        return answer(argument) if callable(answer) else answer


answers = Answers()


def execute(dialog: QtWidgets.QDialog) -> int:
    """QDialog.exec without an event loop of its own."""
    if isinstance(dialog, QtWidgets.QMessageBox):
        return _execute_message_box(dialog)
    if isinstance(dialog, QtWidgets.QFileDialog):
        return _execute_file_dialog(dialog)
    if isinstance(dialog, QtWidgets.QInputDialog):
        answer = answers.take(Question("input", dialog.windowTitle, dialog.labelText, widget=dialog), dialog)
        if answer is not None:
            dialog.setTextValue(str(answer))
        dialog.done(int(answer is not None))
        return dialog.result()
    labels = [label.text for label in dialog.findChildren(QtWidgets.QLabel)]
    dialog.show()
    answer = answers.take(Question("dialog", dialog.windowTitle, "\n".join(labels), widget=dialog), dialog)
    if dialog.visible:
        dialog.done(int(answer or 0))
    return dialog.result()


def _execute_message_box(box: QtWidgets.QMessageBox) -> int:
    stored = getattr(type(box), "_stored_button", lambda _: None)(box)
    box.show()
    if stored is None:
        details = "\n".join(part for part in (box.informativeText, box.detailedText) if part)
        answer = answers.take(Question("message", box.windowTitle.strip(), box.text, details, box), box)
        stored = _button(box, answer)
    if stored is None:
        box.reject()
        return int(QtWidgets.QMessageBox.StandardButton.Cancel)
    standard = box.standardButton(stored)
    stored.click()
    return int(standard) if standard else box.buttons().index(stored)


def _button(box: QtWidgets.QMessageBox, answer: Any) -> Any:
    if answer is None:
        return None
    if isinstance(answer, str):
        found = [button for button in box.buttons() if button.text.replace("&", "") == answer]
    else:
        found = [button for button in box.buttons() if box.standardButton(button) == answer]
    if not found:
        labels = [button.text for button in box.buttons()]
        raise AssertionError(f"the message box {box.text!r} has no button {answer!r}, only {labels}")
    return found[0]


def _execute_file_dialog(dialog: QtWidgets.QFileDialog) -> int:
    answer = answers.take(Question("file", dialog.windowTitle, "", widget=dialog), dialog)
    if answer is None:
        dialog.done(0)
        return 0
    chosen = [answer] if isinstance(answer, str) else list(answer)
    dialog.setDirectory(chosen[0])
    dialog.__dict__["selectedFiles"] = lambda: chosen
    dialog.done(1)
    return 1


def execute_menu(menu: QtWidgets.QMenu, *position: Any) -> Any:
    actions = [action for action in menu.actions() if not action.isSeparator()]
    labels = "\n".join(action.text for action in actions)
    answer = answers.take(Question("menu", menu.title, labels, widget=menu), menu)
    if answer is None:
        return None
    chosen = [action for action in actions if action.text.replace("&", "") == answer and action.enabled]
    if not chosen:
        raise AssertionError(f"the menu has no enabled action {answer!r}, only:\n{labels}")
    chosen[0].trigger()
    return chosen[0]


def _static_message(default: Any) -> Any:
    def ask(parent: Any, title: str, text: str, buttons: Any = default, default_button: Any = None) -> Any:
        answer = answers.take(Question("message", title, text), None)
        if not int(buttons) & int(answer):
            raise AssertionError(f"the message box {text!r} has no button {answer!r}")
        return answer

    return staticmethod(ask)


def _static_file(several: bool = False) -> Any:
    def ask(parent: Any = None, caption: str = "", directory: str = "", *more: Any) -> Any:
        answer = answers.take(Question("file", caption, str(directory)), None)
        if several:
            return [] if answer is None else [str(item) for item in answer]
        return "" if answer is None else str(answer)  # PythonQt returns the path alone, PySide a pair

    return staticmethod(ask)


class BoolResult:
    """`qt.BoolResult`, by which PythonQt hands back a `bool*` argument."""

    def __init__(self) -> None:
        self._value = False

    def __bool__(self) -> bool:
        return self._value


def _static_input(empty: Any) -> Any:
    def ask(parent: Any, title: str, label: str, *more: Any) -> Any:
        answer = answers.take(Question("input", title, label), None)
        for item in more:
            if isinstance(item, BoolResult):
                item._value = answer is not None
        return empty if answer is None else answer

    return staticmethod(ask)


def _open_url(url: Any) -> bool:
    answers.opened_urls.append(url.toString())
    return True


def apply() -> None:
    """Put these in the place of Qt's own."""
    box, files, texts = QtWidgets.QMessageBox, QtWidgets.QFileDialog, QtWidgets.QInputDialog
    pythonqt.replace_method(QtWidgets.QDialog, ("exec", "exec_"), execute)
    pythonqt.replace_method(QtWidgets.QMenu, ("exec", "exec_"), execute_menu)
    button = box.StandardButton
    for name in ("information", "warning", "critical"):
        setattr(box, name, _static_message(button.Ok))
    setattr(box, "question", _static_message(button.Yes | button.No))  # noqa: B010
    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory"):
        setattr(files, name, _static_file())
    setattr(files, "getOpenFileNames", _static_file(several=True))  # noqa: B010
    for name, empty in (("getText", ""), ("getItem", ""), ("getMultiLineText", ""), ("getInt", 0), ("getDouble", 0.0)):
        setattr(texts, name, _static_input(empty))
    setattr(QtGui.QDesktopServices, "openUrl", staticmethod(_open_url))  # noqa: B010
