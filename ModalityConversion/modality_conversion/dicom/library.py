"""pydicom and highdicom, asked for only where DICOM is at hand, and kept from talking about what they read."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from ..errors import ConversionError

_HOW = "pip install 'modality-conversion[dicom]'"


def pydicom() -> Any:
    """The module. Raises ConversionError where it is not installed."""
    try:
        import pydicom as module
    except ImportError:
        raise ConversionError(f"DICOM needs pydicom: {_HOW}.") from None
    return module


def highdicom() -> Any:
    """The module. Raises ConversionError where it is not installed."""
    try:
        import highdicom as module
    except ImportError:
        raise ConversionError(f"DICOM segmentations, maps and reports need highdicom: {_HOW}.") from None
    return module


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither log nor warn in this block, and take values as they come.

    pydicom quotes what it finds wrong, and that may be a patient's name; a value that an archive gave is given back to it.
    """
    settings = pydicom().config.settings
    before = settings.reading_validation_mode, settings.writing_validation_mode
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    settings.reading_validation_mode = settings.writing_validation_mode = pydicom().config.IGNORE
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        settings.reading_validation_mode, settings.writing_validation_mode = before
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
