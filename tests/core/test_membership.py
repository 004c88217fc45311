"""Membership: suspension, leaving and rotation, and what they mean for keys, orders, lots and votes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from minervas_core.encoding import decode_untyped, encode_untyped
from minervas_core.errors import Code, InvalidEncoding, InvalidTransaction
from minervas_core.finality.rules import has_vote
from minervas_core.governance.key_owners import owner_of_key
from minervas_core.roster import MemberRecord
from minervas_core.rules import claims_of
from minervas_core.signature_cache import SignatureCache
from minervas_core.transactions import MeterKey, NewKeys, Recover, Rotate, Transaction, decode_transaction
from tests.support.builders import (
    AUTHORITY,
    MARKET,
    LocalChain,
    admit,
    array,
    bid,
    cancel,
    gateway_key,
    make_genesis,
    membership,
    mine_block,
    offer,
    register_meter,
    revoke,
    service_keys,
    signing_key,
    statement,
)
from tests.support.market_line import MarketLine
from tests.support.membership import consent, leave, recover, resume, rotate, suspend, veto, wallet


@pytest.fixture
def line() -> MarketLine:
    """Members `a`, `b` and `c`, each with a meter; the tip is at height 2."""
    return MarketLine("a", "b", "c")


def record(line: MarketLine, member: str) -> MemberRecord:
    found = line.state.roster.get(member)
    assert found is not None
    return found


def refused_alone(transaction: Transaction) -> Code:
    with pytest.raises(InvalidTransaction) as caught:
        SignatureCache(make_genesis(MARKET)).check(transaction)
    return caught.value.code


# suspension


def test_a_suspended_member_has_no_vote_but_trades_and_is_active(line: MarketLine) -> None:
    lot = line.mint("a", 100)[0]
    line.add(suspend("a"), bid("b", 100, 5))
    assert not has_vote(record(line, "a"))
    assert record(line, "a").suspended_height == line.state.height
    assert line.state.roster.active("a") is not None
    line.add(offer("a", [lot], 5))
    assert line.owned_wh("b") == 100


def test_a_resumed_member_has_its_vote_again(line: MarketLine) -> None:
    before = record(line, "a")
    line.add(suspend("a"))
    line.add(resume("a"))
    assert has_vote(record(line, "a"))
    assert record(line, "a") == before


def test_a_suspended_member_is_missing_among_the_voters_from_the_next_checkpoint_on(line: MarketLine) -> None:
    line.add(suspend("a"))
    line.add()
    checkpoint = line.state.finality.checkpoint(4)
    assert checkpoint is not None
    assert checkpoint.members == ["b", "c"]


def test_a_member_is_suspended_once_and_resumed_once(line: MarketLine) -> None:
    assert line.refused(resume("a")) == Code.MEMBER_NOT_SUSPENDED
    line.add(suspend("a"))
    assert line.refused(suspend("a", salt="again")) == Code.MEMBER_SUSPENDED


# the end of a membership


@pytest.mark.parametrize(("end", "status"), [(revoke, "revoked"), (leave, "left")])
def test_the_end_closes_the_orders_in_that_block_and_freezes_the_lots(
    line: MarketLine, end: Callable[..., Transaction], status: str
) -> None:
    lots = line.mint("a", 100, 50)
    line.add(offer("a", [lots[0]], 5), bid("a", 70, 1), bid("b", 40, 5))
    owed, owned = line.owed_micro("b", "a"), line.owned_wh("a")
    assert owed == 200
    line.add(end("a", expires=900))
    assert (record(line, "a").status, record(line, "a").ended_height) == (status, line.state.height)
    assert line.orders == {}
    assert (line.owed_micro("b", "a"), line.owned_wh("a")) == (owed, owned)  # bills stay, and the lots stay its own
    assert not has_vote(record(line, "a"))
    assert line.state.roster.active_count == 2
    for late in (
        offer("a", [lots[1]], 5, salt="late"),
        bid("a", 50, 5, salt="late"),
        statement("a", (line.now_ms, 900), (line.now_ms + 10, 900)),
        register_meter("a", array("barn")),
    ):
        assert line.refused(late, at_ms=line.now_ms + 1_000) == Code.MEMBER_UNKNOWN
    line.undo_all()


@pytest.mark.parametrize(("end", "code"), [(revoke, Code.MEMBER_REVOKED), (leave, Code.MEMBER_LEFT)])
@pytest.mark.parametrize("change", [suspend, resume, leave, revoke])
def test_nothing_happens_to_a_member_whose_membership_has_ended(
    line: MarketLine, end: Callable[..., Transaction], code: Code, change: Callable[..., Transaction]
) -> None:
    line.add(end("a", expires=900))
    assert line.refused(change("a", expires=900, salt="late")) == code
    assert line.refused(rotate("a", "a2", "box")) == code
    assert line.refused(recover("a", "a2")) == code
    assert line.refused(admit("a", expires=900, keys=service_keys("a2"))) == Code.MEMBER_EXISTS


@pytest.mark.parametrize("change", [suspend, resume, leave, revoke])
def test_nothing_happens_to_a_stranger(line: MarketLine, change: Callable[..., Transaction]) -> None:
    assert line.refused(change("x", expires=900)) == Code.MEMBER_UNKNOWN
    assert line.refused(rotate("x", "a2", "box")) == Code.MEMBER_UNKNOWN
    assert line.refused(recover("x", "a2")) == Code.MEMBER_UNKNOWN


# rotation


@pytest.mark.parametrize("service", ["wallet", "box", "block", "vote"])
def test_a_rotation_replaces_just_the_keys_that_it_names(line: MarketLine, service: str) -> None:
    before = service_keys("a")
    line.add(rotate("a", "a2", service))
    assert record(line, "a").keys == msgspec.structs.replace(before, **{service: getattr(service_keys("a2"), service)})
    assert owner_of_key(line.state, getattr(before, service)) == "a"
    line.undo()
    assert owner_of_key(line.state, getattr(service_keys("a2"), service)) is None


def test_the_new_wallet_signs_from_that_block_on_and_the_old_one_no_longer(line: MarketLine) -> None:
    assert line.refused(rotate("a", "a2", "wallet"), bid("a", 50, 5)) == Code.MEMBER_UNKNOWN
    order = bid("a", 60, 5)
    line.add(order)
    line.add(rotate("a", "a2", "wallet"), bid("a2", 50, 5))
    assert {each.member for each in line.orders.values()} == {"a"}
    assert line.refused(cancel("a", order.id)) == Code.MEMBER_UNKNOWN
    line.add(cancel("a2", order.id))
    assert len(line.orders) == 1


@pytest.mark.parametrize("service", ["wallet", "box", "block", "vote"])
def test_a_key_is_never_registered_again(line: MarketLine, service: str) -> None:
    line.add(rotate("a", "a2", service))
    line.add(rotate("a", "a3", service, signer="a2"))
    for member, signer in (("a", "a3"), ("b", "b")):
        for used in ("a", "a2", "c"):
            again = rotate(member, used, service, signer=signer, salt="again")
            assert line.refused(again) == Code.KEY_REUSED
    keys = msgspec.structs.replace(service_keys("new"), **{service: getattr(service_keys("a"), service)})
    assert line.refused(admit("new", expires=900, keys=keys)) == Code.KEY_REUSED


def test_a_new_wallet_needs_the_consent_of_the_old_one(line: MarketLine) -> None:
    assert line.refused(rotate("a", "a2", "wallet", signer="b")) == Code.BAD_CONSENT
    assert line.refused(rotate("a", "a2", "wallet", signer="a2")) == Code.BAD_CONSENT


def test_a_consent_is_for_one_wallet_one_member_and_one_expiry(line: MarketLine) -> None:
    for given in (consent("a", "a3"), consent("b", "a2", signer="a"), consent("a", "a2", expires=899)):
        change = Rotate(member="a", keys=NewKeys(wallet=wallet("a2").public), meters=[], consent=given)
        assert line.refused(membership(change, expires=900)) == Code.BAD_CONSENT


def test_a_gateway_key_is_replaced_for_the_meters_that_the_rotation_names(line: MarketLine) -> None:
    line.add(register_meter("a", array("barn")))
    line.add(rotate("a", "a2", meters={"roof": "a2"}))
    start, end = (line.now_ms, 0), (line.now_ms + 10, 5)
    later = line.now_ms + 1_000
    assert line.refused(statement("a", start, end), at_ms=later) == Code.TX_WRONG_SENDER
    line.add(
        statement("a", start, end, key=gateway_key("a2")),
        statement("a", start, end, meter="barn"),
        at_ms=later,
    )
    assert line.owned_wh("a") == 10


def test_a_gateway_key_in_use_serves_other_meters_of_its_member_but_a_used_one_never_again(line: MarketLine) -> None:
    line.add(register_meter("a", array("barn")))
    line.add(rotate("a", "a2", meters={"roof": "a2"}))
    line.add(rotate("a", "a2", meters={"barn": "a2"}))
    assert line.refused(rotate("a", "a2", meters={"roof": "a"})) == Code.KEY_REUSED
    assert line.refused(register_meter("a", array("shed"))) == Code.KEY_REUSED
    assert line.refused(register_meter("b", array("shed"), gateway=gateway_key("a").public)) == Code.KEY_REUSED
    line.add(register_meter("a", array("shed"), gateway=gateway_key("a2").public))


def test_a_gateway_key_is_not_replaced_by_itself_nor_by_a_key_of_anything_else(line: MarketLine) -> None:
    assert line.refused(rotate("a", "a2", meters={"roof": "a"})) == Code.KEY_REUSED
    assert line.refused(rotate("a", "a2", meters={"roof": "b"})) == Code.KEY_REUSED
    assert line.refused(rotate("a", "a2", meters={"shed": "a2"})) == Code.METER_UNKNOWN
    line.add(rotate("a", "a2", "vote"))
    serving = Rotate(member="a", keys=NewKeys(), meters=[MeterKey(meter="roof", gateway=service_keys("a2").vote)])
    assert line.refused(membership(serving, expires=900)) == Code.KEY_REUSED


def test_the_keys_of_a_rotation_differ_from_each_other_and_from_the_authority() -> None:
    keys = service_keys("a2")
    twice = Rotate(member="a", keys=NewKeys(block=keys.block, vote=keys.block), meters=[])
    assert refused_alone(membership(twice, expires=900)) == Code.KEY_REUSED
    authority = Rotate(member="a", keys=NewKeys(vote=AUTHORITY.public), meters=[])
    assert refused_alone(membership(authority, expires=900)) == Code.KEY_REUSED
    assert refused_alone(membership(Recover(member="a", wallet=AUTHORITY.public), expires=900)) == Code.KEY_REUSED


@pytest.mark.parametrize("service", ["wallet", "block", "vote"])
def test_the_keys_of_a_rotation_must_be_usable(service: str) -> None:
    form = decode_untyped(rotate("a", "a2", service).raw, max_bytes=10_000)
    form["body"]["change"]["keys"][service] = "00" * 32
    assert refused_alone(decode_transaction(encode_untyped(form))) == Code.BAD_KEY


def test_a_member_does_not_rotate_its_keys_alone(line: MarketLine) -> None:
    change = Rotate(member="a", keys=NewKeys(vote=service_keys("a2").vote), meters=[])
    assert line.refused(membership(change, expires=900, key=signing_key("a.peer"))) == Code.TX_WRONG_SENDER


def _without_keys(change: dict[str, Any]) -> None:
    change["keys"] = {}
    del change["consent"]


def _without_consent(change: dict[str, Any]) -> None:
    del change["consent"]


def _consent_for_nothing(change: dict[str, Any]) -> None:
    change["keys"] = {"vote": service_keys("a2").vote}


def _meter_twice(change: dict[str, Any]) -> None:
    change["meters"] = [{"gateway": "aa" * 32, "meter": "roof"}, {"gateway": "bb" * 32, "meter": "roof"}]


@pytest.mark.parametrize("spoil", [_without_keys, _without_consent, _consent_for_nothing, _meter_twice])
def test_a_rotation_of_an_impossible_form_is_no_transaction(spoil: Callable[[dict[str, Any]], None]) -> None:
    form = decode_untyped(rotate("a", "a2", "wallet").raw, max_bytes=10_000)
    spoil(form["body"]["change"])
    with pytest.raises(InvalidEncoding) as caught:
        decode_transaction(encode_untyped(form))
    assert caught.value.code == Code.WRONG_SHAPE


# the queue's view


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (suspend("a"), suspend("a", salt="2")),
        (leave("a"), revoke("a")),
        (rotate("a", "a2", "vote"), rotate("b", "a2", "vote")),
        (recover("a", "a2"), recover("a", "a3")),
        (recover("a", "a2"), rotate("b", "a2", "wallet")),
        (veto("a", "00" * 32), veto("a", "00" * 32, salt="2")),
    ],
)
def test_two_changes_that_cannot_both_apply_share_a_claim(first: Transaction, second: Transaction) -> None:
    assert set(claims_of(first)) & set(claims_of(second))


def test_the_new_block_key_signs_the_very_block_that_carries_the_rotation() -> None:
    local = LocalChain(MARKET)
    local.found("a", "b")
    change = rotate("a", "a2", "block")
    old = local.receive(mine_block(local.tip, [change], "a", local.genesis, signer="a"))
    assert old.error is not None
    assert old.error.code == Code.BLOCK_SIGNATURE
    assert local.receive(mine_block(local.tip, [change], "a", local.genesis, signer="a2")).status == "connected"
