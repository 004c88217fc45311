"""Waiting for the operator's decision."""

from __future__ import annotations

from collections.abc import Callable

from minervas_core.enrolment import ApplicationReceipt, ApplicationState, ConsortiumInfo
from minervas_core.errors import Code, PeerFault, TransientFault
from minervas_peer.join.admission_client import AdmissionClient, check_clock
from minervas_peer.join.patience import Patience
from minervas_runtime.clock import Clock

STATE_POLL_S = 1.0


def greet(client: AdmissionClient, patience: Patience, clock: Clock, say: Callable[[str], None]) -> ConsortiumInfo:
    """Ask whose admission it is, and compare clocks.

    Raises:
        LocalFault: ``clock_offset``.
        MinervasError: what is wrong with the server.
    """
    info = patience.insist(client.consortium)
    check_clock(clock.now_ms(), info.time_ms)
    say(f"Consortium: {info.name}")
    return info


def say_fingerprint(fingerprint: str, receipt: ApplicationReceipt, say: Callable[[str], None]) -> None:
    """Show the fingerprint of what we sent, not what the server says of it.

    Raises:
        PeerFault: ``bad_enrolment`` if the server has something else in hand.
    """
    if receipt.fingerprint != fingerprint:
        raise PeerFault(Code.BAD_ENROLMENT, "The server received another application than ours; tell the operator")
    say(f"Fingerprint to compare with the operator by phone: {fingerprint}")


def wait_for_decision(
    client: AdmissionClient, receipt: ApplicationReceipt, patience: Patience, say: Callable[[str], None]
) -> ApplicationState:
    """Ask until it is decided, through whatever passing trouble; each new state is shown.

    Raises:
        TransientFault: ``timeout``.
    """
    said = ""
    while True:
        try:
            state = client.state(receipt)
            if state.state in ("approved", "rejected"):
                return state
            now: str = state.state
        except TransientFault as error:
            now = f"unknown ({error.message}; trying on)"
        if now != said:
            say(f"State: {now}")
            said = now
        patience.pause(STATE_POLL_S, f"the application is not decided yet: {now}")
