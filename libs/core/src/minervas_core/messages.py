"""What travels between peers and between members and admission (catalogue: spec/asyncapi.yaml).

Messages inside one node are in `minervas_core.node_messages`. Every kind has one payload type here; `GOSSIP_TYPES` and
`PEER_REQUEST_TYPES` tie kinds to types.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from minervas_core.encoding import (
    Count,
    Hash,
    NetworkId,
    PerMille,
    Record,
    Salt,
    Signature,
    SignedInteger,
    TimeMs,
    WorkSum,
    encode,
)
from minervas_core.errors import Code, InvalidFrame
from minervas_core.identifiers import MemberId
from minervas_core.keys import SigningKey, verify

MAX_HELLO_BYTES = 65_536
"""A Hello has about 4 kB: one admission and, later, key rotations."""
MAX_PLAIN_BYTES = 1_500_000
"""Largest plain message (a batch of membership transactions)."""
MAX_CONTENT_BYTES = 1_850_000
"""Largest content of a sealed frame."""
MAX_REPLY_BODIES_BYTES = 1_500_000
"""A reply with block bodies is cut at this many bytes (design section 5, sync)."""
MAX_HEADERS_PER_REPLY = 500
"""Headers in one reply: about 250 kB."""
MAX_BODIES_PER_REQUEST = 128
MAX_LOCATOR = 64
"""A locator thins out exponentially: 64 hashes span any chain that can exist."""
MAX_TRANSACTIONS_PER_FRAME = 200
MAX_VOTES_PER_FRAME = 200
"""Votes in one frame of gossip: about 82 kB."""
MAX_VOTES_PER_REPLY = 500
"""Votes in one answer: about 205 kB."""
MAX_HELLO_TRANSACTIONS = 16
"""Membership transactions in one Hello: each costs its receiver a signature check."""
SEALED_KEY_BYTES = 1_168
"""A sealed sender key: X-Wing's encapsulation (1,120 bytes), 32 bytes and the tag."""

HELLO_PURPOSE = "hello"
SENDER_KEY_PURPOSE = "sender_key"
KEY_REQUEST_PURPOSE = "key_request"


class HelloBody(Record, frozen=True, kw_only=True):
    """A peer introduces itself (paper: the Hello packet that a new Peer object sends to all nodes)."""

    network: NetworkId
    member: MemberId
    epoch: Count
    """Epoch of the current sender key."""
    key_id: Salt
    """Id of the current sender key."""
    sent_at_ms: TimeMs
    membership: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_HELLO_TRANSACTIONS)]
    """Authority-signed membership transactions of the member, so that a newcomer can check it against genesis."""


class Hello(Record, frozen=True, kw_only=True):
    """Broadcast on ``mesh/.../hello`` at start, on a timer, and after a change of sender key; plain."""

    body: HelloBody
    signature: Signature
    """By the member's wallet."""


class SenderKeyBody(Record, frozen=True, kw_only=True):
    """A sender key for one recipient."""

    network: NetworkId
    sender: MemberId
    recipient: MemberId
    epoch: Count
    key_id: Salt
    sealed: Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{{2 * SEALED_KEY_BYTES}}}\Z")]
    """The 32-byte key, HPKE-sealed to the recipient's box key under `sender_key_info`, in hex."""


class SenderKeyMessage(Record, frozen=True, kw_only=True):
    """Inbox kind ``sender_key``: hand over a sender key; carries the sender's Hello so that a newcomer can check it."""

    body: SenderKeyBody
    signature: Signature
    hello: Hello


class KeyRequestBody(Record, frozen=True, kw_only=True):
    """A peer holds a frame that it can not open."""

    network: NetworkId
    sender: MemberId
    """Who asks."""
    recipient: MemberId
    """Whose key is missing."""
    key_id: Salt
    sent_at_ms: TimeMs


class KeyRequest(Record, frozen=True, kw_only=True):
    """Inbox kind ``key_request``: asks the owner of a sender key for it; carries the asker's Hello."""

    body: KeyRequestBody
    signature: Signature
    hello: Hello


class SenderKeyInfo(Record, frozen=True, kw_only=True):
    """What a sealed sender key is bound to (HPKE info)."""

    network: NetworkId
    sender: MemberId
    recipient: MemberId
    epoch: Count
    key_id: Salt


def sender_key_info(body: SenderKeyBody | SenderKeyInfo) -> bytes:
    """HPKE info of a sender key."""
    return b"minervas/v1/sender_key\0" + encode(
        SenderKeyInfo(
            network=body.network,
            sender=body.sender,
            recipient=body.recipient,
            epoch=body.epoch,
            key_id=body.key_id,
        )
    )


def sign_hello(body: HelloBody, wallet: SigningKey) -> Hello:
    """Sign a Hello."""
    return Hello(body=body, signature=wallet.sign(HELLO_PURPOSE, body.network, encode(body)))


def check_signed(
    body: HelloBody | SenderKeyBody | KeyRequestBody, signature: str, *, network: str, wallet: str
) -> None:
    """Check the wallet signature of a Hello, a sender key or a key request.

    Raises:
        InvalidFrame: ``wrong_network`` or ``bad_signature``.
    """
    purposes = {
        HelloBody: HELLO_PURPOSE,
        SenderKeyBody: SENDER_KEY_PURPOSE,
        KeyRequestBody: KEY_REQUEST_PURPOSE,
    }
    if body.network != network:
        raise InvalidFrame(Code.WRONG_NETWORK, "Message of another network", network=body.network)
    if not verify(wallet, purposes[type(body)], network, encode(body), signature):
        raise InvalidFrame(Code.BAD_SIGNATURE, "Message not signed by its sender", kind=type(body).__name__)


class TransactionBatch(Record, frozen=True, kw_only=True):
    """Gossip kind ``tx`` (sealed): 1 to N transactions."""

    transactions: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_TRANSACTIONS_PER_FRAME)]


class BlockAnnouncement(Record, frozen=True, kw_only=True):
    """Gossip kind ``block`` (sealed): a new block in full."""

    block: msgspec.Raw


class VoteBatch(Record, frozen=True, kw_only=True):
    """Gossip kind ``vote`` (sealed): votes of the sender's own ledger."""

    votes: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_VOTES_PER_FRAME)]


class GetVotes(Record, frozen=True, kw_only=True):
    """Ask for the votes that a member's ledger has seen, newest targets first."""

    above_height: Count
    """Only votes for targets above it."""
    voter: Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?\Z")] = ""
    """Only votes of this member, or empty: of all."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_VOTES_PER_REPLY)]


class Votes(Record, frozen=True, kw_only=True):
    """Answer to `GetVotes`."""

    votes: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_VOTES_PER_REPLY)]


class GetHeaders(Record, frozen=True, kw_only=True):
    """Ask for the headers that follow the newest block of `locator` on the answerer's best chain."""

    locator: Annotated[list[Hash], msgspec.Meta(max_length=MAX_LOCATOR)]
    """Hashes of own blocks from the tip down, thinning out; genesis is implied."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_HEADERS_PER_REPLY)]


class Headers(Record, frozen=True, kw_only=True):
    """Answer to `GetHeaders`: consecutive headers, oldest first; empty if the asker has them all."""

    headers: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_HEADERS_PER_REPLY)]


class GetBodies(Record, frozen=True, kw_only=True):
    """Ask for blocks by hash."""

    hashes: Annotated[list[Hash], msgspec.Meta(min_length=1, max_length=MAX_BODIES_PER_REQUEST)]


class Bodies(Record, frozen=True, kw_only=True):
    """Answer to `GetBodies`: blocks in the order asked, as many as fit, at least one if any is known."""

    blocks: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_BODIES_PER_REQUEST)]


class Failure(Record, frozen=True, kw_only=True):
    """Why a request was refused."""

    code: str
    message: str


class Reply(Record, frozen=True, kw_only=True):
    """Every answer to a request: a body of the type that the request's kind implies, or a failure."""

    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    failure: Failure | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Refuse an answer that is both or neither; a decoder reports ``wrong_shape``."""
        if isinstance(self.body, msgspec.UnsetType) == isinstance(self.failure, msgspec.UnsetType):
            raise ValueError("a reply has either a body or a failure")


class GetMembership(Record, frozen=True, kw_only=True):
    """Plain request of a peer to admission: all membership transactions after number `after`."""

    after: Count


class MembershipBatch(Record, frozen=True, kw_only=True):
    """Authority-signed membership transactions: admission's ``mesh tx`` and answer; plain, none of it is secret."""

    transactions: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=400)]
    first: Count
    """Number of the first one in admission's order, from 0."""
    total: Count
    """How many admission has in all."""


class GetTransactionStatus(Record, frozen=True, kw_only=True):
    """Plain request of admission to the operator's peer, kind ``tx_status``."""

    ids: Annotated[list[Hash], msgspec.Meta(min_length=1, max_length=200)]


class TransactionStatus(Record, frozen=True, kw_only=True):
    """Where a transaction stands on the answerer's best chain; ``final`` can never be undone."""

    id: Hash
    state: Literal["unknown", "queued", "in_block", "final"]
    height: Count = 0
    """Block that carries it, if it is in one."""
    depth: Count = 0
    """Blocks from there to the tip, both counted."""


class TransactionStatuses(Record, frozen=True, kw_only=True):
    """Answer to `GetTransactionStatus`, in the order asked."""

    statuses: list[TransactionStatus]
    tip_height: Count
    final_height: Count
    """Height of the last final block."""


class ChainTip(Record, frozen=True, kw_only=True):
    """The head of somebody's best chain."""

    height: Count
    hash: Hash
    work: WorkSum
    justified_height: Count = 0
    """Highest checkpoint that this chain proves justified: a higher one counts more than any work."""


class Presence(Record, frozen=True, kw_only=True):
    """Retained on ``mesh/.../presence``, with a will that says offline; plain and unsigned: a hint, never a proof."""

    state: Literal["online", "offline"]
    low_disk: Literal["readings", "blocks"] | msgspec.UnsetType = msgspec.UNSET
    """Set while a ledger's disk is so full that it stores no readings, or no blocks either."""
    version: str
    sent_at_ms: TimeMs
    certificate_expires_ms: TimeMs = 0
    tip: ChainTip | msgspec.UnsetType = msgspec.UNSET
    clock_synchronised: bool | msgspec.UnsetType = msgspec.UNSET
    """What the kernel says of the service's clock."""
    clock_offset_ms: SignedInteger | msgspec.UnsetType = msgspec.UNSET
    """How far the kernel believes a synchronised clock to be off."""
    disk_use_per_mille: PerMille | msgspec.UnsetType = msgspec.UNSET
    """Of the file system that holds the service's data."""
    spool_use_per_mille: PerMille | msgspec.UnsetType = msgspec.UNSET
    """How full a gateway's spool is."""
    spool_readings: Count | msgspec.UnsetType = msgspec.UNSET
    """Readings that wait there for the ledger."""


MAX_PRESENCE_BYTES = 4_096

GOSSIP_TYPES: dict[str, type[Record]] = {"tx": TransactionBatch, "block": BlockAnnouncement, "vote": VoteBatch}
"""Content of sealed gossip, by kind."""

PEER_REQUEST_TYPES: dict[str, tuple[type[Record], type[Record]]] = {
    "get_headers": (GetHeaders, Headers),
    "get_bodies": (GetBodies, Bodies),
    "get_votes": (GetVotes, Votes),
}
"""Request and answer between peers (sealed), by kind."""

ADMISSION_REQUEST_TYPES: dict[str, tuple[type[Record], type[Record]]] = {
    "get_membership": (GetMembership, MembershipBatch),
    "tx_status": (GetTransactionStatus, TransactionStatuses),
}
"""Plain requests between a peer and admission, by kind."""
