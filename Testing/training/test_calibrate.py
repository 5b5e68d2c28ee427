"""Intervals from held-out cases: the right factor, coverage on people left out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from formula_models import formula_bundle, head_regions, head_values
from modality_conversion.bundle import Bundle
from modality_conversion.modality import Modality
from training.config import ConfigError
from training.data.cases import write_case
from training.data.scale import normalise_source
from training.evaluation.calibrate import Volume, calibrate, quantile, raised_quantile, spearman, write_calibration
from training.evaluation.cases import packed_cases
from training.evaluation.command import run_calibrate
from training.evaluation.settings import CalibrateSettings
from training.project import Project

SIGMA = 1000 * np.exp(-2)
"""What the formula says of itself, in HU: its log-variance is -4."""


def noisy_heads(folder: Path, errors: tuple[float, ...]) -> Path:
    """Heads whose CT is the T1 minus 0.5 (HU / 1000) with normal errors, one of each size; two cases a person."""
    for number, error in enumerate(errors):
        for scan in range(2):
            values = normalise_source(head_values(number), Modality.T1)
            rng = np.random.default_rng([number, scan])
            noise = rng.normal(0, error, values.shape)
            about = {"person": f"head {number}", "origin": "simulated"}
            target = {Modality.CT: values - 0.5 + noise}
            write_case(folder / f"head_{number}_{scan}", {Modality.T1: values}, target, head_regions(), about)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return formula_bundle(tmp_path_factory.mktemp("bundles") / "formula", target=Modality.CT, offset=-0.5)


def settings(folder: Path, **changes: object) -> CalibrateSettings:
    return CalibrateSettings.model_validate({"folder": folder / "out", "cases": [folder / "cases"], **changes})


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_the_factor_is_the_one_that_normal_errors_need(tmp_path: Path, bundle: Bundle, coverage: float) -> None:
    cases = packed_cases(noisy_heads(tmp_path / "cases", (0.08, 0.08)))
    content = calibrate(bundle, cases, settings(tmp_path, coverage=coverage))
    rows = {row["tissue"]: row for row in content["calibration"]["factors"]}
    wanted = 80 / SIGMA * stats.norm.ppf(0.5 + coverage / 2)
    soft = rows["soft_tissue"]
    assert soft["factor"] == pytest.approx(wanted, rel=0.05)
    assert soft["measured"] == pytest.approx(coverage, abs=0.02)
    assert soft["cases"] == 4
    assert soft["source"] == "T1"
    rows_of_truth = [row for row in content["regions"] if row["region"] in ("brain", "soft tissue")]
    assert len(rows_of_truth) == 2
    for row in rows_of_truth:
        assert row["coverage"] == pytest.approx(coverage, abs=0.04), row


def test_a_person_left_out_who_is_harder_than_the_others_is_not_covered_and_that_shows(
    tmp_path: Path, bundle: Bundle
) -> None:
    cases = packed_cases(noisy_heads(tmp_path / "cases", (0.02, 0.2)))
    content = calibrate(bundle, cases, settings(tmp_path))
    soft = next(row for row in content["calibration"]["factors"] if row["tissue"] == "soft_tissue")
    harder = stats.norm.cdf(1.6449 * 0.02 / 0.2) * 2 - 1
    assert soft["measured"] == pytest.approx((harder + 1) / 2, abs=0.03)


def test_one_person_alone_gives_factors_but_no_measured_coverage(tmp_path: Path, bundle: Bundle) -> None:
    content = calibrate(bundle, packed_cases(noisy_heads(tmp_path / "cases", (0.05,))), settings(tmp_path))
    assert {row["measured"] for row in content["calibration"]["factors"]} == {None}


def test_the_verb_writes_the_factors_into_the_bundle_and_the_engine_takes_it(tmp_path: Path) -> None:
    own = formula_bundle(tmp_path / "bundle", target=Modality.CT, offset=-0.5)
    noisy_heads(tmp_path / "cases", (0.05, 0.05))
    export = json.loads(json.dumps({"folder": str(own.path)}))
    export |= {
        **{"title": "t", "version": "1", "citation": "c", "authors": "a", "datasets": [], "training": "x"},
        "limits": [],
    }
    project = Project.model_validate({"export": export, "calibrate": settings(tmp_path).model_dump()})
    run_calibrate(project, Console(quiet=True))
    loaded = Bundle.load(own.path)
    assert loaded.spec.calibration is not None
    assert loaded.spec.calibration.coverage == 0.9
    assert "4 held-out cases of 2 people" in loaded.spec.calibration.data
    content = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert content["weights"] == [entry.sha256 for entry in own.spec.weights]
    assert content["conversions"] == 4


def test_a_calibration_that_the_engine_refuses_leaves_the_bundle_as_it_was(tmp_path: Path) -> None:
    own = formula_bundle(tmp_path / "bundle", target=Modality.CT)
    path = own.path / "configs" / "conversion.json"
    before = path.read_text(encoding="utf-8")
    factor = {"target": "FLAIR", "tissue": "dark_deep", "factor": 1.0, "cases": 1}
    with pytest.raises(ConfigError, match="does not make FLAIR"):
        write_calibration(own, {"calibration": {"coverage": 0.9, "factors": [factor], "data": "x"}}, tmp_path / "out")
    assert path.read_text(encoding="utf-8") == before


def test_a_model_that_is_never_unsure_and_cases_that_do_not_fit_are_refused(tmp_path: Path, bundle: Bundle) -> None:
    sure = bundle.spec.model_copy(update={"output": bundle.spec.output.model_copy(update={"uncertainty": None})})
    with pytest.raises(ConfigError, match="nothing to calibrate"):
        calibrate(Bundle(bundle.path, sure, {}), [], settings(tmp_path))
    with pytest.raises(ConfigError, match="Nothing could be calibrated"):
        calibrate(bundle, [], settings(tmp_path))


def test_the_quantile_steps_up_for_few_scores() -> None:
    scores = [np.arange(1, 10, dtype=np.float32)]  # nine scores: the rank for 0.9 is ceil(10 * 0.9) = 9
    assert quantile(scores, 0.9) == 9
    assert quantile(scores, 0.5) == 5


def people_of(scales: np.ndarray, rng: np.random.Generator) -> list[list[np.ndarray]]:
    return [[np.abs(rng.normal(0, scale, 400)).astype(np.float32)] for scale in scales]


def test_the_level_is_raised_so_that_a_new_person_is_covered() -> None:
    """People who differ in how hard they are: what covers nine in ten voxels of all covers fewer of the next person's."""
    rng = np.random.default_rng(0)
    plain, raised = [], []
    for _ in range(150):
        people = people_of(np.exp(rng.normal(0, 0.8, 5)), rng)
        new = people.pop()[0]
        every = [part for parts in people for part in parts]
        factors = quantile(every, 0.9), raised_quantile(people, 0.9)
        assert factors[1] >= factors[0]
        plain.append(np.mean(new <= factors[0]))
        raised.append(np.mean(new <= factors[1]))
    assert np.mean(plain) < 0.89
    assert 0.9 < np.mean(raised) < 0.93


def test_people_who_are_alike_need_no_raised_level() -> None:
    people = people_of(np.ones(4), np.random.default_rng(1))
    every = [part for parts in people for part in parts]
    assert raised_quantile(people, 0.9) == pytest.approx(quantile(every, 0.9), rel=0.02)
    assert raised_quantile(people[:1], 0.9) == quantile(people[0], 0.9)


def test_a_volumes_half_width_is_the_mean_over_its_tissues() -> None:
    volume = Volume("one", Modality.T1, Modality.CT, {"bone": 2.0, "soft_tissue": 3.0}, 7.0)
    factors = {
        (Modality.T1, Modality.CT, "bone"): 1.5,
        (Modality.T1, Modality.CT, "soft_tissue"): 2.0,
        (Modality.T2, Modality.CT, "soft_tissue"): 100.0,
    }
    assert volume.half_width(factors) == 9


def test_one_hard_person_does_not_make_a_few_voxels_decide() -> None:
    """No level covers both of two who differ so much: the factor is what the harder one needs."""
    rng = np.random.default_rng(2)
    for scales in ((1, 3), (1, 1, 5), (1, 1, 1, 1, 8)):
        people = people_of(np.array(scales, float), rng)
        every = [part for parts in people for part in parts]
        found = raised_quantile(people, 0.9)
        assert quantile(every, 0.9) <= found <= quantile(people[-1], 0.9)


def test_a_volume_without_a_known_tissue_has_no_half_width() -> None:
    assert Volume("one", Modality.T1, Modality.CT, {}, 7.0).half_width({}) is None


def test_volumes_are_ranked_within_one_target(tmp_path: Path, bundle: Bundle) -> None:
    """Three people, the more unsure the farther off."""
    cases = packed_cases(noisy_heads(tmp_path / "cases", (0.02, 0.05, 0.1)))
    content = calibrate(bundle, cases, settings(tmp_path))
    assert set(content["spearman_by_target"]) == {"CT"}
    assert content["spearman"] == content["spearman_by_target"]["CT"]
    rows = content["volumes"]
    assert len(rows) == content["conversions"] == 6
    pairs = [(row["half_width"], row["error"]) for row in rows]
    assert content["spearman"] == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).statistic)


def test_spearman_of_too_few_volumes_is_none() -> None:
    assert spearman([(1, 2), (2, 3)]) is None
    assert spearman([(1, 2), (2, 3), (3, 5)]) == pytest.approx(1)
