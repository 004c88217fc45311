"""Genesis: the signed file from which a consortium starts (design section 5). Everything after it is a transaction."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from minervas_core.encoding import (
    Hash,
    NetworkId,
    PerMille,
    PublicKey,
    Record,
    Signature,
    TimeMs,
    decode,
    encode,
    sha256_hex,
)
from minervas_core.errors import Code, InvalidEncoding, LocalFault, PeerFault
from minervas_core.identifiers import PRINTABLE
from minervas_core.keys import SigningKey, check_public_key, signing_bytes, verify

MAX_GENESIS_BYTES = 16_384
"""A genesis of today has about 1 kB."""

PURPOSE = "genesis"

MAX_BLOCK_TRANSACTIONS = 1_500
"""Hard limit of transactions in a block; a genesis may set a lower one."""

Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
Intervals = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
"""Times in T: half a year of 15 s. More would not fit into the miner's messages, and then nobody mines the block that
takes it back."""


MarketMode = Literal["auction", "continuous"]
"""How orders are matched: all of a slot at once, at one price; or each as it comes."""


class Parameters(Record, frozen=True, kw_only=True):
    """Numbers that every node must share. Times in ms, ratios in per mille."""

    block_interval_ms: Positive = 15_000
    """T, the time that a block should take."""
    initial_difficulty: Positive = 20_000_000
    """Expected tries per block while there is no history to retarget from."""
    min_difficulty: Positive = 1_000
    """Floor of the retargeted difficulty."""
    lwma_window: Annotated[int, msgspec.Meta(ge=2, le=1_000)] = 20
    """Solve times over which difficulty is retargeted, and number of first blocks at the initial difficulty."""
    give_up_intervals: Intervals = 4
    """A search is abandoned after this many T."""
    diversity_per_mille: PerMille = 300
    """Share of the miners that must mine between two blocks of one miner."""
    idle_intervals: Intervals = 10
    """A block this many T after its predecessor may come from any miner."""
    max_ahead_intervals: Positive = 2
    """A block's time may be this many T ahead of the checking node's clock."""
    max_block_bytes: Annotated[int, msgspec.Meta(ge=10_000, le=1_000_000)] = 1_000_000
    """Largest block; with its frame it stays below the broker's packet limit of 2,000,000."""
    max_block_transactions: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOCK_TRANSACTIONS)] = MAX_BLOCK_TRANSACTIONS
    max_expiry_blocks: Positive = 5_760
    """How far above the including block a transaction's expiry height may lie (a day of 15 s blocks)."""

    vote_interval: Annotated[int, msgspec.Meta(ge=2, le=1_000)] = 4
    """Every so many blocks is a checkpoint that members vote on."""
    founding_voters: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 3
    """The first final checkpoint needs at least so many voters, or a newcomer could make a chain of its own final."""

    recovery_wait_ms: Positive = 86_400_000
    """How long a recovery of a wallet waits for a veto, in chain time."""

    slot_ms: Positive = 900_000
    """A market slot; gateways state each channel once per slot."""
    market_mode: MarketMode = "auction"
    """How orders are matched, slot by slot."""
    max_open_orders: Positive = 200
    """Open orders per member."""
    max_lots_per_offer: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100
    max_fills_per_block: Positive = 1_000
    """Beyond them, matching goes on in the next block."""
    smallest_order_wh: Positive = 10
    """Smallest offer or bid in Wh."""
    credit_limit_micro: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] = 0
    """What a member may owe with all its open bids; 0 for no limit."""

    tax_per_mille: PerMille = 0
    """Tax on what a bill's trades come to."""
    fee_micro_per_wh: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 0
    """What a buyer owes the consortium for each Wh bought, in millionths of the currency."""
    reward_micro: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000_000)] = 0
    """What the consortium owes the miner of each final block; the members share it."""

    @property
    def give_up_ms(self) -> int:
        """Milliseconds after which a search is abandoned."""
        return self.give_up_intervals * self.block_interval_ms


class GenesisBody(Record, frozen=True, kw_only=True):
    """What the authority signs."""

    format: Annotated[int, msgspec.Meta(ge=1, le=1)]
    network: NetworkId
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=PRINTABLE)]
    """The consortium's name, for people."""
    authority: PublicKey
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
    """ISO 4217 code; prices are in millionths of it per Wh."""
    time_zone: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*\Z", max_length=64)]
    """IANA name of the zone in which months begin and end."""
    created_ms: TimeMs
    parameters: Parameters


class GenesisFile(Record, frozen=True, kw_only=True):
    """The file's content."""

    body: GenesisBody
    signature: Signature


class Genesis(msgspec.Struct, frozen=True):
    """A checked genesis."""

    body: GenesisBody
    hash: Hash
    """Hash that block 1 names as its predecessor: SHA-256 of the signed bytes."""
    raw: bytes
    """The file as it is."""

    @property
    def network(self) -> str:
        """The network id."""
        return self.body.network

    @property
    def parameters(self) -> Parameters:
        """The consortium's shared numbers."""
        return self.body.parameters


def sign_genesis(body: GenesisBody, authority: SigningKey) -> Genesis:
    """Sign a new genesis."""
    signature = authority.sign(PURPOSE, body.network, encode(body))
    return load_genesis(encode(GenesisFile(body=body, signature=signature)))


def load_genesis(raw: bytes) -> Genesis:
    """Read and check a genesis file.

    Raises:
        LocalFault: ``bad_genesis`` if it is malformed or not signed by the authority key that it names.
    """
    try:
        file = decode(raw, GenesisFile, max_bytes=MAX_GENESIS_BYTES)
    except InvalidEncoding as error:
        raise LocalFault(Code.BAD_GENESIS, "The genesis file is damaged", reason=str(error)) from error
    body = encode(file.body)
    try:
        check_public_key(file.body.authority)
    except PeerFault as error:
        raise LocalFault(Code.BAD_GENESIS, "The authority key is unusable", key=file.body.authority) from error
    if not verify(file.body.authority, PURPOSE, file.body.network, body, file.signature):
        raise LocalFault(Code.BAD_GENESIS, "The genesis file is not signed by its authority")
    return Genesis(file.body, sha256_hex(signing_bytes(PURPOSE, file.body.network, body)), raw)
