"""Check a Hello: is the sender a member, did its wallet sign, is the announcement newer than what we know?"""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.encoding import sha256_hex
from minervas_core.errors import Code, InvalidFrame, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.messages import Hello, check_signed
from minervas_core.transactions import ServiceKeys
from minervas_peer.authority_keys import AuthorityKeys
from minervas_peer.member_directory import MemberDirectory, Standing
from minervas_peer.membership_proof import ProvenKeys, prove_keys
from minervas_peer.sender_keys import MemberKeys


class Introductions:
    """Lets members introduce themselves (paper: the Hello packet)."""

    def __init__(
        self, genesis: Genesis, directory: MemberDirectory, keys: MemberKeys, authorities: AuthorityKeys
    ) -> None:
        self._genesis = genesis
        self._authorities = authorities
        self._directory = directory
        self._keys = keys

    def accept(self, hello: Hello, sender: str, now_ms: int) -> ServiceKeys:
        """Check a Hello that came over a topic of `sender`, remember the member, and return its registered keys.

        Raises:
            InvalidFrame: ``frame_foreign_sender``, ``wrong_network``, ``bad_signature`` or ``sender_key_stale``.
            PeerFault: ``member_revoked``, ``member_left``, or what is wrong with the shown membership.
        """
        body = hello.body
        if body.member != sender:
            raise InvalidFrame(
                Code.FRAME_FOREIGN_SENDER, "A Hello of another member", member=body.member, topic_member=sender
            )
        self._directory.check_not_ended(sender)
        if self._directory.standing(sender) is Standing.ACTIVE:
            keys = self._keys_of_active(hello)
            self._check(hello, keys)
            self._keys.announce(sender, body.epoch, body.key_id, now_ms)
            if keys != self._directory.keys(sender):
                self._directory.advance(sender, keys)
            return keys
        keys, digest = self._shown(hello)
        self._check(hello, keys)
        self._keys.announce(sender, body.epoch, body.key_id, now_ms)
        self._directory.introduce(sender, keys, digest)
        return keys

    def _check(self, hello: Hello, keys: ServiceKeys) -> None:
        check_signed(hello.body, hello.signature, network=self._genesis.network, wallet=keys.wallet)

    def _keys_of_active(self, hello: Hello) -> ServiceKeys:
        """Keys of a member on our own tip under which it signed, also with the wallet of a recovery that waits there.

        Or those that it shows, if they follow from the tip's and it signed with them: a rotation reaches us only with
        its block, and that may come in a frame which the new wallet signed.
        """
        member = hello.body.member
        for keys in self._directory.speaking(member):
            try:
                self._check(hello, keys)
            except InvalidFrame:
                continue
            return keys
        return self._keys_rotated_ahead(hello) or self._directory.keys(member)

    def _keys_rotated_ahead(self, hello: Hello) -> ServiceKeys | None:
        """Keys to which a member has rotated since our tip, if the Hello proves that."""
        member = hello.body.member
        try:
            proof = self._prove(member, [bytes(raw) for raw in hello.body.membership])
        except PeerFault:
            return None
        return proof.keys if self._directory.wallet_on_tip(member) in proof.earlier_wallets else None

    def _shown(self, hello: Hello) -> tuple[ServiceKeys, str]:
        """Keys of a newcomer, and the digest of what it showed."""
        member = hello.body.member
        shown = [bytes(raw) for raw in hello.body.membership]
        digest = sha256_hex(b"\0".join(shown))
        if digest == self._directory.shown(member):
            return self._directory.keys(member), digest
        return self._prove(member, shown).keys, digest

    def _prove(self, member: str, shown: Sequence[bytes]) -> ProvenKeys:
        return prove_keys(member, shown, self._genesis, self._authorities.trusted)
