"""The protocol's documents as pydantic models, and their canonical JSON through the standard library."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PREFIX = b"minervas/v1/"

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
Salt = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
Count = Annotated[int, Field(ge=0, lt=2**53, strict=True)]
Positive = Annotated[int, Field(ge=1, lt=2**53, strict=True)]


class Model(BaseModel):
    """Unknown fields are refused, and nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Keys(Model):
    """A member's public keys."""

    wallet: Key
    box: Annotated[str, Field(pattern=r"^[0-9a-f]{2432}$")]
    block: Key
    vote: Key


class Admit(Model):
    """Admit a member."""

    action: Literal["admit"]
    member: Name
    keys: Keys


class Channel(Model):
    """A channel of a meter."""

    name: Name
    rated_w: Positive


class Meter(Model):
    """What is registered of a meter."""

    meter: Name
    model: str
    channels: Annotated[list[Channel], Field(min_length=1, max_length=32)]
    register_step_wh: Positive


class RegisterMeter(Model):
    """Register a meter."""

    action: Literal["register_meter"]
    member: Name
    gateway: Key
    meter: Meter


class Body(Model):
    """What every transaction has."""

    network: Salt
    sender: Key
    salt: Salt
    expires_height: Count


class Membership(Body):
    """A change by the authority."""

    type: Literal["membership"]
    change: Annotated[Admit | RegisterMeter, Field(discriminator="action")]


class Point(Model):
    """A register at a time."""

    time_ms: Count
    register_wh: Count


class Generation(Body):
    """A metering statement."""

    type: Literal["generation"]
    member: Name
    meter: Name
    channel: Name
    start: Point
    end: Point
    measured: Count
    substituted: Count
    missing: Count
    reset: Annotated[bool, Field(strict=True)]
    readings_root: Hash


class Offer(Body):
    """Lots on sale."""

    type: Literal["offer"]
    lots: Annotated[list[Hash], Field(min_length=1, max_length=100)]
    price_micro: Count
    smallest_wh: Positive
    valid_until_ms: Count
    buyer: str


class Bid(Body):
    """Energy wanted."""

    type: Literal["bid"]
    energy_wh: Positive
    price_micro: Count
    valid_until_ms: Count
    repeats: bool


class Transaction(Model):
    """A signed body."""

    body: Annotated[Membership | Generation | Offer | Bid, Field(discriminator="type")]
    signature: Signature

    @cached_property
    def raw(self) -> bytes:
        """Canonical bytes."""
        return canonical(self.model_dump())

    @cached_property
    def signed(self) -> bytes:
        """The bytes that are signed."""
        return signing_bytes("transaction", self.body.network, canonical(self.body.model_dump()))

    @cached_property
    def id(self) -> str:
        """The transaction's id."""
        return hashlib.sha256(self.signed).hexdigest()


class Header(Model):
    """A block's header."""

    version: Count
    network: Salt
    height: Positive
    prev: Hash
    tx_root: Hash
    votes_root: Hash
    time_ms: Count
    difficulty: Positive
    miner: Name
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]

    @cached_property
    def hash(self) -> str:
        """The block's hash."""
        draft = self.model_dump()
        nonce = bytes.fromhex(draft.pop("nonce"))
        return hashlib.sha256(hashlib.sha256(canonical(draft)).digest() + nonce).hexdigest()


class Block(Model):
    """A block with everything in it."""

    header: Header
    signature: Signature
    transactions: list[Transaction]
    votes: Annotated[list[dict[str, Any]], Field(max_length=0)]


def canonical(value: object) -> bytes:
    """Canonical bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signing_bytes(purpose: str, network: str, body: bytes) -> bytes:
    """The bytes that are signed for a purpose."""
    return PREFIX + purpose.encode() + b"\0" + network.encode() + body


def read_block(raw: bytes) -> Block:
    """Read a block from canonical bytes.

    Raises:
        ValueError: if the bytes are not a block, or not the canonical ones.
    """
    content = json.loads(raw)
    if canonical(content) != raw:
        raise ValueError("not canonical")
    return Block.model_validate(content)
