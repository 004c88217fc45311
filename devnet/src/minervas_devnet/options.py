"""What a caller chooses about a devnet."""

from __future__ import annotations

from dataclasses import dataclass, field

from minervas_core.genesis import Parameters

SERVICES = ("ledger", "peer", "miner")
"""Services of a node in the order in which they are started."""


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
