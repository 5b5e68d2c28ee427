"""What a run leaves for people: tables of losses and figures, curves for TensorBoard, pictures."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOSSES, VALIDATION, MESSAGES = "losses.csv", "validation.csv", "messages.csv"


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def add_row(path: Path, row: dict[str, Any]) -> None:
    """Append a row to a CSV file; a new file gets the heading, a row with further columns widens the table."""
    before = read_rows(path)
    if not before or set(row) - set(before[0]):
        _write_rows(path, [*before, row])
        return
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, list(before[0])).writerow(row)


def drop_after(path: Path, step: int) -> None:
    """Forget the rows of later steps: a run that was killed goes on from its checkpoint, which may be older than they."""
    rows = read_rows(path)
    kept = [row for row in rows if int(row["step"]) <= step]
    if kept and len(kept) < len(rows):
        _write_rows(path, kept)
    elif rows and not kept:
        path.unlink()


def write_picture(path: Path, grey: NDArray[np.floating]) -> None:
    """Write values in [0, 1] as an 8-bit PNG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * grey).astype("uint8")).save(path)


class Journal:
    """The tables, curves and pictures of one run, from a step on."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        for name in (LOSSES, VALIDATION, MESSAGES):
            drop_after(folder / name, step)
        self._curves = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def losses(self, stamp: dict[str, Any], stage: int, rate: float, losses: dict[str, float]) -> None:
        """A line in the table of losses."""
        add_row(self.folder / LOSSES, stamp | {"stage": stage, "rate": f"{rate:.2e}"} | _rounded(losses))
        self._draw("train", stamp["step"], losses | {"rate": rate})

    def validation(
        self, stamp: dict[str, Any], figures: dict[str, float], picture: NDArray[np.floating] | None
    ) -> None:
        """A line in the table of validation, and a picture."""
        if figures:
            add_row(self.folder / VALIDATION, stamp | _rounded(figures))
            self._draw("validation", stamp["step"], figures)
        if picture is not None and picture.size > 1:
            write_picture(self.folder / "pictures" / f"{stamp['step']:07d}.png", picture)
            self._curves.add_image(
                "source, output, target; 5 x deviation, where there is one", picture[None], stamp["step"]
            )
        self._curves.flush()

    def message(self, stamp: dict[str, Any], text: str) -> None:
        """A line in the table of what was said."""
        add_row(self.folder / MESSAGES, stamp | {"message": text})
        self._curves.add_text("messages", text, stamp["step"])

    def _draw(self, group: str, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._curves.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._curves.close()


def _rounded(values: dict[str, float]) -> dict[str, Any]:
    return {name: f"{value:.5f}" for name, value in values.items()}
