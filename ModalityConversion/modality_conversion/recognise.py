"""What kind of scan an image is, and what it shows: from the voxels alone, with a confidence, and `do not know`.

The network sees a coarse view (`recognise_input`) and knows simulated heads (docs/trust.md). Left and right cannot be
told apart in an image: a head mirrored from left to right looks like another head.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import SimpleITK as sitk

from .image_io import check_image
from .modality import Modality
from .recognise_input import view
from .recognise_network import SIDES, Answers, Network, find_recogniser, open_network

DIRECTIONS = {"z+": "superior", "z-": "inferior", "y+": "anterior", "y-": "posterior", "x+": "right", "x-": "left"}
"""What the sides of the cube are by the scan's header."""

_SURE = 0.9
"""Probability from which the orientation is believed, right or wrong."""
_CUT = 0.5
_FEW_LEVELS = 16
"""A scan has more different values than this; a map of labels has not."""
_THIN_MM = 9.0
"""Below this extent there is too little to see: three voxels of what the network sees."""


@dataclass(frozen=True)
class Orientation:
    """Which way up the head lies, as far as the image shows."""

    plausible: bool | None
    """Whether the head is upright and looks to the front by the header; None: not to be told."""
    top: str
    """Where, by the header, the top of the head points, most probably: a value of `DIRECTIONS`."""
    face: str
    """The same for the face."""
    confidence: float
    """Probability of both."""


@dataclass(frozen=True)
class Recognition:
    """What an image shows. A guess by a network, not for diagnosis."""

    modality: Modality | None
    """None where the image shows something else, or where it is not known."""
    confidence: float
    """Probability of the likeliest kind, `other` included."""
    known: bool
    """Whether the confidence is high enough to name the kind; if not, the answer is `do not know`."""
    enough: bool
    """Whether there is anything to see: several values, several slices. If not, no probability means anything."""
    probabilities: dict[str, float]
    """Of T1, T1CE, T2, FLAIR, PD, CT and other."""
    head: float
    """Probability that it shows a head."""
    stripped: float
    """Probability that the skull was stripped away, if it is a head."""
    defaced: float
    """Probability that the face was cut away, if it is a whole head."""
    orientation: Orientation
    coverage: float
    """Share of the brain within the field of view, if it is a head."""
    cut: tuple[str, ...]
    """The directions, by the header, in which the brain goes on beyond the field of view."""
    size: tuple[int, int, int]
    """Voxels (i, j, k)."""
    spacing: tuple[float, float, float]
    """mm (i, j, k)."""
    distance: float
    """How far the image is from those that the network knows (Mahalanobis distance of its features)."""
    unusual: float
    """The share of held-out heads that were nearer: 0.5 is ordinary, 1 further than all of them."""
    notes: tuple[str, ...]
    """What limits the answer, a sentence each."""
    seconds: float
    recogniser: str
    """Version of the network."""

    @property
    def is_head(self) -> bool:
        return self.head >= 0.5

    @property
    def is_stripped(self) -> bool:
        return self.is_head and self.stripped >= 0.5

    @property
    def kind(self) -> str:
        """A modality's name, `other`, or `do not know`."""
        if not self.known:
            return "do not know"
        return self.modality.value if self.modality else "other"

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        fields = asdict(self) | {"kind": self.kind, "modality": self.modality.value if self.modality else None}
        return _rounded(fields)


def recognise(image: sitk.Image, network: Network | None = None) -> Recognition:
    """Look at a scan of any orientation, size and spacing.

    Raises ConversionError for what is no 3D scalar volume with finite numbers (`image_io.check_image`), or where the
    recogniser is missing or damaged.
    """
    started = time.perf_counter()
    check_image(image, "The scan")
    network = network or open_network(find_recogniser())
    seen = view(image)
    answers = network.ask(seen)
    notes = []
    extents = [n * side for n, side in zip(image.GetSize(), image.GetSpacing())]
    if seen.is_flat:
        notes.append("The scan has the same value everywhere; there is nothing to recognise.")
    elif seen.levels <= _FEW_LEVELS:
        notes.append(f"The scan has only {seen.levels} different values, like a map of labels.")
    is_thin = min(extents) < _THIN_MM or min(image.GetSize()) < 3
    if is_thin:
        notes.append(f"The scan is only {min(extents):.3g} mm thick; that is too little to recognise it by.")
    enough = not seen.is_flat and not is_thin
    kind, confidence = max(answers.kind.items(), key=lambda entry: entry[1])
    known = confidence >= network.declaration.known_above and not notes
    return Recognition(
        modality=Modality(kind) if known and kind != "other" else None,
        confidence=confidence,
        known=known,
        enough=enough,
        probabilities=answers.kind,
        head=0.0 if seen.is_flat else answers.head,
        stripped=answers.stripped,
        defaced=answers.defaced,
        orientation=_orientation(answers),
        coverage=min(1.0, max(0.0, answers.brain)),
        cut=tuple(DIRECTIONS[side] for side, share in zip(SIDES, answers.cut) if share >= _CUT),
        size=image.GetSize(),
        spacing=image.GetSpacing(),
        distance=answers.distance,
        unusual=network.declaration.unusual(answers.distance),
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
        recogniser=network.declaration.version,
    )


def _orientation(answers: Answers) -> Orientation:
    """The likeliest pair of directions that are not along one axis."""
    pairs = {
        (up, front): answers.up[up] * answers.front[front]
        for up in range(len(SIDES))
        for front in range(len(SIDES))
        if up // 2 != front // 2
    }
    (up, front), _ = max(pairs.items(), key=lambda entry: entry[1])
    share = pairs[up, front] / max(1e-9, sum(pairs.values()))
    upright = (SIDES[up], SIDES[front]) == ("z+", "y+")
    return Orientation(
        plausible=upright if share >= _SURE else None,
        top=DIRECTIONS[SIDES[up]],
        face=DIRECTIONS[SIDES[front]],
        confidence=share,
    )


def _rounded(node: Any) -> Any:
    """Numbers to six digits; tuples as lists."""
    if isinstance(node, dict):
        return {key: _rounded(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_rounded(value) for value in node]
    return float(f"{node:.6g}") if isinstance(node, float) else node
