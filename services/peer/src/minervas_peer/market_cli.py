"""The commands of `minervas` about metering and trading: which with which arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from minervas_core.errors import Code, LocalFault
from minervas_core.market.records import MAX_LOTS_PER_MERGE
from minervas_peer import arguments
from minervas_peer.api_client import ApiClient
from minervas_peer.commands import lots, market, market_prices
from minervas_peer.commands.output import Output
from minervas_peer.commands.trading import place_order

MAX_ROWS = 200
HOUR_MS = 3_600_000


def add_market_commands(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add the commands; `add` makes one of a name and a help text, with the options that all commands have."""
    for name, text, add_arguments in (
        ("meters", "registered meters and what they minted", _add_member),
        ("readings", "the newest readings of our own channels", _add_channel),
        ("lots", "unspent lots of energy", _add_lots),
        ("lot", "one lot, traced to its meters", _add_lot),
        ("retirements", "lots claimed as used, newest first", _add_member_and_limit),
        ("orders", "open offers and bids", _add_member_and_limit),
        ("trades", "trades, newest first", _add_limit),
        ("market", "the order book by price, and the last price", _add_limit),
        ("clearings", "results of the slots' auctions, newest first", _add_limit),
        ("volumes", "what was traded in each slot, newest first", _add_limit),
        ("obligations", "who owes whom", _add_nothing),
        ("offer", "put own energy on sale", _add_offer),
        ("bid", "ask for energy", _add_bid),
        ("cancel", "take an own order back", _add_cancel),
        ("merge", "join own lots into one", _add_some_lots),
        ("retire", "claim own lots as used, for ever", _add_some_lots),
        ("veto", "object to a recovery of our own wallet", _add_recovery),
    ):
        add_arguments(add(name, text))


def market_actions(given: argparse.Namespace, client: ApiClient, output: Output) -> Mapping[str, Callable[[], None]]:
    """What each command does."""
    return {
        "meters": lambda: market.show_meters(client, output, member=given.member),
        "readings": lambda: market.show_readings(
            client, output, meter=given.meter, channel=given.channel, limit=given.limit
        ),
        "lots": lambda: lots.show_lots(
            client, output, owner=given.member, free=given.free, after=given.after or "", limit=given.limit
        ),
        "lot": lambda: lots.show_lot(client, output, lot_id=given.lot),
        "retirements": lambda: lots.show_retirements(client, output, owner=given.member, limit=given.limit),
        "orders": lambda: market.show_orders(client, output, member=given.member, limit=given.limit),
        "trades": lambda: market.show_trades(client, output, limit=given.limit),
        "market": lambda: market_prices.show_market(client, output, limit=given.limit),
        "clearings": lambda: market_prices.show_clearings(client, output, limit=given.limit),
        "volumes": lambda: market_prices.show_volumes(client, output, limit=given.limit),
        "obligations": lambda: market.show_obligations(client, output),
        "offer": lambda: place_order(client, output, "/v1/offers", _offer(given)),
        "bid": lambda: place_order(client, output, "/v1/bids", {**_terms(given), "repeats": given.repeats}),
        "cancel": lambda: place_order(client, output, "/v1/cancellations", {"order": given.order}),
        "merge": lambda: place_order(client, output, "/v1/merges", _some_lots(given, 2)),
        "retire": lambda: place_order(client, output, "/v1/retirements", _some_lots(given, 1)),
        "veto": lambda: place_order(client, output, "/v1/vetoes", {"recovery": given.recovery}),
    }


def _terms(given: argparse.Namespace) -> dict[str, object]:
    return {"energy_wh": given.energy_wh, "price_micro": given.price, "valid_ms": given.hours * HOUR_MS}


def _offer(given: argparse.Namespace) -> dict[str, object]:
    return {**_terms(given), "lots": given.lot, "smallest_wh": given.smallest_wh, "buyer": given.buyer}


def _some_lots(given: argparse.Namespace, least: int) -> dict[str, object]:
    """The lots to merge or retire.

    Raises:
        LocalFault: ``wrong_shape`` for too few or too many.
    """
    if not least <= len(given.lots) <= MAX_LOTS_PER_MERGE:
        raise LocalFault(
            Code.WRONG_SHAPE,
            f"Name {least} to {MAX_LOTS_PER_MERGE} lots; minervas lots --free shows yours",
            named=len(given.lots),
        )
    return {"lots": given.lots}


def _add_nothing(_command: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def _add_limit(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--limit", type=arguments.number(1, MAX_ROWS), default=20, metavar="N", help="how many at most (20)"
    )


def _add_member(command: argparse.ArgumentParser) -> None:
    command.add_argument("--member", default="", metavar="ID", help="only this member's")


def _add_member_and_limit(command: argparse.ArgumentParser) -> None:
    _add_member(command)
    _add_limit(command)


def _add_channel(command: argparse.ArgumentParser) -> None:
    command.add_argument("--meter", default="", metavar="ID", help="only this meter's")
    command.add_argument("--channel", default="", metavar="NAME", help="only this channel's")
    _add_limit(command)


def _add_price(command: argparse.ArgumentParser) -> None:
    command.add_argument("--price", type=arguments.price, required=True, metavar="PRICE", help="per kWh, e.g. 142.6")
    command.add_argument(
        "--hours", type=arguments.number(1, 9_600), default=24, metavar="H", help="how long the order may rest (24)"
    )


def _add_offer(command: argparse.ArgumentParser) -> None:
    _add_price(command)
    command.add_argument(
        "--energy-wh",
        type=arguments.number(0, 2**53 - 1),
        default=0,
        metavar="WH",
        help="at least so much, in whole lots",
    )
    command.add_argument(
        "--lot", type=arguments.lot_id, action="append", default=[], metavar="ID", help="a lot, repeatable"
    )
    command.add_argument(
        "--smallest-wh", type=arguments.number(1, 2**53 - 1), default=1, metavar="WH", help="no fill is smaller (1)"
    )
    command.add_argument("--buyer", default="", metavar="ID", help="only this member may buy")


def _add_bid(command: argparse.ArgumentParser) -> None:
    _add_price(command)
    command.add_argument(
        "--energy-wh", type=arguments.number(1, 2**53 - 1), required=True, metavar="WH", help="how much"
    )
    command.add_argument("--repeats", action="store_true", help="so much of every slot, until the order ends")


def _add_lots(command: argparse.ArgumentParser) -> None:
    _add_member_and_limit(command)
    command.add_argument("--free", action="store_true", help="only those that are not on sale")
    command.add_argument("--after", type=arguments.lot_id, metavar="ID", help="only ids above this: the next page")


def _add_lot(command: argparse.ArgumentParser) -> None:
    command.add_argument("lot", type=arguments.lot_id, metavar="LOT", help="id of the lot, also of one used up")


def _add_some_lots(command: argparse.ArgumentParser) -> None:
    command.add_argument("lots", type=arguments.lot_id, nargs="+", metavar="LOT", help="ids of own free lots")


def _add_cancel(command: argparse.ArgumentParser) -> None:
    command.add_argument("order", type=arguments.transaction_id, metavar="ORDER", help="id of the offer or bid")


def _add_recovery(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "recovery", type=arguments.transaction_id, metavar="RECOVERY", help="its transaction's id, from `members`"
    )
