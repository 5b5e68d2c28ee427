"""What the documentation site shows beside `docs/`: the README, the changelog, the model cards, their pictures.

A hook of mkdocs (`hooks:` in mkdocs.yml). Those files stay where they are, and their links work in the repository as
they stand: here each gets a place in the site, and every link that leaves a page is bent to it. A link to a file that
the site does not show leads to the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PLACES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "training/README.md": "training/index.md",
}
"""File in the repository: place in the site."""
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/|<)([^)\s]+)(?=\))")


def places() -> dict[str, str]:
    """Every file outside `docs/` that the site shows, with its place; both with `/`, from the root and from the site."""
    found = dict(PLACES)
    for path in sorted((ROOT / "Resources" / "Models").glob("*/docs/*")):
        name = f"{path.parent.parent.name}.md" if path.name == "README.md" else path.name
        # Pictures and tables of a card stand beside it, under the model's name.
        place = f"models/{name}" if path.name == "README.md" else f"models/{path.parent.parent.name}/{name}"
        found[path.relative_to(ROOT).as_posix()] = place
    for path in sorted((ROOT / "Resources" / "Screenshots").glob("*.png")):
        found[path.relative_to(ROOT).as_posix()] = f"pictures/{path.name}"
    return found


def bent(text: str, origin: str, place: str, repository: str) -> str:
    """The text of a page with its relative links bent.

    `origin` is the page's file in the repository, `place` its file in the site, `repository` the address that links to
    everything else lead to. Links that lead nowhere stay, so that mkdocs complains of them.
    """
    shown = places()

    def bend(match: re.Match[str]) -> str:
        target, mark, anchor = match[1].partition("#")
        found = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if found.startswith("docs/"):
            goal = found.removeprefix("docs/")
        elif found in shown:
            goal = shown[found]
        elif (ROOT / found).exists():
            kind = "tree" if (ROOT / found).is_dir() else "blob"
            return f"{repository.rstrip('/')}/{kind}/main/{found}{mark}{anchor}"
        else:
            return match[0]
        return posixpath.relpath(goal, posixpath.dirname(place) or ".") + mark + anchor

    return _LINK.sub(bend, text)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the cards of the bundled models to the contents, below "Models"."""
    (models,) = (entry["Models"] for entry in config.nav or [] if "Models" in entry)
    for name, place in places().items():
        if place.startswith("models/") and place.endswith(".md"):
            text = (ROOT / name).read_text(encoding="utf-8")
            models.append({text.splitlines()[0].lstrip("# "): place})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside `docs/`."""
    from mkdocs.structure.files import File

    for name, place in places().items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Bend the links of a page."""
    place = page.file.src_uri
    origins = {there: name for name, there in places().items()}
    return bent(markdown, origins.get(place, f"docs/{place}"), place, config.repo_url or "")
