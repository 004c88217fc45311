"""Transactions that join lots, or claim them as used."""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.keys import SigningKey
from minervas_core.market.records import Merge, Retire
from minervas_core.market.settlement_records import CreditNote, Payment
from minervas_core.transactions import Transaction, sign_transaction
from tests.support.builders import EXPIRES, signing_key, wallet_fields


def merge(member: str, lots: Sequence[str], *, expires: int = EXPIRES, salt: str = "") -> Transaction:
    """Join lots into one."""
    body = Merge(**wallet_fields(member, expires, salt), lots=list(lots))
    return sign_transaction(body, signing_key(f"{member}.peer"))


def retire(member: str, lots: Sequence[str], *, expires: int = EXPIRES, salt: str = "") -> Transaction:
    """Claim lots as used."""
    body = Retire(**wallet_fields(member, expires, salt), lots=list(lots))
    return sign_transaction(body, signing_key(f"{member}.peer"))


def pay(
    seller: str,
    buyer: str,
    amount_micro: int,
    *,
    month: str = "2026-03",
    expires: int = EXPIRES,
    salt: str = "",
    by: SigningKey | None = None,
) -> Transaction:
    """The seller's word that a bill was paid; `by` if another key signs."""
    fields = wallet_fields(seller, expires, salt)
    signer = by or signing_key(f"{seller}.peer")
    body = Payment(
        **fields | {"sender": signer.public}, seller=seller, buyer=buyer, month=month, amount_micro=amount_micro
    )
    return sign_transaction(body, signer)


def credit(
    seller: str, buyer: str, amount_micro: int, *, month: str = "2026-03", expires: int = EXPIRES, salt: str = ""
) -> Transaction:
    """A credit note."""
    body = CreditNote(
        **wallet_fields(seller, expires, salt),
        seller=seller,
        buyer=buyer,
        month=month,
        amount_micro=amount_micro,
        reason="agreement",
    )
    return sign_transaction(body, signing_key(f"{seller}.peer"))
