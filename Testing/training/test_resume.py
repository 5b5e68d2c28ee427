"""A run that was killed ends as one that was not; two processes learn what one learns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from packed_heads import write_heads
from small_runs import SMALL, rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_heads(tmp_path_factory.mktemp("heads"), 2)


def configuration(folder: Path, heads: Path, steps: int, recipe: str = "conditional", **options: object) -> Path:
    """A configuration file whose run lies in `folder`."""
    pools = {"heads": {"folder": str(heads)}}
    content = {
        "run": str(folder / "run"),
        "recipe": {
            "name": recipe,
            "options": {"pools": pools, "validation": "heads", "validation_batches": 2} | SMALL[recipe] | options,
        },
        "train": {
            "steps": steps,
            "minutes": None,
            "checkpoint_minutes": None,
            "checkpoint_steps": 6,
            "log_steps": 1,
            "precision": "32-true",
            "accelerator": "cpu",
            "stages": [{"until": 0.5, "mix": {"heads": 1}}, {"until": 1, "mix": {"heads": 1}}],
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'ModalityConversion'}{os.pathsep}{ROOT}"}


def training(path: Path) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "training", "train", str(path)]


def weights(run: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    saved = torch.load(run / name, weights_only=True)
    found: dict[str, torch.Tensor] = saved["network"] if name == "last.pt" else saved["average"]
    return found


def test_a_run_killed_between_checkpoints_ends_with_the_same_weights(heads: Path, tmp_path: Path) -> None:
    path = configuration(tmp_path / "killed", heads, 24, loss={"anatomy": 0.1})
    losses = tmp_path / "killed" / "run" / "losses.csv"
    process = subprocess.Popen(training(path), env=environment(), cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if losses.exists() and len(losses.read_text(encoding="utf-8").splitlines()) > 9:  # past the first checkpoint
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was over before it could be killed"
    killed_at = torch.load(losses.with_name("last.pt"), weights_only=True)["step"]
    assert 6 <= killed_at < 24

    subprocess.run(training(path), env=environment(), cwd=ROOT, check=True, capture_output=True)
    whole = configuration(tmp_path / "whole", heads, 24, loss={"anatomy": 0.1})
    subprocess.run(training(whole), env=environment(), cwd=ROOT, check=True, capture_output=True)

    runs = [tmp_path / name / "run" for name in ("killed", "whole")]
    for name in ("last.pt", "best.pt"):
        one, other = (weights(run, name) for run in runs)
        assert all(torch.equal(one[key], other[key]) for key in one)
    for table in ("losses.csv", "validation.csv"):
        one_rows, other_rows = (
            [{key: value for key, value in row.items() if key != "minutes"} for row in rows(run / table)]
            for run in runs
        )
        assert one_rows == other_rows


def test_a_signal_ends_the_run_with_a_checkpoint_and_the_same_command_goes_on(heads: Path, tmp_path: Path) -> None:
    path = configuration(tmp_path, heads, 100_000)
    losses = tmp_path / "run" / "losses.csv"
    process = subprocess.Popen(training(path), env=environment(), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (losses.exists() and process.poll() is None):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "The same command goes on from there" in said
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] > 0


# The first steps alone are compared: later ones make much of the last digit, a game of adversaries above all.
@pytest.mark.parametrize(
    ("recipe", "steps", "options"), [("conditional", 4, {"loss": {"anatomy": 0.1}}), ("cycle_gan", 3, {"pool": 2})]
)
def test_two_processes_learn_what_one_learns_from_the_same_whole_batch(
    heads: Path, tmp_path: Path, recipe: str, steps: int, options: dict[str, object]
) -> None:
    one = configuration(tmp_path / "one", heads, steps, recipe, **options)
    two = configuration(tmp_path / "two", heads, steps, recipe, **options)
    subprocess.run(training(one), env=environment(), cwd=ROOT, check=True, capture_output=True)
    fabric = [str(Path(sys.executable).with_name("fabric")), "run", "--accelerator", "cpu", "--devices", "2"]
    command = [*fabric, str(ROOT / "training" / "__main__.py"), "train", str(two)]
    found = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]

    def is_curve(name: str) -> bool:
        # Shares of pairs of patches, and deviations, are means over processes and no more.
        return name not in ("minutes", "rate") and not name.startswith(("told", "spread"))

    curves = [
        [[float(value) for key, value in row.items() if is_curve(key)] for row in rows(path)]
        for path in (tmp_path / name / "run" / "losses.csv" for name in ("one", "two"))
    ]
    assert len(curves[0]) == steps
    assert torch.allclose(*map(torch.tensor, curves), rtol=2e-3, atol=2e-4)
    first, second = (weights(tmp_path / name / "run") for name in ("one", "two"))
    # Biases before a normalisation have no gradient but rounding.
    compared = [key for key in first if recipe == "conditional" or first[key].dim() > 1]
    assert max(float((first[key].float() - second[key].float()).abs().max()) for key in compared) < 2e-3
