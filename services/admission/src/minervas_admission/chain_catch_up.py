"""What the chain knows and a restored database does not: memberships that began, changed or ended after the backup.

The chain comes as a file that any member's ledger exports. Who wrote the file could leave blocks out, but not make any
up: each transaction is signed by the authority's key. So it is told up to which block the file goes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minervas_admission import audit_log
from minervas_admission.application_check import decode_application
from minervas_admission.authority import Consortium
from minervas_admission.key_identity import box_key_id, signing_key_id
from minervas_admission.store.applications import (
    KIND_JOIN,
    ApplicationRow,
    KeyClaim,
    applications_of,
    claim_consortium_keys,
    end_waiting_applications,
    insert_adopted,
    set_application_state,
)
from minervas_admission.store.database import Connection
from minervas_admission.store.decisions import insert_decision
from minervas_admission.store.members import (
    ENDED,
    activate_member,
    end_membership,
    insert_member,
    lock_member,
    set_suspended,
)
from minervas_admission.store.transactions import (
    TransactionRow,
    find_transaction,
    insert_transaction,
    next_number,
    set_operator_tip,
    set_transaction_place,
)
from minervas_core.blocks import Block, decode_block
from minervas_core.errors import Code, LocalFault, MinervasError
from minervas_core.governance.records import ChangeAuthority
from minervas_core.transactions import (
    Admit,
    Change,
    Leave,
    Membership,
    RegisterMeter,
    Resume,
    Revoke,
    Rotate,
    Suspend,
    Transaction,
    check_signature,
)
from minervas_core.validation import check_orphan
from minervas_runtime.chain_file import open_chain_file

WHO = "chain"
"""Who decided, in the audit log and the list of decisions, as far as this database knows."""
REASON = "found on the chain after a restore"

DECISIONS = {"admit": "approve", "register_meter": "add", "recover": "replace"}
"""Kind of the decision behind an action, where it is called otherwise."""


@dataclass(frozen=True, slots=True)
class Found:
    """A change of a membership on the chain."""

    transaction: Transaction
    change: Change
    height: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class ChainOfMembers:
    """What a chain says of the members."""

    found: list[Found]
    height: int
    """Up to which block the file goes."""
    time_ms: int
    """Of that block."""


def read_members(path: Path, consortium: Consortium) -> ChainOfMembers:
    """Read all changes of memberships out of an exported chain.

    Raises:
        LocalFault: ``bad_chain_file`` if the file is damaged, of another consortium, or not signed by the authority;
            ``authority_not_current`` if the chain has replaced the authority's key.
    """
    found: list[Found] = []
    height, time_ms = 0, consortium.genesis.body.created_ms
    for block in _blocks(path, consortium):
        height, time_ms = block.header.height, block.header.time_ms
        found.extend(
            Found(transaction, transaction.body.change, height, time_ms)
            for transaction in block.transactions
            if isinstance(transaction.body, Membership) and _is_signed(transaction, consortium, path, height)
        )
    return ChainOfMembers(found, height, time_ms)


def _blocks(path: Path, consortium: Consortium) -> Iterator[Block]:
    """The blocks of the file: each with work, and each on the one before."""
    genesis = consortium.genesis
    with open_chain_file(path) as reader:
        if reader.genesis_hash != genesis.hash:
            raise LocalFault(
                Code.BAD_CHAIN_FILE, "The chain of another consortium", file=str(path), genesis=reader.genesis_hash
            )
        prev = genesis.hash
        for height, raw in enumerate(reader.blocks(), start=1):
            try:
                block = decode_block(raw)
                check_orphan(block, genesis)
            except MinervasError as error:
                raise _bad(path, height, error.message) from error
            if (block.header.height, block.header.prev) != (height, prev):
                raise _bad(path, height, "does not follow the one before")
            prev = block.hash
            yield block


def _is_signed(transaction: Transaction, consortium: Consortium, path: Path, height: int) -> bool:
    if isinstance(transaction.body, ChangeAuthority) or transaction.body.sender != consortium.signer.public:
        raise LocalFault(
            Code.AUTHORITY_NOT_CURRENT,
            "The chain knows another key of the authority than this backup has; restore a newer backup",
            block=height, key=transaction.body.sender,
        )  # fmt: skip
    try:
        check_signature(transaction, consortium.network)
    except MinervasError as error:
        raise _bad(path, height, error.message) from error
    return True


def _bad(path: Path, height: int, reason: str) -> LocalFault:
    return LocalFault(
        Code.BAD_CHAIN_FILE, "A block of the file cannot be right", file=str(path), block=height, reason=reason
    )


async def catch_up(connection: Connection, chain: ChainOfMembers, now_ms: int) -> list[str]:
    """Bring the database to where the chain is, in the caller's transaction; returns what was new, for people."""
    news: list[str] = []
    for each in chain.found:
        known = await find_transaction(connection, each.transaction.id)
        if known is not None:
            if known.state != "settled":
                await set_transaction_place(connection, known.number, state="settled", height=each.height)
            if not await _is_behind(connection, each.change):
                continue
        news.append(await _take_up(connection, each, now_ms, is_new=known is None))
    await set_operator_tip(connection, chain.height, now_ms)
    return news


async def _is_behind(connection: Connection, change: Change) -> bool:
    """Whether the database had signed the end of a membership but not recorded it."""
    row = await lock_member(connection, change.member)
    return isinstance(change, Revoke | Leave) and (row is None or row.state not in ENDED)


async def _take_up(connection: Connection, found: Found, now_ms: int, *, is_new: bool) -> str:
    """Record one change, with the decision that must have been behind it."""
    change, member = found.change, found.change.member
    action = str(change.__struct_config__.tag)
    application = await _adopt(connection, change, now_ms) if is_new and isinstance(change, Admit) else None
    decision = await insert_decision(
        connection, kind=DECISIONS.get(action, action), member=member, application=application, reason=REASON, who=WHO,
        made_ms=found.time_ms, state="done" if application is None else "queued",
    )  # fmt: skip
    if is_new:
        await claim_consortium_keys(connection, _claims(change), member=member)
        row = await _row(connection, found, decision, action)
        await insert_transaction(connection, row)
        await set_transaction_place(connection, row.number, state="settled", height=found.height)
    await _take_effect(connection, found, now_ms)
    await audit_log.append(
        connection, time_ms=now_ms, who=WHO, action=f"{action} caught up", subject=member,
        id=found.transaction.id, height=found.height,
    )  # fmt: skip
    return f"block {found.height}: {action} {member}"


async def _row(connection: Connection, found: Found, decision: int, action: str) -> TransactionRow:
    body = found.transaction.body
    return TransactionRow(
        number=await next_number(connection),
        id=found.transaction.id,
        member=found.change.member,
        action=action,
        decision=decision,
        raw=found.transaction.raw,
        expires_height=body.expires_height,
        signed_ms=found.time_ms,
        state="settled",
        height=found.height,
        depth=0,
    )


async def _take_effect(connection: Connection, found: Found, now_ms: int) -> None:
    match found.change:
        case Revoke(member=member) | Leave(member=member):
            state: Literal["revoked", "left"] = "left" if isinstance(found.change, Leave) else "revoked"
            row = await lock_member(connection, member)
            if row is not None and row.state not in ENDED:
                await end_membership(connection, member, state, REASON, found.time_ms)
                await set_application_state(connection, row.application, state, reason=REASON)
                await end_waiting_applications(connection, member, state, reason=REASON, now_ms=now_ms)
        case Suspend(member=member):
            await set_suspended(connection, member, found.time_ms)
        case Resume(member=member):
            await set_suspended(connection, member, None)


async def _adopt(connection: Connection, change: Admit, now_ms: int) -> str | None:
    """Enter a member that was approved after the backup.

    Returns:
        Its application, if that had come before the backup: then it is approved once more, for the certificates that
        it was given are not known here. None if nothing is known of it but its keys: it renews its certificates.
    """
    member = change.member
    for row in await applications_of(connection, member):
        if row.kind != KIND_JOIN or row.state not in ("pending", "approving"):
            continue
        if _is_for(row, change):
            await set_application_state(connection, row.id, "approving", decided_ms=now_ms)
            await insert_member(connection, member, row.id, now_ms)
            return row.id
        # It was rejected, and somebody else took the name.
        await set_application_state(connection, row.id, "rejected", reason=REASON, decided_ms=now_ms)
    adopted = secrets.token_hex(16)
    await insert_adopted(connection, adopted, member, REASON, now_ms)
    await insert_member(connection, member, adopted, now_ms)
    await activate_member(connection, member)
    return None


def _is_for(row: ApplicationRow, change: Admit) -> bool:
    """Whether the wallet that was admitted is the one that applied."""
    services = decode_application(row.content).services
    return any(each.claim.service == "peer" and each.claim.signing_key == change.keys.wallet for each in services)


def _claims(change: Change) -> list[KeyClaim]:
    """The keys that a change brings, so that nobody else uses them."""
    match change:
        case Admit(keys=keys):
            signing = {"wallet": keys.wallet, "block key": keys.block, "vote key": keys.vote}
            box = keys.box
        case Rotate(keys=keys):
            given = keys.given()
            signing, box = {name: key for name, key in given.items() if name != "box"}, given.get("box", "")
        case RegisterMeter(gateway=gateway):
            signing, box = {"gateway key": gateway}, ""
        case _:
            return []
    claims = [KeyClaim(signing_key_id(key), name) for name, key in signing.items()]
    return [*claims, *([KeyClaim(box_key_id(box), "box key")] if box else [])]
