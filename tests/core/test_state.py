"""The state after a block: applied, undone, stored and restored exactly (minervas_core.state)."""

from __future__ import annotations

import pytest

from minervas_core.blocks import Block
from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, InvalidTransaction, LocalFault
from minervas_core.state import BlockUndo, ChainState, apply_block, undo_block
from minervas_core.transactions import Transaction
from minervas_core.tree import BlockTree, HeaderNode
from tests.support.builders import TINY, admit, make_genesis, mine_block, revoke

GENESIS = make_genesis()
WINDOW = TINY.max_expiry_blocks


class Line:
    """A state and the blocks under it, without the rules about headers and miners."""

    def __init__(self) -> None:
        self.state = ChainState.fresh(GENESIS)
        self.nodes = [BlockTree(GENESIS).root]
        self.blocks: list[tuple[Block, BlockUndo]] = []

    def add(self, *transactions: Transaction) -> BlockUndo:
        parent = self.nodes[-1]
        block = mine_block(parent, transactions, "m", GENESIS)
        layer = self.state.scratch()
        undo = apply_block(layer, block, GENESIS).undo
        layer.commit()
        self.nodes.append(HeaderNode(block.hash, block.header, parent, parent.work + block.header.difficulty))
        self.blocks.append((block, undo))
        return undo

    def undo(self) -> None:
        block, undo = self.blocks.pop()
        self.nodes.pop()
        undo_block(self.state, block, undo, TINY)


def test_a_block_moves_the_state_to_its_height_and_hash() -> None:
    line = Line()
    line.add(admit("a"))
    assert (line.state.height, line.state.tip_hash) == (1, line.nodes[-1].hash)
    member = line.state.roster.get("a")
    assert member is not None
    assert (member.admitted_height, member.ended_height, member.admitted_by) == (1, 0, admit("a").id)


def test_a_revocation_is_recorded_at_its_height() -> None:
    line = Line()
    line.add(admit("a"))
    line.add(revoke("a"))
    member = line.state.roster.get("a")
    assert member is not None
    assert (member.status, member.admitted_height, member.ended_height) == ("revoked", 1, 2)


def test_undo_restores_every_state_on_the_way_back() -> None:
    line = Line()
    snapshots = [line.state.snapshot()]
    plan = [
        [admit("a"), admit("b")],
        [],
        [revoke("a", expires=9), admit("c")],
        *[[]] * WINDOW,
        [admit("d", expires=15)],
    ]
    for transactions in plan:
        line.add(*transactions)
        snapshots.append(line.state.snapshot())
    for expected in snapshots[-2::-1]:
        line.undo()
        assert line.state.snapshot() == expected


def test_a_member_admitted_and_revoked_in_one_block_is_undone_completely() -> None:
    # Within a block the id decides the order, so take a revocation that comes after its admission.
    admission = admit("a")
    revocation = next(made for made in (revoke("a", salt=str(n)) for n in range(50)) if made.id > admission.id)
    line = Line()
    undo = line.add(admission, revocation)
    assert (undo.members_added, undo.members_before) == (["a"], [])
    line.undo()
    assert line.state.snapshot() == ChainState.fresh(GENESIS).snapshot()


def test_undo_data_survive_their_canonical_bytes() -> None:
    line = Line()
    line.add(admit("a"))
    undo = line.add(revoke("a"), admit("b"))
    assert [record.member for record in undo.members_before] == ["a"]
    assert decode(encode(undo), BlockUndo, max_bytes=100_000) == undo


def test_undo_data_of_another_block_are_refused_and_change_nothing() -> None:
    line = Line()
    first = line.add(admit("a"))
    line.add(admit("b"))
    before = line.state.snapshot()
    with pytest.raises(LocalFault) as caught:
        undo_block(line.state, line.blocks[-1][0], first, TINY)
    assert caught.value.code == Code.INTERNAL
    with pytest.raises(LocalFault):
        undo_block(line.state, *line.blocks[0], TINY)
    assert line.state.snapshot() == before


def test_transaction_ids_are_remembered_for_as_long_as_they_could_come_again() -> None:
    line = Line()
    transaction = admit("a", expires=1 + WINDOW)
    line.add(transaction)
    for _ in range(WINDOW - 1):
        line.add()
    # The last block that could carry it by its expiry is the next one: it is still known.
    assert line.state.height + 1 == transaction.body.expires_height
    with pytest.raises(InvalidTransaction) as caught:
        line.add(transaction)
    assert caught.value.code == Code.TX_DUPLICATE
    undo = line.add()
    assert undo.ids_pruned == [transaction.id]
    assert line.state.recent_ids == {}
    with pytest.raises(InvalidTransaction) as caught:
        line.add(transaction)
    assert caught.value.code == Code.TX_EXPIRED


def test_a_restored_state_equals_the_stored_one_and_prunes_like_it() -> None:
    line, other = Line(), Line()
    line.add(admit("a"), admit("b"))
    line.add(revoke("a"), admit("c"))
    state = line.state
    shuffled = dict(sorted(state.recent_ids.items(), reverse=True))
    restored = ChainState.restore(
        state.height,
        state.tip_hash,
        state.time_ms,
        members=state.roster.members(),
        recent_ids=shuffled,
        market=state.market.rows(),
        finality=state.finality.rows(),
        governance=state.governance.rows(),
    )
    assert restored.snapshot() == state.snapshot()
    other.state, other.nodes, other.blocks = restored, list(line.nodes), list(line.blocks)
    for _ in range(WINDOW):
        assert other.add() == line.add()
        assert other.state.snapshot() == line.state.snapshot()
    for _ in range(WINDOW + 1):
        line.undo()
        other.undo()
    assert other.state.snapshot() == line.state.snapshot()


def test_a_scratch_state_leaves_the_state_alone_until_committed() -> None:
    line = Line()
    line.add(admit("a"))
    before = line.state.snapshot()
    layer = line.state.scratch()
    apply_block(layer, mine_block(line.nodes[-1], [revoke("a"), admit("b")], "m", GENESIS), GENESIS)
    assert line.state.snapshot() == before
    after = layer.snapshot()
    layer.commit()
    assert line.state.snapshot() == after
    with pytest.raises(ValueError, match="over nothing"):
        line.state.commit()
