"""The one place where the wallet signs for the market: orders, merges and retirements (design section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from minervas_core.errors import Code, InvalidTransaction, MinervasError, PeerFault, TransientFault
from minervas_core.genesis import Genesis
from minervas_core.identifiers import check_member_id
from minervas_core.keys import SigningKey
from minervas_core.market.lots import joined_origins, origins_root
from minervas_core.market.records import Bid, Cancel, Merge, Offer, Retire
from minervas_core.market.settlement_records import CreditNote, CreditReason, Payment
from minervas_core.node_bill_messages import BillLines, GetBillLines
from minervas_core.node_market_messages import GetLot, GetLots, LotDetail, Lots
from minervas_core.node_messages import GetStatus, LedgerStatus, Submit, SubmitResults
from minervas_core.transactions import Transaction, TransactionBody, Veto, sign_transaction
from minervas_peer.gossip import Gossip
from minervas_peer.key_exchange import Identity
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.member_directory import MemberDirectory
from minervas_runtime.clock import Clock
from minervas_runtime.randomness import new_salt

EXPIRY_BLOCKS = 240
"""An order that no block took in this many is dropped: an hour of 15 s blocks."""

LOTS_PER_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What an offer and a bid have in common."""

    price_micro: int
    """Millionths of the currency per Wh."""
    valid_ms: int
    """How long the order may rest in the book, from now on."""


class Trader:
    """Signs a member's orders, has its ledger check them, and spreads what was accepted."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        directory: MemberDirectory,
        identity: Identity,
        ledger: LedgerLink,
        gossip: Gossip,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._genesis = genesis
        self._member = directory.me
        self._identity = identity
        self._ledger = ledger
        self._gossip = gossip
        self._clock = clock

    async def offer_energy(self, energy_wh: int, terms: Terms, *, smallest_wh: int, buyer: str) -> Transaction:
        """Put own free lots of at least `energy_wh` in all on sale, the largest first.

        Whole lots are offered: the offer may be up to one lot larger than asked.

        Raises:
            InvalidTransaction: ``lot_unknown`` if the free lots are not enough, ``order_too_large`` if only more lots
                than an offer may have would do, or what the ledger refused with.
            TransientFault: if the ledger is away.
        """
        status = await self._ledger.ask("status", GetStatus(), LedgerStatus)
        lots = choose_lots(await self._free_lots(), energy_wh, status.parameters.max_lots_per_offer)
        return await self.offer_lots(lots, terms, smallest_wh=smallest_wh, buyer=buyer)

    async def offer_lots(self, lots: Sequence[str], terms: Terms, *, smallest_wh: int, buyer: str) -> Transaction:
        """Put certain lots on sale.

        Raises:
            InvalidTransaction: what the ledger refused with.
            PeerFault: ``bad_member_id`` for an impossible buyer.
            TransientFault: if the ledger is away.
        """
        if buyer:
            check_member_id(buyer)
        body = Offer(
            network=self._genesis.network,
            sender=self._wallet.public,
            salt=new_salt(),
            expires_height=await self._expires_height(),
            lots=list(lots),
            price_micro=terms.price_micro,
            smallest_wh=smallest_wh,
            valid_until_ms=self._clock.now_ms() + terms.valid_ms,
            buyer=buyer,
        )
        return await self._place(body)

    async def bid(self, energy_wh: int, terms: Terms, *, repeats: bool) -> Transaction:
        """Ask for energy, once or of every slot.

        Raises:
            InvalidTransaction: what the ledger refused with.
            TransientFault: if the ledger is away.
        """
        body = Bid(
            network=self._genesis.network,
            sender=self._wallet.public,
            salt=new_salt(),
            expires_height=await self._expires_height(),
            energy_wh=energy_wh,
            price_micro=terms.price_micro,
            valid_until_ms=self._clock.now_ms() + terms.valid_ms,
            repeats=repeats,
        )
        return await self._place(body)

    async def cancel(self, order: str) -> Transaction:
        """Take an own open order back.

        Raises:
            InvalidTransaction: ``order_unknown`` or ``order_not_owned``.
            TransientFault: if the ledger is away.
        """
        body = Cancel(
            network=self._genesis.network,
            sender=self._wallet.public,
            salt=new_salt(),
            expires_height=await self._expires_height(),
            order=order,
        )
        return await self._place(body)

    async def merge(self, lots: Sequence[str]) -> Transaction:
        """Join own free lots into one, whose id is the transaction's.

        Raises:
            InvalidTransaction: what the ledger refused with.
            TransientFault: if the ledger is away.
        """
        body = Merge(
            network=self._genesis.network,
            sender=self._wallet.public,
            salt=new_salt(),
            expires_height=await self._expires_height(),
            lots=list(lots),
        )
        return await self._place(body)

    async def retire(self, lots: Sequence[str]) -> Transaction:
        """Claim own free lots as used, for ever.

        Raises:
            InvalidTransaction: what the ledger refused with.
            TransientFault: if the ledger is away.
        """
        body = Retire(
            network=self._genesis.network,
            sender=self._wallet.public,
            salt=new_salt(),
            expires_height=await self._expires_height(),
            lots=list(lots),
            origins_root=await self._held_root(lots),
        )
        return await self._place(body)

    async def pay(self, buyer: str, month: str, amount_micro: int) -> Transaction:
        """Confirm that a buyer paid a final bill of ours, or a part of it.

        Raises:
            InvalidTransaction: ``bill_not_final``, ``payment_too_large``, or what the ledger refused with.
            PeerFault: ``not_found`` if there is no such bill.
            TransientFault: if the ledger is away.
        """
        await self._check_open(buyer, month, amount_micro)
        body = Payment(
            network=self._genesis.network,
            sender=self._wallet.public,
            salt=new_salt(),
            expires_height=await self._expires_height(),
            seller=self._member,
            buyer=buyer,
            month=month,
            amount_micro=amount_micro,
        )
        return await self._place(body)

    async def credit(self, buyer: str, month: str, amount_micro: int, reason: CreditReason) -> Transaction:
        """Take an amount off a final bill of ours.

        Raises:
            InvalidTransaction, PeerFault, TransientFault: as `pay`.
        """
        await self._check_open(buyer, month, amount_micro)
        body = CreditNote(
            network=self._genesis.network,
            sender=self._wallet.public,
            salt=new_salt(),
            expires_height=await self._expires_height(),
            seller=self._member,
            buyer=buyer,
            month=month,
            amount_micro=amount_micro,
            reason=reason,
        )
        return await self._place(body)

    async def _check_open(self, buyer: str, month: str, amount_micro: int) -> None:
        """The chain bounds only what a pair settles in all; that it fits this bill, we see to."""
        check_member_id(buyer)
        question = GetBillLines(month=month, seller=self._member, buyer=buyer, limit=1)
        entry = (await self._ledger.ask("bill_lines", question, BillLines)).entry
        bill, settled = entry.bill, entry.settled
        if not bill.period.is_final:
            raise InvalidTransaction(Code.BILL_NOT_FINAL, "The bill of this month is not final yet", month=month)
        open_micro = max(0, bill.total_micro - settled.paid_micro - settled.credited_micro)
        if amount_micro > open_micro:
            raise InvalidTransaction(
                Code.PAYMENT_TOO_LARGE,
                "More than is open of this bill",
                bill=bill.number,
                amount_micro=amount_micro,
                open_micro=open_micro,
            )

    async def _held_root(self, lots: Sequence[str]) -> str:
        """What our lots hold, as a retirement claims it: then the chain carries what its certificate says."""
        try:
            held = [(await self._ledger.ask("lot_detail", GetLot(id=lot), LotDetail)).lot for lot in lots]
        except MinervasError as error:
            if error.code != Code.NOT_FOUND:
                raise
            raise InvalidTransaction(Code.LOT_UNKNOWN, "No such lot on the best chain", **error.values) from error
        return origins_root(joined_origins(held))

    async def veto(self, recovery: str) -> Transaction:
        """Object to a recovery that would replace our wallet.

        Raises:
            InvalidTransaction: ``recovery_unknown`` if no such recovery of ours waits.
            TransientFault: if the ledger is away.
        """
        body = Veto(
            network=self._genesis.network,
            sender=self._wallet.public,
            salt=new_salt(),
            expires_height=await self._expires_height(),
            recovery=recovery,
        )
        return await self._place(body)

    async def _free_lots(self) -> dict[str, int]:
        """Energy of all own lots that no offer holds, by id."""
        free: dict[str, int] = {}
        after, more = "", True
        while more:
            question = GetLots(owner=self._member, free=True, after=after, limit=LOTS_PER_PAGE)
            page = await self._ledger.ask("lots", question, Lots)
            free.update((entry.id, entry.lot.energy_wh) for entry in page.lots)
            more = page.more and bool(page.lots)
            after = page.lots[-1].id if page.lots else after
        return free

    async def _expires_height(self) -> int:
        status = await self._ledger.ask("status", GetStatus(), LedgerStatus)
        return status.tip.height + min(EXPIRY_BLOCKS, self._genesis.parameters.max_expiry_blocks)

    @property
    def _wallet(self) -> SigningKey:
        return self._identity.wallet

    def check_wallet(self) -> None:
        """Check that our wallet may sign for the member by our own tip; that of a recovery has to wait.

        Raises:
            TransientFault: ``wallet_waits`` with the time when it does.
        """
        if not self._directory.settled or self._directory.wallet_on_tip(self._member) == self._wallet.public:
            return  # a newcomer's order waits for its admission, as the ledger says
        waiting = self._directory.waiting(self._member)
        if waiting is None or waiting.wallet != self._wallet.public:
            raise TransientFault(
                Code.WALLET_WAITS,
                "Our wallet is not the member's on our chain: its announcement is not in a block yet, or was vetoed",
            )
        moment = datetime.fromtimestamp(waiting.effective_ms / 1000, UTC).isoformat(timespec="seconds")
        raise TransientFault(
            Code.WALLET_WAITS,
            f"This node was replaced, so it cannot trade yet: the new wallet takes effect at {moment}",
            effective_ms=waiting.effective_ms,
        )

    async def _place(self, body: TransactionBody) -> Transaction:
        self.check_wallet()
        transaction = sign_transaction(body, self._wallet)
        submit = Submit(transactions=[msgspec.Raw(transaction.raw)], origin="local")
        result = (await self._ledger.ask("submit", submit, SubmitResults)).results[0]
        if result.status == "refused":
            raise InvalidTransaction(_code(result.code), result.message, **{"tx": transaction.id, **result.values})
        self._gossip.offer(transaction.raw)
        return transaction


def choose_lots(free: Mapping[str, int], energy_wh: int, max_lots: int) -> list[str]:
    """Lots of at least `energy_wh` in all: the largest first, so that few are needed.

    Args:
        free: energy by lot.
        energy_wh: how much is wanted.
        max_lots: how many lots there may be.

    Raises:
        InvalidTransaction: ``lot_unknown`` if there is not so much energy, ``order_too_large`` if it takes more lots.
    """
    total_wh = sum(free.values())
    if not free or total_wh < energy_wh:
        raise InvalidTransaction(
            Code.LOT_UNKNOWN, "Not so much free energy", asked_wh=energy_wh, free_wh=total_wh, lots=len(free)
        )
    chosen: list[str] = []
    chosen_wh = 0
    for lot_id, lot_wh in sorted(free.items(), key=lambda each: (-each[1], each[0])):
        if chosen_wh >= energy_wh:
            break
        if len(chosen) == max_lots:
            raise InvalidTransaction(
                Code.ORDER_TOO_LARGE,
                "This takes more lots than an offer may have; merge lots first, or offer less",
                asked_wh=energy_wh,
                most_wh=chosen_wh,
                max_lots=max_lots,
                free_wh=total_wh,
            )
        chosen.append(lot_id)
        chosen_wh += lot_wh
    return chosen


def _code(text: str) -> Code:
    try:
        return Code(text)
    except ValueError as error:
        raise PeerFault(Code.INTERNAL, "Our ledger refused with an unknown code", refused_with=text) from error
