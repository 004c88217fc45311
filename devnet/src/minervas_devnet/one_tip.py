"""Ask all nodes the same at one tip, so that their answers can be compared although blocks go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from minervas_devnet.api_client import ApiAway
from minervas_devnet.consortium import Consortium
from minervas_devnet.node import Node
from minervas_devnet.waiting import POLL_S, WaitTimeout, stretched

SAME_TIP_S = 40.0

T = TypeVar("T")


def at_one_tip(consortium: Consortium, read: Callable[[Node], T], *, timeout_s: float = SAME_TIP_S) -> dict[str, T]:
    """Ask all nodes the same, until no block came in between.

    Raises:
        WaitTimeout: if blocks come faster than answers.
    """
    nodes = consortium.nodes.values()
    deadline = time.monotonic() + stretched(timeout_s)
    while time.monotonic() < deadline:
        try:
            before = {_committed_tip(node) for node in nodes}
            answers = {node.member: read(node) for node in nodes}
            if len(before) == 1 and {_committed_tip(node) for node in nodes} == before:
                return answers
        except ApiAway:  # for a moment, on a busy machine
            pass
        time.sleep(POLL_S)
    raise WaitTimeout("all nodes to answer at one tip", stretched(timeout_s), consortium.describe_tips())


def _committed_tip(node: Node) -> str:
    """Hash of the newest block in a node's database, which is where answers about the market come from."""
    newest = node.api.blocks(limit=1)
    return newest[0].hash if newest else ""
