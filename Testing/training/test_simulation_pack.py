"""Simulated cases on the disk: who is in which part, going on after a stop, slices, the picture, bad label maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from skimage.util import view_as_windows

from modality_conversion.modality import Modality
from small_head import small_labels, write_labels
from test_simulation import NOTHING
from training.config import ConfigError
from training.data.cases import complete_cases
from training.data.regions import Disease
from training.data.split import read_split
from training.data.structures import tumor_masks
from training.project import Project
from training.simulation.case import Case
from training.simulation.coarser import coarser
from training.simulation.command import run
from training.simulation.pack import Batch, person_of, plan, simulate_all
from training.simulation.preview import best_slice
from training.simulation.settings import SimulateSettings

QUICK = NOTHING | {"sources": ["T1", "CT"], "targets": ["T2"]}


def settings(folder: Path, **changes: object) -> SimulateSettings:
    given = {"labels": folder / "labels", "cases": folder / "cases", "counts": {"training": 2}, "case": QUICK}
    return SimulateSettings.model_validate(given | changes)


def test_label_maps_are_planned_by_the_split_and_strangers_are_written_into_one(tmp_path: Path) -> None:
    for name in ("training_seg_01", "training_seg_20"):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}.nii.gz").touch()
    wanted = settings(tmp_path, counts={"training": 3, "test": 1})
    shipped = {batch.person: batch.folder.name for batch in plan(wanted)}
    assert shipped == {"labels 1": "training", "labels 20": "test"}
    assert not (tmp_path / "cases" / "split.yaml").exists()
    for number in range(5):
        (tmp_path / "labels" / f"my head {number}.nii.gz").touch()
    mine = plan(settings(tmp_path, counts={"training": 1, "validation": 1, "test": 1}))
    split = read_split(tmp_path / "cases" / "split.yaml")
    assert len(mine) == 7
    for batch in mine:
        assert batch.folder.name == split.part_of(person_of(batch.label_map))
    assert {batch.folder.name for batch in mine if "my head" in batch.label_map.name} >= {"training", "validation"}


def test_a_folder_without_label_maps_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        plan(settings(tmp_path))
    (tmp_path / "labels").mkdir()
    with pytest.raises(ConfigError, match="no label maps"):
        plan(settings(tmp_path))


def test_an_unknown_label_stops_the_whole_simulation_and_names_the_file(tmp_path: Path) -> None:
    import SimpleITK as sitk

    labels = small_labels()
    labels[10, 10, 10] = 777
    (tmp_path / "labels").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "labels" / "training_seg_01.nii.gz"))
    with pytest.raises(ConfigError, match=r"training_seg_01\.nii\.gz: .*777"):
        list(simulate_all(plan(settings(tmp_path)), workers=1))


def test_simulate_writes_cases_and_a_picture_and_leaves_alone_what_is_there(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels" / "training_seg_01.nii.gz")
    project = Project(simulate=settings(tmp_path))
    run(project, Console(quiet=True), workers=1)
    folder = tmp_path / "cases" / "training"
    cases = list(complete_cases(folder))
    assert [case.name for case in cases] == ["training_seg_01_000", "training_seg_01_001"]
    assert {case.person for case in cases} == {"labels 1"}
    assert (tmp_path / "cases" / "preview.png").stat().st_size > 5000
    about = cases[0].about
    assert about["origin"] == "simulated"
    assert about["label_map"] == "training_seg_01.nii.gz"
    assert set(about["protocols"]) == {"T1", "CT"}

    first = np.array(cases[0].targets[next(iter(cases[0].targets))])
    untouched = (folder / "training_seg_01_001" / "case.json").stat().st_mtime_ns
    (folder / "training_seg_01_000" / "case.json").unlink()
    assert list(simulate_all(plan(settings(tmp_path)), workers=1)) == [1, 1]
    again = next(complete_cases(folder))
    assert np.array_equal(first, again.targets[next(iter(again.targets))])
    assert (folder / "training_seg_01_001" / "case.json").stat().st_mtime_ns == untouched


def test_cases_can_keep_some_neighbouring_slices_of_the_whole(tmp_path: Path) -> None:
    from training.simulation.anatomy import head_from_labels
    from training.simulation.case import simulate
    from training.simulation.pack import keep_slices
    from training.simulation.settings import CaseSettings

    case = simulate(
        head_from_labels(small_labels(), margin=4), CaseSettings.model_validate(QUICK), np.random.default_rng(0)
    )
    for seed in range(5):
        part = keep_slices(case, 16, np.random.default_rng(seed))
        first = part.about["first_slice"]
        assert part.region.shape == (16, *case.region.shape[1:])
        for modality, volume in part.sources.items():
            assert np.array_equal(volume, case.sources[modality][first : first + 16])
        assert np.array_equal(part.tissue, case.tissue[first : first + 16])
    assert keep_slices(case, None, np.random.default_rng(0)) is case


def test_cases_that_are_measured_on_are_whole(tmp_path: Path) -> None:
    settings = SimulateSettings(labels=tmp_path, cases=tmp_path / "cases", slices=48)
    batch = Batch(tmp_path / "head.nii.gz", "heads head", "training", 1, settings)
    assert batch.slices == 48
    assert replace(batch, part="test").slices is None
    assert replace(batch, part="test").folder == tmp_path / "cases" / "test"


def test_cases_can_have_larger_voxels_but_not_those_that_are_measured_on(tmp_path: Path) -> None:
    for number in (1, 20):
        write_labels(tmp_path / "labels" / f"training_seg_{number:02}.nii.gz")
    counts = {"training": 1, "test": 1}
    for side in (1, 2):
        wanted = settings(tmp_path, cases=tmp_path / str(side), spacing=side, counts=counts)
        assert sum(simulate_all(plan(wanted), workers=1)) == 2
    fine, coarse = (next(complete_cases(tmp_path / str(side) / "training")) for side in (1, 2))
    assert (fine.about["spacing"], coarse.about["spacing"]) == ([1.0] * 3, [2.0] * 3)
    assert coarse.shape == tuple(n // 2 for n in fine.shape)
    for kind in ("sources", "targets"):
        for modality, volume in getattr(fine, kind).items():
            means = blocks_of(np.asarray(volume, np.float64)).mean((3, 4, 5))
            np.testing.assert_allclose(getattr(coarse, kind)[modality], means, atol=2e-3)
    measured = [next(complete_cases(tmp_path / str(side) / "test")) for side in (1, 2)]
    assert measured[1].about["spacing"] == [1.0] * 3
    assert np.array_equal(measured[0].region, measured[1].region)


def blocks_of(volume: np.ndarray) -> np.ndarray:
    """Blocks of two voxels a side, (z, y, x, 2, 2, 2)."""
    whole = volume[tuple(slice(0, n // 2 * 2) for n in volume.shape)]
    return view_as_windows(whole, (2, 2, 2), step=2)


def test_a_larger_voxel_is_what_most_of_it_is() -> None:
    codes = np.zeros((4, 2, 2), np.uint8)
    codes[:2] = np.array([3, 3, 3, 5, 5, 0, 0, 7]).reshape(2, 2, 2)
    codes[2:] = np.array([4, 4, 4, 4, 1, 1, 1, 1]).reshape(2, 2, 2)
    scan = np.arange(16, dtype=np.float32).reshape(4, 2, 2)
    case = Case({Modality.T1: scan}, {}, codes, codes, {}, codes)
    found = coarser(case, 2)
    assert found.region.ravel().tolist() == [3, 1]  # as many of each: the lowest
    assert found.sources[Modality.T1].ravel().tolist() == [3.5, 11.5]
    assert coarser(case, 1) is case


def test_no_part_of_a_tumor_is_lost_to_a_vote_among_the_parts() -> None:
    """Each nested part is where it is more than half of the larger voxel, as its own mask says."""
    rng = np.random.default_rng(0)
    disease = rng.choice(6, (32, 32, 32), p=[0.2, 0.2, 0.1, 0.16, 0.17, 0.17]).astype(np.uint8)
    scan = np.zeros(disease.shape, np.float32)
    found = coarser(Case({Modality.T1: scan}, {}, disease, disease, {}, disease), 2).disease
    masks = tumor_masks(disease)
    shares = np.stack([blocks_of(mask.astype(float)).mean((3, 4, 5)) for mask in masks])
    np.testing.assert_array_equal(tumor_masks(found), shares > 0.5)
    assert set(np.unique(found)) == set(range(6))
    others = blocks_of(np.isin(disease, (Disease.MS_LESION, Disease.OTHER)).astype(float)).mean((3, 4, 5))
    assert (others[np.isin(found, (Disease.MS_LESION, Disease.OTHER))] > 0).all()


def test_the_picture_shows_the_slice_with_most_lesion() -> None:
    region = np.full((6, 8, 8), 2, np.uint8)
    region[0] = 0
    assert best_slice(region) == 1
    region[4, 2:7, 2:7] = 3
    assert best_slice(region) == 4
