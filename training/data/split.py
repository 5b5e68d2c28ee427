"""Who is learnt from and who is not: by person, never by slice, and written down in a file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import Field, model_validator

from training.config import ConfigError, Settings, check, read_yaml

Part = Literal["training", "validation", "test"]
PARTS: tuple[Part, ...] = ("training", "validation", "test")


class LabelSplit(Settings):
    """Numbers of the label maps, each of another person."""

    training: tuple[int, ...] = ()
    validation: tuple[int, ...] = ()
    test: tuple[int, ...] = ()


class LongitudinalSplit(Settings):
    """Studies with T1 and T2 of each person of the longitudinal set; all studies of a person are in the person's part."""

    training: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    validation: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    test: dict[str, tuple[int, ...]] = Field(default_factory=dict)


class PeopleSplit(Settings):
    """People of any other group, by name."""

    training: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


class Split(Settings):
    """The whole split; a person in two parts is refused."""

    labels: LabelSplit = LabelSplit()
    """Label maps that heads are simulated from."""
    longitudinal: LongitudinalSplit = LongitudinalSplit()
    """The longitudinal set."""
    mni: PeopleSplit = PeopleSplit()
    """The set in MNI space, and the FLAIR set, which shows the same people."""
    people: dict[str, PeopleSplit] = Field(default_factory=dict)
    """Every other group of people, by the name of its source."""

    @model_validator(mode="after")
    def _nobody_twice(self) -> "Split":
        for group, parts in self.groups().items():
            everyone = [person for people in parts.values() for person in people]
            twice = sorted({person for person in everyone if everyone.count(person) > 1})
            if twice:
                raise ValueError(f"{group}: {', '.join(twice)} in more than one part")
        return self

    def groups(self) -> dict[str, dict[Part, list[str]]]:
        """Names of the people of every group, by part."""
        named: dict[str, Settings] = {"labels": self.labels, "longitudinal": self.longitudinal, "mni": self.mni}
        named |= self.people
        return {
            group: {part: [str(p) for p in getattr(parts, part)] for part in PARTS} for group, parts in named.items()
        }

    def part_of(self, person: str) -> Part:
        """The part of `<group> <person>`, as `CaseFiles.person` has it. Raises ConfigError for someone unknown."""
        group, _, name = person.partition(" ")
        for part, people in self.groups().get(group, {}).items():
            if name in people:
                return part
        raise ConfigError(f"The split does not say in which part {person} is.")

    def knows(self, person: str) -> bool:
        """Whether someone is named."""
        group, _, name = person.partition(" ")
        return any(name in people for people in self.groups().get(group, {}).values())


def read_split(path: Path | None = None) -> Split:
    """The split beside this file, or another one."""
    path = path or Path(__file__).with_name("split.yaml")
    return check(Split, read_yaml(path), path.name)


def complete_split(path: Path, people: Iterable[str], shares: Mapping[Part, float], seed: int) -> Split:
    """The split of a file with everyone of `people` in it; who is new is assigned, and the file written.

    Those whom the file names stay where they are; where there is no file, the shipped split is the beginning. Newcomers of
    a group are shuffled by `seed` and go, one by one, to the part that is furthest below its share of that group.
    """
    shipped = Path(__file__).with_name("split.yaml")
    split = read_split(path) if path.is_file() else read_split()
    new = sorted({person for person in people if not split.knows(person)})
    if new and path.resolve() == shipped.resolve():
        raise ConfigError(
            f"The shipped split does not name {', '.join(new)}, and is not written to. Leave `split` out: the file beside "
            "the cases then begins with it."
        )
    content = split.model_dump(mode="json")
    for group in sorted({person.partition(" ")[0] for person in new}):
        parts = split.groups().get(group) or {part: [] for part in PARTS}
        newcomers = [person.partition(" ")[2] for person in new if person.partition(" ")[0] == group]
        rng = np.random.default_rng([seed, *group.encode()])
        wanted = {part: max(shares.get(part, 0), 0) / sum(shares.values()) for part in PARTS}
        for index in rng.permutation(len(newcomers)):
            count = sum(map(len, parts.values())) + 1
            part = max(PARTS, key=lambda part: wanted[part] * count - len(parts[part]) if wanted[part] else -np.inf)
            parts[part].append(newcomers[index])
            if group == "longitudinal":
                content[group][part][newcomers[index]] = []
        if group == "mni":
            content["mni"] = parts
        elif group == "labels":
            content["labels"] = {part: [int(name) for name in names] for part, names in parts.items()}
        elif group != "longitudinal":
            content["people"][group] = parts
    split = check(Split, content, path.name)
    if new or not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".partial")
        note = "# Who is learnt from and who is not, by person. Change it before cases are packed, not after.\n"
        beside.write_text(note + yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        beside.replace(path)
    return split
