"""Samples of what is said about memberships."""

from __future__ import annotations

from minervas_core.encoding import Record
from minervas_core.node_messages import RosterEntry, WaitingRecovery
from minervas_core.transactions import Transaction, TransactionForm
from tools.vectors.fixtures import HAENAM, KIM, MOKPO, START_MS
from tools.vectors.membership_fixtures import (
    KEY_ROTATION,
    KIM_2,
    LEAVING,
    RECOVERY,
    RESUMPTION,
    SUSPENSION,
    VETO,
    WALLET_ROTATION,
    consent_body,
)


def roster_entries() -> list[RosterEntry]:
    """A member in good standing, one that is suspended and waits for a new wallet, and one that has left."""
    return [
        RosterEntry(member=HAENAM.member, keys=HAENAM.public, status="left", admitted_height=1, ended_height=2),
        RosterEntry(
            member=KIM.member,
            keys=KIM.public,
            status="active",
            admitted_height=1,
            suspended_height=2,
            recovery=WaitingRecovery(
                wallet=KIM_2.wallet.public, transaction=RECOVERY.id, height=2, effective_ms=START_MS + 14_000
            ),
        ),
        RosterEntry(member=MOKPO.member, keys=MOKPO.public, status="active", admitted_height=1),
    ]


def membership_samples() -> dict[str, Record]:
    """Changes of memberships, by name of the sample."""
    return {
        "WalletConsent": consent_body(KIM, KIM_2),
        "TransactionForm, suspend": _form(SUSPENSION),
        "TransactionForm, resume": _form(RESUMPTION),
        "TransactionForm, leave": _form(LEAVING),
        "TransactionForm, rotate the wallet": _form(WALLET_ROTATION),
        "TransactionForm, rotate": _form(KEY_ROTATION),
        "TransactionForm, recover": _form(RECOVERY),
        "TransactionForm, veto": _form(VETO),
    }


def _form(transaction: Transaction) -> Record:
    return TransactionForm(body=transaction.body, signature=transaction.signature)
