"""A member as the operator sees it, with everything that is known: for the commands and for the pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from minervas_admission.store.applications import ApplicationRow, applications_of
from minervas_admission.store.certificates import CertificateRow, certificates_of_member
from minervas_admission.store.database import Connection
from minervas_admission.store.decisions import Decision, StepRow, decisions_of_member, steps_of
from minervas_admission.store.members import MemberOverview, member_overviews
from minervas_admission.store.presence import PresenceRow, presences
from minervas_admission.store.transactions import ALIVE, TransactionRow, transactions_of_member
from minervas_core.errors import Code, LocalFault
from minervas_core.market.records import MeterDeclaration
from minervas_core.membership import membership_of
from minervas_core.transactions import RegisterMeter, decode_transaction

SILENT_MS = 120_000
"""A process tells of itself every half minute; one that was not heard of for so long is silent."""

MUCH_USED_PER_MILLE = 900
"""From here on a disk or spool needs attention."""

CLOCK_OFF_MS = 5_000
"""From here on a clock needs attention; less may come from a slow network."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a process told and that needs attention."""

    kind: Literal["disk", "spool", "clock"]
    value: int
    """Per mille in use; how far the clock is off, in ms."""


def problems_of(row: PresenceRow) -> list[Problem]:
    """What a process told that needs attention."""
    found = []
    if row.disk_use_per_mille is not None and row.disk_use_per_mille >= MUCH_USED_PER_MILLE:
        found.append(Problem("disk", row.disk_use_per_mille))
    if row.spool_use_per_mille is not None and row.spool_use_per_mille >= MUCH_USED_PER_MILLE:
        found.append(Problem("spool", row.spool_use_per_mille))
    if row.clock_offset_ms is not None and abs(row.clock_offset_ms) >= CLOCK_OFF_MS:
        found.append(Problem("clock", row.clock_offset_ms))
    return found


@dataclass(frozen=True, slots=True)
class Presences:
    """What is known of a member's processes at one time."""

    rows: tuple[PresenceRow, ...]
    now_ms: int

    def state(self, row: PresenceRow) -> str:
        """online, silent (it said online, but was not heard of for two minutes), or offline."""
        if row.state == "online" and row.seen_ms < self.now_ms - SILENT_MS:
            return "silent"
        return row.state

    def in_state(self, state: str) -> list[PresenceRow]:
        """Those that are online, silent, or offline."""
        return [row for row in self.rows if self.state(row) == state]

    @property
    def problems(self) -> list[tuple[str, Problem]]:
        """What needs attention, by service."""
        return [(service_of(row), problem) for row in self.rows for problem in problems_of(row)]

    @property
    def best_tip(self) -> int | None:
        """Greatest height that one of them told."""
        return max((row.tip_height for row in self.rows if row.tip_height is not None), default=None)

    @property
    def last_seen_ms(self) -> int | None:
        """When one of them was last heard of."""
        return max((row.seen_ms for row in self.rows), default=None)


@dataclass(frozen=True, slots=True)
class MeterView:
    """A meter of a member."""

    declaration: MeterDeclaration
    transaction: TransactionRow
    """Which registers it."""


@dataclass(frozen=True, slots=True)
class DecisionView:
    """A decision and what became of it."""

    decision: Decision
    steps: tuple[StepRow, ...]


@dataclass(frozen=True, slots=True)
class MemberView:
    """Everything about one member."""

    overview: MemberOverview
    application: ApplicationRow
    """On which it was admitted; its personal data may be deleted."""
    certificates: tuple[CertificateRow, ...]
    presence: Presences
    transactions: tuple[TransactionRow, ...]
    meters: tuple[MeterView, ...]
    decisions: tuple[DecisionView, ...]


def service_of(row: PresenceRow) -> str:
    """The service without its member."""
    return row.principal.partition(".")[2]


async def read_members(connection: Connection, now_ms: int) -> list[tuple[MemberOverview, Presences]]:
    """All members that ever were, by name, with their processes."""
    rows: defaultdict[str, list[PresenceRow]] = defaultdict(list)
    for row in await presences(connection):
        rows[row.member].append(row)
    overviews = await member_overviews(connection)
    return [(overview, Presences(tuple(rows[overview.member]), now_ms)) for overview in overviews]


async def read_member(connection: Connection, member: str, now_ms: int) -> MemberView:
    """One member.

    Raises:
        LocalFault: ``not_found``.
    """
    overviews = await member_overviews(connection, member=member)
    if not overviews:
        raise LocalFault(Code.NOT_FOUND, "There is no such member", member=member)
    own = {row.id: row for row in await applications_of(connection, member)}
    transactions = await transactions_of_member(connection, member)
    decisions = await decisions_of_member(connection, member)
    return MemberView(
        overview=overviews[0],
        application=own[overviews[0].application],
        certificates=tuple(await certificates_of_member(connection, member)),
        presence=Presences(tuple(await presences(connection, member=member)), now_ms),
        transactions=tuple(transactions),
        meters=tuple(_meters(transactions)),
        decisions=tuple([DecisionView(each, tuple(await steps_of(connection, each.id))) for each in decisions]),
    )


def _meters(transactions: Iterable[TransactionRow]) -> Iterable[MeterView]:
    for row in transactions:
        if row.action == "register_meter" and row.state in ALIVE:
            change = membership_of(decode_transaction(row.raw)).change
            if isinstance(change, RegisterMeter):
                yield MeterView(change.meter, row)
