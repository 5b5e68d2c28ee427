"""`python -m training.lesion_check fit|judge|measure`: makes what the engine checks lesions with, and says what it finds.

It belongs to the engine, not to a model, so it has no section in a model's configuration.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from training.cli import ENGINE

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
Cases = Annotated[list[Path], typer.Argument(help="Folders of packed simulated cases.")]


@app.command()
def fit(
    cases: Cases,
    pairs: Annotated[int, typer.Option(help="How many pairs of scans are sampled.")] = 300,
    rounds: Annotated[
        int, typer.Option(help="After the first, half of the voxels are those the last one got wrong.")
    ] = 2,
    epochs: int = 20,
    trials: Annotated[int, typer.Option(help="Volumes with a fault, to find the thresholds.")] = 200,
    false_alarms: Annotated[float, typer.Option(help="Allowed a volume.")] = 1.0,
    step: Annotated[float, typer.Option(help="Voxels are planted on, mm.")] = 2.0,
    seed: int = 0,
) -> None:
    """Fit the discriminant on training cases and write it into the engine."""
    from modality_conversion.lesion_finder import WEIGHTS
    from training.lesion_check import fit as fitting
    from training.lesion_check.measure import rates, thresholds
    from training.lesion_check.runs import run_trials, sampled

    rows, found = [], None
    for number in range(rounds):
        rows += sampled(cases, pairs // rounds, step, np.random.default_rng([seed, number]), found, typer.echo)
        found = fitting.fit(rows, epochs, seed)
    assert found is not None
    done = run_trials(cases, trials, step, found, np.random.default_rng([seed, 99]), typer.echo, held_back=True)
    limits = thresholds(done, false_alarms)
    about = {
        "fitted_on": f"{len(rows)} pairs of simulated scans with planted faults, voxels of {step:g} mm",
        "calibration": rates(done, limits),
    }
    fitting.write(found, limits, about, WEIGHTS)
    typer.echo(json.dumps(about["calibration"], indent=1))


@app.command()
def judge(
    cases: Cases,
    pairs: Annotated[int, typer.Option(help="How many pairs of scans are sampled.")] = 600,
    epochs: int = 80,
    trials: Annotated[int, typer.Option(help="Pairs of people kept back, to find the thresholds.")] = 300,
    false_alarms: Annotated[float, typer.Option(help="Allowed a volume.")] = 0.1,
    left: Annotated[float, typer.Option(help="Share of the lost lesions that may be called kept.")] = 0.05,
    step: Annotated[float, typer.Option(help="Voxels are planted on, mm.")] = 2.0,
    seed: int = 0,
) -> None:
    """Fit the judge of outlined lesions on training cases and write it into the engine."""
    from modality_conversion.lesion_judge import CLASSES, WEIGHTS
    from training.lesion_check import fit as fitting
    from training.lesion_check.known import judged, limits_of_judge
    from training.lesion_check.runs import known_sampled

    rows = known_sampled(cases, pairs, step, np.random.default_rng([seed, 0]), typer.echo)
    found = fitting.fit(rows, epochs, seed, fitting.JUDGE)
    kept_back = known_sampled(cases, trials, step, np.random.default_rng([seed, 99]), typer.echo, held_back=True)
    limits = limits_of_judge(found, kept_back, false_alarms, left)
    about = {
        "fitted_on": f"lesions of {len(rows)} pairs of simulated scans, voxels of {step:g} mm",
        "calibration": judged(found, kept_back, limits),
    }
    fitting.write(found, limits, about, WEIGHTS, CLASSES)
    typer.echo(json.dumps(about["calibration"], indent=1))


@app.command()
def measure(
    cases: Cases,
    trials: Annotated[int, typer.Option(help="Volumes with a fault.")] = 200,
    step: Annotated[float, typer.Option(help="Voxels are planted on, mm.")] = 1.0,
    known: Annotated[bool, typer.Option(help="The lesions are outlined, and only looked at.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write every trial as JSON here.")] = None,
    seed: int = 1,
) -> None:
    """Count what the engine's finder finds on held-out cases."""
    from modality_conversion.lesion_finder import discriminant
    from training.lesion_check.measure import as_rows, rates
    from training.lesion_check.runs import run_trials

    found = discriminant()
    done = run_trials(cases, trials, step, found, np.random.default_rng(seed), typer.echo, known)
    result = rates(done, dict(found.threshold))
    typer.echo(json.dumps(result, indent=1))
    if out:
        out.write_text(json.dumps({"rates": result, "trials": as_rows(done)}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if ENGINE.is_dir():
        sys.path.insert(0, str(ENGINE))
    app()
