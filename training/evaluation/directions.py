"""Directions: from which scans to which one, and which of them a model can go on a given case."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from modality_conversion.modality import Modality
from modality_conversion.schema import ConversionSpec
from modality_conversion.sources import why_unfit


@dataclass(frozen=True)
class Direction:
    """One or more scans in, one out. The result lies on the grid of the first."""

    sources: tuple[Modality, ...]
    target: Modality

    def __str__(self) -> str:
        return f"{'+'.join(self.sources)}->{self.target}"

    @classmethod
    def parse(cls, text: str) -> "Direction":
        """Read `T1->T2` or `T1+FLAIR->T2`. Raises ValueError with what is wrong."""
        left, arrow, right = text.partition("->")
        if not arrow:
            raise ValueError(f"{text!r} is no direction; write it as T1->T2 or T1+FLAIR->T2")
        sources = tuple(Modality.parse(name) for name in left.split("+"))
        direction = cls(sources, Modality.parse(right))
        if len(set(sources)) != len(sources) or direction.target in sources:
            raise ValueError(f"{text!r} names a modality twice")
        return direction


def possible(
    spec: ConversionSpec, sources: Collection[Modality], targets: Collection[Modality], wanted: Sequence[Direction] = ()
) -> Iterator[Direction]:
    """The directions that a model can go where these scans are there, in the order declared.

    Those of `wanted`; without any, each single source to each other target; and where a model needs several scans at once,
    all that it accepts together.
    """
    if wanted:
        candidates = list(wanted)
    else:
        everything = tuple(modality for modality in spec.modalities if modality in sources)
        candidates = [Direction((source,), target) for source in everything for target in spec.targets]
        needed = sum(declared.modality is not None and declared.missing == "error" for declared in spec.inputs)
        if needed > 1:
            candidates = [
                Direction(tuple(m for m in everything if m != target), target) for target in spec.targets if everything
            ]
    for direction in candidates:
        there = set(direction.sources) <= set(sources) and direction.target in targets
        fits = (
            direction.target not in direction.sources and why_unfit(spec, direction.sources, direction.target) is None
        )
        if there and fits:
            yield direction
