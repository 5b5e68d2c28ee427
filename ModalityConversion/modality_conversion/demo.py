"""`make demo`: convert a real scan with the bundled model, and leave the volume and a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .cli import run
from .errors import ConversionError
from .image_io import write_image


def template(folder: Path) -> Path:
    """The MNI152 T1 template (the average of 152 brains, skull removed) that nilearn carries, as a file in `folder`.

    Raises ConversionError when nilearn is not installed.
    """
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        raise ConversionError("The demo's scan comes with nilearn: pip install 'modality-conversion[demo]'.") from None
    import numpy as np
    import SimpleITK as sitk

    nifti = load_mni152_template(resolution=1)
    # nilearn's arrays are (i, j, k) with an affine in RAS; ITK wants (k, j, i) and LPS.
    image = sitk.GetImageFromArray(np.asarray(nifti.dataobj, dtype=np.float32).T)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ nifti.affine
    spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(to_lps[:3, 3].tolist())
    image.SetDirection((to_lps[:3, :3] / spacing).ravel().tolist())
    path = folder / "mni152_T1.nii.gz"
    write_image(image, path)
    return path


def main() -> None:
    """Convert, and say where the results are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the results go")
    parser.add_argument("--input", type=Path, help="your own T1 scan in place of the template")
    parser.add_argument("--from", dest="source", default="T1", help="what your scan is")
    choice = parser.parse_args()
    choice.folder.mkdir(parents=True, exist_ok=True)
    try:
        scan = choice.input or template(choice.folder)
    except ConversionError as error:
        sys.exit(str(error))
    out, figure = choice.folder / "synthetic_T2.nii.gz", choice.folder / "synthetic_T2.png"
    code = run(
        ["convert", str(scan), "--from", choice.source, "--to", "T2", "--out", str(out), "--figure", str(figure)]
    )
    if code == 0:
        sys.stdout.write(f"The synthetic volume is {out}, the picture {figure}.\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
