"""Energy from simulated Modbus frames to lots on every node, and what may be away meanwhile without a sample lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from threading import Event

import pytest

from minervas_devnet.health import is_status
from minervas_devnet.node import Node
from minervas_devnet.options import GATEWAY
from minervas_devnet.processes import ManagedProcess
from minervas_devnet.simulated_bus.control import Silence, Vanish
from minervas_devnet.simulated_meters import BUS
from minervas_devnet.stored_metering import StoredMetering
from tests.support.metering import (
    STORED_TIMEOUT_S,
    account,
    assert_given_is_stored,
    assert_nothing_lost_or_doubled,
    assert_one_market,
    gateway_status,
    given,
    meters_of,
    minted_wh,
    unstored,
    wait_minted,
    wait_samples,
)
from tests.support.network import SITES, Network
from tests.support.seed import seeded_random
from tests.support.wait import HANG_S, wait_until

WHILE = 12
"""Samples that wait in the spool before what is away comes back: longer than a slot."""
A_MINUTE = 130
"""As many as beta's meter gives in a bit more than a minute."""
TEN_MINUTES = 1_200
"""As many as it gives in ten minutes."""

KILLS = 3
SOAK_KILLS = 200
MOMENT_S = 1.5
"""A process is killed after up to so long, counted from its start or from when it worked."""
EARLY = 0.2
"""Share of kills while it starts."""

Break = Callable[[Network, Node], None]


def test_what_meters_show_becomes_lots_that_all_nodes_have(network: Network) -> None:
    for node in (network.alpha, network.beta):
        wait_minted(node, by=network.gamma)
    assert_nothing_lost_or_doubled(*network.metered)
    assert_one_market(network)
    for node in (network.alpha, network.beta):
        spans = StoredMetering(node.member, node.database).spans()
        shown = meters_of(node).registers_wh()
        for key in (each.key for each in SITES[node.member].channels):  # others were added by other tests
            span = spans[key]
            assert 0 < span.stated_wh <= shown[key] - span.first_wh
    network.audit_all()


def cut_gateway(network: Network, node: Node) -> None:
    node.cut(GATEWAY)


def stop_ledger(network: Network, node: Node) -> None:
    node.services["ledger"].stop()


def kill_ledger(network: Network, node: Node) -> None:
    node.services["ledger"].kill()


def take_database_away(network: Network, node: Node) -> None:
    node.cut("database")


def kill_broker(network: Network, node: Node) -> None:
    network.consortium.broker.kill()


OUTAGES: list[Break] = [cut_gateway, stop_ledger, kill_ledger, take_database_away, kill_broker]


@pytest.mark.parametrize("breaks", OUTAGES)
def test_while_the_ledger_cannot_be_reached_no_sample_is_lost_or_doubled(network: Network, breaks: Break) -> None:
    outage(network, breaks, WHILE)


@pytest.mark.soak
@pytest.mark.parametrize("breaks", OUTAGES)
def test_after_a_minute_without_the_ledger_no_sample_is_lost_or_doubled(network: Network, breaks: Break) -> None:
    outage(network, breaks, A_MINUTE)


@pytest.mark.soak
@pytest.mark.parametrize("breaks", [kill_ledger, kill_broker])
def test_after_ten_minutes_without_the_ledger_no_sample_is_lost_or_doubled(network: Network, breaks: Break) -> None:
    outage(network, breaks, TEN_MINUTES)


def outage(network: Network, breaks: Break, samples: int) -> None:
    """Break something until that many of beta's samples wait; then all are in both databases, once, and minted."""
    node = network.beta
    before = account(node)
    breaks(network, node)
    wait_until(lambda: unstored(node) >= samples, HANG_S + samples, lambda: str(gateway_status(node)))
    network.heal()
    assert_given_is_stored(network, node, before)
    wait_minted(node, by=network.gamma)
    assert_nothing_lost_or_doubled(*network.metered)
    assert_one_market(network)


def test_what_the_operators_ledger_missed_it_fetches_from_the_members(network: Network) -> None:
    operator_misses(network, WHILE)


@pytest.mark.soak
def test_ten_minutes_without_the_operators_ledger_leave_no_gap_in_it(network: Network) -> None:
    operator_misses(network, TEN_MINUTES)


def operator_misses(network: Network, samples: int) -> None:
    """While the operator's ledger (alpha's) is away, beta's has its samples and its gateway forgets them."""
    operator, member = network.alpha, network.beta
    before = account(member)
    operator.services["ledger"].stop()
    wait_samples(member, samples, timeout_s=STORED_TIMEOUT_S + 2 * samples)
    wait_until(lambda: unstored(member) <= 3, 60, lambda: str(gateway_status(member)))
    network.heal()
    assert_given_is_stored(network, member, before)


@pytest.mark.parametrize("kills", [KILLS, pytest.param(SOAK_KILLS, marks=pytest.mark.soak)])
def test_gateway_that_is_killed_at_any_moment_goes_on_where_it_was(network: Network, kills: int) -> None:
    node, choose = network.beta, seeded_random("gateway kills")
    before = account(node)
    for _ in range(kills):
        known = given(node) if is_status(node.health_ports[GATEWAY], "ok") else before.samples
        killed_at_any_moment(node.services[GATEWAY], choose, lambda: given(node) > known + 1)  # noqa: B023 - now
    node.wait_ready()
    wait_minted(node, by=network.gamma)
    assert_given_is_stored(network, node, before, kills=kills)
    assert_one_market(network)


@pytest.mark.soak
def test_ledgers_that_are_killed_at_any_moment_store_every_sample_once(network: Network) -> None:
    """The member's and the operator's, in any order."""
    node, choose = network.beta, seeded_random("ledger kills")
    before = account(node)
    for _ in range(SOAK_KILLS // 2):
        one = choose.choice(network.metered)
        killed_at_any_moment(one.services["ledger"], choose, lambda: one.tip() is not None)  # noqa: B023 - now
    network.heal()
    assert_given_is_stored(network, node, before)
    wait_minted(node, by=network.gamma)
    assert_nothing_lost_or_doubled(*network.metered)
    assert_one_market(network)
    network.audit_all()


def killed_at_any_moment(process: ManagedProcess, choose: random.Random, works: Callable[[], object]) -> None:
    """Kill a process as a crash would, mostly somewhere in the middle of its work, and start it again."""
    if choose.random() > EARLY:
        wait_until(works, HANG_S)
    Event().wait(choose.random() * MOMENT_S)
    assert process.pid is not None, "it ended by itself"
    process.kill()
    process.start()


def test_vanished_adapter_is_marked_and_found_again(network: Network) -> None:
    node, meters = network.beta, meters_of(network.beta)
    stored = StoredMetering(node.member, node.database)
    before = stored.channels()["roof", "array"]
    meters.give(Vanish(bus=BUS))
    wait_until(lambda: gateway_status(node)["ports"][BUS]["lost"], HANG_S)

    def marked() -> int:
        return stored.channels()["roof", "array"].missing.get("port", 0) - before.missing.get("port", 0)

    wait_until(lambda: marked() >= 3, HANG_S)
    metered_wh = minted_wh(network.gamma, node.member)
    meters.repair()
    wait_until(lambda: not gateway_status(node)["ports"][BUS]["lost"], HANG_S)
    measured = stored.channels()["roof", "array"].measured
    wait_until(lambda: stored.channels()["roof", "array"].measured > measured, HANG_S)
    wait_until(lambda: minted_wh(network.gamma, node.member) > metered_wh, HANG_S)  # registers went on meanwhile
    assert_nothing_lost_or_doubled(node)


def test_dead_meter_is_marked_and_the_other_channel_goes_on(network: Network) -> None:
    node, meters = network.alpha, meters_of(network.alpha)
    stored = StoredMetering(node.member, node.database)
    timeouts = stored.channels()["east", "array"].missing.get("timeout", 0)
    meters.give(Silence(bus=BUS, address=1))
    wait_until(lambda: stored.channels()["east", "array"].missing.get("timeout", 0) >= timeouts + 3, HANG_S)
    wait_minted(node, "west", by=network.gamma)
    meters.repair()
    wait_minted(node, "east", by=network.gamma)
    assert_nothing_lost_or_doubled(node)
    assert_one_market(network)
