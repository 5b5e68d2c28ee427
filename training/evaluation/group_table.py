"""The figures of one model in full, for its card: one table a group of directions, a line for each direction and region.

MR: PSNR, SSIM and error as they are and after the affine fit, beside the source itself and the oracle. CT: in HU, where
nothing is fitted and the source is no base line. Real people and simulated heads are never averaged together.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.evaluation.groups import FROM_CT, GROUPS, TO_CT, Group, group_of
from training.evaluation.measure import WHOLE_HEAD
from training.evaluation.table import KINDS, markdown, mean_of_known, number

Row = Mapping[str, Any]
Found = Mapping[str, Any]
"""A set of voxels of one case: `as_is`, perhaps `fitted`, perhaps `base_lines`."""

MR_REGIONS = ("brain", "foreground", "lesion", "tumor", "head", "bone")
CT_REGIONS = ("body", "brain", "lesion", "tumor", "bone")


def group_tables(figures: Mapping[str, Any], model: str) -> dict[Group, str]:
    """A Markdown table for each group that the model was measured in, in the order of `GROUPS`."""
    tables = {}
    for group in GROUPS:
        rows = [row for row in figures.get("rows", ()) if row["model"] == model and group_of(row) == group]
        if rows:
            tables[group] = _to_ct(rows) if group == TO_CT else _to_mr(rows, kinds=group == FROM_CT)
    return tables


def region_of(row: Row, region: str) -> Found | None:
    """The figures of one region of a case; None where the case does not have it.

    For MR, brain, lesion and tumor are of the comparison scaled in the brain, head and bone of the one scaled in the head;
    where nobody knows the brain there is the foreground instead.
    """
    comparisons = row["comparisons"]
    if row["protocol"] != "slices":
        comparison, whole = comparisons[row["protocol"]], "body"
    elif region in ("head", "bone"):
        comparison, whole = comparisons.get(WHOLE_HEAD), "head"
    else:
        comparison = comparisons["slices"]
        whole = "brain" if comparison["mask"] == "the mask given" else "foreground"
    if comparison is None:
        return None
    if region == whole:
        return {**comparison["synthetic"], "base_lines": comparison["base_lines"]}
    parts = [part for part in comparison["regions"] if part["name"] == region and part["as_is"]["voxels"]]
    return parts[0] if parts else None


def _to_mr(rows: Sequence[Row], *, kinds: bool) -> str:
    heading = ["direction", *(["on"] if kinds else []), "region", "cases"]
    heading += [name + line for name in ("PSNR dB", "SSIM", "MAE") for line in ("", ", identity", ", oracle")]
    heading.append("R")
    lines = []
    for who, region, cases, found in _by_region(rows, MR_REGIONS):
        line = [*who[: 2 if kinds else 1], region, str(len(found))]
        for figure, digits in (("psnr", 2), ("ssim", 3), ("mae", 3)):
            line.append(_pair(found, (), figure, digits))
            line.append(_pair(found, ("base_lines", "identity"), figure, digits))
            line.append(number(_mean(found, "base_lines", "oracle", "as_is", figure), digits))
        whole = region in ("brain", "foreground")
        ratio = mean_of_known(row["comparisons"]["slices"].get("between_slices", {}).get("ratio") for row in cases)
        lines.append([*line, number(ratio) if whole else "-"])
    return markdown(heading, lines)


def _to_ct(rows: Sequence[Row]) -> str:
    heading = ["direction", "on", "region", "cases", "MAE HU", "MAE, oracle", "bias HU", "PSNR dB", "PSNR, oracle"]
    heading += ["SSIM", "SSIM, oracle", "Dice of bone"]
    lines = []
    for who, region, cases, found in _by_region(rows, CT_REGIONS):
        line = [*who, region, str(len(found))]
        line += [
            number(_mean(found, "as_is", "mae"), 1),
            number(_mean(found, "base_lines", "oracle", "as_is", "mae"), 1),
        ]
        line.append(number(_mean(found, "as_is", "bias"), 1))
        for figure, digits in (("psnr", 2), ("ssim", 3)):
            line.append(number(_mean(found, "as_is", figure), digits))
            line.append(number(_mean(found, "base_lines", "oracle", "as_is", figure), digits))
        dice = mean_of_known(row.get("bone_dice") for row in cases) if region == "bone" else None
        lines.append([*line, number(dice)])
    return markdown(heading, lines)


def _by_region(rows: Iterable[Row], regions: Sequence[str]) -> Iterable[tuple[list[str], str, list[Row], list[Found]]]:
    """For each direction and kind of case, and each region: those two in words, the cases that have it, what was found.

    The words stand in the first line of a direction alone, so that it is seen where the next one begins.
    """
    together: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        together.setdefault((row["direction"], row["real"]), []).append(row)
    for (direction, real), group in together.items():
        who = [direction, KINDS[real]]
        for region in regions:
            pairs = [(row, found) for row in group if (found := region_of(row, region)) is not None]
            if pairs:
                yield who, region, [row for row, _ in pairs], [found for _, found in pairs]
                who = ["", ""]


def _pair(found: Sequence[Found], path: tuple[str, ...], figure: str, digits: int) -> str:
    """`as it is / after the fit`; `-` where there is neither."""
    values = [_mean(found, *path, state, figure) for state in ("as_is", "fitted")]
    return "-" if values == [None, None] else " / ".join(number(value, digits) for value in values)


def _mean(found: Iterable[Found], *path: str) -> float | None:
    return mean_of_known(_at(one, path) for one in found)


def _at(found: Any, path: tuple[str, ...]) -> float | None:
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
