"""The application form: everybody may fill it in, and its one-time token brings it into one application."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from minervas_admission.ca import fingerprint
from minervas_admission.forms import DAY_MS
from minervas_admission.tokens import token_hash
from minervas_core.applicant import ApplicationForm
from minervas_core.encoding import decode, encode
from minervas_core.errors import Code
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.clock import ManualClock, SystemClock
from tests.support.admission import AdmissionHome, Applicant
from tests.support.admission_web import Browser, words_of
from tests.support.wait import wait_until_async

GOOD = {
    "member": "mokpo-univ",
    "name": "목포대학교",
    "contact": "061-000-0000",
    "registration": "",
    "address": "",
    "site_name": "library",
    "site_latitude": "34.9123",
    "site_longitude": "126.4372",
    "site_address": "roof",
    "panel_site": "library",
    "panel_rated_w": "120",
    "panel_tilt": "30.5",
    "panel_azimuth": "180",
    "accepts_visibility": "yes",
    "action": "send",
}
_TOKEN = re.compile(r"--token ([0-9a-f]{64})")


@pytest.fixture
async def home(admission_home: AdmissionHome) -> AsyncIterator[AdmissionHome]:
    async with admission_home.running():
        yield admission_home


async def filled_in(home: AdmissionHome, **changes: str) -> httpx.Response:
    async with Browser(home) as browser:
        return await browser.send("/apply", {**GOOD, **changes}, csrf="")


async def token_of(home: AdmissionHome) -> str:
    found = _TOKEN.search(words_of(await filled_in(home)))
    assert found is not None
    return found[1]


async def bring(home: AdmissionHome, token: str, member: str = "mokpo-univ") -> tuple[int, str]:
    async with home.http() as client:
        answer = await client.post(
            "/v1/applications",
            content=encode(Applicant(member).application()),
            headers={"Authorization": f"Bearer {token}"},
        )
    return answer.status_code, answer.json().get("code", "")


async def ask(home: AdmissionHome, token: str) -> httpx.Response:
    async with home.http() as client:
        return await client.get("/v1/form", headers={"Authorization": f"Bearer {token}"})


async def test_the_last_page_gives_the_command_and_the_token_brings_what_was_filled_in(home: AdmissionHome) -> None:
    page = await filled_in(home)
    told = fingerprint_of(home)
    found = re.search(
        rf"minervas join https://localhost:{home.http_port} --ca-fingerprint {told} --member mokpo-univ "
        r"--token ([0-9a-f]{64})",
        words_of(page),
    )
    assert found is not None, words_of(page)
    form = decode((await ask(home, found[1])).content, ApplicationForm, max_bytes=100_000)
    assert (form.member, form.name, form.accepts_visibility) == ("mokpo-univ", "목포대학교", True)
    [site], [panel] = form.about.sites, form.about.panels  # type: ignore[misc]  # they are set
    assert (site.name, site.latitude_e6, site.longitude_e6) == ("library", 34_912_300, 126_437_200)
    assert (panel.site, panel.rated_w, panel.tilt_tenths, panel.azimuth_tenths) == ("library", 120, 305, 1_800)
    stored = str(home.as_owner("SELECT f::text FROM application_forms f"))
    assert found[1] not in stored
    assert token_hash(found[1]) in stored


def fingerprint_of(home: AdmissionHome) -> str:
    return fingerprint(x509.load_pem_x509_certificate(home.data.ca_certificate.read_bytes()))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"member": "Mokpo"}, "member"),
        ({"member": "consortium"}, "member"),
        ({"name": ""}, "name"),
        ({"contact": "x" * 201}, "contact"),
        ({"name": "a\u202eb"}, "name"),
        ({"site_latitude": "34.1234567"}, "site-0-latitude"),
        ({"site_longitude": "181"}, "site-0-longitude"),
        ({"site_latitude": "nan"}, "site-0-latitude"),
        ({"site_latitude": "1e999999"}, "site-0-latitude"),
        ({"site_name": "도서관"}, "site-0-name"),
        ({"panel_site": "barn"}, "panel-0-site"),
        ({"panel_rated_w": "0"}, "panel-0-rated_w"),
        ({"panel_tilt": "90.1"}, "panel-0-tilt"),
        ({"panel_azimuth": "360"}, "panel-0-azimuth"),
        ({"accepts_visibility": ""}, "accepts_visibility"),
    ],
)
async def test_every_mistake_is_shown_at_its_field_and_nothing_is_kept(
    home: AdmissionHome, changes: dict[str, str], field: str
) -> None:
    page = await filled_in(home, **changes)
    assert page.status_code == 422
    assert f'href="#{field}"' in page.text
    assert f'aria-describedby="{field}-problem"' in page.text
    assert home.as_owner("SELECT 1 FROM application_forms") == []


async def test_rows_are_added_without_losing_what_was_typed(home: AdmissionHome) -> None:
    page = await filled_in(home, action="add_panel", name="")
    assert page.status_code == 200
    assert 'id="panel-1-tilt"' in page.text
    assert 'value="34.9123"' in page.text
    page = await filled_in(home, action="add_site")
    assert 'id="site-1-name"' in page.text
    assert home.as_owner("SELECT 1 FROM application_forms") == []


async def test_the_page_states_in_both_languages_that_all_members_see_all_trades(home: AdmissionHome) -> None:
    for language, text in (("en", "All members of the consortium see all trades"), ("ko", "모든 회원은 모든 거래를")):
        async with Browser(home, language=language) as browser:
            page = await browser.get("/apply")
        assert text in words_of(page)
        assert 'name="accepts_visibility" value="yes" required' in page.text


async def test_a_form_from_another_site_is_refused(home: AdmissionHome) -> None:
    async with Browser(home) as browser:
        page = await browser.send("/apply", GOOD, csrf="", headers={"Origin": "https://evil.example"})
    assert page.status_code == 403
    assert home.as_owner("SELECT 1 FROM application_forms") == []


async def test_a_token_is_used_up_by_its_application_and_by_no_other(home: AdmissionHome) -> None:
    token = await token_of(home)
    assert await bring(home, token, "somebody-else") == (404, Code.TOKEN_UNKNOWN)
    assert await bring(home, "0" * 64) == (404, Code.TOKEN_UNKNOWN)
    assert home.as_owner("SELECT 1 FROM applications") == []
    application = encode(Applicant("mokpo-univ").application())
    async with home.http() as client:
        answers = [
            await client.post(
                "/v1/applications", content=application, headers={"Authorization": f"Bearer {token}"}
            )
            for _ in range(2)
        ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [201, 200]
    [(content, used_by)] = home.as_owner("SELECT content, application FROM application_forms")
    assert content is None
    assert used_by == answers[0].json()["application_id"]
    used = await ask(home, token)
    assert (used.status_code, used.json()["code"]) == (410, Code.TOKEN_USED)
    await home.decisions().reject("mokpo-univ", "once more")
    assert await bring(home, token) == (410, Code.TOKEN_USED)


async def test_a_token_expires_after_seven_days_and_is_forgotten_a_month_later(
    admission_home: AdmissionHome,
) -> None:
    clock = ManualClock(SystemClock().now_ms())
    async with admission_home.running(clock):
        token = await token_of(admission_home)
        clock.advance(7 * DAY_MS - 60_000)
        assert (await ask(admission_home, token)).status_code == 200
        clock.advance(60_000)
        answer = await ask(admission_home, token)
        assert (answer.status_code, answer.json()["code"]) == (410, Code.TOKEN_EXPIRED)
        clock.advance(31 * DAY_MS)
        await filled_in(admission_home, member="another")
        assert (await ask(admission_home, token)).json()["code"] == Code.TOKEN_UNKNOWN


async def test_what_was_filled_in_is_forgotten_when_its_token_has_expired(admission_home: AdmissionHome) -> None:
    clock = ManualClock(SystemClock().now_ms())
    async with admission_home.running(clock):
        await token_of(admission_home)
    clock.advance(8 * DAY_MS)
    async with admission_home.running(clock):
        await wait_until_async(lambda: kept_forms(admission_home) == [(None, "")])


def kept_forms(home: AdmissionHome) -> list[tuple[object, ...]]:
    return home.as_owner("SELECT content, remote_address FROM application_forms")


async def test_strangers_can_not_fill_the_disk(admission_home: AdmissionHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minervas_admission.forms.MAX_FORMS", 2)
    async with admission_home.running():
        for member in ("one", "two"):
            assert (await filled_in(admission_home, member=member)).status_code == 200
        assert (await filled_in(admission_home, member="three")).status_code == 429
        assert len(admission_home.as_owner("SELECT 1 FROM application_forms")) == 2


async def test_a_taken_member_id_is_told_at_once(home: AdmissionHome) -> None:
    await home.apply(Applicant("mokpo-univ").application())
    page = await filled_in(home)
    assert page.status_code == 422
    assert "taken, or was used before" in words_of(page)


async def test_one_address_can_not_send_forms_without_end(work_dir: Path, node_database: NodeDatabase) -> None:
    home = AdmissionHome(work_dir, node_database, forms={"forms_per_minute": 2})
    async with home.running():
        statuses = [(await filled_in(home, action="add_site")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
