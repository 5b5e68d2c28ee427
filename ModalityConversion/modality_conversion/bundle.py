"""A model on disk: a MONAI bundle with a declared conversion.

It is data: nothing in it is ever imported or executed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConversionError, InvalidBundle
from .modality import Modality

if TYPE_CHECKING:
    from .schema import ConversionSpec

_CHUNK = 1 << 20
_LARGEST_JSON = 4 << 20


@dataclass(frozen=True)
class Bundle:
    """A model folder whose declaration is right."""

    path: Path
    """The folder, absolute."""
    spec: ConversionSpec
    """`configs/conversion.json`."""
    metadata: dict[str, Any]
    """`configs/metadata.json`, with MONAI's keys."""

    @classmethod
    def load(cls, folder: Path | str) -> Bundle:
        """Read a model folder: everything but the weights, of which only the size is looked at.

        Raises InvalidBundle with all the errors of `check`, but for those that only reading the weights would find.
        """
        from .check import read

        folder = Path(folder).absolute()
        reading = read(folder)
        errors = tuple(fault for fault in reading.faults if fault.severity == "error")
        if errors or reading.spec is None:
            raise invalid(folder, errors)
        return cls(folder, reading.spec, reading.metadata)

    @property
    def weight_paths(self) -> tuple[Path, ...]:
        """The weight files, in the order declared."""
        return tuple(self.path / entry.path for entry in self.spec.weights)

    @property
    def finder(self) -> Bundle | None:
        """The stage that finds where to segment, as a model of its own; None for a model without one."""
        spec = self.spec.finder
        return None if spec is None else replace(self, spec=spec)

    def verify_weights(self) -> None:
        """Compare each weight file with its declared size, then with its SHA-256.

        Call this before anything is loaded. Raises ConversionError: which file, how it differs, what to do.
        """
        remedy = f"Copy the model folder {self.path} again, whole."
        for entry, path in zip(self.spec.weights, self.weight_paths, strict=True):
            try:
                size = path.stat().st_size
                if size != entry.size:
                    short = "incomplete" if size < entry.size else "not the declared one"
                    raise ConversionError(
                        f"The weight file {entry.path} of {self.spec.id} is {short}: "
                        f"{size} bytes instead of {entry.size}. {remedy}"
                    )
                if sha256_of(path) != entry.sha256:
                    raise ConversionError(
                        f"The weight file {entry.path} of {self.spec.id} is damaged or was replaced: "
                        f"its SHA-256 is not the declared one. {remedy}"
                    )
            except OSError as error:
                raise ConversionError(
                    f"The weight file {entry.path} of {self.spec.id} cannot be read: {error.strerror}. {remedy}"
                ) from error

    @property
    def card(self) -> str:
        """The model card, Markdown; empty where there is none."""
        try:
            return (self.path / "docs" / "README.md").read_text(encoding="utf-8-sig", errors="replace")
        except OSError:
            return ""

    @property
    def hash(self) -> str:
        """One SHA-256 for the model: of the declaration, which holds the SHA-256 of every weight file.

        Of its content, not its bytes: line ends and the order of keys do not count.
        """
        declared = self.spec.model_dump(mode="json", exclude_unset=True)
        return hashlib.sha256(json.dumps(declared, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def invalid(folder: Path, faults: tuple) -> InvalidBundle:
    """The error for a model folder that cannot be used; one line, with the first fault and where to read the rest."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    first = f" {faults[0]}." if faults else ""
    return InvalidBundle(
        f"The model folder {folder} has {count}.{first} See all with: modality-conversion models check {folder}", faults
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def is_bundle(folder: Path) -> bool:
    """Whether a folder means to be a model: it has a declaration, right or wrong."""
    try:
        return (folder / "configs" / "conversion.json").is_file()
    except OSError:  # not ours to look into
        return False


# --- for a list on the screen, before pydantic is installed -----------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """What a list of models shows. Read with the standard library alone, so less strict than `Bundle.load`."""

    id: str
    """The model's id; the folder's name where that cannot be read."""
    title: str
    version: str
    sources: tuple[Modality, ...]
    """What it accepts."""
    targets: tuple[Modality, ...]
    """What it makes; empty for a model that only segments."""
    segments: bool
    license: str
    path: Path
    """The folder, absolute."""
    tells_uncertainty: bool = False
    """Whether it says how sure it is."""
    calibrated: tuple[Modality, ...] = ()
    """The targets that it gives an interval for."""
    needs: tuple[Modality, ...] = ()
    """The scans that it cannot do without, where it takes several at once."""
    joint: tuple[Modality, ...] = ()
    """The scans that it reads side by side, all or some of them; empty for a model that takes one at a time."""
    fault: str | None = None
    """Why it cannot be used, in one line, or None. None is no promise: `Bundle.load` sees more."""


def summary(folder: Path | str) -> Summary:
    """A model folder at a glance. Never raises: what cannot be read is said in `fault`."""
    folder = Path(folder).absolute()
    try:
        return _summary(folder)
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _Unusable) else f"configs/conversion.json cannot be read: {error}"
    return Summary(folder.name, folder.name, "", (), (), False, "", folder, fault=" ".join(reason.split()))


class _Unusable(ValueError):
    """A declaration that cannot be summed up."""


def _summary(folder: Path) -> Summary:
    fields = json.loads(read_text(folder / "configs" / "conversion.json"))
    if not isinstance(fields, dict):
        raise _Unusable("configs/conversion.json does not hold an object")
    texts = {key: fields.get(key) for key in ("id", "title", "version", "license")}
    for key, value in texts.items():
        if not isinstance(value, str) or not value:
            raise _Unusable(f"configs/conversion.json does not say the `{key}`")
    sources, targets = fields.get("sources"), fields.get("targets")
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        raise _Unusable("configs/conversion.json does not list the `sources`")
    if not isinstance(targets, dict):
        raise _Unusable("configs/conversion.json does not list the `targets`")
    accepted = _modalities([source.get("modality") for source in sources])
    return Summary(
        **{key: str(value) for key, value in texts.items()},
        sources=tuple(dict.fromkeys(accepted)),
        targets=_modalities(list(targets)),
        segments=fields.get("segmentation") is not None,
        path=folder,
        needs=_needed(fields.get("inputs")),
        joint=_joint(fields.get("inputs")),
        tells_uncertainty=isinstance(fields.get("output"), dict) and fields["output"].get("uncertainty") is not None,
        calibrated=_calibrated(fields.get("calibration")),
        fault=_weights_fault(folder, fields.get("weights")) or _finder_fault(folder, fields.get("segmentation")),
    )


def _finder_fault(folder: Path, segmentation: Any) -> str | None:
    find = segmentation.get("find") if isinstance(segmentation, dict) else None
    return None if find is None else _weights_fault(folder, find.get("weights") if isinstance(find, dict) else None)


def _calibrated(calibration: Any) -> tuple[Modality, ...]:
    factors = calibration.get("factors") if isinstance(calibration, dict) else None
    entries = [entry.get("target") for entry in factors if isinstance(entry, dict)] if isinstance(factors, list) else []
    return _modalities(list(dict.fromkeys(target for target in entries if isinstance(target, str))))


def _needed(inputs: Any) -> tuple[Modality, ...]:
    named = [entry["modality"] for entry in _named(inputs) if entry.get("missing", "error") == "error"]
    return _modalities(list(dict.fromkeys(named)))


def _joint(inputs: Any) -> tuple[Modality, ...]:
    named = list(dict.fromkeys(entry["modality"] for entry in _named(inputs)))
    return _modalities(named) if len(named) > 1 else ()


def _named(inputs: Any) -> list[dict[str, Any]]:
    """The inputs that are for one modality each."""
    entries = [entry for entry in inputs if isinstance(entry, dict)] if isinstance(inputs, list) else []
    return [entry for entry in entries if entry.get("modality")]


def _modalities(names: list) -> tuple[Modality, ...]:
    try:
        return tuple(Modality(name) for name in names)
    except ValueError as error:
        raise _Unusable(f"configs/conversion.json names a modality this version does not know: {error}") from None


def _weights_fault(folder: Path, weights: Any) -> str | None:
    if not isinstance(weights, list) or not weights or not all(isinstance(entry, dict) for entry in weights):
        return "configs/conversion.json does not list the `weights`"
    for entry in weights:
        path = folder / str(entry.get("path"))
        if not path.is_file():
            return f"the weight file {entry.get('path')} is missing"
        if path.stat().st_size != entry.get("size"):
            return f"the weight file {entry.get('path')} has not the declared size"
    return None


def read_text(path: Path) -> str:
    """A configuration file as text, with or without a byte order mark.

    Raises OSError, ValueError where it is not UTF-8 or far too large to be one.
    """
    with path.open("rb") as file:
        content = file.read(_LARGEST_JSON + 1)
    if len(content) > _LARGEST_JSON:
        raise ValueError(f"larger than {_LARGEST_JSON >> 20} MiB")
    return content.decode("utf-8-sig")
