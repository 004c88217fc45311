"""What keeps strangers out of the operator's pages: login, origin and token of forms, headers, limits."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from minervas_admission.settings import DatabaseSettings
from minervas_admission.store import database as database_module
from minervas_admission.web import forms
from minervas_admission.web.forms import MAX_BYTES
from minervas_admission.web.headers import HEADERS
from minervas_admission.web.install import install_web
from minervas_admission.web.site import SESSION_COOKIE
from tests.support.admission import AdmissionHome
from tests.support.admission_web import LOGIN, Browser, unconnected_site, words_of

PUBLIC = {
    "/", LOGIN, "/apply", "/language/{language}", "/static/site.css", "/static/icon.svg", "/grafana/password/{token}",
}  # fmt: skip
"""Pages that need no login: whoever adds one decides that it shows nothing of members."""


async def test_every_page_but_the_public_ones_needs_a_login(admission_home: AdmissionHome) -> None:
    paths = page_paths(admission_home)
    assert len(paths) > 10
    async with admission_home.running(), Browser(admission_home) as stranger:
        for path, method in paths:
            if path in PUBLIC:
                continue
            concrete = re.sub(r"\{[^}]*\}", "1", path)
            if method == "GET":
                answer = await stranger.get(concrete)
            else:
                answer = await stranger.send(concrete, {}, csrf="0" * 64)
            assert answer.status_code == 303, (method, path)
            assert answer.headers["location"].startswith(LOGIN), (method, path)
        answer = await stranger.get("/")
        assert answer.headers["location"] == "/operator"


def page_paths(admission_home: AdmissionHome) -> list[tuple[str, str]]:
    """Path and method of every page, from the application itself."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install_web(app, unconnected_site(admission_home))
    return sorted(_flat(app.routes))


def _flat(routes: Iterable[object]) -> Iterator[tuple[str, str]]:
    """Path and method of routes, and of those of included routers."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield from ((route.path, method) for method in route.methods or ())
        else:
            yield from _flat(getattr(getattr(route, "original_router", None), "routes", ()))


async def test_form_of_another_site_is_refused_and_changes_nothing(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser, Browser(admission_home) as other:
        await browser.enter(admission_home)
        await other.enter(admission_home, "lee")
        token = await browser.csrf()
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": browser.origin.replace("https", "http")},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "none"},
        ):
            for path, fields in ((LOGIN, {"name": "kim"}), ("/operator/accounts", {"name": "evil"})):
                page = await browser.send(path, fields, csrf=token, headers=headers)
                assert page.status_code == 403
                assert "This form came from somewhere else" in words_of(page)
        bare = await browser.client.post("/operator/accounts", data={"csrf": token, "name": "evil"})
        assert bare.status_code == 403
        for wrong in ("", "0" * 64, "ü", await other.csrf()):
            page = await browser.send("/operator/accounts", {"name": "evil"}, csrf=wrong)
            assert page.status_code == 403
            assert "This form is too old" in words_of(page)
        assert admission_home.as_owner("SELECT name FROM operators ORDER BY name") == [("kim",), ("lee",)]


async def test_forms_are_limited_in_kind_and_size(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser:
        headers = {"Origin": browser.origin, "Content-Type": "application/x-www-form-urlencoded"}
        for content, kind, status in (
            (b"name=" + b"x" * MAX_BYTES, headers["Content-Type"], 413),
            (b'{"name": "kim"}', "application/json", 415),
            (b"name=%00", headers["Content-Type"], 400),
            (b"name=%ff", headers["Content-Type"], 400),
            ("name=ü".encode(), headers["Content-Type"], 400),
            (b"a=1&" * 501, headers["Content-Type"], 400),
        ):
            page = await browser.client.post(LOGIN, content=content, headers={**headers, "Content-Type": kind})
            assert page.status_code == status, page.text
            assert "Nothing was changed." in words_of(page) or status == 415


async def test_every_answer_has_the_headers_that_restrict_browsers(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        for path in ("/operator", LOGIN, "/nothing", "/static/site.css", "/v1/consortium", "/ca.crt", "/language/ko"):
            answer = await browser.get(path)
            for name, value in HEADERS.items():
                assert answer.headers[name] == value, (path, name)
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            kept = "static" in path
            assert ("no-store" in answer.headers["cache-control"]) != kept, path
        page = await browser.get("/operator")
        assert "script" not in page.text
        assert 'style="' not in page.text
        policy = HEADERS["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


async def test_no_link_leads_to_another_site(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        for wanted, led in (
            ("/operator/queue", "/operator/queue"),
            ("//evil.example", None),
            ("https://evil.example", None),
            ("/\\evil.example", None),
            ("javascript:alert(1)", None),
        ):
            answer = await browser.log_in(next=wanted)
            assert answer.headers["location"] == (led or "/operator")
            answer = await browser.get("/language/ko", params={"back": wanted})
            assert answer.headers["location"] == (led or "/")


async def test_errors_are_pages_for_people_and_json_for_programs(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser:
        page = await browser.get("/nothing/here")
        assert page.status_code == 404
        assert "There is no such page" in words_of(page)
        answer = await browser.get("/v1/applications/1", headers={"Authorization": "Bearer 1"})
        assert answer.json()["code"] == "not_found"
        answer = await browser.get("/nothing", headers={"Accept": "*/*"})
        assert answer.json()["code"] == "not_found"
        page = await browser.client.put(LOGIN)
        assert (page.status_code, "This can not be done here" in words_of(page)) == (405, True)
        await browser.enter(admission_home)
        for path in ("/operator/applications/1", "/operator/decisions/1", "/operator/decisions/x"):
            assert (await browser.get(path)).status_code == 404


async def test_page_of_an_unexpected_error_is_as_guarded_as_any(admission_home: AdmissionHome) -> None:
    async with admission_home.running(), Browser(admission_home) as browser:
        await browser.enter(admission_home)
        admission_home.as_owner("ALTER TABLE operator_sessions RENAME TO hidden")
        page = await browser.get("/operator")
        assert page.status_code == 500
        assert "Something went wrong here" in words_of(page)
        for name, value in HEADERS.items():
            assert page.headers[name] == value


async def test_pages_say_what_to_do_when_the_database_is_away(
    admission_home: AdmissionHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = database_module.connect

    async def refused(settings: DatabaseSettings, *, application: str) -> database_module.Connection:
        if application == "minervas-admission pages":
            raise database_module.database_away(settings, OSError("no route"))
        return await connect(settings, application=application)

    monkeypatch.setattr(database_module, "connect", refused)
    async with admission_home.running(), Browser(admission_home) as browser:
        browser.client.cookies.set(SESSION_COOKIE, "0" * 64, domain="localhost.local", path="/")
        page = await browser.get("/operator/queue")
        assert (page.status_code, page.headers["retry-after"]) == (503, "60")
        assert "The database does not answer" in words_of(page)
        assert 'href="/operator/queue"' in page.text
        assert "no route" not in page.text


async def test_form_that_does_not_arrive_is_given_up(
    admission_home: AdmissionHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "TIMEOUT_S", 0.05)
    head = (
        f"POST {LOGIN} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\nAccept: text/html\r\n"
        f"Content-Type: {forms.FORM_TYPE}\r\nContent-Length: 100\r\n\r\nname=k"
    )
    async with admission_home.running():
        context = ssl.create_default_context(cafile=str(admission_home.data.trusted_cas))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", admission_home.http_port, ssl=context, server_hostname="localhost"
        )
        writer.write(head.encode())
        async with asyncio.timeout(60):
            answer = (await reader.read()).decode()  # to the end: the server closes the connection
        writer.close()
        assert answer.startswith("HTTP/1.1 408 ")
        assert "The form did not arrive in time" in answer
