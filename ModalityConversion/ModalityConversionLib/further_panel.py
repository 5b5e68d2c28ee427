"""A part of the panel, folded away at first: further scans of the same person, for models that read several at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer

from modality_conversion.bundle import Summary
from modality_conversion.modality import Modality

from . import hierarchy, widgets
from .further import MOST, NamedScan, suggestions, used
from .i18n import tr as _
from .recognise import recognise

if TYPE_CHECKING:
    from .parameters import Parameters


class FurtherPanel:
    """Shows and changes the parameters `further1` to `further3` and `furtherModality1` to `furtherModality3`."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.widget, self.ui = widgets.load("FurtherPanel")
        self._on_change = on_change
        self._parameters: Any = None  # Parameters; the wrapper adds members that no type checker sees
        self._main_id = ""
        self._taken_out: list[str] = []
        self._offered: list[NamedScan] = []
        self._slots = [_Slot(number, self.ui, on_change) for number in range(1, MOST + 1)]
        self._buttons = [getattr(self.ui, f"suggestButton{number}") for number in range(1, MOST + 1)]
        for number, button in enumerate(self._buttons):
            button.connect("clicked()", [self._on_first, self._on_second, self._on_third][number])

    def bind(self, parameters: Parameters | None) -> None:
        """Show these parameters from now on."""
        self._parameters = parameters
        scan = parameters.inputVolume if parameters is not None else None
        self._main_id = scan.GetID() if scan is not None else ""
        self._taken_out = []
        for slot in self._slots:
            slot.bind(parameters)

    @property
    def chosen(self) -> tuple[NamedScan, ...]:
        """The further scans, in their order, and what they are: as the user said, else as recognised."""
        named = [slot.named for slot in self._slots] if self._parameters is not None else []
        return tuple(scan for scan in named if scan is not None)

    def leave_those_of_another_scan(self, main: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Take out what was given beside another main scan and is not filed in the study of this one.

        Else a patient's scans would go on into the next patient's conversion, out of sight in a folded section.
        """
        if main is None or main.GetID() == self._main_id:
            return
        former, self._main_id, self._taken_out = self._main_id, main.GetID(), []
        for slot in self._slots:
            node = slot.volume
            if former and node is not None and (node is main or not hierarchy.are_of_one_study(main, node)):
                self._taken_out.append(node.GetName())
                slot.choose(None)

    def refresh(self, main: NamedScan, target: Modality | None, model: Summary | None) -> None:
        """Show what the parameters and the scene say now."""
        chosen = self.chosen
        read = used(chosen, model)
        title = _("More scans of this patient")
        if chosen:
            title += " " + (_("({count})") if read else _("({count}, not read by this model)")).format(
                count=len(chosen)
            )
            self._taken_out = []
        self.ui.moreButton.text = title
        is_room = True
        for slot in self._slots:
            slot.refresh(is_room)
            is_room = is_room and slot.volume is not None
        self._offered = suggestions(main, chosen, target, model) if main.volume is not None else []
        self.ui.suggestLabel.visible = bool(self._offered)
        for number, button in enumerate(self._buttons):
            button.visible = is_offered = number < len(self._offered)
            if is_offered:
                scan = self._offered[number]
                button.text = _("Add {name} ({modality})").format(name=scan.volume.GetName(), modality=scan.modality)
        self.ui.moreNote.text = self._note(main, chosen, model)

    def _note(self, main: NamedScan, chosen: tuple[NamedScan, ...], model: Summary | None) -> str:
        said = []
        if self._taken_out:
            said.append(
                _("Taken out, since another scan is converted: {names}.").format(names=", ".join(self._taken_out))
            )
        if model is None:
            said.append(_("Choose a model first; some read several scans at once."))
        elif not model.joint:
            said.append(
                _("{title} reads one scan at a time. What is given here is not used.").format(title=model.title)
            )
        else:
            said.append(
                _(
                    "{title} reads several scans at once: {modalities}. They are brought onto the grid of the scan above."
                ).format(title=model.title, modalities=", ".join(model.joint))
            )
        for scan in chosen:
            if main.volume is not None and hierarchy.are_of_two_patients(main.volume, scan.volume):
                said.append(
                    _("{name} is filed under another patient. Make sure that it shows the same person.").format(
                        name=scan.volume.GetName()
                    )
                )
        return " ".join(said)

    # --- clicks

    def _on_first(self) -> None:
        self._add(0)

    def _on_second(self) -> None:
        self._add(1)

    def _on_third(self) -> None:
        self._add(2)

    def _add(self, number: int) -> None:
        slot = next((slot for slot in self._slots if slot.volume is None), None)
        if slot is not None and number < len(self._offered):
            slot.choose(self._offered[number].volume)
            self._on_change()


class _Slot:
    """One further scan: its selector, what it is, and how that was found out."""

    def __init__(self, number: int, ui: Any, on_change: Callable[[], None]) -> None:
        self._number, self._on_change = number, on_change
        self._box, self._selector = getattr(ui, f"slot{number}"), getattr(ui, f"furtherSelector{number}")
        self._combo, self._how = getattr(ui, f"furtherCombo{number}"), getattr(ui, f"furtherHow{number}")
        self._parameters: Any = None
        self._seen = ""
        self._selector.setMRMLScene(slicer.mrmlScene)
        self._combo.connect("activated(int)", self._on_modality)

    def bind(self, parameters: Parameters | None) -> None:
        self._parameters = parameters
        self._seen = self._id() if parameters is not None else ""

    @property
    def volume(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        return self._parameters.getValue(f"further{self._number}") if self._parameters is not None else None

    @property
    def named(self) -> NamedScan | None:
        """The scan and what it is; None where none is chosen."""
        volume = self.volume
        if volume is None:
            return None
        corrected = self._corrected() if self._id() == self._seen else ""
        known = corrected in [modality.value for modality in Modality]
        return NamedScan(volume, Modality(corrected) if known else recognise(volume).modality)

    def choose(self, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        self._parameters.setValue(f"further{self._number}", volume)

    def refresh(self, is_next: bool) -> None:
        """`is_next`: the slots before are filled, so that this one is shown, filled or not."""
        if self._id() != self._seen:  # a correction belongs to one scan
            self._seen = self._id()
            self._correct("")
        named = self.named
        self._box.visible = is_next or named is not None
        self._combo.visible = self._how.visible = named is not None
        if named is not None:
            widgets.show_modality(self._combo, self._how, recognise(named.volume), self._corrected())

    def _id(self) -> str:
        return self.volume.GetID() if self.volume is not None else ""

    def _corrected(self) -> str:
        return str(self._parameters.getValue(f"furtherModality{self._number}"))

    def _correct(self, text: str) -> None:
        if self._corrected() != text:
            self._parameters.setValue(f"furtherModality{self._number}", text)

    def _on_modality(self, index: int) -> None:
        chosen = widgets.chosen(self._combo)
        recognised = recognise(self.volume).modality
        self._correct("" if recognised is not None and chosen == recognised.value else chosen)
        self._on_change()
