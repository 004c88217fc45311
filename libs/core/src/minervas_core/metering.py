"""Readings and metering statements: how measured energy reaches the ledger (design sections 5, 6 and 8).

A *reading* is one sample of one channel. Readings travel plain, in batches signed by the gateway's key, and are stored,
not put on chain. A *statement* (transaction ``generation``) says what a channel's energy register did between two
samples; its Merkle root over the readings in between ties it to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from minervas_core.encoding import (
    Count,
    LeanHash,
    LeanKey,
    LeanNetworkId,
    LeanSalt,
    NetworkId,
    PublicKey,
    Record,
    Salt,
    Signature,
    SignedInteger,
    TimeMs,
    encode,
)
from minervas_core.errors import Code, InvalidFrame
from minervas_core.identifiers import LeanMemberId, MemberId
from minervas_core.keys import SigningKey, verify
from minervas_core.merkle import merkle_root

BATCH_PURPOSE = "readings"

MAX_READINGS_PER_BATCH = 200
MAX_BATCH_BYTES = 400_000
"""200 readings with the longest Modbus frames (256 bytes each way, in hex) stay below this."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\Z")]
"""Id of a meter within its member, or of a channel within its meter."""
LeanName = LeanMemberId
"""A `Name`, likewise."""
ModbusFrame = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2}){0,260}\Z")]
"""Raw bytes on the RS-485 wire in hex, CRC included; empty if nothing came."""

Fault = Literal["timeout", "crc", "short", "wrong_slave", "exception", "echo", "port", "sentinel", "implausible"]
"""Why a reading has no values."""


Quality = Literal["measured", "substituted", "missing"]
"""A substituted reading has values that stand for those that could not be measured: somebody read them by hand."""


class Reading(Record, frozen=True, kw_only=True):
    """One sample of one channel. Values are absent, never 0, when nothing was measured."""

    meter: Name
    channel: Name
    sequence: Count
    """Counts all readings of a spool without gaps, from 0."""
    time_ms: TimeMs
    """When the sample was taken."""
    quality: Quality
    power_mw: SignedInteger | msgspec.UnsetType = msgspec.UNSET
    """Power in mW; an inverter draws a little at night."""
    voltage_mv: SignedInteger | msgspec.UnsetType = msgspec.UNSET
    current_ma: SignedInteger | msgspec.UnsetType = msgspec.UNSET
    energy_mwh: Count | msgspec.UnsetType = msgspec.UNSET
    """The meter's energy register in mWh, as exact as the meter has it."""
    fault: Fault | msgspec.UnsetType = msgspec.UNSET
    """Why nothing was measured: set unless the quality is ``measured``."""
    request: ModbusFrame
    reply: ModbusFrame
    """Raw block read that the values come from."""


class ReadingBatchBody(Record, frozen=True, kw_only=True):
    """Readings of one gateway's spool."""

    network: NetworkId
    member: MemberId
    gateway: PublicKey
    spool: Salt
    """Random id of the spool file: a rebuilt gateway starts a new one, so sequence numbers never collide."""
    readings: Annotated[list[Reading], msgspec.Meta(min_length=1, max_length=MAX_READINGS_PER_BATCH)]


class ReadingBatch(Record, frozen=True, kw_only=True):
    """Kind ``reading`` on the gateway's mesh topic: plain, signed by the gateway's key."""

    body: ReadingBatchBody
    signature: Signature


class RegisterPoint(Record, frozen=True, kw_only=True):
    """An energy register at a sampled time."""

    time_ms: TimeMs
    register_wh: Count
    """The register, floored to Wh."""


class Generation(Record, frozen=True, kw_only=True, tag_field="type", tag="generation"):
    """A metering statement for one channel, signed by the meter's gateway key."""

    network: LeanNetworkId
    sender: LeanKey
    salt: LeanSalt
    expires_height: Count
    member: LeanMemberId
    meter: LeanName
    channel: LeanName
    start: RegisterPoint
    """Where the channel's last statement ended; at first, or after a reset, a new baseline."""
    end: RegisterPoint
    measured: Count
    """Readings that were measured between start (exclusive) and end (inclusive)."""
    substituted: Count
    """Readings in the same span whose values stand for those that could not be measured."""
    missing: Count
    """Readings without values in the same span."""
    reset: bool
    """Declares a new baseline: the register was reset or replaced. Nothing before it is minted."""
    readings_root: LeanHash
    """Merkle root over the canonical bytes of the readings from start to end, both inclusive."""


def sign_batch(body: ReadingBatchBody, gateway: SigningKey) -> ReadingBatch:
    """Sign a batch of readings."""
    return ReadingBatch(body=body, signature=gateway.sign(BATCH_PURPOSE, body.network, encode(body)))


def check_batch(batch: ReadingBatch, *, network: str, member: str) -> None:
    """Check that a batch is of this network and member and signed by the gateway key it names.

    Whether that key is registered is judged by the state.

    Raises:
        InvalidFrame: ``wrong_network``, ``frame_foreign_sender`` or ``bad_signature``.
    """
    body = batch.body
    if body.network != network:
        raise InvalidFrame(Code.WRONG_NETWORK, "Readings of another network", network=body.network)
    if body.member != member:
        raise InvalidFrame(Code.FRAME_FOREIGN_SENDER, "Readings of another member", member=body.member, topic=member)
    if not verify(body.gateway, BATCH_PURPOSE, network, encode(body), batch.signature):
        raise InvalidFrame(Code.BAD_SIGNATURE, "Readings not signed by their gateway", gateway=body.gateway)


def readings_root(readings: Sequence[Reading]) -> str:
    """Merkle root over readings, as a statement carries it."""
    return merkle_root([encode(reading) for reading in readings])
