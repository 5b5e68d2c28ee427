"""The model card: what went in, what comes out, how good it is, what it cannot do."""

from typing import Any

from training.export.figures import table
from training.export.settings import ExportSettings
from training.networks.slab import SlabNet


def card(settings: ExportSettings, network: SlabNet, figures: dict[str, Any], about: dict[str, float]) -> str:
    """The text of `docs/README.md`."""
    weights = sum(parameter.numel() for parameter in network.parameters())
    slab = network.settings
    data = "\n".join(
        f"- **{item.name}** ({item.license}). {item.used} Cite: {item.citation}" for item in settings.datasets
    )
    limits = "\n".join(f"- {limit}" for limit in settings.limits)
    measured = table(figures)
    lesions = "\n".join(_region_lines(figures))
    return f"""# {settings.title}

**Not for diagnosis.** Every value is a network's guess. A synthetic {settings.target} can miss, add or change what is there.

Version {settings.version}, licence {settings.license}, by {settings.authors}. Cite: {settings.citation}

## What it does

Reads a {settings.source} scan of the {settings.anatomy}, whole or skull-stripped, and writes what a {settings.target}
could look like, on the scan's own grid, with a standard deviation for every voxel. Values are on one fixed scale: the
median of the brain is near 300, CSF near 900.

The network is a 2.5D U-Net of {weights / 1e6:.2f} million weights (MONAI's BasicUNet at half resolution with a
small full-resolution end). It sees {slab.context} axial slices at 1 mm and gives the middle {slab.outputs}; slabs
overlap and are averaged, so that slices do not flicker. It never makes a thick-slice scan sharper than it is.

## Data

{data}

Training, validation and test never share a person (`training/data/split.yaml`).

## Training

{settings.training} The weights are the moving average after {about["step"]:.0f} steps, {about["minutes"]:.0f} minutes on
two CPU cores.

## Measured

{measured or "Not measured yet."}

{_HOW_MEASURED if measured else ""}
{lesions}

## Limits

{limits}
"""


_HOW_MEASURED = """All in the brain; none of these people or heads was trained on. Volumes are scaled by their own
0.5 - 99.5 percentiles in the brain; PSNR with range 1; SSIM with a 7^3 uniform window; "after affine fit" allows one scale
and offset for each case. R compares steps from slice to slice with steps within slices, synthetic against real: 1 is as
the real scan, above 1 is flicker, below 1 is smear. "Source itself" and "oracle" are base lines (PSNR and SSIM, as is /
after fit): the oracle is the best look-up table from grey value to grey value, fitted on the case's own real target,
which no model is given."""


def _region_lines(figures: dict[str, Any]) -> list[str]:
    """A line for each region that was measured apart."""
    lines = []
    for case in figures.get("cases", []):
        for region in case["comparison"].get("regions", []):
            own = region["as_is"]
            lines.append(
                f"- {case['name']}, {region['name']} ({own['voxels']} voxels): MAE {own['mae']:.3f}, bias {own['bias']:+.3f} "
                "(of the scaled range)."
            )
    return ["\nWithin regions:\n", *lines] if lines else []
