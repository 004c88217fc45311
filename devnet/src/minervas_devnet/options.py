"""What a caller chooses about a devnet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from minervas_core.genesis import Parameters
from minervas_devnet.site import Site

SERVICES = ("ledger", "peer", "miner")
"""Services of a node in the order in which they are started."""
GATEWAY = "meter-gateway"
"""Service of the nodes that meter something, started after the others."""


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """A consortium's shared numbers, and how its programs are run."""

    parameters: Parameters
    """Numbers for the genesis."""
    name: str = "Minervas devnet"
    currency: str = "KRW"
    time_zone: str = "Asia/Seoul"
    operator_member: str = "mokpo-univ"
    """The member whose node admission asks where a transaction stands."""
    confirm_depth: int = 2
    """Blocks after which admission counts a membership transaction as settled."""
    publish_interval_ms: int = 500
    """How often admission publishes what is not settled."""
    miner_nice: int = 15
    """How much the searches step back, so that the machine stays usable."""
    log_level: str = "info"
    proxied: frozenset[str] = field(default_factory=frozenset)
    """Services that reach the broker, and with `database` ledgers that reach PostgreSQL, through a proxy of their own,
    which can cut them off."""
    sites: Mapping[str, Site] = field(default_factory=dict)
    """What members meter; who is not named here has no meter-gateway."""

    def services_of(self, member: str) -> tuple[str, ...]:
        """Services of a member's node, in the order in which they are started."""
        return (*SERVICES, GATEWAY) if member in self.sites else SERVICES
