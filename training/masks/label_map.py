"""A label map on its way from one format to another: values, what they mean, and where the voxels lie."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from training.config import ConfigError

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelMap:
    """`array`: uint8 or uint16, (y, x) or (z, y, x), 0 is background. `names`: by value. `grid`: an image with the geometry of
    the array, None where the format has none."""

    array: NDArray[np.integer]
    names: Mapping[int, str]
    colours: Mapping[int, Colour] = field(default_factory=dict)
    grid: sitk.Image | None = None
    image: str = ""
    """File name of the picture that was annotated, where the format says it."""
    warnings: tuple[str, ...] = ()
    """What whoever uses it should know."""

    @property
    def values(self) -> list[int]:
        """The values that the array has, without background."""
        return [int(value) for value in np.unique(self.array) if value]

    def name(self, value: int) -> str:
        """What a value means, in words."""
        return self.names.get(value, f"Label {value}")


def smallest_type(array: NDArray[np.integer], what: str) -> NDArray[np.integer]:
    """As uint8, or uint16 where it must be. Raises ConfigError for what is no label map."""
    if array.size and (array.min() < 0 or array.max() > 65535):
        raise ConfigError(f"{what} has values from {array.min()} to {array.max()}; a label map has 0 to 65535.")
    return array.astype(np.uint8 if not array.size or array.max() < 256 else np.uint16)


def numbered(found: Iterable[str], wanted: Mapping[str, int] | None, what: str) -> dict[str, int]:
    """A value for each name: that wanted, else from 1 on by name. Raises ConfigError for a name that is not wanted."""
    names = sorted(set(found))
    if wanted is None:
        return {name: value for value, name in enumerate(names, 1)}
    unknown = [name for name in names if name not in wanted]
    if unknown:
        raise ConfigError(
            f"{what} has the labels {', '.join(unknown)}, which have no value. Add them to --labels, or leave that out."
        )
    return {name: wanted[name] for name in names}


def parse_labels(text: str) -> dict[str, int]:
    """`Tumor=1,Oedema=2` as values by name. Raises ConfigError."""
    found: dict[str, int] = {}
    for part in text.split(","):
        name, sign, value = part.rpartition("=")
        if not sign or not name.strip() or not value.strip().isdigit() or not 0 < int(value) < 65536:
            raise ConfigError(f"--labels: {part.strip()!r} is not NAME=VALUE with a value from 1 to 65535.")
        found[name.strip()] = int(value)
    if len(set(found.values())) < len(found):
        raise ConfigError(f"--labels: two names have the same value in {text!r}.")
    return found
