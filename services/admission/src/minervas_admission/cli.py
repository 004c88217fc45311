"""The command line: which command with which arguments."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from minervas_admission import __version__
from minervas_admission.ca import SERVER_DAYS
from minervas_admission.ca_rollover import FINISH, START, SWITCH
from minervas_admission.commands import doctor, members, personal, show
from minervas_admission.commands.decide import Decisions
from minervas_admission.commands.show_ca import show_cas
from minervas_admission.parameter_changes import wanted_change
from minervas_admission.server_request import make_server_request
from minervas_admission.settings import AdmissionSettings, load_admission_settings
from minervas_core.rights import ADMISSION
from minervas_runtime.backup.command import COMMANDS as BACKUP_COMMANDS
from minervas_runtime.backup.command import add_backup_commands
from minervas_runtime.service import EXIT_FAILED, EXIT_OK, report_errors, run_service

PROGRAM = "minervas-admission"
DEFAULT_CONFIG = Path("admission.toml")
DEFAULT_TIMEOUT_S = 60.0
CA_STEPS = {"start-rollover": START, "switch": SWITCH, "finish": FINISH}
WITHOUT_SETTINGS = ("version", "server-request", *BACKUP_COMMANDS)
DECISIONS = ("approve", "reject", "revoke", "leave", "suspend", "resume", "parameters", "reconcile")
GRAFANA_COMMAND = "grafana"
ACCOUNT_COMMANDS = ("first-password", "reset-password", "accounts")


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 wrong usage or settings."""
    given = _parser().parse_args(arguments)
    try:
        return report_errors(PROGRAM, lambda: _carry_out(given))
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted; a decision that was recorded stands", file=sys.stderr)
        return EXIT_FAILED


def _carry_out(given: argparse.Namespace) -> int:
    if given.command in WITHOUT_SETTINGS:
        _without_settings(given)
        return EXIT_OK
    settings = load_admission_settings(given.config)
    if given.command == "run":
        # Only here, because it brings the web framework: the operator's commands need not wait a second for it.
        from minervas_admission.service import run_admission  # noqa: PLC0415

        return run_service(ADMISSION.service, settings, run_admission)
    if given.command == "doctor":
        return asyncio.run(doctor.run_doctor(settings, as_json=given.json))
    actions: dict[str, Callable[[], None]] = {
        "support-bundle": lambda: asyncio.run(doctor.run_support_bundle(settings, given)),
        "fingerprint": lambda: show.show_fingerprint(settings),
        "pending": lambda: asyncio.run(show.show_pending(settings, as_json=given.json)),
        "members": lambda: asyncio.run(_members(settings, given)),
        "audit": lambda: asyncio.run(show.show_audit(settings, as_json=given.json, head=given.head)),
        "export": lambda: asyncio.run(personal.run_export(settings, given.wanted, given.out)),
        "catch-up": lambda: asyncio.run(_restoring().run_catch_up(settings, given.chain)),
        GRAFANA_COMMAND: lambda: asyncio.run(_grafana(settings, given)),
        "forget": lambda: asyncio.run(personal.run_forget(settings, given.wanted, confirmed=given.yes)),
    }
    if given.command in actions:
        actions[given.command]()
    elif given.command == "ca":
        asyncio.run(_replace_ca(settings, given))
    elif given.command in DECISIONS:
        asyncio.run(_decide(settings, given))
    elif given.command in ACCOUNT_COMMANDS:
        asyncio.run(_change_accounts(settings, given))
    else:
        _on_host(settings, given)
    return EXIT_OK


def _without_settings(given: argparse.Namespace) -> None:
    """Carry out what needs none: some of it runs where admission is not."""
    match given.command:
        case "version":
            print(f"{PROGRAM} {__version__}")
        case "server-request":
            make_server_request(given.key, given.out)
        case _:
            _restoring().run_backup(given)


async def _members(settings: AdmissionSettings, given: argparse.Namespace) -> None:
    if given.member:
        await members.show_member(settings, given.member, as_json=given.json)
    else:
        await members.show_members(settings, as_json=given.json)


async def _decide(settings: AdmissionSettings, given: argparse.Namespace) -> None:
    decisions = Decisions(
        settings,
        timeout_s=getattr(given, "timeout", DEFAULT_TIMEOUT_S),
        on_chain=getattr(given, "on_chain", False),
        as_json=given.json,
    )
    match given.command:
        case "approve":
            await decisions.approve(given.wanted, confirmed=given.yes)
        case "reject":
            await decisions.reject(given.wanted, given.reason)
        case "revoke":
            await decisions.revoke(
                given.member, given.reason, confirmed=given.yes, operator_member_meant=given.operator_member
            )
        case "leave":
            await decisions.leave(
                given.member, given.reason, confirmed=given.yes, operator_member_meant=given.operator_member
            )
        case "suspend":
            await decisions.suspend(
                given.member, given.reason, confirmed=given.yes, operator_member_meant=given.operator_member
            )
        case "resume":
            await decisions.resume(given.member, given.reason, confirmed=given.yes)
        case "parameters":
            wanted = wanted_change(given.at, given.changes)
            await decisions.parameters(wanted, confirmed=given.yes)
        case "reconcile":
            await decisions.reconcile()


async def _grafana(settings: AdmissionSettings, given: argparse.Namespace) -> None:
    # Only here, because it brings the client.
    from minervas_admission.commands import grafana  # noqa: PLC0415

    match given.action:
        case "check":
            await grafana.check(settings, as_json=given.json)
        case "link":
            await grafana.make_member_link(settings, given.member)
        case "test-alert":
            await grafana.send_test_alert(settings)
        case "reconcile":
            await Decisions(settings, timeout_s=given.timeout, on_chain=False, as_json=given.json).reconcile()


async def _change_accounts(settings: AdmissionSettings, given: argparse.Namespace) -> None:
    # Only here, because it brings Argon2.
    from minervas_admission.commands import accounts  # noqa: PLC0415

    match given.command, getattr(given, "action", ""):
        case "first-password", _:
            await accounts.first_password(settings, given.name)
        case "reset-password", _:
            await accounts.reset_password(settings, given.name)
        case _, "add":
            await accounts.add_account(settings, given.name)
        case _, "disable":
            await accounts.disable_account(settings, given.name)
        case _, "enable":
            await accounts.enable_account(settings, given.name)
        case _, "list":
            await accounts.list_accounts(settings, as_json=given.json)


async def _replace_ca(settings: AdmissionSettings, given: argparse.Namespace) -> None:
    if given.step == "show":
        await show_cas(settings, as_json=given.json)
        return
    decisions = Decisions(settings, timeout_s=given.timeout, on_chain=False, as_json=given.json)
    await decisions.change_ca(CA_STEPS[given.step], force=given.force, confirmed=given.yes)


def _restoring() -> ModuleType:
    """Backup and restore: only when asked for, because restoring brings the migration tool."""
    from minervas_admission.commands import restoring  # noqa: PLC0415

    return restoring


def _on_host(settings: AdmissionSettings, given: argparse.Namespace) -> None:
    """Carry out what is done on the host before the service runs."""
    # Only here, because it brings the migration tool, which the operator's commands need not wait for either.
    from minervas_admission.commands import host  # noqa: PLC0415

    match given.command:
        case "check-config":
            host.run_check_config(settings, given.config)
        case "init":
            host.run_init(settings)
        case "logins":
            host.run_logins(settings, given.config, given.out)
        case "migrate":
            host.run_migrate(settings)
        case "sign-server":
            host.run_sign_server(
                settings,
                request=given.csr,
                name=given.name,
                server_names=[*given.dns, *given.ip],
                days=given.days,
                out=given.out,
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Who may take part in the consortium, and proving it.")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="settings (TOML)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="settings (TOML)")
        return added

    for name, text in (
        ("run", "run the service"),
        ("init", "make CA, authority key, genesis and own certificates, as far as missing"),
        ("migrate", "bring the database up to date"),
        ("check-config", "check the settings"),
        ("fingerprint", "print the CA's fingerprint, which applicants need"),
        ("version", "print the version"),
    ):
        command(name, text)
    _add_shows(command)
    logins = command("logins", "make the passwords of the database's roles, and hand in what PostgreSQL keeps of them")
    logins.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the verifiers go")
    request = command("server-request", "make the key of the broker or another server, and a request to have signed")
    request.add_argument("--key", type=Path, required=True, metavar="FILE", help="the private key; made if missing")
    request.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the request goes")
    _add_sign_server(command("sign-server", "sign the certificate of the broker or another server"))
    _add_ca(command("ca", "replace the certificate authority"))
    _add_grafana(command(GRAFANA_COMMAND, "who has access to Grafana, links for passwords, a test alert"))
    _add_decisions(command)
    _add_accounts(command)
    examined = command("doctor", "look for what is wrong: clock, disk, certificates, list, broker, database")
    examined.add_argument("--json", action="store_true", help="for programs")
    bundle = command("support-bundle", "write states, numbers and logs, but no secrets, into a file for whoever helps")
    bundle.add_argument("file", type=Path, metavar="FILE", help="a new file (.zip)")
    bundle.add_argument("--log", type=Path, action="append", default=[], metavar="LOG", help="a log; repeatable")
    restore = add_backup_commands(command, Path("operator-backup.toml"))
    for each in (restore, command("catch-up", "after a restore: take over what the chain says of the members")):
        _add_chain(each)
    return parser


def _add_chain(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    text = "the chain, exported by any member with `minervas-ledger export`: it knows who was revoked since"
    source.add_argument("--chain", type=Path, metavar="FILE", help=text)
    text = "nobody was approved, revoked or suspended since the backup"
    source.add_argument("--without-chain", action="store_const", dest="chain", const=None, help=text)


def _add_shows(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    pending = command("pending", "list applications that wait for a decision")
    listed = command("members", "list members: certificates, where they stand on chain, who is there")
    listed.add_argument("member", nargs="?", metavar="MEMBER", help="everything about one member")
    audit = command("audit", "print the audit log and check that nothing was changed")
    audit.add_argument("--head", default="", metavar="NUMBER:HASH", help="compare with a head that was kept elsewhere")
    for parser in (pending, listed, audit):
        parser.add_argument("--json", action="store_true", help="for programs")
    export = command("export", "write everything that is held about a member or an application into a file")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file; it gets mode 0600")
    forget = command("forget", "delete the personal data of an ended membership or a rejected application")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    for parser in (export, forget):
        parser.add_argument("wanted", metavar="MEMBER|ID")


def _add_sign_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csr", type=Path, required=True, metavar="FILE", help="the server's certificate request")
    parser.add_argument("--dns", action="append", default=[], metavar="NAME", help="name under which it is reached")
    parser.add_argument(
        "--ip", action="append", default=[], metavar="ADDRESS", help="address under which it is reached"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the certificate goes")
    parser.add_argument("--name", default="consortium.broker", help="who it is (default: %(default)s)")
    parser.add_argument("--days", type=int, default=SERVER_DAYS, help="how long it is valid (default: %(default)s)")


def _add_accounts(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    first = command("first-password", "make the first account of the operator's pages and print its password")
    first.add_argument("name", nargs="?", default="admin", metavar="NAME", help="of the account (default: %(default)s)")
    reset = command("reset-password", "print a new password of an account of the operator's pages")
    reset.add_argument("name", metavar="NAME")
    accounts = command("accounts", "add, disable, enable or list accounts of the operator's pages")
    actions = accounts.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, text in (
        ("add", "make an account and print its password"),
        ("disable", "close an account; its sessions end"),
        ("enable", "open a closed account again"),
        ("list", "list accounts"),
    ):
        parser = actions.add_parser(action, help=text, description=text)
        parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="settings (TOML)")
        if action == "list":
            parser.add_argument("--json", action="store_true", help="for programs")
        else:
            parser.add_argument("name", metavar="NAME")


def _add_grafana(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, text in (
        ("check", "ask Grafana and the readers' database, and show everybody's access"),
        ("link", "print a one-time link with which a member sets its password"),
        ("test-alert", "send a test alert to whom the settings name"),
        ("reconcile", "compare everybody's access and repair it; the service does it hourly"),
    ):
        one = actions.add_parser(action, help=text, description=text)
        one.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="settings (TOML)")
        if action == "link":
            one.add_argument("member", metavar="MEMBER")
        if action in ("check", "reconcile"):
            one.add_argument("--json", action="store_true", help="for programs")
        if action == "reconcile":
            one.add_argument(
                "--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="SECONDS", help="how long to wait"
            )


def _add_ca(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for name, text in (
        ("show", "show the CAs in use, and which certificates are of which"),
        ("start-rollover", "make a new CA, which everybody trusts beside the old one"),
        ("switch", "sign with the new CA, two days later at the earliest"),
        ("finish", "trust the old CA no more, once none of its certificates is valid"),
    ):
        step = steps.add_parser(name, help=text, description=text)
        step.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="settings (TOML)")
        step.add_argument("--json", action="store_true", help="for programs")
        if name == "show":
            continue
        step.add_argument("--yes", action="store_true", help="do not ask")
        step.add_argument("--force", action="store_true", help="even if nodes or members are cut off by it")
        step.add_argument(
            "--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="SECONDS", help="how long to wait"
        )


def _add_decisions(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    approve = command("approve", "approve an application")
    approve.add_argument("wanted", metavar="ID|MEMBER")
    reject = command("reject", "reject an application; its name and keys become free again")
    reject.add_argument("wanted", metavar="ID|MEMBER")
    revoke = command("revoke", "end a membership for ever")
    revoke.add_argument("member", metavar="MEMBER")
    leave = command("leave", "end a membership for ever because the member wants it")
    suspend = command("suspend", "take a member's vote away: finality neither waits for it nor counts it")
    resume = command("resume", "give a suspended member its vote back")
    for parser in (revoke, leave, suspend):
        parser.add_argument(
            "--operator-member", action="store_true", help="the operator's own member is meant: it confirms the chain"
        )
    for parser in (leave, suspend, resume):
        parser.add_argument("member", metavar="MEMBER")
        parser.add_argument("--reason", default="", help="recorded")
    parameters = command("parameters", "change parameters of the consortium from a height on")
    parameters.add_argument("--at", type=int, required=True, metavar="HEIGHT", help="first block judged by the change")
    parameters.add_argument(
        "changes", nargs="*", metavar="NAME=VALUE", help="new value; with none, what waits for the height is taken back"
    )
    reconcile = command("reconcile", "compare broker and revocation list with the database and repair them")
    for parser in (approve, revoke, leave, suspend, resume, parameters):
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--on-chain", action="store_true", help="wait also for the chain's confirmation")
    for parser in (reject, revoke):
        parser.add_argument("--reason", required=True, help="recorded, and told to the member")
    for parser in (approve, revoke, leave, suspend, resume, parameters, reconcile):
        parser.add_argument(
            "--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="SECONDS", help="how long to wait (%(default)s)"
        )
    for parser in (approve, reject, revoke, leave, suspend, resume, parameters, reconcile):
        parser.add_argument("--json", action="store_true", help="for programs")
