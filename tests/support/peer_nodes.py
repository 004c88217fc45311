"""Helpers of the tests of whole peers: put them on a tip, wait for what reaches their ledgers."""

from __future__ import annotations

from minervas_core.errors import Code
from minervas_core.topics import mesh
from tests.support.peer import roster
from tests.support.peer_network import Node, PeerNetwork
from tests.support.wait import wait_until_async

BLOCK = b'{"a":"block"}'


def topic(node: Node, kind: str) -> str:
    return mesh(node.principal, kind)


async def settle(network: PeerNetwork, *nodes: Node, height: int = 1) -> None:
    """Put these nodes, and only them, on everybody's tip, and wait until they have each other's keys."""
    on_tip = roster([node.member for node in nodes], height=height)
    for node in nodes:
        await node.ledger.move(height, on_tip)
    await wait_until_async(lambda: all(node.peer.directory.settled for node in nodes), describe="all on their tips")
    await wait_until_async(lambda: all(one.holds_key_of(two) for one in nodes for two in nodes if one is not two))


async def three(network: PeerNetwork) -> list[Node]:
    """Three settled nodes."""
    nodes = [await network.add(name) for name in ("anna", "bert", "cara")]
    await wait_until_async(network.complete)
    await settle(network, *nodes)
    return nodes


async def until_blocks(node: Node, *expected: tuple[str, bytes]) -> None:
    await wait_until_async(lambda: node.ledger.blocks == list(expected), describe=lambda: str(node.ledger.blocks))


async def until_refused(node: Node, code: Code, number: int) -> None:
    await wait_until_async(lambda: node.refused(code) == number, describe=f"{number} x {code}")


async def until_submitted(node: Node, origin: str, transaction: bytes) -> None:
    await wait_until_async(lambda: (origin, transaction) in node.ledger.submitted, describe=origin)
