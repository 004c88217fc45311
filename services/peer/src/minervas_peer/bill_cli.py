"""The commands of `minervas` about bills, certificates and evidence: which with which arguments."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

from minervas_core.market.settlement_records import CreditReason
from minervas_core.money import MICRO
from minervas_peer import arguments
from minervas_peer.api_client import ApiClient
from minervas_peer.commands import bills, verify
from minervas_peer.commands.output import Output
from minervas_peer.commands.trading import place_order
from minervas_peer.documents.texts import LANGUAGES

MAX_LINE = 2**53 - 1
MAX_ROWS = 200


def add_bill_commands(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add the commands; `add` makes one of a name and a help text, with the options that all commands have."""
    for name, text, add_arguments in (
        ("bills", "a month's bills, previews too", _add_month_and_member),
        ("bill", "one bill with its lines", _add_bill),
        ("statement", "a member's month at a glance", _add_month_and_member),
        ("settlements", "payments and credit notes, newest first", _add_settlements),
        ("pay", "confirm that a buyer paid a bill of ours", _add_payment),
        ("credit-note", "take an amount off a bill of ours", _add_credit_note),
        ("export", "a bill as CSV, PDF or evidence; a month's statement as CSV or PDF", _add_export),
        ("certificate", "the certificate of origin of retired lots, JSON or PDF", _add_certificate),
        ("verify", "check a bill down to the wire, or a file without any node", _add_verify),
    ):
        add_arguments(add(name, text))


def bill_actions(given: argparse.Namespace, client: ApiClient, output: Output) -> Mapping[str, Callable[[], None]]:
    """What each command does."""
    return {
        "bills": lambda: bills.show_bills(client, output, month=given.month, member=given.member),
        "bill": lambda: bills.show_bill(client, output, reference=given.bill),
        "statement": lambda: bills.show_statement(client, output, month=given.month, member=given.member),
        "settlements": lambda: bills.show_settlements(client, output, member=given.member, limit=given.limit),
        "pay": lambda: place_order(client, output, "/v1/payments", _settling(given)),
        "credit-note": lambda: place_order(
            client, output, "/v1/credit-notes", {**_settling(given), "reason": given.reason}
        ),
        "export": lambda: _export(given, client, output),
        "certificate": lambda: _export(given, client, output),
        "verify": lambda: verify.run_verify(_order(given), client, output),
    }


def _settling(given: argparse.Namespace) -> dict[str, object]:
    return {"buyer": given.buyer, "month": given.month, "amount_micro": given.amount}


def _export(given: argparse.Namespace, client: ApiClient, output: Output) -> None:
    # Only here, because it brings what makes PDFs: other commands need not wait half a second for it.
    from minervas_peer.commands import export  # noqa: PLC0415

    printing = export.Printing(given.output, given.language, given.parties, given.fonts)
    if given.command == "certificate":
        export.export_certificate(client, output, given.retirement, printing)
    elif re.fullmatch(r"\d{4}-\d{2}", given.what):
        export.export_statement(client, output, given.what, given.member, printing)
    else:
        export.export_bill(client, output, given.what, printing, frozenset(given.line))


def _order(given: argparse.Namespace) -> verify.Order:
    return verify.Order(given.target, given.genesis, given.chain, given.maps, frozenset(given.line))


def _month(text: str) -> str:
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError(f"not a month like 2026-03: {text!r}")
    return text


def _amount(text: str) -> int:
    """An amount in the currency, exact to a millionth."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        raise argparse.ArgumentTypeError(f"not an amount like 42780 or 12.50: {text!r}")
    whole, _, rest = text.partition(".")
    micro = int(whole) * MICRO + int(rest.ljust(6, "0") or 0)
    if not micro:
        raise argparse.ArgumentTypeError("an amount is above 0")
    return micro


def _add_month_and_member(command: argparse.ArgumentParser) -> None:
    command.add_argument("month", type=_month, metavar="MONTH", help="as 2026-03, in the consortium's time zone")
    command.add_argument("--member", default="", metavar="ID", help="only this member's")


def _add_bill(command: argparse.ArgumentParser) -> None:
    command.add_argument("bill", metavar="BILL", help="its number, or MONTH/SELLER/BUYER")


def _add_settlements(command: argparse.ArgumentParser) -> None:
    command.add_argument("--member", default="", metavar="ID", help="only this member's")
    command.add_argument(
        "--limit", type=arguments.number(1, MAX_ROWS), default=20, metavar="N", help="how many at most (20)"
    )


def _add_payment(command: argparse.ArgumentParser) -> None:
    command.add_argument("--buyer", required=True, metavar="ID", help="who paid")
    command.add_argument("--month", type=_month, required=True, metavar="MONTH", help="of the bill, as 2026-03")
    command.add_argument(
        "--amount", type=_amount, required=True, metavar="AMOUNT", help="in the consortium's currency, e.g. 42780"
    )


def _add_credit_note(command: argparse.ArgumentParser) -> None:
    _add_payment(command)
    command.add_argument("--reason", choices=get_args(CreditReason), default="agreement", help="why (agreement)")


def _add_output(command: argparse.ArgumentParser, endings: str) -> None:
    command.add_argument("--output", type=Path, required=True, metavar="FILE", help=f"its name ends with {endings}")
    command.add_argument("--language", choices=LANGUAGES, default="en", help="of the document (en)")
    command.add_argument(
        "--parties", type=Path, metavar="FILE", help="TOML with name and registration of members, for printing only"
    )
    command.add_argument("--fonts", type=Path, metavar="DIR", help="where NanumGothic.ttf and NanumGothicBold.ttf are")


def _add_line(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--line",
        type=arguments.number(1, MAX_LINE),
        action="append",
        default=[],
        metavar="N",
        help="only this line, repeatable",
    )


def _add_export(command: argparse.ArgumentParser) -> None:
    command.add_argument("what", metavar="WHAT", help="a bill (its number, or MONTH/SELLER/BUYER) or a month")
    command.add_argument("--member", default="", metavar="ID", help="whose statement; ours if none is named")
    _add_line(command)
    _add_output(command, ".csv, .pdf or (a bill's evidence) .jsonl")


def _add_certificate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "retirement", type=arguments.transaction_id, metavar="TRANSACTION", help="that retired the lots"
    )
    _add_output(command, ".json or .pdf")


def _add_verify(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "target", metavar="TARGET", help="a certificate or evidence file; or a bill, which the node is asked for"
    )
    command.add_argument("--genesis", type=Path, metavar="FILE", help="the consortium's genesis.json; needed for files")
    command.add_argument(
        "--chain", type=Path, metavar="FILE", help="the whole chain, from minervas-ledger export: plays it again"
    )
    command.add_argument("--maps", type=Path, metavar="DIR", help="further meter maps, beside the shipped ones")
    _add_line(command)
