"""Deterministic keys, members, transactions, genesis and blocks for tests: the same seed makes the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec

from minervas_core import box
from minervas_core.blocks import VERSION, Block, Draft, Header, assemble_block, sign_block_hash, transactions_root
from minervas_core.chain import BlockOutcome, Chain
from minervas_core.genesis import Genesis, GenesisBody, Parameters, sign_genesis
from minervas_core.keys import SEED_BYTES, SigningKey
from minervas_core.market.records import Bid, Cancel, Channel, MeterDeclaration, Offer
from minervas_core.merkle import EMPTY_ROOT
from minervas_core.metering import Generation, RegisterPoint
from minervas_core.proof_of_work import attempt, is_good
from minervas_core.state import BlockUndo
from minervas_core.transactions import (
    Admit,
    Change,
    Membership,
    RegisterMeter,
    Revoke,
    ServiceKeys,
    Transaction,
    block_order,
    sign_transaction,
)
from minervas_core.tree import HeaderNode
from minervas_core.validation import expected_difficulty

NETWORK = "00112233445566778899aabbccddeeff"
GENESIS_TIME_MS = 1_800_000_000_000
"""2027-01-15, when every test chain begins."""

TINY = Parameters(
    block_interval_ms=1_000,
    initial_difficulty=2,
    min_difficulty=1,
    lwma_window=5,
    max_expiry_blocks=6,
    max_block_bytes=200_000,
    max_block_transactions=20,
    founding_voters=1,
)
"""A chain on which a block takes a try or two, and windows are short enough to pass through."""


def seed_bytes(seed: str, count: int) -> bytes:
    """`count` bytes that follow from a text."""
    return hashlib.shake_256(seed.encode()).digest(count)


@lru_cache(maxsize=4096)
def signing_key(seed: str) -> SigningKey:
    """An Ed25519 key made from a text."""
    return SigningKey(seed_bytes("sign " + seed, SEED_BYTES))


@lru_cache(maxsize=4096)
def box_public(seed: str) -> str:
    """A public box key made from a text."""
    return box.BoxKey(seed_bytes("box " + seed, box.SEED_BYTES)).public


AUTHORITY = signing_key("authority")


@lru_cache(maxsize=4096)
def service_keys(member: str) -> ServiceKeys:
    """The public keys of a member's services."""
    return ServiceKeys(
        wallet=signing_key(f"{member}.peer").public,
        box=box_public(f"{member}.peer"),
        block=block_key(member).public,
        vote=vote_key(member).public,
    )


def block_key(member: str) -> SigningKey:
    """The key with which a member's miner signs blocks."""
    return signing_key(f"{member}.miner")


def vote_key(member: str) -> SigningKey:
    """The key with which a member's ledger signs votes."""
    return signing_key(f"{member}.ledger")


def make_genesis(
    parameters: Parameters = TINY, *, name: str = "Test consortium", created_ms: int = GENESIS_TIME_MS
) -> Genesis:
    """A genesis signed by `AUTHORITY`."""
    body = GenesisBody(
        format=1,
        network=NETWORK,
        name=name,
        authority=AUTHORITY.public,
        currency="KRW",
        time_zone="Asia/Seoul",
        created_ms=created_ms,
        parameters=parameters,
    )
    return sign_genesis(body, AUTHORITY)


def membership(
    change: Change,
    *,
    expires: int,
    salt: str = "",
    key: SigningKey = AUTHORITY,
    network: str = NETWORK,
) -> Transaction:
    """A membership transaction, signed."""
    body = Membership(
        network=network,
        sender=key.public,
        salt=seed_bytes(f"salt {salt} {change.member}", 16).hex(),
        expires_height=expires,
        change=change,
    )
    return sign_transaction(body, key)


def admit(member: str, *, expires: int = 5, salt: str = "", keys: ServiceKeys | None = None) -> Transaction:
    """Admit a member under its own keys, or others."""
    return membership(Admit(member=member, keys=keys or service_keys(member)), expires=expires, salt=salt)


def revoke(member: str, *, expires: int = 5, salt: str = "") -> Transaction:
    """Revoke a member."""
    return membership(Revoke(member=member), expires=expires, salt=salt)


# metering and market


MARKET = msgspec.structs.replace(TINY, max_expiry_blocks=1_000, diversity_per_mille=0, market_mode="continuous")
"""`TINY` for long histories of trades."""

AUCTION = msgspec.structs.replace(MARKET, market_mode="auction", slot_ms=10_000)
"""The same with auctions, each after about ten blocks."""

EXPIRES = 900
"""Expiry height of the transactions below, unless a test says otherwise; for `MARKET`."""


def gateway_key(member: str) -> SigningKey:
    """The key of a member's meter-gateway."""
    return signing_key(f"{member}.meter-gateway")


def array(meter: str = "roof", *, rated_w: int = 3_600_000, step_wh: int = 1) -> MeterDeclaration:
    """A meter with the channel ``dc``: of 3.6 MW, which is 1 Wh a millisecond, unless told otherwise."""
    channel = Channel(name="dc", rated_w=rated_w)
    return MeterDeclaration(meter=meter, model="sdm630", channels=[channel], register_step_wh=step_wh)


def register_meter(
    member: str, meter: MeterDeclaration | None = None, *, gateway: str = "", expires: int = EXPIRES, salt: str = ""
) -> Transaction:
    """Register a meter under its owner's gateway key, or another (hex)."""
    declared = meter or array()
    change = RegisterMeter(member=member, gateway=gateway or gateway_key(member).public, meter=declared)
    return membership(change, expires=expires, salt=f"{salt} {declared.meter}")


def statement(
    member: str,
    start: tuple[int, int],
    end: tuple[int, int],
    *,
    meter: str = "roof",
    channel: str = "dc",
    reset: bool = False,
    key: SigningKey | None = None,
    expires: int = EXPIRES,
    salt: str = "",
) -> Transaction:
    """A statement from one (ms after genesis, register in Wh) to another."""
    signer = key or gateway_key(member)
    points = [RegisterPoint(time_ms=GENESIS_TIME_MS + ms, register_wh=wh) for ms, wh in (start, end)]
    body = Generation(
        network=NETWORK,
        sender=signer.public,
        salt=seed_bytes(f"statement {salt}", 16).hex(),
        expires_height=expires,
        member=member,
        meter=meter,
        channel=channel,
        start=points[0],
        end=points[1],
        measured=1,
        substituted=0,
        missing=0,
        reset=reset,
        readings_root="0" * 64,
    )
    return sign_transaction(body, signer)


FOR_EVER_MS = GENESIS_TIME_MS + 10**9
"""Validity of orders that no test outlives."""


def wallet_fields(member: str, expires: int, salt: str) -> dict[str, Any]:
    sender = signing_key(f"{member}.peer").public
    return {
        "network": NETWORK,
        "sender": sender,
        "salt": seed_bytes(f"order {salt}", 16).hex(),
        "expires_height": expires,
    }


def offer(
    member: str,
    lots: Sequence[str],
    price_micro: int,
    *,
    smallest_wh: int = 1,
    until_ms: int = FOR_EVER_MS,
    buyer: str = "",
    expires: int = EXPIRES,
    salt: str = "",
) -> Transaction:
    """Offer lots."""
    body = Offer(
        **wallet_fields(member, expires, salt),
        lots=list(lots),
        price_micro=price_micro,
        smallest_wh=smallest_wh,
        valid_until_ms=until_ms,
        buyer=buyer,
    )
    return sign_transaction(body, signing_key(f"{member}.peer"))


def bid(
    member: str,
    energy_wh: int,
    price_micro: int,
    *,
    until_ms: int = FOR_EVER_MS,
    repeats: bool = False,
    expires: int = EXPIRES,
    salt: str = "",
) -> Transaction:
    """Bid for energy."""
    fields = wallet_fields(member, expires, salt)
    body = Bid(**fields, energy_wh=energy_wh, price_micro=price_micro, valid_until_ms=until_ms, repeats=repeats)
    return sign_transaction(body, signing_key(f"{member}.peer"))


def cancel(member: str, order: str, *, expires: int = EXPIRES, salt: str = "") -> Transaction:
    """Take an order back."""
    body = Cancel(**wallet_fields(member, expires, salt), order=order)
    return sign_transaction(body, signing_key(f"{member}.peer"))


# blocks


def find_nonce(draft: Draft, *, start: int = 0) -> Header:
    """Search from `start`; the difficulty of test chains is a handful of tries."""
    seal = draft.seal()
    nonce = start
    while not is_good(attempt(seal, nonce), draft.difficulty):
        nonce += 1
    return draft.with_nonce(nonce)


def sign_block(header: Header, transactions: Sequence[Transaction], *, signer: str = "") -> Block:
    """Sign a header as its miner, or as somebody else, and put the block together."""
    signature = sign_block_hash(header.hash(), header.network, block_key(signer or header.miner))
    return assemble_block(header, signature, transactions)


def make_draft(
    parent: HeaderNode, transactions: Sequence[Transaction], miner: str, genesis: Genesis, *, time_ms: int = 0
) -> Draft:
    """The draft that follows `parent`, one block interval later unless `time_ms` says otherwise."""
    return Draft(
        version=VERSION,
        network=genesis.network,
        height=parent.height + 1,
        prev=parent.hash,
        tx_root=transactions_root(transactions),
        votes_root=EMPTY_ROOT,
        time_ms=time_ms or parent.time_ms + genesis.parameters.block_interval_ms,
        difficulty=expected_difficulty(parent, genesis.parameters),
        miner=miner,
    )


def mine_block(
    parent: HeaderNode,
    transactions: Iterable[Transaction],
    miner: str,
    genesis: Genesis,
    *,
    time_ms: int = 0,
    signer: str = "",
    start: int = 0,
) -> Block:
    """A block of valid form upon `parent`, transactions in block order; whether it connects is up to the caller.

    Blocks that differ in nothing else differ by `start`, from where their nonce is searched.
    """
    ordered = sorted(transactions, key=block_order)
    draft = make_draft(parent, ordered, miner, genesis, time_ms=time_ms)
    return sign_block(find_nonce(draft, start=start), ordered, signer=signer)


def altered(block: Block, *, signer: str = "", mine: bool = True, **fields: Any) -> Block:
    """A block with other header fields, mined and signed again unless told otherwise."""
    header = msgspec.structs.replace(block.header, **fields)
    if mine:
        header = find_nonce(header.draft())
    return sign_block(header, block.transactions, signer=signer)


@dataclass
class Store:
    """What a ledger keeps, in memory: obeys a `BlockOutcome` as the ledger's database does."""

    blocks: dict[str, bytes] = field(default_factory=dict)
    undo: dict[str, BlockUndo] = field(default_factory=dict)

    def load_block(self, block_hash: str) -> bytes:
        return self.blocks[block_hash]

    def load_undo(self, block_hash: str) -> BlockUndo:
        return self.undo[block_hash]

    def keep(self, outcome: BlockOutcome) -> None:
        """Store what an outcome says."""
        for stored in outcome.stored:
            self.blocks[stored.block.hash] = stored.block.raw
        if outcome.change:
            for block in outcome.change.disconnected:
                del self.undo[block.hash]
            for connected in outcome.change.connected:
                self.undo[connected.block.hash] = connected.undo
        for block_hash in outcome.discarded:
            del self.blocks[block_hash]


FAR_FUTURE_MS = GENESIS_TIME_MS + 10**12
"""A clock for tests that are not about the clock: no block is from the future."""


class LocalChain:
    """A `Chain` with its store, and shorthands to mine upon any known block."""

    def __init__(self, parameters: Parameters = TINY, *, created_ms: int = GENESIS_TIME_MS) -> None:
        self.genesis = make_genesis(parameters, created_ms=created_ms)
        self.store = Store()
        self.chain = Chain.fresh(self.genesis, self.store.load_block, self.store.load_undo)

    @property
    def tip(self) -> HeaderNode:
        return self.chain.tip

    def node(self, block: Block) -> HeaderNode:
        """The tree's node of a block that it knows."""
        node = self.chain.tree.get(block.hash)
        assert node is not None, block.hash
        return node

    def receive(self, block: Block, now_ms: int = FAR_FUTURE_MS) -> BlockOutcome:
        """Hand a block in and store the outcome."""
        outcome = self.chain.receive_block(block, now_ms)
        self.store.keep(outcome)
        return outcome

    def mine(
        self,
        miner: str,
        transactions: Iterable[Transaction] = (),
        *,
        on: HeaderNode | Block | None = None,
        time_ms: int = 0,
        start: int = 0,
    ) -> Block:
        """Mine a block, on the tip unless told otherwise, without handing it in."""
        parent = self.node(on) if isinstance(on, Block) else on or self.tip
        return mine_block(parent, transactions, miner, self.genesis, time_ms=time_ms, start=start)

    def extend(
        self,
        miner: str,
        transactions: Iterable[Transaction] = (),
        *,
        on: HeaderNode | Block | None = None,
        start: int = 0,
    ) -> Block:
        """Mine a block and hand it in; it must be taken."""
        block = self.mine(miner, transactions, on=on, start=start)
        outcome = self.receive(block)
        assert outcome.status in {"connected", "side_branch"}, outcome
        return block

    def found(self, *members: str) -> Block:
        """Block 1, mined by the first member, admits all of them."""
        return self.extend(members[0], [admit(member, expires=5) for member in members])
