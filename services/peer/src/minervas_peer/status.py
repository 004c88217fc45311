"""The peer's own part of the status page: what it knows without asking anybody."""

from __future__ import annotations

from typing import Any

import msgspec

from minervas_core.keys import node_id
from minervas_core.messages import ChainTip, Presence
from minervas_peer.gossip import Gossip
from minervas_peer.key_exchange import Identity, KeyExchange
from minervas_peer.member_directory import MemberDirectory, Standing
from minervas_peer.presence_watch import PresenceWatch
from minervas_peer.refusals import Refusals


class PeerStatus:
    """Describes members and keys for people."""

    def __init__(
        self,
        *,
        directory: MemberDirectory,
        exchange: KeyExchange,
        presence: PresenceWatch,
        gossip: Gossip,
        refusals: Refusals,
        identity: Identity,
    ) -> None:
        self._directory = directory
        self._exchange = exchange
        self._presence = presence
        self._gossip = gossip
        self._refusals = refusals
        self._identity = identity

    def own(self) -> dict[str, Any]:
        """Who we are, and how our keys stand."""
        standing = self._directory.standing(self._directory.me)
        return {
            "member": self._directory.me,
            "node_id": node_id(self._identity.wallet.public),
            "standing": "newcomer" if standing is Standing.UNKNOWN else standing.value,
            "sender_key": {"epoch": self._exchange.own_key.epoch, "key_id": self._exchange.own_key.key_id},
            "pending_frames": len(self._gossip.pending),
            "refusals": self._refusals.by_code,
        }

    def peers(self) -> list[dict[str, Any]]:
        """Every other member that is active, or that we have heard of, by id."""
        names = {*self._directory.active, *self._exchange.keys.announcers(), *self._presence.members()}
        given = self._exchange.given_to
        return [self._peer(name, given) for name in sorted(names - {self._directory.me})]

    def _peer(self, member: str, given: frozenset[str]) -> dict[str, Any]:
        presence = self._presence.of(member)
        return {
            "member": member,
            "standing": self._directory.standing(member).value,
            "presence": presence.state if presence else "unknown",
            "version": presence.version if presence else "",
            "tip": _tip(presence),
            "certificate_expires_ms": presence.certificate_expires_ms if presence else 0,
            "their_key": self._their_key(member),
            "our_key_given": member in given,
        }

    def _their_key(self, member: str) -> str:
        """Whether we can open what this member sends: ``held``, ``missing`` (announced only) or ``unknown``."""
        if self._exchange.keys.announced_epoch(member) is None:
            return "unknown"
        return "held" if self._exchange.keys.has_current(member) else "missing"


def _tip(presence: Presence | None) -> dict[str, Any] | None:
    return msgspec.structs.asdict(presence.tip) if presence and isinstance(presence.tip, ChainTip) else None
