"""The HTTPS path on which members renew their certificates."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Request, Response

from minervas_admission.api_description import JSON, answers, body
from minervas_admission.http_api import read_body, within
from minervas_admission.rate_limit import RateLimit
from minervas_admission.renewals import Renewals
from minervas_core.encoding import encode
from minervas_core.renewal import MAX_RENEWAL_BYTES, Renewal, RenewalAnswer

RENEWALS_PER_MINUTE = 60
"""Of one client address: a dozen nodes behind it, each of whose services ask by themselves."""


def add_renewals(app: FastAPI, renewals: Renewals, monotonic_ms: Callable[[], int]) -> None:
    """Add renewing to the application.

    Args:
        app: the application.
        renewals: carries them out.
        monotonic_ms: a clock that never goes back.
    """
    limit = RateLimit(RENEWALS_PER_MINUTE, monotonic_ms)

    @app.post(
        "/v1/renewals",
        response_class=Response,
        responses=answers(RenewalAnswer, 400, 409, 413, 422, 429, 503),
        openapi_extra=body(Renewal, "a member's peer"),
    )
    async def renew(request: Request) -> Response:
        """Renew certificates; needs no client certificate. The same bytes again get the same certificates."""
        within(limit, request)
        answer = await renewals.receive(await read_body(request, MAX_RENEWAL_BYTES))
        return Response(encode(answer), media_type=JSON, headers={"Cache-Control": "no-store"})
