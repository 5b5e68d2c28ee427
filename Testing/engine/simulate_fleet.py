"""100,000 studies on 1, 8 and 64 graphics cards, simulated: `python Testing/engine/simulate_fleet.py`, half a minute.

Every case goes through five stages, each at a server with a queue, first come first served: read from the shared storage,
a core of its own, a card, the core again, write to the storage, and the process that gives out the work, which puts the
result in place. The costs are those that `measure_stages.py` printed; what could not be measured is assumed, and said.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from dataclasses import dataclass

STUDIES = 100_000


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes for one case, 192x224x160 voxels of 1 mm."""

    before_network: float = 0.131 + 0.054 + 0.437 / 2
    """Decompress, look at the scan, resample; processor seconds, measured."""
    after_network: float = 0.437 / 2 + 0.057 + 0.514
    """Way back, features, compress; measured."""
    picture: float = 1.061
    """Measured."""
    network_cpu: float = 1.536
    """One core, measured."""
    network_card: float = 0.1
    """Assumed: no card was there to measure."""
    commit: float = 0.0228
    """To put a result in place, wall seconds on a local disk of a busy machine, measured."""
    read_bytes: float = 8.31e6
    written_bytes: float = 6.64e6 + 0.3e6
    storage: float = 1.0e9
    """Bytes a second of the shared storage; assumed."""


@dataclass(frozen=True)
class Fleet:
    """What there is."""

    cards: int
    """0: no cards, `cores` of them in all."""
    cores: int
    """For each card."""
    workers: int
    """For each card."""
    picture: bool = True

    def __str__(self) -> str:
        picture = "" if self.picture else ", no pictures"
        place = f"{self.cards} GPU x {self.cores} cores" if self.cards else f"{self.cores} cores"
        return f"{place}, {self.workers} workers{' a GPU' if self.cards else ''}{picture}"


class Server:
    """One queue; several work side by side behind it where `count` says so."""

    def __init__(self) -> None:
        self.free = self.busy = self.waited = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When a case that comes now is done."""
        start = max(now, self.free)
        self.waited += start - now
        self.busy += seconds
        self.free = start + seconds
        return self.free


def simulate(fleet: Fleet, costs: Costs, studies: int = STUDIES) -> dict[str, float]:
    """Hours, the share of the time that each part is busy, and the seconds that a case waits for it."""
    cards = [Server() for _ in range(max(1, fleet.cards))]
    storage, driver = Server(), Server()
    after = costs.after_network + (costs.picture if fleet.picture else 0.0)
    workers = fleet.workers * len(cards)
    given, done, computed, end = min(workers, studies), 0, 0.0, 0.0
    # Ray keeps a core for each worker, so no worker waits for a core.
    events = [(0.001 * number, number, 0) for number in range(given)]
    heapq.heapify(events)
    while events:
        now, worker, stage = heapq.heappop(events)
        if stage == 0:
            then = storage.serve(now, costs.read_bytes / costs.storage)
        elif stage == 1:
            then = now + costs.before_network
            computed += costs.before_network
        elif stage == 2:
            if fleet.cards:
                then = cards[worker % len(cards)].serve(now, costs.network_card)
            else:
                then = now + costs.network_cpu
                computed += costs.network_cpu
        elif stage == 3:
            then = now + after
            computed += after
        elif stage == 4:
            then = storage.serve(now, costs.written_bytes / costs.storage)
        else:
            # The worker is free at once: the next case was given out before. Only the result waits for the driver.
            end = max(end, driver.serve(now, costs.commit))
            done += 1
            if given < studies and driver.free - now < 2 * workers * costs.commit:
                given += 1
                heapq.heappush(events, (now, worker, 0))
            elif given < studies:  # two cases a worker are in hand; the next is given out when the driver has caught up
                given += 1
                heapq.heappush(events, (driver.free - 2 * workers * costs.commit, worker, 0))
            continue
        heapq.heappush(events, (then, worker, stage + 1))
    busy_cards = sum(card.busy for card in cards) / len(cards) / end if fleet.cards else 0.0
    return {
        "hours": end / 3600,
        "cores": computed / end / (len(cards) * fleet.cores),
        "cards": busy_cards,
        "storage": storage.busy / end,
        "driver": driver.busy / end,
        "GB/s": done * (costs.read_bytes + costs.written_bytes) / end / 1e9,
    }


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("network_card", "commit", "storage"):
        options.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(Costs, name))
    options.add_argument("--studies", type=int, default=STUDIES)
    asked = options.parse_args()
    costs = Costs(network_card=asked.network_card, commit=asked.commit, storage=asked.storage)
    fleets = [Fleet(0, 32, 32)]
    fleets += [Fleet(cards, 8, workers) for workers in (1, 8) for cards in (1, 8, 64)]
    fleets += [Fleet(cards, 8, 8, picture=False) for cards in (8, 64)]
    sys.stdout.write(
        f"{costs}\n| fleet | hours | cores busy | GPUs busy | storage busy | driver busy | GB/s |\n|{' --- |' * 7}\n"
    )
    for fleet in fleets:
        told = simulate(fleet, costs, asked.studies)
        shares = " | ".join(f"{told[name]:.0%}" for name in ("cores", "cards", "storage", "driver"))
        sys.stdout.write(f"| {fleet} | {told['hours']:.1f} | {shares} | {told['GB/s']:.2f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
