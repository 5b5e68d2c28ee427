"""The signal equations against values worked out by hand and by brute force; contrasts and HU of tissues."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modality_conversion.modality import Modality
from training.simulation.protocols import CSF_T1, STANDARD, Protocol, random_protocol
from training.simulation.signals import InversionRecovery, Mprage, SpinEcho, SpoiledGradientEcho, null_time
from training.simulation.tissues import CODE, TISSUES, draw_deviations, hounsfield, values

MR = [Modality.T1, Modality.T1CE, Modality.T2, Modality.FLAIR, Modality.PD]


def signals(
    protocol: Protocol, deviations: dict[str, np.ndarray] | None = None, scale: float = 1.0
) -> dict[str, float]:
    """Signal by tissue."""
    none = {name: np.zeros(4) for name in TISSUES}
    found = protocol.signal(protocol.table(deviations or none, scale))
    return {name: float(found[code]) for name, code in CODE.items()}


def test_a_spin_echo_of_white_matter_is_as_worked_out_by_hand() -> None:
    # 0.77 (1 - e^(-500/500)) e^(-14/70) = 0.77 * 0.632121 * 0.818731
    assert SpinEcho(tr=500, te=14)(0.77, 500, 70) == pytest.approx(0.398503, abs=1e-6)


def test_a_flair_of_white_matter_is_as_worked_out_by_hand() -> None:
    # 0.77 |1 - 2 e^(-2500/830) + e^(-9000/830)| e^(-120/75) = 0.77 * 0.901639 * 0.201897
    assert InversionRecovery(tr=9000, ti=2500, te=120)(0.77, 830, 75) == pytest.approx(0.140168, abs=1e-5)


def test_at_the_null_time_a_tissue_gives_no_signal() -> None:
    ti = null_time(tr=9000, t1=CSF_T1)
    assert ti < CSF_T1 * math.log(2)  # where it would be, were TR without end
    assert null_time(tr=1e6, t1=CSF_T1) == pytest.approx(CSF_T1 * math.log(2))
    assert InversionRecovery(tr=9000, ti=ti, te=100)(1.0, CSF_T1, 2000) == pytest.approx(0, abs=1e-9)


def test_a_spoiled_gradient_echo_at_ninety_degrees_is_a_saturation_recovery() -> None:
    signal = SpoiledGradientEcho(tr=20, te=4, flip=90)(0.8, 800, 80)
    assert signal == pytest.approx(0.8 * (1 - math.exp(-20 / 800)) * math.exp(-4 / 80))


def test_a_spoiled_gradient_echo_is_strongest_at_the_ernst_angle() -> None:
    ernst = math.degrees(math.acos(math.exp(-15 / 900)))
    found = [SpoiledGradientEcho(tr=15, te=3, flip=flip)(1, 900, 80) for flip in (ernst - 2, ernst, ernst + 2)]
    assert max(found) == found[1]


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


ORDER = {
    Modality.T1: ("white_matter", "grey_matter", "csf"),
    Modality.T1CE: ("white_matter", "grey_matter", "csf"),
    Modality.T2: ("csf", "grey_matter", "white_matter"),
    Modality.FLAIR: ("grey_matter", "white_matter", "csf"),
}
"""From bright to dark."""


@pytest.mark.parametrize("modality", ORDER, ids=str)
def test_white_grey_and_csf_are_in_order_on_the_standard_of_each_contrast(modality: Modality) -> None:
    found = signals(STANDARD[modality])
    order = [found[name] for name in ORDER[modality]]
    assert order == sorted(order, reverse=True)
    assert order[0] > 1.1 * order[1]
    assert order[1] > 1.1 * order[2]


@pytest.mark.parametrize("modality", ORDER, ids=str)
def test_white_grey_and_csf_are_in_order_on_random_protocols_of_unusual_heads(modality: Modality) -> None:
    rng = np.random.default_rng(0)
    right = []
    for _ in range(200):
        found = signals(random_protocol(modality, rng), dict(draw_deviations(rng)), scale=1.0)
        order = [found[name] for name in ORDER[modality]]
        right.append(order == sorted(order, reverse=True))
        if modality is not Modality.FLAIR:
            assert order[0] > order[2]
        else:
            assert order[1] > order[2]
    assert np.mean(right) > 0.8


def test_on_proton_density_grey_is_brighter_than_white() -> None:
    found = signals(STANDARD[Modality.PD])
    assert found["grey_matter"] > 1.05 * found["white_matter"]


def test_grey_over_white_on_the_standards_is_what_was_measured_on_real_scans() -> None:
    ratio = {m: signals(STANDARD[m])["grey_matter"] / signals(STANDARD[m])["white_matter"] for m in MR}
    assert ratio[Modality.T1] == pytest.approx(0.77, abs=0.03)
    assert ratio[Modality.T2] == pytest.approx(1.39, abs=0.03)
    assert ratio[Modality.FLAIR] == pytest.approx(1.18, abs=0.03)


@pytest.mark.parametrize("modality", MR, ids=str)
def test_bone_and_air_are_dark_on_every_mr_contrast(modality: Modality) -> None:
    found = signals(STANDARD[modality])
    assert found["cortical_bone"] < 0.15 * found["white_matter"]
    assert found["air"] == found["cavity"] == 0


def test_fat_is_bright_on_t1_and_t2_and_dark_where_it_is_suppressed() -> None:
    for modality in (Modality.T1, Modality.T2):
        found = signals(STANDARD[modality])
        assert found["fat"] > 1.5 * found["white_matter"]
    flair = signals(STANDARD[Modality.FLAIR])
    assert flair["fat"] < 0.6 * flair["white_matter"]
    rng = np.random.default_rng(0)
    suppressed = [random_protocol(Modality.T2, rng).fat < 0.5 for _ in range(300)]
    assert 0.15 < np.mean(suppressed) < 0.35


@pytest.mark.parametrize("tissue", ["ms_lesion", "oedema", "glioma", "infarct", "gliosis", "leukoaraiosis"])
def test_lesions_are_bright_on_flair_and_t2_and_darker_than_white_matter_on_t1(tissue: str) -> None:
    for modality in (Modality.FLAIR, Modality.T2):
        found = signals(STANDARD[modality])
        assert found[tissue] > 1.3 * found["white_matter"]
        assert found[tissue] > 1.1 * found["grey_matter"]
    t1 = signals(STANDARD[Modality.T1])
    assert t1[tissue] < t1["white_matter"]


def test_contrast_agent_brightens_what_takes_it_up_and_leaves_the_brain() -> None:
    before, after = signals(STANDARD[Modality.T1]), signals(STANDARD[Modality.T1CE])
    for name in ("enhancing", "meningioma", "vein", "choroid", "dura"):
        assert after[name] > 1.3 * before[name]
        assert after[name] > 1.2 * after["grey_matter"]
    for name in ("white_matter", "grey_matter", "csf", "necrosis", "oedema"):
        assert after[name] == pytest.approx(before[name], rel=1e-6)


def test_blood_clots_change_with_age_as_radiologists_know() -> None:
    t1, t2 = (signals(STANDARD[m]) for m in (Modality.T1, Modality.T2))
    assert t2["acute_clot"] < 0.6 * t2["white_matter"]
    assert t1["early_clot"] > t1["white_matter"]
    assert t2["early_clot"] < 0.6 * t2["white_matter"]
    assert t1["late_clot"] > t1["white_matter"]
    assert t2["late_clot"] > 1.3 * t2["grey_matter"]


FIELD_HU = {
    "white_matter": (20, 30),
    "grey_matter": (37, 45),
    "csf": (0, 15),
    "ventricle": (0, 15),
    "fat": (-120, -50),
    "muscle": (10, 40),
    "marrow": (300, 400),
    "cortical_bone": (700, 1900),
    "vein": (45, 65),
    "acute_clot": (50, 75),
    "oedema": (15, 25),
    "tumor": (25, 45),
}
"""Published ranges."""


@pytest.mark.parametrize("tissue", FIELD_HU)
def test_every_heads_hounsfield_units_lie_in_the_published_range(tissue: str) -> None:
    low, high = FIELD_HU[tissue]
    found = [
        hounsfield(draw_deviations(np.random.default_rng(seed)), scale=scale)[CODE[tissue]]
        for seed in range(20)
        for scale in (0.0, 0.5, 1.0)
    ]
    assert low <= min(found)
    assert max(found) <= high
    assert np.ptp(found) > 0


def test_relaxation_between_two_field_strengths_lies_between_theirs() -> None:
    grey = TISSUES["grey_matter"]
    assert grey.at(1.5) == pytest.approx((0.86, 833, 83))
    assert grey.at(3.0) == pytest.approx((0.86, 1558, 83))
    assert 833 < grey.at(2.1)[1] < 1558


def test_tissue_values_stay_within_their_spread() -> None:
    plain = values(3.0)
    moved = values(3.0, draw_deviations(np.random.default_rng(0)))
    for name, tissue in TISSUES.items():
        change = abs(math.log(moved.t1[CODE[name]] / plain.t1[CODE[name]]))
        assert change <= tissue.spread + 1e-5
