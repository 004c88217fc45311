"""Members that were cut off from each other agree on the chain with more work; nothing of the other one is lost."""

from __future__ import annotations

from minervas_devnet.node import Node
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import HANG_S, wait_until


def work(node: Node) -> int:
    """Cumulative work of a node's chain, in expected tries."""
    return node.ledger_metric("minervas_chain_work")


def members(node: Node) -> int:
    """How many are active members on a node's chain."""
    return node.ledger_metric("minervas_chain_active_members")


def reorganisations(node: Node) -> list[int]:
    """For each reorganisation since the ledger's start: how many transactions it gave back to the queue."""
    return [record["returned"] for record in node.services["ledger"].log_records("reorganised")]


def admitted_height(node: Node, member: str) -> int:
    """In which block a member was admitted on a node's chain; 0 if it was not."""
    return next((entry.admitted_height for entry in node.api.members().members if entry.member == member), 0)


def test_node_that_was_cut_off_reorganises_and_its_transactions_return(network: Network) -> None:
    alpha, beta, gamma = network.alpha, network.beta, network.gamma
    [delta] = network.consortium.add_nodes(["delta"])
    join = delta.join_process(network.consortium.admission.url, network.consortium.admission.fingerprint)
    join.start()
    network.consortium.wait_pending(delta)
    delta.stop_services()  # it is admitted, but takes no part: its transaction is what matters here
    network.sync_tips(alpha, beta, gamma)
    before_delta = members(alpha)

    network.split(beta, gamma)
    network.consortium.admission.command("approve", "--yes", "delta")
    assert join.wait_for_exit(timeout_s=HANG_S) == 0
    wait_until(lambda: admitted_height(alpha, "delta"), SYNC_TIMEOUT_S, network.consortium.describe_tips)
    alpha.services["miner"].stop()
    before = len(reorganisations(alpha))
    wait_until(lambda: work(beta) > work(alpha), SYNC_TIMEOUT_S, network.consortium.describe_tips)
    assert [members(node) - before_delta for node in (alpha, beta, gamma)] == [1, 0, 0]

    network.join(beta, gamma)
    wait_until(lambda: sum(reorganisations(alpha)[before:]) >= 1, SYNC_TIMEOUT_S, network.consortium.describe_tips)
    alpha.services["miner"].start()
    network.forget(delta)
    wait_until(lambda: all(admitted_height(node, "delta") for node in network.nodes), SYNC_TIMEOUT_S)
    network.goes_on()
    assert len({admitted_height(node, "delta") for node in network.nodes}) == 1
    network.audit_all()
