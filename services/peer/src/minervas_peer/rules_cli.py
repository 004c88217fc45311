"""The arguments of `minervas rules`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from minervas_core.encoding import MAX_INTEGER
from minervas_peer import arguments
from minervas_peer.api_client import ApiClient
from minervas_peer.commands import rules
from minervas_peer.commands.output import Output
from minervas_peer.standing_rules.records import SIDES

Share = Callable[[argparse.ArgumentParser], None]


def add_rules_command(add: Callable[[str, str], argparse.ArgumentParser], share: Share) -> None:
    """Add the command; without an action it lists the rules.

    Args:
        add: makes a command of a name and a help text, with the options that all commands have.
        share: adds those options to an action, too.
    """
    command = add("rules", "orders that the peer places by itself, slot by slot")
    actions = command.add_subparsers(dest="action", metavar="ACTION")
    for name, text, add_arguments in (
        ("list", "the rules and what they did", _add_nothing),
        ("sell", "sell own lots in every slot, those that are there and those to come", _add_sell),
        ("buy", "buy in every slot", _add_buy),
        ("pause", "place nothing for the time being", _add_stop),
        ("resume", "go on", _add_rule),
        ("remove", "forget a rule", _add_stop),
    ):
        action = actions.add_parser(name, help=text)
        share(action)
        add_arguments(action)


def run_rules(given: argparse.Namespace, client: ApiClient, output: Output) -> None:
    """Carry out an action.

    Raises:
        MinervasError: one clear line for whatever went wrong.
    """
    match given.action:
        case "sell":
            terms = {"price_micro": given.price, "keep_wh": given.keep_wh, "paused": given.paused}
            rules.set_rule(client, output, "sell", terms)
        case "buy":
            terms = {"price_micro": given.price, "energy_wh": given.energy_wh, "paused": given.paused}
            rules.set_rule(client, output, "buy", terms)
        case "pause":
            rules.pause_rule(client, output, given.rule, paused=True, cancel_open=given.cancel_open)
        case "resume":
            rules.pause_rule(client, output, given.rule, paused=False, cancel_open=False)
        case "remove":
            rules.remove_rule(client, output, given.rule, cancel_open=given.cancel_open)
        case _:
            rules.show_rules(client, output)


def _add_nothing(_action: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def _add_price(action: argparse.ArgumentParser, limit: str) -> None:
    action.add_argument(
        "--price", type=arguments.price, required=True, metavar="PRICE", help=f"per kWh, e.g. 142.6, or {limit}"
    )
    action.add_argument("--paused", action="store_true", help="set it, but place nothing yet")


def _add_sell(action: argparse.ArgumentParser) -> None:
    _add_price(action, "above")
    action.add_argument(
        "--keep-wh",
        type=arguments.number(0, MAX_INTEGER),
        default=0,
        metavar="WH",
        help="so much is never offered (0)",
    )


def _add_buy(action: argparse.ArgumentParser) -> None:
    _add_price(action, "below")
    action.add_argument(
        "--energy-wh", type=arguments.number(1, MAX_INTEGER), required=True, metavar="WH", help="per slot at most"
    )


def _add_rule(action: argparse.ArgumentParser) -> None:
    action.add_argument("rule", choices=SIDES, help="which rule")


def _add_stop(action: argparse.ArgumentParser) -> None:
    _add_rule(action)
    action.add_argument("--cancel-open", action="store_true", help="take its open orders back, too")
