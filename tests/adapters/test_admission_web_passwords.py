"""Hashing of operators' passwords, and the limits of logging in, without a server."""

from __future__ import annotations

import asyncio
import threading
import unicodedata

import pytest

from minervas_admission.settings import WebSettings
from minervas_admission.web import passwords as module
from minervas_admission.web.login import Logins
from minervas_admission.web.passwords import AT_ONCE, MAX_WAITING, Passwords, generate_password, length_is_good
from minervas_core.errors import Code, TransientFault
from minervas_runtime.clock import ManualClock


async def test_password_is_the_same_whether_hangul_comes_composed_or_not() -> None:
    composed = "비밀번호는 열두 글자"
    passwords = Passwords()
    encoded = await passwords.hash(composed)
    assert encoded.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await passwords.matches(unicodedata.normalize("NFD", composed), encoded)
    assert not await passwords.matches(composed + "!", encoded)


async def test_account_that_does_not_exist_costs_as_much_as_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords()
    encoded = await passwords.hash("some password")
    compared: list[str] = []
    original = passwords._verify

    def watched(given: str, stored: str) -> bool:
        compared.append(stored)
        return original(given, stored)

    monkeypatch.setattr(passwords, "_verify", watched)
    assert not await passwords.matches("some password", None)
    assert not await passwords.matches("another password", encoded)
    assert not passwords.is_outdated(compared[0])
    assert compared[1] == encoded


async def test_few_hashes_at_once_and_few_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords()
    running, most, release = 0, 0, threading.Event()
    lock = threading.Lock()

    def slow(given: str, stored: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        release.wait()
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(passwords, "_verify", slow)
    tasks = [asyncio.create_task(passwords.matches("x", "y")) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(TransientFault) as refused:
        await passwords.matches("x", "y")
    assert refused.value.code == Code.RATE_LIMITED
    release.set()
    assert all(await asyncio.gather(*tasks))
    assert most <= AT_ONCE


def test_generated_passwords_are_long_and_differ() -> None:
    made = {generate_password() for _ in range(100)}
    assert len(made) == 100
    assert all(length_is_good(password) and len(password) == 23 for password in made)
    assert not length_is_good("a" * (module.MIN_LENGTH - 1))
    assert not length_is_good("a" * (module.MAX_LENGTH + 1))


def test_guessing_from_elsewhere_does_not_lock_an_operator_out() -> None:
    """Attempts at one account are limited over all addresses, but not from where it logged in before."""
    logins = Logins(None, ManualClock(), Passwords(), WebSettings(logins_per_minute=3), lambda: 0)  # type: ignore[arg-type]  # no database is asked
    logins._remember("kim", "192.0.2.1")
    for number in range(3):
        logins._check_rate("kim", f"198.51.100.{number}")
    with pytest.raises(TransientFault):
        logins._check_rate("kim", "198.51.100.200")
    logins._check_rate("lee", "198.51.100.200")
    logins._check_rate("kim", "192.0.2.1")
