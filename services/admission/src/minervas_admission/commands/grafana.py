"""grafana: who has access, links for passwords, a test alert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from minervas_admission.commands.operator import operator_name
from minervas_admission.commands.output import say, say_json, table, when
from minervas_admission.grafana.links import link_address, make_link
from minervas_admission.grafana.operator_alerts import OperatorAlerts
from minervas_admission.grafana.readers import ReaderRoles
from minervas_admission.grafana.server import GrafanaServer
from minervas_admission.settings import AdmissionSettings, GrafanaSettings
from minervas_admission.store.database import Database
from minervas_admission.store.grafana import all_access, find_access
from minervas_admission.store.schema import check_schema
from minervas_core.errors import Code, LocalFault
from minervas_core.identifiers import RESERVED_MEMBER
from minervas_runtime.clock import SystemClock


def _grafana(settings: AdmissionSettings) -> GrafanaSettings:
    if settings.grafana is None:
        raise LocalFault(Code.BAD_SETTINGS, "The settings have no [grafana]", key="grafana")
    return settings.grafana


@asynccontextmanager
async def _database(settings: AdmissionSettings) -> AsyncIterator[Database]:
    database = Database(settings.database, application="minervas-admission command")
    try:
        async with database.transaction() as connection:
            await check_schema(connection)
        yield database
    finally:
        await database.close()


async def check(settings: AdmissionSettings, *, as_json: bool) -> None:
    """Ask Grafana and the readers' database, and show everybody's access.

    Raises:
        TransientFault: ``grafana_away`` or ``database_away``.
        LocalFault: ``grafana_refused``, or ``bad_settings``.
    """
    grafana = _grafana(settings)
    version = await asyncio.to_thread(GrafanaServer(grafana).version)
    roles = await ReaderRoles(grafana.readers).open_members()
    async with _database(settings) as database, database.transaction() as connection:
        rows = await all_access(connection)
    if as_json:
        people = [{**asdict(row), "reader_open": row.member in roles} for row in rows]
        say_json({"version": version, "access": people})
        return
    say(f"Grafana {version} at {grafana.url}; {len(roles)} readers are open")
    table(
        ("MEMBER", "STATE", "ORGANISATION", "DASHBOARDS", "SEES ITSELF", "PASSWORD", "TROUBLE"),
        [
            (
                row.member, row.state, row.org_name, str(len(row.dashboards)), when(row.checked_ms),
                when(row.password_ms), row.problem,
            )
            for row in rows
        ],
    )  # fmt: skip


async def make_member_link(settings: AdmissionSettings, member: str) -> None:
    """Print a one-time link, once and nowhere else.

    Raises:
        LocalFault: ``not_ready`` if the member has no access; ``bad_settings``.
        TransientFault: ``database_away``.
    """
    grafana = _grafana(settings)
    async with _database(settings) as database, database.transaction() as connection:
        token = await make_link(
            connection, member, valid_hours=grafana.link_hours, who=operator_name(), now_ms=SystemClock().now_ms()
        )
    say(link_address(settings.http, token))
    say(f"It is shown only now, works once and for {grafana.link_hours} hours, and ends links made before.")


async def send_test_alert(settings: AdmissionSettings) -> None:
    """Send a test alert over every way of the settings.

    Raises:
        LocalFault: ``bad_settings`` if nobody is told of alerts, ``not_ready`` before the operator's organisation is
            there, ``grafana_refused`` if an alert could not be sent.
        TransientFault: ``grafana_away`` or ``database_away``.
    """
    grafana = _grafana(settings)
    async with _database(settings) as database, database.transaction() as connection:
        row = await find_access(connection, RESERVED_MEMBER)
    if row is None or row.org_id is None:
        raise LocalFault(Code.NOT_READY, "The operator's organisation is not there yet; run the service")
    org_id = row.org_id
    alerts = OperatorAlerts(grafana, GrafanaServer(grafana))
    for line in await asyncio.to_thread(alerts.test, org_id):
        say(line)
