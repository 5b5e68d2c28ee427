"""Running a model's network once, on random numbers and on the pair of input and output that came with it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .check_network import channel_faults, grid_size, shape_text
from .check_words import Fault, in_spec, sections_of
from .errors import ConversionError

if TYPE_CHECKING:
    from .backends import Tensor
    from .schema import ConversionSpec

GOLDEN_FILE = "tests/golden.npz"
FINDER_GOLDEN_FILE = "tests/golden_find.npz"
"""Of the stage that finds where to segment."""
_TOLERANCE = 1e-4
# Side of a tile where nothing says it: a multiple of what networks usually halve.
_SIDE = 64


def run_faults(folder: Path, spec: ConversionSpec, golden_file: str = GOLDEN_FILE) -> Iterator[Fault]:
    """Run every weight file on the CPU: on a tile of random numbers, and on the golden pair where there is one."""
    from .backends import open_backend

    golden = folder / golden_file
    outputs = []
    for number, entry in enumerate(spec.weights):
        try:
            backend = open_backend(folder / entry.path, entry.format, "cpu")
            yield from channel_faults(_run_one_tile(backend, spec), sections_of(spec))
            if golden.exists():
                outputs.append(backend.run(_golden_feeds(golden, backend.inputs)))
        except ConversionError as error:
            remedy = "correct the declaration, or export the network again"
            yield Fault(in_spec(("weights", number)), f"{entry.path} does not run: {str(error).rstrip('.')}", remedy)
        except _BadGolden as error:
            yield Fault(golden_file, str(error), _GOLDEN_REMEDY)
            return
    if outputs:
        yield from _golden_faults(golden, golden_file, outputs)


def _run_one_tile(backend: Any, spec: ConversionSpec) -> int:
    """Convert one tile of random numbers; returns how many channels came out. Raises ConversionError."""
    from . import ops
    from .backends import output_channels
    from .feeds import TilePreparation, build_feeds
    from .sampler import tilings

    shape = _grid_for_one_tile(backend.inputs, spec)
    random = np.random.default_rng(0)
    volumes = {modality: random.random(shape, dtype=np.float32) for modality in spec.modalities}
    mask = np.ones(shape, dtype=bool)
    target = next(iter(spec.targets), None)
    tiling = tilings(spec.sampler, shape)[0]
    preparation = TilePreparation(spec, tiling, (0.0, 1.0), target, tiling.pad(mask))
    starts = np.repeat(tiling.starts[:1], backend.fixed_batch or 1, axis=0)
    feeds = {
        feed.name: feed.batch(tiling, [tiling.pad(volume.array) for volume in feed.volumes], starts, preparation)
        for feed in build_feeds(spec, backend.inputs, volumes, mask, target)
    }
    raw = ops.resize_tile_back(backend.run(feeds), spec.ops, tiling.box_out)
    if not np.isfinite(raw).all():
        raise ConversionError("random numbers from 0 to 1 gave values that are not finite")
    return output_channels(raw.shape, tiling)


def _grid_for_one_tile(tensors: Sequence[Tensor], spec: ConversionSpec) -> tuple[int, int, int]:
    """A grid as small as the declaration and the graph allow."""
    multiple = spec.geometry.pad_multiple
    multiples = multiple if isinstance(multiple, tuple) else (multiple,) * 3
    shape = [n or -(-_SIDE // (m or 1)) * (m or 1) for n, m in zip(grid_size(spec.geometry), multiples, strict=True)]
    if spec.sampler.kind == "patch":
        assert spec.sampler.size is not None  # the schema requires it
        return spec.sampler.size
    axis = spec.sampler.axes[0]
    plane = [a for a in range(3) if a != axis]
    fixed = next((t.shape[2:] for t in tensors if t.shape is not None and len(t.shape) == 4), (None, None))
    if not any(op.op == "resize" for op in spec.ops):
        for a, size in zip(plane, fixed, strict=True):
            shape[a] = size or shape[a]
    shape[axis] = spec.sampler.context
    return shape[0], shape[1], shape[2]


class _BadGolden(Exception):
    """A golden pair that cannot be used."""


_GOLDEN_REMEDY = (
    "store what the network gets as `input` (or `input_NAME` for each of several) and what it gives as `output`, "
    "with numpy.savez"
)


def _golden(path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.ndarray):  # a single one, saved with numpy.save
            raise _BadGolden("the file is not an archive of named arrays")
        with arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise _BadGolden(f"the file cannot be read: {error}") from None


def _golden_feeds(path: Path, tensors: Sequence[Tensor]) -> dict[str, np.ndarray]:
    arrays = _golden(path)
    names = [tensor.name for tensor in tensors]
    if "input" in arrays and len(names) == 1:
        return {names[0]: arrays["input"]}
    missing = [f"`input_{name}`" for name in names if f"input_{name}" not in arrays]
    if missing:
        raise _BadGolden(f"there is no {', '.join(missing)}")
    return {name: arrays[f"input_{name}"] for name in names}


def _golden_faults(path: Path, name: str, outputs: Sequence[np.ndarray]) -> Iterator[Fault]:
    """Compare the mean over the weight files with the stored output."""
    wanted = _golden(path).get("output")
    got = np.mean(outputs, axis=0)
    if wanted is None:
        yield Fault(name, "there is no `output`", _GOLDEN_REMEDY)
    elif got.shape != wanted.shape:
        what = f"the network gives {shape_text(got.shape)}, the stored output is {shape_text(wanted.shape)}"
        yield Fault(name, what, "store the output of this network")
    elif not np.allclose(got, wanted, rtol=_TOLERANCE, atol=_TOLERANCE):
        worst = float(np.abs(got - wanted).max())
        what = f"the network's output differs from the stored one by up to {worst:.3g}; allowed is {_TOLERANCE:g}"
        yield Fault(name, what, "use the weights that the pair was made with, or store a new pair")
