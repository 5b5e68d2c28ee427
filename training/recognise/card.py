"""The recogniser's card: what it is, what it was made with, what it cannot do, and its figures once measured."""

import json
from pathlib import Path
from typing import Any

from training.recognise.settings import RecogniserSettings

_HEAD = """# {title} {version}

Says what kind of scan an image is: T1, T1CE, T2, FLAIR, PD, CT, something else, or `do not know`; whether it shows a head,
stripped or defaced, which way up, how much of the brain; and how unusual it looks. Research software; not for diagnosis.

- **Licence of the weights**: CC-BY-4.0. **To cite**: {citation}.
- **Input**: of a cube of 252 mm around the object at 3 mm, scaled by its own percentiles: a profile of how bright the object is
  at which depth and how it varies, and means over blocks of 12 mm.
- **Network**: a perceptron for the profile and three strided 3D convolutions for the blocks. A kind is named from a probability
  of {known:.0%}, set after a first network had been seen on the scans of the figures; below it the answer is `do not know`.
- **Unusual**: Mahalanobis distance of the features from the nearest kind (Lee et al. 2018), told as the share of held-out
  scans that lie nearer; simulated and real ones have half the say each.

## Made with

- SynthSeg's training label maps (Apache-2.0; Billot et al., Medical Image Analysis 2023): people simulated from maps 1 - 16 for
  training, 17 and 18 for calibration, 19 and 20 for figures. Signal equations with random protocols, disease, stripping,
  defacing, fields of view, orientations, noise and shading. `Something else` is noise, phantoms, limbs and trunks made of
  ellipses, label and difference maps.
- Real scans of people 01, 03 and 12 of the longitudinal and 07 of the cross-sectional multiple sclerosis set (CC-BY; Lesjak et
  al. 2016, 2017), varied: 4 % of what it learnt from. People 04, 19 of the first and 19 of the second are kept out for
  figures; those whom the split does not name decide, with simulated ones, what counts as unusual.

## What it cannot tell

- Left from right: a head mirrored from left to right looks like another head.
- A T1 from a T1 after contrast agent, in one of five cases and more where little takes it up: a small dose, a stripped brain,
  thick slices, clipped values.
- Half a head: slabs often come out as `do not know`.
- A FLAIR with bright fat and little contrast of grey and white matter from a T1.
- Sequences that it has not learnt (diffusion, susceptibility, angiography, STIR, T2*) may be called by a name that they
  resemble; `unusual` need not notice.
- Children, surgery, implants and strong artefacts were not in its training.
"""


def card(settings: RecogniserSettings, figures: Path) -> str:
    """The card, with the figures of the last measurement where there is one."""
    text = _HEAD.format(
        title=settings.bundle.title,
        version=settings.bundle.version,
        citation=settings.bundle.citation,
        known=settings.bundle.known_above,
    )
    if not figures.is_file():
        return text + "\n## Figures\n\nNot measured yet.\n"
    return text + "\n## Figures\n\n" + "\n".join(_lines(json.loads(figures.read_text(encoding="utf-8")))) + "\n"


def _lines(figures: dict[str, Any]) -> list[str]:
    lines = [
        "Right, or right or `do not know`, with 95 % intervals (Wilson). Scans of one person are not independent.",
        "",
        "| scans | right | do not know | wrong | right, share | right or do not know, share | wrong sequence, AUROC |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, part in figures.items():
        found = part["summary"]
        for kind, entry in found.items():
            if not isinstance(entry, dict) or "scans" not in entry:
                continue
            share, fair = (
                f"{entry[key][0]:.3f} ({entry[key][1]:.3f} - {entry[key][2]:.3f})"
                for key in ("right_share", "right_or_unknown_share")
            )
            score = f"{found['refusal_auroc']:.4f}" if kind == "all" else ""
            counts = f"{entry['right']} | {entry['do_not_know']} | {entry['wrong']}"
            lines.append(f"| {name}, {kind} ({entry['scans']}) | {counts} | {share} | {fair} | {score} |")
    return lines
