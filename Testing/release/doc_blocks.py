"""The fenced blocks of the documentation, and the reasons for which some are not run.

A block that no test can run has a comment right above it, which the reader of the file sees:

    <!-- not run: needs 3D Slicer -->
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "training/README.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "Resources" / "Models").glob("*/docs/*.md"),
    ]
)
CODE = ("bash", "python", "powershell")
"""Languages of blocks that do something, and so are run or say why not."""
DATA = ("json", "yaml")
"""Languages of blocks that are checked where their format is described."""
PLAIN = ("text",)
"""Synopses, trees of folders."""
_REASON = re.compile(r"\A\s*<!-- not run: (.+?) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Of its opening fence, from 1."""
    language: str
    """As the fence says it; empty where it says nothing."""
    text: str
    reason: str | None
    """Why it is not run, where it says so."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced and the indented blocks of a page, in order."""
    found, reason = [], None
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            found.append(Block(page, token.map[0] + 1, token.info.strip(), token.content, reason))
        comment = _REASON.match(token.content) if token.type == "html_block" else None
        reason = comment[1] if comment else None
    return found


def reasons(page: Path) -> int:
    """How many comments of a page say that something is not run, wherever they stand."""
    return page.read_text(encoding="utf-8").count("<!-- not run:")


def all_blocks() -> list[Block]:
    """The blocks of every page."""
    return [block for page in PAGES for block in blocks(page)]


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a bash block, a list of words each; comments left out, continued lines joined."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words
