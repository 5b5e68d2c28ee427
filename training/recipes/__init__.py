"""Recipes: one file for each way of making a network, behind the protocol of `base`; found here by name."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from training.config import ConfigError, Settings, check
from training.recipes.base import Recipe
from training.recipes.conditional import Conditional, ConditionalSettings
from training.recipes.conditional_volume import ConditionalVolume, ConditionalVolumeSettings
from training.recipes.content_style import ContentStyle, ContentStyleRecipeSettings
from training.recipes.cycle_gan import CycleGAN, CycleGANSettings
from training.recipes.flow_refiner import FlowRefinerSettings, FlowRegression
from training.recipes.head_mask import HeadMask, HeadMaskSettings
from training.recipes.pix2pix import Pix2Pix, Pix2PixSettings
from training.recipes.properties import Properties, PropertiesSettings
from training.recipes.slab_regression import SlabRegression, SlabRegressionSettings
from training.recipes.star_gan import StarGAN, StarGANSettings
from training.recipes.tumor import TumorSlab, TumorSlabSettings, TumorVolume, TumorVolumeSettings
from training.recipes.volume_regression import VolumeRegression, VolumeRegressionSettings


class Entry(NamedTuple):
    """A recipe and the type of its options."""

    settings: type[Settings]
    make: Callable[[Any], Recipe]


RECIPES: Mapping[str, Entry] = {
    "slab_regression": Entry(SlabRegressionSettings, SlabRegression),
    "volume_regression": Entry(VolumeRegressionSettings, VolumeRegression),
    "conditional": Entry(ConditionalSettings, Conditional),
    "conditional_volume": Entry(ConditionalVolumeSettings, ConditionalVolume),
    "properties": Entry(PropertiesSettings, Properties),
    "tumor_slab": Entry(TumorSlabSettings, TumorSlab),
    "tumor_volume": Entry(TumorVolumeSettings, TumorVolume),
    "head_mask": Entry(HeadMaskSettings, HeadMask),
    "pix2pix": Entry(Pix2PixSettings, Pix2Pix),
    "cycle_gan": Entry(CycleGANSettings, CycleGAN),
    "star_gan": Entry(StarGANSettings, StarGAN),
    "content_style": Entry(ContentStyleRecipeSettings, ContentStyle),
    "flow_refiner": Entry(FlowRefinerSettings, FlowRegression),
}


def make_recipe(name: str, options: dict[str, Any]) -> Recipe:
    """The recipe of this name, its options checked."""
    if name not in RECIPES:
        raise ConfigError(f"There is no recipe {name!r}; there are: {', '.join(sorted(RECIPES))}.")
    entry = RECIPES[name]
    return entry.make(check(entry.settings, options, "recipe.options"))
