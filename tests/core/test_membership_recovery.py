"""Recovery of a lost wallet: what waits, who objects, when it takes effect, and what else ends it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from minervas_core.errors import Code
from minervas_core.roster import MemberRecord
from minervas_core.transactions import Transaction
from tests.support.builders import MARKET, admit, bid, revoke, service_keys
from tests.support.market_line import MarketLine
from tests.support.membership import leave, recover, rotate, veto, wallet

WAIT_MS = 10_000
PARAMETERS = msgspec.structs.replace(MARKET, recovery_wait_ms=WAIT_MS)


@pytest.fixture
def line() -> MarketLine:
    """Members `a`, `b` and `c`, each with a meter; the tip is at height 2."""
    return MarketLine("a", "b", "c", parameters=PARAMETERS)


def record(line: MarketLine, member: str) -> MemberRecord:
    found = line.state.roster.get(member)
    assert found is not None
    return found


def test_a_recovery_takes_effect_with_the_first_block_whose_predecessor_is_late_enough(line: MarketLine) -> None:
    request = recover("a", "a2")
    line.add(request)
    since_ms = line.now_ms
    line.add(at_ms=since_ms + WAIT_MS - 1)
    line.add(bid("a", 50, 5), at_ms=since_ms + WAIT_MS)
    assert line.refused(bid("a", 51, 5)) == Code.MEMBER_UNKNOWN
    line.add(bid("a2", 52, 5))
    assert record(line, "a").keys == msgspec.structs.replace(service_keys("a"), wallet=wallet("a2").public)
    assert list(line.state.governance.recoveries.items()) == []
    assert {each.member for each in line.orders.values()} == {"a"}
    line.undo_all()


def test_the_wait_is_counted_from_the_block_that_carries_the_recovery(line: MarketLine) -> None:
    """Time that passed before it, in which nobody could object, does not count."""
    line.add(recover("a", "a2"), at_ms=line.now_ms + 5 * WAIT_MS)
    line.add()
    line.add()
    assert record(line, "a").keys.wallet == wallet("a").public
    pending = line.state.governance.recoveries.get("a")
    assert pending is not None
    assert pending.since_ms == line.blocks[-3][0].header.time_ms


def test_until_then_the_new_wallet_signs_nothing_and_the_old_one_everything(line: MarketLine) -> None:
    line.add(recover("a", "a2"))
    assert line.refused(bid("a2", 50, 5)) == Code.MEMBER_UNKNOWN
    line.add(bid("a", 50, 5))


def test_the_old_wallet_vetoes_a_recovery(line: MarketLine) -> None:
    request = recover("a", "a2")
    line.add(request, veto("a", request))
    assert list(line.state.governance.recoveries.items()) == []
    line.add(at_ms=line.now_ms + 2 * WAIT_MS)
    line.add()
    assert record(line, "a").keys == service_keys("a")
    assert line.refused(veto("a", request, salt="again")) == Code.RECOVERY_UNKNOWN
    line.undo_all()


def test_only_the_old_wallet_vetoes_and_only_the_recovery_that_waits(line: MarketLine) -> None:
    request = recover("a", "a2")
    line.add(request)
    assert line.refused(veto("b", request)) == Code.RECOVERY_UNKNOWN
    assert line.refused(veto("a2", request)) == Code.MEMBER_UNKNOWN
    assert line.refused(veto("a", "00" * 32)) == Code.RECOVERY_UNKNOWN


def test_a_veto_comes_too_late_when_the_recovery_has_taken_effect(line: MarketLine) -> None:
    request = recover("a", "a2")
    line.add(request)
    line.add(at_ms=line.now_ms + WAIT_MS)
    assert line.refused(veto("a", request)) == Code.MEMBER_UNKNOWN


def test_one_recovery_of_a_member_waits_at_a_time(line: MarketLine) -> None:
    request = recover("a", "a2")
    line.add(request)
    assert line.refused(recover("a", "a3")) == Code.RECOVERY_PENDING
    line.add(recover("b", "b2"))
    line.add(veto("a", request))
    line.add(recover("a", "a3"))


def test_the_wallet_of_a_recovery_is_the_members_come_what_may(line: MarketLine) -> None:
    request = recover("a", "a2")
    line.add(request)
    taken = msgspec.structs.replace(service_keys("x"), block=wallet("a2").public)
    assert line.refused(admit("x", expires=900, keys=taken)) == Code.KEY_REUSED
    assert line.refused(recover("b", "a2")) == Code.KEY_REUSED
    line.add(veto("a", request))
    assert line.refused(recover("a", "a2", salt="again")) == Code.KEY_REUSED
    assert line.refused(recover("a", "b")) == Code.KEY_REUSED


@pytest.mark.parametrize("end", [revoke, leave])
def test_a_recovery_ends_with_the_membership(line: MarketLine, end: Callable[..., Transaction]) -> None:
    request = recover("a", "a2")
    line.add(request)
    line.add(end("a", expires=900))
    line.add(at_ms=line.now_ms + 2 * WAIT_MS)
    line.add()
    assert record(line, "a").keys == service_keys("a")
    line.undo_all()


def test_a_rotation_of_the_wallet_ends_a_recovery_and_other_rotations_do_not(line: MarketLine) -> None:
    line.add(recover("a", "a2"))
    line.add(rotate("a", "a3", "box", "vote"))
    assert line.state.governance.recoveries.get("a") is not None
    line.add(rotate("a", "a3", "wallet"))
    assert line.state.governance.recoveries.get("a") is None
    line.add(at_ms=line.now_ms + 2 * WAIT_MS)
    line.add()
    assert record(line, "a").keys.wallet == wallet("a3").public


def test_a_recovered_wallet_can_be_rotated_and_recovered_again(line: MarketLine) -> None:
    line.add(recover("a", "a2"))
    line.add(at_ms=line.now_ms + WAIT_MS)
    line.add(rotate("a", "a3", "wallet", signer="a2"))
    line.add(recover("a", "a4"))
    line.add(at_ms=line.now_ms + WAIT_MS)
    line.add()
    assert record(line, "a").keys.wallet == wallet("a4").public
    assert line.refused(recover("a", "a2", salt="again")) == Code.KEY_REUSED
    line.undo_all()
