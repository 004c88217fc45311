"""What the gateway and its own ledger say to each other, sealed under the node key.

Requests ``channel_registers`` (which of our channels the chain knows, and where their registers stand) and
``statement`` (a signed transaction for the queue); event ``readings_stored`` (sequence numbers that are in PostgreSQL).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

from minervas_core.encoding import Count, NetworkId, PublicKey, Record, Salt, Signature, TimeMs, encode
from minervas_core.errors import Code, InvalidFrame
from minervas_core.keys import SigningKey
from minervas_core.metering import Generation, Name, RegisterPoint
from minervas_core.node_messages import SubmitResult
from minervas_core.transactions import PURPOSE
from minervas_runtime.node_link import NodeLink

LEDGER = "ledger"
TIMEOUT_S = 5.0

HOPELESS = frozenset({"statement_too_much"})
"""Refusals of a statement that no waiting can cure: the register rose by more than the channel can deliver."""

Range = Annotated[list[Count], msgspec.Meta(min_length=2, max_length=2)]


class GetChannelRegisters(Record, frozen=True, kw_only=True):
    """Ask what the chain knows of a gateway's channels."""

    gateway: PublicKey


class ChannelRegister(Record, frozen=True, kw_only=True):
    """A registered channel."""

    meter: Name
    channel: Name
    register: RegisterPoint | msgspec.UnsetType = msgspec.UNSET
    """Where its last statement ended; absent before its first."""


class ChannelRegisters(Record, frozen=True, kw_only=True):
    """Answer to `GetChannelRegisters`, as of the ledger's tip."""

    network: NetworkId
    slot_ms: Count
    tip_height: Count
    tip_time_ms: TimeMs
    channels: list[ChannelRegister]


class SubmitStatement(Record, frozen=True, kw_only=True):
    """A signed `Generation` for the queue."""

    transaction: msgspec.Raw


class ReadingsStored(Record, frozen=True, kw_only=True):
    """Event of the ledger: these readings of a spool are in its database."""

    spool: Salt
    ranges: list[Range]
    """First and last sequence number of each range."""


class StatementForm(Record, frozen=True, kw_only=True):
    """A signed statement on the wire."""

    body: Generation
    signature: Signature


def sign_statement(body: Generation, gateway: SigningKey) -> bytes:
    """Sign a statement; returns the transaction's canonical bytes."""
    signature = gateway.sign(PURPOSE, body.network, encode(body))
    return encode(StatementForm(body=body, signature=signature))


class LedgerLink:
    """The gateway's end of the link to its ledger.

    Args:
        link: to the services of our node.
        gateway: our public key.
    """

    def __init__(self, link: NodeLink, gateway: str) -> None:
        self._link = link
        self._gateway = gateway

    def on_stored(self, handle: Callable[[ReadingsStored], Awaitable[None]]) -> None:
        """Call `handle` with every acknowledgement of our own ledger."""

        async def checked(stored: ReadingsStored, service: str) -> None:
            if service != LEDGER:
                raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Only the ledger stores readings", service=service)
            await handle(stored)

        self._link.on("readings_stored", ReadingsStored, checked)

    async def registers(self) -> ChannelRegisters:
        """Ask what the chain knows of our channels.

        Raises:
            MinervasError: as `NodeLink.request`.
        """
        question = GetChannelRegisters(gateway=self._gateway)
        return await self._link.request(LEDGER, "channel_registers", question, ChannelRegisters, TIMEOUT_S)

    async def submit(self, transaction: bytes) -> SubmitResult:
        """Hand a statement in; repeating it is harmless.

        Raises:
            MinervasError: as `NodeLink.request`.
        """
        statement = SubmitStatement(transaction=msgspec.Raw(transaction))
        return await self._link.request(LEDGER, "statement", statement, SubmitResult, TIMEOUT_S)
