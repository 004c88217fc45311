"""Check a Hello: is the sender a member, did its wallet sign, is the announcement newer than what we know?"""

from __future__ import annotations

from minervas_core.encoding import sha256_hex
from minervas_core.errors import Code, InvalidFrame, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.messages import Hello, check_signed
from minervas_core.transactions import ServiceKeys
from minervas_peer.member_directory import MemberDirectory, Standing
from minervas_peer.membership_proof import prove_membership
from minervas_peer.sender_keys import MemberKeys


class Introductions:
    """Lets members introduce themselves (paper: the Hello packet)."""

    def __init__(self, genesis: Genesis, directory: MemberDirectory, keys: MemberKeys) -> None:
        self._genesis = genesis
        self._directory = directory
        self._keys = keys

    def accept(self, hello: Hello, sender: str, now_ms: int) -> ServiceKeys:
        """Check a Hello that came over a topic of `sender`, remember the member, and return its registered keys.

        Raises:
            InvalidFrame: ``frame_foreign_sender``, ``wrong_network``, ``bad_signature`` or ``sender_key_stale``.
            PeerFault: ``member_revoked``, or what is wrong with the shown membership.
        """
        body = hello.body
        if body.member != sender:
            raise InvalidFrame(
                Code.FRAME_FOREIGN_SENDER, "A Hello of another member", member=body.member, topic_member=sender
            )
        keys, digest = self._registered(hello)
        check_signed(body, hello.signature, network=self._genesis.network, wallet=keys.wallet)
        self._keys.announce(sender, body.epoch, body.key_id, now_ms)
        if digest:
            self._directory.introduce(sender, keys, digest)
        return keys

    def _registered(self, hello: Hello) -> tuple[ServiceKeys, str]:
        """Keys of the sender, and the digest of what it showed unless the chain knows it anyway."""
        member = hello.body.member
        match self._directory.standing(member):
            case Standing.REVOKED:
                raise PeerFault(Code.MEMBER_REVOKED, "A Hello of a revoked member", member=member)
            case Standing.ACTIVE:
                return self._directory.keys(member), ""
        shown = [bytes(raw) for raw in hello.body.membership]
        digest = sha256_hex(b"\0".join(shown))
        if digest == self._directory.shown(member):
            return self._directory.keys(member), digest
        return prove_membership(member, shown, self._genesis), digest
