"""Packed cases: what is written is read, and a case is complete or it is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modality_conversion.modality import Modality
from training.data.cases import MARK, complete_cases, read_case, write_case

ABOUT: dict[str, Any] = {"person": "labels 3", "origin": "simulated", "whole_head": False, "note": "anything"}


def arrays(seed: int = 0, *modalities: Modality) -> dict[Modality, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {modality: rng.random((4, 5, 6)).astype(np.float32) for modality in modalities}


def region() -> np.ndarray:
    return np.random.default_rng(9).integers(0, 6, (4, 5, 6)).astype(np.uint8)


def test_a_case_comes_back_as_it_was_written(tmp_path: Path) -> None:
    sources, targets = arrays(0, Modality.CT, Modality.T1), arrays(1, Modality.FLAIR)
    write_case(tmp_path / "a", sources, targets, region(), ABOUT, tissue=region())
    case = read_case(tmp_path / "a")
    assert (case.name, case.person, case.shape) == ("a", "labels 3", (4, 5, 6))
    assert list(case.sources) == [Modality.CT, Modality.T1]
    assert list(case.targets) == [Modality.FLAIR]
    for modality, volume in sources.items():
        assert case.sources[modality].dtype == np.float16
        assert case.sources[modality] == pytest.approx(volume, abs=1e-3)
    assert np.array_equal(case.region, region())
    assert case.tissue is not None
    assert case.about["note"] == "anything"
    assert case.about["spacing"] == [1.0, 1.0, 1.0]
    assert case.about["whole_head"] is False
    assert isinstance(case.region, np.memmap)


def test_tissue_may_be_missing(tmp_path: Path) -> None:
    write_case(tmp_path / "a", arrays(0, Modality.T1), arrays(1, Modality.T2), region(), ABOUT)
    assert read_case(tmp_path / "a").tissue is None


def test_a_case_without_its_mark_is_not_complete(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_case(tmp_path / name, arrays(0, Modality.T1), arrays(1, Modality.T2), region(), ABOUT)
    (tmp_path / "a" / MARK).unlink()
    assert [case.name for case in complete_cases(tmp_path)] == ["b"]


def test_writing_a_case_anew_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    write_case(tmp_path / "a", arrays(0, Modality.T1, Modality.CT), arrays(1, Modality.T2), region(), ABOUT, region())
    write_case(tmp_path / "a", arrays(2, Modality.T1), arrays(3, Modality.T2), region(), ABOUT)
    case = read_case(tmp_path / "a")
    assert list(case.sources) == [Modality.T1]
    assert case.tissue is None
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "case.json",
        "region.npy",
        "source_T1.npy",
        "target_T2.npy",
    ]


def test_a_case_whose_writing_fails_is_no_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_case(tmp_path / "a", arrays(0, Modality.T1), arrays(1, Modality.T2), region(), ABOUT)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space"):
        write_case(tmp_path / "a", arrays(0, Modality.T1), arrays(1, Modality.T2), region(), ABOUT)
    assert list(complete_cases(tmp_path)) == []


def test_bad_arrays_are_refused_by_name(tmp_path: Path) -> None:
    wrong = arrays(0, Modality.T1) | {Modality.T2: np.zeros((4, 5, 7), np.float32)}
    with pytest.raises(ValueError, match=r"source_T2 of shape \(4, 5, 7\)"):
        write_case(tmp_path / "a", wrong, {}, region(), ABOUT)
    holes = arrays(0, Modality.FLAIR)
    holes[Modality.FLAIR][0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="target_FLAIR that are not numbers"):
        write_case(tmp_path / "a", {}, holes, region(), ABOUT)
    with pytest.raises(ValueError, match="'person'"):
        write_case(tmp_path / "a", {}, {}, region(), {"origin": "simulated"})
    assert not (tmp_path / "a").exists()


def test_case_json_can_be_read_by_anyone(tmp_path: Path) -> None:
    write_case(tmp_path / "a", arrays(0, Modality.T1CE), arrays(1, Modality.CT), region(), ABOUT)
    content = json.loads((tmp_path / "a" / MARK).read_text(encoding="utf-8"))
    assert content["name"] == "a"
    assert content["sources"] == ["T1CE"]
    assert content["targets"] == ["CT"]
