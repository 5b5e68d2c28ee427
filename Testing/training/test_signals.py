"""The signal equations against values worked out by hand and by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.simulation.protocols import random_t1, standard_t2
from training.simulation.signals import Mprage, SpinEcho, SpoiledGradientEcho
from training.simulation.tissues import CODE, TISSUES, draw_deviations, values


def test_a_spin_echo_of_white_matter_is_as_worked_out_by_hand() -> None:
    # 0.77 (1 - e^(-500/500)) e^(-14/70) = 0.77 * 0.632121 * 0.818731
    assert SpinEcho(tr=500, te=14)(0.77, 500, 70) == pytest.approx(0.398503, abs=1e-6)


def test_a_spoiled_gradient_echo_at_ninety_degrees_is_a_saturation_recovery() -> None:
    signal = SpoiledGradientEcho(tr=20, te=4, flip=90)(0.8, 800, 80)
    assert signal == pytest.approx(0.8 * (1 - math.exp(-20 / 800)) * math.exp(-4 / 80))


def test_a_spoiled_gradient_echo_is_strongest_at_the_ernst_angle() -> None:
    ernst = math.degrees(math.acos(math.exp(-15 / 900)))
    signals = [SpoiledGradientEcho(tr=15, te=3, flip=flip)(1, 900, 80) for flip in (ernst - 2, ernst, ernst + 2)]
    assert max(signals) == signals[1]


def test_mprage_agrees_with_following_the_magnetisation_pulse_by_pulse() -> None:
    sequence = Mprage(tr=2000, ti=900, te=3, flip=9, pulses=160, spacing=8)
    t1, cosine, magnetisation = 850.0, math.cos(math.radians(9)), 1.0

    def recover(m: float, time: float) -> float:
        return 1 - (1 - m) * math.exp(-time / t1)

    for _ in range(20):  # cycles, until steady
        magnetisation = recover(-magnetisation, 900 - 640)
        for pulse in range(160):
            if pulse == 80:
                middle = magnetisation
            magnetisation = recover(magnetisation * cosine, 8)
        magnetisation = recover(magnetisation, 2000 - 900 - 640)
    expected = 0.8 * math.sin(math.radians(9)) * abs(middle) * math.exp(-3 / 75)
    assert sequence(0.8, t1, 75) == pytest.approx(expected, rel=1e-6)


def test_a_read_out_that_does_not_fit_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="does not fit around TI"):
        Mprage(tr=1000, ti=400, te=3, flip=8, pulses=200, spacing=8)(1, 800, 80)


@pytest.mark.parametrize("seed", range(12))
def test_on_any_random_t1_white_matter_is_brighter_than_grey_and_grey_than_csf(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = values(rng.choice([1.5, 3.0]))
    signal = random_t1(rng)(table.pd, table.t1, table.t2)
    white, grey, csf = (signal[CODE[name]] for name in ("white_matter", "grey_matter", "csf"))
    assert white > grey > csf


def test_on_the_standard_t2_csf_is_brighter_than_a_lesion_than_grey_than_white() -> None:
    table = values(3.0, turbo=True)
    signal = standard_t2()(table.pd, table.t1, table.t2)
    order = [signal[CODE[name]] for name in ("csf", "ms_lesion", "grey_matter", "white_matter")]
    assert order == sorted(order, reverse=True)
    assert order[2] / order[3] == pytest.approx(1.39, abs=0.03)  # measured on a real scan: 1.39


def test_tissue_values_stay_within_their_spread() -> None:
    plain = values(3.0)
    moved = values(3.0, draw_deviations(np.random.default_rng(0)))
    for name, tissue in TISSUES.items():
        change = abs(math.log(moved.t1[CODE[name]] / plain.t1[CODE[name]]))
        assert change <= tissue.spread + 1e-5


def test_air_gives_no_signal() -> None:
    table = values(1.5)
    assert standard_t2()(table.pd, table.t1, table.t2)[CODE["air"]] == 0
