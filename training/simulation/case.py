"""One simulated case: from a head and a random generator to sources, targets and the maps of regions, tissues and diseases."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modality_conversion.modality import Modality
from training.data.regions import BRAIN_REGIONS, Region
from training.data.scale import normalise_source, normalise_target, scale_target
from training.simulation import ct, lesions, scanner
from training.simulation.ageing import shrink
from training.simulation.anatomy import Head, deform, is_any, is_brain
from training.simulation.disease import disease_map
from training.simulation.fields import Shape, gaussian_blur, smooth_field, torch_generator, white_noise
from training.simulation.lesions import Lesion
from training.simulation.outside import add_details, face_cut, stripped_brain
from training.simulation.protocols import STANDARD, Protocol, random_protocol, vary_outside
from training.simulation.settings import CaseSettings
from training.simulation.tissues import (
    AIR,
    AIR_HU,
    BONE,
    CAVITY,
    CODE,
    Deviations,
    TissueValues,
    draw_deviations,
    grains,
    greyness,
    hounsfield,
    kinds,
)

Rng = np.random.Generator
WATER_GAIN = (0.015, 0.05, 0.04)
"""Relative change of PD, T1 and T2 for one deviation of the texture: watery places have more protons and longer times
(estimates; white matter varies by about 5 %)."""
HU_GAIN = -1.2
"""HU for one deviation of the texture: water is less dense than what it dilutes."""


@dataclass(frozen=True)
class Case:
    """`sources` on the network's input scale, `targets` on its output scale (`data.scale`), float32; codes, uint8."""

    sources: dict[Modality, NDArray[np.float32]]
    targets: dict[Modality, NDArray[np.float32]]
    region: NDArray[np.uint8]
    tissue: NDArray[np.uint8]
    about: dict[str, Any]
    disease: NDArray[np.uint8]


@dataclass(frozen=True)
class Person:
    """A deformed head with its disease, ready to be scanned."""

    head: Head
    lesions: list[Lesion]
    deviations: Deviations
    texture: Tensor
    """How water content varies: float32, deviation about 1 times the case's strength."""
    index: Tensor
    """The head's codes as int32, which is what a table is looked up with."""
    greyer: Tensor
    """How much nearer to grey matter than its tissue code a voxel is: grey and white pass into one another."""

    @property
    def shape(self) -> Shape:
        """(z, y, x)."""
        return self.head.shape

    def paint(self, level: NDArray[np.float64], change: NDArray[np.float64]) -> Tensor:
        """A volume of `level` by tissue code, plus `change` times the texture."""
        device = self.index.device
        levels = torch.as_tensor(level, dtype=torch.float32, device=device)
        changes = torch.as_tensor(change, dtype=torch.float32, device=device)
        volume = torch.addcmul(levels[self.index], changes[self.index], self.texture)
        volume.add_(self.greyer, alpha=float(level[CODE["grey_matter"]] - level[CODE["white_matter"]]))

        def value(tissue: str, box: lesions.Box) -> Tensor:
            return levels[CODE[tissue]] + changes[CODE[tissue]] * self.texture[box]

        lesions.blend(volume, self.lesions, value)
        return volume


def _texture(shape: Shape, rng: Rng, device: torch.device) -> Tensor:
    """Slow, medium and fine variation, deviation about 1."""
    generator = torch_generator(rng, device)
    slow = smooth_field(shape, float(rng.uniform(25, 60)), generator)[0]
    medium = smooth_field(shape, float(rng.uniform(4, 10)), generator)[0]
    fine = gaussian_blur(white_noise(shape, generator), 0.7)
    amounts = rng.uniform(0.2, 1.0, 3)
    amounts /= np.linalg.norm(amounts)
    fine.mul_(float(amounts[2] / fine[::3, ::3, ::3].std()))
    return fine.add_(slow, alpha=float(amounts[0])).add_(medium, alpha=float(amounts[1]))


def _greyer(codes: Tensor, index: Tensor, width: float) -> Tensor:
    """Greyness blurred within brain tissue alone, minus what it was: no fluid is drawn into the brain."""
    table = torch.as_tensor(greyness(), dtype=torch.float32, device=codes.device)
    inside = (~table.isnan()).float()[index]
    grey = table.nan_to_num()[index]
    blurred = gaussian_blur(grey, width) / gaussian_blur(inside, width).clamp_min(1e-3)
    return (blurred - grey) * inside


def make_person(original: Head, settings: CaseSettings, rng: Rng) -> tuple[Person, dict[str, Any]]:
    """Deform a head, age it, give it what the label map leaves out, and disease; and what was done, for `case.json`."""
    ill = rng.random() >= settings.healthy
    plan = lesions.plan_mass(original, settings.masses, rng) if ill and rng.random() < settings.mass else None
    head = deform(original, settings.deformation, rng, plan.mass if plan else None)
    old = rng.random() < settings.atrophy
    if old:
        head = shrink(head, rng)
    head = add_details(head, rng)

    field = lesions.Field(head, rng)
    found = lesions.leaves(field)
    names = []
    for name, make in lesions.KINDS.items():
        if (ill or name == "calcifications") and rng.random() < settings.disease.get(name, 0):
            names.append(name)
            found += lesions.parts_of(name, make(field))
    if plan:
        names.append(plan.kind)
        found += lesions.parts_of(plan.kind, lesions.grow_mass(field, plan))
    texture = _texture(head.shape, rng, head.codes.device) * float(rng.uniform(*settings.texture))
    index = head.codes.int()
    greyer = _greyer(head.codes, index, float(rng.uniform(*settings.passage)))
    person = Person(head, found, draw_deviations(rng), texture, index, greyer)
    return person, {"disease": names, "atrophy": old}


# --- the noiseless contrasts ------------------------------------------------------------------------------------------


def mr_signal(person: Person, protocol: Protocol, table: TissueValues) -> Tensor:
    """The noiseless MR signal at every voxel."""
    level = protocol.signal(table)

    def at(side: float) -> NDArray[np.float64]:
        pd, t1, t2 = (
            np.asarray(getattr(table, name)) * np.exp(side * gain * grains())
            for name, gain in zip(("pd", "t1", "t2"), WATER_GAIN, strict=True)
        )
        return protocol.signal(TissueValues(pd, t1, t2))

    return person.paint(level, (at(0.5) - at(-0.5))).clamp_min_(0)


def ct_image(person: Person, scale: float, agent: float = 0.0) -> Tensor:
    """HU at every voxel; `agent` is the dose of iodine, 1 being the usual one."""
    level = hounsfield(person.deviations, scale=scale)
    for name, rise in (
        ("vein", 90),
        ("artery", 110),
        ("choroid", 45),
        ("enhancing", 35),
        ("meningioma", 35),
        ("dura", 25),
    ):
        level[CODE[name]] += agent * rise
    change = HU_GAIN * grains()
    bone = [CODE[name] for name in BONE]
    change[bone] = -0.06 * level[bone]
    return person.paint(level, change)


def regions(person: Person) -> Tensor:
    """`Region` codes, uint8. Brain is what a brain mask holds: tissue, ventricles, and CSF in its sulci."""
    codes = person.head.codes
    region = torch.full(codes.shape, int(Region.HEAD), dtype=torch.uint8, device=codes.device)
    region.masked_fill_(is_any(codes, (AIR, CAVITY)), int(Region.BACKGROUND))
    region.masked_fill_(is_any(codes, BONE), int(Region.BONE))
    sulci = is_any(codes, ("csf", "vein", "artery", "dura")) & (person.head.distance("to_brain") < 1)
    region.masked_fill_(is_brain(codes) | sulci, int(Region.BRAIN))
    lesions.mark(region, person.lesions)
    return region


# --- sources ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exam:
    """What one scan of a person has in common with the others of its case, and what not."""

    settings: CaseSettings
    grid: scanner.Grid
    """The voxels it measures."""
    blur: float
    """Deviation in mm of the blur that makes partial volume."""
    kept: Tensor | None
    """What is left by a tool that strips or defaces; None: all."""
    stripped: bool
    rng: Rng

    def happens(self, fraction: float) -> bool:
        """Whether something that happens to this fraction of scans happens to this one."""
        return bool(self.rng.random() < fraction)

    def within(self, limits: tuple[float, float]) -> float:
        """A number between limits."""
        return float(self.rng.uniform(*limits))

    def cut(self, volume: Tensor, outside: float) -> Tensor:
        """What is left of a scan: in place, `outside` elsewhere; sometimes the scan ends before the grid does."""
        if self.kept is not None:
            volume.masked_fill_(~self.kept, outside)
        if self.happens(self.settings.smaller):
            axis = int(self.rng.choice(3, p=[0.7, 0.15, 0.15]))
            size = volume.shape[axis]
            missing = int(self.rng.uniform(0.05, 0.35) * size)
            volume.narrow(axis, 0 if self.happens(0.5) else size - missing, missing).fill_(outside)
        return volume


def _mr_source(person: Person, modality: Modality, exam: Exam) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """One MR scan under a random protocol, on the network's input scale, and how it was made."""
    shape, device, settings, rng = person.shape, person.index.device, exam.settings, exam.rng
    agent = modality is Modality.T1 and exam.happens(settings.unsaid_agent)
    protocol = random_protocol(Modality.T1CE if agent else modality, rng)
    about = protocol.about()
    table = protocol.table(person.deviations, settings.source_spread)
    vary_outside(table, rng)
    volume = mr_signal(person, protocol, table)
    if modality is Modality.FLAIR and exam.happens(settings.csf_flow):
        moving = is_any(person.head.codes, ("csf", "ventricle"))
        patches = smooth_field(shape, 16, torch_generator(rng, device))[0] - exam.within((0.3, 1.2))
        volume += moving * patches.clamp_min(0) * exam.within((0.05, 0.3)) * float(volume.max())
    volume = gaussian_blur(volume, exam.blur)

    volume *= scanner.bias_field(shape, exam.within(settings.bias), rng, device)
    volume *= 1 + exam.within(settings.surface) * (-person.head.distance("depth") / 18).exp()
    if exam.happens(settings.fault):
        kind = str(rng.choice(scanner.FAULTS, p=[0.5, 0.35, 0.15]))
        volume = scanner.fault(volume, kind, rng)
        about["fault"] = kind
    brain = is_brain(person.head.codes[::2, ::2, ::2])
    noise = exam.within(settings.noise) * float(volume[::2, ::2, ::2][brain].median())
    volume = exam.grid.shown(scanner.rician(exam.grid.measured(volume), noise, rng))
    if exam.happens(settings.dark_background):
        volume *= person.head.distance("depth") > 0.3
    if exam.kept is not None and exam.stripped and exam.happens(settings.negative):
        inside = volume[exam.kept]
        volume = (volume - inside.mean()) / inside.std()
        about["standardised"] = True
    return normalise_source(_array(exam.cut(volume, 0.0)), modality), about


def _ct_source(person: Person, exam: Exam) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """One CT, windowed or not, on the network's input scale, and how it was made."""
    settings, rng = exam.settings, exam.rng
    agent = exam.within((0.5, 1.3)) if exam.happens(settings.ct_agent) else 0.0
    volume = gaussian_blur(ct_image(person, scale=1.0, agent=agent), exam.blur)
    if not exam.stripped and exam.happens(settings.ct_rest):
        volume = ct.head_rest(volume, rng)
    volume = exam.grid.measured(ct.kernel(volume, rng))
    if exam.happens(0.5):
        volume = ct.streaks(volume, rng)
    volume = ct.grain(volume, exam.within(settings.ct_noise), rng)
    outside = ct.outside_value(rng)
    about: dict[str, Any] = {"agent": round(agent, 2)}
    if exam.happens(settings.ct_windowed):
        name, to_window = ct.random_window(rng, settings.ct_eight_bit)
        volume, about["window"] = to_window(volume), name
        outside = float(to_window(torch.tensor(outside)))
    # The engine scales a CT on its own voxels, before it resamples.
    scaled = exam.grid.shown(torch.from_numpy(normalise_source(_array(volume), Modality.CT)).to(volume.device))
    nothing = float(normalise_source(np.full((1, 1, 1), outside), Modality.CT).item())
    return _array(exam.cut(scaled, nothing)), about


def _array(volume: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = volume.float().cpu().numpy()
    return array


# --- the case ---------------------------------------------------------------------------------------------------------


def target(person: Person, modality: Modality, settings: CaseSettings, grid: scanner.Grid, blur: float) -> Tensor:
    """One target under its standard protocol: HU, or arbitrary units; no noise, no bias field."""
    if modality is Modality.CT:
        volume = ct_image(person, settings.target_spread)
    else:
        protocol = STANDARD[modality]
        volume = mr_signal(person, protocol, protocol.table(person.deviations, settings.target_spread))
    return grid.shown(grid.measured(gaussian_blur(volume, blur)))


def _grids(shape: Shape, settings: CaseSettings, rng: Rng) -> tuple[scanner.Grid, dict[Modality, scanner.Grid]]:
    """The grid of the targets, and of each source."""

    def thick() -> scanner.Grid:
        return scanner.Grid.of(shape, scanner.random_spacing(settings.thickness, settings.pixels, rng), rng)

    fine = scanner.Grid()
    if rng.random() >= settings.thick:
        return fine, dict.fromkeys(settings.sources, fine)
    if rng.random() < settings.mixed:
        return fine, {modality: thick() if rng.random() < 0.6 else fine for modality in settings.sources}
    same = thick()
    return same, dict.fromkeys(settings.sources, same)


def _drawn_sources(settings: CaseSettings, rng: Rng) -> list[Modality]:
    """The contrasts that this case is scanned with, in the order of the settings."""
    chosen = list(settings.sources)
    if settings.sources_per_case is None or settings.sources_per_case >= len(chosen):
        return chosen
    picked = set(rng.choice(len(chosen), settings.sources_per_case, replace=False).tolist())
    return [modality for place, modality in enumerate(chosen) if place in picked]


def _scaled_target(volume: Tensor, modality: Modality, brain: Tensor, kept: Tensor | None) -> NDArray[np.float32]:
    """A target on the network's output scale, with air where it is not `kept`; the volume is changed."""
    median = float(volume[brain].median())  # of the whole brain: a bite of the stripping tool changes no scale
    if kept is not None:
        volume.masked_fill_(~kept, AIR_HU if modality is Modality.CT else 0.0)
    array = _array(volume)
    if modality is Modality.CT:
        return normalise_target(array, np.empty(0, np.uint8), modality)
    return scale_target(array, median, modality)


def simulate(original: Head, settings: CaseSettings, rng: Rng) -> Case:
    """A person made of a head, scanned with every source's random protocol and every target's standard one."""
    person, about = make_person(original, settings, rng)
    target_grid, source_grids = _grids(person.shape, settings, rng)
    blur = float(rng.uniform(*settings.blur))
    region = regions(person)
    disease = disease_map(region, person.lesions)

    stripped = bool(rng.random() < settings.stripped)
    defaced = bool(not stripped and rng.random() < settings.defaced)
    kept = stripped_brain(person.head, rng) if stripped else face_cut(person.head, rng) if defaced else None

    sources: dict[Modality, NDArray[np.float32]] = {}
    protocols = {}
    for modality in _drawn_sources(settings, rng):
        grid = source_grids[modality]
        exam = Exam(settings, grid, float(np.hypot(blur, rng.uniform(*settings.softer))), kept, stripped, rng)
        scanned = _ct_source(person, exam) if modality is Modality.CT else _mr_source(person, modality, exam)
        sources[modality] = scanned[0]
        protocols[str(modality)] = scanned[1] | {"spacing": [round(step, 2) for step in grid.spacing]}

    brain = torch.isin(region, torch.tensor(BRAIN_REGIONS, dtype=torch.uint8, device=region.device))
    targets = {
        modality: _scaled_target(target(person, modality, settings, target_grid, blur), modality, brain, kept)
        for modality in settings.targets
    }
    table = torch.as_tensor(kinds(), device=region.device)
    tissue = table[lesions.codes_with(person.head.codes, person.lesions).int()]
    if kept is not None:
        region.masked_fill_(~kept, int(Region.BACKGROUND))
        tissue.masked_fill_(~kept, 0)
        disease.masked_fill_(~kept, 0)
    about |= {
        "whole_head": not stripped,
        "defaced": defaced,
        "target_spacing": [round(step, 2) for step in target_grid.spacing],
        "protocols": protocols,
    }
    return Case(sources, targets, region.cpu().numpy(), tissue.cpu().numpy(), about, disease.cpu().numpy())
