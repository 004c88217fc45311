"""The audit log shows who did what, and that nothing was changed, deleted or put in between."""

from __future__ import annotations

import asyncio
import json
import os
import pwd

import psycopg
import pytest

from minervas_admission import audit_log
from minervas_admission.commands.show import show_audit
from minervas_admission.store.database import Database
from minervas_core.errors import Code, LocalFault
from tests.support.admission import AdmissionHome, Applicant

ENTRIES = 5


@pytest.fixture
async def logged(admission_home: AdmissionHome) -> AdmissionHome:
    """An audit log with a few entries."""
    database = Database(admission_home.settings.database, application="test")
    for number in range(1, ENTRIES + 1):
        async with database.transaction() as connection:
            await audit_log.append(
                connection, time_ms=number, who="kim", action="approve", subject=f"member-{number}", decision=number
            )
    await database.close()
    return admission_home


def tamper(home: AdmissionHome, *statements: str) -> None:
    """What somebody can do who owns the tables: switch the trigger off, change, switch it on again."""
    for statement in (
        "ALTER TABLE audit_log DISABLE TRIGGER USER",
        *statements,
        "ALTER TABLE audit_log ENABLE TRIGGER USER",
    ):
        home.as_owner(statement)


async def test_an_untouched_log_is_read_back_as_it_was_written(
    logged: AdmissionHome, capsys: pytest.CaptureFixture[str]
) -> None:
    await show_audit(logged.settings, as_json=False)
    lines = capsys.readouterr().out.splitlines()[-ENTRIES - 1 :]
    assert [line.split()[-2:] for line in lines[:-1]] == [
        [f"member-{number}", f"decision={number}"] for number in range(1, ENTRIES + 1)
    ]
    assert lines[-1].startswith(f"{ENTRIES} entries, none missing or changed. Head: ")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET who = 'lee' WHERE number = 2",
        "UPDATE audit_log SET time_ms = 77 WHERE number = 1",
        "UPDATE audit_log SET action = 'reject' WHERE number = 5",
        "UPDATE audit_log SET subject = 'x' WHERE number = 3",
        'UPDATE audit_log SET details = \'{"decision":"9"}\' WHERE number = 3',
        "UPDATE audit_log SET details = 'nonsense' WHERE number = 3",
        "UPDATE audit_log SET hash = repeat('0', 64) WHERE number = 3",
        "DELETE FROM audit_log WHERE number = 3",
        "DELETE FROM audit_log WHERE number = 1",
        "DELETE FROM audit_log WHERE number = 5",
        "DELETE FROM audit_log",
        "INSERT INTO audit_log VALUES (6, 6, 'lee', 'approve', 'x', '{}', repeat('a', 64))",
        "UPDATE audit_head SET number = 4",
        "DELETE FROM audit_head",
    ],
)
async def test_every_change_shows(logged: AdmissionHome, statement: str) -> None:
    tamper(logged, statement)
    with pytest.raises(LocalFault) as refusal:
        await show_audit(logged.settings, as_json=False)
    assert refusal.value.code == Code.AUDIT_MISMATCH


async def test_a_log_whose_end_was_cut_off_with_its_head_shows_by_a_head_kept_elsewhere(
    logged: AdmissionHome, capsys: pytest.CaptureFixture[str]
) -> None:
    await show_audit(logged.settings, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    head = shown["head"]
    assert head == f"{ENTRIES}:{shown['entries'][-1]['hash']}"
    earlier = f"3:{shown['entries'][2]['hash']}"
    for kept in (head, earlier, "0:" + "0" * 64):
        await show_audit(logged.settings, as_json=False, head=kept)
    tamper(
        logged,
        "DELETE FROM audit_log WHERE number > 3",
        "UPDATE audit_head SET number = 3, hash = (SELECT hash FROM audit_log WHERE number = 3)",
    )
    await show_audit(logged.settings, as_json=False, head=earlier)
    for kept, words in ((head, "has lost entries"), ("2:" + "a" * 64, "has another entry")):
        with pytest.raises(LocalFault, match=words) as refusal:
            await show_audit(logged.settings, as_json=False, head=kept)
        assert refusal.value.code == Code.AUDIT_MISMATCH
    with pytest.raises(LocalFault, match="NUMBER:HASH"):
        await show_audit(logged.settings, as_json=False, head="5")


async def test_swapped_entries_show(logged: AdmissionHome) -> None:
    tamper(
        logged,
        "UPDATE audit_log SET number = 99 WHERE number = 2",
        "UPDATE audit_log SET number = 2 WHERE number = 3",
        "UPDATE audit_log SET number = 3 WHERE number = 99",
    )
    with pytest.raises(LocalFault) as refusal:
        await show_audit(logged.settings, as_json=False)
    assert refusal.value.values["number"] == 2


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET who = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"])
async def test_the_service_may_not_change_it_and_the_owner_not_by_accident(
    logged: AdmissionHome, statement: str
) -> None:
    database = logged.database
    with (
        psycopg.connect(database.conninfo(database.writer)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        logged.as_owner(statement)


async def test_everything_that_is_decided_and_done_is_in_it_without_personal_data(
    admission_home: AdmissionHome,
) -> None:
    home = admission_home
    async with home.running():
        await home.apply(Applicant("alpha").application(name="Kim Minsu", contact="010-1234-5678"))
    await home.decisions().reject("alpha", "Kim's roof leaks")
    entries = home.as_owner("SELECT who, action, subject, details FROM audit_log ORDER BY number")
    assert [row[:3] for row in entries] == [
        ("applicant", "apply", "alpha"),
        (pwd.getpwuid(os.getuid()).pw_name, "reject", "alpha"),
    ]
    assert home.as_owner("SELECT reason FROM decisions") == [("Kim's roof leaks",)]
    for personal in ("Kim", "010-1234", "127.0.0.1", "roof"):
        assert personal not in str(entries)


async def test_decisions_made_at_the_same_time_get_consecutive_entries(admission_home: AdmissionHome) -> None:

    async def write(name: str) -> None:
        database = Database(admission_home.settings.database, application=name)
        for _ in range(10):
            async with database.transaction() as connection:
                await audit_log.append(connection, time_ms=1, who=name, action="x", subject="y")
        await database.close()

    await asyncio.gather(*(write(f"operator-{number}") for number in range(4)))
    database = Database(admission_home.settings.database, application="test")
    async with database.transaction() as connection:
        assert len(await audit_log.read_verified(connection)) == 40
    await database.close()
