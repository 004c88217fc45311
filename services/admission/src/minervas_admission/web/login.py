"""Logging in and out, and the sessions in between.

The cookie holds a random token; the database holds its hash, so that who reads the database can not come in with it.
"""

from __future__ import annotations

import collections
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from minervas_admission import audit_log
from minervas_admission.rate_limit import RateLimit, client_key
from minervas_admission.settings import WebSettings
from minervas_admission.store.database import Connection, Database
from minervas_admission.store.operators import (
    OperatorRow,
    end_session,
    find_operator,
    find_session,
    insert_session,
    lock_operator,
    record_login,
    replace_hash,
    set_password,
    sweep_sessions,
    touch_session,
)
from minervas_admission.web.accounts import NAME, STRANGER
from minervas_admission.web.passwords import Passwords, length_is_good
from minervas_core.encoding import sha256_hex
from minervas_core.errors import Code, TransientFault
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

FAILURES_AUDIT_MS = 600_000
"""Failed attempts at one account go into the audit log at most this often, with their number."""

UNKNOWN_ACCOUNT = "unknown account"
"""`subject` of failed attempts at names that nobody has; what was typed may be a password and is not recorded."""

MAX_FAMILIAR = 1_000
"""Pairs of account and address that are remembered because they logged in."""

_TOKEN = re.compile(r"[0-9a-f]{64}\Z")
_CSRF_DOMAIN = "minervas/v1/csrf\0"


class LoginRefused(Exception):
    """Name or password is wrong, or the account is closed; which of them is nobody's business."""


class PasswordRefused(Exception):
    """A new password can not be taken.

    Attributes:
        why: ``wrong_old``, ``length``, ``differ`` or ``same``.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Session:
    """An operator who is logged in."""

    token: str
    operator: OperatorRow

    @property
    def csrf(self) -> str:
        """What every form of this session carries: no other site can know it."""
        return sha256_hex((_CSRF_DOMAIN + self.token).encode())


@dataclass(slots=True)
class _Failures:
    """Failed attempts at one account."""

    recorded_at_ms: int
    unrecorded: int = 0


class Logins:
    """Sessions of operators."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        passwords: Passwords,
        settings: WebSettings,
        monotonic_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._clock = clock
        self._passwords = passwords
        self._idle_ms = settings.idle_minutes * 60_000
        self._lifetime_ms = settings.session_hours * 3_600_000
        self._by_address = RateLimit(settings.logins_per_minute, monotonic_ms)
        self._by_account = RateLimit(settings.logins_per_minute, monotonic_ms)
        self._familiar: collections.OrderedDict[tuple[str, str], None] = collections.OrderedDict()
        self._failures: dict[str, _Failures] = {}

    async def log_in(self, name: str, password: str, address: str) -> str:
        """Begin a session; returns its token.

        Raises:
            LoginRefused: for every reason that lies in name and password.
            TransientFault: ``rate_limited``, ``database_away``.
        """
        self._check_rate(name, address)
        async with self._database.transaction() as connection:
            row = await find_operator(connection, name) if NAME.match(name) else None
        usable = row if row is not None and row.disabled_ms is None else None
        if not await self._passwords.matches(password, usable.password_hash if usable else None) or usable is None:
            await self._record_failure(row.name if row else UNKNOWN_ACCOUNT, address)
            raise LoginRefused
        newer = await self._passwords.hash(password) if self._passwords.is_outdated(usable.password_hash) else None
        token = secrets.token_hex(32)
        now_ms = self._clock.now_ms()
        async with self._database.transaction() as connection:
            if await lock_operator(connection, name) != usable:
                raise LoginRefused  # closed, or its password replaced, while the hash was computed
            if newer is not None:
                await replace_hash(connection, name, newer)
            await sweep_sessions(
                connection, seen_before_ms=now_ms - self._idle_ms, created_before_ms=now_ms - self._lifetime_ms
            )
            await record_login(connection, name, now_ms)
            await insert_session(connection, sha256_hex(token.encode()), name, now_ms)
            await self._audit(connection, name, "log in", failures=self._take_failures(name))
        self._remember(name, address)
        log.info("operator_logged_in", extra={"fields": {"operator": name, "address": address}})
        return token

    def _check_rate(self, name: str, address: str) -> None:
        """Limit attempts of an address, and at an account unless its operator logged in from this address before.

        So whoever guesses at a password from elsewhere does not lock its owner out.

        Raises:
            TransientFault: ``rate_limited``.
        """
        allowed = self._by_address.allow(address)
        if allowed and (name, client_key(address)) not in self._familiar:
            allowed = self._by_account.allow(f"account {name[:32]}")
        if not allowed:
            raise TransientFault(Code.RATE_LIMITED, "Too many attempts to log in; wait a minute")

    def _remember(self, name: str, address: str) -> None:
        self._familiar[(name, client_key(address))] = None
        self._familiar.move_to_end((name, client_key(address)))
        while len(self._familiar) > MAX_FAMILIAR:
            self._familiar.popitem(last=False)

    async def _record_failure(self, subject: str, address: str) -> None:
        """Note a failure; strangers can not fill the audit log with them, for they only count up in between."""
        log.warning("login_failed", extra={"fields": {"account": subject, "address": address}})
        now_ms = self._clock.now_ms()
        known = self._failures.get(subject)
        if known is not None and now_ms - known.recorded_at_ms < FAILURES_AUDIT_MS:
            known.unrecorded += 1
            return
        attempts = 1 + (known.unrecorded if known else 0)
        self._failures[subject] = _Failures(now_ms)
        async with self._database.transaction() as connection:
            await audit_log.append(
                connection, time_ms=now_ms, who=STRANGER, action="log in failed", subject=subject, attempts=attempts
            )

    def _take_failures(self, name: str) -> int:
        known = self._failures.get(name)
        if known is None:
            return 0
        count, known.unrecorded = known.unrecorded, 0
        return count

    async def session(self, token: str | None, *, touch: bool) -> Session | None:
        """The session of a token, if it is not over.

        Args:
            token: what the cookie holds.
            touch: whether the operator does something; a page that refreshes itself is nobody's doing.

        Raises:
            TransientFault: ``database_away``.
        """
        if token is None or not _TOKEN.match(token):
            return None
        digest = sha256_hex(token.encode())
        now_ms = self._clock.now_ms()
        async with self._database.transaction() as connection:
            found = await find_session(connection, digest)
            if found is None:
                return None
            if now_ms - found.seen_ms >= self._idle_ms or now_ms - found.created_ms >= self._lifetime_ms:
                await end_session(connection, digest)
                return None
            operator = await find_operator(connection, found.operator)
            if operator is None or operator.disabled_ms is not None:
                return None
            if touch:
                await touch_session(connection, digest, now_ms)
        return Session(token, operator)

    async def log_out(self, session: Session) -> None:
        """End a session.

        Raises:
            TransientFault: ``database_away``.
        """
        async with self._database.transaction() as connection:
            await end_session(connection, sha256_hex(session.token.encode()))
            await self._audit(connection, session.operator.name, "log out")

    async def change_password(self, session: Session, old: str, new: str, repeated: str) -> str:
        """Change the operator's own password; all its sessions end. Returns the token of a new one.

        Raises:
            PasswordRefused: why the new one is not taken.
            TransientFault: ``rate_limited``, ``database_away``.
        """
        name = session.operator.name
        if not self._by_account.allow(f"account {name}"):
            raise TransientFault(Code.RATE_LIMITED, "Too many attempts; wait a minute")
        if not await self._passwords.matches(old, session.operator.password_hash):
            raise PasswordRefused("wrong_old")
        if not length_is_good(new):
            raise PasswordRefused("length")
        if new != repeated:
            raise PasswordRefused("differ")
        if new == old:
            raise PasswordRefused("same")
        encoded = await self._passwords.hash(new)
        token = secrets.token_hex(32)
        now_ms = self._clock.now_ms()
        async with self._database.transaction() as connection:
            row = await lock_operator(connection, name)
            if row is None or row.disabled_ms is not None or row.password_hash != session.operator.password_hash:
                raise PasswordRefused("wrong_old")  # closed, or replaced, while the hash was computed
            await set_password(connection, name, encoded, now_ms, must_change=False)
            await insert_session(connection, sha256_hex(token.encode()), name, now_ms)
            await self._audit(connection, name, "change password")
        return token

    async def _audit(self, connection: Connection, name: str, action: str, *, failures: int = 0) -> None:
        details: dict[str, str | int] = {"failed_before": failures} if failures else {}
        await audit_log.append(
            connection, time_ms=self._clock.now_ms(), who=name, action=action, subject=name, **details
        )
