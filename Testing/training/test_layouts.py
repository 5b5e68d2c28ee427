"""Layouts: the scans of each kind of data set are found, known by modality, and put together by person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from modality_conversion.modality import Modality
from training.config import ConfigError, check
from training.data.layouts import CaseFiles, Source, find_cases, usable
from training.data.regions import Region
from training.data.settings import DataSettings

T1, T1CE, T2, FLAIR, PD, CT, CBCT = (Modality(name) for name in ("T1", "T1CE", "T2", "FLAIR", "PD", "CT", "CBCT"))


def tree(folder: Path, *names: str) -> Path:
    """A folder with tiny scans of these names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            sitk.WriteTransform(sitk.Euler3DTransform(), str(path))
        else:
            sitk.WriteImage(sitk.GetImageFromArray(np.arange(8, dtype=np.float32).reshape(2, 2, 2)), str(path))
    return folder


def source(layout: str, folder: Path, **options: object) -> Source:
    """A source as a configuration has it."""
    content = {"cases": "unused", "sources": [{"layout": layout, "folder": folder, **options}]}
    return check(DataSettings, content, "test.yaml").sources[0]


def found(layout: str, folder: Path, **options: object) -> dict[str, CaseFiles]:
    """The cases of a folder by person, and by session where there is one."""
    return {case.name: case for case in find_cases(source(layout, folder, **options))}


def kinds(case: CaseFiles) -> list[str]:
    return [str(kind) for kind in case.scans]


def test_a_folder_per_modality_is_paired_by_file_name(tmp_path: Path) -> None:
    tree(tmp_path, "T1/anna.nii.gz", "T2/anna.nii.gz", "T1/bob.nii.gz", "T2/bob.nii.gz", "T2/bob.txt")
    cases = found("paired", tmp_path)
    assert list(cases) == ["paired_anna", "paired_bob"]
    assert kinds(cases["paired_anna"]) == ["T1", "T2"]
    assert cases["paired_bob"].scans[T2] == tmp_path / "T2" / "bob.nii.gz"


def test_a_folder_per_person_is_paired_by_the_modality_in_the_file_name(tmp_path: Path) -> None:
    tree(tmp_path, "anna/scan_t1w.nrrd", "anna/scan_flair.nrrd", "anna/brain_mask.nii.gz", "anna/lesions.nii.gz")
    (case,) = found("paired", tmp_path).values()
    assert case.person == "paired anna"
    assert kinds(case) == ["T1", "FLAIR"]
    assert case.mask == tmp_path / "anna" / "brain_mask.nii.gz"
    assert case.labels == tmp_path / "anna" / "lesions.nii.gz"


def test_visits_of_one_person_are_cases_of_one_person(tmp_path: Path) -> None:
    tree(tmp_path, *(f"anna/{visit}/{kind}.nii.gz" for visit in ("may", "june") for kind in ("T1", "T2")))
    cases = found("paired", tmp_path)
    assert list(cases) == ["paired_anna_june", "paired_anna_may"]
    assert {case.person for case in cases.values()} == {"paired anna"}


def test_one_folder_for_everything_is_paired_by_what_is_left_of_the_name(tmp_path: Path) -> None:
    tree(tmp_path, "p1_T1.nii.gz", "p1_T2.nii.gz", "p1_mask.nii.gz", "p2_T1.nii.gz", "p2_T2.nii.gz")
    cases = found("paired", tmp_path)
    assert list(cases) == ["paired_p1", "paired_p2"]
    assert cases["paired_p1"].mask == tmp_path / "p1_mask.nii.gz"
    assert cases["paired_p2"].mask is None


def test_names_that_say_nothing_are_read_by_patterns(tmp_path: Path) -> None:
    tree(tmp_path, "site/007/visit1/A_83.nii.gz", "site/007/visit1/B_12.nii.gz", "site/008/visit1/A_1.nii.gz")
    patterns = {"T1": "site/{person}/{session}/A_*.nii.gz", "CT": "site/{person}/{session}/B_*.nii.gz"}
    cases = found("paired", tmp_path, patterns=patterns)
    assert kinds(cases["paired_007_visit1"]) == ["T1", "CT"]
    assert kinds(cases["paired_008_visit1"]) == ["T1"]


def test_bids_sessions_contrast_agent_runs_masks_and_lesions_are_known(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_run-2_T2w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_run-1_T2w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_ce-gadolinium_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz",
        "sub-01/ses-a/dwi/sub-01_ses-a_dwi.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "sub-02/anat/sub-02_PDw.nii.gz",
        "derivatives/tool/sub-02/anat/sub-02_desc-brain_mask.nii.gz",
        "derivatives/tool/sub-02/anat/sub-02_space-MNI152_desc-brain_mask.nii.gz",
        "derivatives/tool/sub-02/anat/sub-02_label-lesion_mask.nii.gz",
    )
    cases = found("bids", tmp_path)
    assert kinds(cases["bids_01_a"]) == ["T1", "T1CE", "T2", "FLAIR"]
    assert cases["bids_01_a"].scans[T2].name == "sub-01_ses-a_run-1_T2w.nii.gz"
    assert cases["bids_01_a"].mask is None
    second = cases["bids_02"]
    assert kinds(second) == ["T1", "PD"]
    assert second.mask is not None
    assert second.mask.name == "sub-02_desc-brain_mask.nii.gz"
    assert second.labels is not None
    assert second.labels.name == "sub-02_label-lesion_mask.nii.gz"


def test_brats_of_every_year_is_read_and_its_labels_are_tumors(tmp_path: Path) -> None:
    tree(
        tmp_path,
        *(f"HGG/Brats18_X_1/Brats18_X_1_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair", "seg")),
        *(f"BraTS2021_00002/BraTS2021_00002_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair", "seg")),
        *(f"BraTS-GLI-00005-100/BraTS-GLI-00005-100-{kind}.nii.gz" for kind in ("t1n", "t1c", "t2w", "t2f", "seg")),
        *(f"BraTS-GLI-00005-101/BraTS-GLI-00005-101-{kind}.nii.gz" for kind in ("t1n", "t1c", "t2w", "t2f")),
    )
    cases = found("brats", tmp_path)
    assert len(cases) == 4
    assert all(kinds(case) == ["T1", "T1CE", "T2", "FLAIR"] for case in cases.values())
    assert all(case.labels_show == Region.TUMOR for case in cases.values())
    last = cases["brats_BraTS-GLI-00005_101"]
    assert last.labels is None
    assert last.person == cases["brats_BraTS-GLI-00005_100"].person == "brats BraTS-GLI-00005"


def test_ixi_is_put_together_over_its_folders_and_will_be_registered(tmp_path: Path) -> None:
    tree(
        tmp_path,
        *(
            f"IXI-{kind}/IXI{person}-Guys-0828-{kind}.nii.gz"
            for kind in ("T1", "T2", "PD")
            for person in ("002", "012")
        ),
    )
    cases = found("ixi", tmp_path)
    assert list(cases) == ["ixi_IXI002", "ixi_IXI012"]
    assert kinds(cases["ixi_IXI002"]) == ["T1", "T2", "PD"]
    assert source("ixi", tmp_path).registration == "rigid"


def test_synthrad_takes_the_parts_of_the_body_and_tasks_asked_for(tmp_path: Path) -> None:
    tree(
        tmp_path,
        *(f"Task1/brain/1BA001/{kind}.nii.gz" for kind in ("mr", "ct", "mask")),
        *(f"Task1/pelvis/1PA001/{kind}.nii.gz" for kind in ("mr", "ct", "mask")),
        *(f"Task2/brain/2BA001/{kind}.nii.gz" for kind in ("cbct", "ct", "mask")),
        *(f"synthRAD2025/Task1/HN/1HNA001/{kind}.mha" for kind in ("mr", "ct", "mask")),
    )
    (brain,) = found("synthrad", tmp_path).values()
    assert kinds(brain) == ["T1", "CT"]
    assert brain.mask_shows == "body"
    more = found("synthrad", tmp_path, anatomies=["head_neck", "pelvis"], mr="T2")
    assert list(more) == ["synthrad_1HNA001", "synthrad_1PA001"]
    assert kinds(more["synthrad_1HNA001"]) == ["T2", "CT"]
    (cbct,) = found("synthrad", tmp_path, tasks=[2]).values()
    assert kinds(cbct) == ["CT", "CBCT"]


def test_the_flair_set_shows_the_people_of_the_set_in_mni_space(tmp_path: Path) -> None:
    tree(tmp_path / "mni", "patient07/T1.nii.gz", "patient07/T1POST.nii.gz", "patient07/lesions.nii.gz")
    tree(tmp_path / "flair", "training05.nii.gz", "test02/test02_01_flair.nii.gz", "test02/test02_01_pd.nii.gz")
    (in_mni,) = found("mni", tmp_path / "mni").values()
    flair = found("flair", tmp_path / "flair")
    assert kinds(in_mni) == ["T1", "T1CE"]
    assert in_mni.labels == tmp_path / "mni" / "patient07" / "lesions.nii.gz"
    assert flair["mni_07_raw"].person == in_mni.person == "mni 07"
    assert flair["mni_05_raw"].person == "mni 05"


def test_the_shipped_whole_heads_come_with_their_transforms(shared_data: Path) -> None:
    cases = found("longitudinal", shared_data / "ms_longitudinal")
    complete = [name for name, case in cases.items() if {T1, T2, FLAIR} <= set(case.scans)]
    assert complete == [
        f"longitudinal_{person}_study{study}"
        for person, study in (("01", 1), ("01", 2), ("03", 2), ("04", 1), ("12", 1), ("12", 2))
    ]
    case = cases["longitudinal_01_study1"]
    assert set(case.to_scan) == {T1, T2}  # the FLAIR is the common space
    assert all(path.is_file() for path in (*case.to_scan.values(), case.from_mask, case.mask) if path is not None)


@pytest.mark.parametrize("layout", ["paired", "bids", "brats", "ixi", "synthrad", "longitudinal", "mni", "flair"])
def test_an_empty_folder_is_refused_with_what_is_expected_there(layout: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There are no scans in .*Expected there"):
        find_cases(source(layout, tmp_path))
    with pytest.raises(ConfigError, match="There is no folder"):
        find_cases(source(layout, tmp_path / "nowhere"))


def test_a_case_that_lacks_a_modality_is_left_out_and_named(tmp_path: Path) -> None:
    tree(tmp_path, "anna/T1.nii.gz", "anna/FLAIR.nii.gz", "bob/T1.nii.gz", "bob/T2.nii.gz", "carl/T2.nii.gz")
    paired = source("paired", tmp_path, require=["T1", "T2"])
    kept, left_out = usable(paired, find_cases(paired))
    assert [case.name for case in kept] == ["paired_bob"]
    assert left_out == {"paired_anna": "has no T2", "paired_carl": "has no T1"}
    anything = source("paired", tmp_path)
    kept, left_out = usable(anything, find_cases(anything))
    assert [case.name for case in kept] == ["paired_anna", "paired_bob"]
    assert left_out == {"paired_carl": "has only a T2"}


def test_a_modality_that_all_cases_lack_is_refused_by_name(tmp_path: Path) -> None:
    tree(tmp_path, "anna/T1.nii.gz", "anna/T2.nii.gz")
    paired = source("paired", tmp_path, require=["T1", "CT"])
    with pytest.raises(ConfigError, match="has no CT"):
        usable(paired, find_cases(paired))


def test_an_unknown_option_of_a_layout_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sources\.0\.bids\.fodler: there is no such option"):
        source("bids", tmp_path, fodler="x")
    with pytest.raises(ConfigError, match=r"sources\.0"):
        source("dicom", tmp_path)
