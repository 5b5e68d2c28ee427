"""What must hold between the sections of a declaration, each rule with what breaks it and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from bundles import spec_fields
from modality_conversion.check_rules import rule_faults
from modality_conversion.check_words import Fault, read_spec

WEIGHTS = {"path": "models/model.onnx", "format": "onnx", "sha256": "0" * 64, "size": 1}
CT = {"units": "HU", "background": -1024, "window": 400, "level": 40}
MR = {"units": "arbitrary", "background": 0, "window": 1, "level": 0}
PATCH = {"kind": "patch", "size": [32, 32, 32]}
LABEL = {
    "value": 1,
    "name": "Tumor",
    "terminology": {
        "category": {"scheme": "SCT", "value": "49755003", "meaning": "Morphologically abnormal structure"},
        "type": {"scheme": "SCT", "value": "108369006", "meaning": "Neoplasm"},
    },
}
SEGMENTATION = {"labels": [LABEL]}


SPREAD = {"uncertainty": {"channel": 1, "kind": "scale"}}
CT_WITH_SPREAD = {"targets": {"CT": CT}, "output": SPREAD}


BONE = {"target": "CT", "tissue": "bone", "factor": 2.0, "cases": 3}


def interval(*more: dict[str, Any]) -> dict[str, Any]:
    """A calibration for CT that is right, and further factors: that for bone, changed."""
    right = [{**BONE, "tissue": tissue} for tissue in ("air", "soft_tissue", "bone")]
    return {"coverage": 0.9, "data": "three heads", "factors": [*right, *({**BONE, **one} for one in more)]}


def faults(**overrides: Any) -> list[Fault]:
    _, sections, _ = read_spec(spec_fields(**{"weights": [WEIGHTS], **overrides}))
    return rule_faults(sections)


@pytest.mark.parametrize(
    ("overrides", "where", "severity"),
    [
        # the mask
        ({"sampler": {"skip_empty": "mask"}}, "sampler.skip_empty", "error"),
        ({"ops": [{"op": "minmax", "scope": "mask"}]}, "ops[0].scope", "error"),
        ({"output": {"ops": [{"op": "zscore", "scope": "mask"}]}}, "output.ops[0].scope", "error"),
        ({"inputs": [{"name": "a"}, {"name": "b", "role": "mask"}]}, "inputs[1].role", "error"),
        ({"mask": {"outside": 3}}, "mask.outside", "warning"),
        ({"mask": {"apply_to_input": True}}, "mask.apply_to_input", "warning"),
        # how tiles are put together
        ({"fusion": "median", "sampler": PATCH}, "fusion", "error"),
        ({"fusion": "median"}, "fusion", "warning"),
        (
            {"fusion": "median", "weights": [WEIGHTS, {**WEIGHTS, "path": "models/two.onnx"}]},
            "fusion",
            "warning",
        ),
        ({"sampler": {"skip_empty": "background"}, "targets": {"CT": CT}}, "sampler.skip_empty", "warning"),
        (
            {"sources": [{"modality": "CT"}], "geometry": {"pad_multiple": 16}},
            "geometry.pad_value",
            "warning",
        ),
        ({"fusion": "gaussian", "sampler": PATCH}, "fusion", "warning"),
        ({"sampler": {"kind": "slab", "context": 3, "overlap": 0.5}}, "sampler.overlap", "warning"),
        # operations
        ({"output": {"ops": [{"op": "n4"}]}}, "output.ops[0].op", "error"),
        ({"output": {"ops": [{"op": "border_zero"}]}}, "output.ops[0].op", "error"),
        ({"output": {"ops": [{"op": "resize", "size": [8, 8]}]}}, "output.ops[0].op", "error"),
        ({"ops": [{"op": "scale_to_input", "use": "max"}]}, "ops[0].op", "error"),
        ({"ops": [{"op": "resize", "size": [8, 8, 8]}]}, "ops[0].size", "error"),
        ({"ops": [{"op": "resize", "size": [8, 8]}], "sampler": PATCH}, "ops[0].size", "error"),
        ({"ops": [{"op": "resize", "size": [8, 8]}, {"op": "resize", "size": [9, 9]}]}, "ops", "error"),
        ({"ops": [{"op": "minmax"}, {"op": "n4"}]}, "ops[1].stage", "warning"),
        ({"ops": [{"op": "minmax", "modalities": ["T1", "CT"]}]}, "ops[0].modalities", "error"),
        ({"output": {"ops": [{"op": "exp", "modalities": ["T1"]}]}}, "output.ops[0].modalities", "error"),
        ({"ops": [{"op": "exp", "stage": "tile"}, {"op": "exp"}]}, "ops[1].stage", "warning"),
        ({"output": {"ops": [{"op": "exp"}, {"op": "exp", "stage": "tile"}]}}, "output.ops[1].stage", "warning"),
        # intervals
        ({"calibration": interval(), "targets": {"CT": CT}}, "calibration", "error"),
        (
            {"calibration": interval({"target": "T2", "tissue": "dark_deep"}), **CT_WITH_SPREAD},
            "calibration.factors[3].target",
            "error",
        ),
        ({"calibration": interval({"source": "PD"}), **CT_WITH_SPREAD}, "calibration.factors[3].source", "error"),
        (
            {"calibration": interval({"tissue": "dark_deep"}), **CT_WITH_SPREAD},
            "calibration.factors[3].tissue",
            "error",
        ),
        ({"calibration": interval({}), **CT_WITH_SPREAD}, "calibration.factors", "error"),
        ({"calibration": {**interval(), "factors": [BONE]}, **CT_WITH_SPREAD}, "calibration.factors", "warning"),
        # what goes in
        ({"inputs": [{"role": "constant", "value": 1}]}, "inputs", "error"),
        ({"inputs": [{"name": "a", "modality": "T1"}, {"name": "b", "modality": "T1"}]}, "inputs", "error"),
        ({"inputs": [{"name": "a"}, {"name": "b", "modality": "T1"}]}, "inputs", "error"),
        ({"inputs": [{"name": "a", "modality": "T1"}, {"name": "b", "modality": "CT"}]}, "inputs[1].modality", "error"),
        ({"inputs": [{"name": "x"}, {"name": "x", "role": "constant", "value": 0}]}, "inputs", "error"),
        ({"inputs": [{"order": ["T1"]}]}, "inputs[0].order", "warning"),
        ({"inputs": [{"value": 1}]}, "inputs[0].value", "warning"),
        ({"inputs": [{"shape": [1]}]}, "inputs[0].shape", "warning"),
        ({"inputs": [{"missing": "zeros"}]}, "inputs[0].missing", "warning"),
        ({"inputs": [{"modality": "T1", "missing": "zeros"}]}, "inputs", "warning"),
        ({"inputs": [{}, {"role": "source_code", "order": ["CT"]}]}, "inputs[1].order", "error"),
        ({"inputs": [{}, {"role": "target_code", "order": ["CT"]}]}, "inputs[1].order", "error"),
        # what comes out
        ({"targets": {"T2": MR, "CT": CT}}, "targets", "error"),
        ({"targets": {}}, "targets", "error"),
        ({"segmentation": {"labels": [LABEL], "background_channel": 1}}, "segmentation.labels", "error"),
        ({"segmentation": {"labels": [{**LABEL, "channel": 1}]}}, "segmentation.background_channel", "error"),
        (
            {"segmentation": {"labels": [{**LABEL, "channel": 0}], "activation": "sigmoid"}},
            "segmentation.labels[0].channel",
            "error",
        ),
        (
            {
                "segmentation": {"labels": [{**LABEL, "channel": 1}], "activation": "none"},
                "output": {"uncertainty": {"channel": 1, "kind": "scale"}},
            },
            "segmentation.labels[0].channel",
            "error",
        ),
        (
            {"targets": {}, "segmentation": {"labels": [{**LABEL, "channel": 1}, {**LABEL, "value": 2}]}},
            "segmentation.labels",
            "error",
        ),
        (
            {
                "targets": {},
                "segmentation": {"labels": [{**LABEL, "channel": 1}, {**LABEL, "value": 2, "channel": 1}]},
            },
            "segmentation.labels",
            "error",
        ),
        (
            {"targets": {}, "segmentation": {"labels": [LABEL], "background_channel": 1}},
            "segmentation.background_channel",
            "error",
        ),
        (
            {"targets": {}, "segmentation": {"labels": [LABEL], "activation": "sigmoid", "background_channel": 1}},
            "segmentation.background_channel",
            "warning",
        ),
        ({"targets": {}, "segmentation": SEGMENTATION, "output": {"channel": 1}}, "output", "warning"),
        ({"targets": {}, "segmentation": SEGMENTATION, "output": {"ops": [{"op": "exp"}]}}, "output", "warning"),
        ({"targets": {}, "segmentation": {"labels": [LABEL, LABEL]}}, "segmentation.labels", "error"),
        (
            {"output": {"channel": 1, "uncertainty": {"channel": 1, "kind": "scale"}}},
            "output.uncertainty.channel",
            "error",
        ),
        ({"targets": {"CT": {**CT, "dtype": "uint8"}}}, "targets.CT.background", "error"),
        (
            {"targets": {"CT": {**CT, "background": 0, "dtype": "uint16"}}, "mask": {"use": "auto", "outside": -1}},
            "mask.outside",
            "error",
        ),
        # the grid
        ({"geometry": {"pad_value": -1000}}, "geometry.pad_value", "warning"),
        ({"geometry": {"resize": [9, 9, 9], "pad_to": [8, None, 9]}}, "geometry.pad_to", "warning"),
        # who it is
        ({"weights": [WEIGHTS, WEIGHTS]}, "weights", "error"),
        ({"license": "NOASSERTION"}, "license", "warning"),
    ],
)
def test_sections_that_contradict_each_other_are_one_fault(overrides: dict, where: str, severity: str) -> None:
    (fault,) = faults(**overrides)
    assert fault.where == f"configs/conversion.json: {where}"
    assert fault.severity == severity
    assert fault.what
    assert fault.remedy


@pytest.mark.parametrize(
    "overrides",
    [
        {"sampler": {"skip_empty": "mask"}, "mask": {"use": "optional"}},
        {"sampler": {"skip_empty": "background"}},
        {"ops": [{"op": "minmax", "scope": "mask"}], "mask": {"use": "required"}},
        {"inputs": [{"name": "x"}, {"name": "x", "role": "mask"}], "mask": {"use": "auto", "apply_to_input": True}},
        {"fusion": "median", "sampler": {"axes": [0, 1, 2]}},
        {"sampler": {"skip_empty": "background"}, "targets": {"T2": MR}},
        {"sources": [{"modality": "CT"}], "geometry": {"pad_multiple": 16, "pad_value": -1024}},
        {
            "sources": [{"modality": "CT"}, {"modality": "T1"}],
            "geometry": {"pad_multiple": 16},
            "ops": [{"op": "linear", "stage": "native", "scale": 0.001, "offset": 1, "modalities": ["CT"]}],
        },
        {"fusion": "gaussian", "sampler": {**PATCH, "overlap": 0.5}},
        {"ops": [{"op": "resize", "size": [8, 8, 8]}], "sampler": PATCH},
        {"ops": [{"op": "n4"}, {"op": "clip", "stage": "native", "low": 0}, {"op": "minmax"}, {"op": "border_zero"}]},
        {"output": {"ops": [{"op": "minmax", "stage": "tile"}, {"op": "scale_to_input", "use": "max"}]}},
        {"output": {"channel": 1, "uncertainty": {"channel": 0, "kind": "scale"}}},
        {
            "sources": [{"modality": "T1"}, {"modality": "T2"}],
            "inputs": [{"name": "x", "modality": "T1"}, {"name": "x", "modality": "T2", "missing": "zeros"}],
        },
        {
            "targets": {"T2": MR, "CT": CT},
            "inputs": [{}, {"role": "target_code", "order": ["T2", "CT", "PD"]}],
        },
        {"targets": {}, "segmentation": SEGMENTATION},
        {"segmentation": {"labels": [{**LABEL, "channel": 1}], "activation": "sigmoid"}},
        {"segmentation": {"labels": [{**LABEL, "channel": 1}], "background_channel": 2}},
        {"targets": {}, "segmentation": {"labels": [{**LABEL, "channel": 0}], "background_channel": 1}},
        {"targets": {"CT": {**CT, "dtype": "int16"}}, "mask": {"use": "auto", "outside": -1024}},
        {"geometry": {"pad_value": -1000, "pad_to": [9, 9, 9], "resize": [9, None, 8]}},
        {"geometry": {"pad_value": -1000, "pad_multiple": 8}},
        {"geometry": {"pad_value": -1000}, "mask": {"use": "auto", "apply_to_input": True}},
        {"sampler": {"kind": "slab", "context": 9, "outputs": 5, "overlap": 0.2}},
    ],
)
def test_sections_that_agree_are_no_fault(overrides: dict) -> None:
    assert faults(**overrides) == []


def test_an_unused_source_is_a_fault() -> None:
    (fault,) = faults(sources=[{"modality": "T1"}, {"modality": "PD"}], inputs=[{"modality": "T1"}])
    assert fault.where == "configs/conversion.json: sources[1]"
    assert "no image input takes it" in fault.what


def test_joined_inputs_of_different_types_are_a_fault() -> None:
    sources = [{"modality": "T1"}, {"modality": "T2"}]
    inputs = [{"name": "x", "modality": "T1"}, {"name": "x", "modality": "T2", "dtype": "float16"}]
    (fault,) = faults(sources=sources, inputs=inputs)
    assert "different types" in fault.what


def test_a_fault_in_one_section_does_not_hide_a_contradiction_of_others() -> None:
    (fault,) = faults(sampler={"skip_empty": "mask"}, geometry={"spacing": 3}, license=3, ops=[{"op": "x"}])
    assert fault.where == "configs/conversion.json: sampler.skip_empty"


def test_a_rule_is_not_asked_about_a_section_that_is_wrong_itself() -> None:
    assert faults(sampler={"skip_empty": "mask", "context": 2}, fusion="median", targets={"T2": {}}) == []
