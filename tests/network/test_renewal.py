"""Certificates renew by themselves while everything goes on, and a node that was off for sixty days comes back."""

from __future__ import annotations

from functools import partial

from minervas_devnet.health import health, metric
from minervas_devnet.node import Node
from minervas_devnet.programs import run_program
from minervas_runtime.clock import SystemClock
from tests.support.aged_certificates import DAY_MS, age_certificates, serials
from tests.support.metering import (
    accepted,
    assert_nothing_lost_or_doubled,
    assert_one_market,
    wait_in_block,
    wait_lots,
    wait_minted,
)
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import wait_until

PRICE = 142_600


def certificate_states(node: Node) -> dict[str, str]:
    """What each service says of its certificate."""
    said = {name: health(port) for name, port in node.health_ports.items()}
    return {name: str(each.get("certificate", {}).get("state", "away")) for name, each in said.items()}


def all_renewed(node: Node, before: dict[str, str]) -> bool:
    """Whether all services that run have another certificate; a further gateway that was switched off asks for none."""
    now = serials(node)
    return all(now[service] != before[service] for service in node.services)


def wait_renewed(node: Node, before: dict[str, str]) -> None:
    """Wait until every service that runs has another certificate and uses it."""
    wait_until(
        partial(all_renewed, node, before), SYNC_TIMEOUT_S, lambda: f"{serials(node)} {certificate_states(node)}"
    )
    wait_until(
        lambda: set(certificate_states(node).values()) == {"valid"},
        SYNC_TIMEOUT_S,
        lambda: str(certificate_states(node)),
    )
    node.wait_ready()


def final_height(node: Node) -> int:
    """Height of a node's last final block: with three members it takes the votes of all."""
    return node.ledger_metric("minervas_finality_final_height")


def test_certificates_near_their_end_are_renewed_while_metering_and_trading_go_on(network: Network) -> None:
    seller, buyer = network.alpha, network.gamma
    [(lot, energy_wh)] = wait_lots(seller, energy_wh=40)
    before = age_certificates(network.consortium, seller, 29.9)
    orders = [accepted(seller.market.offer(PRICE, lots=(lot,)))]
    while not all_renewed(seller, before):  # the node trades all the time
        for trader in (seller, buyer):
            answer = trader.market.bid(10, 1)
            if answer.status != 503:  # in the moment of a reconnect the peer may miss its ledger's answer, and says so
                orders.append(accepted(answer))
        network.wait_blocks(1, buyer)
    wait_renewed(seller, before)
    height = network.height(seller)
    orders.append(accepted(buyer.market.bid(energy_wh, PRICE)))
    for order in orders:
        wait_in_block(network.nodes, order)
    wait_minted(seller, by=buyer)
    assert_nothing_lost_or_doubled(network.alpha, network.beta)
    wait_until(lambda: final_height(buyer) > height, SYNC_TIMEOUT_S, lambda: str(final_height(buyer)))
    assert_one_market(network)
    expires_ms = health(seller.health_ports["ledger"])["certificate"]["expires_ms"]
    assert expires_ms > SystemClock().now_ms() + 29 * DAY_MS
    name = 'minervas_certificate_expires_seconds{principal="alpha.miner"}'
    assert metric(seller.health_ports["miner"], name) * 1000 > expires_ms - DAY_MS
    status = run_program("minervas", "status", "--api", f"http://127.0.0.1:{seller.api_port}")
    assert "Certificates" in status
    assert "valid" in status


def test_a_node_that_was_off_for_sixty_days_gets_new_certificates_and_catches_up(network: Network) -> None:
    node = network.beta
    node.stop_services()
    before = age_certificates(network.consortium, node, 60)
    network.consortium.admission.command("reconcile")  # its clients on the broker are gone
    network.wait_blocks(3, network.alpha)
    node.start()
    for service in node.services.values():
        service.wait_for_event("waiting for a new certificate", timeout_s=SYNC_TIMEOUT_S)
    wait_renewed(node, before)
    network.sync_tips()
    wait_minted(node, by=network.gamma)
    assert_nothing_lost_or_doubled(node)


def test_renew_by_hand_replaces_all_certificates_of_a_node(network: Network) -> None:
    node = network.gamma
    before = serials(node)
    said = run_program(
        "minervas", "renew", "--force", "--api", f"http://127.0.0.1:{node.api_port}",
        "--token-file", node.directory / "peer" / "api.token",
    )  # fmt: skip
    assert all(service in said for service in node.services)
    wait_renewed(node, before)
    network.goes_on()
