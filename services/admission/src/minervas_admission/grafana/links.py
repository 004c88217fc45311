"""One-time links with which members set their password for Grafana. It goes there and is kept nowhere here."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from minervas_admission import audit_log
from minervas_admission.grafana.access import GrafanaAccess
from minervas_admission.settings import HttpSettings
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.grafana import LinkRow, find_access, lock_link, replace_link, set_link_used
from minervas_admission.tokens import token_hash
from minervas_core.errors import Code, InvalidEnrolment, LocalFault
from minervas_runtime.clock import Clock

HOUR_MS = 3_600_000
LINK_PATH = "/grafana/password"
HTTPS_PORT = 443


def link_address(http: HttpSettings, token: str) -> str:
    """What the member opens."""
    host = f"[{http.names[0]}]" if ":" in http.names[0] else http.names[0]
    port = "" if http.port == HTTPS_PORT else f":{http.port}"
    return f"https://{host}{port}{LINK_PATH}/{token}"


async def make_link(connection: Connection, member: str, *, valid_hours: int, who: str, now_ms: int) -> str:
    """Make a link's token; a link that was made before leads nowhere any more.

    Raises:
        LocalFault: ``not_ready`` if the member has no open access.
    """
    row = await find_access(connection, member)
    if row is None or row.state != "open" or row.user_id is None:
        raise LocalFault(Code.NOT_READY, "This member has no access to Grafana (yet, or any more)", member=member)
    token = secrets.token_urlsafe(32)
    await replace_link(connection, LinkRow(token_hash(token), member, now_ms, now_ms + valid_hours * HOUR_MS, None))
    await audit_log.append(connection, time_ms=now_ms, who=who, action="grafana link", subject=member)
    return token


@dataclass(frozen=True)
class Links:
    """Takes links that members bring."""

    database: Database
    clock: Clock
    access: GrafanaAccess

    async def member_of(self, token: str) -> str:
        """Whose link it is; it stays unused.

        Raises:
            InvalidEnrolment: ``token_unknown``, ``token_expired`` or ``token_used``.
            TransientFault: ``database_away``.
        """
        async with self.database.transaction() as connection:
            return (await self._usable(connection, token)).member

    async def set_password(self, token: str, password: str, language: str) -> str:
        """Set the password in Grafana and use the link up; returns whose it is.

        A link is marked first, so that nobody uses it twice, and is free again if Grafana did not take the password.

        Raises:
            InvalidEnrolment: ``token_unknown``, ``token_expired`` or ``token_used``.
            LocalFault: ``grafana_refused``, or ``not_found`` if the access was closed.
            TransientFault: ``grafana_away`` or ``database_away``.
        """
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            row = await self._usable(connection, token)
            await set_link_used(connection, row.token_hash, now_ms)
        try:
            await self.access.set_password(row.member, password, language)
        except BaseException:
            async with self.database.transaction() as connection:
                await set_link_used(connection, row.token_hash, None)
            raise
        async with self.database.transaction() as connection:
            await audit_log.append(
                connection, time_ms=now_ms, who=row.member, action="grafana password", subject=row.member
            )
        return row.member

    async def _usable(self, connection: Connection, token: str) -> LinkRow:
        row = await lock_link(connection, token_hash(token))
        if row is None:
            raise InvalidEnrolment(Code.TOKEN_UNKNOWN, "There is no such link; the operator can make a new one")
        if row.used_ms is not None:
            raise InvalidEnrolment(Code.TOKEN_USED, "The link was used; the operator can make a new one")
        if row.expires_ms <= self.clock.now_ms():
            raise InvalidEnrolment(Code.TOKEN_EXPIRED, "The link is too old; the operator can make a new one")
        return row
