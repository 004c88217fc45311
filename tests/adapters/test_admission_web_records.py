"""The audit log, parameters, broker and files in the browser."""

from __future__ import annotations

import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from minervas_admission import audit_log
from minervas_admission.store.database import Database
from minervas_admission.web.pages.audit import PAGE
from minervas_admission.web.texts import LANGUAGES
from minervas_core.encoding import sha256_hex
from tests.support.admission import AdmissionHome, Applicant
from tests.support.admission_web import Browser, words_of
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

PAGES = ("members", "personal", "audit", "parameters", "maintenance")


async def test_the_audit_log_is_shown_by_pages_compared_and_handed_out(admission_home: AdmissionHome) -> None:
    home = admission_home
    async with home.running(), Browser(home) as browser:
        await browser.enter(home)
        for number in range(3):
            await home.apply(Applicant(f"m{number}").application())
        page = await browser.get("/operator/audit")
        assert "The chain is intact" in words_of(page)
        found = words_of(await browser.get("/operator/audit?who=applicant&subject=m1"))
        assert ("m1" in found, " m2 " in found) == (True, False)
        assert "No entry fits" in words_of(await browser.get("/operator/audit?action=nothing"))
        for wanted in ("0", "7", "x", "9" * 20):
            assert (await browser.get(f"/operator/audit?page={wanted}")).status_code == 200

        log = json.loads((await browser.get("/operator/audit/export")).content)
        newest = log["entries"][-1]
        assert log["head"] == f"{newest['number']}:{newest['hash']}"
        for head, words in (
            (log["head"], "still has this entry"),
            (f"1:{newest['hash']}", "not the log of that head"),
            (f"999:{newest['hash']}", "not the log of that head"),
            ("<b>", "64 hex digits"),
        ):
            assert words in words_of(await browser.get("/operator/audit", params={"head": head}))

        delete(home, 2)
        page = await browser.get("/operator/audit")
        assert "Entry 2 is missing or was changed" in words_of(page)
        assert "/operator/audit/export" not in page.text
        assert (await browser.get("/operator/maintenance")).status_code == 200


def delete(home: AdmissionHome, number: int) -> None:
    """What somebody can do who owns the tables."""
    home.as_owner("ALTER TABLE audit_log DISABLE TRIGGER USER")
    home.as_owner("DELETE FROM audit_log WHERE number = %s", number)
    home.as_owner("ALTER TABLE audit_log ENABLE TRIGGER USER")


async def write_entries(home: AdmissionHome, count: int) -> None:
    database = Database(home.settings.database, application="test")
    async with database.transaction() as connection:
        for number in range(count):
            await audit_log.append(connection, time_ms=number, who="lee", action="export", subject="alpha")
    await database.close()


async def test_parameters_are_changed_only_as_the_chain_would_take_it(admission_home: AdmissionHome) -> None:
    home = admission_home
    async with home.running(), Browser(home) as browser:
        await browser.enter(home)
        page = words_of(await browser.get("/operator/parameters"))
        assert "No change waits" in page
        for fields, words in (
            ({"height": "5000", "new_max_open_orders": "many"}, "not possible"),
            ({"height": "2", "new_max_open_orders": "100"}, "too close"),
            ({"height": "5000"}, "Nothing would change"),
            ({"height": "x", "new_max_open_orders": "100"}, "not possible"),
        ):
            for path in ("/operator/parameters/check", "/operator/parameters"):
                answer = await browser.send(path, fields)
                assert (answer.status_code, words in words_of(answer)) == (422, True), words_of(answer)
        wanted = {"height": "5000", "new_max_open_orders": "100", "new_slot_ms": ""}
        question = words_of(await browser.send("/operator/parameters/check", wanted))
        assert "max_open_orders 200 100" in question
        assert "applies from block 5,000 on" in question
        assert home.as_owner("SELECT count(*) FROM decisions") == [(0,)]
        answer = await browser.send("/operator/parameters", wanted)
        assert answer.headers["location"].startswith("/operator/decisions/")
        await wait_until_async(lambda: home.as_owner("SELECT 1 FROM membership_transactions"), describe="signing")
        assert "max_open_orders = 100" in words_of(await browser.get("/operator/parameters"))


async def test_broker_and_files(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running(), Browser(home) as browser:
        await browser.enter(home)
        answer = await browser.send("/operator/maintenance/reconcile", {})
        await wait_until_async(
            lambda: home.as_owner("SELECT 1 FROM decisions WHERE kind = 'reconcile' AND state = 'done'")
        )
        assert "nothing to repair" in words_of(await browser.get(answer.headers["location"]))
        page = words_of(await browser.get("/operator/maintenance"))
        assert "decision 1" in page
        files = {
            "ca.crt": home.data.ca_certificate,
            "ca.crl": home.export_dir / "ca.crl",
            "genesis.json": home.data.genesis,
        }
        for name, file in files.items():
            assert (await browser.get(f"/operator/maintenance/{name}")).content == file.read_bytes()
        authority = x509.load_pem_x509_certificate(home.data.ca_certificate.read_bytes())
        assert sha256_hex(home.data.genesis.read_bytes()) in page
        assert f"sha256:{authority.fingerprint(hashes.SHA256()).hex()}" in page
        assert (await browser.get("/operator/maintenance/ca.key")).status_code == 404


async def test_the_pages_stand_in_every_language_and_the_log_has_pages(admission_home: AdmissionHome) -> None:
    home = admission_home
    await write_entries(home, PAGE + 1)
    async with home.running(), Browser(home) as browser:
        await browser.enter(home)
        first = await browser.get("/operator/audit?who=lee")
        assert "Page 1 of 2" in words_of(first)
        assert "who=lee&amp;page=1" in first.text
        assert "Page 2 of 2" in words_of(await browser.get("/operator/audit?who=lee&page=1"))
        seen: dict[str, set[str]] = {}
        for language in LANGUAGES:
            await browser.get(f"/language/{language}")
            for name in PAGES:
                page = await browser.get(f"/operator/{name}")
                assert page.status_code == 200, name
                seen.setdefault(name, set()).add(words_of(page))
        assert all(len(texts) == len(LANGUAGES) for texts in seen.values())
