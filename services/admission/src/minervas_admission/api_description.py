"""What /openapi.json says of the HTTPS API: bodies, answers and errors, from the types that the code uses."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from minervas_core.addition import Addition
from minervas_core.applicant import ApplicationForm
from minervas_core.ca_bundle import SignedCaBundle
from minervas_core.encoding import Record
from minervas_core.enrolment import Application, ApplicationReceipt, ApplicationState, ConsortiumInfo
from minervas_core.rekeying import SignedRotation
from minervas_core.renewal import Renewal, RenewalAnswer

JSON = "application/json"
PEM = "application/x-pem-file"

RECORDS: tuple[type[Record], ...] = (
    Addition,
    Application,
    ApplicationForm,
    ApplicationReceipt,
    ApplicationState,
    ConsortiumInfo,
    Renewal,
    RenewalAnswer,
    SignedCaBundle,
    SignedRotation,
)
"""Bodies and answers, besides errors."""

DESCRIPTION = """\
Documents are canonical JSON (RFC 8785), and are checked with signatures and against the chain: that a body has the
right form does not mean that it is accepted. Embedded documents (`genesis`, `membership`, `changes`) are described in
spec/schemas.json. The pages for people are not part of this description."""

ERROR = {
    "type": "object",
    "description": "Why the request was refused. Codes are listed in spec/errors.md and never change their meaning.",
    "properties": {
        "code": {"type": "string", "pattern": "^[a-z0-9_]+$"},
        "message": {"type": "string"},
        "values": {"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}},
    },
    "required": ["code", "message", "values"],
    "additionalProperties": False,
}
HEALTH = {
    "type": "object",
    "properties": {"status": {"enum": ["ok", "failing"]}},
    "required": ["status"],
    "additionalProperties": False,
}

_REFUSALS = {
    400: "What came is no such document: `not_json`, `not_canonical`, `wrong_shape`.",
    404: "There is no such thing, or the token does not fit: `not_found`, `token_unknown`.",
    409: "It is in use already: `member_exists`, `key_reused`, `meter_exists`.",
    410: "The one-time token was used, or is too old: `token_used`, `token_expired`.",
    413: "The body is longer than such a document can be: `too_large`.",
    422: "The document is refused; the code says why.",
    429: "Too many requests, or too many applications wait: `rate_limited`. Retry-After says when to try again.",
    500: "The service has a problem that its operator must solve; details are in its log.",
    503: "Not now: `database_away`, `not_ready`, `bus_offline`, `timeout`. Retry-After says when to try again.",
}

_NOT_OURS = "HTTPValidationError"
"""FastAPI's own answer to bad parameters; ours are texts, and every text is a good one."""

Answers = dict[int | str, dict[str, Any]]


def answers(kind: type[Record], *refusals: int, also: int | None = None, status: int = 200) -> Answers:
    """What an operation answers.

    Args:
        kind: of the answer to a good request.
        refusals: statuses of errors; 500 comes with each.
        also: another status of the answer to a good request.
        status: its first one.
    """
    good: dict[str, Any] = {"description": "Done.", "content": {JSON: {"schema": _reference(kind.__name__)}}}
    repeated: Answers = {also: {**good, "description": "The same bytes came before; nothing was done."}} if also else {}
    return {status: good, **repeated, **errors(*refusals)}


def errors(*refusals: int) -> Answers:
    """Errors with these statuses, and 500."""
    return {
        status: {"description": _REFUSALS[status], "content": {JSON: {"schema": _reference("Error")}}}
        for status in (*refusals, 500)
    }


def plain(content_type: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """An answer that is no document."""
    return {"description": description, "content": {content_type: {"schema": schema}}}


def body(kind: type[Record], maker: str, *, bearer: bool = False) -> dict[str, Any]:
    """What an operation needs.

    Args:
        kind: of the body.
        maker: the program that makes such bodies.
        bearer: whether a bearer token may come with it.
    """
    return {
        "requestBody": {
            "required": True,
            "description": f"In canonical JSON (RFC 8785), as {maker} makes it.",
            "content": {JSON: {"schema": _reference(kind.__name__)}},
        },
        **({"security": [{}, {"bearer": []}]} if bearer else {}),
    }


NEEDS_BEARER: dict[str, Any] = {"security": [{"bearer": []}]}
"""Of operations that tell nothing without a token."""


def describe(app: FastAPI) -> None:
    """Make the application describe itself at /openapi.json; what it describes is made once, when it is asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
            for operation in (each for path in found["paths"].values() for each in path.values()):
                if _NOT_OURS in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
            found["components"] = {
                "schemas": {"Error": ERROR, "Health": HEALTH, **_schemas()},
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            }
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def health_answers() -> Answers:
    """What /healthz answers."""
    return {
        200: plain(JSON, _reference("Health"), "It can do its work."),
        503: plain(JSON, _reference("Health"), "It can not: its database does not answer."),
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> dict[str, Any]:
    _, found = msgspec.json.schema_components(RECORDS, ref_template="#/components/schemas/{name}")
    return {name: _portable(schema) for name, schema in found.items()}


def _portable(value: Any) -> Any:
    r"""Patterns as every language reads them: the end of the text is ``$`` in JSON Schema, ``\Z`` in Python."""
    if isinstance(value, dict):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    return value.replace("\\Z", "$") if isinstance(value, str) else value
