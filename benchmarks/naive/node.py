"""The naive node: takes a block's bytes, checks everything, applies it in memory, writes it row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from Crypto.Signature import eddsa

from benchmarks.naive.market import Changes, Market, Refused
from benchmarks.naive.records import (
    Admit,
    Block,
    Generation,
    Header,
    Keys,
    Membership,
    Transaction,
    read_block,
    signing_bytes,
)
from minervas_core.genesis import Genesis

GROUPS = {"membership": 0, "generation": 1, "offer": 3, "bid": 4}


class NaiveNode:
    """The chain and its state after the newest block."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self.headers: list[Header] = []
        self.tip_hash = genesis.hash
        self.members: dict[str, Keys] = {}
        self.wallets: dict[str, str] = {}
        self.market = Market()
        self._heights: dict[str, int] = {}
        """Height of every transaction of the last blocks."""

    @property
    def height(self) -> int:
        """Height of the newest block."""
        return len(self.headers)

    @property
    def time_ms(self) -> int:
        """Time of the newest block."""
        return self.headers[-1].time_ms if self.headers else self._genesis.body.created_ms

    def validate(self, raw: bytes) -> Block:
        """Read a block and check all that needs no state: form, header, order and every signature.

        Raises:
            ValueError: if it is malformed.
            Refused: if it breaks a rule.
        """
        block = read_block(raw)
        self._check_header(block.header)
        parameters = self._genesis.parameters
        if len(raw) > parameters.max_block_bytes or len(block.transactions) > parameters.max_block_transactions:
            raise Refused("too_large")
        leaves = [hashlib.sha256(b"\0" + transaction.raw).digest() for transaction in block.transactions]
        if merkle_root(leaves) != block.header.tx_root:
            raise Refused("block_tx_root")
        places = [_place(transaction) for transaction in block.transactions]
        if any(before >= after for before, after in pairwise(places)):
            raise Refused("block_tx_order")
        for transaction in block.transactions:
            self.check_signature(transaction)
        return block

    def connect(self, block: Block) -> Changes:
        """Apply a validated block to the state and check everything that needs it; returns the rows that changed.

        Raises:
            Refused: if it breaks a rule; the node can not be used any more.
        """
        header, changes = block.header, Changes()
        self.market.expire(self.time_ms, changes)
        orders = 0
        for transaction in block.transactions:
            tx_id, body = transaction.id, transaction.body
            height, parameters = header.height, self._genesis.parameters
            if not height <= body.expires_height <= height + parameters.max_expiry_blocks or tx_id in self._heights:
                raise Refused("tx_expired")
            if isinstance(body, Membership):
                self._change_members(body)
            elif isinstance(body, Generation):
                if body.member not in self.members:
                    raise Refused("member_unknown")
                self.market.state(tx_id, body, header.time_ms, changes)
            else:
                member = self.wallets.get(body.sender)
                if member is None:
                    raise Refused("member_unknown")
                place = (height, orders)
                self.market.place(
                    *(tx_id, body, member, changes), place=place, parent_time_ms=self.time_ms, parameters=parameters
                )
                orders += 1
            self._heights[tx_id] = height
        self._check_miner(block)
        leaving = header.height - self._genesis.parameters.max_expiry_blocks
        if leaving > 0:
            self._heights = {tx_id: height for tx_id, height in self._heights.items() if height > leaving}
        self.headers.append(header)
        self.tip_hash = header.hash
        return changes

    def _check_header(self, header: Header) -> None:
        if header.version != 1 or header.network != self._genesis.network or header.votes_root != merkle_root([]):
            raise Refused("block_version")
        if header.height != self.height + 1 or header.prev != self.tip_hash or header.time_ms <= self.time_ms:
            raise Refused("block_height")
        if header.difficulty != self._next_difficulty():
            raise Refused("block_difficulty")
        if int(header.hash, 16) >= (2**256 - 1) // header.difficulty:
            raise Refused("block_work")

    def _next_difficulty(self) -> int:
        parameters = self._genesis.parameters
        recent = self.headers[-(parameters.lwma_window + 1) :]
        if len(recent) < parameters.lwma_window:
            return parameters.initial_difficulty
        count = len(recent) - 1
        weighted_ms = sum(
            rank * (after.time_ms - before.time_ms) for rank, (before, after) in enumerate(pairwise(recent), 1)
        )
        total = sum(header.difficulty for header in recent[1:])
        raised = total * (count + 1) * parameters.block_interval_ms // (2 * weighted_ms)
        return min(max(raised, parameters.min_difficulty), 2**53 - 1)

    def check_signature(self, transaction: Transaction) -> None:
        """Check that the named sender signed a transaction for this network.

        Raises:
            Refused: if not.
        """
        body = transaction.body
        if body.network != self._genesis.network:
            raise Refused("wrong_network")
        if isinstance(body, Membership) and body.sender != self._genesis.body.authority:
            raise Refused("tx_wrong_sender")
        if not is_signed(body.sender, transaction.signed, transaction.signature):
            raise Refused("bad_signature")

    def _check_miner(self, block: Block) -> None:
        keys = self.members.get(block.header.miner)
        if keys is None:
            raise Refused("block_miner_unknown")
        signed = signing_bytes("block", block.header.network, f'"{block.header.hash}"'.encode())
        if not is_signed(keys.block, signed, block.signature):
            raise Refused("block_signature")

    def _change_members(self, body: Membership) -> None:
        change = body.change
        if isinstance(change, Admit):
            if change.member in self.members or change.keys.wallet in self.wallets:
                raise Refused("member_exists")
            self.members[change.member] = change.keys
            self.wallets[change.keys.wallet] = change.member
            return
        key = (change.member, change.meter.meter)
        if change.member not in self.members or key in self.market.meters:
            raise Refused("meter_exists")
        self.market.meters[key] = (change.gateway, self.time_ms, change.meter)


def is_signed(public: str, signed: bytes, signature: str) -> bool:
    """Whether an Ed25519 signature is right."""
    try:
        eddsa.new(eddsa.import_public_key(bytes.fromhex(public)), "rfc8032").verify(signed, bytes.fromhex(signature))
    except ValueError:
        return False
    return True


def merkle_root(digests: Sequence[bytes]) -> str:
    """Merkle root over leaves that are hashed already."""
    return _root(digests).hex() if digests else hashlib.sha256(b"").hexdigest()


def _root(digests: Sequence[bytes]) -> bytes:
    if len(digests) == 1:
        return digests[0]
    middle = 1 << (len(digests) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _root(digests[:middle]) + _root(digests[middle:])).digest()


def _place(transaction: Transaction) -> tuple[int, str, int, str]:
    body = transaction.body
    if isinstance(body, Generation):
        return GROUPS[body.type], f"{body.member}/{body.meter}/{body.channel}", body.start.time_ms, transaction.id
    return GROUPS[body.type], "", 0, transaction.id
