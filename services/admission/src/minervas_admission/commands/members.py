"""members: all of them, or everything about one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec

from minervas_admission.commands.output import harmless, milliseconds, say, say_json, table, when
from minervas_admission.commands.show import one_transaction
from minervas_admission.member_view import MemberView, Presences, Problem, read_member, read_members, service_of
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.members import ENDED, MemberOverview
from minervas_admission.store.presence import PresenceRow
from minervas_admission.store.transactions import TransactionRow
from minervas_runtime.clock import SystemClock


async def show_members(settings: AdmissionSettings, *, as_json: bool) -> None:
    """Print all members that ever were.

    Raises:
        TransientFault: ``database_away``.
    """
    async with one_transaction(settings) as connection:
        rows = await read_members(connection, SystemClock().now_ms())
    if as_json:
        say_json([{**_overview_object(row), "presence": _presence_object(found)} for row, found in rows])
        return
    if not rows:
        say("There are no members yet.")
        return
    table(
        ("MEMBER", "NAME", "STATE", "SINCE", "CERTIFICATES UNTIL", "ON CHAIN", "METERS", "PRESENCE"),
        [
            (
                row.member,
                row.name or "-",
                standing(row),
                when(row.ended_ms or row.approved_ms),
                when(row.certificate_expires_ms),
                on_chain(row),
                str(row.meters),
                "-" if row.state in ENDED else there(row, found),
            )
            for row, found in rows
        ],
    )


async def show_member(settings: AdmissionSettings, member: str, *, as_json: bool) -> None:
    """Print everything about one member.

    Raises:
        LocalFault: ``not_found``.
        TransientFault: ``database_away``.
    """
    async with one_transaction(settings) as connection:
        view = await read_member(connection, member, SystemClock().now_ms())
    if as_json:
        say_json(_member_object(view))
        return
    _print_head(view)
    _print_parts(view)


def there(overview: MemberOverview, found: Presences) -> str:
    """Who of a member is there, in words."""
    parts = [f"{len(found.in_state('online'))} of {overview.services} online"]
    parts += [f"{service_of(row)} silent since {when(row.seen_ms)}" for row in found.in_state("silent")]
    parts += [f"{service_of(row)} offline since {when(row.since_ms)}" for row in found.in_state("offline")]
    parts += [f"{service}: {_problem(problem)}" for service, problem in found.problems]
    return ", ".join(parts)


def _problem(problem: Problem) -> str:
    if problem.kind == "clock":
        return f"clock {problem.value / 1000:+,.1f} s off"
    return f"{problem.kind} {problem.value / 10:.0f} % full"


def standing(row: MemberOverview) -> str:
    """State of a membership, in words."""
    return f"{row.state}, no vote" if row.suspended_ms and row.state not in ENDED else row.state


DONE = {
    "admit": "admitted",
    "leave": "left",
    "recover": "recovery announced",
    "register_meter": "meter registered",
    "resume": "vote resumed",
    "revoke": "revoked",
    "rotate": "keys rotated",
    "suspend": "vote suspended",
}
"""What a membership transaction in a block has done, by its action."""


def on_chain(row: MemberOverview) -> str:
    """Where the member's newest transaction stands, in words."""
    return place(row.action, row.chain_state, row.height, row.depth) if row.action else "-"


def place(action: str, state: str, height: int, depth: int) -> str:
    """Where a transaction stands, in words."""
    match state:
        case "settled":
            return f"{DONE[action]} in block {height}"
        case "open" if height:
            return f"{DONE[action]} in block {height}, {depth} deep"
        case "moot":
            return "was never on chain"
        case "expired":
            return f"{action} expired"
        case _:
            return f"{action} waits for a block"


def _place(row: TransactionRow) -> str:
    return place(row.action, row.state, row.height, row.depth)


def _print_head(view: MemberView) -> None:
    row, application = view.overview, view.application
    say(row.member)
    if row.forgotten_ms:
        say(f"  personal     deleted {when(row.forgotten_ms)}")
    else:
        say(f"  name         {harmless(row.name)}")
        say(f"  contact      {harmless(application.contact)}")
        say(f"  applied      {when(application.received_ms)} from {harmless(application.remote_address)}")
    say(f"  application  {application.id}, fingerprint {application.fingerprint}")
    ended = f", {row.state} {when(row.ended_ms)}" if row.ended_ms else ""
    say(f"  state        {standing(row)}, approved {when(row.approved_ms)}{ended}")
    if row.end_reason:
        say(f"  reason       {harmless(row.end_reason)}")
    say(f"  on chain     {on_chain(row)}")


def _print_parts(view: MemberView) -> None:
    say("\nServices")
    table(
        ("SERVICE", "STATE", "SINCE", "LAST SEEN", "VERSION", "TIP", "DISK", "SPOOL", "CLOCK"),
        [_presence_line(view.presence, row) for row in view.presence.rows],
    )
    say("\nCertificates")
    table(
        ("SERVICE", "SERIAL", "FROM", "UNTIL", "REVOKED"),
        [
            (row.principal.partition(".")[2], row.serial, when(row.not_before_ms), when(row.not_after_ms),
             when(row.revoked_ms))
            for row in view.certificates
        ],
    )  # fmt: skip
    say("\nMeters")
    for meter in view.meters:
        channels = ", ".join(f"{channel.name} {channel.rated_w:,} W" for channel in meter.declaration.channels)
        say(f"{meter.declaration.meter}: {meter.declaration.model}, {channels}; {_place(meter.transaction)}")
    say("\nTransactions")
    for item in view.transactions:
        say(f"{item.number:>6}  {_place(item)}  {item.id}")
    say("\nDecisions")
    for each in view.decisions:
        decision = each.decision
        reason = f": {decision.reason}" if decision.reason else ""
        made = f"{when(decision.made_ms)}  {decision.who}  {decision.kind}  {decision.state}"
        say(harmless(f"{decision.id:>6}  {made}{reason}"))
        for step in each.steps:
            say(f"          {step.step:<16} {milliseconds(step.took_us):>12}   {harmless(step.detail)}")


def _presence_line(found: Presences, row: PresenceRow) -> tuple[str, ...]:
    return (
        service_of(row),
        found.state(row),
        when(row.since_ms),
        when(row.seen_ms),
        row.version,
        "-" if row.tip_height is None else f"{row.tip_height} {(row.tip_hash or '')[:12]}",
        _share(row.disk_use_per_mille),
        _share(row.spool_use_per_mille),
        "-" if row.clock_offset_ms is None else f"{row.clock_offset_ms / 1000:+.1f} s",
    )


def _share(per_mille: int | None) -> str:
    return "-" if per_mille is None else f"{per_mille / 10:.1f} %"


def _overview_object(row: MemberOverview) -> dict[str, Any]:
    """For programs: no member is without a value."""
    return {name: 0 if value is None else value for name, value in asdict(row).items()}


def _presence_object(found: Presences) -> list[dict[str, Any]]:
    return [{**asdict(row), "state": found.state(row)} for row in found.rows]


def _member_object(view: MemberView) -> dict[str, Any]:
    application = asdict(view.application)
    del application["content"], application["token_hash"]
    return {
        **_overview_object(view.overview),
        "application": application,
        "presence": _presence_object(view.presence),
        "certificates": [asdict(row) for row in view.certificates],
        "meters": [
            {**msgspec.to_builtins(meter.declaration), "state": meter.transaction.state} for meter in view.meters
        ],
        "transactions": [
            {name: value for name, value in asdict(row).items() if name != "raw"} for row in view.transactions
        ],
        "decisions": [
            {**asdict(each.decision), "steps": [asdict(step) for step in each.steps]} for each in view.decisions
        ],
    }
