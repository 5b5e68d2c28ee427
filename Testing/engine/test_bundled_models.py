"""The models that come with the package: every direction is there, light, and honest about CT."""

from __future__ import annotations

import itertools

import pytest

from modality_conversion.bundle import Bundle, is_bundle
from modality_conversion.catalog import Catalog, bundled_models_dir
from modality_conversion.check import check
from modality_conversion.modality import Modality

FOUR = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)


def bundled() -> list[Bundle]:
    """All but the recogniser, which is no conversion."""
    return [Bundle.load(folder) for folder in sorted(bundled_models_dir().iterdir()) if is_bundle(folder)]


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(FOUR, 2)), ids=str)
def test_every_direction_is_offered_without_a_download(source: Modality, target: Modality) -> None:
    inside = bundled_models_dir()
    fitting = [bundle for bundle in Catalog().find(source, target) if bundle.path.parent == inside]
    assert fitting
    assert "Not for diagnosis" in fitting[0].card


def test_all_weights_together_are_light() -> None:
    files = [path for path in bundled_models_dir().rglob("models/*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) <= 20e6


def test_no_bundled_model_has_a_fault() -> None:
    for bundle in bundled():
        assert [str(fault) for fault in check(bundle.path) if fault.severity == "error"] == []


def test_every_model_that_makes_ct_says_what_it_comes_from() -> None:
    makers = [bundle for bundle in bundled() if Modality.CT in bundle.spec.targets]
    assert makers
    for bundle in makers:
        assert "not validated against real CT" in (bundle.spec.targets[Modality.CT].caution or "")
        assert "not validated against real CT" in bundle.card
