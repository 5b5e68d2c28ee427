"""What DICOM tags say of a series."""

import pytest

from modality_conversion.dicom_modality import TAGS, from_dicom
from modality_conversion.modality import Modality


def mr(**tags: str) -> dict[str, str]:
    return {"Modality": "MR", "ImageType": "ORIGINAL\\PRIMARY\\M", **tags}


def times(repetition: float, echo: float, inversion: float | None = None, sequence: str = "SE") -> dict[str, str]:
    tags = mr(RepetitionTime=str(repetition), EchoTime=str(echo), ScanningSequence=sequence)
    return tags if inversion is None else {**tags, "InversionTime": str(inversion)}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"Modality": "CT", "SeriesDescription": "HEAD 5.0"}, Modality.CT),
        ({"Modality": "CT", "SeriesDescription": "Cone-beam mandible"}, Modality.CBCT),
        ({"Modality": "PT"}, Modality.PET),
        (mr(SeriesDescription="t1_mprage_sag_p2_iso"), Modality.T1),
        (mr(SeriesDescription="AX T2 TSE"), Modality.T2),
        (mr(SeriesDescription="T2 FLAIR tra"), Modality.FLAIR),
        (mr(ProtocolName="T1w post gad"), Modality.T1CE),
        (mr(SeriesDescription="T1 SE tra", ContrastBolusAgent="Gadovist"), Modality.T1CE),
        (mr(SeriesDescription="t1 tra +c", ProtocolName="t1 tra"), Modality.T1CE),
    ],
)
def test_words_of_the_series_say_what_it_is(tags, expected):
    found = from_dicom(tags)
    assert found.modality is expected
    assert found.is_certain


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (times(500, 12), Modality.T1),
        (times(1900, 2.9, 900, "GR\\IR"), Modality.T1),
        (times(7, 3, None, "GR"), Modality.T1),
        (times(4500, 95), Modality.T2),
        (times(9000, 110, 2500, "SE\\IR"), Modality.FLAIR),
        (times(5000, 390, 1800, "SE\\IR"), Modality.FLAIR),
        (times(3000, 20), Modality.PD),
        (times(700, 20, None, "GR"), None),
        (times(4000, 90, 0, "EP"), None),
        (times(4000, 60, 150, "SE\\IR"), None),  # STIR
        (mr(), None),
        (mr(RepetitionTime="fast", EchoTime="12"), None),
    ],
)
def test_times_say_it_where_no_word_does(tags, expected):
    assert from_dicom(tags).modality is expected


def test_a_contrast_agent_makes_a_timed_t1_a_t1ce():
    assert from_dicom({**times(500, 12), "ContrastBolusAgent": "Dotarem"}).modality is Modality.T1CE


def test_words_against_times_say_nothing_and_say_why():
    found = from_dicom({**times(4500, 95), "SeriesDescription": "t1 tse"})
    assert found.modality is None
    assert found.is_certain
    assert "contradict" in found.why


def test_two_words_that_differ_say_nothing():
    found = from_dicom(mr(SeriesDescription="T2 tra", ProtocolName="FLAIR"))
    assert (found.modality, found.is_certain) == (None, True)


@pytest.mark.parametrize("kind", ["ADC", "LOCALIZER", "DIFFUSION", "PHASE"])
def test_maps_and_scouts_are_no_scans(kind):
    found = from_dicom({"Modality": "MR", "ImageType": f"DERIVED\\PRIMARY\\{kind}", "SeriesDescription": "T2"})
    assert (found.modality, found.is_certain) == (None, True)


def test_other_modalities_are_none_of_ours_and_missing_tags_leave_it_open():
    assert from_dicom({"Modality": "US"}) == (None, "The DICOM tags say that this is US.", True)
    assert from_dicom({}) == (None, "", False)


def test_tags_are_written_as_group_and_element():
    assert all(len(tag) == 9 and tag[4] == "," for tag in TAGS.values())
