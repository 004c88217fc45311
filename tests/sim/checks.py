"""What must hold when a network has come to rest."""

from __future__ import annotations

from collections import Counter

from minervas_core.audit import ReplayedBlock, replay
from minervas_core.blocks import decode_block
from minervas_core.metering import Generation
from minervas_core.state import ChainState, StateSnapshot, undo_block
from tests.sim.network import Network
from tests.sim.node import Node
from tests.sim.watch import require


def check_end(network: Network) -> None:
    """All honest members agree, on what follows from genesis, and energy and money are conserved."""
    nodes = network.members
    first = nodes[0].chain.state.snapshot()
    for node in nodes[1:]:
        same = node.chain.state.snapshot() == first
        require(same, "different states at one tip", one=nodes[0].address, other=node.address)
    check_replay(nodes[0], first)
    for node in nodes:
        check_undo_to_genesis(node)
        for height, block_hash in network.watch.final.items():
            kept = node.chain.tree.main_at(height)
            require(kept is not None and kept.hash == block_hash, "final elsewhere, not here", node=node.address)


def check_replay(node: Node, snapshot: StateSnapshot) -> None:
    """The state is that of a replay, and so are the sums of statements and trades."""
    minted: Counter[str] = Counter()
    owned: Counter[str] = Counter()
    owed: Counter[str] = Counter()
    used: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    last: ReplayedBlock | None = None
    raws = [node.disk.blocks[each.hash].raw for each in node.chain.tip.blocks()][::-1]
    for last in replay(node.chain.genesis, raws):
        for transaction in last.block.transactions:
            ids[transaction.id] += 1
            if isinstance(transaction.body, Generation):
                energy_wh = transaction.body.end.register_wh - transaction.body.start.register_wh
                minted[transaction.id] += energy_wh
                owned[transaction.body.member] += energy_wh
        for retired in last.retirements:
            used.update({origin.statement: origin.energy_wh for origin in retired.origins})
            owned[retired.owner] -= retired.energy_wh
        for trade in last.trades:
            owed[f"{trade.buyer}/{trade.seller}"] += trade.energy_wh * trade.price_micro
            owned[trade.buyer] += trade.energy_wh
            owned[trade.seller] -= trade.energy_wh
    require(last is not None, "nothing was ever mined")
    if last is None:
        return
    require(last.state.snapshot() == snapshot, "another state than a replay's", node=node.address)
    require(not ids or max(ids.values()) == 1, "a transaction stands twice in the chain")
    check_sums(last.state, minted - used, owned, owed)


def check_sums(state: ChainState, minted: Counter[str], owned: Counter[str], owed: Counter[str]) -> None:
    """Unspent lots are what was stated less what was used; who owns them has bought them; debts are the trades."""
    by_origin: Counter[str] = Counter()
    by_owner: Counter[str] = Counter()
    for lot in [lot for _, lot in state.market.lots.items()]:
        by_origin.update({origin.statement: origin.energy_wh for origin in lot.origins})
        by_owner[lot.owner] += lot.energy_wh
    require(+by_origin == +minted, "lots are not what their statements minted")
    require(+by_owner == +owned, "members own other energy than they metered, bought and sold")
    debts = {pair: debt.amount_micro for pair, debt in state.market.obligations.items() if debt.amount_micro}
    require(debts == dict(+owed), "obligations are not the sum of trades")


def check_undo_to_genesis(node: Node) -> None:
    """Taking back every block with its stored undo data leads to the state before block 1."""
    genesis = node.chain.genesis
    layer = node.chain.state.scratch()
    for each in node.chain.tip.blocks():
        undo_block(
            layer, decode_block(node.disk.load_block(each.hash)), node.disk.load_undo(each.hash), genesis.parameters
        )
    require(layer.snapshot() == ChainState.fresh(genesis).snapshot(), "undoing all leaves something", node=node.address)
