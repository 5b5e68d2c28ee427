"""The figures of docs/dicom.md and docs/batch.md: `python Testing/engine/measure_dicom_batch.py`, some minutes on free cores.

Wall time means something only where nothing else runs; processor time and memory hold on a busy machine too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "ModalityConversion")]

from dicom_series import head, write_series  # noqa: E402
from modality_conversion.dicom import find_volumes  # noqa: E402
from modality_conversion.image_io import write_image  # noqa: E402

CASES = 20


def command(*arguments: object, **environment: str) -> tuple[float, float, float]:
    """Run the command line; returns seconds of wall time, of processor time with its children, and peak MiB."""
    surroundings = {**os.environ, "PYTHONPATH": sys.path[1], **environment}
    started = time.perf_counter()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "modality_conversion.cli",
            *map(str, arguments),
            "--force",  # the head is a drawing, which the gate refuses
            "--device",
            "cpu",
            "--progress",
            "none",
        ],
        env=surroundings,
        stdout=subprocess.DEVNULL,
    )
    _, status, use = os.wait4(process.pid, 0)
    assert status == 0, "the command failed"
    return time.perf_counter() - started, use.ru_utime + use.ru_stime, use.ru_maxrss / 1024


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        image = head((256, 256, 200), 240 / 256)
        write_series(root / "series", image)
        write_image(image, root / "a_T1w.nii.gz")
        for name, source, out in (("NIfTI", "a_T1w.nii.gz", "out.nii.gz"), ("DICOM", "series", "out")):
            wall, processor, peak = command("convert", root / source, "--to", "T2", "--out", root / out)
            print(f"{name}, 256x256x200: {wall:.1f} s, processor {processor:.1f} s, peak {peak:.0f} MiB")  # noqa: T201

        many = root / "many"
        many.mkdir()
        for number in range(100_000):  # names are cheap, files are not; a file can have some 60,000 names
            path, first = many / f"{number}.txt", many / f"{number // 50_000 * 50_000}.txt"
            if path == first:
                path.write_text("no DICOM")
            else:
                path.hardlink_to(first)
        started = time.process_time()
        found = find_volumes(many).foreign
        print(f"{found} files looked through: processor {time.process_time() - started:.1f} s")  # noqa: T201

        for number in range(CASES):
            path = root / "batch" / f"{number}_T1w.nii.gz"
            path.parent.mkdir(exist_ok=True)
            write_image(head((160, 192, 96), 1.3) + number, path)
        one_thread = {"OMP_NUM_THREADS": "1", "MODALITY_CONVERSION_THREADS": "1"}
        for workers in (1, 2):
            out = root / f"batch-{workers}"
            wall, processor, _ = command(
                "batch", root / "batch", "--to", "T2", "--out", out, "--workers", workers, **one_thread
            )
            rate = CASES / wall * 3600
            print(f"{workers} workers: {wall:.1f} s, processor {processor:.1f} s, {rate:.0f} cases an hour")  # noqa: T201


if __name__ == "__main__":
    main()
