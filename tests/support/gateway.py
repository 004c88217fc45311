"""What the tests of the meter-gateway share: settings, plans, samples, and a ledger with a pretended chain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from minervas_core.encoding import decode, encode
from minervas_core.enrolment import BrokerAddress
from minervas_core.errors import Code, TransientFault
from minervas_core.genesis import Genesis, GenesisBody, Parameters, sign_genesis
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey, verify
from minervas_core.market.records import Channel, Meter, Register
from minervas_core.messages import Presence
from minervas_core.meter_maps.modbus_frames import crc16, read_request, registers_of
from minervas_core.metering import (
    MAX_BATCH_BYTES,
    Generation,
    Reading,
    ReadingBatch,
    RegisterPoint,
    check_batch,
)
from minervas_core.node_market_messages import (
    ChannelRegister,
    ChannelRegisters,
    GetChannelRegisters,
    ReadingsStored,
    Statement,
)
from minervas_core.node_messages import SubmitResult
from minervas_core.topics import mesh
from minervas_core.transactions import PURPOSE, decode_transaction
from minervas_meter_gateway.block_read import BlockRead
from minervas_meter_gateway.bus_plan import MeterPlan, PortPlan, plan_ports
from minervas_meter_gateway.gateway_keys import GatewayKeys
from minervas_meter_gateway.map_files import load_maps
from minervas_meter_gateway.port_worker import MeterSample
from minervas_meter_gateway.settings import GatewaySettings, load_gateway_settings
from minervas_runtime.bus import Bus, Message
from minervas_runtime.enrolment import Issued
from minervas_runtime.key_ring import KeyRing
from minervas_runtime.node_link import NodeLink

MEMBER = "mokpo-univ"
NETWORK = "5" * 32
NODE_KEY = b"n" * 32
NOW_MS = 1_800_000_000_000
SLOT_MS = 20_000
GATEWAY_KEY = SigningKey(b"gateway of mokpo-univ".ljust(32, b"\0"))
LEDGER = Principal(MEMBER, "ledger")
GATEWAY = Principal(MEMBER, "meter-gateway")

Key = tuple[str, str]


def make_genesis() -> Genesis:
    """A genesis for the gateway's tests."""
    authority = SigningKey(b"authority".ljust(32, b"\0"))
    body = GenesisBody(
        format=1,
        network=NETWORK,
        name="Test",
        authority=authority.public,
        currency="KRW",
        time_zone="Asia/Seoul",
        created_ms=NOW_MS,
        parameters=Parameters(),
    )
    return sign_genesis(body, authority)


def gateway_keys(directory: Path) -> GatewayKeys:
    """Keys of which the first is `GATEWAY_KEY`."""
    return GatewayKeys(KeyRing(directory, "gateway", lambda _seed: GATEWAY_KEY))


def make_issued(directory: Path) -> Issued:
    """What the consortium issued, as far as the gateway looks at it."""
    return Issued(
        genesis=make_genesis(),
        membership=[],
        broker=BrokerAddress(host="127.0.0.1", port=8883),
        ca_file=directory / "ca.crt",
        cert_file=directory / "gateway.crt",
        key_file=directory / "tls.key",
        node_key=NODE_KEY,
        certificate_expires_ms=NOW_MS,
    )


@dataclass(frozen=True)
class MeterSpec:
    """A meter in the settings of a test; its only channel is called like its input."""

    id: str
    address: int
    map: str = "pzem-003"
    input: str = "dc"
    rated_w: int = 120
    port: str = "roof"

    @property
    def key(self) -> Key:
        """Its channel."""
        return self.id, self.input

    def toml(self) -> str:
        """Its part of the settings."""
        return (
            f'[[meters]]\nid = "{self.id}"\nport = "{self.port}"\naddress = {self.address}\nmap = "{self.map}"\n'
            f'[[meters.channels]]\nname = "{self.input}"\ninput = "{self.input}"\nrated_w = {self.rated_w}\n'
        )


PV1 = MeterSpec("pv1", 1)
PV2 = MeterSpec("pv2", 2)
ARRAY = MeterSpec("array", 3, map="sdm630", input="export", rated_w=30_000)


def write_settings(
    directory: Path,
    devices: dict[str, Path | str],
    meters: Sequence[MeterSpec],
    *,
    interval_ms: int = 1_000,
    timeout_ms: int = 200,
    more: str = "",
) -> Path:
    """Write a settings file and return its path.

    Args:
        directory: for the file and everything it names.
        devices: of the ports, by name.
        meters: on them.
        interval_ms: between two ticks.
        timeout_ms: of the ports.
        more: further lines of TOML, sections.
    """
    ports = "".join(
        f'[[ports]]\nname = "{name}"\ndevice = "{device}"\nbaud = 115200\nparity = "none"\nstop_bits = 1\n'
        f"timeout_ms = {timeout_ms}\n"
        for name, device in devices.items()
    )
    paths = "[paths]\n" + "".join(f'{name} = "{name}"\n' for name in ("data", "enrol", "issued", "secrets"))
    text = f'member = "{MEMBER}"\n{paths}[sampling]\ninterval_ms = {interval_ms}\n[clock]\nrequire_ntp = false\n'
    file = directory / "gateway.toml"
    file.write_text(text + more + ports + "".join(meter.toml() for meter in meters), encoding="utf-8")
    return file


def load(file: Path) -> tuple[GatewaySettings, tuple[PortPlan, ...]]:
    """Settings and plan of a settings file."""
    settings = load_gateway_settings(file)
    return settings, plan_ports(settings, load_maps(settings.maps.directory), file)


def meter_plan(directory: Path, spec: MeterSpec = PV1) -> MeterPlan:
    """The plan of a single meter."""
    _, ports = load(write_settings(directory, {spec.port: "/dev/none"}, [spec]))
    return ports[0].meters[0]


def pzem_reply(address: int, *, volts: int = 1800, amperes: int = 500, power: int = 900, energy_wh: int = 7) -> bytes:
    """A PZEM-003's reply to its block read, values in the register's own units (0.01 V, 0.01 A, 0.1 W, Wh)."""
    words = (volts, amperes, power & 0xFFFF, power >> 16, energy_wh & 0xFFFF, energy_wh >> 16, 0, 0)
    frame = bytes([address, 4, 16]) + b"".join(word.to_bytes(2, "big") for word in words)
    return frame + crc16(frame)


def pzem_sample(
    plan: MeterPlan, *, at_ms: int = NOW_MS, monotonic_ms: int = 0, energy_wh: int = 7, power: int = 900
) -> MeterSample:
    """A good sample of a PZEM-003."""
    reply = pzem_reply(plan.address, energy_wh=energy_wh, power=power)
    block = BlockRead(read_request(plan.address, 4, 0, 8), reply, None, registers_of(reply))
    return MeterSample(plan, at_ms, monotonic_ms, {"all": block})


def reading(sequence: int, time_ms: int, energy_mwh: int | None, *, meter: str = "pv1", channel: str = "dc") -> Reading:
    """A reading; missing if there is no energy."""
    measured = energy_mwh is not None
    return Reading(
        meter=meter,
        channel=channel,
        sequence=sequence,
        time_ms=time_ms,
        quality="measured" if measured else "missing",
        power_mw=1_000 if measured else msgspec.UNSET,
        energy_mwh=msgspec.UNSET if energy_mwh is None else energy_mwh,
        fault=msgspec.UNSET if measured else "timeout",
        request="01",
        reply="",
    )


@dataclass
class FakeChain:
    """What a ledger knows of a gateway's channels: takes a statement only from where the last one ended."""

    registered: set[Key] = field(default_factory=set)
    gateway: str = GATEWAY_KEY.public
    """Key that the channels are registered for."""
    registers: dict[Key, RegisterPoint] = field(default_factory=dict)
    queue: dict[bytes, Generation] = field(default_factory=dict)
    blocks: list[Generation] = field(default_factory=list)
    submitted: list[bytes] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    """Codes with which the next statements are refused."""
    height: int = 10
    tip_time_ms: int = 0
    slot_ms: int = SLOT_MS
    away: bool = False
    """Whether nobody answers."""
    mines: bool = True
    """Whether what is handed in gets into a block at once."""

    def minted_wh(self, key: Key) -> int:
        """Energy of all lots of a channel."""
        return sum(
            each.end.register_wh - each.start.register_wh for each in self.blocks if (each.meter, each.channel) == key
        )

    async def registers_of(self) -> ChannelRegisters:
        """The chain's side of `channel_registers`."""
        self._check_there()
        return ChannelRegisters(
            meters=[self._meter(meter) for meter in sorted({key[0] for key in self.registered})],
            slot_ms=self.slot_ms,
            tip_height=self.height,
            tip_time_ms=self.tip_time_ms,
            channels=[self._channel(key) for key in sorted(self.registered)],
        )

    async def submit(self, raw: bytes) -> SubmitResult:
        """The ledger's side of `statement`."""
        self._check_there()
        self.submitted.append(raw)
        form = decode_transaction(raw)
        assert isinstance(form.body, Generation)
        assert verify(form.body.sender, PURPOSE, NETWORK, encode(form.body), form.signature)
        assert form.body.sender == GATEWAY_KEY.public
        if self.refusals:
            return SubmitResult(status="refused", code=self.refusals.pop(0), message="the test says so")
        if raw in self.queue or form.body in self.blocks:
            return SubmitResult(status="known")
        if form.body.expires_height <= self.height or not self._fits(form.body):
            return SubmitResult(status="refused", code="statement_start")
        self.queue[raw] = form.body
        if self.mines:
            self.mine()
        return SubmitResult(status="accepted")

    def mine(self) -> None:
        """Put everything that waits into a block."""
        self.height += 1
        for body in self.queue.values():
            assert body.reset or self._last(body) in (None, body.start)
            self.registers[body.meter, body.channel] = body.end
            self.blocks.append(body)
        self.queue.clear()

    def undo(self, count: int) -> None:
        """Take the last statements out of the chain, as a reorganisation does that forgets them."""
        for body in reversed(self.blocks[-count:]):
            self.blocks.remove(body)
            key = body.meter, body.channel
            earlier = [each for each in self.blocks if (each.meter, each.channel) == key]
            if earlier:
                self.registers[key] = earlier[-1].end
            else:
                self.registers.pop(key, None)

    def _fits(self, body: Generation) -> bool:
        """As the chain's rule, with what waits in the queue counted in."""
        key = body.meter, body.channel
        last = self.registers.get(key)
        for each in self.queue.values():
            if (each.meter, each.channel) == key:
                last = each.end
        if key not in self.registered or body.end.register_wh < body.start.register_wh:
            return False
        return last in (None, body.start) or (body.reset and last is not None and body.start.time_ms >= last.time_ms)

    def _meter(self, meter: str) -> Meter:
        """A registered meter; the gateway looks at its key only."""
        channels = [Channel(name=key[1], rated_w=30_000) for key in sorted(self.registered) if key[0] == meter]
        return Meter(
            member=MEMBER,
            meter=meter,
            model="pzem-003",
            gateway=self.gateway,
            channels=channels,
            register_step_wh=1,
        )

    def _channel(self, key: Key) -> ChannelRegister:
        point = self.registers.get(key)
        if point is None:
            return ChannelRegister(meter=key[0], channel=key[1])
        last = Register(
            time_ms=point.time_ms,
            register_wh=point.register_wh,
            statement="0" * 64,
            since_ms=point.time_ms,
            minted_wh=self.minted_wh(key),
        )
        return ChannelRegister(meter=key[0], channel=key[1], last=last)

    def _last(self, body: Generation) -> RegisterPoint | None:
        return self.registers.get((body.meter, body.channel))

    def _check_there(self) -> None:
        if self.away:
            raise TransientFault(Code.TIMEOUT, "nobody answers")


class ChainLedger:
    """`statement_sender.Ledger` straight onto a `FakeChain`, without a bus."""

    def __init__(self, chain: FakeChain) -> None:
        self._chain = chain

    async def registers(self) -> ChannelRegisters:
        return await self._chain.registers_of()

    async def submit(self, transaction: bytes) -> SubmitResult:
        return await self._chain.submit(transaction)


class FakeLedger:
    """A ledger on the bus: stores readings, acknowledges them, and has a `FakeChain`."""

    def __init__(self, bus: Bus, chain: FakeChain) -> None:
        self.chain = chain
        self.stored: dict[tuple[str, int], Reading] = {}
        self.batches: list[list[int]] = []
        """Sequence numbers of every batch that came, in order."""
        self.repeated = 0
        """Readings that came more than once."""
        self.acknowledges = True
        self.puts_aside = False
        """Whether it acknowledges readings as refused: their times are impossible."""
        self._bus = bus
        self._link = NodeLink(bus, NODE_KEY, MEMBER, "ledger", NETWORK)
        self._link.on("channel_registers", GetChannelRegisters, self._on_registers)
        self._link.on("statement", Statement, self._on_statement)

    async def start(self) -> None:
        await self._bus.start()
        await self._link.start()
        await self._bus.subscribe(mesh(GATEWAY, "reading") + "/#", self._on_batch)
        await self._bus.publish(mesh(LEDGER, "presence"), _presence("online"), retain=True)

    async def stop(self) -> None:
        await self._bus.publish(mesh(LEDGER, "presence"), _presence("offline"), retain=True)
        await self._link.stop()
        await self._bus.stop()

    def sequences(self, spool: str) -> list[int]:
        """Numbers that are stored of one spool, in order."""
        return sorted(number for of, number in self.stored if of == spool)

    async def acknowledge(self, spool: str, numbers: Iterable[int]) -> None:
        """Tell the gateway that readings are stored."""
        ranges = [[number, number] for number in numbers]
        told = ReadingsStored(spool=spool, ranges=ranges)
        if self.puts_aside:
            told = ReadingsStored(spool=spool, ranges=[], refused=ranges)
        await self._link.send("meter-gateway", "readings_stored", told)

    async def _on_batch(self, message: Message) -> None:
        batch = decode(message.payload, ReadingBatch, max_bytes=MAX_BATCH_BYTES)
        check_batch(batch, network=NETWORK, member=MEMBER)
        numbers = [each.sequence for each in batch.body.readings]
        self.batches.append(numbers)
        for each in batch.body.readings:
            known = self.stored.setdefault((batch.body.spool, each.sequence), each)
            assert known == each, "one number for two readings"
            self.repeated += known is not each
        if self.acknowledges:
            await self.acknowledge(batch.body.spool, numbers)

    async def _on_registers(self, body: GetChannelRegisters, service: str) -> ChannelRegisters:
        return await self.chain.registers_of()

    async def _on_statement(self, body: Statement, service: str) -> SubmitResult:
        return await self.chain.submit(bytes(body.transaction))


def _presence(state: str) -> bytes:
    return encode(msgspec.convert({"state": state, "version": "0", "sent_at_ms": 0}, Presence))


async def settle(rounds: int = 5) -> None:
    """Let everything on the event loop that is ready have its turn."""
    for _ in range(rounds):
        await asyncio.sleep(0)
