"""The extension as a whole: what is installed, how long files are, what is imported when."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "ModalityConversion"
OWN_OF_VTK = {
    "GetMTime",
    "AddViewProp", "AllocateScalars", "GetDimensions", "GetElement", "GetInput", "GetItemAsObject",
    "GetNumberOfScalarComponents", "GetPointData", "GetPositionCoordinate", "GetRenderers", "GetScalarType",
    "GetScalars", "GetTextProperty", "GetVisibility", "IsA", "RemoveViewProp", "SetBold", "SetColor",
    "SetCoordinateSystemToNormalizedViewport", "SetDimensions", "SetElement", "SetExtent", "SetFontSize", "SetInput",
    "SetJustificationToRight", "SetShadow", "SetValue", "SetVerticalJustificationToTop", "SetVisibility",
}  # fmt: skip


def listed() -> set[str]:
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8").replace("${MODULE_NAME}", "ModalityConversion")
    return set(re.findall(r"^  ([\w./-]+\.\w+)$", text, re.MULTILINE))


def test_every_file_of_the_module_is_installed_and_nothing_else_is_listed():
    found = {
        path.relative_to(MODULE).as_posix()
        for path in MODULE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in ("CMakeLists.txt", "py.typed")
    }
    assert listed() == found


def test_the_entry_file_and_the_library_stay_short():
    assert len((MODULE / "ModalityConversion.py").read_text(encoding="utf-8").splitlines()) <= 250
    for path in (MODULE / "ModalityConversionLib").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.name


def test_the_entry_file_imports_nothing_heavy():
    tree = ast.parse((MODULE / "ModalityConversion.py").read_text(encoding="utf-8"))
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert names <= {"importlib", "logging", "sys", "slicer"}


def test_the_library_imports_onnxruntime_torch_and_simpleitk_nowhere():
    for path in (MODULE / "ModalityConversionLib").glob("*.py"):
        found = re.findall(
            r"^\s*(?:import|from) (onnxruntime|torch|SimpleITK|pydantic|typer|rich)\b", path.read_text(), re.M
        )
        assert not found, path.name


def test_the_description_for_the_extensions_index():
    fields = json.loads((ROOT / "ModalityConversion.json").read_text(encoding="utf-8"))
    assert fields["category"] == "Image Synthesis"
    assert fields["scm_url"].startswith("https://")
    assert "Slicer" not in ROOT.joinpath("CMakeLists.txt").read_text().split("project(")[1].split(")")[0]


@pytest.mark.parametrize("name", ["HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"])
def test_the_extension_says_what_the_index_asks(name):
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    value = re.search(rf'set\(EXTENSION_{name} "([^"]+)"\)', text)
    assert value is not None
    assert value[1].strip()


def test_the_icon_and_the_screenshots_are_pictures():
    pictures = [ROOT / "ModalityConversion.png", MODULE / "Resources" / "Icons" / "ModalityConversion.png"]
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for url in re.search(r'EXTENSION_SCREENSHOTURLS "([^"]+)"', text)[1].split():
        pictures.append(ROOT / url.split("/main/")[1])
    for path in pictures:
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", path


def test_the_panel_says_that_nothing_is_for_diagnosis():
    assert "not for diagnosis" in (MODULE / "Resources" / "UI" / "RunPanel.ui").read_text(encoding="utf-8")


def test_every_call_into_slicer_stands_in_the_list_of_calls():
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for path in [MODULE / "ModalityConversion.py", *(MODULE / "ModalityConversionLib").glob("*.py")]
    )
    page = (ROOT / "docs" / "slicer-calls.md").read_text(encoding="utf-8")
    verbs = "Get|Set|Add|Remove|Is|Create|Copy|Fit|Start|End|Apply|Auto|Resample|Generate|Observe"
    found = set(re.findall(rf"\.((?:{verbs})[A-Z]\w*)\b", source))
    found |= set(re.findall(r"\bslicer\.(?:app|util|packaging|mrmlScene)\.(\w+)", source))
    missing = [name for name in sorted(found - OWN_OF_VTK) if not re.search(rf"\b{name}\b", page)]
    assert missing == []
