"""`minervas join --status`: where joining stands, without waiting for anything."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from minervas_core.addition import Addition, addition_fingerprint
from minervas_core.encoding import decode
from minervas_core.enrolment import MAX_APPLICATION_BYTES, Application, ApplicationReceipt, application_fingerprint
from minervas_core.errors import MinervasError
from minervas_peer.join.admission_client import AdmissionClient, fetch_ca
from minervas_peer.join.node_directory import ADDITION_FILE, NodeDirectory, StoredApplication
from minervas_runtime.clock import Clock


def show_join_status(node: NodeDirectory, clock: Clock, say: Callable[[str], None], *, system_ca: bool) -> None:
    """Print what this node has handed in, sent and installed, and what the server says of it.

    Raises:
        LocalFault: ``bad_key_file`` if a stored application is damaged.
    """
    stored, addition = node.load_application(), node.load_application(ADDITION_FILE)
    missing = node.missing_services()
    if node.is_joined:
        say(f"{node.path} has joined; everything is installed.")
    elif missing:
        say(f"Services that have not handed in their keys (start them): {', '.join(missing)}")
    else:
        say("All services have handed in their keys.")
    if stored is not None and not node.is_joined:
        application = decode(bytes(stored.application), Application, max_bytes=MAX_APPLICATION_BYTES)
        say(f"Application of {application.member} to {stored.url}, fingerprint {application_fingerprint(application)}")
        say(f"State: {_state(stored, clock, system_ca=system_ca)}")
    elif stored is None and not node.is_joined:
        say("Nothing was sent yet.")
    if addition is not None:
        added = decode(bytes(addition.application), Addition, max_bytes=MAX_APPLICATION_BYTES)
        names = ", ".join(item.claim.service for item in added.services)
        say(f"Addition of {names} to {addition.url}, fingerprint {addition_fingerprint(added)}")
        say(f"State: {_state(addition, clock, system_ca=system_ca)}")


def _state(stored: StoredApplication, clock: Clock, *, system_ca: bool) -> str:
    """What the server says now."""
    if not isinstance(stored.receipt, ApplicationReceipt):
        return "not received by the server yet; run the command again to go on"
    try:
        ca_pem = fetch_ca(stored.url, stored.ca_fingerprint, clock.now_ms())
        with AdmissionClient(stored.url, ca_pem, system_ca=system_ca) as client:
            state = client.state(stored.receipt)
    except MinervasError as error:
        return f"unknown ({error})"
    if state.state == "rejected" and not isinstance(state.reason, msgspec.UnsetType):
        return f"rejected: {state.reason}"
    if state.state == "approved":
        return "approved; run the command again to install what was granted"
    return state.state
