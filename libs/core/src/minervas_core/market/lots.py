"""Lots: what they are made of, how they are split and joined, and how they end (design section 5).

A lot's energy comes from one or more metering statements, its origins. Splitting and joining keep the energy of every
origin exactly: all unspent lots and all retired ones together have, of each statement, just what it minted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from minervas_core.encoding import MAX_INTEGER, encode
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.market.records import MAX_ORIGINS, Lot, Merge, Origin, Retire, Retirement
from minervas_core.market.state import BlockContext, Market
from minervas_core.merkle import merkle_root


def free_lots(market: Market, lot_ids: Sequence[str], member: str) -> list[Lot]:
    """The named lots, which must be `member`'s own, not on sale, and each named once.

    Raises:
        InvalidTransaction: ``lot_twice``, ``lot_unknown``, ``lot_not_owned`` or ``lot_offered``.
    """
    if len(set(lot_ids)) != len(lot_ids):
        raise InvalidTransaction(Code.LOT_TWICE, "A lot is named twice", lots=len(lot_ids))
    return [_free_lot(market, lot_id, member) for lot_id in lot_ids]


def split_lot(lot_id: str, lot: Lot, piece_wh: int) -> tuple[Lot, Lot | None]:
    """Divide a lot into `piece_wh`, not more than it has, and the rest, if there is any; both have it as parent.

    The piece takes from the origins in their order, each as a whole before the next: at most one origin is divided.
    """
    piece: list[Origin] = []
    rest = list(lot.origins)
    missing_wh = piece_wh
    while missing_wh > 0:
        first = rest.pop(0)
        taken_wh = min(missing_wh, first.energy_wh)
        piece.append(msgspec.structs.replace(first, energy_wh=taken_wh))
        if taken_wh < first.energy_wh:
            rest.insert(0, msgspec.structs.replace(first, energy_wh=first.energy_wh - taken_wh))
        missing_wh -= taken_wh
    taken = msgspec.structs.replace(lot, energy_wh=piece_wh, parent=lot_id, origins=piece)
    if not rest:
        return taken, None
    return taken, msgspec.structs.replace(taken, energy_wh=lot.energy_wh - piece_wh, origins=rest)


def check_merge(market: Market, merge: Merge, member: str) -> None:
    """Check a merge of `member`'s lots.

    Raises:
        InvalidTransaction: a code of `free_lots`; ``lot_too_large`` if the lot would have too many origins, or its
            energy reach 2^53.
    """
    origins = joined_origins(free_lots(market, merge.lots, member))
    energy_wh = sum(origin.energy_wh for origin in origins)
    if len(origins) > MAX_ORIGINS:
        raise InvalidTransaction(
            Code.LOT_TOO_LARGE,
            "The merged lot would come from too many statements",
            origins=len(origins),
            limit=MAX_ORIGINS,
        )
    if energy_wh > MAX_INTEGER:
        raise InvalidTransaction(
            Code.LOT_TOO_LARGE, "The merged lot's energy would reach 2^53", energy_wh=str(energy_wh)
        )


def merge_lots(market: Market, merge_id: str, merge: Merge, context: BlockContext) -> None:
    """Join checked lots into one, which has the transaction's id."""
    lots = [market.lot(lot_id) for lot_id in merge.lots]
    for lot_id in merge.lots:
        market.lots.drop(lot_id)
    made = Lot(
        owner=lots[0].owner,
        energy_wh=sum(lot.energy_wh for lot in lots),
        parent=merge_id,
        origins=joined_origins(lots),
    )
    market.lots.put(merge_id, made)
    context.lots[merge_id] = made


def check_retire(market: Market, retire: Retire, member: str) -> None:
    """Check a retirement of `member`'s lots.

    Raises:
        InvalidTransaction: a code of `free_lots`; ``retire_claim`` if the lots hold something else than it says.
    """
    held = free_lots(market, retire.lots, member)
    if isinstance(retire.origins_root, msgspec.UnsetType):
        return
    root = origins_root(joined_origins(held))
    if root != retire.origins_root:
        raise InvalidTransaction(Code.RETIRE_CLAIM, "The lots hold something else", claimed=retire.origins_root)


def origins_root(origins: Sequence[Origin]) -> str:
    """Merkle root over the canonical bytes of origins: what a retirement claims of all its lots together."""
    return merkle_root([encode(origin) for origin in origins])


def retire_lots(market: Market, retire_id: str, retire: Retire, context: BlockContext) -> None:
    """Take checked lots off the market for ever, and tell which."""
    for lot_id in retire.lots:
        lot = market.lot(lot_id)
        market.lots.drop(lot_id)
        context.retirements.append(
            Retirement(
                height=context.height,
                position=len(context.retirements),
                transaction=retire_id,
                owner=lot.owner,
                lot=lot_id,
                energy_wh=lot.energy_wh,
                origins=lot.origins,
            )
        )


def joined_origins(lots: Iterable[Lot]) -> list[Origin]:
    """The origins of several lots: each statement once, by id."""
    energy_wh: Counter[str] = Counter()
    for lot in lots:
        for origin in lot.origins:
            energy_wh[origin.statement] += origin.energy_wh
    return [Origin(statement=statement, energy_wh=energy_wh[statement]) for statement in sorted(energy_wh)]


def _free_lot(market: Market, lot_id: str, member: str) -> Lot:
    lot = market.lots.get(lot_id)
    if lot is None:
        raise InvalidTransaction(
            Code.LOT_UNKNOWN, "No such unspent lot: never minted, or already sold, merged or retired", lot=lot_id
        )
    if lot.owner != member:
        raise InvalidTransaction(Code.LOT_NOT_OWNED, "The lot is another member's", lot=lot_id, owner=lot.owner)
    if lot.offer:
        raise InvalidTransaction(Code.LOT_OFFERED, "The lot is on sale already", lot=lot_id, offer=lot.offer)
    return lot
