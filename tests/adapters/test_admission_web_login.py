"""Logging in to the operator's pages: passwords, sessions, limits, and what goes into the audit log."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from minervas_admission import audit_log
from minervas_admission.store.database import Database
from minervas_admission.web.accounts import STRANGER, AccountFault, Accounts
from minervas_admission.web.login import Logins, PasswordRefused
from minervas_admission.web.passwords import Passwords
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.clock import ManualClock, SystemClock
from tests.support.admission import AdmissionHome
from tests.support.admission_web import PASSWORD, Browser, accounts_of, add_operator, words_of

REFUSED = "Name or password is wrong, or the account is closed."


def audit(home: AdmissionHome) -> list[tuple[str, str, str, dict[str, str]]]:
    """The audit log: who, action, subject, details."""
    rows = home.as_owner("SELECT who, action, subject, details FROM audit_log ORDER BY number")
    return [(who, action, subject, json.loads(details)) for who, action, subject, details in rows]


async def test_generated_password_must_be_changed_before_anything_else(admission_home: AdmissionHome) -> None:
    generated = await add_operator(admission_home)
    async with admission_home.running(), Browser(admission_home) as browser:
        answer = await browser.log_in("kim", generated)
        assert (answer.status_code, answer.headers["location"]) == (303, "/operator")
        assert (await browser.get("/operator")).headers["location"] == "/operator/password"
        page = await browser.get("/operator/password")
        assert "Your password was generated" in words_of(page)

        answer = await browser.send("/operator/password", {"old": generated, "new": PASSWORD, "repeated": PASSWORD})
        assert answer.headers["location"] == "/operator/password/changed"
        overview = await browser.get("/operator")
        assert overview.status_code == 200, overview.text
        assert "No application waits" in words_of(overview)
        assert "Logged in as kim" in words_of(overview)
    assert [(who, action) for who, action, _, _ in audit(admission_home)] == [
        ("root", "add operator"), ("kim", "log in"), ("kim", "change password"),
    ]  # fmt: skip
    everything = str(admission_home.as_owner("SELECT * FROM audit_log, operators, operator_sessions"))
    assert generated not in everything
    assert PASSWORD not in everything


async def test_new_password_is_refused_with_the_reason(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        for old, new, repeated, why in (
            ("another one", "long enough for it", "long enough for it", "The current password is wrong."),
            (PASSWORD, "short", "short", "The new password needs 12 to 200 characters."),
            (PASSWORD, "x" * 201, "x" * 201, "The new password needs 12 to 200 characters."),
            (PASSWORD, "long enough for it", "long enough for us", "The two entries of the new password differ."),
            (PASSWORD, PASSWORD, PASSWORD, "The new password must be another one than the current."),
        ):
            page = await browser.send("/operator/password", {"old": old, "new": new, "repeated": repeated})
            assert page.status_code == 422
            assert why in words_of(page)
        hangul = "해질녘에 언덕 위의 말"
        page = await browser.send("/operator/password", {"old": PASSWORD, "new": hangul, "repeated": hangul})
        assert page.status_code == 303


async def test_all_failed_logins_get_one_answer_and_do_not_fill_the_audit_log(admission_home: AdmissionHome) -> None:
    """Unknown, closed and wrong look alike; what was typed as a name is not kept, for it may be a password."""
    await add_operator(admission_home, "lee")
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        await accounts_of(admission_home, lambda accounts: accounts.disable("lee", who="root"))
        async with Browser(admission_home) as stranger:
            for name in ("kim", "lee", "nobody", "my secret password", "kim"):
                page = await stranger.log_in(name, "not the password")
                assert page.status_code == 403
                assert REFUSED in words_of(page)
                assert "__Host-minervas" not in page.headers.get("set-cookie", "")
        assert (await browser.log_in()).status_code == 303
    failures = [entry for entry in audit(admission_home) if entry[1] == "log in failed"]
    assert failures == [
        ("stranger", "log in failed", "kim", {"attempts": "1"}),
        ("stranger", "log in failed", "lee", {"attempts": "1"}),
        ("stranger", "log in failed", "unknown account", {"attempts": "1"}),
    ]
    assert audit(admission_home)[-1] == ("kim", "log in", "kim", {"failed_before": "1"})


async def test_logins_are_limited_and_the_page_says_what_to_do(work_dir: Path, node_database: NodeDatabase) -> None:
    home = AdmissionHome(work_dir, node_database, web={"logins_per_minute": 3})
    await add_operator(home)
    async with home.running(), Browser(home) as browser:
        statuses = [(await browser.log_in("kim", "wrong password")).status_code for _ in range(4)]
        assert statuses == [403, 403, 403, 429]
        page = await browser.log_in("kim", "wrong password")
        assert "Wait a minute, then try again." in words_of(page)
        assert page.headers["retry-after"] == "60"


async def test_session_cookie_is_safe_and_only_its_hash_is_kept(admission_home: AdmissionHome) -> None:
    generated = await add_operator(admission_home)
    async with admission_home.running(), Browser(admission_home) as browser:
        cookie = (await browser.log_in("kim", generated)).headers["set-cookie"]
        value = cookie.partition(";")[0].partition("=")[2]
        assert cookie.startswith("__Host-minervas=")
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert attributes == {"path=/", "secure", "httponly", "samesite=strict"}
        kept = admission_home.as_owner("SELECT token_hash FROM operator_sessions")
        assert kept == [(hashlib.sha256(value.encode()).hexdigest(),)]

        answer = await browser.send("/operator/logout", {})
        assert answer.headers["location"] == "/operator/login"
        assert admission_home.as_owner("SELECT * FROM operator_sessions") == []
        browser.client.cookies.set("__Host-minervas", value, domain="localhost.local", path="/")
        assert (await browser.get("/operator")).headers["location"] == "/operator/login"


async def test_session_ends_when_idle_and_when_old(admission_home: AdmissionHome) -> None:
    """Half an hour of doing nothing, or twelve hours in all; a page that refreshes itself does nothing."""
    clock = ManualClock(SystemClock().now_ms())
    minute_ms = 60_000
    async with admission_home.running(clock), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        for _ in range(2):
            clock.advance(29 * minute_ms)
            assert (await browser.get("/operator/queue")).status_code == 200
        clock.advance(29 * minute_ms)
        assert (await browser.get("/operator/queue?refreshed=1")).status_code == 200
        clock.advance(2 * minute_ms)
        page = await browser.get("/operator/queue")
        assert page.headers["location"] == "/operator/login?next=/operator/queue"

        await browser.log_in()
        for _ in range(24):
            assert (await browser.get("/operator/queue")).status_code == 200
            clock.advance(29 * minute_ms)
        assert (await browser.get("/operator/queue")).status_code == 200
        clock.advance(25 * minute_ms)
        assert (await browser.get("/operator/queue")).status_code == 303


async def test_change_reset_and_closing_end_every_other_session(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as one, Browser(admission_home) as other:
        await one.enter(admission_home)
        await add_operator(admission_home, "lee")
        assert (await other.log_in()).status_code == 303
        fields = {"old": PASSWORD, "new": PASSWORD + "!", "repeated": PASSWORD + "!"}
        assert (await one.send("/operator/password", fields)).status_code == 303
        assert (await one.get("/operator")).status_code == 200
        assert (await other.get("/operator")).status_code == 303

        assert (await other.log_in(password=PASSWORD + "!")).status_code == 303
        reset = await accounts_of(admission_home, lambda accounts: accounts.reset_password("kim", who="root"))
        assert (await one.get("/operator")).status_code == 303
        assert (await one.log_in(password=PASSWORD + "!")).status_code == 403
        assert (await one.log_in(password=reset)).status_code == 303
        assert (await one.get("/operator")).headers["location"] == "/operator/password"

        await accounts_of(admission_home, lambda accounts: accounts.disable("kim", who="root"))
        assert (await one.get("/operator/password")).headers["location"].startswith("/operator/login")


async def test_hash_with_old_parameters_is_replaced_at_login(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
        admission_home.as_owner("UPDATE operators SET password_hash = %s", weak)
        assert (await browser.log_in()).status_code == 303
        [(kept,)] = admission_home.as_owner("SELECT password_hash FROM operators")
        assert "m=65536,t=3,p=4" in kept
        assert (await browser.log_in()).status_code == 303


async def test_accounts_are_added_and_closed_in_the_browser(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser, Browser(admission_home) as newcomer:
        await browser.enter(admission_home)
        page = await browser.send("/operator/accounts", {"name": "park.j"})
        password = page.text.partition('<code class="once">')[2].partition("<")[0]
        assert len(password) == 23
        assert password not in (await browser.get("/operator/accounts")).text
        for name, why in (
            ("park.j", "There is an account of this name already."),
            ("Park", "A name has 1 to 32"),
            ("service", "A name has 1 to 32"),
        ):
            page = await browser.send("/operator/accounts", {"name": name})
            assert (page.status_code, why in words_of(page)) == (422, True)
        assert (await newcomer.log_in("park.j", password)).status_code == 303
        assert (await newcomer.get("/operator/queue")).headers["location"] == "/operator/password"

        page = await browser.send("/operator/accounts/kim/disable", {})
        assert "You can not close your own account" in words_of(page)
        assert (await browser.send("/operator/accounts/park.j/disable", {})).status_code == 303
        assert (await newcomer.get("/operator/password")).status_code == 303
        page = await browser.send("/operator/accounts/nobody/disable", {})
        assert "There is no account of this name." in words_of(page)
    assert [entry[:3] for entry in audit(admission_home) if entry[2] == "park.j" and entry[0] == "kim"] == [
        ("kim", "add operator", "park.j"), ("kim", "disable operator", "park.j"),
    ]  # fmt: skip


async def test_last_open_account_can_not_be_closed(admission_home: AdmissionHome) -> None:
    await add_operator(admission_home)
    await add_operator(admission_home, "lee")
    await accounts_of(admission_home, lambda accounts: accounts.disable("lee", who="root"))
    with pytest.raises(AccountFault) as refused:
        await accounts_of(admission_home, lambda accounts: accounts.disable("kim", who="root"))
    assert refused.value.why == "last_one"


async def test_first_account_is_made_once(admission_home: AdmissionHome) -> None:
    async def both(accounts: Accounts) -> str:
        await accounts.add_first("kim", who="root")
        with pytest.raises(AccountFault) as refused:
            await accounts.add_first("lee", who="root")
        return refused.value.why

    assert await accounts_of(admission_home, both) == "not_first"


@pytest.mark.parametrize("name", ["service", "applicant", "member", "stranger"])
async def test_nobody_has_a_name_that_stands_for_others_in_the_audit_log(
    admission_home: AdmissionHome, name: str
) -> None:
    assert name in (audit_log.SERVICE, audit_log.APPLICANT, audit_log.MEMBER, STRANGER)
    with pytest.raises(AccountFault) as refused:
        await add_operator(admission_home, name)
    assert refused.value.why == "bad_name"


async def test_a_change_of_password_does_not_undo_a_reset_beside_it(admission_home: AdmissionHome) -> None:
    """Whoever holds a stolen session must not keep the account when the host resets its password."""
    database = Database(admission_home.settings.database, application="test")
    passwords = ResetBeside(admission_home)
    logins = Logins(database, SystemClock(), passwords, admission_home.settings.web, lambda: 0)
    old = await add_operator(admission_home)
    session = await logins.session(await logins.log_in("kim", old, "127.0.0.1"), touch=True)
    assert session is not None
    passwords.armed = True
    with pytest.raises(PasswordRefused):
        await logins.change_password(session, old, "long enough for it", "long enough for it")
    passwords.armed = False
    assert await logins.log_in("kim", passwords.generated, "127.0.0.1")
    await database.close()


class ResetBeside(Passwords):
    """The password is reset on the host while a new one is hashed here."""

    def __init__(self, home: AdmissionHome) -> None:
        super().__init__()
        self.armed = False
        self.generated = ""
        self._home = home

    async def hash(self, password: str) -> str:
        """Reset it, then compute."""
        if self.armed:
            self.generated = await accounts_of(self._home, lambda each: each.reset_password("kim", who="root"))
        return await super().hash(password)
