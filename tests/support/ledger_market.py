"""A stored chain on which members meter and trade, for the tests of the ledger's market and readings."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import msgspec

from minervas_core.blocks import Block
from minervas_core.encoding import Record, encode
from minervas_core.genesis import Parameters
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.metering import Generation, Reading, ReadingBatch, ReadingBatchBody, sign_batch
from minervas_core.node_market_messages import NODE_MARKET_REQUEST_TYPES, ReadingsStored
from minervas_core.rights import rights_for
from minervas_core.topics import mesh
from minervas_core.transactions import Transaction
from minervas_ledger.audit import AuditReport
from minervas_runtime.memory_bus import MemoryBroker
from minervas_runtime.node_link import NodeLink
from tests.support.builders import (
    GENESIS_TIME_MS,
    MARKET,
    NETWORK,
    LocalChain,
    admit,
    bid,
    cancel,
    gateway_key,
    offer,
    register_meter,
    statement,
)
from tests.support.ledger import MEMBER, NODE_KEY, Answer, StoredChain, audit
from tests.support.lot_builders import credit, merge, pay, retire

MEMBERS = ("m0", "m1", "m2")
SPOOL = "ab" * 16


class TradingChain:
    """Makes blocks in memory and hands them to a stored chain, if there is one. Block 2 registers everybody's meter."""

    def __init__(self, stored: StoredChain | None = None, parameters: Parameters = MARKET) -> None:
        self.local = LocalChain(parameters)
        self.stored = stored
        self.block(*(admit(member) for member in MEMBERS))
        self.block(*(register_meter(member) for member in MEMBERS))

    def block(self, *transactions: Transaction, time_ms: int = 0) -> Block:
        """Extend the chain; every transaction must apply."""
        block = self.local.mine(MEMBERS[0], transactions, time_ms=time_ms)
        self.local.receive(block)
        assert self.local.tip.hash == block.hash
        if self.stored is not None:
            assert self.stored.take(block) == ["connected"]
        return block

    def pay_a_month_later(self) -> None:
        """`m2` buys of `m0`, a month goes by, and `m0` confirms a payment and credits a part."""
        lot = self.mint("m0", 40)
        until_ms = self.local.tip.time_ms + 10**9
        self.block(offer("m0", [lot], 50_000, until_ms=until_ms), bid("m2", 40, 50_000, until_ms=until_ms))
        month = datetime.fromtimestamp(self.local.tip.time_ms / 1_000, UTC).strftime("%Y-%m")
        self.block(time_ms=self.local.tip.time_ms + 40 * 86_400_000)
        self.block(pay("m0", "m2", 1_000_000, month=month), credit("m0", "m2", 500_000, month=month))

    def statement(self, member: str, amount_wh: int, *, salt: str = "") -> Transaction:
        """The statement that goes on where the member's last one ended, over a second."""
        last = self.local.chain.state.market.registers.get(f"{member}/roof/dc")
        meter = self.local.chain.state.market.meters.get(f"{member}/roof")
        assert meter is not None
        at_ms, register_wh = (last.time_ms, last.register_wh) if last else (meter.registered_ms, 0)
        start = (at_ms - GENESIS_TIME_MS, register_wh)
        return statement(member, start, (start[0] + 1_000, register_wh + amount_wh), salt=salt)

    def statement_after(self, queued: Transaction, amount_wh: int) -> Transaction:
        """The statement that goes on where one ends that no block carries yet."""
        assert isinstance(queued.body, Generation)
        end = queued.body.end
        start = (end.time_ms - GENESIS_TIME_MS, end.register_wh)
        return statement(queued.body.member, start, (start[0] + 1_000, end.register_wh + amount_wh))

    def mint(self, member: str, amount_wh: int) -> str:
        """A lot of up to 1,000 Wh."""
        made = self.statement(member, amount_wh)
        self.block(made)
        return made.id

    def lots_of(self, member: str) -> list[str]:
        """Ids of a member's lots that are not on sale."""
        lots = self.local.chain.state.market.lots.items()
        return sorted(lot_id for lot_id, lot in lots if lot.owner == member and not lot.offer)

    def random_transactions(self, choose: random.Random, salt: str) -> list[Transaction]:
        """Something that applies to the tip; what it excludes is left out."""
        market = self.local.chain.state.market
        made: list[Transaction] = []
        for member in MEMBERS:
            kind = choose.choice(
                ["mint"] * 3 + ["offer"] * 2 + ["bid"] * 3 + ["repeating", "cancel", "merge", "retire"]
            )
            price_micro = choose.randrange(1, 5)
            until_ms = self.local.tip.time_ms + choose.choice([1_500, 4_500, 10**8])
            own_lots, orders = self.lots_of(member), sorted(key for key, _ in market.orders_of(member))
            if kind == "mint":
                made.append(self.statement(member, choose.randrange(0, 1_000), salt=salt))
            elif kind == "offer" and sum(market.lot(each).energy_wh for each in own_lots) >= 10:
                made.append(offer(member, own_lots, price_micro, until_ms=until_ms, salt=salt))
            elif kind in {"bid", "repeating"}:
                energy_wh, repeats = choose.randrange(10, 1_500), kind == "repeating"
                made.append(bid(member, energy_wh, price_micro, until_ms=until_ms, repeats=repeats, salt=salt))
            elif kind == "merge" and len(own_lots) > 1:
                made.append(merge(member, own_lots, salt=salt))
            elif kind == "retire" and own_lots:
                made.append(retire(member, own_lots[:1], salt=salt))
            elif kind == "cancel" and orders:
                lasting = [each for each in orders if market.order(each).valid_until_ms > self.local.tip.time_ms]
                made += [cancel(member, each, salt=salt) for each in lasting[:1]]
        return made


def same_state(stored: StoredChain, local: LocalChain) -> AuditReport:
    """Stored state and memory agree, also after a restart, and the audit agrees with every row."""
    for chain in (stored.now, stored.reopen()):
        assert chain._chain.state.snapshot() == local.chain.state.snapshot()
    report = audit(stored.settings, stored.genesis)
    assert report.tip_hash == local.tip.hash
    return report


def reading(sequence: int, time_ms: int, *, channel: str = "dc", meter: str = "roof", **values: int) -> Reading:
    """A measured reading whose values follow from its time."""
    given = {"power_mw": time_ms % 97_000, "voltage_mv": 230_000, "energy_mwh": time_ms // 10} | values
    return Reading(
        meter=meter,
        channel=channel,
        sequence=sequence,
        time_ms=time_ms,
        quality="measured",
        request="0104",
        reply="010404",
        **given,  # type: ignore[arg-type]  # names of the values
    )


def missing(sequence: int, time_ms: int) -> Reading:
    """A sample that was not to be had."""
    return Reading(
        meter="roof",
        channel="dc",
        sequence=sequence,
        time_ms=time_ms,
        quality="missing",
        fault="timeout",
        request="0104",
        reply="",
    )


def batch(
    *readings: Reading, member: str = MEMBER, spool: str = SPOOL, key: SigningKey | None = None, network: str = NETWORK
) -> ReadingBatch:
    """Readings signed by their gateway."""
    signer = key or gateway_key(member)
    body = ReadingBatchBody(network=network, member=member, gateway=signer.public, spool=spool, readings=list(readings))
    return sign_batch(body, signer)


class FakeGateway:
    """A meter-gateway: our node's, or another member's."""

    def __init__(self, broker: MemoryBroker, member: str = MEMBER) -> None:
        self.me = Principal(member, "meter-gateway")
        self.bus = broker.connect(self.me, rights_for(self.me, operator_member="other"))
        self.link = NodeLink(self.bus, NODE_KEY, member, self.me.service, NETWORK)
        self.stored: dict[str, set[int]] = {}
        """Acknowledged sequence numbers by spool."""
        self.refused: dict[str, set[int]] = {}
        """Likewise, of readings that were put aside."""
        self.told = 0
        """How many acknowledgements came."""
        self.link.on("readings_stored", ReadingsStored, self._on_stored)

    async def start(self) -> None:
        await self.bus.start()
        await self.link.start()

    async def stop(self) -> None:
        await self.link.stop()
        await self.bus.stop()

    async def ask(self, kind: str, body: Record, answer_type: type[Answer]) -> Answer:
        """Send a request to the ledger."""
        assert NODE_MARKET_REQUEST_TYPES.get(kind, (type(body), answer_type)) == (type(body), answer_type)
        return await self.link.request("ledger", kind, body, answer_type, 10.0)

    async def publish(self, sent: ReadingBatch | bytes) -> None:
        """Publish readings, or something else, on our outbox."""
        payload = sent if isinstance(sent, bytes) else encode(sent)
        await self.bus.publish(mesh(self.me, "reading"), payload)

    async def _on_stored(self, body: ReadingsStored, service: str) -> None:
        assert service == "ledger"
        self.told += 1
        known = self.stored.setdefault(body.spool, set())
        for first, last in body.ranges:
            known.update(range(first, last + 1))
        if not isinstance(body.refused, msgspec.UnsetType):
            for first, last in body.refused:
                self.refused.setdefault(body.spool, set()).update(range(first, last + 1))
