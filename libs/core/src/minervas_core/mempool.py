"""The queue: valid transactions that wait for a block (design section 5, mempool).

The rules, in full:

* Limits: it is bounded by count and bytes, for its content costs its senders nothing.
* Share: one member fills only a part of both, with all its keys together: wallet and gateways.
* Replacement: there is none. Of two transactions that exclude each other the first seen stays, and nothing is pushed
  out for something newer: there are no fees to rank by. Whoever wants another order cancels the first one.
* Expiry: what the next block can no longer carry leaves.
* What a reorganisation takes out of the chain comes back, before anything new; what a restart finds stored, too. Both
  are judged by limits, conflicts and rules, but not by the share: they were let in before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from minervas_core.blocks import Block
from minervas_core.encoding import MAX_INTEGER
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.genesis import Genesis
from minervas_core.governance.key_owners import owner_of_key
from minervas_core.governance.parameters import active_parameters
from minervas_core.market.generation import channel_key
from minervas_core.market.records import Bid, Offer
from minervas_core.market.state import BlockContext
from minervas_core.metering import Generation, RegisterPoint
from minervas_core.rules import begin_block, claims_of, sender_of
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import ChainState, apply_transaction, check_transaction
from minervas_core.timing import latest_acceptable_ms
from minervas_core.transactions import Transaction, block_order

RawTransaction = bytes
"""Canonical bytes of a transaction."""


@dataclass(frozen=True, slots=True)
class MempoolLimits:
    """Bounds of the queue; each node may choose its own."""

    max_count: int = 20_000
    """Thirteen full blocks."""
    max_bytes: int = 32_000_000
    """Thirty-two full blocks."""
    share_per_mille: int = 250
    """Part of both that one member may fill, so that none locks the others out."""


class Mempool:
    """Transactions by id, in the order in which they came."""

    def __init__(self, genesis: Genesis, signatures: SignatureCache, limits: MempoolLimits | None = None) -> None:
        self._genesis = genesis
        self._signatures = signatures
        self._limits = limits or MempoolLimits()
        self._transactions: dict[str, Transaction] = {}
        self._by_bytes: dict[bytes, Transaction] = {}
        self._claims: dict[str, str] = {}
        """Transaction id by what it claims."""
        self._bytes = 0
        self._owners: dict[str, str] = {}
        """By transaction id, whose share it fills."""
        self._owner_count: Counter[str] = Counter()
        self._owner_bytes: Counter[str] = Counter()
        self._owner_orders: Counter[str] = Counter()
        """Queued offers and bids by member."""
        self._statement_ends: dict[str, str] = {}
        """Transaction id of a queued statement by where it ends."""

    def __len__(self) -> int:
        return len(self._transactions)

    def __contains__(self, tx_id: str) -> bool:
        return tx_id in self._transactions

    def __iter__(self) -> Iterator[Transaction]:
        return iter(list(self._transactions.values()))

    @property
    def bytes(self) -> int:
        """Bytes of all queued transactions."""
        return self._bytes

    def get(self, tx_id: str) -> Transaction | None:
        """A queued transaction."""
        return self._transactions.get(tx_id)

    def find(self, raw: RawTransaction) -> Transaction | None:
        """A queued transaction by its bytes, signature included: a block that carries it need not decode it again."""
        return self._by_bytes.get(raw)

    def add(self, transaction: Transaction, state: ChainState, now_ms: int) -> bool:
        """Queue a transaction if the block after `state` could carry it; False if it is queued already.

        Nothing else in the queue is touched.

        A metering statement may go on where a queued one ends: both can stand in one block. A member's orders are
        limited with those that it has queued.

        Raises:
            InvalidTransaction: ``pool_conflict``, ``pool_full``, ``pool_share``, or a code of
                `SignatureCache.check` or `check_transaction`.
        """
        if transaction.id in self._transactions:
            return False
        latest_ms = latest_acceptable_ms(now_ms, self._genesis.parameters)
        try:
            check_transaction(state, transaction, state.height + 1, latest_ms, self._genesis)
        except InvalidTransaction as error:
            if error.code != Code.STATEMENT_GAP:
                raise
            self._check_with_queued(transaction, state, latest_ms, error)
        owner = owner_of(transaction, state)
        self._check_orders(transaction, state)
        self._check_room(transaction, owner)
        self._check_conflict(transaction)
        self._signatures.check(transaction)
        self._put(transaction, owner)
        return True

    def remove_included(self, block: Block) -> None:
        """Remove what a connected block carries, and what can no longer apply because of it."""
        if not self._transactions:
            return
        for transaction in block.transactions:
            if self._remove(transaction.id):
                continue  # what it claimed was its own, so no other claims it
            for claim in claims_of(transaction):
                self._remove(self._claims.get(claim, ""))
        bodies = [transaction.body for transaction in block.transactions]
        ends = {channel_key(body): body.end.time_ms for body in bodies if isinstance(body, Generation)}
        for tx_id in [each.id for each in self if _is_outrun(each, ends, block.header.time_ms)]:
            self._remove(tx_id)

    def forget_disused(self, state: ChainState) -> tuple[Transaction, ...]:
        """Remove and return what was signed by keys that no longer sign.

        Their member was revoked or left, or has another wallet or gateway key now; or the authority has another key. A
        key that nobody has (yet, on this branch) is no such key.
        """
        senders = {each.body.sender for each in self._transactions.values()}
        disused = {sender for sender in senders if self._is_disused(sender, state)}
        gone = tuple(each for each in self._transactions.values() if each.body.sender in disused) if disused else ()
        for transaction in gone:
            self._remove(transaction.id)
        return gone

    def give_back(
        self, transactions: Iterable[Transaction], state: ChainState
    ) -> tuple[tuple[Transaction, InvalidTransaction], ...]:
        """Queue transactions of a losing branch again, in that branch's order, after the winning one was connected.

        They are tried one upon the other, so that one which needs an earlier one stays with it; one that would apply
        but for an earlier one stays too, as if it had come first. They were in a block before, so neither their
        signature nor the member's share is judged again.

        Returns:
            Those that do not apply on the new branch, with the reason.
        """
        scratch = state.scratch()
        context = begin_block(scratch, state.height + 1, self._genesis)
        dropped: list[tuple[Transaction, InvalidTransaction]] = []
        for transaction in transactions:
            if transaction.id in self._transactions:
                continue
            # On a lower tip an expiry can be too far for now; that passes with the next blocks.
            height = max(state.height + 1, transaction.body.expires_height - self._genesis.parameters.max_expiry_blocks)
            try:
                self._check_conflict(transaction)
                self._check_total(transaction)
                if not self._applies(transaction, scratch, height):
                    check_transaction(state, transaction, height, MAX_INTEGER, self._genesis)
                    self._put(transaction, owner_of(transaction, state))
                    continue
            except InvalidTransaction as error:
                dropped.append((transaction, error))
            else:
                self._put(transaction, owner_of(transaction, scratch))
                apply_transaction(scratch, transaction, context)
        return tuple(dropped)

    def restore(
        self, transactions: Iterable[Transaction], state: ChainState
    ) -> tuple[tuple[Transaction, InvalidTransaction], ...]:
        """Queue again what was stored before a restart, in the order in which it came; signatures are judged too.

        Returns:
            Those that no longer apply, with the reason.
        """
        valid: list[Transaction] = []
        dropped: list[tuple[Transaction, InvalidTransaction]] = []
        for transaction in transactions:
            try:
                self._signatures.check(transaction)
                valid.append(transaction)
            except InvalidTransaction as error:
                dropped.append((transaction, error))
        return (*dropped, *self.give_back(valid, state))

    def expire(self, next_height: int) -> tuple[Transaction, ...]:
        """Remove and return what a block at `next_height` can no longer carry."""
        gone = [each for each in self._transactions.values() if each.body.expires_height < next_height]
        for transaction in gone:
            self._remove(transaction.id)
        return tuple(gone)

    def select(self, max_bytes: int, max_count: int, *, skip: Container[str] = frozenset()) -> list[Transaction]:
        """The longest waiting transactions that fit, in block order; without those of the ids to skip."""
        chosen: list[Transaction] = []
        room = max_bytes
        for transaction in self._transactions.values():
            if len(chosen) == max_count:
                break
            if len(transaction.raw) + 1 <= room and transaction.id not in skip:
                chosen.append(transaction)
                room -= len(transaction.raw) + 1
        return sorted(chosen, key=block_order)

    def _is_disused(self, sender: str, state: ChainState) -> bool:
        if sender == state.governance.authority_key(self._genesis):
            return False
        if sender == self._genesis.body.authority:
            return True
        owner = owner_of_key(state, sender)
        if owner is None:
            return False
        record = state.roster.active(owner)
        return record is None or (sender != record.keys.wallet and state.market.owner_of_gateway(sender) is None)

    def _applies(self, transaction: Transaction, state: ChainState, height: int) -> bool:
        try:
            check_transaction(state, transaction, height, MAX_INTEGER, self._genesis)
        except InvalidTransaction:
            return False
        return True

    def _check_with_queued(
        self, transaction: Transaction, state: ChainState, latest_ms: int, gap: InvalidTransaction
    ) -> None:
        """Check a statement upon the queued ones that lead from the state to its start; without them, raise `gap`."""
        scratch, height = state.scratch(), state.height + 1
        chain = [transaction]
        while (before := self._statement_before(chain[-1])) is not None:
            chain.append(before)
        if len(chain) == 1:
            raise gap
        for each in reversed(chain):
            check_transaction(scratch, each, height, latest_ms, self._genesis)
            apply_transaction(scratch, each, BlockContext(height=height, fills_left=0))

    def _statement_before(self, transaction: Transaction) -> Transaction | None:
        body = transaction.body
        if not isinstance(body, Generation):
            return None
        return self._transactions.get(self._statement_ends.get(_place(body, body.start), ""))

    def _check_orders(self, transaction: Transaction, state: ChainState) -> None:
        """Refuse more orders than the member could ever have open: they would only wait in the others' way."""
        body = transaction.body
        if isinstance(body, Offer | Bid):
            member, limit = sender_of(state, body), active_parameters(state.governance, self._genesis).max_open_orders
            if state.market.count_of_orders(member) + self._owner_orders[member] >= limit:
                raise InvalidTransaction(
                    Code.ORDER_LIMIT, "Too many orders, open and queued", tx=transaction.id, member=member, limit=limit
                )

    def _check_room(self, transaction: Transaction, owner: str) -> None:
        self._check_total(transaction)
        limits = self._limits
        count = (self._owner_count[owner] + 1) * 1000
        size = (self._owner_bytes[owner] + len(transaction.raw)) * 1000
        if count > limits.max_count * limits.share_per_mille or size > limits.max_bytes * limits.share_per_mille:
            raise InvalidTransaction(
                Code.POOL_SHARE, "The member's share of the queue is full", tx=transaction.id, owner=owner
            )

    def _check_total(self, transaction: Transaction) -> None:
        limits = self._limits
        if len(self) >= limits.max_count or self._bytes + len(transaction.raw) > limits.max_bytes:
            raise InvalidTransaction(
                Code.POOL_FULL, "The queue is full", tx=transaction.id, count=len(self), size_bytes=self._bytes
            )

    def _check_conflict(self, transaction: Transaction) -> None:
        for claim in claims_of(transaction):
            other = self._claims.get(claim)
            if other is not None:
                raise InvalidTransaction(
                    Code.POOL_CONFLICT, "Excluded by one that came first", tx=transaction.id, other=other
                )

    def _put(self, transaction: Transaction, owner: str) -> None:
        self._transactions[transaction.id] = transaction
        self._by_bytes[transaction.raw] = transaction
        self._owners[transaction.id] = owner
        self._claims.update((claim, transaction.id) for claim in claims_of(transaction))
        if isinstance(transaction.body, Generation):
            self._statement_ends[_place(transaction.body, transaction.body.end)] = transaction.id
        self._count(transaction, owner, 1)

    def _remove(self, tx_id: str) -> bool:
        """Remove a transaction; False if it is not here."""
        transaction = self._transactions.pop(tx_id, None)
        if transaction is None:
            return False
        del self._by_bytes[transaction.raw]
        for claim in claims_of(transaction):
            del self._claims[claim]
        if isinstance(transaction.body, Generation):
            place = _place(transaction.body, transaction.body.end)
            if self._statement_ends.get(place) == tx_id:
                del self._statement_ends[place]
        self._count(transaction, self._owners.pop(tx_id), -1)
        return True

    def _count(self, transaction: Transaction, owner: str, step: int) -> None:
        size = len(transaction.raw)
        self._bytes += step * size
        self._owner_count[owner] += step
        self._owner_bytes[owner] += step * size
        if isinstance(transaction.body, Offer | Bid):
            self._owner_orders[owner] += step
        if not self._owner_count[owner]:  # whoever has nothing here costs nothing
            for counter in (self._owner_count, self._owner_bytes, self._owner_orders):
                counter.pop(owner, None)


def owner_of(transaction: Transaction, state: ChainState) -> str:
    """Whose share of the queue a transaction fills: its member, with all keys; the key itself if it is nobody's."""
    body = transaction.body
    if isinstance(body, Generation):
        return body.member
    return state.roster.owner_of_key(body.sender) or body.sender


def _place(statement: Generation, point: RegisterPoint) -> str:
    return f"{channel_key(statement)} {point.time_ms} {point.register_wh}"


def _is_outrun(transaction: Transaction, statement_ends: Mapping[str, int], time_ms: int) -> bool:
    """Whether a block of this time with statements that end there leaves no place for a transaction."""
    body = transaction.body
    if isinstance(body, Generation):
        return body.start.time_ms < statement_ends.get(channel_key(body), 0)
    return isinstance(body, Offer | Bid) and body.valid_until_ms <= time_ms
