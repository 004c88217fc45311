"""The command line `minervas`: which command with which arguments."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from minervas_peer import __version__, arguments
from minervas_peer.api_client import ApiClient
from minervas_peer.bill_cli import add_bill_commands, bill_actions
from minervas_peer.commands.abandoned import show_abandoned
from minervas_peer.commands.blocks import show_block, show_blocks
from minervas_peer.commands.branches import show_branches
from minervas_peer.commands.check_proof import show_proof
from minervas_peer.commands.doctor import add_doctor_commands, run_doctor, run_support_bundle
from minervas_peer.commands.finality import show_finality
from minervas_peer.commands.members import show_members
from minervas_peer.commands.output import Output
from minervas_peer.commands.renew import run_renew
from minervas_peer.commands.status import show_status
from minervas_peer.commands.transaction import show_transaction
from minervas_peer.join_cli import add_join_arguments, carry_out_join
from minervas_peer.keys_cli import add_keys_command, run_keys
from minervas_peer.market_cli import add_market_commands, market_actions
from minervas_peer.rules_cli import add_rules_command, run_rules
from minervas_peer.settings import ApiSettings
from minervas_runtime.backup.command import COMMANDS as BACKUP_COMMANDS
from minervas_runtime.backup.command import add_backup_commands, run_backup_command
from minervas_runtime.service import EXIT_FAILED, EXIT_OK, report_errors

PROGRAM = "minervas"
API_VARIABLE = "MINERVAS_API"
TOKEN_VARIABLE = "MINERVAS_API_TOKEN_FILE"  # noqa: S105  # a variable's name
DEFAULT_API = f"http://{ApiSettings().host}:{ApiSettings().port}"
MAX_PAGE = 200
MAX_HEIGHT = 10**15 - 1
MAX_SECONDS = 10**9


def main() -> int:
    """Entry point; returns the exit status."""
    return run(sys.argv[1:])


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        return report_errors(PROGRAM, lambda: _carry_out(given))
    except KeyboardInterrupt:
        sys.stderr.write(f"{PROGRAM}: interrupted; run the same command again to go on\n")
        return EXIT_FAILED


def _carry_out(given: argparse.Namespace) -> int:
    if given.command == "version":
        print(f"{PROGRAM} {__version__}")
        return EXIT_OK
    if given.command == "join":
        carry_out_join(given, Output())
        return EXIT_OK
    if given.command == "check-proof":
        show_proof(given.proof, given.genesis, Output(as_json=given.json))
        return EXIT_OK
    if given.command in BACKUP_COMMANDS:
        say = Output().say
        run_backup_command(given, kind="node", other_program="minervas-admission", version=__version__, say=say)
        return EXIT_OK
    with ApiClient(given.api, given.token_file) as client:
        if given.command == "doctor":
            return run_doctor(given, client, Output(as_json=given.json))
        _show(given, client, Output(as_json=given.json))
    return EXIT_OK


def _show(given: argparse.Namespace, client: ApiClient, output: Output) -> None:
    actions: dict[str, Callable[[], None]] = {
        "status": lambda: show_status(client, output),
        "members": lambda: show_members(client, output),
        "blocks": lambda: show_blocks(client, output, below_height=given.below, limit=given.limit),
        "block": lambda: show_block(client, output, given.reference),
        "tx": lambda: show_transaction(client, output, given.id),
        "finality": lambda: show_finality(client, output),
        "abandoned": lambda: show_abandoned(client, output, limit=given.limit),
        "branches": lambda: show_branches(client, output, limit=given.limit),
    }
    actions["renew"] = lambda: run_renew(client, output, force=given.force, timeout_s=given.timeout)
    actions.update(market_actions(given, client, output))
    actions.update(bill_actions(given, client, output))
    actions["support-bundle"] = lambda: run_support_bundle(given, client, output)
    actions["keys"] = lambda: run_keys(given, client, output)
    actions["rules"] = lambda: run_rules(given, client, output)
    actions[given.command]()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Join a Minervas consortium, look at your node, and trade."
    )
    _add_common(
        parser, api=os.environ.get(API_VARIABLE, DEFAULT_API), as_json=False, token_file=os.environ.get(TOKEN_VARIABLE)
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    join = commands.add_parser("join", help="apply for membership and install what is granted; add gateways")
    add_join_arguments(join)
    for name, text in (
        ("status", "the node at a glance"),
        ("members", "everybody who is or was a member"),
        ("blocks", "the newest blocks"),
        ("block", "one block with its transactions"),
        ("tx", "one transaction and where it stands"),
        ("finality", "how far finality has come, and whom it waits for"),
        ("abandoned", "searches of our miner that found nothing in time"),
        ("branches", "branches that our node knows and does not follow"),
    ):
        command = commands.add_parser(name, help=text)
        _add_shared(command)
        _add_arguments(name, command)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        _add_shared(command)
        return command

    add_market_commands(add)
    add_rules_command(add, _add_shared)
    add_bill_commands(add)
    add_keys_command(add)
    add_doctor_commands(add)
    _add_renew(add("renew", "renew the certificates of the node's services now"))
    _add_check_proof(add("check-proof", "check a proof that a transaction is final; needs no node"))
    add_backup_commands(lambda name, text: commands.add_parser(name, help=text, description=text))
    commands.add_parser("version", help="show the version")
    return parser


def _add_shared(command: argparse.ArgumentParser) -> None:
    """The common options once more, for who writes them behind the command."""
    _add_common(command, api=argparse.SUPPRESS, as_json=argparse.SUPPRESS, token_file=argparse.SUPPRESS)


def _add_common(parser: argparse.ArgumentParser, *, api: str, as_json: str | bool, token_file: str | None) -> None:
    """Options that may stand before or after the command; what is suppressed there keeps the value given here."""
    text = f"the peer's API; {API_VARIABLE} in the environment says the same ({DEFAULT_API})"
    parser.add_argument("--api", type=arguments.http_url, default=api, metavar="URL", help=text)
    parser.add_argument("--json", action="store_true", default=as_json, help="print JSON for programs")
    text = f"the peer's api.token, to trade; {TOKEN_VARIABLE} in the environment says the same"
    parser.add_argument("--token-file", type=Path, default=token_file, metavar="FILE", help=text)


def _add_arguments(name: str, command: argparse.ArgumentParser) -> None:
    if name in ("blocks", "abandoned", "branches"):
        command.add_argument(
            "--limit", type=arguments.number(1, MAX_PAGE), default=20, metavar="N", help="how many at most (20)"
        )
    if name == "blocks":
        command.add_argument(
            "--below", type=arguments.number(0, MAX_HEIGHT), default=0, metavar="HEIGHT", help="only below this height"
        )
    if name == "block":
        command.add_argument(
            "reference", type=arguments.block_reference, metavar="REF", help="hash, or height on the best chain"
        )
    if name == "tx":
        command.add_argument("id", type=arguments.transaction_id, metavar="ID", help="id of the transaction")


def _add_renew(command: argparse.ArgumentParser) -> None:
    command.add_argument("--force", action="store_true", help="all of them, also those that are not due")
    command.add_argument(
        "--timeout",
        type=arguments.number(1, MAX_SECONDS),
        default=60,
        metavar="SECONDS",
        help="give up waiting after this time (60)",
    )


def _add_check_proof(command: argparse.ArgumentParser) -> None:
    command.add_argument("proof", type=Path, metavar="FILE", help="as `minervas-ledger prove` wrote it")
    command.add_argument(
        "--genesis",
        type=Path,
        required=True,
        metavar="FILE",
        help="the consortium's genesis.json, from a source you trust",
    )


if __name__ == "__main__":
    sys.exit(main())
