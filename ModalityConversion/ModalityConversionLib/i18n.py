"""Translation, looked up by the file that asks.

Slicer's own `tr` walks the whole stack up to 5.8, which takes milliseconds a call; a progress bar asks often.
"""

from __future__ import annotations

import sys
from functools import cache

from slicer.i18n import getContext, translate


def tr(text: str) -> str:
    """The text in the language of the application."""
    translated: str = translate(_context(sys._getframe(1).f_code.co_filename), text)
    return translated


@cache
def _context(file: str) -> str:
    context: str = getContext(file)
    return context
