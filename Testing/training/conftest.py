"""What every test of the training package may use; nothing here needs the folder of real scans."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `training`")
pytest.importorskip("monai", reason="training needs the extra `training`")
pytest.importorskip("lightning_fabric", reason="training needs the extra `training`")
# Helpers lie beside the tests that use them.
sys.path.insert(0, str(Path(__file__).parent))

from small_head import small_labels
from training.simulation.anatomy import Head, head_from_labels


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small networks gain nothing from a second thread, and lose much where other work waits for the cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def head() -> Head:
    """The small head, cropped, with its distances."""
    return head_from_labels(small_labels(), margin=4)


@pytest.fixture(scope="session")
def cases(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three packed cases of the small head, CT, T1, T2 and FLAIR."""
    from modality_conversion.modality import Modality
    from training.data.cases import write_case
    from training.simulation.case import simulate
    from training.simulation.settings import CaseSettings

    folder = tmp_path_factory.mktemp("cases")
    wanted = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)
    for number in range(3):
        case = simulate(head, CaseSettings(sources=wanted, stripped=0.3), np.random.default_rng(number))
        about = {"person": f"person {number}", "origin": "simulated", **case.about}
        write_case(folder / f"case_{number}", case.sources, case.targets, case.region, about, case.tissue)
    return folder


@pytest.fixture(scope="session")
def simulated(head: Head, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of simulated heads, to learn from and to be measured on."""
    from modality_conversion.modality import Modality
    from training.data.cases import write_case
    from training.simulation.case import simulate
    from training.simulation.settings import CaseSettings

    folder = tmp_path_factory.mktemp("simulated")
    four = (Modality.CT, Modality.T1, Modality.T2, Modality.FLAIR)
    easy = CaseSettings(
        sources=four,
        targets=four,
        healthy=1,
        mass=0,
        stripped=0,
        thick=0,
        source_spread=0.5,
        noise=(0, 0.02),
        bias=(0, 0.1),
        surface=(0, 0),
        fault=0,
        negative=0,
        smaller=0,
        unsaid_agent=0,
        ct_windowed=0,
        ct_agent=0,
    )
    for number in range(17):
        case = simulate(head, easy, np.random.default_rng(number))
        about = {"person": f"person {number}", "origin": "simulated"}
        part = "validation" if number >= 14 else "training"
        write_case(folder / part / f"case_{number}", case.sources, case.targets, case.region, about, case.tissue)
    return folder / "training", folder / "validation"
