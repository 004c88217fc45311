"""Applications over HTTPS: idempotent, bounded, and each reason for a refusal with its stable code."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_admission.ca import fingerprint
from minervas_admission.rate_limit import RateLimit, client_key
from minervas_core.applicant import About, Panel
from minervas_core.encoding import decode, encode
from minervas_core.enrolment import (
    MAX_APPLICATION_BYTES,
    Application,
    ConsortiumInfo,
    application_fingerprint,
    sign_claim,
)
from minervas_core.errors import Code
from minervas_core.genesis import load_genesis
from minervas_core.keys import SigningKey
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.clock import SystemClock
from tests.support.admission import AdmissionHome, Applicant


@pytest.fixture
async def home(admission_home: AdmissionHome) -> AsyncIterator[AdmissionHome]:
    """A running admission without a broker."""
    async with admission_home.running():
        yield admission_home


async def post(home: AdmissionHome, content: bytes) -> httpx.Response:
    async with home.http() as client:
        return await client.post("/v1/applications", content=content)


async def refusal(home: AdmissionHome, application: Application | bytes) -> tuple[int, str]:
    """Status and code of a refusal, whose form is checked, too."""
    answer = await post(home, application if isinstance(application, bytes) else encode(application))
    body = answer.json()
    assert set(body) == {"code", "message", "values"}, answer.text
    assert body["message"]
    return answer.status_code, body["code"]


def applications_stored(home: AdmissionHome) -> int:
    return int(home.as_owner("SELECT count(*) FROM applications")[0][0])


async def test_an_application_gets_a_receipt_with_the_fingerprint_to_compare(home: AdmissionHome) -> None:
    application = Applicant("alpha").application()
    receipt = await home.apply(application)
    assert receipt.fingerprint == application_fingerprint(application)
    state = await home.state(receipt)
    assert (state.state, state.member, state.fingerprint) == ("pending", "alpha", receipt.fingerprint)


async def test_the_same_application_again_is_the_same_application(home: AdmissionHome) -> None:
    application = Applicant("alpha").application()
    first = await post(home, encode(application))
    second = await post(home, encode(application))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.content == second.content
    assert applications_stored(home) == 1


async def test_the_token_is_stored_as_a_hash_only(home: AdmissionHome) -> None:
    receipt = await home.apply(Applicant("alpha").application())
    everything = str(home.as_owner("SELECT a::text FROM applications a"))
    assert receipt.application_id in everything
    assert receipt.token not in everything


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer " + "0" * 64, "Basic {token}", "Bearer {token}x"])
async def test_without_the_token_an_application_does_not_exist(home: AdmissionHome, header: str) -> None:
    receipt = await home.apply(Applicant("alpha").application())
    headers = {"Authorization": header.format(token=receipt.token)} if header else {}
    async with home.http() as client:
        with_wrong = await client.get(f"/v1/applications/{receipt.application_id}", headers=headers)
        unknown = await client.get("/v1/applications/" + "0" * 32, headers=headers)
    assert with_wrong.status_code == unknown.status_code == 404
    assert with_wrong.content == unknown.content


async def test_without_consent_and_with_details_that_do_not_fit_nothing_is_stored(home: AdmissionHome) -> None:
    alpha = Applicant("alpha")
    assert await refusal(home, alpha.application(accepts_visibility=False)) == (422, Code.CONSENT_MISSING)
    panel = Panel(site="barn", rated_w=1, tilt_tenths=0, azimuth_tenths=0)
    assert await refusal(home, alpha.application(about=About(panels=[panel]))) == (422, Code.BAD_ENROLMENT)
    assert applications_stored(home) == 0


async def test_a_name_that_waits_for_a_decision_is_taken(home: AdmissionHome) -> None:
    await home.apply(Applicant("alpha").application())
    assert await refusal(home, Applicant("alpha").application()) == (409, Code.MEMBER_EXISTS)
    assert applications_stored(home) == 1


async def test_a_rejection_frees_name_and_keys_and_tells_the_reason(home: AdmissionHome) -> None:
    applicant = Applicant("alpha")
    receipt = await home.apply(applicant.application())
    await home.decisions().reject("alpha", "call us first")
    state = await home.state(receipt)
    assert (state.state, state.reason) == ("rejected", "call us first")
    again = await home.apply(applicant.application())
    assert again.application_id != receipt.application_id
    assert (await home.state(again)).state == "pending"


def with_foreign_key(applicant: Applicant, other: Applicant, which: str) -> Application:
    """An application in which one key is somebody else's, whose private half the applicant even has."""
    match which:
        case "tls":
            applicant.tls["miner"] = other.tls["peer"]
        case "box":
            applicant.box = other.box
        case _:
            applicant.signing[which] = other.signing["peer"]
    return applicant.application()


@pytest.mark.parametrize("which", ["peer", "miner", "ledger", "tls", "box"])
async def test_a_key_that_is_in_use_is_refused_whatever_it_served_for(home: AdmissionHome, which: str) -> None:
    alpha = Applicant("alpha")
    await home.apply(alpha.application())
    assert await refusal(home, with_foreign_key(Applicant("beta"), alpha, which)) == (409, Code.KEY_REUSED)
    assert applications_stored(home) == 1


@pytest.mark.parametrize("which", ["signing", "tls", "signing as tls"])
async def test_a_key_that_serves_twice_in_one_application_is_refused(home: AdmissionHome, which: str) -> None:
    applicant = Applicant("alpha")
    match which:
        case "signing":
            applicant.signing["miner"] = applicant.signing["peer"]
        case "tls":
            applicant.tls["miner"] = applicant.tls["peer"]
        case _:
            seed = os.urandom(32)
            applicant.signing["ledger"] = SigningKey(seed)
            applicant.tls["peer"] = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
            applicant.csr = lambda service: ed25519_or_other(applicant.tls[service])  # type: ignore[method-assign]
    assert await refusal(home, applicant.application()) == (409, Code.KEY_REUSED)


def ed25519_or_other(key: Any) -> str:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm)
    return request.public_bytes(Encoding.PEM).decode()


async def test_the_consortiums_own_keys_are_refused(home: AdmissionHome) -> None:
    passphrase = home.settings.ca_passphrase_file.read_bytes().strip()
    applicant = Applicant("alpha")
    applicant.tls["peer"] = serialization.load_pem_private_key(home.data.ca_key.read_bytes(), passphrase)
    assert await refusal(home, applicant.application()) == (409, Code.KEY_REUSED)


@pytest.mark.parametrize(
    "key",
    [lambda: rsa.generate_private_key(65537, 2048), lambda: ec.generate_private_key(ec.SECP384R1())],
    ids=["RSA 2048", "P-384"],
)
async def test_a_weak_or_unusual_certificate_key_is_refused(home: AdmissionHome, key: Callable[[], Any]) -> None:
    applicant = Applicant("alpha")
    applicant.tls["ledger"] = key()
    assert await refusal(home, applicant.application()) == (422, Code.BAD_KEY)


async def test_the_reserved_name_is_refused(home: AdmissionHome) -> None:
    assert await refusal(home, Applicant("consortium").application()) == (422, Code.BAD_MEMBER_ID)


@pytest.mark.parametrize("member", ["Alpha", "a.b", "-a", "a" * 33, "a/b", "#", "é", ""])
async def test_names_outside_the_grammar_are_refused(home: AdmissionHome, member: str) -> None:
    good = encode(Applicant("alpha").application())
    bad = good.replace(b'"member":"alpha"', b'"member":' + json.dumps(member, ensure_ascii=False).encode())
    assert await refusal(home, bad) == (400, Code.WRONG_SHAPE)


@pytest.mark.parametrize("offset_ms", [301_000, -301_000])
async def test_a_clock_that_is_off_by_more_than_five_minutes_is_refused(home: AdmissionHome, offset_ms: int) -> None:
    late = Applicant("alpha").application(now_ms=SystemClock().now_ms() + offset_ms)
    assert await refusal(home, late) == (422, Code.CLOCK_OFFSET)
    near = Applicant("alpha").application(now_ms=SystemClock().now_ms() + offset_ms // 2)
    assert (await home.apply(near)).fingerprint


async def test_a_repeated_application_is_not_judged_by_its_age(admission_home: AdmissionHome) -> None:
    class LaterClock:
        def __init__(self) -> None:
            self.later_ms = 0

        def now_ms(self) -> int:
            return SystemClock().now_ms() + self.later_ms

    clock = LaterClock()
    async with admission_home.running(clock):
        application = Applicant("alpha").application()
        first = await admission_home.apply(application)
        clock.later_ms = 3_600_000
        assert await admission_home.apply(application) == first


async def test_claims_that_do_not_fit_together_are_refused(home: AdmissionHome) -> None:
    alpha, beta = Applicant("alpha"), Applicant("beta")
    foreign = alpha.application(services=[beta.enrolment("peer"), alpha.enrolment("miner"), alpha.enrolment("ledger")])
    assert await refusal(home, foreign) == (422, Code.BAD_ENROLMENT)
    missing = alpha.application(services=[alpha.enrolment("peer"), alpha.enrolment("miner")])
    assert await refusal(home, missing) == (422, Code.BAD_ENROLMENT)
    claim = alpha.enrolment("miner").claim
    stolen = alpha.application(
        services=[alpha.enrolment("peer"), sign_claim(claim, SigningKey(os.urandom(32))), alpha.enrolment("ledger")]
    )
    assert await refusal(home, stolen) == (422, Code.BAD_SIGNATURE)
    no_request = alpha.application(
        services=[alpha.enrolment("peer", csr="nonsense"), alpha.enrolment("miner"), alpha.enrolment("ledger")]
    )
    assert await refusal(home, no_request) == (422, Code.BAD_ENROLMENT)
    no_box_key = "ff" * 1216  # coefficients above the modulus of ML-KEM
    bad_box = alpha.application(
        services=[alpha.enrolment("peer", box=no_box_key), alpha.enrolment("miner"), alpha.enrolment("ledger")]
    )
    assert await refusal(home, bad_box) == (422, Code.BAD_KEY)
    assert applications_stored(home) == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda good: b" " + good, Code.NOT_CANONICAL),
        (lambda good: good + b"\n", Code.NOT_CANONICAL),
        (lambda good: good.replace(b'"contact"', b'"contact":"x","contact"', 1), Code.NOT_CANONICAL),
        (lambda good: good[:-1], Code.NOT_JSON),
        (lambda _: b"", Code.NOT_JSON),
        (lambda _: b"\xff\xfe", Code.NOT_JSON),
        (lambda _: b"[" * 10_000, Code.WRONG_SHAPE),
        (lambda good: good.replace(b'"contact"', b'"contakt"', 1), Code.WRONG_SHAPE),
        (lambda _: b"{}", Code.WRONG_SHAPE),
        (lambda _: b"1.5", Code.WRONG_SHAPE),
    ],
)
async def test_malformed_content_is_refused_with_its_code(
    home: AdmissionHome, change: Callable[[bytes], bytes], code: Code
) -> None:
    assert await refusal(home, change(encode(Applicant("alpha").application()))) == (400, code)


async def test_no_more_is_read_than_an_application_may_be_long(home: AdmissionHome) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(10_000):
            taken += 16_384
            yield b"x" * 16_384

    async with home.http() as client:
        try:
            answer = await client.post("/v1/applications", content=endless())
        except httpx.TransportError:
            pass  # the server may close before the client has sent everything
        else:
            assert (answer.status_code, answer.json()["code"]) == (413, Code.TOO_LARGE)
    assert taken < 50 * MAX_APPLICATION_BYTES
    assert await refusal(home, b"x" * (MAX_APPLICATION_BYTES + 1)) == (413, Code.TOO_LARGE)


async def test_too_many_applications_of_one_address_are_refused(
    work_dir: Any, admission_database: NodeDatabase
) -> None:
    home = AdmissionHome(work_dir, admission_database, migrate=False, http={"applications_per_minute": 2})
    async with home.running():
        for name in ("alpha", "beta"):
            await home.apply(Applicant(name).application())
        answer = await post(home, encode(Applicant("gamma").application()))
        assert (answer.status_code, answer.json()["code"]) == (429, Code.RATE_LIMITED)
        assert "retry-after" in answer.headers
        assert applications_stored(home) == 2


async def test_asking_too_often_where_an_application_stands_is_refused(
    admission_home: AdmissionHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minervas_admission.http_api.QUESTIONS_PER_MINUTE", 3)
    async with admission_home.running(), admission_home.http() as client:
        asked = [(await client.get("/v1/applications/" + "0" * 32)).status_code for _ in range(4)]
    assert asked == [404, 404, 404, 429]


def test_the_rate_limit_lets_as_many_through_per_minute_as_at_once() -> None:
    now_ms = 0
    limit = RateLimit(2, lambda: now_ms)
    assert [limit.allow("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert limit.allow("192.0.2.2")
    now_ms = 29_999
    assert not limit.allow("192.0.2.1")
    now_ms = 30_000
    assert [limit.allow("192.0.2.1") for _ in range(2)] == [True, False]


def test_a_customer_with_many_ipv6_addresses_is_one_client() -> None:
    assert client_key("2001:db8:1:2::1") == client_key("2001:db8:1:2:ffff::9")
    assert client_key("2001:db8:1:2::1") != client_key("2001:db8:1:3::1")
    assert client_key("::ffff:192.0.2.1") == client_key("192.0.2.1")


async def test_the_ca_certificate_can_be_fetched_and_compared_before_it_is_trusted(home: AdmissionHome) -> None:
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - what `minervas join` does first
        answer = await client.get(f"https://localhost:{home.http_port}/ca.crt")
    certificate = x509.load_pem_x509_certificate(answer.content)
    assert fingerprint(certificate) == fingerprint(
        x509.load_pem_x509_certificate(home.data.ca_certificate.read_bytes())
    )


async def test_the_consortium_introduces_itself(home: AdmissionHome) -> None:
    async with home.http() as client:
        answer = await client.get("/v1/consortium")
    info = decode(answer.content, ConsortiumInfo, max_bytes=4_096)
    genesis = load_genesis(home.data.genesis.read_bytes())
    assert (info.name, info.network, info.genesis_hash) == ("목포 태양광", genesis.network, genesis.hash)
    assert abs(info.time_ms - SystemClock().now_ms()) < 60_000


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/v1/consortium", 405)])
async def test_everything_else_is_refused_in_the_same_form(
    home: AdmissionHome, method: str, path: str, status: int
) -> None:
    async with home.http() as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message", "values"}


async def test_health_is_told_without_details(home: AdmissionHome) -> None:
    async with home.http() as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_without_the_consortiums_ca_nobody_trusts_the_server(home: AdmissionHome) -> None:
    async with httpx.AsyncClient(verify=ssl.create_default_context()) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"https://localhost:{home.http_port}/healthz")
