"""What one case of a batch costs, by stage: `python Testing/engine/measure_stages.py`, two minutes.

Processor seconds of one thread, which hold on a busy machine too; the phantom head of `bench`, 192x224x160 voxels of 1 mm,
the bundled model. Prints JSON for `simulate_fleet.py`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MODALITY_CONVERSION_THREADS"), "1"))
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "ModalityConversion")]

import SimpleITK as sitk  # noqa: E402

sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

from modality_conversion.backends import Backend, open_backend  # noqa: E402
from modality_conversion.batch.job import features  # noqa: E402
from modality_conversion.batch.store import Store, flush_all  # noqa: E402
from modality_conversion.batch.summary import Entry, page, ranked, table  # noqa: E402
from modality_conversion.catalog import Catalog  # noqa: E402
from modality_conversion.convert import convert  # noqa: E402
from modality_conversion.figure import save_conversion_figure  # noqa: E402
from modality_conversion.gate_pass import pass_gate  # noqa: E402
from modality_conversion.image_io import read_image, save_image, scan_hash, write_image  # noqa: E402
from modality_conversion.modality import Modality, recognise_file  # noqa: E402
from modality_conversion.phantom import head_phantom  # noqa: E402

SIZE = (192, 224, 160)


def cost(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds, and the result."""
    started = time.process_time()
    result = work()
    return round(time.process_time() - started, 4), result


def main() -> None:
    """Print the costs."""
    bundle = Catalog().get("any-to-any-slab")
    spent = {"network": 0.0}

    def opener(path: Path, format: str, device: str) -> Backend:
        backend = open_backend(path, format, device)
        run = backend.run

        def counted(feeds: Any) -> Any:
            started = time.process_time()
            output = run(feeds)
            spent["network"] += time.process_time() - started
            spent["sent"] = spent.get("sent", 0) + sum(array.nbytes for array in feeds.values())
            spent["received"] = spent.get("received", 0) + output.nbytes
            return output

        backend.run = counted  # type: ignore[method-assign]
        return backend

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, out = folder / "scan_T1w.nii.gz", folder / "out.nii.gz"
        write_image(sitk.Cast(sitk.AdditiveGaussianNoise(head_phantom(SIZE), 20.0, 0.0, 1), sitk.sitkInt16), scan)
        told: dict[str, Any] = {"plan": cost(lambda: recognise_file(scan))[0], "bytes_in": scan.stat().st_size}
        pass_gate({Modality.T1: read_image(scan)}, bundle.spec, True, [])  # lazy imports
        told["read"], image = cost(lambda: (scan_hash(scan), read_image(scan))[1])
        told["gate"], _ = cost(lambda: pass_gate({Modality.T1: image}, bundle.spec, True, []))
        total, result = cost(lambda: convert({"T1": image}, bundle, target="T2", device="cpu", opener=opener))
        told["network"] = round(spent["network"], 4)
        told["sent"], told["received"] = spent["sent"], spent["received"]
        told["prepare_and_finish"] = round(total - told["network"], 4)
        told["write"], _ = cost(lambda: (save_image(result.image, out, {}), flush_all(folder)))
        told["bytes_out"] = out.stat().st_size
        told["picture"], _ = cost(lambda: save_conversion_figure(folder / "f.png", image, "T1", result))
        told["features"], _ = cost(lambda: features(image, result))
        told.update(_driver(folder))
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


def _driver(folder: Path) -> dict[str, float]:
    """What the process that gives out the work does for a case, in wall seconds on this disk, and for a summary."""
    store, cases = Store(folder / "out"), 300
    record = {"id": "sub-00001/anat/sub-00001_T1w.nii.gz", "out": "x", "from": "T1", "warnings": [], "features": {}}
    with store.locked():
        started = time.perf_counter()
        for number in range(cases):
            place = store.workplace(f"key{number}")
            (place / "volume").write_text("x")
            moves = [["volume", f"sub/{number}.nii.gz"]]
            (place / "manifest.json").write_text(json.dumps({"moves": moves, "record": record}))
            store.commit(f"key{number}", place)
        commit = (time.perf_counter() - started) / cases
    entries = [
        Entry(
            f"sub-{n:06}/anat/T1w.nii.gz", out=f"{n}", source="T1", features={"mean": n % 97, "head_ml": n % 89 + 1e3}
        )
        for n in range(20000)
    ]
    summary, _ = cost(lambda: (lambda order: (page(order, [], "T2"), table(order)))(ranked(entries)))
    return {"commit": round(commit, 5), "summary_of_20000": summary}


if __name__ == "__main__":
    main()
