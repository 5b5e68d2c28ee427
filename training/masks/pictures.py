"""Label maps as PNG: Pascal VOC's, whose colours are an index, and plain ones, whose grey values are the labels."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from training.config import ConfigError
from training.masks.label_map import LabelMap, smallest_type

BORDER = 255
"""What Pascal VOC writes where the annotator left it open."""


def voc_palette() -> NDArray[np.uint8]:
    """The 256 colours of Pascal VOC, (256, 3): the bits of the index dealt out to red, green and blue in turn, the lowest ones
    to the highest bits (The PASCAL Visual Object Classes Challenge 2012, development kit)."""
    palette = np.zeros((256, 3), np.uint8)
    for index in range(256):
        left = index
        for bit in range(7, -1, -1):
            for channel in range(3):
                palette[index, channel] |= ((left >> channel) & 1) << bit
            left >>= 3
    return palette


def read_picture(path: Path) -> LabelMap:
    """A PNG as a label map, (y, x). Pascal VOC's border, 255, becomes background. Raises ConfigError for other pictures."""
    try:
        with Image.open(path) as picture:
            picture.load()
            mode, array = picture.mode, np.array(picture)
            has_palette = picture.getpalette() is not None
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ConfigError(f"{path} cannot be read as a picture: {error}") from error
    warnings: list[str] = []
    if mode in ("RGB", "RGBA"):
        array = _from_colours(array, path)
        warnings.append(
            f"{path.name}: a colour picture; its colours are all of Pascal VOC's, so they were read as labels."
        )
    elif mode == "1":
        array = array.astype(np.uint8)
    elif mode not in ("P", "L", "I;16", "I"):
        raise ConfigError(f"{path} is a picture of the kind {mode}; a mask is colour-indexed or grey. Save it as such.")
    is_voc = mode in ("P", "RGB", "RGBA") and (has_palette or mode != "P")
    border = array == BORDER
    if is_voc and border.any():
        warnings.append(f"{path.name}: {int(border.sum())} pixels of Pascal VOC's border were read as background.")
        array = np.where(border, 0, array)
    return LabelMap(smallest_type(array.astype(np.int64), str(path)), {}, image=path.name, warnings=tuple(warnings))


def _from_colours(array: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """The indices of a picture in Pascal VOC's colours; any other colour is refused: it would be a guess."""
    if array.shape[-1] == 4 and (array[..., 3] < 255).any():
        raise ConfigError(f"{path} is a colour picture that is partly transparent, not a mask. Save it colour-indexed.")
    code = array[..., :3].astype(np.int64) @ np.array([65536, 256, 1])
    known = voc_palette().astype(np.int64) @ np.array([65536, 256, 1])
    order = np.argsort(known)
    place = np.searchsorted(known[order], code).clip(0, 255)
    index: NDArray[np.uint8] = order[place].astype(np.uint8)
    wrong = known[index] != code
    if wrong.any():
        y, x = (int(n) for n in np.argwhere(wrong)[0])
        colour = ", ".join(str(int(n)) for n in array[y, x, :3])
        raise ConfigError(
            f"{path} is a colour picture and no mask: {int(wrong.sum())} pixels, the first at ({x}, {y}) with the colour "
            f"({colour}), have none of Pascal VOC's colours. Save the mask colour-indexed (palette), or grey."
        )
    return index


def write_voc(labels: LabelMap, path: Path) -> None:
    """Write a colour-indexed PNG in Pascal VOC's colours. Raises ConfigError for values above 254."""
    if max(labels.values, default=0) >= BORDER:
        raise ConfigError(f"{path.name}: Pascal VOC has labels up to 254, and there is {max(labels.values)}.")
    picture = Image.fromarray(labels.array.astype(np.uint8))
    picture.putpalette(voc_palette().tobytes())
    picture.save(path, "PNG")


def write_grey(labels: LabelMap, path: Path) -> None:
    """Write a grey PNG, 8 or 16 bit, whose values are the labels."""
    Image.fromarray(np.ascontiguousarray(labels.array)).save(path, "PNG")
