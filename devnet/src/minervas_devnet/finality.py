"""Finality in the demo: it pauses while a member that it needs is off, and goes on afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minervas_core.errors import Code
from minervas_devnet.api_client import ApiAway, LedgerState
from minervas_devnet.checks import Check
from minervas_devnet.node import Node
from minervas_devnet.waiting import WaitTimeout, stretched

OFF = ("miner", "peer", "ledger")
"""What is stopped of a member; its gateway goes on metering into its spool."""

BLOCKS_WITHOUT = 6
"""Blocks to see above the last final one while the member is off: three checkpoints in the demo."""

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Pause:
    """What was seen of a pause."""

    member: str
    final_height: int
    """Last final block while the member was off."""
    tip_height: int
    """How far the blocks went meanwhile."""
    missing: tuple[str, ...]
    """Whose votes were missing, as another member was told."""
    resumed_height: int
    """Last final block soon after it came back."""


class FinalityPause:
    """Switches a member off and on again.

    Args:
        nodes: all members.
        look: called while waiting.
    """

    def __init__(self, nodes: Sequence[Node], look: Callable[[], None]) -> None:
        self._nodes = nodes
        self._look = look

    def run(self, off: Node, witness: Node) -> Pause:
        """Switch `off` off until finality lags, and on again until it goes on, as `witness` sees it.

        Raises:
            WaitTimeout: if that does not happen.
        """
        self._wait(lambda: self._final_everywhere() > 0, "a final block")
        for service in OFF:
            off.services[service].stop()
        seen: list[LedgerState] = []

        def is_paused() -> bool:
            seen.append(_ledger(witness))
            return _is_paused(seen[-1], off.member)

        self._wait(is_paused, f"finality to wait for {off.member}")
        paused = seen[-1]
        for service in reversed(OFF):
            off.services[service].start()
        resumed: list[int] = []

        def goes_on() -> bool:
            resumed.append(self._final_everywhere())
            return resumed[-1] > paused.tip.height

        self._wait(goes_on, "finality to go on")
        return Pause(off.member, paused.final.height, paused.tip.height, tuple(paused.missing_voters), resumed[-1])

    def _final_everywhere(self) -> int:
        """Height of the last block that is final on all nodes."""
        return min(_ledger(node).final.height for node in self._nodes)

    def _wait(self, condition: Callable[[], bool], awaited: str) -> None:
        deadline = time.monotonic() + stretched(TIMEOUT_S)
        while not _holds(condition):
            if time.monotonic() > deadline:
                raise WaitTimeout(awaited, stretched(TIMEOUT_S), "")
            self._look()


def check_pause(pause: Pause) -> list[Check]:
    """Finality waited for the member, and for nobody else, and went on; blocks never stopped."""
    paused = f"block {pause.final_height} stayed the last final one up to block {pause.tip_height}"
    return [
        Check(
            f"while {pause.member} was off, blocks went on and finality waited for it",
            pause.missing == (pause.member,) and pause.tip_height >= pause.final_height + BLOCKS_WITHOUT,
            f"{paused}; missing: {', '.join(pause.missing)}",
        ),
        Check(
            f"with {pause.member} back, finality went on",
            pause.resumed_height > pause.tip_height,
            f"block {pause.resumed_height} is final on all nodes",
        ),
    ]


def _is_paused(state: LedgerState, member: str) -> bool:
    """Whether this member's vote alone is missing, a while after the last final block.

    For a moment the others' votes for a new checkpoint are missing too: they are on their way into a block.
    """
    return state.missing_voters == [member] and state.tip.height >= state.final.height + BLOCKS_WITHOUT


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except ApiAway:
        return False


def _ledger(node: Node) -> LedgerState:
    """What a node's ledger says.

    Raises:
        ApiAway: if it does not answer.
    """
    ledger = node.api.status().ledger
    if ledger is None:
        raise ApiAway(Code.NOT_READY, f"the ledger of {node.member} does not answer")
    return ledger
