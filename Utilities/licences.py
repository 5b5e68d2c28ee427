"""Writes `docs/licences.md`: every library that this project depends on, with its licence as the library states it.

    python Utilities/licences.py            # writes the page anew
    python Utilities/licences.py --check    # says whether the page names every dependency; exit code 1 if not

What is installed is read by `importlib.metadata`; a library that is not installed here keeps its line of the page as it
stands, and is refused where there is none. Only direct dependencies: those bring further ones of their own.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
HEAD = """# Licences of others

This project is under [Apache-2.0](https://www.apache.org/licenses/LICENSE-2.0). It contains no code of other projects.
Weights have licences of their own, and the data behind them: each model's card states both.

It uses these libraries, which are installed beside it and not handed out with it, each under its own licence as it
states it. `python Utilities/licences.py` writes this page from what is installed. Each brings libraries of its own; to
list all of an environment, use a tool such as `pip-licenses`.

"""
GROUPS = {
    "": "to convert",
    "cpu": "`cpu`: ONNX models on the CPU",
    "gpu": "`gpu`: on NVIDIA cards, in place of `cpu`; brings NVIDIA's CUDA and cuDNN under NVIDIA's own terms",
    "demo": "`demo`: pictures, and the demonstration's scan",
    "dicom": "`dicom`",
    "ray": "`ray`: batches on many machines",
    "remote": "`remote`: a served model",
    "torchscript": "`torchscript`",
    "training": "`training`",
    "test": "`test`: not needed to use it",
    "docs": "`docs`: not needed to use it",
    "build": "to build",
}


@dataclass(frozen=True)
class Line:
    """A library: its name, its licence, where it comes from."""

    name: str
    licence: str
    home: str

    def __str__(self) -> str:
        return f"| [{self.name}]({self.home}) | {self.licence} |"


def dependencies() -> dict[str, list[str]]:
    """Names of the direct dependencies by extra, `` for those that are always needed; as pyproject.toml writes them."""
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    content: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    groups["build"] = content["build-system"]["requires"]
    return {group: [re.split(r"[\[<>=!;~ ]", text, maxsplit=1)[0] for text in texts] for group, texts in groups.items()}


def of_installed(name: str) -> Line | None:
    """What an installed library states of itself; None where it is not installed."""
    try:
        metadata: Any = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    said = metadata.get("License-Expression") or ""
    if not said:  # before PEP 639: a classifier, else a field that may hold the whole text
        classifiers = [text for text in metadata.get_all("Classifier") or [] if text.startswith("License ::")]
        said = ", ".join(text.split(" :: ")[-1] for text in classifiers if text != "License :: OSI Approved")
    if not said:
        said = (metadata.get("License") or "").strip().splitlines()[0] if metadata.get("License") else ""
    if not said:
        raise SystemExit(f"{name} does not state its licence. Look it up and write its line into {PAGE} by hand.")
    return Line(name, said.replace("|", "/"), f"https://pypi.org/project/{name}/")


def of_page() -> dict[str, Line]:
    """The lines of the page as it stands."""
    if not PAGE.exists():
        return {}
    found = re.findall(r"^\| \[([^]]+)\]\(([^)]+)\) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: Line(name, licence, home) for name, home, licence in found}


def page() -> str:
    """The page. Raises SystemExit for a library of which neither an installation nor the page says anything."""
    parts, standing = [HEAD], of_page()
    for group, names in dependencies().items():
        parts.append(f"## {GROUPS[group][:1].upper()}{GROUPS[group][1:]}\n\n| library | licence |\n| --- | --- |\n")
        for name in sorted(set(names), key=str.lower):
            line = of_installed(name) or standing.get(name)
            if line is None:
                raise SystemExit(f"{name} is not installed here, and {PAGE} has no line of it. Write one by hand.")
            parts.append(f"{line}\n")
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def missing() -> list[str]:
    """Dependencies that the page does not name, and libraries on the page that are none, in words."""
    standing, wanted = set(of_page()), {name for names in dependencies().values() for name in names}
    return [f"{name} is not on the page" for name in sorted(wanted - standing)] + [
        f"{name} is on the page and no dependency" for name in sorted(standing - wanted)
    ]


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif faults := missing():
        sys.exit("; ".join(faults) + ". Run: python Utilities/licences.py")


if __name__ == "__main__":
    main()
