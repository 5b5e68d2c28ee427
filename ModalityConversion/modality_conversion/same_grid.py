"""Images that belong together: each is one that the engine takes, and all lie on one grid."""

from __future__ import annotations

from collections.abc import Mapping

import SimpleITK as sitk

from .grid import check_same_grid
from .image_io import check_image


def check_together(
    reference: sitk.Image,
    others: Mapping[str, sitk.Image | None],
    name: str = "real scan",
    whose: str = "the real scan's",
) -> None:
    """Refuse an image that the engine does not take, or that does not lie on the grid of `reference`, called `name`.

    `others` are the other images by what they are called; None where one is not given. Raises ConversionError.
    """
    check_image(reference, f"The {name}")
    for what, image in others.items():
        if image is not None:
            check_image(image, f"The {what}")
            check_same_grid(reference, image, f"The {what}", whose)
