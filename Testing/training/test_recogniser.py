"""How the recogniser is made: its examples say what they show, its loop learns, its folder is read, its figures are right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from modality_conversion.modality import Modality
from modality_conversion.recognise_input import SPACING, look
from modality_conversion.recognise_network import KINDS, OUTPUTS, SIDES, Network
from modality_conversion.recognise_profile import LENGTH
from training.config import ConfigError
from training.data.scale import normalise_source
from training.recognise import augment, calibration, command, others
from training.recognise.answers import NOT_ASKED, Truth, place
from training.recognise.augment import exchanged, mirrored, turned
from training.recognise.card import card
from training.recognise.examples import Draws, Table, make_examples, read_examples
from training.recognise.export import write_folder
from training.recognise.heads import KEPT, Sketch
from training.recognise.measure import Row, by_person, summary
from training.recognise.network import Recogniser, answer
from training.recognise.scans import as_image, hounsfield
from training.recognise.settings import RecogniserSettings, TrainSettings, read_settings
from training.recognise.training import collect, losses, train, turn
from training.statistics import auroc, wilson

ROOT = Path(__file__).resolve().parents[2]


def small_sketch(seed: int = 0) -> Sketch:
    """An egg with a shell: not a head, but with a top, a front, a brain, and two kinds of scan."""
    z, y, x = np.mgrid[-1:1:40j, -1:1:36j, -1:1:30j]
    far = np.sqrt(z**2 + y**2 + x**2) * (1 + 0.2 * z)
    t1 = np.where(far < 0.9, 0.9, 0.0) - 0.7 * ((far < 0.8) & (far > 0.7)) - 0.4 * (far < 0.3)
    t1 = t1 + 0.2 * (y > 0.5) * (far < 0.9) + 0.02 * np.random.default_rng(seed).random(far.shape)
    ct = np.where(far < 0.9, 40.0, -1000.0) + 900 * ((far < 0.8) & (far > 0.7))
    kept = np.stack([far < 0.68, far < 0.72, far < 0.95, y < 0.6]).astype(np.float16)
    scans = np.stack([t1, ct]).astype(np.float16)
    return Sketch("labels 0", scans, (Modality.T1, Modality.CT), kept, (far < 0.7).astype(np.float16))


@pytest.fixture(scope="module")
def table() -> Table:
    draws = Draws([small_sketch(0), small_sketch(1)], 0.3, np.random.default_rng(0))
    return Table.of([draws.one() for _ in range(48)])


# --- examples ---------------------------------------------------------------------------------------------------------


def test_answers_follow_a_volume_that_is_turned() -> None:
    volume = np.zeros((4, 6, 8), np.float32)
    volume[-1] += 4  # the top
    volume[:, -1] += 1  # the face
    truth = Truth("T1", head=True, up=0, front=2, cut=(True, False, False, False, False, False))
    for seed in range(60):
        found, said = turned(volume, truth, np.random.default_rng(seed))
        for number, weight in ((said.up, 4), (said.front, 1)):
            axis, end = number // 2, -1 if number % 2 == 0 else 0
            other = 0 if end == -1 else -1
            rise = found.take(end, axis).mean() - found.take(other, axis).mean()
            assert rise == pytest.approx(weight)
        assert said.cut.index(True) == said.up


def test_a_batch_is_turned_as_a_single_example_is() -> None:
    rng = np.random.default_rng(0)
    blocks = torch.from_numpy(rng.random((3, 4, 5, 5, 5)).astype(np.float32))
    truths = [
        Truth("T1", head=True, up=0, front=2, cut=(True, False, False, True, False, False), brain=0.5),
        Truth("CT", head=True, up=3, front=5, cut=(False, True, False, False, True, False), brain=1.0),
        Truth("other", head=False),
    ]
    order, flipped = [2, 0, 1], [1]
    found, rows = turn(blocks, torch.from_numpy(np.stack([truth.row() for truth in truths])), order, flipped)
    for number, truth in enumerate(truths):
        alone = blocks[number].numpy().transpose(0, 3, 1, 2)
        assert np.array_equal(found[number].numpy(), np.flip(alone, 2))
        wanted = mirrored(exchanged(truth, order), 1)
        assert np.array_equal(rows[number].numpy(), wanted.row())


def test_an_example_says_what_was_done_to_it() -> None:
    sketch, seen = small_sketch(), []
    for seed in range(60):
        example = augment.shown(sketch, seed % 2, np.random.default_rng(seed))
        truth = example.truth
        assert truth.kind == ("T1", "CT")[seed % 2]
        assert truth.head
        assert not (truth.stripped and truth.defaced)
        assert 0 <= truth.brain <= 1
        assert (truth.brain > 0.97) == (not any(truth.cut)) or truth.brain > 0.85
        assert truth.up // 2 != truth.front // 2
        assert np.isfinite(example.view.profile).all()
        seen.append(truth)
    for found in (
        {t.stripped for t in seen},
        {t.defaced for t in seen},
        {t.up == 0 for t in seen},
        {any(t.cut) for t in seen},
    ):
        assert found == {True, False}


@pytest.mark.parametrize("make", [*others.OBJECTS, *others.MAPS], ids=lambda make: make.__name__)
def test_everything_else_is_a_volume_with_something_to_see(make: object) -> None:
    for seed in range(3):
        volume = make(small_sketch(), np.random.default_rng(seed))  # type: ignore[operator]
        assert volume.ndim == 3
        assert np.isfinite(volume).all()
        assert np.ptp(volume) > 0


def test_examples_are_written_once_and_read_back(tmp_path: Path) -> None:
    people = [small_sketch()]
    assert len(list(make_examples(people, tmp_path, 60, 0.2, seed=1))) == 2
    assert list(make_examples(people, tmp_path, 60, 0.2, seed=1)) == []
    read = read_examples(tmp_path)
    assert len(read) == 100
    assert read.profiles.shape == (100, LENGTH)
    again = Table.of([Draws(people, 0.2, np.random.default_rng([1, 0])).one()])
    assert np.array_equal(again.truths[0], read.truths[0])


def test_the_profile_is_nearly_the_same_for_a_turned_and_mirrored_head() -> None:
    volume = small_sketch().scans[0].astype(np.float32)
    first = look(volume, (SPACING,) * 3).profile
    other = look(np.flip(volume.transpose(2, 0, 1), 1), (SPACING,) * 3).profile
    different = look(small_sketch().scans[1].astype(np.float32), (SPACING,) * 3).profile
    assert np.abs(first - other).mean() < 0.05 * np.abs(first - different).mean()


# --- the network ------------------------------------------------------------------------------------------------------


def test_the_loop_learns_to_tell_two_kinds_from_the_rest(table: Table, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    untrained = Recogniser()
    before = collect(untrained, table)
    network = train(table, table, TrainSettings(run=tmp_path, epochs=25, batch=16))
    after = collect(network, table)
    score = [float((answer(o, "kind").argmax(1) == t[:, 0].long()).float().mean()) for o, t in (before, after)]
    assert score[1] > 0.9 > score[0]
    assert json.loads((tmp_path / "curve.json").read_text())[-1]["kind"] == pytest.approx(score[1])


def test_what_is_not_asked_has_no_share_in_the_loss() -> None:
    outputs = torch.zeros(2, sum(OUTPUTS.values()), requires_grad=True)
    truths = torch.from_numpy(np.stack([Truth("other", head=False).row(), Truth("T2", head=True).row()]))
    found = losses(outputs, truths)
    assert not found["up"].isfinite()
    assert found["stripped"].isfinite()
    torch.stack([part for part in found.values() if part.isfinite()]).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad[:, place("up")].abs().sum() == 0
    assert outputs.grad[0, place("stripped")].abs().sum() == 0
    assert outputs.grad[1, place("stripped")].abs().sum() > 0


def test_the_distance_is_mahalanobis(table: Table) -> None:
    network = Recogniser().eval()
    network.standardise(torch.from_numpy(table.profiles))
    calibration.remember(network, table)
    with torch.no_grad():
        blocks = torch.from_numpy(table.blocks.astype(np.float32))
        features = network.features(torch.from_numpy(table.profiles), blocks)[1].double().numpy()
    kinds = table.truths[:, 0].astype(int)
    plain = kinds != KINDS.index("other")
    centred = np.concatenate([features[kinds == k] - features[kinds == k].mean(0) for k in set(kinds[plain])])
    covariance = centred.T @ centred / len(centred)
    covariance = 0.95 * covariance + 0.05 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    offsets = [features - features[kinds == k].mean(0) for k in set(kinds[plain])]
    wanted = np.sqrt(np.min([np.einsum("ni,ij,nj->n", o, inverse, o) for o in offsets], axis=0))
    found = answer(collect(network, table)[0], "distance")[:, 0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-3)


def test_a_temperature_is_only_taken_where_it_helps(table: Table) -> None:
    network = Recogniser().eval()
    network.kind.weight.data *= 50  # as sure as can be, and wrong
    assert calibration.fit_temperature(network, table) > 2


def test_simulated_and_real_distances_have_half_the_say_each() -> None:
    found = calibration.table(np.linspace(1, 2, 1000), np.linspace(3, 4, 10))
    shares, distances = zip(*found, strict=True)
    assert all(np.diff(shares) > 0)
    assert all(np.diff(distances) > 0)
    assert 2 <= dict(found)[0.5] <= 3
    assert found[-1] == (1.0, pytest.approx(5.0))
    alone = calibration.table(np.linspace(1, 2, 1000), np.zeros(0))
    assert dict(alone)[0.5] == pytest.approx(1.5, abs=0.01)


def test_an_exported_network_answers_in_the_engine_as_it_does_here(table: Table, tmp_path: Path) -> None:
    network = Recogniser().eval()
    network.standardise(torch.from_numpy(table.profiles))
    calibration.remember(network, table)
    settings = settings_in(tmp_path)
    distances = calibration.table(calibration.distances(network, table), np.zeros(0))
    folder = write_folder(network, settings.bundle, distances, card(settings, tmp_path / "none"))
    view = look(small_sketch().scans[0].astype(np.float32), (SPACING,) * 3)
    answers = Network(folder).ask(view)
    with torch.no_grad():
        wanted = network(torch.from_numpy(view.profile[None]), torch.from_numpy(view.blocks[None]))
    assert list(answers.kind.values()) == pytest.approx(answer(wanted, "kind").softmax(1)[0].tolist(), abs=1e-4)
    assert answers.brain == pytest.approx(float(answer(wanted, "brain")), abs=1e-4)
    assert "Not measured yet" in (folder / "docs" / "README.md").read_text()


def settings_in(folder: Path) -> RecogniserSettings:
    return RecogniserSettings.model_validate(
        {
            "heads": {"labels": folder, "folder": folder / "people"},
            "train": {"run": folder / "run", "real": 0},
            "bundle": {"folder": folder / "recogniser"},
            "measure": {"data": folder, "folder": folder / "figures"},
        }
    )


def test_training_without_examples_says_which_step_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Run `recogniser heads` first"):
        command.learn(settings_in(tmp_path), Console())


def test_the_shipped_configuration_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODALITY_DATA", "data")
    assert read_settings(ROOT / "training" / "recognise" / "recogniser.yaml").heads.people["training"] == 4


# --- scans and figures ------------------------------------------------------------------------------------------------


def test_hounsfield_units_come_back_from_the_networks_scale() -> None:
    hu = np.array([[[-1024.0, -1000, -100, -20, 0, 35, 900, 3000]]], np.float32)
    np.testing.assert_allclose(hounsfield(normalise_source(hu, Modality.CT)), hu, atol=0.6)


def test_a_scan_stored_another_way_shows_the_same_from_the_same_side() -> None:
    volume = small_sketch().scans[0].astype(np.float32)
    from modality_conversion.recognise_input import view

    direct = look(volume, (1.0,) * 3).blocks
    for seed in range(4):
        blocks = view(as_image(volume, np.random.default_rng(seed))).blocks
        assert np.corrcoef(direct[1].ravel(), blocks[1].ravel())[0, 1] > 0.8


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-3)  # Newcombe 1998 gives these for 9 of 10
    assert wilson(10, 10)[1] == pytest.approx(1)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_area_under_the_curve_is_the_chance_that_a_wrong_one_scores_higher() -> None:
    assert auroc([2, 3], [0, 1]) == 1
    assert auroc([0, 1], [2, 3]) == 0
    assert auroc([1, 1], [1, 1]) == 0.5
    rng = np.random.default_rng(0)
    wrong, right = rng.integers(0, 9, 40), rng.integers(0, 7, 30)
    pairs = [(w > r) + 0.5 * (w == r) for w in wrong for r in right]
    assert auroc(wrong, right) == pytest.approx(np.mean(pairs))


def row(person: str, truth: str, said: str) -> Row:
    sure = {kind: 0.94 if kind == said else 0.01 for kind in KINDS}
    return Row("x", person, truth, said, 0.94, sure, 0.99, 0.1, False, True, 1.0, (), 3.0, 0.4, 0.1)


def test_figures_count_right_unknown_and_wrong_by_person() -> None:
    rows = [row("a", "T1", "T1"), row("a", "T2", "do not know"), row("b", "T1", "T2")]
    found = summary(rows)
    assert [found["all"][key] for key in ("scans", "right", "do_not_know", "wrong")] == [3, 1, 1, 1]
    assert found["T1"]["wrong"] == 1
    assert by_person(rows)[2:] == ["| a | 2 | 1 | T2 | 0 |", "| b | 1 | 0 | 0 | T1 as T2 |"]


def test_names_of_what_is_kept_and_of_sides_are_those_of_the_engine() -> None:
    assert len(KEPT) == 4
    assert SIDES[0] == "z+"
    assert NOT_ASKED == -1
