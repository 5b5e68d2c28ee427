"""A trunk that learnt to convert, as the beginning of one that outlines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ill_heads import write_ill_heads
from modality_conversion.modality import Modality
from packed_heads import write_heads
from small_runs import small_loop
from training import checkpoint
from training.config import ConfigError
from training.loop import train
from training.networks.conditional import Trunk, TrunkSettings
from training.networks.inherit import TrunkOf, inherit_trunk
from training.recipes import make_recipe

THEIRS = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)
LIKE: dict[str, Any] = {"context": 5, "outputs": 3, "features": (16, 24, 32), "blocks": (1, 1, 1)}

pytestmark = pytest.mark.usefixtures("one_thread")


def trunk(sources: int, targets: int, local: int = 0, **different: Any) -> Trunk:
    made = Trunk(TrunkSettings(**LIKE | {"local": local} | different), sources, sources + targets).eval()
    for name, part in made.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(part, std=0.1)
    return made


@pytest.mark.parametrize("local", [0, 40])
def test_the_heir_answers_as_the_other_does_whatever_is_wanted(local: int) -> None:
    torch.manual_seed(0)
    theirs, own = trunk(4, 3, local), trunk(3, 0, local)
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            if name.endswith("linear.weight"):  # one that says the same of each target
                weight[:, 4:] = weight[:, 4:5]
    inherit_trunk(own, {f"trunk.{name}": part for name, part in theirs.state_dict().items()}, (1, 2, 3), 4)
    slab, given = torch.rand(2, 15, 32, 48), torch.tensor([[1.0, 0, 1], [1, 1, 1]])
    slab = (slab.unflatten(1, (3, 5)) * given[..., None, None, None]).flatten(1, 2)
    wide = torch.cat([torch.zeros(2, 5, 32, 48), slab], 1)
    code = torch.cat([torch.zeros(2, 1), given, torch.tensor([[0.0, 1, 0], [1, 0, 0]])], 1)
    with torch.no_grad():
        torch.testing.assert_close(own(slab, given), theirs(wide, code), rtol=1e-4, atol=1e-5)


def test_a_scan_that_the_other_never_saw_takes_after_the_one_that_is_named() -> None:
    of = TrunkOf(run=Path("somewhere"), sources=THEIRS)
    assert of.places((Modality.T1, Modality.T1CE, Modality.FLAIR)) == [1, 1, 3]
    with pytest.raises(ConfigError, match="never saw PD"):
        of.places((Modality.PD,))
    with pytest.raises(ValueError, match="`instead` names PD"):
        TrunkOf(run=Path("somewhere"), sources=THEIRS, instead={Modality.T1CE: Modality.PD})


def test_the_mean_of_what_could_be_wanted_is_where_the_heir_begins() -> None:
    torch.manual_seed(0)
    theirs, own = trunk(4, 3), trunk(3, 0)
    weights = {f"trunk.{name}": part for name, part in theirs.state_dict().items()}
    inherit_trunk(own, weights, (1, 2, 3), 4)
    name = "merge.0.linear"
    said = weights[f"trunk.{name}.weight"]
    torch.testing.assert_close(own.state_dict()[f"{name}.bias"], weights[f"trunk.{name}.bias"] + said[:, 4:].mean(1))
    torch.testing.assert_close(own.state_dict()[f"{name}.weight"], said[:, 1:4])


def test_a_trunk_that_is_not_told_what_is_wanted_is_taken_over_as_it_is() -> None:
    theirs, own = trunk(4, 0), trunk(4, 0)
    inherit_trunk(own, {f"trunk.{name}": part for name, part in theirs.state_dict().items()}, (0, 1, 2, 3), 4)
    for name, part in theirs.state_dict().items():
        torch.testing.assert_close(own.state_dict()[name], part)


@pytest.mark.parametrize(
    "different",
    [{"features": (16, 24, 40)}, {"blocks": (1, 2, 1)}, {"blocks": (1, 0, 1)}, {"context": 7}, {"local": 40}],
)
def test_a_trunk_of_another_shape_is_refused(different: dict[str, Any]) -> None:
    weights = {f"trunk.{name}": part for name, part in trunk(4, 3).state_dict().items()}
    with pytest.raises(ConfigError, match=r"^trunk: .* must be its own"):
        inherit_trunk(trunk(3, 0, **different), weights, (1, 2, 3), 4)


@pytest.mark.parametrize("sources", [3, 5])
def test_a_wrong_number_of_sources_is_refused(sources: int) -> None:
    weights = {f"trunk.{name}": part for name, part in trunk(4, 3).state_dict().items()}
    with pytest.raises(ConfigError, match=f"takes 20 slices in all, and not 1 x {sources} x 5: `sources`"):
        inherit_trunk(trunk(3, 0), weights, (0, 1, 2), sources)


def test_a_run_that_outlines_begins_with_the_trunk_of_one_that_converts(tmp_path: Path) -> None:
    write_ill_heads(tmp_path / "ill", 2, modalities=(*THEIRS, Modality.T1CE))
    write_heads(tmp_path / "heads", 2)
    network = LIKE | {"features": list(LIKE["features"]), "blocks": list(LIKE["blocks"])}

    def pools(folder: str) -> dict[str, Any]:
        return {"pools": {"simulated": {"folder": str(tmp_path / folder)}}, "validation": None}

    slabs = {"crop": [64, 64], "batch": 2, "workers": 0}
    wanted = {"sources": [str(source) for source in THEIRS], "targets": ["T1", "T2"]}
    converting = make_recipe("conditional", pools("heads") | wanted | {"network": network, "slabs": slabs})
    train(converting, small_loop(1), tmp_path / "converting")

    find = {"size": [32, 32, 32], "features": [8, 8, 8, 16, 16, 8]}
    tumor = {"network": network, "crop": [64, 64], "find": find, "boxes": {"batch": 2, "workers": 0}}
    tumor["trunk"] = {"run": str(tmp_path / "converting"), "sources": wanted["sources"]}
    train(make_recipe("tumor_slab", pools("ill") | tumor), small_loop(1, learning_rate=1e-9), tmp_path / "outlining")
    learnt = checkpoint.chosen(tmp_path / "converting")[1]["average"]
    begun = checkpoint.read(tmp_path / "outlining" / "last.pt")["network"]
    for name in ("down.0.0.weight", "decoder.0.second.0.weight"):
        torch.testing.assert_close(begun[f"outline.trunk.{name}"], learnt[f"trunk.{name}"], rtol=0, atol=1e-6)
    stem, old = begun["outline.trunk.stem.0.weight"], learnt["trunk.stem.0.weight"]
    torch.testing.assert_close(stem[:, :5], old[:, 5:10], rtol=0, atol=1e-6)  # T1
    torch.testing.assert_close(stem[:, 5:10], old[:, 5:10], rtol=0, atol=1e-6)  # T1CE takes after it
    torch.testing.assert_close(stem[:, 15:20], old[:, 15:20], rtol=0, atol=1e-6)  # FLAIR


def test_two_things_to_begin_with_are_refused(tmp_path: Path) -> None:
    write_ill_heads(tmp_path / "ill", 1, modalities=(*THEIRS, Modality.T1CE))
    trunk_of = {"run": str(tmp_path / "converting"), "sources": [str(source) for source in THEIRS]}
    options = {"pools": {"simulated": {"folder": str(tmp_path / "ill")}}, "validation": None, "trunk": trunk_of}
    with pytest.raises(ConfigError, match=r"`train\.begin_with` and the recipe's `trunk` both say"):
        train(make_recipe("tumor_slab", options), small_loop(1, begin_with=tmp_path / "other"), tmp_path / "run")
