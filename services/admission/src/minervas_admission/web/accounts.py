"""Operator accounts: made, closed, opened and given new passwords, by commands on the host and in the browser."""

from __future__ import annotations

import re
from dataclasses import dataclass

from minervas_admission import audit_log
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.operators import (
    OperatorRow,
    find_operator,
    insert_operator,
    lock_operators,
    set_disabled,
    set_password,
)
from minervas_admission.web.passwords import Passwords, generate_password
from minervas_core.errors import Code, LocalFault
from minervas_runtime.clock import Clock

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}\Z")

STRANGER = "stranger"
"""`who` of attempts to log in that failed."""

RESERVED_NAMES = (audit_log.SERVICE, audit_log.APPLICANT, audit_log.MEMBER, STRANGER)
"""Stand in the audit log for somebody else."""


class AccountFault(LocalFault):
    """Something can not be done with an account."""

    def __init__(self, why: str, message: str, name: str) -> None:
        """Say why.

        Args:
            why: ``bad_name``, ``taken``, ``unknown``, ``not_first``, ``disabled``, ``not_disabled``, ``last_one`` or
                ``own``.
            message: the same as a sentence.
            name: the account.
        """
        super().__init__(Code.BAD_ACCOUNT, message, account=name)
        self.why = why


@dataclass(frozen=True, slots=True)
class Accounts:
    """Changes accounts; every change goes into the audit log."""

    database: Database
    clock: Clock
    passwords: Passwords

    async def add_first(self, name: str, *, who: str) -> str:
        """Make the first account; returns its password, which is kept nowhere.

        Raises:
            AccountFault: ``not_first``; as `add`.
        """
        return await self._add(name, who=who, first=True)

    async def add(self, name: str, *, who: str) -> str:
        """Make an account; returns its password, which is kept nowhere and must be changed at the first login.

        Raises:
            AccountFault: ``bad_name`` or ``taken``.
            TransientFault: ``database_away``.
        """
        return await self._add(name, who=who, first=False)

    async def _add(self, name: str, *, who: str, first: bool) -> str:
        if not NAME.match(name) or name in RESERVED_NAMES:
            raise AccountFault(
                "bad_name", "A name has 1 to 32 of a-z, 0-9, dot, hyphen and underline, and is not reserved", name
            )
        password = generate_password()
        encoded = await self.passwords.hash(password)
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            if first and await lock_operators(connection):
                raise AccountFault("not_first", "There are accounts already; use accounts add or reset-password", name)
            if not await insert_operator(connection, name, encoded, now_ms):
                raise AccountFault("taken", "There is an account of this name", name)
            await audit_log.append(connection, time_ms=now_ms, who=who, action="add operator", subject=name)
        return password

    async def reset_password(self, name: str, *, who: str) -> str:
        """Replace a password whoever knows the old one; returns the new one, which must be changed at the next login.

        Raises:
            AccountFault: ``unknown``.
            TransientFault: ``database_away``.
        """
        password = generate_password()
        encoded = await self.passwords.hash(password)
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            await _known(connection, name)
            await set_password(connection, name, encoded, now_ms, must_change=True)
            await audit_log.append(connection, time_ms=now_ms, who=who, action="reset password", subject=name)
        return password

    async def disable(self, name: str, *, who: str) -> None:
        """Close an account and end its sessions.

        Raises:
            AccountFault: ``unknown``, ``disabled``, or ``last_one`` if nobody could log in any more.
            TransientFault: ``database_away``.
        """
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            open_accounts = [row.name for row in await lock_operators(connection) if row.disabled_ms is None]
            row = await _known(connection, name)
            if row.disabled_ms is not None:
                raise AccountFault("disabled", "This account is closed already", name)
            if open_accounts == [name]:
                raise AccountFault("last_one", "Nobody could log in any more; add another account first", name)
            await set_disabled(connection, name, now_ms)
            await audit_log.append(connection, time_ms=now_ms, who=who, action="disable operator", subject=name)

    async def enable(self, name: str, *, who: str) -> None:
        """Open an account again; its password is as before.

        Raises:
            AccountFault: ``unknown`` or ``not_disabled``.
            TransientFault: ``database_away``.
        """
        now_ms = self.clock.now_ms()
        async with self.database.transaction() as connection:
            if (await _known(connection, name)).disabled_ms is None:
                raise AccountFault("not_disabled", "This account is open", name)
            await set_disabled(connection, name, None)
            await audit_log.append(connection, time_ms=now_ms, who=who, action="enable operator", subject=name)


async def _known(connection: Connection, name: str) -> OperatorRow:
    row = await find_operator(connection, name)
    if row is None:
        raise AccountFault("unknown", "There is no account of this name", name)
    return row
