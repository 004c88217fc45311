"""The HTTPS API of applicants: the CA's certificate, the consortium, applications and where they stand.

The pages for people are in `minervas_admission.web`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import FastAPI, Request, Response

from minervas_admission import __version__
from minervas_admission.additions import AdditionIntake
from minervas_admission.api_description import (
    JSON,
    NEEDS_BEARER,
    PEM,
    Answers,
    answers,
    body,
    describe,
    errors,
    health_answers,
    plain,
)
from minervas_admission.http_errors import install_error_handlers
from minervas_admission.http_paths import PrintablePaths
from minervas_admission.intake import Intake
from minervas_admission.rate_limit import RateLimit
from minervas_admission.web.install import install_web
from minervas_admission.web.site import Site
from minervas_core.addition import Addition
from minervas_core.applicant import ApplicationForm
from minervas_core.blocks import VERSION
from minervas_core.ca_bundle import SignedCaBundle
from minervas_core.encoding import Record, encode
from minervas_core.enrolment import (
    MAX_APPLICATION_BYTES,
    Application,
    ApplicationReceipt,
    ApplicationState,
    ConsortiumInfo,
)
from minervas_core.errors import Code, InvalidEncoding, TransientFault
from minervas_core.rekeying import MAX_ROTATION_BYTES, SignedRotation

BODY_TIMEOUT_S = 10.0
"""How long a client may take to send an application of a few kB."""

QUESTIONS_PER_MINUTE = 600
"""How often one client address may ask where applications stand: ten applicants behind it, once a second each."""


def make_app(
    intake: Intake,
    additions: AdditionIntake,
    healthy: Callable[[], bool],
    site: Site,
    *,
    applications_per_minute: int,
    monotonic_ms: Callable[[], int],
) -> FastAPI:
    """Build the application.

    Args:
        intake: receives applications.
        additions: receives additions.
        healthy: for /healthz.
        site: what the pages work with.
        applications_per_minute: of one client address.
        monotonic_ms: a clock that never goes back.
    """
    app = FastAPI(title="Minervas admission", version=__version__, docs_url=None, redoc_url=None)
    install_error_handlers(app)
    _add_public(app, intake, healthy)
    applications = RateLimit(applications_per_minute, monotonic_ms)
    questions = RateLimit(QUESTIONS_PER_MINUTE, monotonic_ms)
    _add_applications(app, intake, applications, questions)
    _add_additions(app, additions, applications)
    _add_forms(app, intake, questions)
    app.add_middleware(PrintablePaths)
    install_web(app, site)
    describe(app)
    return app


def _add_public(app: FastAPI, intake: Intake, healthy: Callable[[], bool]) -> None:
    """Add what anybody may ask."""
    ca_answers: Answers = {200: plain(PEM, {"type": "string"}, "The certificates."), **errors()}

    @app.get("/ca.crt", response_class=Response, responses=ca_answers)
    async def ca_certificate() -> Response:
        """The consortium's CA certificates (PEM). Compare a SHA-256 fingerprint before you trust one of them."""
        return Response(intake.consortium.cas.pem, media_type=PEM)

    @app.get("/v1/consortium", response_class=Response, responses=answers(ConsortiumInfo))
    async def consortium() -> Response:
        """What anybody may know before joining."""
        genesis = intake.consortium.genesis
        return _record(
            ConsortiumInfo(
                name=genesis.body.name,
                network=genesis.network,
                genesis_hash=genesis.hash,
                time_ms=intake.clock.now_ms(),
                protocol_version=VERSION,
            )
        )

    @app.get("/v1/ca-bundle", response_class=Response, responses=answers(SignedCaBundle, 503))
    async def ca_bundle() -> Response:
        """The CAs in use, signed by the authority: nodes believe it whoever they have it from."""
        return _record(await intake.ca_bundle())

    @app.get("/healthz", response_class=Response, responses=health_answers())
    async def healthz() -> Response:
        """Whether the service can do its work."""
        word, status = ("ok", 200) if healthy() else ("failing", 503)
        return Response(f'{{"status":"{word}"}}', status, media_type=JSON)


def _add_applications(app: FastAPI, intake: Intake, applications: RateLimit, questions: RateLimit) -> None:
    """Add applying and asking."""

    @app.post(
        "/v1/applications",
        response_class=Response,
        status_code=201,
        responses=answers(ApplicationReceipt, 400, 404, 409, 410, 413, 422, 429, 503, status=201, also=200),
        openapi_extra=body(Application, "`minervas join`", bearer=True),
    )
    async def apply(request: Request) -> Response:
        """Apply for membership. The same bytes again get the same answer, with status 200."""
        address = within(applications, request)
        raw = await read_body(request, MAX_APPLICATION_BYTES)
        receipt, new = await intake.receive(raw, address, bearer_token(request))
        return _record(receipt, 201 if new else 200)

    @app.post(
        "/v1/rotations",
        response_class=Response,
        status_code=201,
        responses=answers(ApplicationReceipt, 400, 404, 409, 410, 413, 422, 429, 503, status=201, also=200),
        openapi_extra=body(SignedRotation, "`minervas keys rotate`"),
    )
    async def rotate(request: Request) -> Response:
        """Ask for new keys of a member, signed by its wallet. Where it stands is asked as for an application."""
        address = within(applications, request)
        raw = await read_body(request, MAX_ROTATION_BYTES)
        receipt, new = await intake.receive_rotation(raw, address)
        return _record(receipt, 201 if new else 200)

    @app.get(
        "/v1/applications/{application_id}",
        response_class=Response,
        responses=answers(ApplicationState, 404, 429, 503),
        openapi_extra=NEEDS_BEARER,
    )
    async def application_state(application_id: str, request: Request) -> Response:
        """Where an application stands; needs the token of the receipt as bearer token."""
        within(questions, request)
        return _record(await intake.state(application_id, bearer_token(request)))


def _add_additions(app: FastAPI, additions: AdditionIntake, applications: RateLimit) -> None:
    @app.post(
        "/v1/additions",
        response_class=Response,
        status_code=201,
        responses=answers(ApplicationReceipt, 400, 409, 413, 422, 429, 503, status=201, also=200),
        openapi_extra=body(Addition, "`minervas join --add`"),
    )
    async def add(request: Request) -> Response:
        """Add gateways and meters of a member. The same bytes again get the same answer, with status 200."""
        address = within(applications, request)
        receipt, new = await additions.receive(await read_body(request, MAX_APPLICATION_BYTES), address)
        return _record(receipt, 201 if new else 200)


def _add_forms(app: FastAPI, intake: Intake, questions: RateLimit) -> None:
    @app.get(
        "/v1/form",
        response_class=Response,
        responses=answers(ApplicationForm, 404, 410, 429, 503),
        openapi_extra=NEEDS_BEARER,
    )
    async def form(request: Request) -> Response:
        """What was filled in on the web page; needs its one-time token as bearer token."""
        within(questions, request)
        return _record(await intake.forms.read(bearer_token(request)))


def bearer_token(request: Request) -> str:
    """The bearer token of a request; empty if it has none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def within(limit: RateLimit, request: Request) -> str:
    """The client's address, if it has not asked too often.

    Raises:
        TransientFault: ``rate_limited``.
    """
    address = request.client.host if request.client else ""
    if not limit.allow(address):
        raise TransientFault(Code.RATE_LIMITED, "Too many requests from this address; wait a minute")
    return address


def _record(record: Record, status: int = 200) -> Response:
    return Response(encode(record), status, media_type=JSON, headers={"Cache-Control": "no-store"})


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body, read no further than it may be long.

    Raises:
        InvalidEncoding: ``too_large``.
        TransientFault: ``timeout``.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                body += part
                if len(body) > max_bytes:
                    raise InvalidEncoding(Code.TOO_LARGE, "Larger than this request may be", max_bytes=max_bytes)
    except TimeoutError as error:
        raise TransientFault(Code.TIMEOUT, "The request did not arrive in time") from error
    return bytes(body)
