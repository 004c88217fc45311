"""A running node replaces all its keys: each service takes its new one when the chain has it, and all goes on."""

from __future__ import annotations

from pathlib import Path

from minervas_core.keys import node_id
from minervas_devnet.node import Node
from minervas_devnet.processes import ManagedProcess, console_script
from tests.support.metering import (
    accepted,
    assert_nothing_lost_or_doubled,
    assert_one_market,
    wait_in_block,
    wait_minted,
)
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import wait_until

NAMES = ("wallet", "box", "block", "vote")
JOIN_TIMEOUT_S = 60.0


def chain_keys(observer: Node, member: str) -> dict[str, str]:
    """A member's keys as a node's chain has them, with those of its gateways."""
    [keys] = [each.keys for each in observer.api.members().members if each.member == member]
    return {**keys, **{f"meter {each.meter}": each.gateway for each in observer.market.meters(member)}}


def rotate(network: Network, node: Node, *names: str) -> None:
    """Let a node's operator ask for new keys, and the consortium's operator approve."""
    names_given = [f"--{name}" for name in names]
    command: list[str | Path] = [console_script("minervas"), "--api", node.api.url]
    command += ["--token-file", node.market.token_file, "keys", "rotate", "--node", node.directory, *names_given]
    log_file = network.consortium.directory / "logs" / f"{node.name}.rotate.log"
    asking = ManagedProcess(f"{node.name}.rotate", command, log_file)
    asking.start()
    try:
        fingerprint = network.consortium.wait_pending(node)[node.member]
        assert fingerprint in asking.output()
        network.consortium.admission.command("approve", "--yes", node.member)
        assert asking.wait_for_exit(timeout_s=JOIN_TIMEOUT_S) == 0, asking.output()
    finally:
        asking.stop()


def test_a_node_goes_over_to_new_keys_when_the_chain_has_them_and_keeps_them(network: Network) -> None:
    node, observer = network.alpha, network.gamma
    before = chain_keys(observer, node.member)
    rotate(network, node, *NAMES, "gateway")

    def is_rotated(on: Node) -> bool:
        now = chain_keys(on, node.member)
        return all(now[name] != key for name, key in before.items())

    wait_until(lambda: all(is_rotated(each) for each in network.nodes), SYNC_TIMEOUT_S)
    wait_until(lambda: node.api.status().node_id == node_id(chain_keys(observer, node.member)["wallet"]))
    after = chain_keys(observer, node.member)
    _assert_all_services_work(network, node, observer)

    node.stop_services()
    node.start()
    node.wait_ready()
    network.sync_tips()
    _assert_all_services_work(network, node, observer)
    assert chain_keys(observer, node.member) == after
    assert_nothing_lost_or_doubled(node)
    assert_one_market(network)
    network.audit_all()


def _assert_all_services_work(network: Network, node: Node, observer: Node) -> None:
    wait_in_block([observer], accepted(node.market.bid(10, 1)))  # the wallet
    height = network.height(observer)
    wait_until(lambda: _mined_above(observer, node.member, height), SYNC_TIMEOUT_S)  # the block key
    voted = _voted(observer, node.member)
    wait_until(lambda: _voted(observer, node.member) > voted, SYNC_TIMEOUT_S)  # the vote key
    wait_minted(node, by=observer)  # the gateway key


def _mined_above(observer: Node, member: str, height: int) -> bool:
    return any(each.header.miner == member and each.header.height > height for each in observer.api.blocks())


def _voted(observer: Node, member: str) -> int:
    """Height of the newest block that became final with this member's vote: with three members each is needed."""
    ledger = observer.api.status().ledger
    return ledger.final.height if ledger is not None and member not in ledger.missing_voters else 0
