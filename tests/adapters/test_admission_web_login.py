"""Logging in to the operator's pages: passwords, sessions, limits, and what goes into the audit log."""

from __future__ import annotations

from tests.support.admission import AdmissionHome
from tests.support.admission_web import PASSWORD, Browser, add_operator, words_of


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
