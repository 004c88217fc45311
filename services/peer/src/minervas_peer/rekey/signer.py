"""Puts a request for the rotation of keys together and signs it: only the peer has the wallet."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from minervas_core.errors import Code, PeerFault, TransientFault
from minervas_core.genesis import Genesis
from minervas_core.rekeying import (
    OWNERS,
    NewKey,
    NewKeyClaim,
    RotationRequest,
    SignedRotation,
    check_rotation_request,
    claim_key,
    sign_rotation,
)
from minervas_core.transactions import WalletConsent, sign_consent
from minervas_peer.key_courier import PEER
from minervas_peer.member_directory import MemberDirectory
from minervas_peer.rekey.own_keys import OwnKeys
from minervas_runtime.clock import Clock

CONSENT_PER_MILLE = 750
"""Share of the longest possible expiry for which a consent to a new wallet is given: the rest is for nodes behind."""


class RotationSigner:
    """Signs for the member that its services get new keys.

    Args:
        genesis: the consortium's genesis.
        own: our own keys.
        directory: who is registered with which keys on our tip.
        clock: time of day.
    """

    def __init__(self, genesis: Genesis, own: OwnKeys, directory: MemberDirectory, clock: Clock) -> None:
        self._genesis = genesis
        self._own = own
        self._directory = directory
        self._clock = clock

    def sign(self, wish: str, names: Sequence[str], claims: Sequence[NewKeyClaim]) -> SignedRotation:
        """Sign a request.

        Args:
            wish: id of the wish.
            names: which keys of the peer's own are made anew: ``wallet``, ``box``.
            claims: what other services handed in.

        Raises:
            PeerFault: ``bad_enrolment`` for a claim of the peer's own keys that did not come from it, or as
                `check_rotation_request`.
            TransientFault: ``wallet_waits`` while our wallet is not the member's on our own tip.
            LocalFault: ``bad_key_file``.
        """
        identity = self._own.identity
        registered = self._directory.registered(identity.member)
        if registered is None or registered.wallet != identity.wallet.public:
            raise TransientFault(Code.WALLET_WAITS, "Our wallet is not the member's on our chain (yet)")
        if any(OWNERS.get(claim.new.name) == PEER for claim in claims):
            raise PeerFault(Code.BAD_ENROLMENT, "The peer makes its own keys and takes none from others")
        made = [self._own_claim(wish, name, getattr(registered, name)) for name in names]
        request = RotationRequest(
            network=self._genesis.network,
            member=identity.member,
            salt=wish,
            sent_at_ms=self._clock.now_ms(),
            wallet=identity.wallet.public,
            keys=[*made, *claims],
        )
        if "wallet" in names:
            request = self._with_consent(request)
        signed = sign_rotation(request, identity.wallet)
        check_rotation_request(signed, self._genesis.network)
        return signed

    def _own_claim(self, wish: str, name: str, replaces: str) -> NewKeyClaim:
        signing = self._own.new_wallet(wish) if name == "wallet" else None
        key = signing.public if signing is not None else self._own.new_box(wish).public
        member = self._own.identity.member
        new = msgspec.convert(
            {"wish": wish, "member": member, "service": PEER, "name": name, "key": key, "replaces": replaces}, NewKey
        )
        return claim_key(new, signing)

    def _with_consent(self, request: RotationRequest) -> RotationRequest:
        span = self._genesis.parameters.max_expiry_blocks * CONSENT_PER_MILLE // 1000
        expires_height = self._directory.height + max(1, span)
        [wallet] = [claim.new.key for claim in request.keys if claim.new.name == "wallet"]
        consent = WalletConsent(member=request.member, wallet=wallet, expires_height=expires_height)
        return msgspec.structs.replace(
            request,
            expires_height=expires_height,
            consent=sign_consent(consent, request.network, self._own.identity.wallet),
        )
