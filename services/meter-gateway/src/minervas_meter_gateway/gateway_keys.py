"""The gateway keys of this service, and which of them counts: that which the chain has for its meters."""

from __future__ import annotations

import logging
from collections.abc import Collection

from minervas_core.keys import SigningKey
from minervas_core.market.records import Meter
from minervas_runtime.key_ring import KeyRing

log = logging.getLogger(__name__)

GATEWAY_KEY = "gateway"


class GatewayKeys:
    """All keys that this gateway made.

    Args:
        ring: the keys.
    """

    def __init__(self, ring: KeyRing[SigningKey]) -> None:
        self._ring = ring
        self.current = ring.first
        """What statements and readings are signed with."""
        self.is_registered = False
        """Whether the chain has the current key for a meter, as far as we were told."""

    def make(self, wish: str) -> SigningKey:
        """The key for a wish; it is used when the chain has it.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        return self._ring.made_for(wish)

    def follow(self, meters: Collection[Meter]) -> set[str]:
        """Work with the key that the chain has for our meters; returns the meters that have it.

        A gateway's meters get a new key together, in one transaction. Should they have several of ours, the one of the
        most meters counts.
        """
        by_key: dict[str, set[str]] = {}
        for meter in meters:
            if self._ring.find(meter.gateway) is not None:
                by_key.setdefault(meter.gateway, set()).add(meter.meter)
        self.is_registered = bool(by_key)
        if not by_key:
            return set()
        public = max(by_key, key=lambda key: (len(by_key[key]), key))
        key = self._ring.find(public)
        if key is not None and key.public != self.current.public:
            log.info("gateway_key_changed", extra={"fields": {"public": public}})
            self.current = key
        return by_key[public]
