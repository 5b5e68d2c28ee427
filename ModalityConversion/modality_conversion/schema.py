"""The declared conversion: every field of `configs/conversion.json`, its type, its default and what it means.

This file is the format. The JSON Schema in `docs/`, the messages of `models check` and the field reference in
`docs/model-format.md` are made from it. Triples and axis numbers are in the order of the array that the network sees,
after `geometry.axcodes` and `geometry.array_order`.

It is the one file that needs pydantic; everything else imports it where a bundle is read, not at start-up.
"""

from __future__ import annotations

from math import prod
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from .modality import Modality

Interpolation = Literal["linear", "area", "nearest", "bspline"]
Scope = Literal["all", "mask", "foreground"]
Stage = Literal["native", "grid", "tile"]
TissueName = Literal[
    "air",
    "soft_tissue",
    "bone",
    "dark_deep",
    "middle_deep",
    "bright_deep",
    "dark_outer",
    "middle_outer",
    "bright_outer",
]
# None in a triple leaves that axis as it is.
SizeTriple = tuple[Optional[PositiveInt], Optional[PositiveInt], Optional[PositiveInt]]
SpacingTriple = tuple[Optional[PositiveFloat], Optional[PositiveFloat], Optional[PositiveFloat]]


Flip = Annotated[tuple[Literal[0, 1, 2], ...], Field(min_length=1)]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are read strictly, an instance cannot change.

    A validator's message is "what is wrong; what to do", one line for each fault: `models check` takes it apart there.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def _raise(faults: list[str]) -> None:
    if faults:
        raise ValueError("\n".join(faults))


# --- who it is, what goes in, what comes out -------------------------------------------------------------------------


class Weights(Section):
    """One file of weights. Several files are an ensemble; their outputs are averaged."""

    path: Annotated[str, Field(examples=["models/model.onnx"])]
    """Path inside the bundle, with forward slashes, such as `models/model.onnx`."""
    format: Literal["onnx", "torchscript"]
    """How the file is run."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=["0" * 64])]
    """SHA-256 of the file, 64 lower-case hexadecimal digits; checked before the file is loaded."""
    size: PositiveInt = Field(examples=[26214400])
    """Size of the file in bytes; checked first, since a short file is the common fault."""
    url: Optional[str] = None
    """Where the file came from, for the reader; nothing is downloaded from here."""

    @field_validator("path")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if "\\" in value or ":" in value or path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(
                "not a path inside the bundle; write it relative, with forward slashes, such as models/model.onnx"
            )
        return value


class Source(Section):
    """A kind of scan the model accepts. Several entries are alternatives."""

    modality: Modality
    """The modality."""
    anatomy: str = "any"
    """The part of the body it was made for, such as `head`; shown to the user."""
    value_range: Optional[tuple[float, float]] = None
    """Lowest and highest expected value. A scan with more than 1 % of its voxels outside is refused."""

    @field_validator("value_range")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError("the first number is not the smaller one; write [lowest, highest]")
        return value


class Target(Section):
    """What comes out for one target modality."""

    units: Literal["HU", "SUV", "arbitrary"]
    """Units of the output values."""
    background: Annotated[float, Field(examples=[-1024])]
    """The value where there is nothing: outside a crop, and outside the mask unless `mask.outside` says otherwise."""
    window: PositiveFloat = Field(examples=[400])
    """Width of the display window, in output units."""
    level: Annotated[float, Field(examples=[40])]
    """Centre of the display window, in output units."""
    dtype: Literal["float32", "float64", "uint8", "int16", "uint16", "int32"] = "float32"
    """Voxel type of the output; integer types are rounded and clipped to the type's range."""
    caution: str | None = Field(
        None, max_length=200, examples=["Simulated training data, not validated against real CT."]
    )
    """A sentence that goes with every output of this target: into its report, its header, its node and the panel."""


# --- the grid the network sees ----------------------------------------------------------------------------------------


class ResizeMax(Section):
    """Shrink every longer axis to `max` voxels."""

    max: PositiveInt = Field(examples=[256])
    """Longest allowed side, in voxels."""


class Geometry(Section):
    """From the stored grid to the network's, in this order. Every step is undone on the way back."""

    axcodes: Optional[Annotated[str, Field(pattern=r"^[LRPAIS]{3}$", examples=["RAS"])]] = None
    """Orientation, as MONAI's letters: `RAS`: i runs to the right, j to anterior, k to superior. null: as stored."""
    array_order: Literal["ijk", "kji"] = "kji"
    """Axis order of the array: `kji` as Slicer and numpy views of ITK images, `ijk` as MONAI."""
    spacing: Optional[SpacingTriple] = None
    """Voxel size in mm. null, or null for an axis: native."""
    crop: Optional[Union[Literal["foreground"], SizeTriple]] = None
    """`foreground`: the box around the foreground. A size: centre crop; an axis that is smaller is left."""
    resize: Optional[Union[ResizeMax, SizeTriple]] = None
    """`{"max": n}`: each axis longer than n becomes n. A size: exactly that many voxels."""
    pad_to: Optional[SizeTriple] = None
    """Pad to this size, floor(half) before and the rest after; an axis that is larger is left."""
    pad_value: Union[float, Literal["background"]] = 0.0
    """Value of the padding. `background`: the 2nd percentile of the scan, its air, also where that is negative."""
    pad_multiple: Optional[Union[PositiveInt, SizeTriple]] = None
    """Pad each axis up to a multiple of this."""
    interpolation: Interpolation = "linear"
    """How `spacing` and `resize` interpolate, there and back. `area` goes back linearly."""

    @field_validator("axcodes")
    @classmethod
    def _one_letter_an_axis(cls, value: str | None) -> str | None:
        families = [{"L": 0, "R": 0, "P": 1, "A": 1, "I": 2, "S": 2}[letter] for letter in value or ""]
        if value is not None and sorted(families) != [0, 1, 2]:
            raise ValueError("an axis is named twice; take one letter of each pair L/R, P/A and I/S, such as RAS")
        return value


class Mask(Section):
    """Where the conversion applies."""

    use: Literal["none", "optional", "required", "auto"] = "none"
    """`none`: no mask. `optional`: used when given. `required`: refused without. `auto`: by `method` when not given."""
    method: Literal["head-otsu"] = "head-otsu"
    """How `auto` makes the mask. `head-otsu`: Otsu's threshold, closed, holes filled, the largest part."""
    outside: Optional[float] = None
    """Value of the output outside the mask. null: the target's `background`."""
    apply_to_input: bool = False
    """Set the source to `geometry.pad_value` outside the mask before the network sees it."""


# --- operations on values ---------------------------------------------------------------------------------------------


class Operation(Section):
    """Base of the operations."""

    modalities: Optional[Annotated[tuple[Modality, ...], Field(min_length=1, examples=[["CT"]])]] = None
    """In `ops` the scans, in `output.ops` the targets, that the operation is for; others it leaves alone. null: all."""


class N4(Operation):
    """N4 bias field correction (Tustison 2010), inside the mask where there is one."""

    op: Literal["n4"]
    """Name of the operation."""
    stage: Literal["native"] = "native"
    """When: on the stored grid, before anything else."""
    shrink: PositiveInt = 2
    """Shrink factor for the estimate; the correction is applied at full resolution."""
    iterations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (50, 40, 30)
    """Iterations at each fitting level."""
    convergence: PositiveFloat = 0.001
    """Convergence threshold."""


class Clip(Operation):
    """Limit values to low..high; null leaves that side open."""

    op: Literal["clip"]
    """Name of the operation."""
    stage: Stage = "grid"
    """When: on the stored grid (`native`), the whole grid the network sees (`grid`) or each tile (`tile`)."""
    low: Optional[float] = None
    """Lowest value. null: no limit."""
    high: Optional[float] = None
    """Highest value. null: no limit."""

    @model_validator(mode="after")
    def _ordered(self) -> Clip:
        if self.low is None and self.high is None:
            raise ValueError("neither `low` nor `high` is given; give one of them or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("`low` is above `high`; exchange them")
        return self


class ClipPercentile(Operation):
    """Limit values to their own percentiles (linear interpolation between ranks) over `scope`."""

    op: Literal["clip_percentile"]
    """Name of the operation."""
    stage: Stage = "grid"
    """When: on the stored grid (`native`), the whole grid the network sees (`grid`) or each tile (`tile`)."""
    low: float = Field(0.5, ge=0, le=100)
    """Lower percentile."""
    high: float = Field(99.5, ge=0, le=100)
    """Upper percentile."""
    scope: Scope = "all"
    """Where the values are taken from: `all` of the array at that stage, the `mask`, or the `foreground`."""

    @model_validator(mode="after")
    def _ordered(self) -> ClipPercentile:
        if self.low >= self.high:
            raise ValueError("`low` is not below `high`; write the lower percentile as `low`")
        return self


class MinMax(Operation):
    """Map the smallest and largest value of `scope` onto `to`. A constant region becomes zeros."""

    op: Literal["minmax"]
    """Name of the operation."""
    stage: Stage = "grid"
    """When: on the stored grid (`native`), the whole grid the network sees (`grid`) or each tile (`tile`)."""
    scope: Scope = "all"
    """Where the values are taken from: `all` of the array at that stage, the `mask`, or the `foreground`."""
    to: tuple[float, float] = (0.0, 1.0)
    """What the smallest and the largest value become."""


class ZScore(Operation):
    """Subtract the mean and divide by the standard deviation of `scope`. A constant region becomes zeros."""

    op: Literal["zscore"]
    """Name of the operation."""
    stage: Stage = "grid"
    """When: on the stored grid (`native`), the whole grid the network sees (`grid`) or each tile (`tile`)."""
    scope: Scope = "all"
    """Where the values are taken from: `all` of the array at that stage, the `mask`, or the `foreground`."""


class Linear(Operation):
    """x * scale + offset."""

    op: Literal["linear"]
    """Name of the operation."""
    stage: Stage = "grid"
    """When: on the stored grid (`native`), the whole grid the network sees (`grid`) or each tile (`tile`)."""
    scale: float = 1.0
    """Factor."""
    offset: float = 0.0
    """What is added after."""


class Power(Operation):
    """sign(x) * |x| ** exponent."""

    op: Literal["power"]
    """Name of the operation."""
    stage: Stage = "grid"
    """When: on the stored grid (`native`), the whole grid the network sees (`grid`) or each tile (`tile`)."""
    exponent: PositiveFloat = Field(examples=[2])
    """The power."""


class Exp(Operation):
    """e ** (exponent * x)."""

    op: Literal["exp"]
    """Name of the operation."""
    stage: Stage = "grid"
    """When: on the stored grid (`native`), the whole grid the network sees (`grid`) or each tile (`tile`)."""
    exponent: float = 1.0
    """Factor of x in the exponent."""


class BorderZero(Operation):
    """Set the outermost voxels of each tile, in plane, to 0."""

    op: Literal["border_zero"]
    """Name of the operation."""
    stage: Literal["tile"] = "tile"
    """When: on each tile."""
    width: PositiveInt = 1
    """How many voxels from each edge."""


class Resize(Section):
    """Resize each tile, of every scan; undone right after the network, before the output operations."""

    op: Literal["resize"]
    """Name of the operation."""
    stage: Literal["tile"] = "tile"
    """When: on each tile."""
    size: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=3, examples=[[224, 192]])]
    """Two numbers for slices and slabs, three for patches."""
    interpolation: Interpolation = "linear"
    """How, there and back. `area` goes back linearly."""


class ScaleToInput(Operation):
    """Back into the range of the whole source volume as read. `max`: x * max. `range`: x * (max - min) + min."""

    op: Literal["scale_to_input"]
    """Name of the operation."""
    stage: Stage = "grid"
    """When: on the stored grid (`native`), the whole grid the network sees (`grid`) or each tile (`tile`)."""
    use: Literal["max", "range"]
    """`max`: times the largest value. `range`: from 0..1 to smallest..largest value."""


Op = Annotated[
    Union[N4, Clip, ClipPercentile, MinMax, ZScore, Linear, Power, Exp, BorderZero, Resize, ScaleToInput],
    Field(discriminator="op"),
]


# --- the network ------------------------------------------------------------------------------------------------------


class Input(Section):
    """One input of the network. Entries that share a name are joined along the channel axis, in order."""

    name: Optional[str] = None
    """The input's name in the graph. null: by position."""
    role: Literal["image", "mask", "source_code", "target_code", "constant"] = "image"
    """What is fed. A code is one-hot, shape (batch, len(order)); of several sources, each has a one."""
    modality: Optional[Modality] = None
    """For joint inputs: which scan goes here. null: the one source given."""
    missing: Literal["error", "zeros"] = "error"
    """What happens when that scan is not given."""
    order: Optional[tuple[Modality, ...]] = None
    """Modalities in the order of the one-hot code."""
    value: Optional[float] = None
    """Value of a constant."""
    shape: Optional[tuple[PositiveInt, ...]] = None
    """Shape of a constant, fed as it stands, or of a code for one tile, without the batch axis.

    null: a constant is a single value without axes, a code has the shape (len(order),).
    """
    dtype: Literal["float32", "float16", "float64", "int32", "int64"] = "float32"
    """Type the network wants."""

    @model_validator(mode="after")
    def _complete(self) -> Input:
        faults = []
        is_code = self.role in ("source_code", "target_code")
        if is_code and not self.order:
            faults.append(f"role {self.role} has no `order`; list the modalities in the order of the one-hot code")
        if self.order and len(set(self.order)) != len(self.order):
            faults.append("`order` names a modality twice; every position of the code stands for one modality")
        if is_code and self.order and self.shape and prod(self.shape) != len(self.order):
            faults.append(f"`shape` holds {prod(self.shape)} numbers, the code {len(self.order)}; make them equal")
        if self.role == "constant" and self.value is None:
            faults.append("role constant has no `value`; write the number the network wants")
        if self.role not in ("image", "mask") and self.modality is not None:
            faults.append(f"role {self.role} takes no `modality`; remove it: only images have one")
        _raise(faults)
        return self


class Sampler(Section):
    """How the volume is cut into tiles."""

    kind: Literal["slice", "slab", "patch"] = "slice"
    """`slice`: one slice out. `slab`: several slices out. `patch`: boxes."""
    axes: Annotated[tuple[Literal[0, 1, 2], ...], Field(min_length=1)] = (0,)
    """Axes to slice along; each is converted, then fused. Not for patches."""
    context: PositiveInt = 1
    """Slices in, centred on the slices out; they are the network's channels."""
    outputs: PositiveInt = 1
    """Slices out."""
    size: Optional[tuple[PositiveInt, PositiveInt, PositiveInt]] = None
    """Size of a patch."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Overlap of neighbouring patches, or of the slices out of neighbouring slabs, as a fraction."""
    batch: PositiveInt = 8
    """Tiles a call. A fixed batch in the graph wins."""
    skip_empty: Optional[Literal["mask", "background"]] = None
    """Leave out tiles without a voxel of the mask, or of the foreground; the network's output there is 0."""
    edge: Literal["repeat", "zero"] = "repeat"
    """What stands beyond the volume's ends: the last slice again, or 0."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Sampler:
        faults = []
        if self.kind == "patch":
            if self.size is None:
                faults.append("kind patch has no `size`; write three numbers of voxels, such as [96, 96, 96]")
            for name, default in (("axes", (0,)), ("context", 1), ("outputs", 1)):
                if getattr(self, name) != default:
                    faults.append(f"`{name}` means nothing for patches; remove it, or use kind slice or slab")
            _raise(faults)
            return self
        if self.size is not None:
            faults.append("`size` belongs to patches; remove it: slices and slabs take the whole plane")
        if len(set(self.axes)) != len(self.axes):
            faults.append("`axes` names an axis twice; name each once")
        if self.kind == "slice" and self.outputs != 1:
            faults.append("kind slice has one slice out; use kind slab for several")
        if self.kind == "slice" and self.overlap:
            faults.append("single slices cannot overlap; use kind slab or patch, or remove `overlap`")
        if self.outputs > self.context or (self.context - self.outputs) % 2:
            faults.append(
                f"{self.outputs} slices out cannot be in the middle of {self.context} slices in; "
                "make `context` equal to `outputs` plus an even number"
            )
        _raise(faults)
        return self


class Uncertainty(Section):
    """What says how sure the model is."""

    channel: Optional[Annotated[int, Field(ge=0)]] = None
    """Channel number; null with `spread`."""
    kind: Literal["log_variance", "scale", "spread"]
    """`log_variance`: ln of the variance. `scale`: the standard deviation itself. `spread`: no channel says it; how far the
    weight files, and the variants of `test_time`, disagree. With the others that is added to what the channel says."""

    @model_validator(mode="after")
    def _channel_fits_kind(self) -> Uncertainty:
        if self.kind == "spread" and self.channel is not None:
            _raise(["kind spread has no channel; remove `channel`, or use kind log_variance or scale"])
        if self.kind != "spread" and self.channel is None:
            _raise([f"kind {self.kind} names no `channel`; give its number, counted from 0"])
        return self


class Variants(Section):
    """Variants of the scans that are converted too; their results are brought back and averaged."""

    flips: Annotated[tuple[Flip, ...], Field(min_length=1, examples=[[[2]]])]
    """One variant for each entry: the scans mirrored along these axes of the array that the network sees. Beside them the
    scans are always converted as they are."""

    @model_validator(mode="after")
    def _each_variant_once(self) -> Variants:
        faults = []
        for axes in self.flips:
            if len(set(axes)) != len(axes):
                faults.append(f"the flip {list(axes)} names an axis twice; name each once")
        if len({frozenset(axes) for axes in self.flips}) != len(self.flips):
            faults.append("`flips` has a variant twice; list each once")
        _raise(faults)
        return self


class Output(Section):
    """From the network's output to target units."""

    channel: Annotated[int, Field(ge=0)] = 0
    """Channel that holds the image."""
    ops: tuple[Op, ...] = ()
    """Operations in order: those of stage `tile` first, then `grid`, then `native`."""
    uncertainty: Optional[Uncertainty] = None
    """null: the model does not say."""


# --- segmentation and what later versions read ------------------------------------------------------------------------


class Code(Section):
    """A coded term."""

    scheme: Annotated[str, Field(examples=["SCT"])]
    """Coding scheme, such as `SCT`."""
    value: Annotated[str, Field(examples=["108369006"])]
    """Code value."""
    meaning: Annotated[str, Field(examples=["Neoplasm"])]
    """Code meaning, in words."""


class Terminology(Section):
    """What a label is, for a segmentation node and DICOM SEG."""

    category: Code
    """Coded category, such as SCT 49755003, morphologically abnormal structure."""
    type: Code
    """Coded type, such as SCT 108369006, neoplasm."""


class Label(Section):
    """One label of a segmentation."""

    value: Annotated[int, Field(ge=1, le=65535)]
    """Value in the label map."""
    name: Annotated[str, Field(examples=["Tumor"])]
    """Name to show."""
    terminology: Terminology
    """Coded meaning."""
    channel: Optional[Annotated[int, Field(ge=0)]] = None
    """Output channel of this label. null: by its place, the first label after the background's channel 0 or, where there is
    none, in channel 0. All labels name theirs, or none does; a model that converts too must name them."""


class RemoveSmall(Section):
    """Remove connected parts of each label below a volume; they become background."""

    op: Literal["remove_small"]
    """Name of the step."""
    volume_ml: PositiveFloat
    """Smallest volume kept, in mL."""
    together: bool = False
    """Of all labels together, as of a tumor whose parts touch each other, not of each label for itself."""


class LargestComponent(Section):
    """Keep the largest connected part of each label; the others become background."""

    op: Literal["largest_component"]
    """Name of the step."""
    together: bool = False
    """Of all labels together, not of each for itself."""


class FillHoles(Section):
    """Fill holes of each label, in 3D, where they are background; a label inside another one stays."""

    op: Literal["fill_holes"]
    """Name of the step."""


class Crf(Section):
    """Move borders to edges of the scans, and smooth them elsewhere: the mean field of a fully connected conditional random
    field (Krähenbühl and Koltun 2011). It looks at the probabilities and at the scans as the network saw them, so it stands
    first; with `sigmoid` and `none` each label has a field of its own.
    """

    op: Literal["crf"]
    """Name of the step."""
    iterations: Annotated[int, Field(ge=1, le=50)] = 5
    """Steps of the mean field."""
    smooth_weight: Annotated[float, Field(ge=0)] = 0.5
    """How strongly neighbours want the same label, whatever they look like."""
    smooth_mm: PositiveFloat = 2.0
    """Deviation of the Gaussian that says how near a neighbour is to them."""
    edge_weight: Annotated[float, Field(ge=0)] = 1.0
    """How strongly places that look alike want the same label."""
    edge_mm: PositiveFloat = 5.0
    """Deviation of the Gaussian in space that says how near these are."""
    edge_range: PositiveFloat = 0.1
    """Deviation of the Gaussian in value that says how alike they look, in the network's input range."""


class Find(Section):
    """A coarse look that finds where there is anything to segment. The model's own network then runs there alone, and its
    labels are kept there alone; where nothing is found, there are no labels. What is left out here is as for the model itself.
    """

    weights: Annotated[tuple[Weights, ...], Field(min_length=1)]
    """The weight files of the network that finds."""
    geometry: Geometry
    """Its grid; `spacing` is needed, three numbers, and there is no `resize`."""
    ops: Optional[tuple[Op, ...]] = None
    """Operations into its range. null: those of the model."""
    inputs: Optional[Annotated[tuple[Input, ...], Field(min_length=1)]] = None
    """Its inputs. null: those of the model."""
    sampler: Sampler
    """How it is cut."""
    fusion: Literal["mean", "median", "gaussian"] = "mean"
    """How planes and overlaps are put together."""
    activation: Literal["none", "sigmoid"] = "sigmoid"
    """`none`: the network gives a probability itself."""
    channel: Annotated[int, Field(ge=0)] = 0
    """Output channel that says where there is something."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability from which there is."""
    smallest_ml: Annotated[float, Field(ge=0)] = 0.0
    """A connected part below this volume, in mL, counts for nothing."""
    margin_mm: Annotated[float, Field(ge=0)] = 10.0
    """How far around what was found is segmented."""

    @model_validator(mode="after")
    def _known_spacing(self) -> Find:
        spacing, faults = self.geometry.spacing, []
        if spacing is None or None in spacing:
            faults.append("`geometry.spacing` of the finder is not given; write three numbers in mm, such as [3, 3, 3]")
        if self.geometry.resize is not None:
            faults.append("`geometry.resize` would change the finder's spacing; remove it and say the `spacing` alone")
        _raise(faults)
        return self


class Segmentation(Section):
    """For models that segment."""

    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    """Labels; the background has none."""
    activation: Literal["none", "sigmoid", "softmax"] = "softmax"
    """`softmax`: labels exclude each other, the most probable of them and the background wins. `sigmoid`, `none` (the
    network gives probabilities): a label is where it is above 0.5; of several there, the one listed last."""
    background_channel: Annotated[int, Field(ge=0)] = 0
    """Output channel of the background, for `softmax`; `sigmoid` and `none` have none."""
    postprocess: tuple[
        Annotated[Union[RemoveSmall, LargestComponent, FillHoles, Crf], Field(discriminator="op")], ...
    ] = ()
    """Clean-up on the scan's own grid, in order, but for `crf`, which comes first, on the network's grid. Voxels are connected
    by faces, edges and corners."""
    find: Optional[Find] = None
    """null: the network runs everywhere."""
    check_lesions: bool = True
    """Whether the lesion check outlines lesions with this model unasked. false: only where it is named, since it misses much or
    knows one disease alone."""

    @model_validator(mode="after")
    def _field_first(self) -> Segmentation:
        if any(step.op == "crf" for step in self.postprocess[1:]):
            _raise(["`crf` does not stand first in `postprocess`, or stands there twice; put one first"])
        return self

    @property
    def crf(self) -> Crf | None:
        """The conditional random field, or None."""
        first = self.postprocess[0] if self.postprocess else None
        return first if isinstance(first, Crf) else None

    @property
    def background(self) -> int | None:
        """The background's channel, or None where it has none."""
        return self.background_channel if self.activation == "softmax" else None

    @property
    def channels(self) -> tuple[int, ...]:
        """Each label's channel: those declared, else by their order."""
        first = 0 if self.background is None else 1
        return tuple(
            number if label.channel is None else label.channel for number, label in enumerate(self.labels, first)
        )


# --- the input gate ---------------------------------------------------------------------------------------------------


class Limits(Section):
    """From where on a scan is warned of, and from where on it is refused. null: never."""

    warn: Optional[Annotated[float, Field(ge=0, le=1)]] = None
    """The conversion is done, and the report says what is unusual."""
    refuse: Optional[Annotated[float, Field(ge=0, le=1)]] = None
    """The conversion is done only with `--force`, and the result is marked so."""

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        if self.warn is not None and self.refuse is not None and self.warn > self.refuse:
            raise ValueError("`warn` is above `refuse`; what is refused needs no warning: make it the smaller one")
        return self


class SpacingLimits(Section):
    """Smallest and largest voxel side, of any axis, in mm, beyond which a scan is warned of or refused. null: never."""

    warn: Optional[tuple[PositiveFloat, PositiveFloat]] = Field(None, examples=[[0.4, 5.0]])
    """Usual voxel sides."""
    refuse: Optional[tuple[PositiveFloat, PositiveFloat]] = Field(None, examples=[[0.2, 8.0]])
    """Voxel sides that the model can do anything with."""

    @model_validator(mode="after")
    def _ordered(self) -> SpacingLimits:
        faults = []
        for name in ("warn", "refuse"):
            sides = getattr(self, name)
            if sides is not None and sides[0] >= sides[1]:
                faults.append(f"the first number of `{name}` is not the smaller one; write [smallest, largest]")
        if self.warn and self.refuse and not faults:
            low, high = self.refuse
            if self.warn[0] < low or self.warn[1] > high:
                faults.append("`warn` reaches beyond `refuse`; what is refused needs no warning")
        _raise(faults)
        return self


class Gate(Section):
    """What a scan must be for this model. The recogniser looks at each scan before a conversion."""

    mismatch: Limits = Limits(warn=0.7, refuse=0.95)
    """By the probability that a scan is not of the modality it is given as."""
    anatomy: Literal["any", "head"] = "any"
    """`head`: what is probably no head is warned of, what is surely none is refused."""
    skull: Annotated[tuple[Literal["whole", "defaced", "stripped"], ...], Field(min_length=1)] = (
        "whole",
        "defaced",
        "stripped",
    )
    """What of the heads that it was trained on was left. A whole head where only `stripped` is listed, or a stripped one
    where it is not, is refused; a face, or none, that it was not trained on is warned of."""
    orientation: Literal["any", "upright"] = "any"
    """`upright`: a head whose top or face surely points elsewhere than its header says is refused."""
    coverage: Limits = Limits()
    """By the share of the brain outside the field of view."""
    spacing: SpacingLimits = SpacingLimits()
    """By the voxel sides."""
    unusual: Limits = Limits()
    """By how unusual a scan looks: the share of the recogniser's held-out scans that lay nearer to those it knows. 1 is
    further than all of them, by a quarter and more."""
    trained_on: str = Field("", examples=["Defaced heads of adults with multiple sclerosis."])
    """What the user should know of the scans it was trained on, in a sentence or two; stands in every report."""


class IntervalFactor(Section):
    """How wide the interval is in one tissue of one conversion."""

    source: Optional[Modality] = None
    """Converted from. null: any source without an entry of its own."""
    target: Modality
    """Converted to."""
    tissue: TissueName = Field(examples=["bone"])
    """Where, as told from the synthetic scan itself. CT and CBCT have `air`, `soft_tissue`, `bone`; other targets have
    `dark`, `middle`, `bright`, each `deep` in the head or `outer`; see `tissues.py`."""
    factor: PositiveFloat = Field(examples=[1.8])
    """The interval reaches this many standard deviations to either side."""
    floor: Annotated[float, Field(ge=0)] = 0.0
    """Smallest standard deviation that is believed, in target units."""
    cases: PositiveInt = Field(examples=[24])
    """How many held-out cases the factor was taken from."""
    measured: Optional[Annotated[float, Field(ge=0, le=1, examples=[0.9])]] = None
    """Share of voxels whose truth lay within the interval, on cases that the factor was not taken from. null: not
    measured."""


class Calibration(Section):
    """Intervals that hold the truth as often as they say: split conformal prediction (Angelopoulos and Bates 2023)."""

    coverage: Annotated[float, Field(gt=0, lt=1, examples=[0.9])]
    """Share of voxels whose true value the interval is to hold."""
    factors: Annotated[tuple[IntervalFactor, ...], Field(min_length=1)]
    """One for each source, target and tissue."""
    data: Annotated[str, Field(min_length=1, examples=["simulated heads, 24 cases of 2 label maps"])]
    """On what it was calibrated; the coverage is promised for the like of it alone."""


class Quality(Section):
    """One measured figure."""

    metric: Annotated[str, Field(examples=["PSNR"])]
    """Name of the metric, such as `PSNR`, `SSIM`, `MAE`."""
    value: Annotated[float, Field(examples=[27.5])]
    """The figure."""
    unit: str = ""
    """Its unit, such as `dB`; empty where it has none."""
    source: Optional[Modality] = None
    """Converted from. null: any source."""
    target: Optional[Modality] = None
    """Converted to. null: any target."""
    region: str = "mask"
    """Where it was measured."""
    data: Annotated[str, Field(examples=["BraTS, 20 cases"])]
    """On what it was measured, and how many cases."""
    protocol: Annotated[str, Field(examples=["percentile-scaled volumes, PSNR in the mask"])]
    """By which definition."""


class ConversionSpec(Section):
    """The whole of `configs/conversion.json`."""

    schema_version: Literal["1.0"]
    """Version of this format."""
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", examples=["t1-to-ct-three-plane"])]
    """Name of the model and of its folder: lower-case letters, digits, `.`, `_`, `-`."""
    title: Annotated[str, Field(min_length=1, examples=["T1 to CT, three planes"])]
    """Name to show."""
    version: Annotated[str, Field(min_length=1, examples=["1.0.0"])]
    """Version of the model."""
    license: Annotated[str, Field(min_length=1, examples=["CC-BY-4.0"])]
    """Licence of the weights, as an SPDX name."""
    citation: Annotated[str, Field(examples=["Doe et al., 2026, doi:10.1000/example"])]
    """How to cite it."""
    intended_use: Annotated[str, Field(examples=["research"])]
    """What it may be used for, such as `research`."""
    weights: Annotated[tuple[Weights, ...], Field(min_length=1)]
    """The weight files."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    """What it accepts, alternatives; anything else is refused."""
    targets: dict[Modality, Target]
    """What comes out, by modality; `{}` for a model that only segments."""
    geometry: Geometry = Geometry()
    """The grid the network sees. Default: native, as stored."""
    mask: Mask = Mask()
    """Where it applies. Default: everywhere."""
    ops: tuple[Op, ...] = ()
    """Operations into the network's range: those of stage `native` first, then `grid`, then `tile`."""
    inputs: Annotated[tuple[Input, ...], Field(min_length=1)] = (Input(),)
    """The network's inputs. Default: one image."""
    sampler: Sampler = Sampler()
    """How it is cut. Default: slices along axis 0."""
    fusion: Literal["mean", "median", "gaussian"] = "mean"
    """How planes and overlaps are put together. `median`: of the planes. `gaussian`: overlaps weighted as in MONAI."""
    test_time: Optional[Variants] = None
    """Variants that are averaged. null: the scans as they are, once."""
    output: Output = Output()
    """Back into target units. Default: channel 0 as it is."""
    segmentation: Optional[Segmentation] = None
    """For models that segment."""
    gate: Optional[Gate] = None
    """What a scan must be; see `convert` in docs/command-line.md. null: no gate."""
    calibration: Optional[Calibration] = None
    """Calibrated intervals, from held-out data. null: the standard deviation is all that is known."""
    quality: tuple[Quality, ...] = ()
    """Measured figures."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Source modalities, in the order declared."""
        return tuple(dict.fromkeys(source.modality for source in self.sources))

    @property
    def finder(self) -> ConversionSpec | None:
        """What `segmentation.find` declares, as a model of its own with one label; None where there is no such stage."""
        found = None if self.segmentation is None else self.segmentation.find
        if self.segmentation is None or found is None:
            return None
        label = Label(value=1, name="Found", terminology=self.segmentation.labels[0].terminology, channel=found.channel)
        return self.model_copy(
            update={
                "weights": found.weights,
                "targets": {},
                "geometry": found.geometry,
                "ops": self.ops if found.ops is None else found.ops,
                "inputs": self.inputs if found.inputs is None else found.inputs,
                "sampler": found.sampler,
                "fusion": found.fusion,
                "output": Output(),
                "segmentation": Segmentation(labels=(label,), activation=found.activation),
                "calibration": None,
            }
        )


def json_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of `conversion.json`, the same from every supported pydantic."""
    schema = _plain(ConversionSpec.model_json_schema())
    schema["properties"]["targets"]["propertyNames"] = {"$ref": "#/$defs/Modality"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ModalityConversion conversion.json 1.0",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _plain(node: Any) -> Any:
    """Without what some versions of pydantic write and others do not, and what means nothing."""
    if isinstance(node, list):
        return [_plain(child) for child in node]
    if not isinstance(node, dict):
        return node
    node = {key: _plain(child) for key, child in node.items()}
    if len(node.get("allOf", ())) == 1:
        node = {**node.pop("allOf")[0], **node}
    if "const" in node:
        node.pop("enum", None)
    if node.get("additionalProperties") is True:
        del node["additionalProperties"]
    for bound in {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} & set(node):
        node[bound] = int(node[bound]) if float(node[bound]).is_integer() else node[bound]
    return node
