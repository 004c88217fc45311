"""`minervas keys`: the public keys of our member, who has them, and which the chain has."""

from __future__ import annotations

from typing import Any

from minervas_core.encoding import sha256_hex
from minervas_core.rekeying import OWNERS
from minervas_peer.api_client import ApiClient
from minervas_peer.commands.output import Output, when


def show_keys(client: ApiClient, output: Output) -> None:
    """Show every key that the chain has of our member, with a fingerprint to compare."""
    me = client.get("/v1/status")["member"]
    page = client.get("/v1/members")
    entries = [entry for entry in page["members"] if entry["member"] == me]
    meters = [meter for meter in client.get("/v1/meters", member=me)["meters"] if meter["member"] == me]
    keys = _service_keys(entries[0]) if entries else []
    gateways: dict[str, list[str]] = {}
    for meter in meters:
        gateways.setdefault(meter["gateway"], []).append(meter["meter"])
    keys += [_key("gateway", "meter-gateway", key, meters=names) for key, names in sorted(gateways.items())]
    waiting = entries[0]["recovery"] if entries else None
    if output.as_json:
        output.json({"member": me, "height": page["height"], "keys": keys, "recovery": waiting})
        return
    rows = [(each["name"], each["service"], each["fingerprint"], ", ".join(each["meters"]) or "-") for each in keys]
    title = f"Keys of {me} on the chain at height {page['height']:,}"
    output.table(title, ("key", "service", "fingerprint", "meters"), rows)
    if waiting:
        output.say(f"A new wallet takes effect at {when(waiting['effective_ms'])}: {_fingerprint(waiting['wallet'])}")


def _service_keys(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [_key(name, OWNERS[name], entry["keys"][name]) for name in OWNERS]


def _key(name: str, service: str, public: str, *, meters: list[str] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "service": service,
        "public": public,
        "fingerprint": _fingerprint(public),
        "meters": sorted(meters or []),
    }


def _fingerprint(public: str) -> str:
    """The first 24 hex digits of the SHA-256 of a public key, in groups of four."""
    digits = sha256_hex(bytes.fromhex(public))[:24]
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))
