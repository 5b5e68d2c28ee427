"""The figures of docs/served-model.md: `python Testing/engine/measure_served.py [192x224x160]`, some minutes.

The bundled model on a server in a process of its own on this machine, one thread, through the loopback interface: the
run of RUNS=5 that lost the least on the way, since other work on the cores only adds to that. `bench` measures one.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MODALITY_CONVERSION_THREADS"), "1"))
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "ModalityConversion")]

import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402

from modality_conversion.backends import open_backend  # noqa: E402
from modality_conversion.bench import _Recorder  # noqa: E402
from modality_conversion.catalog import Catalog  # noqa: E402
from modality_conversion.convert import convert  # noqa: E402
from modality_conversion.phantom import head_phantom  # noqa: E402
from modality_conversion.triton import write_repository  # noqa: E402

RUNS = int(os.environ.get("RUNS", "5"))


def serve(repository: Path, told: Connection) -> None:
    """Serve until the other end closes."""
    from served import Served

    server = Served(repository)
    told.send(server.device)
    told.recv()
    server.stop()


def main() -> None:
    """Print one line of JSON."""
    size = tuple(map(int, (sys.argv[1:] or ["192x224x160"])[0].split("x")))
    bundle = Catalog().get("any-to-any-slab")
    with tempfile.TemporaryDirectory() as name:
        write_repository(bundle, Path(name))
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(Path(name), theirs), daemon=True)
        server.start()
        device = ours.recv()
        image, runs = head_phantom((size[0], size[1], size[2])), []
        recorder = _Recorder()
        made = [
            sitk.GetArrayFromImage(convert({"T1": image}, bundle, target="T2", device=place, opener=opener).image)
            for place, opener in (("cpu", open_backend), (device, recorder.open))
        ]
        for _ in range(RUNS):
            started = time.process_time()
            compute, way = recorder.served_seconds()
            runs.append(
                {"server_compute_s": compute, "server_overhead_s": way, "own_cpu_s": time.process_time() - started}
            )
        told = min(runs, key=lambda run: run["server_overhead_s"] or 0)
        difference = float(np.abs(made[0].astype(float) - made[1]).max())
        sys.stdout.write(json.dumps({**told, "size": size, "local_difference": difference}) + "\n")
        ours.send("enough")
        server.join(5)


if __name__ == "__main__":
    main()
