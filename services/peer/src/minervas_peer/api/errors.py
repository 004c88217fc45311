"""Errors of the API: our stable codes with the HTTP status that says whose turn it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from minervas_core.errors import Code, MinervasError, TransientFault, Value

log = logging.getLogger(__name__)

STATUS_BY_CODE = {
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.WRONG_SHAPE: HTTPStatus.BAD_REQUEST,
    Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
}
"""Other codes: 503 for passing trouble, else 500."""


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
    fallback = HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, TransientFault) else HTTPStatus.INTERNAL_SERVER_ERROR
    return error_response(STATUS_BY_CODE.get(error.code, fallback), error.code, error.message, error.values)


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
