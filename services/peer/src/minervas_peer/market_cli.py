"""The commands of `minervas` about metering and trading: which with which arguments."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping

from minervas_peer.api_client import ApiClient
from minervas_peer.commands import market
from minervas_peer.commands.output import Output
from minervas_peer.commands.prices import parse_price
from minervas_peer.commands.trading import place_order

MAX_ROWS = 200
HOUR_MS = 3_600_000

Commands = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_market_commands(commands: Commands, add_shared: Callable[[argparse.ArgumentParser], None]) -> None:  # type: ignore[valid-type]  # argparse has no public name for it
    """Add the commands; `add_shared` adds the options that all commands have."""
    for name, text, add_arguments in (
        ("meters", "registered meters and what they minted", _add_member),
        ("readings", "the newest readings of our own channels", _add_channel),
        ("lots", "unspent lots of energy", _add_member_and_limit),
        ("orders", "open offers and bids", _add_member_and_limit),
        ("trades", "trades, newest first", _add_limit),
        ("obligations", "who owes whom", _add_nothing),
        ("offer", "put own energy on sale", _add_offer),
        ("bid", "ask for energy", _add_bid),
        ("cancel", "take an own order back", _add_cancel),
    ):
        command = commands.add_parser(name, help=text)  # type: ignore[attr-defined]  # as above
        add_shared(command)
        add_arguments(command)


def market_actions(given: argparse.Namespace, client: ApiClient, output: Output) -> Mapping[str, Callable[[], None]]:
    """What each command does."""
    return {
        "meters": lambda: market.show_meters(client, output, member=given.member),
        "readings": lambda: market.show_readings(
            client, output, meter=given.meter, channel=given.channel, limit=given.limit
        ),
        "lots": lambda: market.show_lots(client, output, owner=given.member, limit=given.limit),
        "orders": lambda: market.show_orders(client, output, member=given.member, limit=given.limit),
        "trades": lambda: market.show_trades(client, output, limit=given.limit),
        "obligations": lambda: market.show_obligations(client, output),
        "offer": lambda: place_order(client, output, "/v1/offers", _offer(given)),
        "bid": lambda: place_order(client, output, "/v1/bids", _terms(given)),
        "cancel": lambda: place_order(client, output, "/v1/cancellations", {"order": given.order}),
    }


def _terms(given: argparse.Namespace) -> dict[str, object]:
    return {"energy_wh": given.energy_wh, "price_micro": given.price, "valid_ms": given.hours * HOUR_MS}


def _offer(given: argparse.Namespace) -> dict[str, object]:
    return {**_terms(given), "lots": given.lot, "smallest_wh": given.smallest_wh, "buyer": given.buyer}


def _add_nothing(_command: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def _add_limit(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", type=_number(1, MAX_ROWS), default=20, metavar="N", help="how many at most (20)")


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
    command.add_argument("--price", type=_price, required=True, metavar="PRICE", help="per kWh, e.g. 142.6")
    command.add_argument(
        "--hours", type=_number(1, 9_600), default=24, metavar="H", help="how long the order may rest (24)"
    )


def _add_offer(command: argparse.ArgumentParser) -> None:
    _add_price(command)
    command.add_argument(
        "--energy-wh", type=_number(0, 2**53 - 1), default=0, metavar="WH", help="at least so much, in whole lots"
    )
    command.add_argument("--lot", type=_hash, action="append", default=[], metavar="ID", help="a lot, repeatable")
    command.add_argument(
        "--smallest-wh", type=_number(1, 2**53 - 1), default=1, metavar="WH", help="no fill is smaller (1)"
    )
    command.add_argument("--buyer", default="", metavar="ID", help="only this member may buy")


def _add_bid(command: argparse.ArgumentParser) -> None:
    _add_price(command)
    command.add_argument("--energy-wh", type=_number(1, 2**53 - 1), required=True, metavar="WH", help="how much")


def _add_cancel(command: argparse.ArgumentParser) -> None:
    command.add_argument("order", type=_hash, metavar="ORDER", help="id of the offer or bid")


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"not a number from {low} to {high}: {text!r}")
        return int(text)

    return parse


def _price(text: str) -> int:
    try:
        return parse_price(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _hash(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"not an id (64 hex digits): {text!r}")
    return text
