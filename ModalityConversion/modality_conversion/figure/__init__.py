"""A picture of a scan and what was made from it, for a person to read: three planes, side by side, marked as synthetic.

matplotlib sets the words and is imported only when a picture is made; it comes with the extra `demo`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..compare import FITTED
from ..errors import ConversionError
from ..image_io import check_folder, replacing
from ..modality import Modality
from ..same_grid import check_together
from ..version import __version__
from .colours import Window, diverging, grey, rising, robust_limit, robust_window
from .planes import crossing, field_of_view, position_text, tissue, views
from .sheet import WARNING, Column, Sheet, compose

if TYPE_CHECKING:
    from ..convert import Conversion

__all__ = ["WARNING", "save_conversion_figure", "save_figure"]

_MARGIN_MM = 6.0
_SOFT_TISSUE = (400.0, 40.0)


def save_figure(
    path: str | os.PathLike[str],
    source: sitk.Image | None,
    synthetic: sitk.Image,
    *,
    truth: sitk.Image | None = None,
    difference: sitk.Image | None = None,
    uncertainty: sitk.Image | None = None,
    mask: sitk.Image | None = None,
    position: Sequence[float] | None = None,
    source_window: tuple[float, float] | None = None,
    target_window: tuple[float, float] | None = None,
    truth_window: tuple[float, float] | None = None,
    difference_limit: float | None = None,
    units: str = "",
    source_units: str = "",
    source_name: str = "Source",
    target_name: str = "Target",
    model: str = "",
    title: str = "",
    width: int = 1400,
    dpi: int = 100,
) -> Path:
    """Write a PNG: rows axial, coronal, sagittal; columns source, synthetic, and what else is given. Returns its path.

    All images lie on the synthetic volume's grid. `source` may be None: a comparison without one has no such column. The
    planes are the grid's own (see `planes`), through the voxel at `position` (mm, LPS), else the largest part of `mask`,
    else the centre of the foreground. `mask`, such as a lesion, is outlined in green.

    Windows are (window, level) in the volume's units; without one it is taken from the volume itself. `target_window` is
    the synthetic volume's and, in HU and SUV, the truth's too: in arbitrary units two volumes have no common scale.
    `difference` is synthetic minus real (`compare.difference`), in colour up to plus and minus `difference_limit`, by
    default its own 99th percentile. `uncertainty` is one standard deviation. `model` is the model's name and version.

    `width` is the largest width in pixels at 100 `dpi`; a higher `dpi` makes the same picture finer. The same input makes
    the same bytes with the same version of matplotlib. An existing file is replaced whole or left alone.

    Raises ConversionError when matplotlib is not installed, the path cannot be written or is no `.png`, an image is refused
    (`check_image`) or lies on another grid, the mask is empty, or the position lies outside the scan.
    """
    _require_matplotlib()
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ConversionError(f"{path} is not a PNG file. Give a name that ends in .png.")
    check_folder(path)
    others = {"source": source, "real scan": truth, "difference": difference, "uncertainty": uncertainty, "mask": mask}
    check_together(synthetic, others, "synthetic volume", "the synthetic volume's")

    columns = []
    if source is not None:
        columns.append(_grey(source_name, "source, real", source, source_window, source_units))
    columns.append(_grey(target_name, "SYNTHETIC", synthetic, target_window, units, synthetic=True))
    if truth is not None:
        common = target_window if units in ("HU", "SUV") else None
        columns.append(_grey(target_name, "real", truth, truth_window or common, units))
    if difference is not None:
        columns.append(_difference(difference, difference_limit, units))
    if uncertainty is not None:
        columns.append(_uncertainty(uncertainty, units))

    inside = tissue(_array(synthetic if source is None else source))
    centre = crossing(synthetic, inside, mask, position)
    planes = views(synthetic)
    sheet = compose(
        columns,
        planes,
        centre,
        field_of_view(inside, centre, [_MARGIN_MM / mm for mm in reversed(synthetic.GetSpacing())]),
        places=[position_text(synthetic, centre, view) for view in planes],
        outline=np.nan_to_num(_array(mask)) != 0 if mask is not None else None,
        title=title,
        footer=", ".join(filter(None, (model, f"ModalityConversion {__version__}", "synthetic, not for diagnosis"))),
        width=width,
        zoom=dpi / 100,
    )
    origin = f" made from {source_name}" if source is not None else ""
    with replacing(path) as partial:
        partial.write_bytes(_png(sheet, dpi, f"Synthetic {target_name}{origin}. Not for diagnosis.", model))
    return path


def save_conversion_figure(
    path: str | os.PathLike[str], source: sitk.Image, modality: Modality, conversion: Conversion
) -> Path:
    """Write the picture of a conversion: source, synthetic and, where the model says it, uncertainty.

    `modality` is the source's. Window, units and names come from the conversion's report. Raises ConversionError as
    `save_figure` does.
    """
    report = conversion.report
    return save_figure(
        path,
        source,
        conversion.image,
        uncertainty=conversion.uncertainty,
        target_window=(report["window"], report["level"]),
        units=report["units"],
        source_units="HU" if modality in (Modality.CT, Modality.CBCT) else "",
        source_name=str(modality),
        target_name=report["modality"],
        model=f"{report['model']['id']} {report['model']['version']}",
        title=report.get("caution") or "",
    )


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ConversionError("A picture needs matplotlib: pip install 'modality-conversion[demo]'.") from None


def _array(image: sitk.Image) -> np.ndarray:
    array: np.ndarray = sitk.GetArrayViewFromImage(image).astype(np.float32)
    return array


def _grey(
    name: str,
    role: str,
    image: sitk.Image,
    given: tuple[float, float] | None,
    units: str,
    synthetic: bool = False,
) -> Column:
    """A volume in grey, in the window given (window, level), else the soft tissue window for HU, else its own."""
    array = _array(image)
    given = given or (_SOFT_TISSUE if units == "HU" else None)
    window = Window(given[1] - given[0] / 2, given[1] + given[0] / 2) if given else robust_window(array)
    return Column(name, role, array, window, grey, synthetic)


def _difference(image: sitk.Image, limit: float | None, units: str) -> Column:
    """Synthetic minus real, in colour from minus to plus `limit`."""
    array = _array(image)
    limit = limit or robust_limit(array)
    role = "synthetic \N{MINUS SIGN} real" + (", after affine fit" if _was_fitted(image) else "")
    return Column("Difference", role, array, Window(-limit, limit), diverging, bar=_said(units), outlined=False)


def _uncertainty(image: sitk.Image, units: str) -> Column:
    array = _array(image)
    role = "one standard deviation, by the model"
    return Column("Uncertainty", role, array, Window(0, robust_limit(array)), rising, bar=_said(units), outlined=False)


def _was_fitted(difference: sitk.Image) -> bool:
    return difference.HasMetaDataKey(FITTED) and difference.GetMetaData(FITTED) == "YES"


def _said(units: str) -> str:
    return "arbitrary units" if units in ("", "arbitrary") else units


def _png(sheet: Sheet, dpi: int, description: str, model: str) -> bytes:
    """The picture as a PNG file's bytes. No global state of matplotlib is read for what can be said here, none is changed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patheffects import withStroke

    height, width = sheet.pixels.shape[:2]
    # A hair more than the size in pixels: matplotlib cuts off fractions, and 10.23 * 100 is a little less than 1023.
    size = ((width + 0.01) / dpi, (height + 0.01) / dpi)
    figure = Figure(figsize=size, dpi=dpi, facecolor="black", edgecolor="black")
    figure.figimage(sheet.pixels, origin="upper")
    for words in sheet.words:
        text = figure.text(
            words.x / width,
            1 - words.y / height,
            words.text,
            color=words.colour,
            ha=words.across,
            va=words.down,
            fontproperties=FontProperties(
                family="DejaVu Sans Mono" if words.even else "DejaVu Sans",
                size=words.size,
                weight="bold" if words.bold else "normal",
            ),
            parse_math=False,
            usetex=False,
            linespacing=1.25,
        )
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    fields = {
        "Title": description,
        "Description": WARNING,
        "Synthetic": "YES",
        "Software": f"ModalityConversion {__version__}",
    }
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={**fields, "Source": model} if model else fields)
    return stream.getvalue()
