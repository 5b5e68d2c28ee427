"""The measured figures as the bundle tells them: a table for people, a list for programs."""

from typing import Any

PROTOCOL = "slices: volumes scaled by their own 0.5-99.5 percentiles in the brain, PSNR and SSIM in the brain"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def table(figures: dict[str, Any]) -> str:
    """A Markdown table, one row a case; '' without figures."""
    if not figures:
        return ""
    lines = [
        "| case | PSNR dB | after affine fit | SSIM | after fit | R | source itself | oracle of the case |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for case in figures["cases"]:
        result = case["comparison"]
        own, fitted = result["synthetic"]["as_is"], result["synthetic"]["fitted"]
        base = [
            f"{_number(line['as_is']['psnr'], 1)} / {_number(line['fitted']['psnr'], 1)} dB, "
            f"{_number(line['as_is']['ssim'], 3)} / {_number(line['fitted']['ssim'], 3)}"
            for line in (result["base_lines"]["identity"], result["base_lines"]["oracle"])
        ]
        cells = [
            case["name"],
            _number(own["psnr"], 2),
            _number(fitted["psnr"], 2),
            _number(own["ssim"], 3),
            _number(fitted["ssim"], 3),
            _number(result["between_slices"].get("ratio"), 3),
            *base,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def quality(figures: dict[str, Any], source: str, target: str) -> list[dict[str, Any]]:
    """Entries for `quality` in `conversion.json`: PSNR, SSIM and R of each real case."""
    entries = []
    for case in figures.get("cases", []):
        if not case["real"]:
            continue
        result = case["comparison"]
        own = result["synthetic"]["as_is"]
        for metric, value, unit in (
            ("PSNR", own["psnr"], "dB"),
            ("SSIM", own["ssim"], ""),
            ("through-plane ratio R", result["between_slices"]["ratio"], ""),
        ):
            entries.append(
                {"metric": metric, "value": round(value, 4), "unit": unit, "source": source, "target": target}
                | {"region": "brain", "data": f"{case['name']}, 1 case", "protocol": PROTOCOL}
            )
    return entries
