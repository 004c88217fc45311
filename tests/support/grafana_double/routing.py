"""Routes: who may call, and what becomes of the answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from tests.support.grafana_double.state import ROLES, ApiError, Body, Grafana, Org, Role, User

COOKIE = "grafana_session"
Needs = Literal["nobody", "signed in", "Viewer", "Editor", "Admin", "server admin"]


@dataclass(frozen=True)
class Caller:
    """Who calls, and in which organisation; `org` is None for an account that belongs to none."""

    user: User
    org: Org | None
    role: Role | None


@dataclass(frozen=True)
class Call:
    """One request."""

    grafana: Grafana
    caller: Caller | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    tags: list[str]
    headers: Mapping[str, str]
    content: Any

    @property
    def body(self) -> Body:
        """The JSON object that was sent; raises ApiError 400 for anything else."""
        if not isinstance(self.content, dict):
            raise ApiError(400, "bad request data")
        return self.content

    @property
    def user(self) -> User:
        """Who calls."""
        assert self.caller is not None, "the route needs a caller"
        return self.caller.user

    @property
    def org(self) -> Org:
        """The organisation that the call is about."""
        assert self.caller is not None, "the route needs a caller"
        assert self.caller.org is not None, "the route needs a role"
        return self.caller.org

    @property
    def role(self) -> Role:
        """The caller's role in it."""
        assert self.caller is not None, "the route needs a caller"
        assert self.caller.role is not None, "the route needs a role"
        return self.caller.role

    def page(self, default_size: int = 1_000) -> tuple[int, int]:
        """Number and size of the wanted page; nonsense means the first."""
        number, size = _int(self.query.get("page"), 1), _int(self.query.get("perpage"), default_size)
        return max(number, 1), size if size > 0 else default_size

    def page_of(self, items: list[Any]) -> list[Any]:
        """The wanted page of a list."""
        number, size = self.page()
        return items[(number - 1) * size : number * size]


@dataclass(frozen=True)
class Answer:
    """An answer with another status than 200."""

    status: int
    body: Any = None


Handler = Callable[[Call], Any]


@dataclass(frozen=True)
class Route:
    """One route of the API and what it needs."""

    method: str
    path: str
    needs: Needs
    handler: Handler
    slow: bool
    """It waits for the database, so it runs in a thread."""


ROUTES: list[Route] = []


def route(method: str, path: str, needs: Needs, *, slow: bool = False) -> Callable[[Handler], Handler]:
    """Enter a handler of `/api` + path."""

    def enter(handler: Handler) -> Handler:
        ROUTES.append(Route(method, path, needs, handler, slow))
        return handler

    return enter


def add_routes(app: FastAPI, grafana: Grafana) -> None:
    """Put every route into the application, and Grafana's answer for all others."""
    for entry in ROUTES:
        for path in (entry.path, f"{entry.path}/"):
            app.add_api_route(f"/api{path}", _endpoint(grafana, entry), methods=[entry.method])
    app.add_api_route(
        "/api/{rest:path}",
        _not_found,
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
    )


def _not_found() -> Response:
    return _json(404, {"message": "Not found"})


def _endpoint(grafana: Grafana, entry: Route) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            caller = None if entry.needs == "nobody" else caller_of(grafana, request)
            _check(caller, entry.needs)
            call = Call(
                grafana,
                caller,
                request.path_params,
                request.query_params,
                request.query_params.getlist("tag"),
                request.headers,
                await _content(request),
            )
            answer = await asyncio.to_thread(entry.handler, call) if entry.slow else entry.handler(call)
        except ApiError as error:
            return _json(error.status, error.body)
        if isinstance(answer, Answer):
            return Response(status_code=204) if answer.status == 204 else _json(answer.status, answer.body)
        return _json(200, answer)

    return endpoint


def caller_of(grafana: Grafana, request: Request) -> Caller:
    """Who calls: basic authentication, a service account's token or a browser's cookie; raises ApiError 401 or 403."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return _machine(grafana, value)
    user = _by_password(grafana, value) if kind.lower() == "basic" else _by_cookie(grafana, request)
    wanted = request.headers.get("x-grafana-org-id")
    org = grafana.orgs.get(_int(wanted, user.org_id))
    if wanted is not None:
        if org is None:
            raise ApiError(404, "Organization not found")
        if user.id not in org.members:
            raise ApiError(403, "You are not a member of this organization")
    role = org.members.get(user.id) if org is not None else None
    return Caller(user, org if role is not None else None, role)


def check_password(grafana: Grafana, login: str, password: str) -> User:
    """The account with this password; raises ApiError 401, also for one that is disabled."""
    user = grafana.find_user(login)
    if user is None or user.is_disabled or not secrets.compare_digest(user.password.encode(), password.encode()):
        raise ApiError(401, "Invalid username or password", messageId="password-auth.failed")
    return user


def _by_password(grafana: Grafana, encoded: str) -> User:
    try:
        login, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ApiError(401, "Invalid Basic Auth Header") from error
    return check_password(grafana, login, password)


def _by_cookie(grafana: Grafana, request: Request) -> User:
    user = grafana.users.get(grafana.sessions.get(request.cookies.get(COOKIE, ""), 0))
    if user is None or user.is_disabled:
        raise ApiError(401, "Unauthorized", messageId="auth.unauthorized")
    return user


def _machine(grafana: Grafana, key: str) -> Caller:
    for org in grafana.orgs.values():
        for account in org.service_accounts.values():
            if key in {token for _, token in account.tokens.values()} and not account.is_disabled:
                user = User(-account.id, f"sa-{org.id}-{account.name}", "", account.name, "", org.id)
                return Caller(user, org, account.role)
    raise ApiError(401, "Invalid API key", messageId="api-key.invalid")


def _check(caller: Caller | None, needs: Needs) -> None:
    if caller is None or needs == "signed in":
        return
    if needs == "server admin":
        allowed = caller.user.is_server_admin
    else:
        allowed = caller.role is not None and ROLES.index(caller.role) >= ROLES.index(needs)
    if not allowed:
        raise ApiError(403, "You'll need additional permissions to perform this action.", title="Access denied")


async def _content(request: Request) -> Any:
    raw = await request.body()
    if not raw or request.method == "GET":
        return None
    try:
        return json.loads(raw)
    except ValueError as error:
        raise ApiError(400, "bad request data") from error


def _int(text: str | None, default: int) -> int:
    try:
        return int(text) if text is not None else default
    except ValueError:
        return default


def number(text: str, message: str) -> int:
    """A number of a path; raises ApiError 400 with the message."""
    try:
        return int(text)
    except ValueError as error:
        raise ApiError(400, message) from error


def _json(status: int, body: Any) -> Response:
    return JSONResponse(body, status_code=status)
