"""What to do about a refusal of the server, in a few words for each code."""

from __future__ import annotations

from minervas_core.errors import Code
from minervas_peer.join.http_exchange import Refused

ADVICE = {
    Code.MEMBER_EXISTS: "choose another id, with --member and as `member` in the services' settings",
    Code.BAD_MEMBER_ID: "choose another id, with --member and as `member` in the services' settings",
    Code.KEY_REUSED: (
        "a node directory is for one member and never copied: stop the services, delete their keys and enrol/, start "
        "them again"
    ),
    Code.BAD_KEY: "delete the tls.key of that service and its file in enrol/, and start it again",
    Code.BAD_SIGNATURE: "delete that service's file in enrol/ and start it again",
    Code.CLOCK_OFFSET: "set this machine's clock (NTP) and run the command again",
    Code.CONSENT_MISSING: "read the statement and give --accept-visibility",
    Code.TOO_LARGE: "shorten texts, or leave panels out",
    Code.METER_EXISTS: "give the new meter another id in the gateway's settings",
    Code.MEMBER_UNKNOWN: "only members can add gateways and meters; `minervas join --status` shows where you stand",
}


def advised(refusal: Refused) -> Refused:
    """The refusal with what to do about it."""
    advice = ADVICE.get(refusal.code)
    if advice is None:
        return refusal
    return Refused(refusal.code, f"{refusal.message}. What to do: {advice}", **refusal.values)
