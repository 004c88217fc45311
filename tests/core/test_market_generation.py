"""Metering statements: every rule accepted and refused (minervas_core.market.generation)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.errors import Code, InvalidTransaction
from minervas_core.market.generation import most_energy_wh
from minervas_core.market.records import Origin
from minervas_core.rules import claims_of
from minervas_core.signature_cache import SignatureCache
from minervas_core.transactions import Transaction, block_order
from tests.support.builders import GENESIS_TIME_MS, array, gateway_key, register_meter, revoke, signing_key, statement
from tests.support.market_line import MarketLine

REGISTERED_MS = 1_000
"""Time of block 1: block 2 registers the meters."""


@pytest.fixture
def line() -> MarketLine:
    """`a` and `b` at 2,000 ms, with a meter each that may do 1.1 Wh a millisecond and one more."""
    return MarketLine("a", "b")


def test_a_statement_mints_a_lot_of_exactly_its_energy(line: MarketLine) -> None:
    made = statement("a", (1_000, 5_000), (3_000, 6_234))
    line.add(made)
    lot = line.lots[made.id]
    assert (lot.owner, lot.energy_wh, lot.parent, lot.offer) == ("a", 1_234, made.id, "")
    assert lot.origins == [Origin(statement=made.id, energy_wh=1_234)]
    assert line.blocks[-1][1].lots == {made.id: lot}
    register = line.state.market.registers.get("a/roof/dc")
    assert register is not None
    assert (register.time_ms, register.register_wh) == (GENESIS_TIME_MS + 3_000, 6_234)
    assert (register.statement, register.since_ms, register.minted_wh) == (made.id, GENESIS_TIME_MS + 1_000, 1_234)
    line.undo_all()


def test_a_statement_without_energy_only_moves_the_register(line: MarketLine) -> None:
    line.add(statement("a", (1_000, 50), (2_000, 50)))
    assert line.lots == {}
    line.add(statement("a", (2_000, 50), (4_000, 60)))
    assert line.owned_wh("a") == 10


def test_consecutive_statements_of_a_channel_stand_in_one_block_whatever_their_ids(line: MarketLine) -> None:
    made = [statement("a", (1_000 + 100 * n, n), (1_100 + 100 * n, n + 1), salt=str(n)) for n in range(9)]
    assert sorted(made, key=block_order) == made
    assert sorted(each.id for each in made) != [each.id for each in made]
    line.add(*made)
    assert line.owned_wh("a") == 9
    line.undo_all()


def test_a_first_statement_starts_at_any_register_from_registration_on(line: MarketLine) -> None:
    assert line.refused(statement("a", (REGISTERED_MS - 1, 0), (2_000, 1))) == Code.STATEMENT_OVERLAP
    line.add(statement("a", (REGISTERED_MS, 2**53 - 2), (2_000, 2**53 - 1)))


@pytest.mark.parametrize("start", [(1_999, 500), (1_000, 0), (2_000 - 1, 501)])
def test_an_overlap_is_refused(line: MarketLine, start: tuple[int, int]) -> None:
    line.add(statement("a", (1_000, 0), (2_000, 500)))
    for reset in (False, True):
        assert line.refused(statement("a", start, (4_000, 700), reset=reset)) == Code.STATEMENT_OVERLAP


@pytest.mark.parametrize("start", [(2_001, 500), (2_000, 499), (2_000, 501), (3_000, 600)])
def test_a_gap_in_time_or_register_is_refused(line: MarketLine, start: tuple[int, int]) -> None:
    line.add(statement("a", (1_000, 0), (2_000, 500)))
    assert line.refused(statement("a", start, (4_000, 700))) == Code.STATEMENT_GAP


@pytest.mark.parametrize("start", [(2_000, 0), (2_000, 900), (2_500, 0)])
def test_a_declared_reset_starts_at_a_new_baseline_and_mints_nothing_before_it(
    line: MarketLine, start: tuple[int, int]
) -> None:
    line.add(statement("a", (1_000, 0), (2_000, 500)))
    line.add(statement("a", start, (3_000, start[1] + 7), reset=True))
    assert line.owned_wh("a") == 507
    register = line.state.market.registers.get("a/roof/dc")
    assert register is not None
    assert (register.since_ms, register.minted_wh) == (GENESIS_TIME_MS + 1_000, 507)


def test_the_same_statement_does_not_come_twice(line: MarketLine) -> None:
    line.add(statement("a", (1_000, 0), (2_000, 500)))
    assert line.refused(statement("a", (1_000, 0), (2_000, 500))) == Code.TX_DUPLICATE
    assert line.refused(statement("a", (1_000, 0), (2_000, 500), salt="2")) == Code.STATEMENT_OVERLAP


def test_a_statement_ends_no_later_than_the_blocks_time(line: MarketLine) -> None:
    late = statement("a", (1_000, 0), (3_000, 500))
    assert line.refused(late, at_ms=2_999) == Code.STATEMENT_FUTURE
    line.add(late, at_ms=3_000)


@pytest.mark.parametrize("end", [(1_000, 0), (999, 0), (2_000, -1), (1_000, 5)])
def test_time_rises_and_the_register_never_falls(line: MarketLine, end: tuple[int, int]) -> None:
    wrong = statement("a", (1_000, 100), (end[0], 100 + end[1]))
    assert line.refused(wrong) == Code.STATEMENT_ORDER
    with pytest.raises(InvalidTransaction) as caught:
        SignatureCache(line.genesis).check(wrong)
    assert caught.value.code == Code.STATEMENT_ORDER


def test_only_the_gateway_key_of_the_meter_states_for_it(line: MarketLine) -> None:
    keys = [signing_key("a.peer"), signing_key("a.ledger"), gateway_key("b"), signing_key("stranger")]
    for key in keys:
        assert line.refused(statement("a", (1_000, 0), (2_000, 1), key=key)) == Code.TX_WRONG_SENDER
    other = signing_key("second gateway of a")
    line.add(register_meter("a", array("barn"), gateway=other.public))
    assert line.refused(statement("a", (2_000, 0), (3_000, 1), key=other)) == Code.TX_WRONG_SENDER
    line.add(statement("a", (2_000, 0), (3_000, 1), meter="barn", key=other))


def test_a_signature_in_the_gateways_name_is_checked(line: MarketLine) -> None:
    good = statement("a", (1_000, 0), (2_000, 1))
    forged = Transaction(good.id, good.body, "0" * 128, good.raw)
    with pytest.raises(InvalidTransaction) as caught:
        SignatureCache(line.genesis).check(forged)
    assert caught.value.code == Code.BAD_SIGNATURE


def test_unknown_meters_and_channels_are_refused(line: MarketLine) -> None:
    assert line.refused(statement("a", (1_000, 0), (2_000, 1), meter="barn")) == Code.METER_UNKNOWN
    assert line.refused(statement("a", (1_000, 0), (2_000, 1), channel="ac")) == Code.CHANNEL_UNKNOWN
    assert line.refused(statement("nobody", (1_000, 0), (2_000, 1))) == Code.MEMBER_UNKNOWN


def test_a_revoked_member_mints_nothing_not_even_in_the_block_of_its_revocation(line: MarketLine) -> None:
    assert line.refused(statement("a", (1_000, 0), (2_000, 1)), revoke("a", expires=900)) == Code.MEMBER_UNKNOWN
    line.add(revoke("a", expires=900))
    assert line.refused(statement("a", (1_000, 0), (2_000, 1))) == Code.MEMBER_UNKNOWN


# rated power


@pytest.mark.parametrize(
    ("rated_w", "elapsed_ms", "step_wh", "most_wh"),
    [
        (120, 3_600_000, 1, 133),  # 132 and a step
        (120, 900_000, 1, 34),
        (120, 1, 1, 1),
        (3_600_000, 1_000, 10, 1_110),
        (100_000_000, 2**53 - 1, 100_000, 100_000_000 * (2**53 - 1) * 11 // 36_000_000 + 100_000),
    ],
)
def test_the_most_energy_is_rated_power_and_a_tenth_and_a_register_step(
    rated_w: int, elapsed_ms: int, step_wh: int, most_wh: int
) -> None:
    assert most_energy_wh(rated_w, elapsed_ms, step_wh) == most_wh


def test_more_than_the_rated_power_allows_is_refused(line: MarketLine) -> None:
    assert line.refused(statement("a", (1_000, 0), (2_000, 1_102))) == Code.STATEMENT_RATED_POWER
    line.add(statement("a", (1_000, 0), (2_000, 1_101)))


def test_the_register_step_is_allowed_once_and_not_once_a_statement(line: MarketLine) -> None:
    line.add(register_meter("a", array("small", rated_w=100, step_wh=10)))

    def small(start: tuple[int, int], end: tuple[int, int], *, reset: bool = False) -> Transaction:
        return statement("a", start, end, meter="small", reset=reset)

    line.add(small((3_000, 0), (3_001, 10)))
    assert line.refused(small((3_001, 10), (3_002, 11))) == Code.STATEMENT_RATED_POWER
    assert line.refused(small((3_001, 0), (3_002, 1), reset=True)) == Code.STATEMENT_RATED_POWER
    hour_ms = 3_600_000
    line.add(small((3_001, 10), (3_000 + hour_ms, 120)), at_ms=4 * hour_ms)
    assert line.refused(small((3_000 + hour_ms, 120), (3_000 + 2 * hour_ms, 231))) == Code.STATEMENT_RATED_POWER
    line.add(small((3_000 + hour_ms, 120), (3_000 + 2 * hour_ms, 230)))


def test_what_was_not_produced_before_can_not_be_claimed_in_a_burst(line: MarketLine) -> None:
    line.add(statement("a", (1_000, 0), (100_000, 0)), at_ms=101_000)
    assert line.refused(statement("a", (100_000, 0), (101_000, 1_102))) == Code.STATEMENT_RATED_POWER
    line.add(statement("a", (100_000, 0), (101_000, 1_101)))


honest_steps = st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 1_000)), min_size=1, max_size=12)


@given(steps=honest_steps, step_wh=st.sampled_from([1, 10, 100]), first_mwh=st.integers(0, 10**6))
def test_no_honest_meter_is_ever_refused(steps: list[tuple[int, int]], step_wh: int, first_mwh: int) -> None:
    """A register that integrates up to the rated power and shows whole steps, stated at any times."""
    line = MarketLine("b")
    line.add(register_meter("b", array("true", step_wh=step_wh)))
    at_ms, energy_mwh = line.now_ms, first_mwh
    for elapsed_ms, power_per_mille in steps:
        shown = energy_mwh // 1_000 // step_wh * step_wh
        energy_mwh += elapsed_ms * power_per_mille  # 3.6 MW is 1 Wh a millisecond
        later = energy_mwh // 1_000 // step_wh * step_wh
        line.add(
            statement("b", (at_ms, shown), (at_ms + elapsed_ms, later), meter="true"), at_ms=at_ms + elapsed_ms + 1_000
        )
        at_ms += elapsed_ms


def test_two_statements_from_one_start_exclude_each_other_in_the_queue() -> None:
    one, other = statement("a", (1_000, 0), (2_000, 5)), statement("a", (1_000, 0), (3_000, 9))
    assert set(claims_of(one)) == set(claims_of(other))
    assert not set(claims_of(one)) & set(claims_of(statement("a", (2_000, 5), (3_000, 9))))
    assert not set(claims_of(one)) & set(claims_of(statement("b", (1_000, 0), (2_000, 5))))
