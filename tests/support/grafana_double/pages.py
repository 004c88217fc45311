"""The few pages that a browser sees. They say what they are, and look like nothing else."""

from __future__ import annotations

import secrets
from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from tests.support.grafana_double.dashboards import may
from tests.support.grafana_double.preferences import home_uid
from tests.support.grafana_double.routing import COOKIE, Call, Caller, caller_of, check_password
from tests.support.grafana_double.state import ApiError, Grafana, slug

NOTICE = "Test double of the Grafana API, made for the tests of Minervas. This is not Grafana."
_FORM = """<form method="post" action="/login">
<p><label>User <input name="user" autocomplete="username"></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password"></label></p>
<p><button>Log in</button></p></form>"""


def add_pages(app: FastAPI, grafana: Grafana) -> None:
    """Login, the list of dashboards, one dashboard, the end of a session."""

    @app.get("/login")
    def login_page() -> Response:
        return _page("Log in", _FORM)

    @app.post("/login")
    async def log_in(request: Request) -> Response:
        return await _log_in(grafana, request)

    @app.get("/logout")
    def log_out(request: Request) -> Response:
        grafana.sessions.pop(request.cookies.get(COOKIE, ""), None)
        return RedirectResponse("/login", 302)

    @app.get("/")
    def home(request: Request) -> Response:
        call = _call(grafana, request)
        return RedirectResponse("/login", 302) if call is None else _home(call)

    @app.get("/d/{uid}")
    @app.get("/d/{uid}/{name}")
    def dashboard(request: Request, uid: str) -> Response:
        call = _call(grafana, request)
        if call is None:
            return RedirectResponse("/login", 302)
        found = call.org.dashboards.get(uid) if call.caller is not None and call.caller.org is not None else None
        if found is None or not may(call, found):
            return _page("Not found", "<p>There is no such dashboard.</p>", 404)
        panels = "".join(f"<li>{escape(str(panel.get('title')))}</li>" for panel in found.model.get("panels") or [])
        return _page(str(found.model["title"]), f"<p>Panels:</p><ul>{panels}</ul>")


async def _log_in(grafana: Grafana, request: Request) -> Response:
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    try:
        sent = parse_qs((await request.body()).decode()) if form else await request.json()
        wanted = [sent.get(name) or "" for name in ("user", "password")]
        login, password = [item[0] if isinstance(item, list) else str(item) for item in wanted]
        user = check_password(grafana, login, password)
    except (ValueError, AttributeError):
        return JSONResponse({"message": "bad login data"}, 400)
    except ApiError as error:
        return _page("Log in", f"<p>{escape(str(error))}</p>{_FORM}", 401) if form else JSONResponse(error.body, 401)
    cookie = secrets.token_hex(16)
    grafana.sessions[cookie] = user.id
    answer: Response = RedirectResponse("/", 303)
    if not form:
        answer = JSONResponse({"message": "Logged in", "redirectUrl": "/"})
    answer.set_cookie(COOKIE, cookie, httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return answer


def _call(grafana: Grafana, request: Request) -> Call | None:
    """What a page needs to know; None without a session. `?orgId=` changes the account's organisation."""
    try:
        caller = caller_of(grafana, request)
    except ApiError:
        return None
    wanted = request.query_params.get("orgId", "")
    org = grafana.orgs.get(int(wanted)) if wanted.isdigit() else None
    if org is not None and caller.user.id in org.members:
        caller.user.org_id = org.id
        caller = Caller(caller.user, org, org.members[caller.user.id])
    return Call(grafana, caller, request.path_params, request.query_params, [], request.headers, None)


def _home(call: Call) -> Response:
    caller = call.caller
    if caller is None or caller.org is None:
        return _page("No organisation", f"<p>{escape(call.user.login)} belongs to no organisation.</p>")
    chosen = home_uid(call)
    items = "".join(
        f'<li><a href="/d/{item.uid}/{slug(str(item.model["title"]))}">{escape(str(item.model["title"]))}</a>'
        f"{' (home)' if item.uid == chosen else ''}</li>"
        for item in call.org.dashboards.values()
        if may(call, item)
    )
    who = f"{escape(caller.user.login)}, {caller.role} of {escape(caller.org.name)}"
    return _page("Dashboards", f'<p>{who} · <a href="/logout">Log out</a></p><ul>{items}</ul>')


def _page(title: str, body: str, status: int = 200) -> Response:
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)} - test double</title>'
    page = f"{head}<body><p><strong>{NOTICE}</strong></p><h1>{escape(title)}</h1>{body}</body></html>"
    return HTMLResponse(page, status)
