"""`slicer.dicomDatabase`, filled by tests. CTK: Libs/DICOM/Core/ctkDICOMDatabase.h."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore


class ctkDICOMDatabase(QtCore.QObject):
    _cpp = True
    isOpen = QtCore.Property(bool, lambda self: self._open)
    databaseDirectory = QtCore.Property(str, lambda self: "")

    def __init__(self) -> None:
        super().__init__()
        self._open = True
        self._instances: dict[str, tuple[str, dict[str, str]]] = {}

    def _add(self, uid: str, file: str, tags: dict[str, str]) -> None:
        """Add an instance: its SOP instance UID, its file, and its tags such as {"0008,0060": "MR"}."""
        self._instances[uid] = (file, {tag.lower(): value for tag, value in tags.items()})

    def _value(self, uid: str, tag: str) -> str:
        return self._instances.get(uid, ("", {}))[1].get(tag.lower(), "")

    def _find(self, tag: str, value: str) -> list[str]:
        return [uid for uid in self._instances if self._value(uid, tag) == value]

    def _distinct(self, uids: list[str], tag: str) -> list[str]:
        return list(dict.fromkeys(self._value(uid, tag) for uid in uids))

    def fileForInstance(self, uid: str) -> str:
        return self._instances.get(uid, ("", {}))[0]

    def instanceForFile(self, file: str) -> str:
        return next((uid for uid, (path, _) in self._instances.items() if path == file), "")

    def instanceValue(self, uid: str, tag: Any, element: Any = None) -> str:
        return self._value(uid, tag if element is None else f"{tag:04x},{element:04x}")

    def fileValue(self, file: str, tag: Any, element: Any = None) -> str:
        return self.instanceValue(self.instanceForFile(file), tag, element)

    def instanceValueExists(self, uid: str, tag: str) -> bool:
        return bool(self._value(uid, tag))

    def instancesForSeries(self, uid: str, hits: int = -1) -> list[str]:
        found = self._find("0020,000e", uid)
        return found if hits < 0 else found[:hits]

    def filesForSeries(self, uid: str, hits: int = -1) -> list[str]:
        return [self.fileForInstance(instance) for instance in self.instancesForSeries(uid, hits)]

    def seriesForFile(self, file: str) -> str:
        return self._value(self.instanceForFile(file), "0020,000e")

    def studyForSeries(self, uid: str) -> str:
        return next(iter(self._distinct(self._find("0020,000e", uid), "0020,000d")), "")

    def patientForStudy(self, uid: str) -> str:
        return next(iter(self._distinct(self._find("0020,000d", uid), "0010,0020")), "")

    def patients(self) -> list[str]:
        return self._distinct(list(self._instances), "0010,0020")

    def studiesForPatient(self, uid: str) -> list[str]:
        return self._distinct(self._find("0010,0020", uid), "0020,000d")

    def seriesForStudy(self, uid: str) -> list[str]:
        return self._distinct(self._find("0020,000d", uid), "0020,000e")

    def descriptionForSeries(self, uid: str) -> str:
        return next(iter(self._distinct(self._find("0020,000e", uid), "0008,103e")), "")

    def descriptionForStudy(self, uid: str) -> str:
        return next(iter(self._distinct(self._find("0020,000d", uid), "0008,1030")), "")

    def nameForPatient(self, uid: str) -> str:
        return next(iter(self._distinct(self._find("0010,0020", uid), "0010,0010")), "")
