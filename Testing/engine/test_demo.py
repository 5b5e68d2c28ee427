"""`make demo`, without make."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bundles import write_bundle
from modality_conversion import demo
from modality_conversion.image_io import read_image, write_image
from modality_conversion.phantom import head_phantom


def test_the_template_is_a_brain_in_its_place(tmp_path: Path) -> None:
    pytest.importorskip("nilearn")
    template = read_image(demo.template(tmp_path))
    assert template.GetSpacing() == pytest.approx((1, 1, 1))
    # The anterior commissure is the origin of MNI space; the superior end of the brain is about 80 mm above it.
    index = template.TransformPhysicalPointToIndex((0, 0, 0))
    assert all(0 < i < n for i, n in zip(index, template.GetSize()))
    array = sitk.GetArrayFromImage(template)
    top = max(np.flatnonzero(array.any(axis=(1, 2))))
    top_mm = template.TransformIndexToPhysicalPoint((index[0], index[1], int(top)))[2]
    assert 60 < top_mm < 95


@pytest.mark.parametrize("own", [True, False])
def test_the_demo_leaves_a_volume_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, own: bool
) -> None:
    write_bundle(tmp_path / "models" / "copy")
    monkeypatch.setenv("MODALITY_CONVERSION_MODELS", str(tmp_path / "models"))
    small = tmp_path / "scan.nii.gz"
    write_image(head_phantom((20, 24, 18), spacing=8), small)
    monkeypatch.setattr(demo, "template", lambda folder: small)
    monkeypatch.setattr(sys, "argv", ["demo", str(tmp_path / "demo"), *(("--input", str(small)) if own else ())])
    with pytest.raises(SystemExit) as stopped:
        demo.main()
    assert stopped.value.code == 0
    assert "picture" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [
        "synthetic_T2.json",
        "synthetic_T2.nii.gz",
        "synthetic_T2.png",
    ]


def test_without_nilearn_the_demo_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
    monkeypatch.setattr(sys, "argv", ["demo", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"modality-conversion\[demo\]"):
        demo.main()
