"""What is said of a wrong `conversion.json`: every fault at once, where it is, what it is, what to do."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles import LEFT_OUT, spec_fields
from modality_conversion.check_words import Fault, read_json, read_spec

WEIGHTS = [{"path": "models/model.onnx", "format": "onnx", "sha256": "0" * 64, "size": 1}]


def faults(**overrides: Any) -> list[Fault]:
    return read_spec(spec_fields(**{"weights": WEIGHTS, **overrides}))[2]


def only(**overrides: Any) -> Fault:
    found = faults(**overrides)
    assert len(found) == 1, found
    return found[0]


def test_a_right_declaration_has_no_faults() -> None:
    assert faults() == []


def test_a_fault_names_the_file_the_field_the_fault_and_the_remedy() -> None:
    fault = only(sampler={"contxt": 3})
    assert fault.where == "configs/conversion.json: sampler.contxt"
    assert fault.what == "unknown key `contxt`"
    assert fault.remedy == "did you mean `context`?"
    assert fault.severity == "error"
    assert str(fault) == "configs/conversion.json: sampler.contxt: unknown key `contxt`; did you mean `context`?"


def test_faults_in_every_section_are_found_at_once() -> None:
    found = faults(
        license=LEFT_OUT,
        titel="x",
        fusion="max",
        sources=[{"modality": "T7"}],
        targets={"CT": {"units": "HU"}},
        geometry={"spacing": [1, 1]},
        sampler={"kind": "patch"},
        ops=[{"op": "clip"}, {"op": "blur"}],
        output={"channel": -1},
    )
    places = {fault.where.removeprefix("configs/conversion.json: ") for fault in found}
    assert places == {
        "license",
        "titel",
        "fusion",
        "sources[0].modality",
        "targets.CT.background",
        "targets.CT.window",
        "targets.CT.level",
        "geometry.spacing",
        "sampler",
        "ops[0]",
        "ops[1].op",
        "output.channel",
    }


def test_every_fault_says_what_to_do() -> None:
    for fault in faults(license=LEFT_OUT, zzz=1, fusion=3, geometry={"crop": 3}, ops=[{}], sampler={"axes": []}):
        assert fault.what
        assert fault.remedy


# --- unknown keys -----------------------------------------------------------------------------------------------------


def test_an_unknown_key_with_no_likeness_lists_the_valid_ones() -> None:
    assert only(sampler={"xyzzy": 3}).remedy == (
        "remove it; the keys here are `kind`, `axes`, `context`, `outputs`, `size`, `overlap`, `batch`, `skip_empty`, `edge`"
    )


def test_a_key_of_another_section_is_sent_there() -> None:
    assert only(context=3).remedy == "it belongs to `sampler`; move it there"


def test_a_misspelt_key_beside_the_right_one_is_to_be_removed() -> None:
    assert only(licence="MIT").remedy == "remove it; `license` is there already"


def test_an_unknown_key_of_an_operation_is_compared_with_that_operation() -> None:
    fault = only(ops=[{"op": "clip", "lo": 1, "high": 2}])
    assert (fault.where[-9:], fault.remedy) == ("ops[0].lo", "did you mean `low`?")


def test_an_unknown_key_inside_a_target_is_found() -> None:
    target = {"units": "HU", "background": 0, "window": 1, "level": 0, "windows": 2}
    assert only(targets={"CT": target}).remedy == "remove it; `window` is there already"


# --- missing fields ---------------------------------------------------------------------------------------------------


def test_a_missing_field_is_described_with_an_example() -> None:
    fault = only(license=LEFT_OUT)
    assert fault.what == "`license` is missing"
    assert fault.remedy == 'add it: Licence of the weights, as an SPDX name. For example: "license": "CC-BY-4.0"'


def test_the_example_of_every_missing_field_is_accepted() -> None:
    data: dict[str, Any] = {}
    for _ in range(20):
        found = read_spec(data)[2]
        for fault in found:
            example = re.search(r"For example: (.*)$", fault.remedy)
            assert example, fault
            data.update(json.loads(f"{{{example[1]}}}"))
        if not found:
            return
    raise AssertionError(found)


def test_a_missing_parameter_of_an_operation_is_named() -> None:
    fault = only(ops=[{"op": "power"}])
    assert fault.where == "configs/conversion.json: ops[0].exponent"
    assert fault.remedy == 'add it: The power. For example: "exponent": 2'


def test_an_operation_without_a_name_is_told_to_have_one() -> None:
    assert only(ops=[{"low": 1}]).what == "`op` is missing"


# --- wrong values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "where", "what", "remedy"),
    [
        ({"fusion": "Mean"}, "fusion", 'found the text "Mean"', "did you mean `mean`?"),
        ({"fusion": 3}, "fusion", "found 3", 'wanted: one of "mean", "median", "gaussian"'),
        ({"title": ""}, "title", 'found the text ""', "wanted: a text that is not empty"),
        ({"sources": "T1"}, "sources", 'found the text "T1"', "wanted: a list of one or more"),
        ({"sources": []}, "sources", "found a list of 0, []", "wanted: a list of one or more"),
        ({"geometry": None}, "geometry", "found null", "wanted: an object"),
        ({"sampler": {"context": 1.5}}, "sampler.context", "found 1.5", "wanted: a whole number above 0"),
        ({"sampler": {"context": "3"}}, "sampler.context", 'found the text "3"', "wanted: a whole number above 0"),
        ({"sampler": {"context": True}}, "sampler.context", "found true", "wanted: a whole number above 0"),
        ({"sampler": {"overlap": 1}}, "sampler.overlap", "found 1", "wanted: a number, 0 or more and below 1"),
        ({"sampler": {"axes": [3]}}, "sampler.axes[0]", "found 3", "wanted: one of 0, 1, 2"),
        ({"mask": {"apply_to_input": 1}}, "mask.apply_to_input", "found 1", "wanted: true or false"),
        ({"gate": 1}, "gate", "found 1", "wanted: an object or null"),
        ({"ops": [3]}, "ops[0]", "found 3", "wanted: an object with `op`"),
        ({"ops": [{"op": "clp"}]}, "ops[0].op", "unknown operation `clp`", "did you mean `clip`?"),
        ({"output": {"channel": -1}}, "output.channel", "found -1", "wanted: a whole number, 0 or more"),
        ({"id": "A B"}, "id", 'found the text "A B"', "wanted: Name of the model and of its folder"),
        ({"sources": [{"modality": "T1", "value_range": [1, 0]}]}, "sources[0].value_range", "the first", "write [low"),
        ({"geometry": {"axcodes": "RAR"}}, "geometry.axcodes", "an axis is named twice", "one letter of each pair"),
        ({"geometry": {"axcodes": "RAX"}}, "geometry.axcodes", 'found the text "RAX"', "Orientation"),
        ({"ops": [{"op": "clip", "low": 2, "high": 1}]}, "ops[0]", "`low` is above `high`", "exchange them"),
        ({"ops": [{"op": "clip"}]}, "ops[0]", "neither `low` nor `high`", "give one"),
        ({"ops": [{"op": "clip_percentile", "low": 9, "high": 9}]}, "ops[0]", "`low` is not below", "lower percentile"),
        ({"ops": [{"op": "clip_percentile", "high": 101}]}, "ops[0].high", "found 101", "a number from 0 to 100"),
        ({"inputs": [{"role": "constant"}]}, "inputs[0]", "no `value`", "write the number"),
        ({"inputs": [{"role": "source_code"}]}, "inputs[0]", "no `order`", "list the modalities"),
        ({"schema_version": "2.0"}, "schema_version", 'found the text "2.0"', "update ModalityConversion"),
        ({"weights": [{**WEIGHTS[0], "path": "../x"}]}, "weights[0].path", "not a path inside", "write it relative"),
        ({"weights": [{**WEIGHTS[0], "path": "/x"}]}, "weights[0].path", "not a path inside", "write it relative"),
        ({"weights": [{**WEIGHTS[0], "path": "a\\b"}]}, "weights[0].path", "not a path inside", "forward slashes"),
        ({"weights": [{**WEIGHTS[0], "path": "c:x"}]}, "weights[0].path", "not a path inside", "write it relative"),
        ({"weights": [{**WEIGHTS[0], "sha256": "AB"}]}, "weights[0].sha256", 'found the text "AB"', "64 lower-case"),
    ],
)
def test_a_wrong_value_is_said_with_what_is_wanted(overrides: dict, where: str, what: str, remedy: str) -> None:
    fault = only(**overrides)
    assert fault.where == f"configs/conversion.json: {where}"
    assert what in fault.what
    assert remedy in fault.remedy


def test_numbers_that_json_does_not_have_are_refused() -> None:
    found = faults(geometry={"pad_value": float("nan")}, mask={"outside": float("inf")})
    assert [fault.what for fault in found] == [
        "found nan, which JSON does not have",
        "found inf, which JSON does not have",
    ]


def test_long_values_are_shortened() -> None:
    assert len(only(fusion=list(range(1000))).what) < 100


def test_several_faults_of_one_section_are_all_said() -> None:
    found = faults(
        sampler={"kind": "slice", "size": [1, 1, 1], "outputs": 2, "context": 3, "axes": [0, 0], "overlap": 0.5}
    )
    assert len(found) == 5
    patch = faults(sampler={"kind": "patch", "context": 3, "outputs": 3, "axes": [1]})
    assert [fault.what.split("`")[1] for fault in patch] == ["size", "axes", "context", "outputs"]


# --- values with alternatives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", ["foregrond", [1, 2], [1, 2, "x"], 3, {}, [1, 2, 3, 4], [0, 1, 1]])
def test_a_value_with_alternatives_is_one_fault_in_plain_words(crop: Any) -> None:
    fault = only(geometry={"crop": crop})
    assert fault.where == "configs/conversion.json: geometry.crop"
    assert 'wanted: "foreground"' in fault.remedy.replace("Wanted", "wanted")
    assert "a list of 3 (each a whole number above 0 or null)" in fault.remedy


def test_alternatives_of_several_fields_stay_apart() -> None:
    found = faults(geometry={"crop": 1, "resize": {"mx": 3}, "pad_multiple": [1.5, 2, 3]})
    assert [fault.where[-12:] for fault in found] == ["eometry.crop", "metry.resize", "pad_multiple"]


def test_no_fault_shows_a_name_that_is_not_in_the_file() -> None:
    """pydantic writes `tuple[...]`, `literal[...]` and class names into its paths; a reader of the file knows none."""
    found = faults(
        geometry={"crop": "x", "resize": {"mx": 1}, "pad_multiple": [0]},
        ops=[{"op": "clip", "x": 1}, {"op": "resize", "size": [1]}, {"op": 1}],
        segmentation={"labels": [{"value": 0}], "postprocess": [{"op": "remove_small"}, {"op": "x"}]},
        targets={"X9": {}},
    )
    assert len(found) > 10
    for fault in found:
        path = fault.where.partition(": ")[2]
        assert re.fullmatch(r"[a-zA-Z0-9_]+(\[\d+\])?(\.[a-zA-Z0-9_]+(\[\d+\])*)*", path), path
        for name in ("tuple", "literal", "constrained", "nullable", "ResizeMax", "[key]", "ops[0].clip"):
            assert name not in str(fault), fault


def test_an_unknown_modality_among_the_targets_is_said_once() -> None:
    target = {"units": "HU", "background": 0, "window": 1, "level": 0}
    fault = only(targets={"t2": target})
    assert (fault.what, fault.remedy) == ("`t2` is not a modality", "did you mean `T2`?")


def test_an_entry_that_is_wrong_does_not_make_its_list_too_short() -> None:
    assert only(sources=[{"modality": 3}]).where == "configs/conversion.json: sources[0].modality"


# --- what is still known of a wrong declaration -----------------------------------------------------------------------


def test_valid_sections_are_known_beside_wrong_ones() -> None:
    spec, sections, _ = read_spec(spec_fields(weights=3, geometry={"pad_value": 7}, fusion="x", license=LEFT_OUT))
    assert spec is None
    assert sections["geometry"].pad_value == 7
    assert sections["sampler"].kind == "slice"
    assert {"weights", "fusion", "license"}.isdisjoint(sections)


@pytest.mark.parametrize("data", [None, 3, "x", [], [{}], True])
def test_a_declaration_that_is_no_object_is_one_fault(data: Any) -> None:
    spec, sections, found = read_spec(data)
    assert spec is None
    assert sections == {}
    assert [fault.where for fault in found] == ["configs/conversion.json"]


def test_a_text_that_no_utf_8_holds_is_a_fault() -> None:
    spec, sections, found = read_spec(spec_fields(weights=WEIGHTS, title="\ud800"))
    assert spec is None
    assert sections == {}
    assert found


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats() | st.sampled_from(["T1", "clip", "mean", "", "x"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["op", "low", "size", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
WHOLE = spec_fields(
    weights=WEIGHTS,
    geometry={"axcodes": "RAS", "spacing": [1, None, 1], "crop": [9, 9, 9], "resize": {"max": 9}, "pad_multiple": 4},
    mask={"use": "auto"},
    ops=[{"op": "n4", "iterations": [5]}, {"op": "clip", "low": 0}, {"op": "minmax", "to": [0, 1]}],
    inputs=[{"name": "a"}, {"name": "b", "role": "source_code", "order": ["T1"]}],
    sampler={"kind": "slab", "context": 5, "outputs": 3},
    output={"channel": 0, "ops": [{"op": "power", "exponent": 2}], "uncertainty": {"channel": 1, "kind": "scale"}},
    quality=[{"metric": "PSNR", "value": 1, "data": "x", "protocol": "y"}],
)


def places(node: Any, path: tuple = ()) -> list[tuple]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


@settings(max_examples=300)
@given(st.sampled_from(places(WHOLE)[1:]), st.one_of(st.just(LEFT_OUT), JSON_VALUES))
def test_whatever_stands_in_one_place_only_that_section_is_faulty(place: tuple, value: Any) -> None:
    """Never an exception, never a fault elsewhere, never a good section lost."""
    data = copy.deepcopy(WHOLE)
    parent = data
    for part in place[:-1]:
        parent = parent[part]
    if value is LEFT_OUT:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    spec, sections, found = read_spec(data)
    assert (spec is None) == bool(found)
    for fault in found:
        assert re.match(rf"configs/conversion\.json: {place[0]}\b", fault.where), fault
    assert set(read_spec(WHOLE)[1]) - set(sections) <= {place[0]}


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ('{"a": 1,}', "line 1", "remove the comma"),
        ('{"a": 1,\n}', "line ", "remove the comma"),
        ('{\n  "a" 1}', "line 2, column 7", "missing there or just before"),
        ('{"a": 1 "b": 2}', "line 1, column 9", "a comma"),
        ('{"a": 1', "line 1, column 8", "closing bracket"),
        ("// note\n{}", "line 1, column 1", "remove the comment"),
        ("{'a': 1}", "line 1, column 2", "double quotes"),
        ('{"a": tru}', "line 1, column 7", "correct the text"),
        ("", "line 1, column 1", "the file is empty"),
    ],
)
def test_wrong_json_is_located_and_explained(text: str, place: str, remedy: str) -> None:
    data, (fault,) = read_json(text, "configs/metadata.json")
    assert data is None
    assert fault.where == "configs/metadata.json"
    assert place in fault.what
    assert remedy in fault.remedy


def test_a_key_that_stands_twice_is_a_fault_and_the_rest_is_read() -> None:
    data, (fault,) = read_json('{"a": 1, "b": {"c": 1, "c": 2}}', "f")
    assert data == {"a": 1, "b": {"c": 2}}
    assert "`c` stands twice" in fault.what


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, "1" * 10_000])
def test_json_that_python_cannot_hold_is_a_fault(text: str) -> None:
    data, (fault,) = read_json(text, "f")
    assert data is None
    assert "not JSON that can be read" in fault.what
