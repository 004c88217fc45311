"""Paths of the API about the node's certificates."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI

from minervas_peer.api import models
from minervas_peer.api.access_token import TokenCheck
from minervas_peer.api.errors import READ_ERRORS
from minervas_peer.renewal.collector import RenewalCollector

_WRITE: dict[int | str, dict[str, Any]] = {
    **READ_ERRORS,
    401: {"model": models.Error, "description": "The token of the peer's data directory is missing or wrong."},
}


def add_renewal_paths(app: FastAPI, renewals: RenewalCollector, token: str) -> None:
    """Add the paths to an application; asking for a renewal needs `token`."""

    @app.get("/v1/renewal", responses=READ_ERRORS, summary="The certificates of the node's services")
    async def renewal() -> models.Renewal:
        return renewal_state(renewals)

    @app.post(
        "/v1/renewal",
        responses=_WRITE,
        dependencies=[Depends(TokenCheck(token))],
        status_code=202,
        summary="Renew certificates now",
    )
    async def renew(wanted: models.NewRenewal) -> models.Renewal:
        renewals.renew_now(force=wanted.force)
        return renewal_state(renewals)


def renewal_state(renewals: RenewalCollector) -> models.Renewal:
    """How the renewal stands, for the API."""
    report = renewals.report()
    return models.Renewal(
        certificates=[
            models.Certificate(service=each.installed.service, expires_ms=each.installed.expires_ms, state=each.state)
            for each in renewals.certificates()
        ],
        asked_ms=report.at_ms,
        code=report.code,
        message=report.message,
        next_ms=report.next_ms,
    )
