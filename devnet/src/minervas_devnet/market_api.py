"""A client of what a member's HTTP API says about metering and trading, and of what it does for its owner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec

from minervas_core.errors import Code, TransientFault
from minervas_devnet.api_client import TIMEOUT_S, NodeApi

ALL = 1_000
"""More than a devnet has of anything but lots."""


class Origin(msgspec.Struct, frozen=True, order=True):
    """Energy that one statement minted."""

    statement: str
    energy_wh: int


class Lot(msgspec.Struct, frozen=True, order=True):
    """An unspent lot."""

    id: str
    owner: str
    energy_wh: int
    parent: str
    origins: list[Origin]
    offer: str


class Retirement(msgspec.Struct, frozen=True, order=True):
    """A lot that its owner claimed as used."""

    height: int
    position: int
    transaction: str
    owner: str
    lot: str
    energy_wh: int
    origins: list[Origin]


class Order(msgspec.Struct, frozen=True, order=True):
    """An open offer or bid."""

    id: str
    side: str
    member: str
    price_micro: int
    energy_wh: int
    lots: list[str]


class Trade(msgspec.Struct, frozen=True, order=True):
    """A fill, and the channels that its energy came from."""

    height: int
    position: int
    seller: str
    buyer: str
    energy_wh: int
    price_micro: int
    amount_micro: int
    offer: str
    bid: str
    lots: list[str]
    meters: list[str]


class Clearing(msgspec.Struct, frozen=True, order=True):
    """What an auction decided, as far as the devnet looks at it."""

    height: int
    slot_ends_ms: int
    energy_wh: int
    offers: int
    bids: int
    price_micro: int | None


class Obligation(msgspec.Struct, frozen=True, order=True):
    """What one member owes another."""

    debtor: str
    creditor: str
    amount_micro: int
    energy_wh: int


class ChannelEnergy(msgspec.Struct, frozen=True, order=True):
    """What a channel has minted."""

    member: str
    meter: str
    channel: str
    minted_wh: int
    statements: int


class Reading(msgspec.Struct, frozen=True):
    """A stored reading, as far as the devnet looks at it."""

    meter: str
    channel: str
    sequence: int
    time_ms: int
    quality: str
    spool: str
    stored_ms: int
    power_mw: int | None = None
    energy_mwh: int | None = None
    fault: str | None = None


class Readings(msgspec.Struct, frozen=True):
    """The newest readings, and counts."""

    readings: list[Reading]
    stored: int
    conflicts: int


class _Lots(msgspec.Struct, frozen=True):
    lots: list[Lot]
    more: bool = False


class _Retirements(msgspec.Struct, frozen=True):
    retirements: list[Retirement]


class _Orders(msgspec.Struct, frozen=True):
    orders: list[Order]


class _Trades(msgspec.Struct, frozen=True):
    trades: list[Trade]


class _Clearings(msgspec.Struct, frozen=True):
    clearings: list[Clearing]


class _Slot(msgspec.Struct, frozen=True):
    mode: str


class _Market(msgspec.Struct, frozen=True):
    slot: _Slot


class _Obligations(msgspec.Struct, frozen=True):
    obligations: list[Obligation]


class RegisteredMeter(msgspec.Struct, frozen=True):
    """A meter on the chain."""

    member: str
    meter: str
    gateway: str
    """Its gateway's public key."""


class _Meters(msgspec.Struct, frozen=True):
    meters: list[RegisteredMeter]
    energy: list[ChannelEnergy]


class Answer(msgspec.Struct, frozen=True):
    """What came of an order, whatever it was."""

    status: int
    """HTTP status; 202 if it was signed and queued."""
    code: str
    """Why not; empty if it was."""
    id: str
    """Of the transaction, if it was."""


class MarketApi:
    """One member's API of the market.

    Args:
        api: the member's API.
        token_file: the peer's ``api.token``, needed to place orders.
    """

    def __init__(self, api: NodeApi, token_file: Path) -> None:
        self.token_file = token_file
        self._api = api

    def lots(self, owner: str = "") -> list[Lot]:
        """Unspent lots by id, of one owner or of all."""
        lots: list[Lot] = []
        more = True
        while more:  # an hour of a devnet with slots of seconds has more than a page
            after = lots[-1].id if lots else ""
            page = self._api.get(f"/v1/lots?owner={owner}&after={after}&limit={ALL}", _Lots)
            lots, more = [*lots, *page.lots], page.more
        return lots

    def retirements(self) -> list[Retirement]:
        """The newest retirements, newest first."""
        return self._api.get("/v1/retirements?limit=200", _Retirements).retirements

    def orders(self) -> list[Order]:
        """Open orders of all members."""
        return self._api.get(f"/v1/orders?limit={ALL}", _Orders).orders

    def trades(self) -> list[Trade]:
        """The newest trades, newest first."""
        return self._api.get("/v1/trades?limit=200", _Trades).trades

    def clearings(self) -> list[Clearing]:
        """The newest auctions, newest first."""
        return self._api.get("/v1/clearings?limit=200", _Clearings).clearings

    def mode(self) -> str:
        """How orders of the slot that goes on are matched."""
        return self._api.get("/v1/market", _Market).slot.mode

    def obligations(self) -> list[Obligation]:
        """Who owes whom."""
        return self._api.get("/v1/obligations", _Obligations).obligations

    def minted(self) -> list[ChannelEnergy]:
        """What every registered channel has minted."""
        return self._api.get("/v1/meters", _Meters).energy

    def meters(self, member: str) -> list[RegisteredMeter]:
        """A member's registered meters."""
        return self._api.get(f"/v1/meters?member={member}", _Meters).meters

    def readings(self, limit: int = 10) -> Readings:
        """The newest readings of the member's own channels."""
        return self._api.get(f"/v1/readings?limit={limit}", Readings)

    def place(self, path: str, order: dict[str, Any], *, token: str | None = None) -> Answer:
        """Post an order.

        Args:
            path: ``/v1/offers``, ``/v1/bids``, ``/v1/cancellations``, ``/v1/merges`` or ``/v1/retirements``.
            order: the body.
            token: to show instead of the right one.

        Raises:
            TransientFault: ``peer_unreachable`` if nobody answers.
        """
        return self._send("POST", path, order, token)

    def change_rule(
        self, method: str, rule: str, terms: dict[str, Any] | None = None, *, token: str | None = None
    ) -> Answer:
        """Set (``PUT``) or remove (``DELETE``) a standing rule; arguments and errors as `place`."""
        return self._send(method, f"/v1/rules/{rule}", terms, token)

    def _send(self, method: str, path: str, body: dict[str, Any] | None, token: str | None) -> Answer:
        shown = self.token_file.read_text("ascii").strip() if token is None else token
        headers = {"authorization": f"Bearer {shown}"}
        url = self._api.url + path
        try:
            answer = httpx.request(method, url, json=body, headers=headers, timeout=TIMEOUT_S, trust_env=False)
            said = answer.json()
        except httpx.HTTPError as error:
            raise TransientFault(Code.PEER_UNREACHABLE, f"{url}: {error}") from error
        return Answer(answer.status_code, said.get("code", ""), said.get("id", ""))

    def bid(self, energy_wh: int, price_micro: int) -> Answer:
        """Ask for energy."""
        return self.place("/v1/bids", {"energy_wh": energy_wh, "price_micro": price_micro})

    def offer(self, price_micro: int, *, energy_wh: int = 0, lots: tuple[str, ...] = ()) -> Answer:
        """Put energy on sale: an amount, or certain lots."""
        return self.place("/v1/offers", {"energy_wh": energy_wh, "lots": list(lots), "price_micro": price_micro})
