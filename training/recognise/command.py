"""The steps on the way to the recogniser, one function each."""

import numpy as np
import torch
from rich.console import Console

from modality_conversion.recognise_network import Network
from training.config import ConfigError
from training.data.split import Part, read_split
from training.recognise import calibration
from training.recognise.card import card
from training.recognise.examples import Table, make_examples, read_examples, write_examples
from training.recognise.export import write_folder
from training.recognise.heads import make_sketches, read_sketches
from training.recognise.measure import measure_real, measure_simulated, write_figures
from training.recognise.real import as_scanned, real_scans, scans_of, scans_of_others, varied
from training.recognise.scans import packed_scans, simulated_scans
from training.recognise.settings import RecogniserSettings
from training.recognise.training import read_network, train

PARTS: tuple[Part, ...] = ("training", "validation")


def heads(settings: RecogniserSettings, console: Console) -> None:
    """Make the simulated people, and the examples of them, that are not there yet."""
    for part in PARTS:
        for file in make_sketches(settings.heads, part):
            console.print(str(file), highlight=False)
    for number, part in enumerate(PARTS):
        people = read_sketches(settings.heads.folder / part)
        if not people:
            raise ConfigError(f"The label maps in {settings.heads.labels} have nobody of the {part} part of the split.")
        count, seed = settings.train.examples[part], settings.train.seed + number
        folder = settings.train.run / "examples" / part
        for file in make_examples(people, folder, count, settings.train.others, seed):
            console.print(str(file), highlight=False)


def learn(settings: RecogniserSettings, console: Console) -> None:
    """Train from the beginning, on simulated examples and those of real training people."""
    torch.set_num_threads(1)
    simulated, held_out = examples(settings, "training"), examples(settings, "validation")
    folder = settings.train.run / "examples" / "real"
    if settings.train.real and not any(folder.glob("*.npz")):
        scans = scans_of(settings.measure.data, read_split(), "training")
        write_examples(folder, [e for n, scan in enumerate(scans) for e in varied(scan, settings.train.real, _rng(n))])
    table = simulated + read_examples(folder) if settings.train.real else simulated
    train(table, held_out, settings.train, lambda text: console.print(text, highlight=False))


def _rng(number: int) -> np.random.Generator:
    return np.random.default_rng([21, number])


def examples(settings: RecogniserSettings, part: Part) -> Table:
    """The examples of a part. Raises ConfigError where there are none."""
    folder = settings.train.run / "examples" / part
    if not any(folder.glob("*.npz")):
        raise ConfigError(f"There are no examples in {folder}. Run `recogniser heads` first.")
    return read_examples(folder)


def export(settings: RecogniserSettings, console: Console) -> None:
    """Calibrate the network and write its folder."""
    torch.set_num_threads(1)
    network = read_network(settings.train)
    calibration.remember(network, examples(settings, "training"))
    held_out = examples(settings, "validation")
    temperature = calibration.fit_temperature(network, held_out)
    real = as_scanned(scans_of_others(settings.measure.data, read_split()))
    distances = calibration.distances(network, Table.of(real)) if real else np.zeros(0)
    found = calibration.table(calibration.distances(network, held_out), distances)
    figures = settings.measure.folder / "figures.json"
    folder = write_folder(network, settings.bundle, found, card(settings, figures))
    console.print(f"{folder}: temperature {temperature:.2f}, distances {found}", highlight=False)


def measure(settings: RecogniserSettings, console: Console) -> None:
    """Figures of the exported folder."""
    network = Network(settings.bundle.folder)
    figures = {"real": measure_real(real_scans(settings.measure.data), network)}
    if settings.measure.cases is not None:
        figures["simulated, part of a head"] = measure_simulated(packed_scans(settings.measure.cases), network)
    whole = simulated_scans(settings.heads, "test", settings.heads.people["test"])
    figures["simulated, whole scan"] = measure_simulated(whole, network)
    write_figures(settings.measure.folder, figures, lambda text: console.print(text, highlight=False, markup=False))
