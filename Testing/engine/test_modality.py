"""Which scan a file says it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modality_conversion.modality import Modality, from_name, recognise_file, sidecar_path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub-01_T1w.nii.gz", Modality.T1),
        ("sub-01_acq-3D_T2w.nii", Modality.T2),
        ("sub-01_ce-gadolinium_T1w.nii.gz", Modality.T1CE),
        ("sub-01_FLAIR.nii.gz", Modality.FLAIR),
        ("study1_T2W_FLAIR.nii.gz", Modality.FLAIR),
        ("BraTS-GLI-00000-000-t1c.nii.gz", Modality.T1CE),
        ("BraTS-GLI-00000-000-t2f.nii.gz", Modality.FLAIR),
        ("T1POST.nii.gz", Modality.T1CE),
        ("IXI012-HH-1211-PD.nii.gz", Modality.PD),
        ("head_ct.nrrd", Modality.CT),
        ("case3 CBCT.mha", Modality.CBCT),
        ("fdg_pet.nii", Modality.PET),
        ("MPRAGE 1mm", Modality.T1),
        ("t2_space_dark-fluid_sag", Modality.FLAIR),
        ("AX T1 +C", Modality.T1CE),
        ("AX T1 C+", Modality.T1CE),
        ("t1_mprage_sag_iso_c", Modality.T1CE),
        ("t2_swi", None),
        ("dwi_t2.nii", None),
        ("AX T2* GRE", None),
        ("sub-01_T1map.nii.gz", None),
        ("scan.nii.gz", None),
        ("product.nii.gz", None),  # "ct" inside a word is no CT
        ("ct_and_t1.nii.gz", None),  # two at once is no answer
        ("", None),
    ],
)
def test_file_names_say_what_they_are(name: str, expected: Modality | None) -> None:
    assert from_name(name) == expected


def test_the_sidecar_is_read_first_and_must_not_contradict_the_name(tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    sidecar_path(scan).write_text(json.dumps({"SeriesDescription": "AX T2 TSE"}))
    assert recognise_file(scan) == (Modality.T2, "the side-car file scan.json")
    contrast = tmp_path / "sub-01_ce-gadolinium_T1w.nii.gz"
    assert recognise_file(contrast) == (Modality.T1CE, f"the file name {contrast.name}")
    sidecar_path(contrast).write_text(json.dumps({"ProtocolName": "t1_mprage"}))
    assert recognise_file(contrast) is None


@pytest.mark.parametrize(
    "content", ["not json", "[1, 2]", "{}", '{"SeriesDescription": 5}', '{"ProtocolName": "localizer"}']
)
def test_a_sidecar_that_does_not_say_leaves_it_to_the_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "flair.json").write_text(content)
    assert recognise_file(tmp_path / "flair.nii") == (Modality.FLAIR, "the file name flair.nii")


def test_where_nothing_says_there_is_no_answer(tmp_path: Path) -> None:
    assert recognise_file(tmp_path / "scan.nii") is None


def test_names_are_read_in_upper_or_lower_case() -> None:
    assert Modality.parse(" t1ce ") is Modality.T1CE
    assert str(Modality.T1CE) == "T1CE"
    with pytest.raises(ValueError, match="use one of CT, CBCT"):
        Modality.parse("xray")
