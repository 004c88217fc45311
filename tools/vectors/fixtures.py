"""The people, keys and numbers that all vectors share. Their secrets are public: use them for nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from msgspec import Raw

from minervas_core.blocks import Block, Draft, assemble_block, sign_block_hash, transactions_root
from minervas_core.box import SEED_BYTES, BoxKey
from minervas_core.frames import SenderKey
from minervas_core.genesis import Genesis, GenesisBody, Parameters, sign_genesis
from minervas_core.keys import SigningKey
from minervas_core.merkle import EMPTY_ROOT
from minervas_core.messages import Hello, HelloBody, sign_hello
from minervas_core.proof_of_work import attempt, is_good
from minervas_core.transactions import (
    Admit,
    Change,
    Membership,
    Revoke,
    ServiceKeys,
    Transaction,
    block_order,
    sign_transaction,
)

START_MS = 1_790_000_000_000
"""When the vectors' consortium was made (2026-09-21)."""

INTERVAL_MS = 2_000
"""Its block interval."""


def seed(name: str, size: int = 32) -> bytes:
    """Bytes that stand for a secret or a random number: SHAKE-256 of a name."""
    return hashlib.shake_256(b"minervas vectors: " + name.encode()).digest(size)


@dataclass(frozen=True)
class MemberKeys:
    """The private keys of one member of the vectors' consortium."""

    member: str
    wallet: SigningKey
    box: BoxKey
    block: SigningKey
    vote: SigningKey

    @property
    def public(self) -> ServiceKeys:
        """What is registered on chain."""
        return ServiceKeys(
            wallet=self.wallet.public, box=self.box.public, block=self.block.public, vote=self.vote.public
        )


def member_keys(member: str) -> MemberKeys:
    """Keys of a member, made from its name."""
    return MemberKeys(
        member=member,
        wallet=SigningKey(seed(f"{member} wallet")),
        box=BoxKey(seed(f"{member} box", SEED_BYTES)),
        block=SigningKey(seed(f"{member} block")),
        vote=SigningKey(seed(f"{member} vote")),
    )


NETWORK = seed("network", 16).hex()
OTHER_NETWORK = seed("another network", 16).hex()
AUTHORITY = SigningKey(seed("authority"))
MOKPO, HAENAM, KIM, OUTSIDER = (member_keys(name) for name in ("mokpo-univ", "haenam-farm", "kim-house", "outsider"))
MEMBERS = (MOKPO, HAENAM, KIM)

PARAMETERS = Parameters(
    block_interval_ms=INTERVAL_MS,
    initial_difficulty=16,
    min_difficulty=4,
    diversity_per_mille=600,
    max_block_bytes=20_000,
    max_block_transactions=10,
    max_expiry_blocks=100,
    recovery_wait_ms=10_000,
    slot_ms=20_000,
    market_mode="continuous",
    max_open_orders=3,
    max_lots_per_offer=3,
    max_fills_per_block=2,
)
"""Small enough that every limit is reached: of three miners, the last block's may not mine the next."""

GENESIS_BODY = GenesisBody(
    format=1,
    network=NETWORK,
    name="Yeongsan River Solar",
    authority=AUTHORITY.public,
    currency="KRW",
    time_zone="Asia/Seoul",
    created_ms=START_MS,
    parameters=PARAMETERS,
)

GENESIS: Genesis = sign_genesis(GENESIS_BODY, AUTHORITY)


def membership(change: Change, name: str, *, expires_height: int = 50) -> Transaction:
    """A membership transaction of the authority; `name` makes its salt."""
    return sign_transaction(
        Membership(
            network=NETWORK,
            sender=AUTHORITY.public,
            salt=seed(f"salt {name}", 16).hex(),
            expires_height=expires_height,
            change=change,
        ),
        AUTHORITY,
    )


def admit(who: MemberKeys, *, expires_height: int = 50) -> Transaction:
    """The admission of a member."""
    change = Admit(member=who.member, keys=who.public)
    return membership(change, f"admit {who.member}", expires_height=expires_height)


ADMISSIONS = tuple(admit(who) for who in MEMBERS)
REVOCATION = membership(Revoke(member=KIM.member), f"revoke {KIM.member}")


def draft(
    height: int, prev: str, transactions: tuple[Transaction, ...], *, time_ms: int, miner: str, difficulty: int = 16
) -> Draft:
    """A header to search for."""
    return Draft(
        version=1,
        network=NETWORK,
        height=height,
        prev=prev,
        tx_root=transactions_root(transactions),
        votes_root=EMPTY_ROOT,
        time_ms=time_ms,
        difficulty=difficulty,
        miner=miner,
    )


def search(wanted: Draft) -> int:
    """The lowest nonce that fulfils the difficulty."""
    seal = wanted.seal()
    return next(nonce for nonce in range(2**32) if is_good(attempt(seal, nonce), wanted.difficulty))


def mine(wanted: Draft, transactions: tuple[Transaction, ...], miner: MemberKeys) -> Block:
    """The block that a miner finds from a draft, transactions in the order given."""
    header = wanted.with_nonce(search(wanted))
    return assemble_block(header, sign_block_hash(header.hash(), NETWORK, miner.block), transactions)


def ordered(*transactions: Transaction) -> tuple[Transaction, ...]:
    """Transactions in block order."""
    return tuple(sorted(transactions, key=block_order))


BLOCK_1 = mine(
    draft(1, GENESIS.hash, ordered(*ADMISSIONS), time_ms=START_MS + INTERVAL_MS, miner=MOKPO.member),
    ordered(*ADMISSIONS),
    MOKPO,
)
BLOCK_2 = mine(draft(2, BLOCK_1.hash, (), time_ms=START_MS + 2 * INTERVAL_MS, miner=HAENAM.member), (), HAENAM)
BLOCK_3 = mine(
    draft(3, BLOCK_2.hash, (REVOCATION,), time_ms=START_MS + 3 * INTERVAL_MS, miner=MOKPO.member), (REVOCATION,), MOKPO
)


def sender_key(who: MemberKeys, epoch: int = 1) -> SenderKey:
    """A member's sender key of an epoch."""
    name = f"{who.member} sender key {epoch}"
    return SenderKey(who.member, epoch, seed(f"{name} id", 16).hex(), seed(name))


def hello(who: MemberKeys, *, epoch: int = 1) -> Hello:
    """A member's Hello."""
    body = HelloBody(
        network=NETWORK,
        member=who.member,
        epoch=epoch,
        key_id=sender_key(who, epoch).key_id,
        sent_at_ms=START_MS + 5_000,
        membership=[Raw(admit(who).raw)],
    )
    return sign_hello(body, who.wallet)
