"""Writes the whole folder of a model: declaration, metadata, weights, card, golden pair; then asks the engine."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from torch import nn

import modality_conversion.check as engine_check
from modality_conversion.backends import open_backend
from modality_conversion.bundle import is_bundle, sha256_of
from modality_conversion.errors import ConversionError
from modality_conversion.modality import Modality
from modality_conversion.schema import ConversionSpec
from training.config import ConfigError
from training.export.card import CASES, card, every_case
from training.export.figures import of_weights, quality
from training.export.graph import (
    TOLERANCE,
    Example,
    ExportError,
    alternatives,
    as_feeds,
    compare_files,
    difference,
    run_onnx,
    write_onnx,
    write_torchscript,
)
from training.export.metadata import metadata, says_how_sure
from training.export.pictures import add_pictures
from training.export.segmentation_card import segmentation_card
from training.export.settings import ExportSettings
from training.export.storage import halve_weights
from training.recipes.base import Recipe, Stage, StagedRecipe

_FOR_THE_CARD = 60_000
"""Bytes of text that the pictures leave room for."""
ROUNDING = 0.01
"""Largest change of a value by rounding the stored weights; a hundredth of the brain's scale."""
ONNX, TORCHSCRIPT, GOLDEN = "models/model.onnx", "models/model.ts", "tests/golden.npz"
FIND_ONNX, FIND_GOLDEN = "models/find.onnx", "tests/golden_find.npz"
"""Of the stage that finds where to segment."""


@dataclass(frozen=True)
class Model:
    """What is exported, and what is known of it."""

    recipe: Recipe
    network: nn.Module
    """Trained, on the CPU."""
    about: Mapping[str, float]
    """`step` and `minutes` of the run."""
    declared: dict[str, Any] = field(init=False)
    example: Example = field(init=False)
    graph: nn.Module = field(init=False)
    find: Stage | None = field(init=False)
    """The stage that finds where to segment, where there is one."""

    def __post_init__(self) -> None:
        self.network.eval()
        object.__setattr__(self, "declared", self.recipe.declaration())
        object.__setattr__(self, "example", self.recipe.example(self.network))
        object.__setattr__(self, "graph", self.recipe.graph(self.network).eval())
        recipe = self.recipe
        object.__setattr__(self, "find", recipe.find_stage(self.network) if isinstance(recipe, StagedRecipe) else None)

    @property
    def names(self) -> list[str]:
        """Names of the graph's inputs, in order."""
        return list(dict.fromkeys(entry["name"] for entry in self.declared["inputs"]))

    @property
    def multiples(self) -> list[int | None]:
        """By what an image's axes may grow, those of (z, y, x)."""
        multiple = self.declared["geometry"].get("pad_multiple")
        return list(multiple) if isinstance(multiple, (list, tuple)) else [multiple] * 3

    @property
    def weights(self) -> int:
        """How many numbers what is exported holds; a discriminator stays behind."""
        return sum(parameter.numel() for parameter in self.graph.parameters())


@dataclass(frozen=True)
class Form:
    """One form of a model: as it is, or reduced."""

    suffix: str = ""
    """Of the id."""
    title: str = ""
    """Added to the title."""
    notes: tuple[str, ...] = ()
    """Paragraphs for the card."""


@dataclass(frozen=True)
class Written:
    """What came of an export."""

    folder: Path
    warnings: list[str]
    measured: bool
    """Whether there were figures of these weights."""
    difference: float
    """The largest difference between PyTorch and the files; of a reduced form, from the full one on the golden pair."""


def write_bundle(
    model: Model, settings: ExportSettings, figures: Mapping[str, Any], pictures: Path | None = None
) -> Written:
    """Write the bundle, whole or not at all. Raises ExportError where a file differs or the engine finds an error.

    `figures`: what `evaluate` measured, {} before it has; those of other weights are left out. `pictures`: the folder that
    the figures name their pictures from.
    """
    with beside(settings.folder) as draft:
        inputs = alternatives(model.graph, model.example, model.multiples)
        write_onnx(model.graph, inputs, model.names, draft / ONNX)
        archive = draft / TORCHSCRIPT if settings.torchscript else None
        if archive is not None:
            write_torchscript(model.graph, model.example, model.names, archive)
        difference = compare_files(model.graph, inputs, model.names, draft / ONNX, archive)
        feeds = as_feeds(model.example, model.names)
        output = run_onnx(draft / ONNX, feeds)
        if archive is not None:
            _check_torchscript(archive, feeds, output)
        if model.find is not None:
            difference = max(difference, _write_finder(model.find, draft, settings.stored == "float16"))
        notes: tuple[str, ...] = (_TORCHSCRIPT,) if archive is not None else ()
        if settings.stored == "float16":
            halve_weights(draft / ONNX)
            exact, output = output, run_onnx(draft / ONNX, feeds)
            notes += (_stored(exact, output, model.declared),)
        _write_golden(draft / GOLDEN, feeds, output)
        form = Form(notes=notes)
        warnings, measured = finish_bundle(draft, model, settings, form, figures, pictures)
    return Written(settings.folder, warnings, measured, difference)


def _write_finder(stage: Stage, draft: Path, half: bool) -> float:
    """Write the weights, in half precision if wanted, and the golden pair of the stage that finds; gives how far ONNX is from
    PyTorch before rounding.
    """
    names = list(dict.fromkeys(entry["name"] for entry in stage.declared["inputs"]))
    inputs = alternatives(stage.graph, stage.example, [None] * 3)
    write_onnx(stage.graph, inputs, names, draft / FIND_ONNX)
    apart = compare_files(stage.graph, inputs, names, draft / FIND_ONNX, None)
    feeds = as_feeds(stage.example, names)
    output = run_onnx(draft / FIND_ONNX, feeds)
    if half:
        halve_weights(draft / FIND_ONNX)
        exact, output = output, run_onnx(draft / FIND_ONNX, feeds)
        _check_rounding(_probable(exact), _probable(output))
    _write_golden(draft / FIND_GOLDEN, feeds, output)
    return apart


_TORCHSCRIPT = (
    "`models/model.ts` is the same network as TorchScript, for users of PyTorch; conversion uses the ONNX file."
)


def _stored(exact: NDArray[np.float32], output: NDArray[np.float32], declared: Mapping[str, Any]) -> str:
    """What rounding the weights did to the values, for the card. Raises ExportError where it would be seen."""
    said = "The weights are stored in half precision and used in full. On the golden pair this changes "
    if not declared["targets"]:
        return f"{said}probabilities by up to {_check_rounding(_probable(exact), _probable(output)):.1g}."
    means = slice(0, exact.shape[1] // (2 if says_how_sure(declared) else 1))
    worst = _check_rounding(exact[:, means], output[:, means])
    return f"{said}values by up to {worst:.1g}, where the brain is about 1."


def _probable(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of structures, each for itself."""
    probabilities: NDArray[np.float32] = special.expit(logits)
    return probabilities


def _check_rounding(exact: NDArray[np.float32], output: NDArray[np.float32]) -> float:
    """The largest change. Raises ExportError where it would be seen."""
    worst = float(np.abs(output - exact).max())
    if not worst < ROUNDING:
        raise ExportError(
            f"Half precision changes values by {worst:.2g}, where 1 is the brain or a certainty; allowed are {ROUNDING:g}. "
            "Set `export.stored: float32`."
        )
    return worst


def finish_bundle(
    draft: Path,
    model: Model,
    settings: ExportSettings,
    form: Form,
    figures: Mapping[str, Any],
    pictures: Path | None,
) -> tuple[list[str], bool]:
    """Write declaration, metadata and card around the weights in a folder, and let the engine check it.

    Gives the engine's warnings, and whether there were figures of these weights. Raises ExportError.
    """
    id = settings.folder.name + form.suffix
    stages = [draft / ONNX, *([draft / FIND_ONNX] if model.find is not None else [])]
    mine = of_weights(figures, id, [sha256_of(file) for file in stages])
    named = settings.model_copy(update={"title": settings.title + form.title})
    declared = model.declared
    if model.find is not None:
        find = {"weights": [_weights(draft, FIND_ONNX)], **model.find.declared}
        declared = declared | {"segmentation": declared["segmentation"] | {"find": find}}
    conversion = _conversion(draft, id, named, declared, quality(mine))
    ConversionSpec.model_validate_json(json.dumps(conversion))
    shape = np.shape(run_onnx(draft / ONNX, as_feeds(model.example, model.names)))
    about = metadata(named, declared, model.example, shape, model.weights)
    for name, content in (("conversion", conversion), ("metadata", about)):
        _write(draft / "configs" / f"{name}.json", json.dumps(content, indent=2) + "\n")
    _write_docs(draft / "docs", model, named, form, mine, pictures, declared)
    faults = engine_check.check(draft, run=True)
    errors = [str(fault) for fault in faults if fault.severity == "error"]
    if errors:
        raise ExportError("The engine does not accept the bundle:\n" + "\n".join(errors))
    return [str(fault) for fault in faults], bool(mine)


def _conversion(
    draft: Path, id: str, settings: ExportSettings, declared: Mapping[str, Any], quality: list[dict[str, Any]]
) -> dict[str, Any]:
    """The content of `configs/conversion.json`."""
    targets = {
        name: about | _caution(about, settings.cautions.get(Modality(name)))
        for name, about in declared["targets"].items()
    }
    return {
        "schema_version": "1.0",
        "id": id,
        "title": settings.title,
        "version": settings.version,
        "license": settings.license,
        "citation": settings.citation,
        "intended_use": "research",
        "weights": [_weights(draft, ONNX)],
        **declared,
        "targets": targets,
        **({"gate": settings.gate.model_dump(mode="json", exclude_unset=True)} if settings.gate else {}),
        "quality": quality,
    }


def _caution(about: Mapping[str, Any], configured: str | None) -> dict[str, str]:
    """What the recipe and the configuration say of a target, in one."""
    said = [text for text in (configured, about.get("caution")) if text]
    return {"caution": " ".join(said)} if said else {}


def _weights(draft: Path, name: str) -> dict[str, Any]:
    file = draft / name
    return {"path": name, "format": "onnx", "sha256": sha256_of(file), "size": file.stat().st_size}


def _write_golden(path: Path, feeds: Mapping[str, np.ndarray], output: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    single = len(feeds) == 1
    arrays = {"input" if single else f"input_{name}": array for name, array in feeds.items()}
    np.savez_compressed(path, **{"output": output, **arrays})  # type: ignore[arg-type]


def _check_torchscript(archive: Path, feeds: dict[str, np.ndarray], output: np.ndarray) -> None:
    """Load the archive as the engine would, which refuses code that could reach files, and compare."""
    try:
        found = open_backend(archive, "torchscript", "cpu").run(feeds)
    except ConversionError as error:
        raise ExportError(f"The engine does not take the TorchScript file: {error}") from error
    worst = difference(found, output)
    if not worst < TOLERANCE:
        raise ExportError(f"In the engine, TorchScript and ONNX differ by {worst:.2g}; allowed are {TOLERANCE:g}.")


def _write_docs(
    docs: Path,
    model: Model,
    settings: ExportSettings,
    form: Form,
    figures: Mapping[str, Any],
    pictures: Path | None,
    declared: Mapping[str, Any],
) -> None:
    """The card; beside it the pictures of the worst cases and, of a conversion, every case, as far as there are figures."""
    converts = bool(declared["targets"])
    left = 1000 * settings.docs_kilobytes - _FOR_THE_CARD
    if figures and converts:
        _write(docs / CASES, every_case(settings.title, figures, settings.folder.name + form.suffix))
        left -= (docs / CASES).stat().st_size
    shown = figures
    if figures and settings.pictures and pictures is not None:
        shown = add_pictures(figures, pictures, docs, max(left, 0), settings.real_pictures)
    the_card = card if converts else segmentation_card
    _write(docs / "README.md", the_card(settings, declared, model.weights, model.about, shown, form.notes))


def _write(path: Path, text: str) -> None:
    """Write a text file into a folder that need not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """A new folder of the same name in a temporary folder beside it, which takes its place if all goes well.

    Raises ConfigError where something else than a model is there already.
    """
    folder = folder.absolute()
    if folder.exists() and not is_bundle(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there and is no model; nothing was written. Choose another `export.folder`.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as temporary:
        draft = Path(temporary) / folder.name
        draft.mkdir()
        yield draft
        if folder.exists():
            folder.rename(Path(temporary) / "older")
        draft.rename(folder)
