"""The split: by person, written down, kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import ConfigError
from training.data.split import PARTS, complete_split, read_split

SHARES = {"training": 0.7, "validation": 0.1, "test": 0.2}


def people(group: str, count: int) -> list[str]:
    return [f"{group} p{number:03}" for number in range(count)]


def sizes(path: Path, group: str) -> list[int]:
    parts = read_split(path).groups()[group]
    return [len(parts[part]) for part in PARTS]


def test_the_file_says_who_is_where_and_the_shares_are_met(tmp_path: Path) -> None:
    path = tmp_path / "made" / "split.yaml"
    split = complete_split(path, people("ixi", 100), SHARES, seed=1)
    assert sizes(path, "ixi") == [70, 10, 20]
    assert read_split(path) == split
    assert all(split.part_of(person) in PARTS for person in people("ixi", 100))


def test_who_was_written_down_stays_when_others_come(tmp_path: Path) -> None:
    path = tmp_path / "split.yaml"
    before = complete_split(path, people("ixi", 20), SHARES, seed=1)
    after = complete_split(path, people("ixi", 50), SHARES, seed=99)
    assert all(after.part_of(person) == before.part_of(person) for person in people("ixi", 20))
    assert sizes(path, "ixi") == [35, 5, 10]


def test_the_split_depends_on_the_seed_and_not_on_the_order(tmp_path: Path) -> None:
    first = complete_split(tmp_path / "a.yaml", people("ixi", 30), SHARES, seed=1)
    again = complete_split(tmp_path / "b.yaml", people("ixi", 30)[::-1], SHARES, seed=1)
    other = complete_split(tmp_path / "c.yaml", people("ixi", 30), SHARES, seed=2)
    assert first == again
    assert first != other


@given(count=st.integers(1, 40), training=st.floats(0, 1), validation=st.floats(0, 1), seed=st.integers(0, 1000))
def test_everybody_is_in_exactly_one_part_whatever_the_shares(
    count: int, training: float, validation: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("split") / "split.yaml"
    shares = {"training": training, "validation": validation, "test": 1.0}
    parts = complete_split(path, people("x", count), shares, seed).groups()["x"]
    everyone = [person for part in PARTS for person in parts[part]]
    assert sorted(everyone) == [person.split()[1] for person in people("x", count)]


def test_nobody_goes_to_a_part_without_a_share(tmp_path: Path) -> None:
    path = tmp_path / "split.yaml"
    complete_split(path, people("x", 9), {"training": 2, "test": 1}, seed=0)
    assert sizes(path, "x") == [6, 0, 3]


def test_the_shipped_people_keep_their_parts_and_strangers_join_them(tmp_path: Path) -> None:
    path = tmp_path / "split.yaml"
    known = ["longitudinal 04", "longitudinal 01", "mni 07", "mni 19", "labels 19"]
    split = complete_split(path, [*known, "longitudinal 09", "mni 01"], SHARES, seed=3)
    assert [split.part_of(person) for person in known] == ["test", "training", "training", "test", "test"]
    assert split.part_of("longitudinal 09") in PARTS
    assert read_split(path).part_of("mni 01") == split.part_of("mni 01")


def test_the_shipped_file_is_never_written_to() -> None:
    shipped = Path(read_split.__code__.co_filename).with_name("split.yaml")
    before = shipped.read_bytes()
    complete_split(shipped, ["longitudinal 04"], SHARES, seed=1)
    with pytest.raises(ConfigError, match="does not name ixi IXI002"):
        complete_split(shipped, ["ixi IXI002"], SHARES, seed=1)
    assert shipped.read_bytes() == before


def test_someone_the_split_does_not_know_is_an_error() -> None:
    with pytest.raises(ConfigError, match="ixi IXI002"):
        read_split().part_of("ixi IXI002")


def test_a_person_written_into_two_parts_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "split.yaml"
    path.write_text("people:\n  ixi: {training: [IXI002], test: [IXI002]}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="ixi: IXI002 in more than one part"):
        read_split(path)
