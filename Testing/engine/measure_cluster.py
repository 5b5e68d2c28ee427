"""The figures of docs/cluster.md: `python Testing/engine/measure_cluster.py`, some minutes; needs Ray.

A head and two nodes of one core each, all on this machine: one node against two, then one of the two killed half-way.
`WAITING=0.5` has the network run on a server that takes so many seconds for a batch, so that the cases wait rather than
compute: then the ratio tells how well the work is given out, also where other work takes the cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGE = str(HERE.parents[1] / "ModalityConversion")
sys.path[:0] = [str(HERE), PACKAGE]
os.environ["PYTHONPATH"] = PACKAGE

import graphs  # noqa: E402
from bundles import write_bundle  # noqa: E402
from modality_conversion.image_io import write_image  # noqa: E402
from modality_conversion.phantom import head_phantom  # noqa: E402

CASES = int(os.environ.get("RAY_CASES", "30"))
WAITING = float(os.environ.get("WAITING", "0"))
SMALL = {"object_store_memory": 80 << 20}


def main() -> None:
    """Print one line of JSON for each measurement."""
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundle(
            folder / "models" / "brain",
            lambda path: graphs.conv(path, features=48, layers=6),
            sampler={"kind": "slice", "axes": [0], "batch": 4},
        )
        (folder / "in").mkdir()
        image = head_phantom((64, 72, 56), spacing=3)
        for number in range(CASES):
            write_image(image + number, folder / "in" / f"{number:03}_T1w.nii.gz")
        device, runs = "cpu", [(1, False), (2, False), (2, True)]
        if os.environ.get("ONLY") == "killed":
            runs = runs[2:]
        if WAITING:
            server = waiting_server(folder)
            device, runs = server.device, runs[:2]
        for nodes, kill in runs:
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **SMALL})
            workers = [cluster.add_node(num_cpus=1, **SMALL) for _ in range(nodes)]
            told = measured(folder, cluster, workers, kill, device)
            cluster.shutdown()
            sys.stdout.write(json.dumps({"nodes": nodes, "killed": kill, "cases": CASES, **told}) + "\n")
            sys.stdout.flush()


def waiting_server(folder: Path) -> Any:
    """A server that is slow by waiting; it ends when nobody holds it any more."""
    from modality_conversion.bundle import Bundle
    from modality_conversion.triton import write_repository
    from served import Served

    (folder / "repository").mkdir()
    write_repository(Bundle.load(folder / "models" / "brain"), folder / "repository")
    server = Served(folder / "repository")
    server.service.before = lambda number: time.sleep(WAITING)
    return server


def measured(folder: Path, cluster: Any, workers: list[Any], kill: bool, device: str) -> dict[str, Any]:
    """Convert all cases; the rate counts from the first case done, when both nodes are warm."""
    out = folder / f"out-{len(workers)}-{kill}"
    command = [sys.executable, "-m", "modality_conversion.cli", "batch", str(folder / "in"), "--to", "T2"]
    command += ["--out", str(out), "--models-dir", str(folder / "models"), "--model", "brain"]
    command += ["--ray", cluster.address, "--device", device, "--progress", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    times: list[float] = []
    marks: dict[Path, int] = {}
    result: dict[str, Any] = {}
    for line in process.stdout:
        told = json.loads(line)
        result = told.get("result", result)
        if told.get("done"):
            times.append(time.perf_counter())
        if kill and told.get("done") == CASES // 2:
            marks = {path: path.stat().st_ino for path in out.rglob("*_synthetic-T2.nii.gz")}
            cluster.remove_node(workers[-1], allow_graceful=False)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said)
    made = {path: path.stat().st_ino for path in out.rglob("*_synthetic-T2.nii.gz")}
    # The first cases of each node pay for its start.
    steady = times[2:]
    return {
        "exit": process.returncode,
        "done": result.get("done"),
        "failed": len(result.get("failed", [])),
        "volumes": len(made),
        "made_again": sum(made.get(path) != mark for path, mark in marks.items()),
        "tried_again": said.count("was lost"),
        "half_written": len(list(out.rglob("*.partial")))
        + len(list((out / ".modality-conversion-batch" / "ready").iterdir())),
        "seconds": round(times[-1] - times[0], 1),
        "cases_an_hour": round(3600 * (len(steady) - 1) / (steady[-1] - steady[0])),
        "stderr_bytes": len(said),
    }


if __name__ == "__main__":
    main()
