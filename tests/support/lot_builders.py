"""Transactions that join lots, or claim them as used."""

from __future__ import annotations

from collections.abc import Sequence

from minervas_core.market.records import Merge, Retire
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
