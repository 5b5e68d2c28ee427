"""How many threads a network gets on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ConversionError

ENVIRONMENT = "MODALITY_CONVERSION_THREADS"


def threads() -> int:
    """Threads for one network: the environment's number, else the physical cores this process may use; 0: not known.

    Raises ConversionError when the environment variable holds no number.
    """
    wanted = os.environ.get(ENVIRONMENT, "").strip()
    if not wanted:
        return physical_cores()
    if not wanted.isdecimal() or not int(wanted):
        raise ConversionError(f"{ENVIRONMENT}={wanted} is no number of threads; set it to 1 or more, or unset it.")
    return int(wanted)


def physical_cores(system: Path = Path("/sys")) -> int:
    """Physical cores this process may use, 0 where Linux's `/sys` is not there to say.

    Two threads of a core share its arithmetic, so more threads than cores make a convolution slower. A container or a
    batch queue may allow fewer cores than the machine has; a runtime that counts the machine's then waits for itself.
    """
    if not hasattr(os, "sched_getaffinity"):
        return 0
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        topology = system / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        siblings.add(topology.read_text().strip() if topology.exists() else str(cpu))
    return max(1, min(len(siblings), _container_limit(system)))


def _container_limit(system: Path) -> int:
    """Cores that a container's quota amounts to (control groups version 2), or a number beyond any machine's."""
    unlimited = 1 << 20
    try:
        quota, period = (system / "fs/cgroup/cpu.max").read_text().split()
        return unlimited if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return unlimited
