"""Merging and retiring lots, and where their energy comes from (minervas_core.market.lots)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidEncoding
from minervas_core.market.lots import split_lot
from minervas_core.market.records import MAX_LOTS_PER_MERGE, MAX_ORIGINS, Lot, Origin
from minervas_core.rules import claims_of
from minervas_core.transactions import MAX_TRANSACTION_BYTES, Transaction, block_order, decode_transaction
from tests.support.builders import MARKET, bid, cancel, offer, revoke, statement
from tests.support.lot_builders import merge, retire
from tests.support.market_line import MarketLine
from tools.vectors.document_cases import changed, put

LARGEST = 2**53 - 1


@pytest.fixture
def line() -> MarketLine:
    """`a`, `b` and `c`, who may sell and buy."""
    return MarketLine("a", "b", "c")


def origins_of(lot: Lot) -> dict[str, int]:
    return {origin.statement: origin.energy_wh for origin in lot.origins}


def plant(line: MarketLine, lot_id: str, origins: Sequence[tuple[str, int]], owner: str = "a") -> str:
    """Put a lot into the state that no short history makes."""
    made = [Origin(statement=statement_id, energy_wh=energy_wh) for statement_id, energy_wh in origins]
    energy_wh = sum(origin.energy_wh for origin in made)
    line.state.market.lots.put(lot_id, Lot(owner=owner, energy_wh=energy_wh, parent=lot_id, origins=made))
    line.snapshots[-1] = line.state.snapshot()
    return lot_id


def number(n: int) -> str:
    return f"{n:064x}"


# merge


def test_a_merge_joins_lots_into_one_that_knows_every_origin(line: MarketLine) -> None:
    lots = line.mint("a", 300, 200, 50)
    made = merge("a", lots[::-1])
    line.add(made)
    (lot_id,) = line.lots
    lot = line.lots[lot_id]
    assert (lot_id, lot.parent, lot.owner, lot.energy_wh, lot.offer) == (made.id, made.id, "a", 550, "")
    assert [origin.statement for origin in lot.origins] == sorted(lots)
    assert origins_of(lot) == dict(zip(lots, (300, 200, 50), strict=True))
    assert line.blocks[-1][1].lots == {made.id: lot}
    line.undo_all()


def test_parts_of_one_origin_become_one_part_again(line: MarketLine) -> None:
    (minted,) = line.mint("a", 300)
    made = offer("a", [minted], 1)
    line.add(made, bid("b", 100, 1))
    line.add(bid("b", 50, 1, salt="2"))
    bought = [lot for lot, each in line.lots.items() if each.owner == "b"]
    joined = merge("b", bought)
    line.add(joined)
    assert origins_of(line.lots[joined.id]) == {minted: 150}
    line.undo_all()


def test_bought_and_minted_lots_are_merged_sold_and_merged_again(line: MarketLine) -> None:
    (first,) = line.mint("a", 100)
    line.add(offer("a", [first], 1), bid("b", 100, 1))
    (bought,) = line.lots
    (second,) = line.mint("b", 60)
    joined = merge("b", [bought, second])
    line.add(joined)
    line.add(offer("b", [joined.id], 1), bid("c", 120, 1))
    sold = {each.owner: origins_of(each) for each in line.lots.values()}
    total = Counter(sold["b"]) + Counter(sold["c"])
    assert total == {first: 100, second: 60}
    line.undo_all()


def test_a_sale_takes_the_origins_of_a_merged_lot_in_the_order_of_their_ids(line: MarketLine) -> None:
    lots = line.mint("a", 100, 100, 100)
    joined = merge("a", lots)
    line.add(joined)
    line.add(offer("a", [joined.id], 1), bid("b", 150, 1))
    first, second, third = sorted(lots)
    held = {each.owner: origins_of(each) for each in line.lots.values()}
    assert held == {"b": {first: 100, second: 50}, "a": {second: 50, third: 100}}
    assert {each.parent for each in line.lots.values()} == {joined.id}
    line.undo_all()


def test_a_lot_of_the_same_block_is_merged_and_the_merged_lot_offered_in_the_next(line: MarketLine) -> None:
    """Merges stand after statements and trades; offers stand before them."""
    minted = statement("a", (2_000, 0), (3_000, 400))
    other = statement("a", (3_000, 400), (4_000, 700))
    joined = merge("a", [minted.id, other.id])
    line.add(minted, other, joined, at_ms=5_000)
    assert line.owned_wh("a") == 700
    line.add(offer("a", [joined.id], 5))


def test_merging_is_limited_by_origins_and_not_by_lots(line: MarketLine) -> None:
    full = plant(line, number(1_000), [(number(n), 5) for n in range(MAX_ORIGINS)])
    same = plant(line, number(1_001), [(number(0), 7)])
    other = plant(line, number(1_002), [(number(MAX_ORIGINS), 7)])
    assert line.refused(merge("a", [full, other])) == Code.LOT_TOO_LARGE
    joined = merge("a", [full, same])
    line.add(joined)
    assert len(line.lots[joined.id].origins) == MAX_ORIGINS
    assert origins_of(line.lots[joined.id])[number(0)] == 12


def test_a_hundred_fresh_lots_can_be_merged_at_once(line: MarketLine) -> None:
    lots = [plant(line, number(n), [(number(n), 10)]) for n in range(MAX_LOTS_PER_MERGE)]
    joined = merge("a", lots)
    assert len(joined.raw) < MAX_TRANSACTION_BYTES
    line.add(joined)
    assert set(line.lots) == {joined.id}
    assert len(encode(line.lots[joined.id])) < 11_000


def test_a_merged_lot_stays_below_2_to_the_53(line: MarketLine) -> None:
    huge = plant(line, number(1), [(number(1), LARGEST - 10)])
    small = plant(line, number(2), [(number(1), 10)])
    more = plant(line, number(3), [(number(3), 1)])
    assert line.refused(merge("a", [huge, small, more])) == Code.LOT_TOO_LARGE
    line.add(merge("a", [huge, small]))


@pytest.mark.parametrize("count", [0, 1, MAX_LOTS_PER_MERGE + 1])
def test_a_merge_is_of_two_to_a_hundred_lots(count: int) -> None:
    raw = merge("a", [number(n) for n in range(2)]).raw
    with pytest.raises(InvalidEncoding) as caught:
        decode_transaction(changed(raw, put("body", "lots", value=[number(n) for n in range(count)])))
    assert caught.value.code == Code.WRONG_SHAPE


@pytest.mark.parametrize("count", [0, MAX_LOTS_PER_MERGE + 1])
def test_a_retirement_is_of_one_to_a_hundred_lots(count: int) -> None:
    raw = retire("a", [number(0)]).raw
    with pytest.raises(InvalidEncoding) as caught:
        decode_transaction(changed(raw, put("body", "lots", value=[number(n) for n in range(count)])))
    assert caught.value.code == Code.WRONG_SHAPE


# retire


def test_a_retired_lot_is_gone_and_told_with_its_origins(line: MarketLine) -> None:
    lots = line.mint("a", 300, 200, 50)
    joined = merge("a", lots[:2])
    line.add(joined)
    used = retire("a", [lots[2], joined.id])
    line.add(used)
    assert line.lots == {}
    told = line.blocks[-1][1].retirements
    height = line.state.height
    assert [(each.height, each.position, each.transaction, each.owner) for each in told] == [
        (height, 0, used.id, "a"),
        (height, 1, used.id, "a"),
    ]
    assert [(each.lot, each.energy_wh) for each in told] == [(lots[2], 50), (joined.id, 500)]
    assert {origin.statement: origin.energy_wh for origin in told[1].origins} == {lots[0]: 300, lots[1]: 200}
    line.undo_all()


def test_retirements_are_numbered_over_the_block(line: MarketLine) -> None:
    (mine,), (other,) = line.mint("a", 300), line.mint("b", 200)
    line.add(retire("a", [mine]), retire("b", [other]))
    assert [each.position for each in line.blocks[-1][1].retirements] == [0, 1]


@pytest.mark.parametrize("use", [offer, merge, retire], ids=["offer", "merge", "retire"])
def test_a_retired_lot_is_used_by_nothing_any_more(line: MarketLine, use: object) -> None:
    lots = line.mint("a", 300, 200)
    line.add(retire("a", lots[:1]))
    again = offer("a", lots, 1) if use is offer else merge("a", lots) if use is merge else retire("a", lots, salt="2")
    assert line.refused(again) == Code.LOT_UNKNOWN


# what both have in common


def both(member: str, lots: Sequence[str]) -> list[Transaction]:
    return [merge(member, lots), retire(member, lots)]


def test_only_existing_lots_are_merged_or_retired(line: MarketLine) -> None:
    lots = line.mint("a", 10)
    for each in both("a", [*lots, "0" * 64]):
        assert line.refused(each) == Code.LOT_UNKNOWN


def test_only_own_lots_are_merged_or_retired(line: MarketLine) -> None:
    lots = line.mint("a", 10) + line.mint("b", 10)
    for each in both("a", lots):
        assert line.refused(each) == Code.LOT_NOT_OWNED


def test_a_lot_on_sale_is_not_merged_or_retired_until_it_is_free(line: MarketLine) -> None:
    lots = line.mint("a", 10, 10)
    made = offer("a", lots[:1], 1)
    line.add(made)
    for each in both("a", lots):
        assert line.refused(each) == Code.LOT_OFFERED
    line.add(cancel("a", made.id), merge("a", lots))
    line.add(retire("a", list(line.lots)))
    line.undo_all()


def test_a_lot_offered_in_the_same_block_is_not_merged_or_retired(line: MarketLine) -> None:
    lots = line.mint("a", 10, 10)
    for each in both("a", lots):
        assert line.refused(offer("a", lots, 1), each) == Code.LOT_OFFERED


def test_a_lot_is_named_once(line: MarketLine) -> None:
    (lot,) = line.mint("a", 10)
    for each in both("a", [lot, lot]):
        assert line.refused(each) == Code.LOT_TWICE


def test_one_lot_is_used_by_one_transaction_of_a_block(line: MarketLine) -> None:
    lots = line.mint("a", 10, 10)
    assert line.refused(*both("a", lots)) == Code.LOT_UNKNOWN


def test_strangers_and_revoked_members_neither_merge_nor_retire(line: MarketLine) -> None:
    lots = line.mint("a", 10, 10)
    for each in both("x", lots):
        assert line.refused(each) == Code.MEMBER_UNKNOWN
    for each in both("a", lots):
        assert line.refused(revoke("a"), each) == Code.MEMBER_UNKNOWN
    line.add(revoke("a"))
    for each in both("a", lots):
        assert line.refused(each) == Code.MEMBER_UNKNOWN
    assert set(line.lots) == set(lots)


def test_offers_merges_and_retirements_of_a_lot_exclude_each_other(line: MarketLine) -> None:
    lots = line.mint("a", 10, 10)
    claims = {f"lot {lot}" for lot in lots}
    for each in (offer("a", lots, 1), *both("a", lots)):
        assert set(claims_of(each)) == claims


def test_merges_and_retirements_stand_after_bids_by_id() -> None:
    made = [merge("a", ["0" * 64, "1" * 64], salt=str(n)) for n in range(3)]
    made += [retire("a", ["0" * 64], salt=str(n)) for n in range(3)]
    ordered = sorted([*made, bid("a", 10, 1), offer("a", ["0" * 64], 1), cancel("a", "0" * 64)], key=block_order)
    assert [each.kind for each in ordered[:3]] == ["cancel", "offer", "bid"]
    assert [each.id for each in ordered[3:]] == sorted(each.id for each in made)


def test_a_merge_may_have_more_lots_than_an_offer() -> None:
    line = MarketLine("a", parameters=msgspec.structs.replace(MARKET, max_lots_per_offer=2))
    line.add(merge("a", line.mint("a", 10, 10, 10)))


# splitting


@given(
    parts=st.lists(st.integers(1, 1_000), min_size=1, max_size=12),
    share=st.integers(1, 1_000),
)
def test_splitting_divides_every_origin_exactly(parts: list[int], share: int) -> None:
    origins = [Origin(statement=number(n), energy_wh=energy_wh) for n, energy_wh in enumerate(parts)]
    lot = Lot(owner="a", energy_wh=sum(parts), parent=number(99), origins=origins, offer=number(98))
    piece_wh = max(1, sum(parts) * share // 1_000)
    piece, rest = split_lot(number(97), lot, piece_wh)
    total = Counter(origins_of(piece))
    assert (piece.energy_wh, piece.parent) == (piece_wh, number(97))
    for each in (piece, rest):
        if each is not None:
            assert each.energy_wh == sum(origin.energy_wh for origin in each.origins)
            assert [origin.statement for origin in each.origins] == sorted(origins_of(each))
    if rest is None:
        assert piece_wh == lot.energy_wh
    else:
        assert rest.energy_wh == lot.energy_wh - piece_wh > 0
        assert (rest.offer, rest.owner, rest.parent) == (lot.offer, lot.owner, number(97))
        assert len(piece.origins) + len(rest.origins) <= len(parts) + 1
        total.update(origins_of(rest))
    assert total == origins_of(lot)
