"""Errors of the HTTPS API: always ``{"code", "message", "values"}``, with a status that fits."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from minervas_core.errors import Code, LocalFault, MinervasError, TransientFault
from minervas_runtime.metrics import REFUSALS

log = logging.getLogger(__name__)

RETRY_AFTER_S = "60"

_STATUS = {
    Code.TOO_LARGE: 413,
    Code.NOT_FOUND: 404,
    Code.RATE_LIMITED: 429,
    Code.MEMBER_EXISTS: 409,
    Code.KEY_REUSED: 409,
    Code.METER_EXISTS: 409,
    Code.TOKEN_UNKNOWN: 404,
    Code.TOKEN_EXPIRED: 410,
    Code.TOKEN_USED: 410,
    Code.NOT_JSON: 400,
    Code.NOT_CANONICAL: 400,
    Code.WRONG_SHAPE: 400,
}


def status_of(error: MinervasError) -> int:
    """HTTP status of an error: whose fault it is decides where there is no closer one."""
    if isinstance(error, TransientFault):
        return _STATUS.get(error.code, 503)
    if isinstance(error, LocalFault):
        return 500
    return _STATUS.get(error.code, 422)


def error_response(
    status: int, code: str, message: str, values: dict[str, str | int | bool] | None = None
) -> JSONResponse:
    """An error as every client gets it."""
    headers = {"Retry-After": RETRY_AFTER_S} if status in (429, 503) else {}
    if status == 413:
        headers["Connection"] = "close"  # or the server would go on reading what it will never look at
    return JSONResponse({"code": code, "message": message, "values": values or {}}, status, headers)


def install_error_handlers(app: FastAPI) -> None:
    """Make the application answer errors in our form."""
    app.add_exception_handler(MinervasError, on_fault)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_bug)


async def on_fault(request: Request, error: Exception) -> JSONResponse:
    """Answer one of our errors, and count it."""
    assert isinstance(error, MinervasError)  # noqa: S101 - it is registered for that
    status = status_of(error)
    route = request.scope.get("route")
    REFUSALS.labels("admission", getattr(route, "name", "http"), error.code).inc()
    if status >= 500:  # our own trouble: the details are for the log only
        log.error("request_failed", extra={"fields": {"code": error.code, "reason": str(error)}})
        return error_response(status, error.code, "The service has a problem at the moment; try again later")
    log.info("request_refused", extra={"fields": {"code": error.code, "reason": str(error)}})
    return error_response(status, error.code, error.message, dict(error.values))


async def on_http_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - the handler's form
    """Answer what the framework refuses."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = Code.NOT_FOUND if status == 404 else Code.UNKNOWN_TYPE
    message = "There is nothing here" if status == 404 else "This can not be done here"
    answer = error_response(status, code, message)
    answer.headers.update((isinstance(error, HTTPException) and error.headers) or {})  # which methods are allowed
    return answer


async def on_bug(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - logged by the server
    """Answer what should not have happened."""
    return error_response(500, Code.INTERNAL, "The service has a problem; see its log")
