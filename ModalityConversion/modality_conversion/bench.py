"""How fast a model converts here: the whole conversion beside the bare network, as ratios from one run."""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .backends import Backend, open_backend
from .backends.address import is_server
from .backends.remote import RemoteBackend
from .bundle import Bundle
from .convert import convert
from .ensemble import Opener
from .errors import ConversionError
from .image_io import write_image
from .modality import Modality
from .phantom import head_phantom
from .schema import ConversionSpec
from .sources import why_unfit


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Figures of one model on one machine; seconds are medians of runs taken in turns, so that drift hits all alike."""

    model: str
    direction: str
    """Scans given, and target, as T1->T2."""
    size: tuple[int, int, int]
    device: str
    repeats: int
    pipeline_s: float
    """A whole conversion in memory: checks, loading the weights, preparation, network, way back."""
    network_s: float
    """Only the network, fed with the very arrays that the conversion feeds it."""
    overhead: float
    """pipeline_s / network_s."""
    slice_loop_s: float
    """The same conversion with one call for every slice, or patch, as a plain script would do."""
    slice_loop_ratio: float
    """slice_loop_s / pipeline_s."""
    slice_loop_difference: float
    """Largest difference of the two results, in target units; not 0 for slabs, of which the loop has more to blend."""
    batch_difference: float
    """Largest difference between batch 1 and the declared batch, in target units."""
    end_to_end_s: float
    """The command line as a user runs it: start Python, read, convert, write a NIfTI file."""
    peak_mib: float | None
    """Peak memory of that process; None where the system does not tell."""
    server_compute_s: float | None = None
    """What the server says it spent in the network, for one volume. None elsewhere, or where it does not say."""
    server_overhead_s: float | None = None
    """What the same run took beyond that: packing, sending, waiting."""
    local_difference: float | None = None
    """Of a server: largest difference to this machine's CPU, in target units."""


def benchmark(
    bundle: Bundle,
    size: tuple[int, int, int] = (192, 224, 160),
    device: str = "cpu",
    repeats: int = 3,
    *,
    source: Modality | None = None,
    target: Modality | None = None,
) -> Benchmark:
    """Measure a model on a phantom of `size` voxels (i, j, k) of 1 mm, which stands for each scan that the model needs.

    `source`, `target`: of a model of many directions, which one; by default the first. Raises ConversionError when the model
    only segments, or does not make that.
    """
    spec = bundle.spec
    if not spec.targets:
        raise ConversionError(f"{spec.id} only segments; `bench` measures conversions.")
    source = source or next((one for one in spec.modalities if one != target), spec.modalities[0])
    target = target or next((one for one in spec.targets if one != source), next(iter(spec.targets)))
    image = head_phantom(size)
    images = {source: image, **{needed: image for needed in _needed(spec) if needed != source}}
    if reason := why_unfit(spec, list(images), target):
        raise ConversionError(reason)

    def run(model: Bundle, opener: Opener = open_backend, place: str = device) -> np.ndarray:
        result = convert(images, model, target=target, device=place, uncertainty=False, opener=opener)
        return sitk.GetArrayFromImage(result.image).astype(np.float64)

    recorder = _Recorder()
    batched = run(bundle, recorder.open)  # also pays for lazy imports and first-time memory
    single, each_slice = _with_sampler(bundle, batch=1), _one_call_a_slice(bundle)
    seconds: dict[str, list[float]] = {"pipeline": [], "network": [], "slice_loop": []}
    for _ in range(repeats):
        seconds["pipeline"].append(_timed(lambda: run(bundle)))
        seconds["network"].append(_timed(recorder.replay))
        seconds["slice_loop"].append(_timed(lambda: run(each_slice)))
    pipeline, network, slice_loop = (statistics.median(seconds[name]) for name in ("pipeline", "network", "slice_loop"))
    compute, way, difference = None, None, None
    if is_server(device):
        compute, way = recorder.served_seconds()
        difference = float(np.abs(run(bundle, place="cpu") - batched).max())
    end_to_end, peak = _end_to_end(bundle, images, target, device)
    return Benchmark(
        model=f"{spec.id} {spec.version}",
        direction=f"{'+'.join(images)}->{target}",
        size=size,
        device=recorder.device,
        repeats=repeats,
        pipeline_s=round(pipeline, 3),
        network_s=round(network, 3),
        overhead=round(pipeline / network, 3),
        slice_loop_s=round(slice_loop, 3),
        slice_loop_ratio=round(slice_loop / pipeline, 3),
        slice_loop_difference=float(np.abs(run(each_slice) - batched).max()),
        batch_difference=float(np.abs(run(single) - batched).max()),
        end_to_end_s=round(end_to_end, 3),
        peak_mib=peak,
        server_compute_s=None if compute is None else round(compute, 3),
        server_overhead_s=None if way is None else round(way, 3),
        local_difference=difference,
    )


def _needed(spec: ConversionSpec) -> list[Modality]:
    """Scans without which the model converts nothing."""
    return [one.modality for one in spec.inputs if one.modality is not None and one.missing == "error"]


class _Recorder:
    """Opens backends that keep what they are fed, so that the network alone can be run on the same arrays."""

    def __init__(self) -> None:
        self.device = ""
        self._calls: list[tuple[Callable[..., np.ndarray], dict[str, np.ndarray]]] = []
        self._backends: list[Backend] = []

    def open(self, path: Path, format: str, device: str) -> Backend:
        backend = open_backend(path, format, device)
        self.device = backend.device
        self._backends.append(backend)
        run = backend.run

        def recorded(feeds: Mapping[str, np.ndarray]) -> np.ndarray:
            self._calls.append((run, dict(feeds)))
            return run(feeds)

        backend.run = recorded  # type: ignore[method-assign]
        # Recording needs the plain loop, also where the volume would stay on a card.
        backend.resident_loop = lambda task: None  # type: ignore[method-assign]
        return backend

    def replay(self) -> None:
        for run, feeds in self._calls:
            run(feeds)

    def served_seconds(self) -> tuple[float | None, float | None]:
        """Of one more run, what the server spends in the networks, and the rest; None where it does not say."""
        before = self._served()
        seconds = _timed(self.replay)
        after = self._served()
        return (None, None) if before is None or after is None else (after - before, seconds - (after - before))

    def _served(self) -> float | None:
        told = [backend.compute_seconds() for backend in self._backends if isinstance(backend, RemoteBackend)]
        counted = [seconds for seconds in told if seconds is not None]
        return sum(counted) if counted and len(counted) == len(told) else None


def _with_sampler(bundle: Bundle, **changes: Any) -> Bundle:
    sampler = bundle.spec.sampler.model_copy(update=changes)
    return dataclasses.replace(bundle, spec=bundle.spec.model_copy(update={"sampler": sampler}))


def _one_call_a_slice(bundle: Bundle) -> Bundle:
    sampler = bundle.spec.sampler
    overlap = (sampler.outputs - 1) / sampler.outputs if sampler.kind == "slab" else sampler.overlap
    return _with_sampler(bundle, batch=1, overlap=overlap)


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _end_to_end(
    bundle: Bundle, images: Mapping[Modality, sitk.Image], target: Modality, device: str
) -> tuple[float, float | None]:
    """Seconds and peak MiB of the command line converting the phantom from file to file."""
    with tempfile.TemporaryDirectory(prefix="modality-conversion-bench-") as folder:
        scan, out = Path(folder, "scan.nii.gz"), Path(folder, "out.nii.gz")
        source, *further = images
        write_image(images[source], scan)
        command = [sys.executable, "-m", "modality_conversion.cli", "convert", str(scan), "--from", source.value]
        command += ["--to", target.value, "--out", str(out), "--model", bundle.spec.id, "--device", device]
        command += ["--models-dir", str(bundle.path.parent), "--progress", "none"]
        command += [word for modality in further for word in ("--input", f"{modality}={scan}")]
        command += ["--force"]  # a phantom is no head, and a model's gate may see that
        here = os.pathsep.join([str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
        started = time.perf_counter()
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": here}, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise ConversionError(f"The command line failed: {done.stderr.strip()}")
        return seconds, _peak_of_children()


def _peak_of_children() -> float | None:
    """The largest peak among finished child processes, in MiB; this process has started only one."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
