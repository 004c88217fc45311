"""Transactions: their forms, ids and signatures (design section 5).

A transaction is ``{"body": {...}, "signature": "..."}``. Its id is the SHA-256 of the bytes that were signed, so a
signature can not be exchanged to make a second id. What a transaction may do is judged in `minervas_core.state`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.encoding import (
    Count,
    Hash,
    LeanHash,
    LeanKey,
    LeanNetworkId,
    LeanSalt,
    LeanSignature,
    PublicKey,
    Record,
    Signature,
    are_hex_digits,
    decode,
    encode,
    sha256_hex,
)
from minervas_core.errors import Code, InvalidEncoding, InvalidTransaction
from minervas_core.governance.records import ChangeAuthority, ChangeParameters
from minervas_core.identifiers import MemberId, is_member_id
from minervas_core.keys import SigningKey, signing_bytes, verify
from minervas_core.market.records import Bid, Cancel, MarketBody, Merge, MeterDeclaration, Offer, Retire
from minervas_core.market.settlement_records import CreditNote, Payment
from minervas_core.merkle import leaf_hash
from minervas_core.metering import Generation, Name

MAX_TRANSACTION_BYTES = 65_536
"""An admission has about 3 kB, an offer of 100 lots about 7 kB, a new authority key with all approvals about 62 kB."""

PURPOSE = "transaction"

CONSENT_PURPOSE = "wallet_consent"

BODY_BEGIN = len(b'{"body":')
BODY_END = -len(b',"signature":""}') - 128
"""Where the body stands in the canonical bytes of every transaction: before it only ``{"body":``, after it only
``,"signature":"<128 digits>"}``. So what was signed need not be encoded again."""

BoxPublic = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{2432}\Z")]
"""A public box key in hex (see `minervas_core.box`)."""


class ServiceKeys(Record, frozen=True, kw_only=True):
    """The public keys of a member's services; each private half stays in its service."""

    wallet: PublicKey
    """Peer: signs transactions, Hellos and frames. Its SHA-256 is the node id."""
    box: BoxPublic
    """Peer: other peers seal their sender keys to it."""
    block: PublicKey
    """Miner: signs found blocks."""
    vote: PublicKey
    """Ledger: signs finality votes."""


class Admit(Record, frozen=True, kw_only=True, tag_field="action", tag="admit"):
    """Admit a member under an id that was never used."""

    member: MemberId
    keys: ServiceKeys


class Revoke(Record, frozen=True, kw_only=True, tag_field="action", tag="revoke"):
    """End a membership for ever."""

    member: MemberId


class RegisterMeter(Record, frozen=True, kw_only=True, tag_field="action", tag="register_meter"):
    """Register a meter of an active member; its gateway key may state energy from then on."""

    member: MemberId
    gateway: PublicKey
    meter: MeterDeclaration


class Suspend(Record, frozen=True, kw_only=True, tag_field="action", tag="suspend"):
    """Take a member's vote away, from the next checkpoint on. It goes on trading and mining."""

    member: MemberId


class Resume(Record, frozen=True, kw_only=True, tag_field="action", tag="resume"):
    """Give a suspended member its vote back, from the next checkpoint on."""

    member: MemberId


class Leave(Record, frozen=True, kw_only=True, tag_field="action", tag="leave"):
    """End a membership for ever because the member wants it; all else is as with `Revoke`."""

    member: MemberId


class NewKeys(Record, frozen=True, kw_only=True):
    """Service keys that replace those of a member; what is absent stays."""

    wallet: PublicKey | msgspec.UnsetType = msgspec.UNSET
    box: BoxPublic | msgspec.UnsetType = msgspec.UNSET
    block: PublicKey | msgspec.UnsetType = msgspec.UNSET
    vote: PublicKey | msgspec.UnsetType = msgspec.UNSET

    def given(self) -> dict[str, str]:
        """The new keys by the name of what they replace."""
        named = {name: getattr(self, name) for name in ServiceKeys.__struct_fields__}
        return {name: key for name, key in named.items() if not isinstance(key, msgspec.UnsetType)}


class MeterKey(Record, frozen=True, kw_only=True):
    """A gateway key that replaces a meter's."""

    meter: Name
    gateway: PublicKey


MAX_ROTATED_METERS = 64
"""Meters in one rotation: as many as an application may declare."""


class Rotate(Record, frozen=True, kw_only=True, tag_field="action", tag="rotate"):
    """Replace keys of a member, from the block on that carries it."""

    member: MemberId
    keys: NewKeys
    meters: Annotated[list[MeterKey], msgspec.Meta(max_length=MAX_ROTATED_METERS)]
    consent: Signature | msgspec.UnsetType = msgspec.UNSET
    """The old wallet's signature over a `WalletConsent`; there if the wallet is replaced, and only then."""

    def __post_init__(self) -> None:
        """Refuse a rotation of nothing, of a meter twice, or with a consent to nothing."""
        meters = [each.meter for each in self.meters]
        if not self.keys.given() and not meters:
            raise ValueError("a rotation replaces at least one key")
        if len(set(meters)) != len(meters):
            raise ValueError("a meter stands twice in the rotation")
        if isinstance(self.consent, msgspec.UnsetType) != isinstance(self.keys.wallet, msgspec.UnsetType):
            raise ValueError("a consent belongs to a new wallet, and a new wallet needs one")


class WalletConsent(Record, frozen=True, kw_only=True):
    """What the old wallet signs: that a new one takes its place."""

    member: MemberId
    wallet: PublicKey
    """The new wallet."""
    expires_height: Count
    """As in the transaction."""


class Recover(Record, frozen=True, kw_only=True, tag_field="action", tag="recover"):
    """Replace a wallet that its member has lost. It takes effect after `recovery_wait_ms`, unless a `Veto` comes."""

    member: MemberId
    wallet: PublicKey
    """The new wallet."""


Change = Admit | Revoke | RegisterMeter | Suspend | Resume | Leave | Rotate | Recover
"""Everything that a membership transaction can do."""


class Membership(Record, frozen=True, kw_only=True, tag_field="type", tag="membership"):
    """A change of the roster, signed by the authority."""

    network: LeanNetworkId
    sender: LeanKey
    salt: LeanSalt
    expires_height: Count
    """Last height whose block may carry it."""
    change: Change


class Veto(MarketBody, frozen=True, kw_only=True, tag_field="type", tag="veto"):
    """Objects to a pending recovery: signed by the wallet that it would replace."""

    recovery: LeanHash
    """Id of the transaction that asked for it."""


TransactionBody = (
    Membership
    | ChangeAuthority
    | Veto
    | Generation
    | Offer
    | Bid
    | Cancel
    | Merge
    | Retire
    | Payment
    | CreditNote
    | ChangeParameters
)
"""Every kind of body, told apart by ``type``."""


KNOWN_TYPES = frozenset(
    {
        "membership",
        "authority",
        "veto",
        "generation",
        "offer",
        "bid",
        "cancel",
        "merge",
        "retire",
        "payment",
        "credit_note",
        "parameters",
    }
)
"""Types that `TransactionBody` can decode."""


class TransactionForm(Record, frozen=True, kw_only=True):
    """The signed form on the wire."""

    body: TransactionBody
    signature: LeanSignature


def _judge(form: TransactionForm) -> str:
    """What is wrong with a transaction's lean fields, if anything."""
    body = form.body
    digits = f"{body.network}{body.sender}{body.salt}{form.signature}"
    match body:
        case Generation():
            digits += body.readings_root
            if not (is_member_id(body.member) and is_member_id(body.meter) and is_member_id(body.channel)):
                return "a name that is none in `$.body`"
        case Offer() | Merge() | Retire():
            digits += "".join(body.lots)
        case Cancel():
            digits += body.order
        case Veto():
            digits += body.recovery
        case _:
            pass
    return "" if are_hex_digits(digits) else "not lower-case hex digits in a field of `$`"


class Transaction(msgspec.Struct, frozen=True, eq=False):
    """A decoded transaction with its id and the bytes as they were received."""

    id: Hash
    body: TransactionBody
    signature: Signature
    raw: bytes
    _leaf: bytes = b""

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Transaction)
            and (self.raw, self.signature, self.id) == (other.raw, other.signature, other.id)
            and self.body == other.body
        )

    def __hash__(self) -> int:
        return hash(self.raw)

    @property
    def leaf(self) -> bytes:
        """Its leaf in its block's Merkle tree: the hash of all its bytes, signature included. Computed once."""
        if not self._leaf:
            msgspec.structs.force_setattr(self, "_leaf", leaf_hash(self.raw))
        return self._leaf

    @property
    def kind(self) -> str:
        """The body's type name."""
        return str(self.body.__struct_config__.tag)


ORDER_GROUPS = {"authority": 0, "membership": 1, "generation": 2, "cancel": 3, "offer": 4, "bid": 5}
"""Transactions of a block stand in the order of these groups, within a group by id; unlisted kinds are group 6. A new
authority key comes first, so that all else in its block is judged by it.
Statements stand by channel and start before id, so that consecutive ones can share a block."""


def block_order(transaction: Transaction) -> tuple[int, str, int, str]:
    """Sort key of a transaction within its block; its last part is the id."""
    body = transaction.body
    if isinstance(body, Generation):
        return (
            ORDER_GROUPS["generation"],
            f"{body.member}/{body.meter}/{body.channel}",
            body.start.time_ms,
            transaction.id,
        )
    return ORDER_GROUPS.get(transaction.kind, 6), "", 0, transaction.id


MEMBER_KINDS = frozenset({"authority", "membership", "parameters", "veto"})
"""Kinds that decide who the members are and what they may do: all that is needed to judge votes and miners."""


def is_about_members(transaction: Transaction) -> bool:
    """Whether a transaction is of one of the `MEMBER_KINDS`."""
    return transaction.kind in MEMBER_KINDS


def sign_transaction(body: TransactionBody, key: SigningKey) -> Transaction:
    """Sign a body. The caller sets ``sender`` to the key's public half."""
    signature = key.sign(PURPOSE, body.network, encode(body))
    return decode_transaction(encode(TransactionForm(body=body, signature=signature)))


def sign_consent(consent: WalletConsent, network: str, wallet: SigningKey) -> Signature:
    """The old wallet's agreement to a new one."""
    return wallet.sign(CONSENT_PURPOSE, network, encode(consent))


def consent_is_valid(consent: WalletConsent, network: str, wallet: str, signature: str) -> bool:
    """Whether the holder of the old `wallet` (public, hex) agreed."""
    return verify(wallet, CONSENT_PURPOSE, network, encode(consent), signature)


def decode_transaction(raw: bytes) -> Transaction:
    """Decode canonical bytes and compute the id. The signature is not checked here.

    Raises:
        InvalidEncoding: if the bytes are not a transaction; ``unknown_type`` if they are one of a type that this
            version does not have.
    """
    try:
        form = decode(raw, TransactionForm, max_bytes=MAX_TRANSACTION_BYTES, judge=_judge)
    except InvalidEncoding as error:
        _refuse_unknown_type(raw, error)
        raise
    body = form.body
    signed = signing_bytes(PURPOSE, body.network, raw[BODY_BEGIN:BODY_END])
    return Transaction(sha256_hex(signed), body, form.signature, raw)


class _TypeOfBody(msgspec.Struct):
    type: str


class _TypeOnly(msgspec.Struct):
    body: _TypeOfBody


def _refuse_unknown_type(raw: bytes, error: InvalidEncoding) -> None:
    """Raise ``unknown_type`` if that is why `raw` has the wrong shape: it may tell that we are too old."""
    if error.code != Code.WRONG_SHAPE:
        return
    try:
        kind = msgspec.json.decode(raw, type=_TypeOnly).body.type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if kind not in KNOWN_TYPES:
        raise InvalidEncoding(
            Code.UNKNOWN_TYPE, "No such type of transaction in this version", type=kind[:64]
        ) from error


def check_signature(transaction: Transaction, network: str) -> None:
    """Check that the named sender signed it for this network.

    Raises:
        InvalidTransaction: ``wrong_network`` or ``bad_signature``.
    """
    body = transaction.body
    if body.network != network:
        raise InvalidTransaction(
            Code.WRONG_NETWORK, "Made for another network", tx=transaction.id, network=body.network
        )
    if not verify(body.sender, PURPOSE, network, transaction.raw[BODY_BEGIN:BODY_END], transaction.signature):
        raise InvalidTransaction(Code.BAD_SIGNATURE, "Not signed by its sender", tx=transaction.id, sender=body.sender)
