"""What /openapi.json says of the HTTPS API is so: whatever is sent, answers have a status and form that it names."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import requests
import rfc8785
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.openapi.loaders import from_dict
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from minervas_core.encoding import encode
from tests.support.admission import AdmissionHome, Applicant
from tests.support.examples import examples
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.renewal import new_key, renewal_of
from tests.support.seed import SEED
from tests.support.wait import HANG_S

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
    allow_header_conformance,
]
EXAMPLES = 4
"""Of good and of bad requests, for each operation: making a body takes half a second."""


@dataclass
class Described:
    """A running service and what it says of itself."""

    home: AdmissionHome
    schema: Any
    client: httpx.AsyncClient

    async def check(self, method: str, path: str, expected: int, *, at: str = "", **request: Any) -> httpx.Response:
        """Send a request that a client would send; the answer has this status, and the form that is described."""
        answer = await self.client.request(method, at or path, **request)
        assert answer.status_code == expected, answer.text
        operation = self.schema[path][method]
        assert str(expected) in operation.definition.raw["responses"]
        operation.validate_response(answer)
        return answer


@pytest.fixture
async def described(admission_and_broker: AdmissionWithBroker) -> AsyncIterator[Described]:
    home = admission_and_broker.home
    async with home.running(), home.http(timeout=HANG_S) as client:
        yield Described(home, from_dict((await client.get("/openapi.json")).json()), client)


async def test_whatever_is_sent_is_answered_as_described(described: Described) -> None:
    operations = [each.ok() for each in described.schema.get_all_operations()]
    assert len(operations) >= 9
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.POSITIVE or operation.body or operation.path_parameters:
                await asyncio.to_thread(send_many, described.home, operation, mode)


def send_many(home: AdmissionHome, operation: Any, mode: GenerationMode) -> None:
    """Send requests of one kind to one operation, and look at the answers."""
    url, ca = f"https://localhost:{home.http_port}", str(home.data.trusted_cas)

    @seed(SEED)
    @settings(
        max_examples=examples(EXAMPLES if operation.body or operation.path_parameters else 2),
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case[Any]) -> None:
        request = case.as_transport_kwargs(base_url=url)
        if "json" in request:
            request["data"] = canonical(request.pop("json"))
        answer = session.request(**request, verify=ca, timeout=HANG_S)
        case.validate_response(answer, checks=CHECKS)

    with requests.Session() as session:
        send()


def canonical(document: Any) -> bytes:
    """The bytes that clients send, so that a document of the right form is looked at more closely."""
    try:
        return rfc8785.dumps(document)
    except rfc8785.CanonicalizationError:
        return repr(document).encode()


async def test_every_good_answer_and_the_usual_refusals_are_as_described(described: Described) -> None:
    home, check = described.home, described.check
    alpha, token = Applicant("alpha"), "0" * 64
    sent = encode(alpha.application())
    path = "/v1/applications"
    receipt = (await check("POST", path, 201, content=sent)).json()
    await check("POST", path, 200, content=sent)
    await check("POST", path, 400, content=b"{")
    await check("POST", path, 409, content=encode(Applicant("alpha").application()))
    await check("POST", path, 413, content=b"x" * 100_000)
    await check("POST", path, 422, content=encode(Applicant("beta").application(accepts_visibility=False)))
    unknown = {"Authorization": f"Bearer {token}"}
    await check("POST", path, 404, content=encode(Applicant("gamma").application()), headers=unknown)
    await check("GET", "/v1/form", 404, headers=unknown)

    one, at = "/v1/applications/{application_id}", f"{path}/{receipt['application_id']}"
    known = {"Authorization": f"Bearer {receipt['token']}"}
    await check("GET", one, 404, at=at)
    await check("GET", one, 200, at=at, headers=known)
    for strange in ("%00", "%ff", "%F0%9F%8C%9E", "1" * 5_000):
        await check("GET", one, 404, at=f"{path}/{strange}", headers=known)
    await home.decisions().approve("alpha", confirmed=True)
    assert "grant" in (await check("GET", one, 200, at=at, headers=known)).json()

    addition = encode(alpha.addition(home, alpha.gateway("meter-gateway", "roof")))
    await check("POST", "/v1/additions", 201, content=addition)
    await check("POST", "/v1/additions", 200, content=addition)
    stranger = Applicant("beta")
    of_nobody = stranger.addition(home, stranger.gateway("meter-gateway", "shed"))
    await check("POST", "/v1/additions", 422, content=encode(of_nobody))
    await check("POST", "/v1/renewals", 200, content=encode(renewal_of(home, alpha, {"miner": new_key()})))
    await check("POST", "/v1/renewals", 422, content=encode(renewal_of(home, stranger, {"miner": new_key()})))


async def test_description_names_only_what_there_is(described: Described) -> None:
    raw = described.schema.raw_schema
    for path, operations in raw["paths"].items():
        assert path.startswith(("/v1/", "/ca.crt", "/healthz")), "pages for people are no part of the API"
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            assert all("content" in answer for answer in operation["responses"].values())
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(raw)))
    assert named <= set(raw["components"]["schemas"])
    assert "HTTPValidationError" not in raw["components"]["schemas"]
