"""Settings of the peer (example: services/peer/README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from minervas_core.errors import MinervasError
from minervas_core.identifiers import check_member_id
from minervas_peer.key_requests import ASK_AGAIN_MS
from minervas_runtime.settings import NodeSettings, SettingsError, load_settings

IntervalMs = Annotated[int, msgspec.Meta(ge=100, le=86_400_000)]


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The member's HTTP API.

    Whoever reaches it may read everything that the member may; trading needs the token in the data directory.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8730
    """0 means any free port; the log says which."""
    names: tuple[str, ...] = ()
    """Host names under which it is called, besides the loopback names. Other names are refused while `host` is a
    loopback address, so that no web page can read it under a name of its own (DNS rebinding)."""


class GossipSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often things are said again."""

    hello_interval_ms: IntervalMs = 30_000
    """Pause between two Hellos; every pause is up to a quarter longer or shorter."""
    ask_key_again_ms: IntervalMs = ASK_AGAIN_MS
    """A missing sender key is asked for again after this time; one that was announced but did not come, after half."""
    sender_key_lifetime_ms: IntervalMs = 3_600_000
    """After this time our sender key is replaced."""
    membership_interval_ms: IntervalMs = 180_000
    """Pause between two questions to admission for membership transactions."""
    ledger_interval_ms: IntervalMs = 10_000
    """Pause between two looks at our ledger's status, besides what it tells by itself."""


class AdmissionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where certificates are renewed, if it is no longer where the member joined."""

    url: Annotated[str, msgspec.Meta(pattern=r"^(https://[^\s]+)?\Z", max_length=500)] = ""
    """https://...; empty: as `minervas join` installed it."""
    ca_file: Path | None = None
    """By which its HTTPS certificate is judged; the consortium's CA if not given."""


class PeerSettings(NodeSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a peer is told from outside."""

    api: ApiSettings = ApiSettings()
    gossip: GossipSettings = GossipSettings()
    admission: AdmissionSettings = AdmissionSettings()


def load_peer_settings(path: Path) -> PeerSettings:
    """Read and check the settings file.

    Raises:
        SettingsError: naming file, key and what to do.
    """
    settings = load_settings(path, PeerSettings)
    try:
        check_member_id(settings.member)
    except MinervasError as error:
        raise SettingsError(error.message, file=path, key="member", advice="use the id you applied with") from error
    return settings
