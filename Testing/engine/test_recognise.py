"""What a scan is, by the image alone."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import heads
from command import Runner, failed
from modality_conversion import Catalog, ConversionError, catalog, recognise
from modality_conversion.modality import Modality
from modality_conversion.recognise_input import BLOCKS, view
from modality_conversion.recognise_network import (
    KINDS,
    OUTPUTS,
    RECOGNISER_FILE,
    Network,
    find_recogniser,
    open_network,
    read_declaration,
)
from volumes import rotation

KNOWN = ("T1", "T1CE", "T2", "FLAIR", "PD", "CT")


@pytest.fixture(scope="module")
def network() -> Network:
    return open_network(heads.RECOGNISER)


def named(image: sitk.Image, network: Network) -> str:
    return recognise(image, network).kind


# --- heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KNOWN)
def test_a_whole_head_is_called_by_its_name(kind: str, network: Network) -> None:
    seen = recognise(heads.head(kind), network)
    assert (seen.kind, seen.modality) == (kind, Modality(kind))
    assert seen.confidence >= network.declaration.known_above
    assert seen.is_head
    assert not seen.is_stripped
    assert seen.orientation.plausible
    assert seen.coverage > 0.8
    assert sum(seen.probabilities.values()) == pytest.approx(1)
    assert list(seen.probabilities) == list(KINDS)


@pytest.mark.parametrize("kind", KNOWN)
def test_a_stripped_head_is_named_right_or_not_at_all_and_called_stripped(kind: str, network: Network) -> None:
    seen = recognise(heads.head(kind, stripped=True), network)
    assert seen.kind in (kind, "do not know")
    assert seen.is_stripped


def test_a_t1_whose_vessels_are_bright_without_contrast_agent_is_not_called_t1ce(network: Network) -> None:
    seen = recognise(heads.head("T1_inflow"), network)
    assert seen.kind in ("T1", "do not know")
    assert seen.probabilities["T1"] + seen.probabilities["T1CE"] > 0.8


def test_the_answer_does_not_depend_on_units_spacing_or_how_the_axes_are_stored(network: Network) -> None:
    first = recognise(heads.head("T1"), network).probabilities
    volume = heads.voxels("T1")
    scaled = recognise(heads.placed(volume * 37 + 1000), network).probabilities
    assert scaled == pytest.approx(first, abs=1e-3)
    for axes in ("LPS", "ASL", "IRP"):
        stored = sitk.DICOMOrient(heads.head("T1"), axes)
        assert stored.GetSize() != heads.head("T1").GetSize() or axes == "LPS"
        assert recognise(stored, network).probabilities == pytest.approx(first, abs=1e-3)
    fine = sitk.Resample(
        heads.head("T1"), [n * 3 for n in heads.head("T1").GetSize()], sitk.Transform(), sitk.sitkLinear,
        [o - s * 1.0 for o, s in zip(heads.head("T1").GetOrigin(), (-1, -1, 1), strict=True)], (1, 1, 1),
        heads.head("T1").GetDirection(),
    )  # fmt: skip
    assert named(fine, network) == "T1"


def test_thick_slices_and_an_oblique_grid_are_seen_through(network: Network) -> None:
    image = heads.head("T2")
    turned = sitk.Image(image)
    turned.SetDirection((rotation((0.15, -0.1, 0.2)) @ np.reshape(image.GetDirection(), (3, 3))).ravel().tolist())
    assert named(turned, network) == "T2"
    thick = sitk.Shrink(image, (1, 1, 2))
    assert named(thick, network) in ("T2", "do not know")


def test_missing_voxels_do_not_matter(network: Network) -> None:
    volume = heads.voxels("FLAIR")
    volume[:, :, :3] = np.nan
    volume[0, 0, 0] = np.inf
    assert named(heads.placed(volume), network) == "FLAIR"


def test_padding_outside_a_scanners_circle_does_not_hide_a_ct(network: Network) -> None:
    volume = heads.voxels("CT")
    y, x = np.ogrid[-1 : 1 : volume.shape[1] * 1j, -1 : 1 : volume.shape[2] * 1j]
    volume[:, y * y + x * x > 1.3] = -3024
    assert named(heads.placed(volume), network) == "CT"


# --- which way up, and how much ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("axis", "top", "face"), [(0, "inferior", "anterior"), (1, "superior", "posterior")])
def test_a_head_that_is_upside_down_or_back_to_front_is_noticed(
    axis: int, top: str, face: str, network: Network
) -> None:
    seen = recognise(heads.placed(np.flip(heads.voxels("T1"), axis)), network)
    assert seen.orientation.plausible is not True
    assert (seen.orientation.top, seen.orientation.face) == (top, face)


def test_a_head_mirrored_from_left_to_right_is_a_plausible_head(network: Network) -> None:
    seen = recognise(heads.placed(np.flip(heads.voxels("T1"), 2)), network)
    assert seen.orientation.plausible
    assert seen.kind == "T1"


def test_a_header_that_exchanges_two_axes_is_noticed(network: Network) -> None:
    seen = recognise(heads.placed(heads.voxels("T1").transpose(1, 0, 2)), network)
    assert seen.orientation.plausible is not True


def test_a_scan_that_ends_within_the_brain_says_where(network: Network) -> None:
    volume = heads.voxels("T1")
    filled = np.flatnonzero((heads._stored()["brain"] > 50).any((1, 2)))
    top = int(filled[0] + 0.5 * (filled[-1] - filled[0]))
    seen = recognise(heads.placed(volume[:top]), network)
    assert "superior" in seen.cut
    assert "inferior" not in seen.cut
    assert seen.coverage < 0.8


# --- what is none of them ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [heads.noise(), heads.knee(True), heads.knee(False)], ids=["noise", "CT", "MR"])
def test_noise_and_a_knee_are_no_head_and_no_kind_of_one(image: sitk.Image, network: Network) -> None:
    seen = recognise(image, network)
    assert seen.kind in ("other", "do not know")
    assert seen.modality is None
    assert not seen.is_head


def test_a_head_without_its_brain_is_not_named_with_a_whole_brain(network: Network) -> None:
    volume = heads.voxels("T1")
    volume[heads._stored()["brain"] > 10] = 0
    seen = recognise(heads.placed(volume), network)
    assert seen.kind in ("T1", "other", "do not know")
    whole = recognise(heads.head("T1"), network)
    assert seen.distance > whole.distance
    assert seen.unusual >= whole.unusual


def test_a_map_of_labels_is_not_named(network: Network) -> None:
    volume = np.digitize(heads.voxels("T1"), [10, 40, 60])
    seen = recognise(heads.placed(volume), network)
    assert seen.kind == "do not know"
    assert "only 4 different values" in seen.notes[0]


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (np.full((20, 20, 20), 7.0), "the same value everywhere"),
        (np.pad(np.ones((1, 1, 1)), 3) * np.nan + 0, None),
        (heads.voxels("T1")[30:32], "only 6 mm thick"),
        (heads.voxels("T1")[:, 30:31], "only 3 mm thick"),
        (np.arange(2.0).reshape(2, 1, 1), "only"),
        (np.arange(1.0).reshape(1, 1, 1), "the same value everywhere"),
    ],
)
def test_where_there_is_nothing_to_see_the_answer_is_do_not_know(
    volume: np.ndarray, words: str | None, network: Network
) -> None:
    if words is None:
        with pytest.raises(ConversionError, match="no number in any voxel"):
            recognise(heads.placed(volume), network)
        return
    seen = recognise(heads.placed(volume), network)
    assert seen.kind == "do not know"
    assert seen.modality is None
    assert any(words in note for note in seen.notes)


@pytest.mark.parametrize("spacing", [1e-4, 0.05, 40.0, 1e6])
def test_absurd_voxel_sizes_take_no_more_memory_and_give_an_answer(spacing: float, network: Network) -> None:
    began = time.perf_counter()
    seen = recognise(heads.placed(heads.voxels("T1"), spacing), network)
    assert view(heads.placed(heads.voxels("T1"), spacing)).blocks.shape == BLOCKS
    assert np.isfinite(seen.distance)
    assert time.perf_counter() - began < 10


def test_a_long_body_scan_is_cut_to_a_box_around_its_middle() -> None:
    volume = np.zeros((900, 60, 60), np.float32)
    volume[:, 10:50, 10:50] = np.random.default_rng(0).uniform(1, 2, (900, 40, 40))
    inside = view(heads.placed(volume, 2.0)).blocks[3]
    assert inside.any((1, 2)).all()  # it goes on beyond the cube at both ends
    assert 0 < inside.mean() < 1


@pytest.mark.parametrize(
    "image", [sitk.Image(4, 4, sitk.sitkFloat32), sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 2)]
)
def test_what_is_no_scalar_volume_is_refused(image: sitk.Image, network: Network) -> None:
    with pytest.raises(ConversionError):
        recognise(image, network)


def test_the_values_of_the_scan_are_left_alone(network: Network) -> None:
    image = heads.head("T1")
    before = sitk.GetArrayFromImage(image)
    recognise(image, network)
    assert np.array_equal(sitk.GetArrayViewFromImage(image), before)


# --- the folder -------------------------------------------------------------------------------------------------------


def test_the_bundled_recogniser_is_found_light_and_no_model() -> None:
    assert find_recogniser() == heads.RECOGNISER
    assert sum(file.stat().st_size for file in heads.RECOGNISER.rglob("*") if file.is_file()) < 1_100_000
    assert (heads.RECOGNISER / "models" / "model.onnx").stat().st_size < 1_000_000
    assert all(entry.path.name != "recogniser" for entry in Catalog().entries())
    assert all(found.path.name != "recogniser" for found in Catalog().summaries())


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(catalog, "bundled_models_dir", lambda: tmp_path / "bundled")
    return Path(shutil.copytree(heads.RECOGNISER, tmp_path / "bundled" / "recogniser"))


def test_damaged_weights_are_refused_before_they_are_loaded(copy: Path) -> None:
    weights = copy / "models" / "model.onnx"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ConversionError, match=r"missing or damaged.*Copy the folder"):
        Network(copy)
    weights.unlink()
    with pytest.raises(ConversionError, match="missing or damaged"):
        Network(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": "9"}, "schema_version"),
        ({"outputs": {**OUTPUTS, "head": 2}}, "answers are not those"),
        ({"kinds": ["T1"]}, "answers are not those"),
        ({"known_above": 2}, "known_above"),
        ({"distances": [[0, 1], [0.5, 0.5]]}, "rising pairs"),
        ({"distances": [1, 2]}, "rising pairs"),
        ({"weights": {"path": "../x", "sha256": ""}}, "outside its folder"),
        ({"weights": None}, "not usable"),
    ],
)
def test_a_wrong_declaration_is_said_in_one_line(copy: Path, change: dict, words: str) -> None:
    file = copy / RECOGNISER_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ConversionError, match=words) as caught:
        read_declaration(copy)
    assert "\n" not in str(caught.value)


def test_without_a_recogniser_one_is_told_to_say_what_the_scan_is(tmp_path: Path, own_models_only: None) -> None:
    with pytest.raises(ConversionError, match=r"recogniser is missing.*--from"):
        find_recogniser()


def test_how_unusual_a_distance_is_rises_from_none_to_all(network: Network) -> None:
    asked = np.linspace(0, 10 * network.declaration.distances[-1][1], 200)
    shares = [network.declaration.unusual(float(distance)) for distance in asked]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert (np.diff(shares) >= 0).all()


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_what_the_image_shows_beside_what_its_name_says(tmp_path: Path, run: Runner) -> None:
    path = tmp_path / "scan_T1w.nii.gz"
    sitk.WriteImage(heads.head("T2"), str(path))
    outcome = run("recognise", path)
    assert outcome.code == 0
    assert outcome.lines[0].startswith("By the image:    T2 (")
    assert outcome.lines[1] == "By its file:     T1, from the file name scan_T1w.nii.gz"
    assert any("a head" in line and "skull in place" in line for line in outcome.lines)
    assert any("left and right cannot be told apart" in line for line in outcome.lines)
    found = json.loads(run("recognise", path, "--json").out)
    assert (found["kind"], found["modality"], found["declared"]["modality"]) == ("T2", "T2", "T1")
    assert found["spacing"] == [3, 3, 3]


@pytest.mark.parametrize("placed", [True, False])
def test_the_command_says_where_a_header_gives_no_place(placed: bool, tmp_path: Path, run: Runner) -> None:
    path = tmp_path / "scan.nii"
    sitk.WriteImage(heads.head("T2"), str(path))
    if not placed:
        content = bytearray(path.read_bytes())
        content[252:256] = bytes(4)  # qform_code and sform_code
        path.write_bytes(content)
    lines = run("recognise", path).lines
    assert any("does not say how the scan lies" in line for line in lines) != placed
    assert any("as its header says" in line for line in lines) == placed
    assert json.loads(run("recognise", path, "--json").out)["placed"] is placed


def test_the_command_refuses_what_is_no_scan_in_one_line(tmp_path: Path, run: Runner) -> None:
    failed(run("recognise", tmp_path / "none.nii.gz"), 1, "does not exist")
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no")
    failed(run("recognise", broken), 1, "Check the file")


def test_the_command_says_do_not_know_of_a_flat_scan(tmp_path: Path, run: Runner) -> None:
    path = tmp_path / "flat.nrrd"
    sitk.WriteImage(heads.placed(np.ones((9, 9, 9))), str(path))
    outcome = run("recognise", path)
    assert outcome.code == 0
    assert "do not know" in outcome.lines[0]
    assert any("same value everywhere" in line for line in outcome.lines)
    assert any("probably no head" in line for line in outcome.lines)


# --- real scans -------------------------------------------------------------------------------------------------------

DATA = Path(os.environ.get("MODALITY_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
REAL = {
    "ms_mni/patient19/T1.nii.gz": "T1",
    "ms_mni/patient19/T1POST.nii.gz": "T1CE",
    "ms_mni/patient19/T2.nii.gz": "T2",
    "ms_mni/patient19/FLAIR.nii.gz": "FLAIR",
    "ms_longitudinal/patient04/study1_T1W.nii.gz": "T1",
    "ms_longitudinal/patient04/study1_T2W.nii.gz": "T2",
    "ms_longitudinal/patient04/study1_FLAIR.nii.gz": "FLAIR",
    "ms_flair/training05.nii.gz": "FLAIR",
}


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the folder with real scans")
@pytest.mark.parametrize(("name", "kind"), REAL.items())
def test_a_real_scan_of_someone_kept_out_is_named_right_or_not_at_all(name: str, kind: str, network: Network) -> None:
    seen = recognise(sitk.ReadImage(str(DATA / name)), network)
    assert seen.kind in (kind, "do not know")
    assert seen.is_head
    assert seen.is_stripped == name.startswith("ms_mni")
    assert seen.orientation.plausible is not False
