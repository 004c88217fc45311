"""first-password, reset-password, accounts: who can log in with a browser, decided on the host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from minervas_admission.commands.operator import operator_name
from minervas_admission.commands.output import say, say_json, table, when
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.database import Database
from minervas_admission.store.operators import OperatorRow, all_operators
from minervas_admission.store.schema import check_schema
from minervas_admission.web.accounts import Accounts
from minervas_admission.web.passwords import Passwords
from minervas_runtime.clock import SystemClock


@asynccontextmanager
async def _accounts(settings: AdmissionSettings) -> AsyncIterator[Accounts]:
    database = Database(settings.database, application="minervas-admission command")
    try:
        async with database.transaction() as connection:
            await check_schema(connection)
        yield Accounts(database, SystemClock(), Passwords())
    finally:
        await database.close()


async def first_password(settings: AdmissionSettings, name: str) -> None:
    """Make the first account and print its password, once and nowhere else.

    Raises:
        AccountFault: ``not_first``, ``bad_name``.
        TransientFault: ``database_away``.
    """
    async with _accounts(settings) as accounts:
        _show_password(name, await accounts.add_first(name, who=operator_name()))


async def reset_password(settings: AdmissionSettings, name: str) -> None:
    """Print a new password of an account, once and nowhere else; its sessions end.

    Raises:
        AccountFault: ``unknown``.
        TransientFault: ``database_away``.
    """
    async with _accounts(settings) as accounts:
        _show_password(name, await accounts.reset_password(name, who=operator_name()))


async def add_account(settings: AdmissionSettings, name: str) -> None:
    """Make an account and print its password, once and nowhere else.

    Raises:
        AccountFault: ``bad_name``, ``taken``.
        TransientFault: ``database_away``.
    """
    async with _accounts(settings) as accounts:
        _show_password(name, await accounts.add(name, who=operator_name()))


async def disable_account(settings: AdmissionSettings, name: str) -> None:
    """Close an account; its sessions end at once.

    Raises:
        AccountFault: ``unknown``, ``disabled``, ``last_one``.
        TransientFault: ``database_away``.
    """
    async with _accounts(settings) as accounts:
        await accounts.disable(name, who=operator_name())
    say(f"Closed account {name}; its sessions have ended.")


async def enable_account(settings: AdmissionSettings, name: str) -> None:
    """Open a closed account again.

    Raises:
        AccountFault: ``unknown``, ``not_disabled``.
        TransientFault: ``database_away``.
    """
    async with _accounts(settings) as accounts:
        await accounts.enable(name, who=operator_name())
    say(f"Opened account {name}; its password is as before.")


async def list_accounts(settings: AdmissionSettings, *, as_json: bool) -> None:
    """Print all accounts.

    Raises:
        TransientFault: ``database_away``.
    """
    async with _accounts(settings) as accounts, accounts.database.transaction() as connection:
        rows = await all_operators(connection)
    if as_json:
        say_json([_account_object(row) for row in rows])
    elif not rows:
        say("There are no accounts yet; make the first one with minervas-admission first-password.")
    else:
        table(
            ("NAME", "STATE", "CREATED", "PASSWORD SET", "LAST LOGIN"),
            [
                (row.name, account_state(row), when(row.created_ms), when(row.changed_ms), when(row.last_login_ms))
                for row in rows
            ],
        )


def account_state(row: OperatorRow) -> str:
    """State of an account, in words."""
    if row.disabled_ms is not None:
        return "closed"
    return "must choose a password" if row.must_change else "open"


def _account_object(row: OperatorRow) -> dict[str, str | int]:
    return {
        "name": row.name,
        "state": account_state(row),
        "created_ms": row.created_ms,
        "changed_ms": row.changed_ms,
        "last_login_ms": row.last_login_ms or 0,
        "disabled_ms": row.disabled_ms or 0,
    }


def _show_password(name: str, password: str) -> None:
    say(f"name      {name}")
    say(f"password  {password}")
    say("It is shown only now, and must be changed at the first login.")
