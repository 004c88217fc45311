"""Bad statements, sent with a member's own gateway credentials, mint nothing on the running network."""

from __future__ import annotations

import secrets
from collections import Counter

from minervas_core.keys import SigningKey
from minervas_core.metering import RegisterPoint
from minervas_core.node_market_messages import ChannelRegisters
from minervas_devnet.node import Node
from minervas_devnet.options import GATEWAY
from tests.support.hostile_gateway import HostileGateway, gateway_in_wrong_hands, last_register, signed
from tests.support.metering import (
    assert_nothing_lost_or_doubled,
    assert_one_market,
    minted_wh,
    wait_minted,
)
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import wait_until

METER, CHANNEL = "east", "array"
DAY_MS = 86_400_000
RATED_WH_A_SECOND = 250
"""What 900 kW deliver in a second."""


def bad_statements(hostile: HostileGateway, registers: ChannelRegisters) -> list[tuple[str, bytes]]:
    """Statements that break one rule each, with the code of that rule."""
    last = last_register(registers, METER)
    now = RegisterPoint(time_ms=last.time_ms + 1_000, register_wh=last.register_wh + 1)
    stranger = SigningKey(secrets.token_bytes(32))

    def at(time_ms: int = 0, energy_wh: int = 0) -> RegisterPoint:
        """A point so far from where the channel stands."""
        return RegisterPoint(time_ms=last.time_ms + time_ms, register_wh=last.register_wh + energy_wh)

    def stated(start: RegisterPoint, end: RegisterPoint, key: SigningKey = hostile.key, **changes: object) -> bytes:
        fields = {"meter": METER, "channel": CHANNEL, **changes}
        return signed(hostile.statement(start, end, registers.tip_height, **fields), key)

    return [
        ("statement_rated_power", stated(at(), at(1_000, 10 * RATED_WH_A_SECOND))),
        ("statement_rated_power", stated(at(500), at(1_000, 10 * RATED_WH_A_SECOND), reset=True)),
        ("statement_overlap", stated(at(-1_000), now)),
        ("statement_gap", stated(at(500), now)),
        ("statement_gap", stated(at(0, 1), now)),
        ("statement_future", stated(at(), at(DAY_MS, 1))),
        ("statement_order", stated(now, at())),
        ("tx_wrong_sender", stated(at(), now, stranger, sender=stranger.public)),
        ("bad_signature", stated(at(), now, stranger)),
        ("tx_wrong_sender", stated(at(), now, member="beta", meter="roof")),
        ("meter_unknown", stated(at(), now, meter="roof")),
        ("channel_unknown", stated(at(), now, channel="dc")),
    ]


def settled_registers(network: Network, hostile: HostileGateway) -> ChannelRegisters:
    """Where the channels stand once the real gateway's last statements are in blocks."""
    seen: list[ChannelRegisters] = []

    def unchanged() -> bool:
        seen.append(hostile.registers())
        network.wait_blocks(3)
        network.sync_tips()
        return hostile.registers().channels == seen[-1].channels

    wait_until(unchanged, SYNC_TIMEOUT_S)
    return hostile.registers()


def refused(node: Node) -> Counter[str]:
    """What a node's ledger has refused since its start, by code."""
    ledger = node.api.status().ledger
    return Counter(ledger.refusals if ledger else {})


def test_bad_statements_of_a_members_own_gateway_are_refused_counted_and_mint_nothing(network: Network) -> None:
    alpha, beta, gamma = network.alpha, network.beta, network.gamma
    processes = [process for node in network.nodes for name, process in node.services.items() if name != GATEWAY]
    pids = [process.pid for process in processes]
    wait_minted(alpha, METER, by=gamma)
    with gateway_in_wrong_hands(alpha, network.network_id, network.consortium.broker.port) as hostile:
        registers = settled_registers(network, hostile)
        minted, counted = minted_wh(gamma, alpha.member), refused(alpha)
        bad = bad_statements(hostile, registers)
        results = hostile.hand_in([raw for _, raw in bad])
        assert [(each.status, each.code) for each in results] == [("refused", code) for code, _ in bad]
        assert refused(alpha) - counted >= Counter(code for code, _ in bad)
        assert not hostile.may_relay(bad[0][1])
        wait_minted(beta, by=gamma)
        network.goes_on(blocks=3)
        assert hostile.registers().channels == registers.channels
        assert [minted_wh(node, alpha.member) for node in network.nodes] == [minted] * len(network.nodes)
    wait_minted(alpha, METER, by=gamma)
    assert [process.pid for process in processes] == pids
    assert_nothing_lost_or_doubled(alpha, beta)
    assert_one_market(network)
    network.audit_all()
