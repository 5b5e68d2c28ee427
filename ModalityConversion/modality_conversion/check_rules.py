"""What must hold between the sections of a `conversion.json`.

A rule is a function of the sections it names as parameters; it is asked only where all of them are valid, so that a
fault in one section hides nothing in the others. It yields `(path, what is wrong, what to do)`, and the severity where
that is not error.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .check_words import Fault, in_spec
from .tissues import tissue_names

Found = Iterator[tuple[Any, ...]]
_RULES: list[Callable[..., Found]] = []
_INPUT_ONLY = ("n4", "border_zero", "resize")
_INTEGER_RANGES = {
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
}


def rule_faults(sections: Mapping[str, Any]) -> list[Fault]:
    """The faults between the sections given, by name; sections that are not valid themselves are left out of it."""
    faults = []
    for rule in _RULES:
        wanted = inspect.signature(rule).parameters
        if all(name in sections for name in wanted):
            for path, *rest in rule(**{name: sections[name] for name in wanted}):
                faults.append(Fault(in_spec(path), *rest))
    return faults


def rule(function: Callable[..., Found]) -> Callable[..., Found]:
    """Add a rule to those that are asked."""
    _RULES.append(function)
    return function


# --- who it is and what it turns into what ----------------------------------------------------------------------------


@rule
def _each_weight_file_once(weights: Any) -> Found:
    for path, count in Counter(entry.path for entry in weights).items():
        if count > 1:
            yield (
                ("weights",),
                f"{path} is listed {count} times",
                "list each file once; an ensemble has different files",
            )


@rule
def _known_licence(license: Any) -> Found:
    if license.upper() in ("NOASSERTION", "NONE", "UNKNOWN", "OTHER"):
        remedy = "write the licence of the weights as an SPDX name, such as CC-BY-4.0"
        yield ("license",), f"`{license}` tells nobody what they may do with the model", remedy, "warning"


@rule
def _something_comes_out(targets: Any, segmentation: Any) -> Found:
    if not targets and segmentation is None:
        remedy = "declare a target modality, or a `segmentation` for a model that only segments"
        yield ("targets",), "nothing comes out of this model", remedy


@rule
def _no_image_comes_out(targets: Any, output: Any) -> Found:
    if not targets and (output.ops or output.channel or output.uncertainty is not None):
        remedy = "remove it, or declare a target; `segmentation` names its own channels"
        yield ("output",), "no image comes out of this model, so it has no effect", remedy, "warning"


@rule
def _values_fit_the_type(targets: Any) -> Found:
    for modality, target in targets.items():
        low, high = _INTEGER_RANGES.get(target.dtype, (None, None))
        if low is not None and not low <= target.background <= high:
            what = f"the background {target.background:g} does not fit into {target.dtype}, {low} to {high}"
            yield ("targets", modality.value, "background"), what, "use dtype float32 or int16, or another background"


@rule
def _outside_fits_the_type(targets: Any, mask: Any) -> Found:
    for modality, target in targets.items():
        low, high = _INTEGER_RANGES.get(target.dtype, (None, None))
        if low is not None and mask.outside is not None and not low <= mask.outside <= high:
            what = f"{mask.outside:g} does not fit into {target.dtype}, the type of {modality.value}, {low} to {high}"
            yield ("mask", "outside"), what, f"use another value, or another dtype in `targets.{modality.value}`"


@rule
def _label_values_differ(segmentation: Any) -> Found:
    values = Counter(label.value for label in segmentation.labels) if segmentation else Counter()
    for value, count in values.items():
        if count > 1:
            yield ("segmentation", "labels"), f"{count} labels have the value {value}", "give each its own value"


@rule
def _each_label_has_its_channel(segmentation: Any, targets: Any) -> Found:
    if segmentation is None:
        return
    declared = [label.channel for label in segmentation.labels if label.channel is not None]
    if targets and not declared:
        what = "the model converts too, but the labels do not say which output channels are theirs"
        yield ("segmentation", "labels"), what, "give every label its `channel`"
        return
    if declared and len(declared) < len(segmentation.labels):
        what = f"{len(declared)} of {len(segmentation.labels)} labels name their `channel`"
        yield ("segmentation", "labels"), what, "name it for all of them, or for none"
        return
    used = Counter(segmentation.channels)
    for channel, count in used.items():
        if count > 1:
            yield ("segmentation", "labels"), f"{count} labels have the channel {channel}", "give each its own channel"
    if segmentation.background is not None and used[segmentation.background]:
        what = f"channel {segmentation.background} is the background's, but a label has it"
        yield ("segmentation", "background_channel"), what, "correct `background_channel`, or the label's `channel`"


@rule
def _images_and_labels_have_their_own_channels(segmentation: Any, targets: Any, output: Any) -> Found:
    if segmentation is None or not targets:
        return
    taken = {output.channel: "the image"}
    if output.uncertainty is not None and output.uncertainty.channel is not None:
        taken[output.uncertainty.channel] = "the uncertainty"
    declared = [label.channel for label in segmentation.labels]
    for number, channel in enumerate(declared):
        if channel in taken:
            what = f"channel {channel} is {taken[channel]}, by `output`"
            yield ("segmentation", "labels", number, "channel"), what, "correct the one or the other"
    if segmentation.background in taken:
        what = f"channel {segmentation.background} is {taken[segmentation.background]}, by `output`"
        yield ("segmentation", "background_channel"), what, "name the channel of the background"


@rule
def _background_of_softmax(segmentation: Any) -> Found:
    if segmentation is not None and segmentation.activation != "softmax" and segmentation.background_channel:
        what = f"`{segmentation.activation}` has no channel for the background"
        remedy = "remove `background_channel`, or use softmax"
        yield ("segmentation", "background_channel"), what, remedy, "warning"


# --- the grid and the mask --------------------------------------------------------------------------------------------


@rule
def _padding_pads(geometry: Any, mask: Any) -> Found:
    pads = geometry.pad_to is not None or geometry.pad_multiple is not None or mask.apply_to_input
    if geometry.pad_value != 0 and not pads:
        remedy = "give `pad_to` or `pad_multiple`, or remove `pad_value`"
        yield ("geometry", "pad_value"), "nothing is padded, so the value has no effect", remedy, "warning"


@rule
def _sizes_agree(geometry: Any) -> Found:
    if not isinstance(geometry.resize, tuple) or geometry.pad_to is None:
        return
    for axis, (size, pad) in enumerate(zip(geometry.resize, geometry.pad_to, strict=True)):
        if size and pad and size > pad:
            what = f"axis {axis} has {size} voxels after `resize`, so it is never padded to {pad}"
            yield ("geometry", "pad_to"), what, f"make it {size} or more, or null for that axis", "warning"


@rule
def _a_mask_to_use(mask: Any) -> Found:
    if mask.use != "none":
        return
    if mask.outside is not None:
        yield ("mask", "outside"), "there is no mask, so the value has no effect", _MASK_REMEDY, "warning"
    if mask.apply_to_input:
        yield ("mask", "apply_to_input"), "there is no mask to apply", _MASK_REMEDY, "warning"


_MASK_REMEDY = "set `mask.use` to auto, required or optional, or remove this"


@rule
def _skipping_by_a_mask_needs_one(sampler: Any, mask: Any) -> Found:
    if sampler.skip_empty == "mask" and mask.use == "none":
        remedy = "set `mask.use` to auto, required or optional, or `skip_empty` to background"
        yield ("sampler", "skip_empty"), "tiles are skipped by the mask, but `mask.use` is none", remedy


@rule
def _mask_inputs_need_a_mask(inputs: Any, mask: Any) -> Found:
    for number, entry in enumerate(inputs):
        if entry.role == "mask" and mask.use == "none":
            remedy = "set `mask.use` to auto, required or optional"
            yield ("inputs", number, "role"), "the network is fed a mask, but `mask.use` is none", remedy


# --- the input gate ---------------------------------------------------------------------------------------------------


@rule
def _gate_suits_the_sources(gate: Any, sources: Any) -> Found:
    if gate is None:
        return
    if gate.anatomy == "head":
        for number, source in enumerate(sources):
            if source.anatomy not in ("head", "brain", "any"):
                what = f"made for the {source.anatomy}, but the gate lets only heads in"
                yield ("sources", number, "anatomy"), what, "set `gate.anatomy` to any, or correct the anatomy"
    elif gate.orientation == "upright":
        what = "only a head can be told to be upright, and `gate.anatomy` is any"
        yield ("gate", "orientation"), what, "set `gate.anatomy` to head, or remove it", "warning"
    strangers = [source.modality.value for source in sources if source.modality == "PET"]
    if strangers and (gate.mismatch.warn is not None or gate.mismatch.refuse is not None):
        what = "the recogniser does not know PET, so a scan given as one is not compared with it"
        yield ("gate", "mismatch"), what, "nothing, if the other sources are enough", "warning"


# --- operations -------------------------------------------------------------------------------------------------------


@rule
def _input_scopes(ops: Any, mask: Any) -> Found:
    yield from _scopes(("ops",), ops, mask)


@rule
def _output_scopes(output: Any, mask: Any) -> Found:
    yield from _scopes(("output", "ops"), output.ops, mask)


def _scopes(path: tuple[str, ...], ops: Any, mask: Any) -> Found:
    for number, op in enumerate(ops):
        if getattr(op, "scope", None) == "mask" and mask.use == "none":
            remedy = "set `mask.use` to auto, required or optional, or `scope` to all or foreground"
            yield (*path, number, "scope"), "the scope is the mask, but `mask.use` is none", remedy


@rule
def _input_ops(ops: Any) -> Found:
    for number, op in enumerate(ops):
        if op.op == "scale_to_input":
            remedy = "move it to `output.ops`; to scale the input use `minmax` or `linear`"
            yield ("ops", number, "op"), "`scale_to_input` belongs after the network", remedy
    if sum(op.op == "resize" for op in ops) > 1:
        yield ("ops",), "`resize` stands here more than once", "keep the last one; only that is undone"
    yield from _order(("ops",), ops, ("native", "grid", "tile"))


@rule
def _operations_are_for_scans_that_come(ops: Any, sources: Any) -> Found:
    accepted = [source.modality for source in sources]
    yield from _strangers(("ops",), ops, accepted, "sources")


@rule
def _operations_are_for_targets_that_come(output: Any, targets: Any) -> Found:
    yield from _strangers(("output", "ops"), output.ops, list(targets), "targets")


def _strangers(path: tuple[str, ...], ops: Any, known: list, section: str) -> Found:
    for number, op in enumerate(ops):
        for modality in getattr(op, "modalities", None) or ():
            if modality not in known:
                remedy = f"add it there, or take it out of `modalities`: {', '.join(m.value for m in known)}"
                yield (*path, number, "modalities"), f"{modality.value} is not among the `{section}`", remedy


@rule
def _output_ops(output: Any) -> Found:
    for number, op in enumerate(output.ops):
        if op.op in _INPUT_ONLY:
            yield (
                ("output", "ops", number, "op"),
                f"`{op.op}` belongs before the network",
                "move it to `ops`, or remove it",
            )
    yield from _order(("output", "ops"), output.ops, ("tile", "grid", "native"))


def _order(path: tuple[str, ...], ops: Any, stages: tuple[str, ...]) -> Found:
    listed = [stages.index(op.stage) for op in ops]
    for number in range(1, len(listed)):
        if listed[number] < listed[number - 1]:
            what = f"listed after stage {ops[number - 1].stage}, but stage {ops[number].stage} is done before it"
            remedy = f"list the operations in the order {', '.join(stages)}, or change the stage"
            yield (*path, number, "stage"), what, remedy, "warning"
            return


@rule
def _resize_fits_the_tile(ops: Any, sampler: Any) -> Found:
    wanted = 3 if sampler.kind == "patch" else 2
    for number, op in enumerate(ops):
        if op.op == "resize" and len(op.size) != wanted:
            what = f"{len(op.size)} numbers, but a {sampler.kind} has {wanted} axes to resize"
            yield ("ops", number, "size"), what, f"write {wanted} numbers of voxels"


# --- the network ------------------------------------------------------------------------------------------------------


@rule
def _an_image_goes_in(inputs: Any) -> Found:
    images = [entry for entry in inputs if entry.role == "image"]
    if not images:
        yield ("inputs",), "no input has the role image", "give the input that takes the scan the role image"
    counts = Counter(entry.modality for entry in images)
    for modality, count in counts.items():
        if modality is not None and count > 1:
            what = f"{count} image inputs take the {modality.value}"
            yield ("inputs",), what, "give each image input its own `modality`"
    if len(images) > 1 and counts[None]:
        what = "of several image inputs, one does not say which scan it takes"
        yield ("inputs",), what, "give every image input its `modality`"


@rule
def _image_inputs_match_the_sources(inputs: Any, sources: Any) -> Found:
    accepted = {source.modality for source in sources}
    fed = {entry.modality for entry in inputs if entry.role == "image"}
    for number, entry in enumerate(inputs):
        if entry.role == "image" and entry.modality is not None and entry.modality not in accepted:
            remedy = f"add {entry.modality.value} to `sources`, or correct the modality"
            yield ("inputs", number, "modality"), f"{entry.modality.value} is not among the sources", remedy
    for number, source in enumerate(sources):
        if fed and None not in fed and source.modality not in fed:
            what = f"{source.modality.value} is accepted, but no image input takes it"
            yield ("sources", number), what, "add an image input with that modality, or remove the source"


@rule
def _code_of_the_source(inputs: Any, sources: Any) -> Found:
    for number, entry in enumerate(inputs):
        if entry.role == "source_code":
            missing = {source.modality for source in sources} - set(entry.order or ())
            yield from _missing_codes(number, missing, "source")


@rule
def _code_of_the_target(inputs: Any, targets: Any) -> Found:
    coded = [entry for entry in inputs if entry.role == "target_code"]
    if len(targets) > 1 and not coded:
        what = f"{len(targets)} targets, but no input tells the network which one is wanted"
        yield ("targets",), what, "add an input with the role target_code, or make one bundle for each target"
    for number, entry in enumerate(inputs):
        if entry.role == "target_code":
            yield from _missing_codes(number, set(targets) - set(entry.order or ()), "target")


def _missing_codes(number: int, missing: set, kind: str) -> Found:
    if missing:
        names = ", ".join(sorted(modality.value for modality in missing))
        yield ("inputs", number, "order"), f"no code for the {kind} {names}", f"add it to `order`, or remove the {kind}"


@rule
def _names_of_inputs(inputs: Any) -> Found:
    for name in dict.fromkeys(entry.name for entry in inputs if entry.name is not None):
        joined = [entry for entry in inputs if entry.name == name]
        if len(joined) == 1:
            continue
        if any(entry.role not in ("image", "mask") for entry in joined):
            what = f"several entries share the name `{name}`, and not all are images or masks"
            yield (
                ("inputs",),
                what,
                "only images and masks are joined along the channels; give the others their own name",
            )
        if len({entry.dtype for entry in joined}) > 1:
            yield (
                ("inputs",),
                f"the entries named `{name}` have different types",
                "give them one dtype; they are joined",
            )


@rule
def _keys_without_effect(inputs: Any) -> Found:
    for number, entry in enumerate(inputs):
        for key, default, roles in (
            ("order", None, ("source_code", "target_code")),
            ("value", None, ("constant",)),
            ("shape", None, ("source_code", "target_code", "constant")),
            ("missing", "error", ("image",)),
        ):
            if getattr(entry, key) != default and entry.role not in roles:
                what = f"`{key}` has no effect for the role {entry.role}"
                yield ("inputs", number, key), what, f"remove it, or make the role {' or '.join(roles)}", "warning"
        if entry.role == "image" and entry.missing == "zeros" and entry.modality is None:
            remedy = "name the `modality` that may be missing, or remove `missing`"
            yield ("inputs", number, "missing"), "the one scan given cannot be missing", remedy, "warning"


@rule
def _all_scans_may_not_be_missing(inputs: Any) -> Found:
    images = [entry for entry in inputs if entry.role == "image" and entry.modality is not None]
    if len(images) == 1 and images[0].missing == "zeros":
        yield ("inputs",), "the only scan may be missing", "set `missing` to error", "warning"


# --- tiles and how they are put together ------------------------------------------------------------------------------


@rule
def _skipped_tiles_are_background(sampler: Any, mask: Any, targets: Any, output: Any) -> Found:
    backgrounds = [target.background for target in targets.values()]
    if sampler.skip_empty and mask.use == "none" and any(backgrounds) and not output.ops:
        what = f"skipped tiles come out as 0, but the background is {backgrounds[0]:g}"
        remedy = "let output.ops bring 0 to the background, or use a mask, or leave `skip_empty` out"
        yield ("sampler", "skip_empty"), what, remedy, "warning"


@rule
def _padding_is_air(sources: Any, geometry: Any, mask: Any, ops: Any) -> Found:
    # Operations of stage `native` come before any padding, so what they scaled is no longer in HU.
    scaled = [op for op in ops if op.stage == "native" and op.op in ("linear", "minmax", "zscore", "power", "exp")]
    in_hu = {
        source.modality
        for source in sources
        if source.modality in ("CT", "CBCT")
        and not any(op.modalities is None or source.modality in op.modalities for op in scaled)
    }
    pads = geometry.pad_to is not None or geometry.pad_multiple is not None or mask.apply_to_input
    if in_hu and pads and geometry.pad_value == 0:
        what = "a CT is padded, or blanked outside the mask, with 0 HU, which is water"
        yield ("geometry", "pad_value"), what, "give the value of air, such as -1000 or -1024", "warning"


@rule
def _fusion_fuses(fusion: Any, sampler: Any) -> Found:
    if fusion == "median" and sampler.kind == "patch":
        yield ("fusion",), "the median is one of planes, and patches have none", "use mean or gaussian"
    elif fusion == "median" and len(sampler.axes) == 1:
        remedy = "name several `sampler.axes`, or use mean; the files of an ensemble are always averaged"
        yield ("fusion",), "the median of a single plane is that plane", remedy, "warning"
    if fusion == "gaussian" and not sampler.overlap:
        remedy = "give `sampler.overlap`, such as 0.25, or use mean"
        yield ("fusion",), "nothing overlaps, so there is nothing to weight", remedy, "warning"


@rule
def _overlap_overlaps(sampler: Any) -> Found:
    if sampler.kind == "slab" and sampler.overlap and sampler.outputs == 1:
        what = "slabs with a single slice out cannot overlap"
        yield ("sampler", "overlap"), what, "remove it, or let the network give several slices", "warning"


@rule
def _channels_differ(output: Any) -> Found:
    if output.uncertainty is not None and output.uncertainty.channel == output.channel:
        what = f"channel {output.channel} is the image and its uncertainty"
        yield ("output", "uncertainty", "channel"), what, "give the number of the channel that holds the uncertainty"


@rule
def _a_spread_needs_several(output: Any, weights: Any, test_time: Any) -> Found:
    if output.uncertainty is not None and output.uncertainty.kind == "spread" and len(weights) == 1 and not test_time:
        what = "a single weight file without variants disagrees with nobody"
        yield ("output", "uncertainty", "kind"), what, "list several `weights`, declare `test_time`, or remove it"


# --- calibrated intervals ---------------------------------------------------------------------------------------------


@rule
def _intervals_need_a_spread(calibration: Any, output: Any) -> Found:
    if calibration is not None and output.uncertainty is None:
        remedy = "declare the network's `output.uncertainty`, or remove `calibration`"
        yield ("calibration",), "an interval is a multiple of the standard deviation, but the model gives none", remedy


@rule
def _factors_are_of_this_model(calibration: Any, sources: Any, targets: Any) -> Found:
    taken = {source.modality for source in sources}
    for number, entry in enumerate(calibration.factors if calibration else ()):
        place = ("calibration", "factors", number)
        if entry.target not in targets:
            made = ", ".join(targets) or "no image"
            yield (
                (*place, "target"),
                f"the model does not make {entry.target.value}; it makes {made}",
                "remove the entry",
            )
        if entry.source is not None and entry.source not in taken:
            what = f"the model does not take {entry.source.value}; it takes {', '.join(m.value for m in taken)}"
            yield (*place, "source"), what, "remove the entry"
        fitting = tissue_names(entry.target)
        if entry.tissue not in fitting:
            what = f"`{entry.tissue}` is not told apart on {entry.target.value}"
            yield (*place, "tissue"), what, f"use one of {', '.join(fitting)}"


@rule
def _one_factor_each(calibration: Any) -> Found:
    factors = calibration.factors if calibration else ()
    for (source, target, tissue), count in Counter((f.source, f.target, f.tissue) for f in factors).items():
        if count > 1:
            said = f"{source.value if source else 'any source'} to {target.value}, {tissue}"
            yield ("calibration", "factors"), f"{count} entries are for {said}", "leave one of them"


@rule
def _no_tissue_without_a_factor(calibration: Any, targets: Any) -> Found:
    factors = [factor for factor in calibration.factors if factor.target in targets] if calibration else []
    for source, target in dict.fromkeys((f.source, f.target) for f in factors):
        there = {f.tissue for f in factors if f.target == target and f.source in (None, source)}
        missing = [name for name in tissue_names(target) if name not in there]
        if missing:
            said = f"{source.value if source else 'any source'} to {target.value} has none for {', '.join(missing)}"
            remedy = "calibrate on cases that have it; the widest of the others is used there"
            yield ("calibration", "factors"), said, remedy, "warning"
