"""Were lesions kept? Outlines matched, places looked at, and what cannot be judged said so."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from lesion_heads import SIZE, Ball, HeadScan
from modality_conversion.errors import ConversionError
from modality_conversion.lesions import LesionCheck, Limits, check_lesions
from modality_conversion.modality import Modality
from volumes import filled

ONE = Ball((20, 40, 25), 7.0, 50.0)
TWO = Ball((44, 30, 30), 9.0, 60.0)
THREE = Ball((30, 20, 18), 6.0, 45.0)


def outlined(real: HeadScan, synthetic: HeadScan, **options: object) -> LesionCheck:
    """Both outlined by what is known of them."""
    settings = {"real_modality": Modality.T2, "synthetic_modality": Modality.T2, "zone": real.brain(), **options}
    return check_lesions(
        real.scan(),
        synthetic.scan(),
        real_lesions=real.mask() if real.balls else empty(real),
        synthetic_lesions=synthetic.mask() if synthetic.balls else empty(synthetic),
        **settings,  # type: ignore[arg-type]
    )


def given(real: HeadScan, synthetic: HeadScan, mask: sitk.Image | None = None, **options: object) -> LesionCheck:
    """Only the real one outlined; PET is a modality that the crude finder leaves alone."""
    settings = {"real_modality": Modality.PET, "synthetic_modality": Modality.PET, "zone": real.brain(), **options}
    return check_lesions(real.scan(), synthetic.scan(), real_lesions=mask or real.mask(), **settings)  # type: ignore[arg-type]


def empty(head: HeadScan) -> sitk.Image:
    assert head.grid is not None
    return filled(head.grid, np.zeros(SIZE[::-1], np.uint8))


def verdicts(check: LesionCheck) -> list[str]:
    return [lesion.verdict for lesion in check.lesions]


# --- outlines on both scans ---------------------------------------------------------------------------------------------


def test_lesions_on_both_scans_are_kept_one_gone_is_lost_and_one_more_is_added() -> None:
    check = outlined(HeadScan((ONE, TWO)), HeadScan((TWO, THREE)))
    assert check.counts == {"lost": 1, "added": 1, "changed": 0, "unclear": 0, "kept": 1}
    assert check.verdict.startswith("3 lesions: 1 lost, 1 added, 1 kept")
    by_verdict = {lesion.verdict: lesion for lesion in check.lesions}
    assert by_verdict["lost"].voxel == ONE.centre
    assert by_verdict["kept"].voxel == TWO.centre
    assert by_verdict["added"].voxel == THREE.centre


def test_position_and_volume_and_contrast_are_those_planted() -> None:
    head = HeadScan((TWO,))
    lesion = outlined(head, head).lesions[0]
    scan = head.scan()
    assert lesion.position == pytest.approx(scan.TransformIndexToPhysicalPoint(TWO.centre))
    assert lesion.volume_ml == pytest.approx(np.count_nonzero(head.where(TWO)) * 2.5**3 / 1000)
    assert lesion.volume_ml == pytest.approx(4 / 3 * np.pi * 9**3 / 1000, rel=0.1)
    assert lesion.real is not None
    assert lesion.real.ratio == pytest.approx(1.6, abs=0.05)  # 100 + 60 over 100
    assert lesion.contrast_ratio == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("strength", "verdict"), [(1.0, "kept"), (0.7, "kept"), (0.3, "changed"), (2.6, "changed")])
def test_a_lesion_of_another_contrast_is_changed_beyond_the_limit(strength: float, verdict: str) -> None:
    check = outlined(HeadScan((TWO,)), HeadScan((replace(TWO, value=strength * TWO.value),)))
    assert verdicts(check) == [verdict]
    assert check.lesions[0].contrast_ratio == pytest.approx(strength, abs=0.1)


def test_contrasts_of_two_modalities_are_told_but_not_judged() -> None:
    check = outlined(
        HeadScan((TWO,)),
        HeadScan((replace(TWO, value=-50),)),
        real_modality=Modality.T2,
        synthetic_modality=Modality.T1,
    )
    assert verdicts(check) == ["kept"]
    assert check.lesions[0].contrast_ratio == pytest.approx(-50 / 60, abs=0.1)


@pytest.mark.parametrize(("radius", "verdict"), [(9.0, "kept"), (5.0, "changed"), (14.0, "changed")])
def test_a_lesion_of_another_size_is_changed_beyond_the_limit(radius: float, verdict: str) -> None:
    assert verdicts(outlined(HeadScan((TWO,)), HeadScan((replace(TWO, radius=radius),)))) == [verdict]


def test_outlines_that_miss_each_other_by_less_than_the_reach_are_one_lesion() -> None:
    small = Ball((20, 40, 25), 4.0, 50.0)
    beside = replace(small, centre=(23, 40, 25))  # 7.5 mm on: 2.5 mm from edge to edge
    near, far = (
        outlined(HeadScan((small,)), HeadScan((beside,)), limits=Limits(reach_mm=reach)) for reach in (5.1, 1.0)
    )
    assert verdicts(near) == ["kept"]
    assert sorted(verdicts(far)) == ["added", "lost"]


def test_two_lesions_that_run_together_are_not_lost() -> None:
    first, second = Ball((20, 40, 25), 5.0, 50.0), Ball((26, 40, 25), 5.0, 50.0)
    bridge = Ball((23, 40, 25), 5.0, 50.0)
    real = HeadScan((first, second))
    merged = HeadScan((replace(bridge, radius=9.0),))
    check = outlined(real, merged, limits=Limits(volume_ratio=(0.2, 5)))
    assert verdicts(check) == ["kept", "kept"]
    assert "run together" in check.lesions[0].reason


def test_small_lesions_are_counted_and_not_judged() -> None:
    dot = Ball((40, 50, 30), 1.0, 60.0)  # one voxel, 0.016 mL
    check = outlined(HeadScan((TWO, dot)), HeadScan((TWO,)))
    assert verdicts(check) == ["kept"]
    assert check.smaller == 1


def test_nothing_to_check_is_said_in_words() -> None:
    check = outlined(HeadScan(), HeadScan())
    assert check.nothing_to_check
    assert check.verdict.startswith("Nothing to check: no lesion of 0.1 mL or more")
    assert "does not prove" in check.verdict


# --- outlined on the real scan alone ------------------------------------------------------------------------------------


def test_known_places_are_looked_at_on_the_synthetic_scan() -> None:
    check = given(HeadScan((ONE, TWO, THREE)), HeadScan((TWO, replace(THREE, value=15)), seed=1))
    found = {lesion.voxel: lesion.verdict for lesion in check.lesions}
    assert found == {ONE.centre: "lost", TWO.centre: "kept", THREE.centre: "changed"}


@pytest.mark.parametrize(("radius", "verdict"), [(5.5, "lost"), (8.5, "kept"), (13.0, "changed")])
def test_a_known_lesion_of_another_size_is_changed_and_one_that_shrank_below_half_is_lost(
    radius: float, verdict: str
) -> None:
    check = given(HeadScan((TWO,)), HeadScan((replace(TWO, radius=radius),), seed=1))
    assert verdicts(check) == [verdict]
    assert ("it has grown" in check.lesions[0].reason) == (verdict == "changed")


def test_between_two_modalities_a_lesion_much_weaker_than_the_others_is_changed() -> None:
    four = (ONE, TWO, THREE, Ball((40, 48, 20), 7.0, 55.0))
    weak = (replace(ONE, value=12), *four[1:])
    kinds = {"real_modality": Modality.PET, "synthetic_modality": Modality.PD}
    check = given(HeadScan(four), HeadScan(weak, seed=1), **kinds)
    assert {lesion.voxel: lesion.verdict for lesion in check.lesions}[ONE.centre] == "changed"
    assert check.counts["kept"] == 3
    assert "times that of the other lesions" in check.lesions[0].reason
    assert given(HeadScan(four), HeadScan(four, seed=1), **kinds).counts["kept"] == 4


def test_a_place_where_neither_scan_shows_anything_is_unclear_not_kept() -> None:
    check = given(HeadScan(), HeadScan(seed=1), HeadScan((Ball((20, 40, 25), 7.0, 0.0),)).mask())
    assert verdicts(check) == ["unclear"]


def test_a_lesion_at_the_edge_of_the_field_is_judged_and_said_to_be_cut() -> None:
    edge = Ball((32, 36, 0), 9.0, 60.0)
    real = HeadScan((edge,))
    # The field of view ends in the brain.
    part = slice(14, None)

    def cut(image: sitk.Image) -> sitk.Image:
        return image[:, :, part]

    moved = Ball((32, 36, 14), 9.0, 60.0)
    real = HeadScan((moved,))
    check = check_lesions(
        cut(real.scan()),
        cut(HeadScan(seed=1).scan()),
        real_modality=Modality.PET,
        synthetic_modality=Modality.PET,
        real_lesions=cut(real.mask()),
        zone=cut(real.brain()),
    )
    assert verdicts(check) == ["lost"]
    assert any("edge of the field of view" in warning for warning in check.warnings)


def test_a_lesion_that_is_the_whole_brain_cannot_be_judged() -> None:
    head = HeadScan()
    check = given(head, HeadScan(seed=1), head.brain())
    assert verdicts(check) == ["unclear"]
    assert "nothing is around it" in check.lesions[0].reason
    assert check.lesions[0].real is None


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("axis", "word"), [(0, "left to right"), (1, "back to front"), (2, "upside down")])
def test_a_mirrored_synthetic_scan_is_refused(axis: int, word: str) -> None:
    real = HeadScan((ONE, TWO))
    array = np.flip(HeadScan((ONE, TWO), gain=3, seed=1).array(), 2 - axis)
    assert real.grid is not None
    with pytest.raises(ConversionError, match=f"mirrored \\({word}\\)"):
        check_lesions(
            real.scan(),
            filled(real.grid, np.ascontiguousarray(array)),
            real_modality=Modality.T2,
            synthetic_modality=Modality.T2,
            real_lesions=real.mask(),
        )


def test_two_scans_that_have_nothing_in_common_are_refused() -> None:
    real = HeadScan((ONE,))
    assert real.grid is not None
    noise = np.random.default_rng(0).uniform(0, 100, SIZE[::-1]).astype(np.float32)
    given_noise = filled(real.grid, noise)
    with pytest.raises(ConversionError, match="do not show the same head"):
        check_lesions(
            real.scan(),
            given_noise,
            real_modality=Modality.T2,
            synthetic_modality=Modality.T2,
            real_lesions=real.mask(),
            zone=real.brain(),
        )


def test_other_grids_constants_and_lone_outlines_are_refused_with_a_reason() -> None:
    head = HeadScan((ONE,))
    scan, kinds = head.scan(), {"real_modality": Modality.T2, "synthetic_modality": Modality.T2}
    moved = head.scan()
    moved.SetSpacing((2.0, 2.5, 2.5))
    with pytest.raises(ConversionError, match=r"synthetic scan is not on the real scan's grid: spacing"):
        check_lesions(scan, moved, **kinds)  # type: ignore[arg-type]
    with pytest.raises(ConversionError, match=r"outline of lesions is not on the real scan's grid"):
        check_lesions(scan, scan, real_lesions=moved, **kinds)  # type: ignore[arg-type]
    with pytest.raises(ConversionError, match="same value everywhere"):
        check_lesions(scan, scan * 0, real_lesions=head.mask(), **kinds)  # type: ignore[arg-type]
    with pytest.raises(ConversionError, match="those of the real scan too"):
        check_lesions(scan, scan, synthetic_lesions=head.mask(), **kinds)  # type: ignore[arg-type]
    with pytest.raises(ConversionError, match="mask is empty"):
        check_lesions(scan, scan, zone=empty(head), **kinds)  # type: ignore[arg-type]
    with pytest.raises(ConversionError, match="does not know it"):
        check_lesions(scan, scan, real_modality=Modality.PET, synthetic_modality=Modality.T2)


def test_an_outline_that_is_noise_is_refused_at_once() -> None:
    head = HeadScan((ONE,))
    assert head.grid is not None
    checkered = np.zeros(SIZE[::-1], np.uint8)
    checkered[::2, ::2, ::2] = 1
    with pytest.raises(ConversionError, match="more than any head has"):
        given(head, head, filled(head.grid, checkered), limits=Limits(smallest_ml=0))


def test_voxels_without_a_number_are_said_and_do_not_spread() -> None:
    head = HeadScan((TWO,))
    holes = head.array()
    holes[10:14, 10:14, 10:14] = np.nan
    assert head.grid is not None
    check = check_lesions(
        filled(head.grid, holes),
        HeadScan((TWO,), seed=1).scan(),
        real_modality=Modality.T2,
        synthetic_modality=Modality.T2,
        real_lesions=head.mask(),
        synthetic_lesions=head.mask(),
        zone=head.brain(),
    )
    assert verdicts(check) == ["kept"]
    assert any("64 voxels of the real scan are NaN" in warning for warning in check.warnings)
    assert "NaN" not in json.dumps(check.as_dict()).replace("are NaN", "")
