"""A program in a member's house that has the meter-gateway's credentials and says what the gateway never would."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from minervas_core.encoding import encode
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.market.records import Register
from minervas_core.metering import Generation, RegisterPoint
from minervas_core.node_market_messages import ChannelRegisters, GetChannelRegisters, Relay, Statement
from minervas_core.node_messages import SubmitResult
from minervas_core.transactions import TransactionForm, sign_transaction
from minervas_devnet.node import Node
from minervas_devnet.options import GATEWAY
from minervas_devnet.ports import LOOPBACK
from minervas_meter_gateway.gateway_keys import GATEWAY_KEY
from minervas_runtime.bus import BusDenied
from minervas_runtime.enrolment import NODE_KEY_FILE
from minervas_runtime.key_files import read_seed
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.node_link import NodeLink
from minervas_runtime.tls_identity import TLS_KEY_FILE

REQUEST_TIMEOUT_S = 60.0
EXPIRY_BLOCKS = 50

T = TypeVar("T")


class HostileGateway:
    """Connects to the real broker as a node's meter-gateway, which must be stopped: there is one session for both.

    Args:
        node: of the member.
        network: network id.
        broker_port: of the broker itself.
    """

    def __init__(self, node: Node, network: str, broker_port: int) -> None:
        self.member = node.member
        self.key = SigningKey(read_seed(node.directory / GATEWAY / f"{GATEWAY_KEY}.key"))
        """The gateway's own: the one under which the member's meters are registered."""
        self._network = network
        self._node_key = read_seed(node.directory / "secrets" / NODE_KEY_FILE)
        issued = node.directory / "issued"
        self._settings = BusSettings(
            host=LOOPBACK,
            port=broker_port,
            ca_file=issued / "ca.crt",
            cert_file=issued / "certs" / f"{GATEWAY}.crt",
            key_file=node.directory / GATEWAY / TLS_KEY_FILE,
            principal=str(Principal(node.member, GATEWAY)),
        )

    def registers(self) -> ChannelRegisters:
        """What the member's ledger says of its channels."""
        return self._connected(
            lambda link: link.request(
                "ledger", "channel_registers", GetChannelRegisters(), ChannelRegisters, REQUEST_TIMEOUT_S
            )
        )

    def statement(self, start: RegisterPoint, end: RegisterPoint, tip_height: int, **changes: object) -> Generation:
        """A statement of the first meter as the real gateway would form it; single fields can be changed."""
        values = {
            "network": self._network,
            "sender": self.key.public,
            "salt": secrets.token_hex(16),
            "expires_height": tip_height + EXPIRY_BLOCKS,
            "member": self.member,
            "start": start,
            "end": end,
            "measured": 1,
            "substituted": 0,
            "missing": 0,
            "reset": False,
            "readings_root": "00" * 32,
            **changes,
        }
        return msgspec.convert(values, Generation)

    def hand_in(self, transactions: Sequence[bytes]) -> list[SubmitResult]:
        """Hand statements in at the member's ledger, one after another."""

        async def work(link: NodeLink) -> list[SubmitResult]:
            results = []
            for raw in transactions:
                statement = Statement(transaction=msgspec.Raw(raw))
                results.append(await link.request("ledger", "statement", statement, SubmitResult, REQUEST_TIMEOUT_S))
            return results

        return self._connected(work)

    def may_relay(self, transaction: bytes) -> bool:
        """Whether the broker lets it hand a transaction to the member's peer, past the ledger."""

        async def work(link: NodeLink) -> bool:
            try:
                await link.send("peer", "relay", Relay(transactions=[msgspec.Raw(transaction)]))
            except BusDenied:
                return False
            return True

        return self._connected(work)

    def _connected(self, work: Callable[[NodeLink], Awaitable[T]]) -> T:
        async def session() -> T:
            bus = MqttBus(self._settings)
            await bus.start()
            link = NodeLink(bus, self._node_key, self.member, GATEWAY, self._network)
            try:
                await link.start()
                return await work(link)
            finally:
                await link.stop()
                await bus.stop()

        return asyncio.run(session())


def signed(statement: Generation, key: SigningKey) -> bytes:
    """A statement signed with a key, whether or not it is the one that the statement names."""
    own = sign_transaction(msgspec.structs.replace(statement, sender=key.public), key)
    if statement.sender == key.public:
        return own.raw
    return encode(TransactionForm(body=statement, signature=own.signature))


@contextmanager
def gateway_in_wrong_hands(node: Node, network: str, broker_port: int) -> Iterator[HostileGateway]:
    """Stop a node's gateway meanwhile, so that its credentials can be used by somebody else."""
    node.services[GATEWAY].stop()
    yield HostileGateway(node, network, broker_port)
    node.services[GATEWAY].start()
    node.wait_ready()


def last_register(registers: ChannelRegisters, meter: str) -> Register:
    """Where a meter's only channel stands on the chain."""
    [last] = [each.last for each in registers.channels if each.meter == meter]
    assert not isinstance(last, msgspec.UnsetType)
    return last
