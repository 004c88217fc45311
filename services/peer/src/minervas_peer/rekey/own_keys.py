"""Which of the peer's own keys it works with: those that the chain registers at our own tip (docs/adr/0036)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from minervas_core.box import BoxKey
from minervas_core.errors import MinervasError
from minervas_core.keys import SigningKey
from minervas_core.transactions import ServiceKeys
from minervas_peer.key_exchange import Identity
from minervas_runtime.key_ring import KeyRing

log = logging.getLogger(__name__)


class OwnKeys:
    """Switches an identity.

    Args:
        identity: what the peer works with.
        wallets: all that it ever made.
        boxes: all that it ever made.
        read_membership: the installed transactions that prove our membership, as they are now.
    """

    def __init__(
        self,
        identity: Identity,
        wallets: KeyRing[SigningKey],
        boxes: KeyRing[BoxKey],
        read_membership: Callable[[], Sequence[bytes]],
    ) -> None:
        self.identity = identity
        self._wallets = wallets
        self._boxes = boxes
        self._read_membership = read_membership
        self._keep_other_boxes()

    def new_wallet(self, wish: str) -> SigningKey:
        """The wallet for a wish; it is used when the chain registers it.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        return self._wallets.made_for(wish)

    def new_box(self, wish: str) -> BoxKey:
        """The box key for a wish; what is sealed to it can be opened at once.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        made = self._boxes.made_for(wish)
        self._keep_other_boxes()
        return made

    def follow(self, registered: ServiceKeys) -> bool:
        """Work with the keys that our own tip registers, as far as we have them; returns whether any is another now.

        A wallet that we do not have is one that was lost: ours waits for its recovery.
        """
        identity = self.identity
        wallet = self._wallets.find(registered.wallet) or identity.wallet
        box_key = self._boxes.find(registered.box) or identity.box
        if (wallet.public, box_key.public) == (identity.wallet.public, identity.box.public):
            return False
        identity.wallet, identity.box = wallet, box_key
        self._keep_other_boxes()
        try:
            identity.membership = tuple(self._read_membership())
        except MinervasError as error:  # newcomers wait for their own chain then
            log.warning("membership_not_read", extra={"fields": {"code": error.code, "reason": str(error)}})
        log.info("own_keys_changed", extra={"fields": {"wallet": wallet.public, "box": box_key.public[:16]}})
        return True

    def _keep_other_boxes(self) -> None:
        in_use = self.identity.box.public
        self.identity.other_boxes = tuple(each for each in self._boxes.all() if each.public != in_use)
