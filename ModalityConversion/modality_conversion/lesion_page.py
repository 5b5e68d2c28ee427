"""The lesion check as a page of HTML with pictures, complete in itself: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from .figure.colours import robust_window
from .figure.planes import View, resample, views
from .lesion_list import Contrast, Lesion
from .lesions import LesionCheck
from .modality import Modality
from .version import __version__

MOST_PICTURES = 40
"""Lesions beyond this many have a line in the table, but no pictures."""
_FIELD_MM = 80.0
_PIXELS = 240
_BRAIN_WINDOW = (0.0, 80.0)
_COLOURS = {"lost": "#e5484d", "added": "#f5a524", "changed": "#b17acc", "unclear": "#8b8d98", "kept": "#46a758"}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:64em;padding:0 1em;color:#1c2024;background:#fff}
.warn{background:#fff3d6;border-left:4px solid #f5a524;padding:.5em 1em}
.verdict{font-size:1.25em;font-weight:600}
table{border-collapse:collapse;width:100%}th,td{padding:.3em .6em;border-bottom:1px solid #ddd;text-align:left;
vertical-align:top}td.n{text-align:right;white-space:nowrap}
.tag{color:#fff;border-radius:3px;padding:0 .4em}
.pictures{display:flex;flex-wrap:wrap;gap:.4em}figure{margin:0}figcaption{font-size:.85em;color:#555}
section{border-top:1px solid #ddd;padding-top:1em;margin-top:1em}
"""


@dataclass(frozen=True)
class Checked:
    """One check and the scans that it compared."""

    title: str
    check: LesionCheck
    real: sitk.Image
    synthetic: sitk.Image


def page(checks: Sequence[Checked], about: Mapping[str, str], lines: Sequence[str] = ()) -> str:
    """The page, text. `about` names files, model and dates; `lines` are further sentences of the account, such as the interval.

    The real scan stands left, the synthetic one right, in radiological convention.
    """
    facts = "".join(f"<tr><th>{_said(key)}</th><td>{_said(value)}</td></tr>" for key, value in about.items())
    more = "".join(f"<p>{_said(line)}</p>" for line in lines)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Lesion check - synthetic, not for diagnosis</title><style>{_STYLE}</style></head><body>"
        "<h1>Were lesions kept?</h1>"
        '<p class="warn"><b>SYNTHETIC, NOT FOR DIAGNOSIS.</b> This page compares a real scan with an image made from it. '
        "It was made by a program; it can miss lesions and name places that are none.</p>"
        f"<table>{facts}</table>{more}{''.join(_of_check(one, n) for n, one in enumerate(checks))}"
        f"<p><small>ModalityConversion {__version__}. Synthetic, not for diagnosis.</small></p></body></html>\n"
    )


def _of_check(checked: Checked, place: int) -> str:
    check = checked.check
    words = check.as_dict()
    warnings = "".join(f'<p class="warn">{_said(text)}</p>' for text in check.warnings)
    head = (
        f'<h2>{_said(checked.title)}</h2><p class="verdict">{_said(check.verdict)}</p>{warnings}'
        f"<p>How: {_said(words['method_in_words'])}. {_said(_limits(check))}</p>"
    )
    if check.nothing_to_check:
        return head
    rows = "".join(_row(lesion, n, place) for n, lesion in enumerate(check.lesions, start=1))
    header = (
        "<tr><th>#</th><th>Verdict</th><th>Position (mm)</th><th>Volume</th><th>Contrast real</th>"
        "<th>Contrast synthetic</th><th>Ratio</th><th>Why</th></tr>"
    )
    shots = [Shots(image, kind) for image, kind in zip((checked.real, checked.synthetic), check.modalities)]
    pictures = "".join(
        _pictures(lesion, n, place, shots, check.modalities)
        for n, lesion in enumerate(check.lesions[:MOST_PICTURES], start=1)
    )
    left_out = len(check.lesions) - MOST_PICTURES
    note = f"<p>{left_out} more lesions stand in the table alone.</p>" if left_out > 0 else ""
    return f"{head}<table>{header}{rows}</table>{pictures}{note}"


def _limits(check: LesionCheck) -> str:
    limits = check.limits
    low, high = limits.volume_ratio
    text = f"Lesions from {limits.smallest_ml:g} mL; outlines within {limits.reach_mm:g} mm are one lesion; "
    text += f"a size outside {low:g} to {high:g} times the real one's counts as changed"
    if check.modalities[0] is check.modalities[1]:
        low, high = limits.contrast_ratio
        text += f", so does a contrast outside {low:g} to {high:g} times"
    else:
        text += "; contrasts of two modalities cannot be compared, so their ratio is told but not judged"
    return f"{text}. {check.smaller} smaller left out." if check.smaller else f"{text}."


def _row(lesion: Lesion, number: int, place: int) -> str:
    ratio = "" if lesion.contrast_ratio is None else f"{lesion.contrast_ratio:.2f}"
    return (
        f'<tr><td><a href="#c{place}-{number}">{number}</a></td><td>{_tag(lesion)}</td>'
        f'<td class="n">{_position(lesion)}</td><td class="n">{_volume(lesion)}</td>'
        f'<td class="n">{_contrast(lesion.real)}</td><td class="n">{_contrast(lesion.synthetic)}</td>'
        f'<td class="n">{ratio}</td><td>{_said(lesion.reason)}</td></tr>'
    )


def _tag(lesion: Lesion) -> str:
    return f'<span class="tag" style="background:{_COLOURS[lesion.verdict]}">{lesion.verdict}</span>'


def _position(lesion: Lesion) -> str:
    letters = ("LR", "PA", "SI")
    return " ".join(f"{pair[value < 0]} {abs(value):.1f}" for pair, value in zip(letters, lesion.position))


def _volume(lesion: Lesion) -> str:
    real = f"{lesion.volume_ml:.2f} mL"
    if lesion.synthetic_volume_ml is None or lesion.verdict in ("lost", "added"):
        return real
    return f"{real} &rarr; {lesion.synthetic_volume_ml:.2f} mL"


def _contrast(found: Contrast | None) -> str:
    if found is None:
        return "-"
    return f"{found.ratio:.2f}" if found.ratio is not None else f"{found.difference:+.1f}"


class Shots:
    """Pictures of one scan around places in it."""

    def __init__(self, image: sitk.Image, kind: Modality) -> None:
        self.image = image
        self.array = np.nan_to_num(sitk.GetArrayViewFromImage(image).astype(np.float32))
        if kind is Modality.CT:
            self.low, self.high = _BRAIN_WINDOW
        else:
            window = robust_window(self.array)
            self.low, self.high = window.low, window.high

    def take(self, view: View, voxel: tuple[int, int, int]) -> bytes:
        """A PNG of 80 mm around a voxel (i, j, k); what lies beyond the field of view is black."""
        place = voxel[::-1]
        steps = tuple(reversed(self.image.GetSpacing()))
        box = []
        for axis in (view.rows, view.columns):
            reach = max(1, round(_FIELD_MM / 2 / steps[axis]))
            box.append((axis, place[axis] - reach, place[axis] + reach + 1))
        window: list[slice] = [slice(None)] * 3
        for axis, start, stop in box:
            window[axis] = slice(max(0, start), min(self.array.shape[axis], stop))
        window[view.across] = slice(place[view.across], place[view.across] + 1)
        cut = self.array[tuple(window)]
        padding = [(0, 0)] * 3
        for axis, start, stop in box:
            padding[axis] = (max(0, -start), max(0, stop - self.array.shape[axis]))
        plane = view.cut(np.pad(cut, padding, constant_values=self.low), 0)
        pixels = resample(plane, view.spacing, (_PIXELS, _PIXELS))
        grey = np.clip((pixels - self.low) / max(self.high - self.low, 1e-9), 0, 1)
        return png(np.rint(255 * grey).astype(np.uint8))


def _pictures(lesion: Lesion, number: int, place: int, shots: Sequence[Shots], kinds: tuple[Modality, Modality]) -> str:
    planes = [view for view in views(shots[0].image) if min(view.cut(shots[0].array, 0).shape) > 1]
    figures = []
    radius = (3 * lesion.volume_ml * 1000 / (4 * np.pi)) ** (1 / 3) + 3
    for view in planes:
        for shot, kind, mark in zip(shots, kinds, ("real", "SYNTHETIC")):
            data = base64.b64encode(shot.take(view, lesion.voxel)).decode()
            figures.append(_svg(data, f"{kind} {mark}", _COLOURS[lesion.verdict], radius, view))
    return (
        f'<section id="c{place}-{number}"><h3>{number}. {_tag(lesion)} {_volume(lesion)} at {_position(lesion)}</h3>'
        f'<p>{_said(lesion.reason)}.</p><div class="pictures">{"".join(figures)}</div></section>'
    )


def _svg(data: str, label: str, colour: str, radius: float, view: View) -> str:
    size, middle = _PIXELS, _PIXELS / 2
    ring = min(radius / _FIELD_MM * size, size / 2 - 4)
    left, right = view.edges[:2]
    return (
        f'<figure><svg width="{size}" height="{size}" viewBox="0 0 {size} {size}" role="img" aria-label="{_said(label)}">'
        f'<image width="{size}" height="{size}" href="data:image/png;base64,{data}"/>'
        f'<circle cx="{middle}" cy="{middle}" r="{ring:.1f}" fill="none" stroke="{colour}" stroke-width="2"/>'
        f"{_text(6, 18, label, 14)}{_text(4, middle, left, 12)}{_text(size - 4, middle, right, 12, 'end')}"
        f"</svg><figcaption>{view.name}</figcaption></figure>"
    )


def _text(x: float, y: float, words: str, size: int, anchor: str = "start") -> str:
    """White on black outlines, which every program that shows SVG can draw: the outline first."""
    place = f'x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" font-family="sans-serif"'
    outline = f'<text {place} fill="none" stroke="#000" stroke-width="3" aria-hidden="true">{_said(words)}</text>'
    return f'{outline}<text {place} fill="#fff">{_said(words)}</text>'


def png(grey: np.ndarray) -> bytes:
    """An 8-bit grey picture, (height, width), as a PNG file's bytes (ISO/IEC 15948)."""
    height, width = grey.shape
    rows = np.concatenate(
        [np.zeros((height, 1), np.uint8), grey], axis=1
    ).tobytes()  # each line begins with its filter: none

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b"")


def _said(value: Any) -> str:
    return html.escape(str(value))
