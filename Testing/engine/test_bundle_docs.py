"""`docs/model-format.md` and `docs/conversion.schema.json` say what `schema.py` says, and their examples work.

The tables and the schema are made by this file: `python Testing/engine/test_bundle_docs.py` writes them anew.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphs
from bundles import edit_spec, weights_entry, write_bundle
from modality_conversion import schema
from modality_conversion.bundle import Bundle
from modality_conversion.check import METADATA_KEYS, check
from modality_conversion.check_words import wanted

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "model-format.md"
SCHEMA_FILE = ROOT / "docs" / "conversion.schema.json"
CONTRACTS = sorted((Path(__file__).parent / "contracts").glob("*.json"))
BEGIN, END = "<!-- made from schema.py -->\n", "<!-- end -->\n"

SECTIONS = (
    ("The whole file", schema.ConversionSpec),
    ("`weights[]`", schema.Weights),
    ("`sources[]`", schema.Source),
    ("`targets{}`", schema.Target),
    ("`geometry`", schema.Geometry),
    ("`mask`", schema.Mask),
    ("`inputs[]`", schema.Input),
    ("`sampler`", schema.Sampler),
    ("`test_time`", schema.Variants),
    ("`output`", schema.Output),
    ("`output.uncertainty`", schema.Uncertainty),
    ("`segmentation`", schema.Segmentation),
    ("`segmentation.labels[]`", schema.Label),
    ("`segmentation.labels[].terminology`", schema.Terminology),
    ("`segmentation.find`", schema.Find),
    ("A coded term", schema.Code),
    ("`gate`", schema.Gate),
    ("`gate.mismatch`, `gate.coverage`, `gate.unusual`", schema.Limits),
    ("`gate.spacing`", schema.SpacingLimits),
    ("`calibration`", schema.Calibration),
    ("`calibration.factors[]`", schema.IntervalFactor),
    ("`quality[]`", schema.Quality),
)
OPS = (
    *(schema.N4, schema.Clip, schema.ClipPercentile, schema.MinMax, schema.ZScore, schema.Linear, schema.Power),
    *(schema.Exp, schema.BorderZero, schema.Resize, schema.ScaleToInput),
)
MODALITIES = (
    f"Every one but `resize` may also name `modalities`. {schema.Operation.model_fields['modalities'].description}"
)
STEPS = (schema.RemoveSmall, schema.LargestComponent, schema.FillHoles, schema.Crf)


# --- the tables -------------------------------------------------------------------------------------------------------


def fields_of(section: type) -> dict[str, dict[str, Any]]:
    """The fields of a section as the JSON Schema has them."""
    whole = schema.json_schema()
    node = whole if section is schema.ConversionSpec else whole["$defs"][section.__name__]
    return {name: {**field, "required": name in node.get("required", [])} for name, field in node["properties"].items()}


def default_of(field: dict[str, Any]) -> str:
    if field["required"]:
        return "required"
    if isinstance(field.get("default"), dict):
        return "see below"
    if isinstance(field.get("default"), list) and field["default"] and isinstance(field["default"][0], dict):
        return "one image"
    return f"`{json.dumps(field.get('default'))}`"


def kind_of(field: dict[str, Any]) -> str:
    said = wanted({key: value for key, value in field.items() if key != "required"})
    return re.sub(r"an object with `\w+`(, `\w+`)*", "an object", said).replace('"', "`")


def table(section: type) -> str:
    lines = ["| field | what it may be | default | what it says |", "| --- | --- | --- | --- |"]
    for name, field in fields_of(section).items():
        says = " ".join(str(field.get("description", "")).split())
        lines.append(f"| `{name}` | {kind_of(field)} | {default_of(field)} | {says} |")
    return "\n".join(lines)


def ops_table(ops: tuple[type, ...]) -> str:
    lines = ["| op | stage | parameters | what it does |", "| --- | --- | --- | --- |"]
    for op in ops:
        fields = fields_of(op)
        stage = fields.pop("stage", {})
        stages = stage.get("enum") or [stage.get("const", "-")]
        said = ", ".join(f"**`{s}`**" if s == stage.get("default") and len(stages) > 1 else f"`{s}`" for s in stages)
        name = fields.pop("op")["const"]
        fields.pop("modalities", None)  # said once, above the table
        parameters = "<br>".join(
            f"`{key}`: {kind_of(field)}; {default_of(field)}. {' '.join(field['description'].split())}"
            for key, field in fields.items()
        )
        does = " ".join((op.__doc__ or "").split()).replace("|", r"\|")
        lines.append(f"| `{name}` | {said if stage else ''} | {parameters or 'none'} | {does} |")
    return "\n".join(lines)


def reference() -> str:
    """The part of the page between the markers."""
    parts = []
    for title, section in SECTIONS:
        parts.append(f"### {title}\n\n{' '.join((section.__doc__ or '').split())}\n\n{table(section)}\n")
        if section is schema.Mask:
            parts.append(
                f"### `ops[]` and `output.ops[]`\n\nThe default stage is in bold. {MODALITIES}\n\n{ops_table(OPS)}\n"
            )
        if section is schema.Segmentation:
            parts.append("### `segmentation.postprocess[]`\n\n" + ops_table(STEPS).replace("| stage |", "| |") + "\n")
    return "\n".join(parts)


def schema_text() -> str:
    return json.dumps(schema.json_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the tables and the schema anew."""
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8", newline="\n")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{reference()}\n{END}{rest.partition(END)[2]}", encoding="utf-8", newline="\n")


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def test_the_published_schema_is_that_of_the_code() -> None:
    published = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert published == json.loads(schema_text()), "run python Testing/engine/test_bundle_docs.py"


def test_the_tables_are_those_of_the_code(page: str) -> None:
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == reference().strip(), (
        "run python Testing/engine/test_bundle_docs.py"
    )


def test_every_section_of_the_schema_has_a_table() -> None:
    shown = {section.__name__ for _, section in SECTIONS} | {op.__name__ for op in (*OPS, *STEPS)}
    assert set(schema.json_schema()["$defs"]) - shown == {"Modality", "ResizeMax"}


def test_every_field_is_described() -> None:
    for name, node in {**schema.json_schema()["$defs"], "whole": schema.json_schema()}.items():
        for key, field in node.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key}"


def test_the_page_names_monais_keys_and_every_modality(page: str) -> None:
    for key in METADATA_KEYS:
        assert f"`{key}`" in page
    for modality in schema.Modality:
        assert f"`{modality.value}`" in page


def graph_for(fields: dict[str, Any]) -> Any:
    """A stand-in with the inputs that a declaration needs."""
    names = [entry.get("name") for entry in fields.get("inputs", [])]
    sampler = fields.get("sampler", {})
    joined = max(1, sum(name == names[0] for name in names)) if names else 1
    if sampler.get("kind") == "patch":
        return partial(graphs.linear, patch=True)
    if "timestep" in names:
        return partial(graphs.with_inputs, others={"timestep": (1,)})
    if "code" in names:
        return partial(graphs.with_inputs, others={"code": ("batch", 3)})
    return partial(
        graphs.linear,
        context=sampler.get("context", 1) * joined,
        outputs=sampler.get("outputs", 1),
        channels=((1, 0), (2, 0)),
    )


def test_every_complete_example_of_the_page_passes_the_check(page: str, tmp_path: Path) -> None:
    examples = [json.loads(text) for text in blocks(page, "json")]
    complete = [fields for fields in examples if "schema_version" in fields]
    assert len(complete) >= 2
    for fields in complete:
        del fields["weights"]
        metadata = {"version": fields["version"]}
        folder = write_bundle(tmp_path / fields["id"], graph_for(fields), metadata=metadata, **fields)
        assert check(folder, run=True) == []


def test_every_fragment_of_the_page_fits_into_a_declaration(page: str, tmp_path: Path) -> None:
    fragments = [fields for text in blocks(page, "json") if "schema_version" not in (fields := json.loads(text))]
    assert len(fragments) >= 3
    for number, fields in enumerate(fragments):
        if "monai_version" in fields:
            assert set(fields) >= set(METADATA_KEYS)
            continue
        folder = write_bundle(tmp_path / f"fragment-{number}", graph_for(fields), **fields)
        if fields.get("segmentation", {}).get("find"):  # the real file's size and hash in the place of those shown
            file = folder / "models" / "find.onnx"
            graphs.linear(file, patch=True)
            entry = weights_entry(file, folder)
            edit_spec(folder, lambda spec, entry=entry: spec["segmentation"]["find"].update(weights=[entry]))
        assert [fault for fault in check(folder, run=True) if fault.severity == "error"] == []


def test_the_python_of_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden pair that the page shows how to make."""
    write_bundle(tmp_path / "t1-to-t2-copy")
    monkeypatch.chdir(tmp_path / "t1-to-t2-copy")
    for text in blocks(page, "python"):
        exec(compile(text, str(PAGE), "exec"), {})
    assert set(np.load("tests/golden.npz")) == {"input", "output"}
    assert check(tmp_path / "t1-to-t2-copy", run=True) == []


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda path: path.stem)
def test_the_contracts_of_the_peers_are_right_declarations(path: Path, tmp_path: Path, page: str) -> None:
    """With networks like the peers', the fixed sizes included."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    assert fields["id"] == path.stem
    assert f"Testing/engine/contracts/{path.name}" in page
    del fields["weights"]

    def with_timestep(path: Path) -> None:
        shape = ("batch", 1, 224, 192)
        node = graphs.helper.make_node("Add", ["image", "timestep"], ["t2"])
        inputs = [graphs.tensor("image", shape), graphs.tensor("timestep", (1,))]
        graphs.save(path, [node], inputs, [graphs.tensor("t2", shape)])

    graph = {
        "t1-to-t2-timestep": with_timestep,
        "ct-to-pet-seven-slices": partial(graphs.linear, context=7, channels=((1, 0), (1, 0))),
    }.get(path.stem, partial(graphs.linear, batch=1, size=(256, 256)))
    assert check(write_bundle(tmp_path / path.stem, graph, **fields), run=True) == []
    Bundle.load(tmp_path / path.stem).verify_weights()


def test_there_are_four_contracts() -> None:
    assert [path.stem for path in CONTRACTS] == [
        "cbct-to-ct-three-plane",
        "ct-to-pet-seven-slices",
        "t1-to-ct-three-plane",
        "t1-to-t2-timestep",
    ]


if __name__ == "__main__":
    main()
