"""Giving and taking access to Grafana. Each part finds or makes what it is about, and is recorded when it is done.

The order follows from who needs what: the organisation, the database role and the data source with its password, the
folder with the dashboards, preferences, the user and its place. At the end a query through Grafana must show exactly
this member; before that the access does not count as open. What is about one
member takes turns.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from minervas_admission.grafana.dashboards import (
    NO_ALERT_RULES,
    NO_DASHBOARDS,
    Dashboards,
    in_language,
    read_alert_rules,
    read_dashboards,
)
from minervas_admission.grafana.operator_alerts import OperatorAlerts
from minervas_admission.grafana.readers import ReaderRoles
from minervas_admission.grafana.server import GrafanaServer, Source
from minervas_admission.sagas.steps import Superseded
from minervas_admission.settings import GrafanaSettings
from minervas_admission.store.database import Database
from minervas_admission.store.grafana import AccessRow, delete_links, ensure_access, find_access, set_access
from minervas_admission.store.members import ENDED, find_member
from minervas_core.errors import Code, LocalFault, MinervasError
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

SEEN = "SELECT current_member() AS member UNION SELECT DISTINCT member FROM reading_channels"
"""Which members a data source shows: its own, and whoever else there would be rows of."""
FLEET_SEEN = "SELECT count(*) FROM fleet"

LANGUAGES = {"ko": "ko-KR", "en": "en-US"}
"""Grafana's names."""


@dataclass(frozen=True)
class GrafanaAccess:
    """Everybody's access to one Grafana."""

    settings: GrafanaSettings
    database: Database
    clock: Clock
    time_zone: str
    server: GrafanaServer
    readers: ReaderRoles
    alerts: OperatorAlerts
    _turns: weakref.WeakValueDictionary[str, asyncio.Lock] = field(default_factory=weakref.WeakValueDictionary)

    async def give(self, member: str) -> str:
        """Give a member its access, or what is left of it; also renews what has changed.

        Raises:
            Superseded: if the membership has ended.
            LocalFault: ``grafana_not_isolated`` if the data source shows others, or not the member.
            TransientFault: ``grafana_away`` or ``database_away``.
        """
        async with self._turn(member):
            try:
                return await self._give(member)
            except MinervasError as error:
                await self._record(member, problem=str(error)[:500])
                raise

    def _turn(self, member: str) -> asyncio.Lock:
        return self._turns.setdefault(member, asyncio.Lock())

    async def _give(self, member: str) -> str:
        row = await self._begin(member)
        dashboards = await self._read(self.settings.dashboards, row)
        row = await self._org(row)
        row = await self._source(row)
        row = await self._dashboards(row, dashboards)
        row = await self._user(row)
        await self._verify(row)
        await self._record(member, state="open", opened_ms=row.opened_ms or self.clock.now_ms(), problem="")
        return f"organisation {row.org_name}, user {member}, {len(dashboards.models)} dashboards, sees itself only"

    async def give_operator(self) -> str:
        """Set up the operator's organisation: data source of the whole fleet, dashboards, alerts.

        Raises:
            LocalFault: ``grafana_refused``, or ``bad_settings`` for a file that cannot be used.
            TransientFault: ``grafana_away`` or ``database_away``.
        """
        async with self._turn(RESERVED_MEMBER):
            try:
                return await self._give_operator()
            except MinervasError as error:
                await self._record(RESERVED_MEMBER, problem=str(error)[:500])
                raise

    async def _give_operator(self) -> str:
        row = await self._begin(RESERVED_MEMBER)
        dashboards = await self._read(self.settings.operator_dashboards, row)
        folder = self.settings.alert_rules
        rules = NO_ALERT_RULES
        if folder is not None:
            rules = await asyncio.to_thread(read_alert_rules, in_language(folder, self.settings.language))
        row = await self._org(row)
        row = await self._source(row)
        row = await self._dashboards(row, dashboards)
        await self._in_thread(lambda: self.server.query(_id(row), FLEET_SEEN))
        await self._in_thread(lambda: self.alerts.set_up(_id(row), rules))
        now_ms = self.clock.now_ms()
        await self._record(row.member, state="open", opened_ms=row.opened_ms or now_ms, checked_ms=now_ms, problem="")
        return f"organisation {row.org_name}, {len(dashboards.models)} dashboards, {rules.count} alert rules"

    async def close_reader(self, member: str) -> str:
        """Close a member's database role and end its sessions.

        Raises:
            TransientFault: ``database_away``.
        """
        # Before its turn: a Grafana that hangs while it is given access must not keep the role open. Nothing opens it
        # again, because the membership has ended.
        began = time.monotonic_ns()
        ended = await self.readers.close(member)
        took_ms = (time.monotonic_ns() - began) / 1_000_000
        async with self._turn(member):
            return await self._record_closed(member, ended, took_ms)

    async def _record_closed(self, member: str, ended: int, took_ms: float) -> str:
        async with self.database.transaction() as connection:
            if await find_access(connection, member) is None:
                return "had no access"
            await delete_links(connection, member)
            await set_access(
                connection, member, state="closing", source_hash="", reader_closed_ms=self.clock.now_ms(),
                sessions_ended=ended,
            )  # fmt: skip
        return f"role closed and {ended} sessions ended in {took_ms:.0f} ms"

    async def close_user(self, member: str) -> str:
        """Disable a member's user, end its sessions and take it out of its organisation, which stays.

        Raises:
            TransientFault: ``grafana_away`` or ``database_away``.
        """
        async with self._turn(member):
            return await self._close_user(member)

    async def _close_user(self, member: str) -> str:
        async with self.database.transaction() as connection:
            row = await find_access(connection, member)
        if row is None:
            return "had no access"
        user_id = row.user_id
        if user_id is None:  # made, but not recorded, by an attempt that was cut off
            user = await self._in_thread(lambda: self.server.find_user(member))
            user_id = user.id if user and not user.is_admin else None
        gone = user_id is None or not await self._in_thread(lambda: self.server.shut_out(user_id, row.org_id))
        await self._record(member, state="closed", closed_ms=self.clock.now_ms(), problem="")
        return "there was no user" if gone else f"user {member} disabled, logged out and removed"

    async def set_password(self, member: str, password: str, language: str) -> None:
        """Set a member's password, as it wanted, and its language.

        Raises:
            LocalFault: ``not_found`` if it has no open access.
            TransientFault: ``grafana_away``.
        """
        async with self._turn(member):
            async with self.database.transaction() as connection:
                row = await find_access(connection, member)
            if row is None or row.state != "open" or row.user_id is None:
                raise LocalFault(Code.NOT_FOUND, "This member has no access to Grafana", member=member)
            user_id = row.user_id
            await self._in_thread(lambda: self.server.set_password(user_id, password))
            await self._record(member, password_ms=self.clock.now_ms(), language=language)
            try:
                row = replace(row, language=language)
                await self._dashboards(row, await self._read(self.settings.dashboards, row))
            except MinervasError as fault:  # the next reconciliation does it; the password is set
                log.warning("grafana_language_waits", extra={"fields": {"of": member, "reason": str(fault)}})

    async def _read(self, folder: Path | None, row: AccessRow) -> Dashboards:
        """The dashboards in the language of whoever sees them."""
        if folder is None:
            return NO_DASHBOARDS
        return await asyncio.to_thread(read_dashboards, in_language(folder, row.language or self.settings.language))

    async def _begin(self, member: str) -> AccessRow:
        async with self.database.transaction() as connection:
            found = await find_member(connection, member)
            if member != RESERVED_MEMBER and (found is None or found.state in ENDED):
                raise Superseded("the membership was ended before the access was given")
            return await ensure_access(connection, member)

    async def _org(self, row: AccessRow) -> AccessRow:
        org_id = await self._in_thread(lambda: self.server.ensure_org(row.org_name))
        if org_id != row.org_id:  # a new one is empty
            await self._record(row.member, org_id=org_id, source_hash="", dashboards_hash="", dashboards=[])
            row = replace(row, org_id=org_id, source_hash="", dashboards_hash="", dashboards=[])
        return row

    async def _source(self, row: AccessRow) -> AccessRow:
        """The database role, and the data source that has its new password; nothing if both are as they should be."""
        open_members = await self.readers.open_members()
        role = open_members.get(row.member, "")
        wanted = self._source_of(role)
        org_id = _id(row)
        given = role and row.source_hash == _hash(wanted)
        if given and await self._in_thread(lambda: self.server.has_source(org_id, wanted)):
            return row
        await self._record(row.member, source_hash="")
        reader = await self.readers.open(row.member)
        try:
            await self._begin(row.member)  # a revocation may have closed the role a moment ago
        except Superseded:
            await self.readers.close(row.member)
            raise
        source = self._source_of(reader.role)
        await self._in_thread(lambda: self.server.ensure_source(org_id, source, reader.password))
        await self._record(row.member, reader_role=reader.role, source_hash=_hash(source))
        return replace(row, reader_role=reader.role, source_hash=_hash(source))

    async def _dashboards(self, row: AccessRow, dashboards: Dashboards) -> AccessRow:
        org_id = _id(row)
        current = row.dashboards_hash == dashboards.hash and await self._in_thread(
            lambda: self.server.has_dashboards(org_id, dashboards.uids)
        )
        if not current:
            await self._in_thread(lambda: self.server.ensure_dashboards(org_id, dashboards, row.dashboards))
            await self._record(row.member, dashboards=dashboards.uids, dashboards_hash=dashboards.hash)
        await self._preferences(row, dashboards)
        return row

    async def _preferences(self, row: AccessRow, dashboards: Dashboards) -> None:
        language = LANGUAGES[row.language or self.settings.language]
        await self._in_thread(
            lambda: self.server.set_preferences(
                _id(row), language=language, time_zone=self.time_zone, home=dashboards.home
            )
        )

    async def _user(self, row: AccessRow) -> AccessRow:
        org_id = _id(row)
        user_id = await self._in_thread(lambda: self.server.ensure_user(row.member, org_id))
        await self._record(row.member, user_id=user_id)
        await self._begin(row.member)
        await self._in_thread(lambda: self.server.settle_user(user_id, row.member, org_id))
        return replace(row, user_id=user_id)

    async def _verify(self, row: AccessRow) -> None:
        """Check that exactly this member is seen through the data source; a password that is not right is replaced."""
        org_id = _id(row)
        try:
            rows = await self._in_thread(lambda: self.server.query(org_id, SEEN))
        except MinervasError:
            await self._record(row.member, source_hash="")  # the next attempt gives a new password
            raise
        seen = sorted({str(member) for (member,) in rows})
        if seen != [row.member]:
            await self.readers.close(row.member)
            await self._record(row.member, source_hash="", state="opening")
            await self._in_thread(lambda: self.server.remove_source(org_id))  # it may have another role's password
            raise LocalFault(
                Code.GRAFANA_NOT_ISOLATED,
                "The data source does not show exactly this member; it was removed, and the member's role closed",
                member=row.member,
                seen=", ".join(seen)[:200],
            )
        await self._record(row.member, checked_ms=self.clock.now_ms())

    def _source_of(self, role: str) -> Source:
        own, told = self.settings.readers, self.settings.data_source
        return Source(
            host=told.host or own.host,
            port=told.port or own.port,
            database=own.name,
            user=role,
            sslmode=told.sslmode,
            root_certificate=told.root_certificate,
        )

    async def _record(self, member: str, **values: int | str | list[str] | None) -> None:
        async with self.database.transaction() as connection:
            await set_access(connection, member, **values)

    @staticmethod
    async def _in_thread(work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)


def make_access(settings: GrafanaSettings, database: Database, clock: Clock, time_zone: str) -> GrafanaAccess:
    """The access to the Grafana of the settings."""
    server = GrafanaServer(settings)
    return GrafanaAccess(
        settings=settings,
        database=database,
        clock=clock,
        time_zone=time_zone,
        server=server,
        readers=ReaderRoles(settings.readers),
        alerts=OperatorAlerts(settings, server),
    )


def _id(row: AccessRow) -> int:
    assert row.org_id is not None  # noqa: S101 - the organisation comes first
    return row.org_id


def _hash(source: Source) -> str:
    return hashlib.sha256(repr(source).encode()).hexdigest()
