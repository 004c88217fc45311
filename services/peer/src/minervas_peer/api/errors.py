"""Errors of the API: our stable codes with the HTTP status that says whose turn it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from minervas_core.errors import Code, InvalidTransaction, MinervasError, PeerFault, TransientFault, Value
from minervas_peer.api import models

log = logging.getLogger(__name__)

STATUS_BY_CODE = {
    Code.NOT_AUTHORISED: HTTPStatus.UNAUTHORIZED,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.WRONG_SHAPE: HTTPStatus.BAD_REQUEST,
    Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.WALLET_WAITS: HTTPStatus.CONFLICT,
}
"""Other codes: 409 for what the chain's rules refuse, 503 for passing trouble, else 500."""


READ_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": models.Error, "description": "The request is not of the expected form."},
    503: {"model": models.Error, "description": "Our own ledger or the broker does not answer now."},
}
"""What every path of the API may answer besides its content, for the OpenAPI description."""


def error_response(status: int, code: str, message: str, values: Mapping[str, Value]) -> JSONResponse:
    """An error as every client sees it."""
    return JSONResponse({"code": code, "message": message, "values": dict(values)}, status_code=status)


def add_error_handlers(app: FastAPI) -> None:
    """Give every error of an application the same shape."""
    app.add_exception_handler(MinervasError, _known)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


async def _known(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, MinervasError):
        raise error
    return error_response(STATUS_BY_CODE.get(error.code, _status(error)), error.code, error.message, error.values)


def _status(error: MinervasError) -> HTTPStatus:
    """Whose turn it is, for codes without a status of their own."""
    if isinstance(error, InvalidTransaction):
        return HTTPStatus.CONFLICT
    if isinstance(error, TransientFault):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.BAD_REQUEST if isinstance(error, PeerFault) else HTTPStatus.INTERNAL_SERVER_ERROR


async def _malformed(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    values = {"where": where, "problem": str(first["msg"])[:200]}
    return error_response(HTTPStatus.BAD_REQUEST, Code.WRONG_SHAPE, "The request is not of the expected form", values)


async def _http(_request: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    return error_response(error.status_code, phrase.lower().replace(" ", "_"), phrase, {})


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    log.error("api_request_failed", extra={"fields": {"path": request.url.path}}, exc_info=error)
    return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, Code.INTERNAL, "Unexpected error; see the peer's log", {})
