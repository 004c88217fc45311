"""`minervas renew`: renew the certificates of the node's services now instead of when they are due."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from minervas_core.errors import Code, TransientFault
from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output, when

POLL_S = 0.5


def run_renew(
    client: ApiClient, output: Output, *, force: bool, timeout_s: float, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Ask the peer to renew, wait until nothing is under way, and show the certificates.

    Args:
        client: the peer's API.
        output: where to show.
        force: renew also what is not due.
        timeout_s: how long to wait.
        sleep: waits.

    Raises:
        TransientFault: with admission's code and reason if it refuses; ``timeout``.
        MinervasError: as `ApiClient.post`.
    """
    deadline_s = time.monotonic() + timeout_s
    asked_before_ms = client.get("/v1/renewal")["asked_ms"]
    renewal = client.post("/v1/renewal", {"force": force})
    while any(each["state"] != "valid" for each in renewal["certificates"]):
        if renewal["code"] and renewal["asked_ms"] > asked_before_ms:
            raise _failure(renewal)
        if time.monotonic() > deadline_s:
            services = [each["service"] for each in renewal["certificates"] if each["state"] != "valid"]
            raise TransientFault(
                Code.TIMEOUT, "Not all certificates are renewed yet; do all services run?", services=", ".join(services)
            )
        sleep(POLL_S)
        renewal = client.get("/v1/renewal")
    if output.as_json:
        output.json(renewal)
        return
    show_certificates(renewal, output)


def show_certificates(renewal: Json, output: Output) -> None:
    """Show the certificates of a node, and what keeps them from being renewed."""
    output.table(
        "Certificates",
        ("service", "valid to", "state"),
        [_row(each) for each in renewal["certificates"]],
    )
    if renewal["code"]:
        output.say(f"Not renewed: {renewal['message']}; asked {when(renewal['asked_ms'])}")


def _row(certificate: Json) -> tuple[Any, ...]:
    return certificate["service"], when(certificate["expires_ms"]), certificate["state"]


def _failure(renewal: Json) -> TransientFault:
    try:
        code = Code(renewal["code"])
    except ValueError:
        code = Code.NOT_READY
    message = str(renewal["message"]).removeprefix(f"{renewal['code']}: ")
    return TransientFault(code, message)
