"""Labelme's JSON files: outlines drawn on a picture, one file a picture.

A pixel is inside where its centre is; Labelme counts pixels from the corner of the first one, so that its centre is at (0.5,
0.5). Later shapes lie over earlier ones.
"""

import base64
import binascii
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from training.config import ConfigError
from training.masks.label_map import LabelMap, numbered, smallest_type

VERSION = "5.5.0"
"""Of the format that is written."""
_AREAS = ("polygon", "rectangle", "circle", "mask")
_LARGEST = 20_000
"""Pixels a side; more is no picture."""


def read_labelme(path: Path, wanted: Mapping[str, int] | None = None) -> LabelMap:
    """The label map of one file, (y, x). Raises ConfigError: which shape of which file is wrong, and what to do."""
    content = _content(path)
    shapes = content.get("shapes")
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise ConfigError(f"{path} has no list `shapes`; it is not a file of Labelme.")
    size, warnings = _size(content, path)
    values = numbered((_label(shape, number, path) for number, shape in enumerate(shapes)), wanted, str(path))
    array = np.zeros(size, np.uint16)
    for number, shape in enumerate(shapes):
        inside = _inside(shape, size, f"{path}: shape {number + 1} ({shape['label']})")
        if not inside.any():
            warnings.append(f"{path.name}: shape {number + 1} ({shape['label']}) has no pixel.")
        array[inside] = values[shape["label"]]
    image = content.get("imagePath")
    names = {value: name for name, value in values.items()}
    return LabelMap(
        smallest_type(array, str(path)), names, image=image if isinstance(image, str) else "", warnings=tuple(warnings)
    )


def label_names(path: Path) -> set[str]:
    """The labels that a file has."""
    shapes = _content(path).get("shapes")
    return {
        shape["label"]
        for shape in (shapes if isinstance(shapes, list) else [])
        if isinstance(shape, dict) and isinstance(shape.get("label"), str)
    }


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON that can be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a file of Labelme.")
    return content


def _size(content: Mapping[str, Any], path: Path) -> tuple[tuple[int, int], list[str]]:
    """(height, width): what the file says and what the picture has, which must be the same; and warnings."""
    said = (content.get("imageHeight"), content.get("imageWidth"))
    known = all(isinstance(n, int) and not isinstance(n, bool) and 0 < n <= _LARGEST for n in said)
    real = _picture_size(content, path)
    if real is None:
        if not known:
            raise ConfigError(
                f"{path}: the picture {content.get('imagePath')!r} is not there and the file does not say its size "
                "(`imageHeight`, `imageWidth`). Put the picture beside the file."
            )
        warning = (
            f"{path.name}: the picture {content.get('imagePath')!r} is not there; its size is taken from the file."
        )
        return said, [warning]  # type: ignore[return-value]
    if known and said != real:
        raise ConfigError(
            f"{path} was drawn on a picture of {said[1]} x {said[0]} pixels, but {content.get('imagePath')!r} has "
            f"{real[1]} x {real[0]}. Put the right picture beside the file."
        )
    return real, []


def _picture_size(content: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    """(height, width) of the picture in the file, or of the one that it names; None where there is none."""
    data, name = content.get("imageData"), content.get("imagePath")
    try:
        if isinstance(data, str) and data:
            with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
                return picture.height, picture.width
        if isinstance(name, str) and name:
            beside = path.parent / name.replace("\\", "/")
            if beside.is_file():
                with Image.open(beside) as picture:
                    return picture.height, picture.width
    except (OSError, ValueError, binascii.Error, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ConfigError(f"{path}: its picture cannot be read: {error}") from error
    return None


def _label(shape: Mapping[str, Any], number: int, path: Path) -> str:
    label = shape.get("label")
    if not isinstance(label, str) or not label.strip():
        raise ConfigError(f"{path}: shape {number + 1} has no `label`. Give it one in Labelme.")
    return label


def _inside(shape: Mapping[str, Any], size: tuple[int, int], what: str) -> NDArray[np.bool_]:
    """Where a shape is, (y, x)."""
    kind = shape.get("shape_type") or "polygon"
    if kind not in _AREAS:
        raise ConfigError(f"{what} is a {kind}, which has no area. Remove it, or draw it as a polygon.")
    points = _points(shape, what)
    if kind == "mask":
        return _pasted(shape, points, size, what)
    if kind == "rectangle":
        _need(len(points) == 2, f"{what} is a rectangle with {len(points)} points instead of 2.")
        (x0, y0), (x1, y1) = points
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    if kind == "circle":
        _need(len(points) == 2, f"{what} is a circle with {len(points)} points instead of 2.")
        y, x = np.ogrid[: size[0], : size[1]]
        (cx, cy), radius = points[0], math.dist(*points.tolist())
        found: NDArray[np.bool_] = (x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2 <= radius**2
        return found
    return filled(points, size, what)


def _points(shape: Mapping[str, Any], what: str) -> NDArray[np.float64]:
    try:
        points = np.array(shape.get("points"), np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what} has points that are not pairs of numbers.") from error
    _need(points.ndim == 2 and points.shape[1] == 2, f"{what} has points that are not pairs of numbers.")
    _need(bool(np.isfinite(points).all()), f"{what} has a point that is not a number.")
    return points


def filled(points: NDArray[np.float64], size: tuple[int, int], what: str) -> NDArray[np.bool_]:
    """Where a polygon, corners (x, y) from the corner of the first pixel, covers the centre of a pixel: (y, x).

    Raises ConfigError where it crosses itself: what is inside would be a guess.
    """
    from shapely import Polygon
    from shapely.validation import explain_validity
    from skimage.draw import polygon2mask

    _need(len(points) >= 3, f"{what} is a polygon with {len(points)} points; it needs 3.")
    outline = Polygon(points)
    if not outline.is_valid:
        reason = explain_validity(outline).replace("[", " at (").replace("]", ")")
        raise ConfigError(f"{what} is no simple polygon: {reason}. Open the file in Labelme and move the corner there.")
    found: NDArray[np.bool_] = polygon2mask(size, points[:, ::-1] - 0.5)
    return found


def _pasted(
    shape: Mapping[str, Any], points: NDArray[np.float64], size: tuple[int, int], what: str
) -> NDArray[np.bool_]:
    """A shape of kind `mask`: a picture in the file, put where its first point says."""
    data = shape.get("mask")
    _need(isinstance(data, str) and len(points) >= 1, f"{what} is a mask without its picture.")
    try:
        with Image.open(io.BytesIO(base64.b64decode(str(data)))) as picture:
            part = np.array(picture.convert("L")) > 0
    except (OSError, ValueError, binascii.Error, UnidentifiedImageError) as error:
        raise ConfigError(f"{what}: its mask cannot be read: {error}") from error
    x, y = (round(float(n)) for n in points[0])
    fits = x >= 0 and y >= 0 and y + part.shape[0] <= size[0] and x + part.shape[1] <= size[1]
    _need(fits, f"{what} is a mask that reaches beyond the picture.")
    whole = np.zeros(size, bool)
    whole[y : y + part.shape[0], x : x + part.shape[1]] = part
    return whole


def _need(fulfilled: bool, otherwise: str) -> None:
    if not fulfilled:
        raise ConfigError(otherwise)


# --- and back ---------------------------------------------------------------------------------------------------------


def write_labelme(labels: LabelMap, path: Path) -> None:
    """Write a label map (y, x): each connected part as a polygon where that gives the very same pixels, else as a mask."""
    shapes = []
    for value in labels.values:
        from skimage.measure import label as parts_of

        parts = parts_of(labels.array == value, connectivity=1)
        for number in range(1, int(parts.max()) + 1):
            shapes.append({"label": labels.name(value), **_shape(parts == number), "group_id": None, "flags": {}})
    height, width = labels.array.shape
    content = {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": labels.image,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _shape(part: NDArray[np.bool_]) -> dict[str, Any]:
    from skimage.measure import approximate_polygon, find_contours

    contours = find_contours(np.pad(part, 1).astype(np.uint8), 0.5)
    if len(contours) == 1:
        corners = approximate_polygon(contours[0], 0.01)[:-1, ::-1] - 0.5  # padded by 1, counted from a pixel's corner
        try:
            exact = np.array_equal(filled(corners, (part.shape[0], part.shape[1]), ""), part)
        except ConfigError:
            exact = False
        if exact:
            return {"shape_type": "polygon", "points": corners.round(3).tolist()}
    rows, columns = (np.flatnonzero(part.any(axis)) for axis in (1, 0))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    buffer = io.BytesIO()
    Image.fromarray(part[y0 : y1 + 1, x0 : x1 + 1].astype(np.uint8) * 255).save(buffer, "PNG")
    picture = base64.b64encode(buffer.getvalue()).decode()
    return {"shape_type": "mask", "points": [[x0, y0], [x1, y1]], "mask": picture}
