"""Registering meters: every rule accepted and refused (minervas_core.market.meters)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.errors import Code, InvalidTransaction
from minervas_core.market.records import Channel
from minervas_core.rules import claims_of
from minervas_core.signature_cache import SignatureCache
from tests.support.builders import (
    AUTHORITY,
    GENESIS_TIME_MS,
    admit,
    array,
    gateway_key,
    register_meter,
    revoke,
    service_keys,
    signing_key,
    statement,
)
from tests.support.market_line import MarketLine


@pytest.fixture
def line() -> MarketLine:
    """`a` and `b`, with a meter each."""
    return MarketLine("a", "b")


def test_a_meter_is_registered_with_its_channels_and_the_time_of_the_block_before(line: MarketLine) -> None:
    before_ms = line.state.time_ms
    line.add(register_meter("a", array("barn", rated_w=250, step_wh=10)))
    meter = line.state.market.meters.get("a/barn")
    assert meter is not None
    assert (meter.member, meter.meter, meter.gateway) == ("a", "barn", gateway_key("a").public)
    assert (meter.channels, meter.register_step_wh) == ([Channel(name="dc", rated_w=250)], 10)
    assert meter.registered_ms == before_ms == GENESIS_TIME_MS + 2_000
    line.undo_all()


def test_one_gateway_may_have_several_meters_and_a_member_several_gateways(line: MarketLine) -> None:
    other = signing_key("a second gateway").public
    line.add(register_meter("a", array("barn")), register_meter("a", array("shed"), gateway=other))
    assert line.state.market.owner_of_gateway(gateway_key("a").public) == "a"
    assert line.state.market.owner_of_gateway(other) == "a"
    line.undo()
    assert line.state.market.owner_of_gateway(gateway_key("a").public) == "a"
    assert line.state.market.owner_of_gateway(other) is None


def test_two_members_may_give_their_meters_the_same_id(line: MarketLine) -> None:
    assert {key for key, _ in line.state.market.meters.items()} == {"a/roof", "b/roof"}


def test_a_meter_id_is_registered_once(line: MarketLine) -> None:
    assert line.refused(register_meter("a", salt="again")) == Code.METER_EXISTS
    assert line.refused(register_meter("a", array("x"), salt="1"), register_meter("a", array("x"), salt="2")) == (
        Code.METER_EXISTS
    )


def test_only_active_members_have_meters_registered(line: MarketLine) -> None:
    assert line.refused(register_meter("nobody")) == Code.MEMBER_UNKNOWN
    line.add(revoke("b", expires=900))
    assert line.refused(register_meter("b", array("barn"))) == Code.MEMBER_UNKNOWN


def test_two_channels_do_not_share_a_name(line: MarketLine) -> None:
    twins = msgspec.structs.replace(
        array("barn"), channels=[Channel(name="x", rated_w=1), Channel(name="x", rated_w=2)]
    )
    assert line.refused(register_meter("a", twins)) == Code.CHANNEL_TWICE


@pytest.mark.parametrize("service", ["wallet", "block", "vote"])
@pytest.mark.parametrize("owner", ["a", "b", "gone"])
def test_no_key_of_a_member_becomes_a_gateway_key(line: MarketLine, owner: str, service: str) -> None:
    line.add(admit("gone", expires=900))
    line.add(revoke("gone", expires=900))
    key = getattr(service_keys(owner), service)
    assert line.refused(register_meter("a", array("barn"), gateway=key)) == Code.KEY_REUSED


def test_no_gateway_key_serves_two_members_even_after_a_revocation(line: MarketLine) -> None:
    stolen = register_meter("a", array("barn"), gateway=gateway_key("b").public)
    assert line.refused(stolen) == Code.KEY_REUSED
    line.add(revoke("b", expires=900))
    assert line.refused(stolen) == Code.KEY_REUSED


@pytest.mark.parametrize("service", ["wallet", "block", "vote"])
def test_no_gateway_key_becomes_a_key_of_a_member(line: MarketLine, service: str) -> None:
    keys = msgspec.structs.replace(service_keys("c"), **{service: gateway_key("b").public})
    assert line.refused(admit("c", expires=900, keys=keys)) == Code.KEY_REUSED


@pytest.mark.parametrize(
    ("gateway", "code"),
    [(AUTHORITY.public, Code.KEY_REUSED), ("00" * 32, Code.BAD_KEY)],
    ids=["the authority's", "of small order"],
)
def test_a_gateway_key_is_usable_and_not_the_authoritys(line: MarketLine, gateway: str, code: Code) -> None:
    with pytest.raises(InvalidTransaction) as caught:
        SignatureCache(line.genesis).check(register_meter("a", array("barn"), gateway=gateway))
    assert caught.value.code == code


def test_a_block_can_admit_a_member_register_its_meter_and_revoke_it_by_the_order_of_ids() -> None:
    admission = admit("a", expires=900)
    meters = (register_meter("a", salt=str(n)) for n in range(50))
    registration = next(each for each in meters if each.id > admission.id)
    line = MarketLine()
    line.add(admission, registration)
    assert "a/roof" in line.state.market.meters
    line.undo_all()


def test_two_registrations_of_one_meter_exclude_each_other_in_the_queue() -> None:
    assert set(claims_of(register_meter("a"))) == set(claims_of(register_meter("a", salt="2")))
    assert not set(claims_of(register_meter("a"))) & set(claims_of(register_meter("b")))
    assert not set(claims_of(register_meter("a"))) & set(claims_of(register_meter("a", array("barn"))))


def test_a_meter_that_one_block_registers_can_be_stated_in_the_same_block() -> None:
    """Membership comes first in a block, and the statement starts at the registration, the block before."""
    line = MarketLine()
    line.add(admit("a", expires=900))
    line.add(register_meter("a"), statement("a", (1_000, 0), (2_000, 700)))
    assert line.owned_wh("a") == 700
    line.undo_all()
