"""Replacing the authority's key (minervas_core.governance.authority)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.governance.authority import sign_statement
from minervas_core.governance.records import MAX_APPROVALS, Approval
from minervas_core.keys import SigningKey
from minervas_core.mempool import Mempool
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import check_transaction
from minervas_core.transactions import (
    MAX_TRANSACTION_BYTES,
    Admit,
    Transaction,
    decode_transaction,
    sign_transaction,
)
from tests.support.builders import (
    AUTHORITY,
    FAR_FUTURE_MS,
    LocalChain,
    admit,
    gateway_key,
    membership,
    register_meter,
    revoke,
    service_keys,
    signing_key,
)
from tests.support.governance import (
    authority_body,
    change_authority,
    change_parameters,
    recover_authority,
    wallet,
)

NEW = signing_key("new authority")
NEWER = signing_key("newer authority")
GENESIS = LocalChain().genesis


@pytest.fixture
def local() -> LocalChain:
    """At height 1, with members a, b and c."""
    made = LocalChain()
    made.found("a", "b", "c")
    return made


def refused(local: LocalChain, transaction: Transaction) -> Code:
    state = local.chain.state
    with pytest.raises(InvalidTransaction) as caught:
        check_transaction(state, transaction, local.tip.height + 1, local.tip.time_ms + 1, local.genesis)
    return caught.value.code


def refused_alone(transaction: Transaction) -> Code:
    with pytest.raises(InvalidTransaction) as caught:
        SignatureCache(GENESIS).check(transaction)
    return caught.value.code


def admit_by(key: SigningKey, member: str, *, expires: int = 5) -> Transaction:
    return membership(Admit(member=member, keys=service_keys(member)), expires=expires, key=key)


# by the old key


def test_from_its_block_on_only_the_new_key_signs_for_the_authority(local: LocalChain) -> None:
    assert refused(local, admit_by(NEW, "d")) == Code.TX_WRONG_SENDER
    local.extend("b", [change_authority(NEW)])
    assert refused(local, admit("d")) == Code.TX_WRONG_SENDER
    assert refused(local, revoke("c")) == Code.TX_WRONG_SENDER
    assert refused(local, change_parameters(50, {"slot_ms": 7})) == Code.TX_WRONG_SENDER
    assert refused(local, change_authority(NEWER)) == Code.AUTHORITY_NOT_CURRENT
    local.extend("c", [admit_by(NEW, "d"), change_parameters(50, {"slot_ms": 7}, key=NEW)])
    local.extend("d", [change_authority(NEWER, previous=NEW)])
    assert refused(local, admit_by(NEW, "e")) == Code.TX_WRONG_SENDER


def test_all_else_in_the_block_of_the_replacement_is_signed_by_the_new_key(local: LocalChain) -> None:
    for member in "defgh":
        by_old = local.receive(local.mine("b", [change_authority(NEW), admit(member)]))
        assert by_old.error is not None
        assert by_old.error.code == Code.TX_WRONG_SENDER
    local.extend("b", [change_authority(NEW), *(admit_by(NEW, member) for member in "defgh")])


def test_what_was_found_valid_alone_is_judged_by_the_authority_of_the_day(local: LocalChain) -> None:
    by_old, by_new = admit("d"), admit_by(NEW, "e")
    for transaction in (by_old, by_new):
        local.chain.signatures.check(transaction)
    assert local.receive(local.mine("b", [by_new])).status == "refused"
    local.extend("b", [change_authority(NEW)])
    assert local.receive(local.mine("c", [by_old])).status == "refused"
    local.extend("c", [by_new])


def test_a_reorganisation_gives_the_old_key_its_office_back(local: LocalChain) -> None:
    fork = local.tip
    local.extend("b", [change_authority(NEW)])
    side = local.extend("c", on=fork)
    local.extend("b", [admit("d")], on=side)
    assert local.chain.state.governance.rows() == []
    assert refused(local, admit_by(NEW, "e")) == Code.TX_WRONG_SENDER
    local.extend("c", [change_authority(NEW)])


# keys


def test_the_new_key_is_held_by_somebody() -> None:
    body = msgspec.structs.replace(authority_body(NEW), proof=sign_statement(authority_body(NEW), NEWER))
    assert refused_alone(sign_transaction(body, AUTHORITY)) == Code.BAD_SIGNATURE


def test_the_proof_is_for_this_replacement_only() -> None:
    other = authority_body(NEW, expires=4)
    body = msgspec.structs.replace(authority_body(NEW, expires=5), proof=other.proof)
    assert refused_alone(sign_transaction(body, AUTHORITY)) == Code.BAD_SIGNATURE


def test_the_new_key_is_usable_and_new() -> None:
    body = authority_body(AUTHORITY)
    assert refused_alone(sign_transaction(body, AUTHORITY)) == Code.KEY_REUSED
    small_order = msgspec.structs.replace(body, authority="01" + "00" * 31)
    assert refused_alone(sign_transaction(small_order, AUTHORITY)) == Code.BAD_KEY


def test_a_key_that_is_or_was_anybodys_does_not_become_the_authoritys(local: LocalChain) -> None:
    local.extend("b", [register_meter("a", expires=5), revoke("c")])
    local.extend("a", [change_authority(NEW)])
    taken = [wallet("a"), signing_key("b.miner"), wallet("c"), gateway_key("a"), AUTHORITY]
    for key in taken:
        assert refused(local, change_authority(key, previous=NEW)) == Code.KEY_REUSED
    local.extend("b", [change_authority(NEWER, previous=NEW)])
    assert refused(local, change_authority(NEW, previous=NEWER)) == Code.KEY_REUSED


def test_the_authoritys_keys_do_not_become_anybodys(local: LocalChain) -> None:
    local.extend("b", [change_authority(NEW)])
    local.extend("c", [change_authority(NEWER, previous=NEW)])
    for key in (NEW, NEWER):
        keys = msgspec.structs.replace(service_keys("d"), vote=key.public)
        stolen = membership(Admit(member="d", keys=keys), expires=5, key=NEWER)
        assert refused(local, stolen) == Code.KEY_REUSED


def test_only_the_old_or_the_new_authority_asks_for_it() -> None:
    body = msgspec.structs.replace(authority_body(NEW, sender=NEWER), proof=authority_body(NEW).proof)
    assert refused_alone(sign_transaction(body, NEWER)) == Code.TX_WRONG_SENDER


# without the old key


def test_more_than_two_thirds_of_the_members_replace_a_lost_key(local: LocalChain) -> None:
    two = recover_authority(NEW, [wallet("a"), wallet("b")])
    assert refused(local, two) == Code.AUTHORITY_APPROVALS
    local.extend("b", [recover_authority(NEW, [wallet(each) for each in "abc"])])
    local.extend("c", [admit_by(NEW, "d")])
    assert refused(local, recover_authority(NEWER, [wallet("a"), wallet("b")], previous=NEW)) == (
        Code.AUTHORITY_APPROVALS
    )
    local.extend("a", [recover_authority(NEWER, [wallet(each) for each in ("a", "b", "d")], previous=NEW)])


def test_only_active_members_approve(local: LocalChain) -> None:
    local.extend("b", [revoke("c")])
    assert refused(local, recover_authority(NEW, [wallet(each) for each in "abc"])) == Code.AUTHORITY_APPROVALS
    assert refused(local, recover_authority(NEW, [wallet(each) for each in "abx"])) == Code.AUTHORITY_APPROVALS
    by_block_key = recover_authority(NEW, [wallet("a"), signing_key("b.miner")])
    assert refused(local, by_block_key) == Code.AUTHORITY_APPROVALS
    local.extend("b", [recover_authority(NEW, [wallet(each) for each in "ab"])])


def test_an_approval_is_for_this_replacement_only() -> None:
    body = recover_authority(NEW, [wallet("a")]).body
    other = recover_authority(NEWER, [wallet("a")]).body
    mixed = msgspec.structs.replace(body, approvals=other.approvals)  # type: ignore[union-attr]  # both are of the kind
    assert refused_alone(sign_transaction(mixed, NEW)) == Code.BAD_SIGNATURE


def test_a_wallet_approves_once_and_only_where_the_old_key_does_not_sign() -> None:
    body = authority_body(NEW, sender=NEW)
    approvals = [
        Approval(wallet=key.public, signature=sign_statement(body, key))
        for key in sorted((wallet("a"), wallet("b")), key=lambda each: each.public)
    ]
    for wrong in ([], approvals[::-1], [approvals[0], approvals[0]]):
        transaction = sign_transaction(msgspec.structs.replace(body, approvals=wrong), NEW)
        assert refused_alone(transaction) == Code.AUTHORITY_APPROVALS
    by_old = msgspec.structs.replace(body, sender=AUTHORITY.public, approvals=approvals)
    assert refused_alone(sign_transaction(by_old, AUTHORITY)) == Code.AUTHORITY_APPROVALS
    SignatureCache(GENESIS).check(sign_transaction(msgspec.structs.replace(body, approvals=approvals), NEW))


def test_as_many_approvals_as_allowed_fit_into_a_transaction() -> None:
    body = authority_body(NEW, sender=NEW, expires=2**53 - 1)
    approvals = [Approval(wallet=f"{number:064x}", signature="0" * 128) for number in range(MAX_APPROVALS)]
    transaction = sign_transaction(msgspec.structs.replace(body, approvals=approvals), NEW)
    assert len(transaction.raw) < MAX_TRANSACTION_BYTES
    assert decode_transaction(transaction.raw) == transaction
    assert encode(transaction.body) in transaction.raw


# the queue


def test_what_the_old_key_signed_leaves_the_queue_for_what_the_new_key_signs(local: LocalChain) -> None:
    pool = Mempool(local.genesis, local.chain.signatures)
    by_old, change = admit("d"), change_authority(NEW)
    pool.add(by_old, local.chain.state, FAR_FUTURE_MS)
    pool.add(change, local.chain.state, FAR_FUTURE_MS)
    block = local.extend("b", [change])
    pool.remove_included(block)
    assert pool.forget_disused(local.chain.state) == (by_old,)
    assert len(pool) == 0
    pool.add(admit_by(NEW, "d"), local.chain.state, FAR_FUTURE_MS)
    assert pool.forget_disused(local.chain.state) == ()


def test_of_two_replacements_the_queue_takes_the_first(local: LocalChain) -> None:
    pool = Mempool(local.genesis, local.chain.signatures)
    pool.add(change_authority(NEW), local.chain.state, FAR_FUTURE_MS)
    with pytest.raises(InvalidTransaction) as caught:
        pool.add(change_authority(NEWER), local.chain.state, FAR_FUTURE_MS)
    assert caught.value.code == Code.POOL_CONFLICT
