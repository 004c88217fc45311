"""What all nodes of a simulated network share, and the numbers of its chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import msgspec

from minervas_core.genesis import Genesis
from minervas_core.signature_cache import SignatureCache
from tests.sim.bus import Bus
from tests.sim.timeline import Event, Timeline
from tests.sim.watch import Watch
from tests.support.builders import TINY, make_genesis

INTERVAL_MS = 1_000
"""T of simulated chains."""

PARAMETERS = msgspec.structs.replace(
    TINY,
    block_interval_ms=INTERVAL_MS,
    initial_difficulty=4,
    min_difficulty=1,
    lwma_window=8,
    diversity_per_mille=0,
    max_expiry_blocks=60,
    slot_ms=5_000,
    max_open_orders=6,
    max_fills_per_block=3,
    max_lots_per_offer=4,
)
"""Difficulties of a few tries, and limits so close that they are met. The check of the work is the real one."""

TRIES_PER_INTERVAL = 6
"""Hash rate of the whole network per T: the difficulty that the chain settles at."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The world as a node sees it."""

    genesis: Genesis
    timeline: Timeline
    bus: Bus
    random: Random
    watch: Watch
    signatures: SignatureCache
    """Shared by all nodes: what one has verified the others need not verify again."""

    def after(self, delay_ms: int, kind: str, subject: str, run: Callable[[], None]) -> None:
        """Plan an event."""
        self.timeline.after(delay_ms, Event(run, kind, subject))

    def wait_ms(self, mean_ms: float) -> int:
        """A random time of this mean, as of events that do not know of each other."""
        return 1 + int(self.random.expovariate(1 / mean_ms))


def simulated_genesis(diversity_per_mille: int, founding_voters: int) -> Genesis:
    """The genesis of simulated networks."""
    return make_genesis(
        msgspec.structs.replace(PARAMETERS, diversity_per_mille=diversity_per_mille, founding_voters=founding_voters)
    )
