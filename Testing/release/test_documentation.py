"""The pages hang together: links, contents, the API reference, licences, addresses, the forms and the workflow."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt

import modality_conversion
from doc_blocks import PAGES, ROOT


def utility(name: str) -> ModuleType:
    """A script of `Utilities`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "Utilities" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


licences, site = utility("licences"), utility("documentation_site")
ADDRESS = json.loads((ROOT / "ModalityConversion.json").read_text(encoding="utf-8"))["scm_url"].removesuffix(".git")


# --- links ------------------------------------------------------------------------------------------------------------


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page lead."""
    found = []
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        for inner in token.children or []:
            target = inner.attrs.get("href") or inner.attrs.get("src")
            if target and not re.match(r"[a-z]+:", str(target)):
                found.append(str(target))
    return found


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    tokens = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    headings = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading_that_is_there(page):
    for link in links(page):
        name, _, anchor = link.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), link
        assert path.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(path), link


# --- the site ---------------------------------------------------------------------------------------------------------


def contents() -> set[str]:
    """The pages that mkdocs.yml lists."""
    yaml = pytest.importorskip("yaml")

    def walk(node: object) -> set[str]:
        if isinstance(node, str):
            return {node}
        return set().union(*map(walk, node.values() if isinstance(node, dict) else node))  # type: ignore[attr-defined]

    return walk(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])


def test_every_page_stands_in_the_contents_of_the_site():
    own = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    outside = {place for place in site.places().values() if place.endswith(".md") and not place.startswith("models/")}
    assert contents() == own | outside


def test_what_the_site_shows_from_elsewhere_is_there_and_has_a_place_of_its_own():
    places = site.places()
    assert all((ROOT / name).is_file() for name in places)
    assert len(set(places.values())) == len(places)
    assert not any((ROOT / "docs" / place).exists() for place in places.values())


@pytest.mark.parametrize(
    ("origin", "text", "bent"),
    [
        ("README.md", "[a](docs/slicer.md#install)", "[a](slicer.md#install)"),
        ("README.md", "![a](Resources/Screenshots/t1-to-t2.png)", "![a](pictures/t1-to-t2.png)"),
        ("docs/training/data.md", "[a](../../CHANGELOG.md)", "[a](../changelog.md)"),
        ("docs/training/data.md", "[a](qc.md), [b](#layouts)", "[a](qc.md), [b](#layouts)"),
        ("README.md", "[a](LICENSE)", "[a](https://there/blob/main/LICENSE)"),
        ("README.md", "[a](training)", "[a](https://there/tree/main/training)"),
        ("README.md", "[a](https://elsewhere/x.md)", "[a](https://elsewhere/x.md)"),
        ("README.md", "[a](no/such.md)", "[a](no/such.md)"),
    ],
)
def test_links_are_bent_to_where_the_site_has_the_file(origin, text, bent):
    place = site.places().get(origin, origin.removeprefix("docs/"))
    assert site.bent(text, origin, place, "https://there") == bent


def test_the_api_reference_has_every_public_name_and_only_names_that_exist():
    named = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.rsplit(".", 1)[1] for name in named} >= set(modality_conversion.__all__) - {"__version__"}
    for name in named:
        module, attribute = name.rsplit(".", 1)
        assert hasattr(importlib.import_module(module), attribute), name


# --- licences ---------------------------------------------------------------------------------------------------------


def test_the_page_of_licences_names_every_dependency_and_nothing_else():
    assert licences.missing() == []


def test_a_dependency_without_a_line_is_missed_and_so_is_a_line_without_a_dependency(tmp_path, monkeypatch):
    text = licences.PAGE.read_text(encoding="utf-8")
    page = tmp_path / "licences.md"
    page.write_text(text.replace("| [numpy]", "| [numbers]"), encoding="utf-8")
    monkeypatch.setattr(licences, "PAGE", page)
    assert licences.missing() == ["numpy is not on the page", "numbers is on the page and no dependency"]


def test_the_licence_of_a_library_is_the_one_that_it_states():
    assert licences.of_installed("no-such-library-anywhere") is None
    assert "BSD" in licences.of_installed("numpy").licence
    assert "Apache" in licences.of_installed("SimpleITK").licence


# --- addresses, versions, forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"),
    [("CMakeLists.txt", 1), ("mkdocs.yml", 1), ("pyproject.toml", 1), (".github/ISSUE_TEMPLATE/config.yml", 1)],
)
def test_the_address_of_the_repository_is_the_same_everywhere(name, count):
    text = (ROOT / name).read_text(encoding="utf-8")
    mentions = re.findall(
        r"https://github\.com/ModalityConversion/\w+|https://github\.com/\w+/ModalityConversion\b", text
    )
    assert len(mentions) >= count
    assert set(mentions) == {ADDRESS}


def test_the_citation_has_the_version_of_the_program():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (\S+)$", text, re.MULTILINE)[1] == modality_conversion.__version__


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_the_forms_for_issues_are_as_github_wants_them(path):
    form = pytest.importorskip("yaml").safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert all(set(link) == {"name", "url", "about"} for link in form["contact_links"])
        return
    assert {"name", "description", "body"} <= set(form)
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(set(ids)) == len(ids)
    for part in form["body"]:
        assert part["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert part["attributes"].get("label") or part["type"] == "markdown"


def test_the_workflow_tests_every_python_that_is_supported():
    flow = pytest.importorskip("yaml").safe_load(
        (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    )
    low, high = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()).groups()
    tested = flow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert tested == [f"3.{minor}" for minor in range(int(low), int(high))]
    assert flow["jobs"]["oldest"]["steps"][1]["with"]["python-version"] == tested[0]
