"""What the gateway and its own ledger say to each other, sealed under the node key.

Requests ``channel_registers`` (which of our channels the chain knows, and where their registers stand) and
``statement`` (a signed transaction for the queue); event ``readings_stored`` (sequence numbers that are in PostgreSQL).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from minervas_core.errors import Code, InvalidFrame
from minervas_core.node_market_messages import ChannelRegisters, GetChannelRegisters, ReadingsStored, Statement
from minervas_core.node_messages import SubmitResult
from minervas_meter_gateway.gateway_keys import GatewayKeys
from minervas_runtime.node_link import NodeLink

LEDGER = "ledger"
TIMEOUT_S = 5.0

HOPELESS = frozenset({Code.STATEMENT_RATED_POWER.value})
"""Refusals of a statement that no waiting can cure: the register rose by more than the channel can deliver."""


class LedgerLink:
    """The gateway's end of the link to its ledger.

    Args:
        link: to the services of our node.
        keys: ours; they follow what the chain has.
    """

    def __init__(self, link: NodeLink, keys: GatewayKeys) -> None:
        self._link = link
        self._keys = keys

    def on_stored(self, handle: Callable[[ReadingsStored], Awaitable[None]]) -> None:
        """Call `handle` with every acknowledgement of our own ledger."""

        async def checked(stored: ReadingsStored, service: str) -> None:
            if service != LEDGER:
                raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only the ledger stores readings", service=service)
            await handle(stored)

        self._link.on("readings_stored", ReadingsStored, checked)

    async def registers(self) -> ChannelRegisters:
        """Ask what the chain knows of our channels: those that are registered for our key.

        Raises:
            MinervasError: as `NodeLink.request`.
        """
        answer = await self._link.request(
            LEDGER, "channel_registers", GetChannelRegisters(), ChannelRegisters, TIMEOUT_S
        )
        own = self._keys.follow(answer.meters)
        channels = [channel for channel in answer.channels if channel.meter in own]
        return msgspec.structs.replace(answer, channels=channels)

    async def submit(self, transaction: bytes) -> SubmitResult:
        """Hand a statement in; repeating it is harmless.

        Raises:
            MinervasError: as `NodeLink.request`.
        """
        statement = Statement(transaction=msgspec.Raw(transaction))
        return await self._link.request(LEDGER, "statement", statement, SubmitResult, TIMEOUT_S)
