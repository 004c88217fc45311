"""The state of the chain after a block: roster, governance, market, finality, and the ids that may not come again.

`apply_block` and `undo_block` are exact inverses: after both, the state equals the one before, and a state reached by
any mix of them equals a replay from genesis. Tests hold that over random histories.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from minervas_core.blocks import Block
from minervas_core.encoding import Count, Hash, Record, TimeMs
from minervas_core.errors import Code, InvalidTransaction, LocalFault
from minervas_core.finality.rules import apply_votes, note_checkpoint
from minervas_core.finality.state import Finality
from minervas_core.genesis import Genesis, Parameters
from minervas_core.governance.parameters import activate_changes
from minervas_core.governance.recovery import start_waiting
from minervas_core.governance.state import Governance
from minervas_core.identifiers import MemberId
from minervas_core.market.records import Clearing, Lot, Retirement, Trade
from minervas_core.market.state import BlockContext, Market
from minervas_core.record_tables import StateRow
from minervas_core.roster import MemberRecord, Roster
from minervas_core.rules import apply_in_state, begin_block, check_in_state
from minervas_core.tables import Table
from minervas_core.transactions import Transaction


class BlockUndo(Record, frozen=True, kw_only=True):
    """What a block overwrote: with it and the block, the state before is restored exactly."""

    height: Count
    block: Hash
    members_added: list[MemberId]
    """Members that did not exist before, by id."""
    members_before: list[MemberRecord]
    """Previous records of the other members that changed, by id."""
    ids_pruned: list[Hash]
    """Transaction ids that left the window, sorted."""
    market_before: list[StateRow]
    """Previous rows of the market tables that changed."""
    finality_before: list[StateRow]
    """Previous rows of the tables of finality that changed."""
    governance_before: list[StateRow]
    """Previous rows of the tables of governance that changed."""
    time_before_ms: TimeMs
    """Time of the predecessor."""


@dataclass(frozen=True, slots=True)
class AppliedBlock:
    """What came of a block: how to take it back, what it traded, and the lots it made."""

    undo: BlockUndo
    trades: tuple[Trade, ...]
    lots: Mapping[str, Lot]
    """Lots that came into being, by id, as they were then; some may be used up again."""
    retirements: tuple[Retirement, ...]
    """Lots that were claimed as used, in order."""
    clearings: tuple[Clearing, ...] = ()
    """The auction that it decided, if any."""


class StateSnapshot(Record, frozen=True, kw_only=True):
    """Everything in a state as plain values: two states are equal when their snapshots are."""

    height: Count
    tip_hash: Hash
    members: list[MemberRecord]
    key_owners: dict[str, MemberId]
    recent_ids: dict[Hash, Count]
    time_ms: TimeMs
    market: list[StateRow]
    finality: list[StateRow]
    governance: list[StateRow]


class ChainState:
    """The state after one block."""

    __slots__ = (
        "_below",
        "_ids",
        "_ids_at",
        "finality",
        "governance",
        "height",
        "market",
        "roster",
        "time_ms",
        "tip_hash",
    )

    def __init__(
        self, height: int, tip_hash: str, time_ms: int, roster: Roster, *, below: ChainState | None = None
    ) -> None:
        self.height = height
        """Height of the block after which this is the state; 0 for genesis."""
        self.tip_hash = tip_hash
        """That block's hash; the genesis hash at height 0."""
        self.time_ms = time_ms
        """That block's time; the creation time of genesis at height 0."""
        self.roster = roster
        self.market: Market = Market(below=below.market) if below else Market()
        self.finality: Finality = Finality(below=below.finality) if below else Finality()
        self.governance: Governance = Governance(below=below.governance) if below else Governance()
        self._below = below
        self._ids: Table[str, int] = below.id_layer() if below else Table()
        self._ids_at: Table[int, tuple[str, ...]] = below.ids_at_layer() if below else Table()

    @classmethod
    def fresh(cls, genesis: Genesis) -> ChainState:
        """The state before block 1."""
        return cls(0, genesis.hash, genesis.body.created_ms, Roster())

    @classmethod
    def restore(
        cls,
        height: int,
        tip_hash: str,
        time_ms: int,
        *,
        members: Iterable[MemberRecord],
        recent_ids: Mapping[str, int],
        market: Iterable[StateRow],
        finality: Iterable[StateRow],
        governance: Iterable[StateRow],
    ) -> ChainState:
        """The state as it was stored.

        Args:
            height: height of the stored tip.
            tip_hash: its hash.
            time_ms: its time.
            members: every member's record.
            recent_ids: height by id, of the transactions in the last ``max_expiry_blocks`` blocks up to the tip.
            market: every row of the market tables.
            finality: every row of the tables of finality.
            governance: every row of the tables of governance.
        """
        state = cls(height, tip_hash, time_ms, Roster(members))
        state.market.put_back(market)
        state.finality.put_back(finality)
        state.governance.put_back(governance)
        at: dict[int, list[str]] = {}
        for tx_id, included in recent_ids.items():
            at.setdefault(included, []).append(tx_id)
        for included, ids in at.items():
            state.remember_ids(included, tuple(ids))
        return state

    def scratch(self) -> ChainState:
        """A layer over this state: change it freely, then `commit` it or throw it away."""
        return ChainState(self.height, self.tip_hash, self.time_ms, Roster(below=self.roster), below=self)

    def id_layer(self) -> Table[str, int]:
        """A layer over the heights by transaction id."""
        return self._ids.over()

    def ids_at_layer(self) -> Table[int, tuple[str, ...]]:
        """A layer over the transaction ids by height."""
        return self._ids_at.over()

    def commit(self) -> None:
        """Carry this layer's changes into the state below."""
        below = self._below
        if below is None:
            raise ValueError("this state lies over nothing")
        self.roster.merge_down()
        self.market.merge_down()
        self.finality.merge_down()
        self.governance.merge_down()
        self._ids.merge_down()
        self._ids_at.merge_down()
        below.height, below.tip_hash, below.time_ms = self.height, self.tip_hash, self.time_ms

    def included_height(self, tx_id: str) -> int | None:
        """Height of the block that carries a transaction, while it could still come again."""
        return self._ids.get(tx_id)

    @property
    def recent_ids(self) -> dict[str, int]:
        """Transactions that could come again if their ids were forgotten: height by id."""
        return dict(self._ids.items())

    def ids_at(self, height: int) -> tuple[str, ...]:
        """Remembered transaction ids of the block at a height, sorted."""
        return self._ids_at.get(height) or ()

    def remember_ids(self, height: int, ids: tuple[str, ...]) -> None:
        """Remember the transactions of the block at a height."""
        if ids:
            self._ids_at.put(height, tuple(sorted(ids)))
        for tx_id in ids:
            self._ids.put(tx_id, height)

    def forget_ids(self, height: int) -> tuple[str, ...]:
        """Forget the transactions of the block at a height and return them."""
        ids = self.ids_at(height)
        if ids:
            self._ids_at.drop(height)
        for tx_id in ids:
            self._ids.drop(tx_id)
        return ids

    def snapshot(self) -> StateSnapshot:
        """All content as plain values, to compare or to look at."""
        return StateSnapshot(
            height=self.height,
            tip_hash=self.tip_hash,
            members=self.roster.members(),
            key_owners=self.roster.key_owners(),
            recent_ids=self.recent_ids,
            time_ms=self.time_ms,
            market=self.market.rows(),
            finality=self.finality.rows(),
            governance=self.governance.rows(),
        )


def check_transaction(
    state: ChainState, transaction: Transaction, height: int, latest_ms: int, genesis: Genesis
) -> None:
    """Check a transaction for a block at `height` on top of `state`; `SignatureCache.check` is the other half.

    Args:
        state: the state before it.
        transaction: the transaction.
        height: of the block.
        latest_ms: the block's time (or, in the queue, the latest that a block could have).
        genesis: the consortium's genesis.

    Raises:
        InvalidTransaction: ``tx_expired``, ``tx_expiry_too_far``, ``tx_duplicate``, or a code of `check_in_state`.
    """
    expires = transaction.body.expires_height
    if expires < height:
        raise InvalidTransaction(
            Code.TX_EXPIRED, "Its last possible block is past", tx=transaction.id, expires_height=expires, height=height
        )
    if expires > height + genesis.parameters.max_expiry_blocks:
        raise InvalidTransaction(
            Code.TX_EXPIRY_TOO_FAR, "Expires too far ahead", tx=transaction.id, expires_height=expires, height=height
        )
    included = state.included_height(transaction.id)
    if included is not None:
        raise InvalidTransaction(
            Code.TX_DUPLICATE, "Stands in the chain already", tx=transaction.id, included_height=included
        )
    check_in_state(state, transaction, latest_ms, genesis)


def apply_transaction(state: ChainState, transaction: Transaction, context: BlockContext) -> None:
    """Apply a checked transaction of the block that `begin_block` began."""
    apply_in_state(state, transaction, context)


def apply_block(layer: ChainState, block: Block, genesis: Genesis) -> AppliedBlock:
    """Check and apply a block's votes and transactions on a fresh layer over its parent's state.

    The caller commits the layer, or throws it away if this (or a later check) raises.

    Raises:
        InvalidVote: as `check_vote`.
        InvalidTransaction: as `check_transaction`.
    """
    height = block.header.height
    apply_votes(layer.finality, block.votes, height, genesis)
    context = begin_block(layer, height, genesis)
    for transaction in block.transactions:
        check_transaction(layer, transaction, height, block.header.time_ms, genesis)
        apply_transaction(layer, transaction, context)
    layer.remember_ids(height, tuple(transaction.id for transaction in block.transactions))
    pruned = layer.forget_ids(_leaving_height(height, genesis.parameters))
    start_waiting(layer.governance, height, block.header.time_ms)
    note_checkpoint(layer.finality, layer.roster, height, block.hash, genesis)
    activate_changes(layer.governance, height + 1, genesis)
    changes = layer.roster.changes()
    undo = BlockUndo(
        height=height,
        block=block.hash,
        members_added=[member for member, before in changes if before is None],
        members_before=[before for _, before in changes if before is not None],
        ids_pruned=list(pruned),
        market_before=layer.market.changed_before(),
        finality_before=layer.finality.changed_before(),
        governance_before=layer.governance.changed_before(),
        time_before_ms=layer.time_ms,
    )
    layer.height, layer.tip_hash, layer.time_ms = height, block.hash, block.header.time_ms
    return AppliedBlock(
        undo, tuple(context.trades), context.lots, tuple(context.retirements), clearings=tuple(context.clearings)
    )


def undo_block(state: ChainState, block: Block, undo: BlockUndo, parameters: Parameters) -> None:
    """Take back the block that is the tip of `state`.

    Raises:
        LocalFault: ``internal`` if block, undo data and state do not belong together.
    """
    if not state.tip_hash == block.hash == undo.block:
        raise LocalFault(
            Code.INTERNAL, "Undo data of another block", tip=state.tip_hash, block=block.hash, undo=undo.block
        )
    for member in undo.members_added:
        state.roster.forget(member)
    for record in undo.members_before:
        state.roster.put(record)
    state.market.put_back(undo.market_before)
    state.finality.put_back(undo.finality_before)
    state.governance.put_back(undo.governance_before)
    state.forget_ids(undo.height)
    state.remember_ids(_leaving_height(undo.height, parameters), tuple(undo.ids_pruned))
    state.height, state.tip_hash, state.time_ms = undo.height - 1, block.header.prev, undo.time_before_ms


def _leaving_height(height: int, parameters: Parameters) -> int:
    """Height whose transactions need not be remembered once the block at `height` stands.

    A transaction in block h expires at h + max_expiry_blocks at the latest, so from block h + max_expiry_blocks + 1 on
    it is refused as expired. That block is the first to be judged once h + max_expiry_blocks stands.
    """
    return height - parameters.max_expiry_blocks
