"""Which transactions a block may contain: every rule accepted and refused with its code (state and membership)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidTransaction
from minervas_core.market.state import BlockContext
from minervas_core.membership import claims_of
from minervas_core.roster import MemberRecord
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import ChainState, apply_transaction, check_transaction
from minervas_core.transactions import Admit, Revoke, Transaction, TransactionForm, decode_transaction
from tests.support.builders import (
    AUTHORITY,
    GENESIS_TIME_MS,
    TINY,
    admit,
    box_public,
    make_genesis,
    membership,
    revoke,
    service_keys,
    signing_key,
)

GENESIS = make_genesis()
HEIGHT = 8
TIME_MS = GENESIS_TIME_MS + 8_000
AHEAD = TINY.max_expiry_blocks


@pytest.fixture
def state() -> ChainState:
    """After block 7: `old` is active, `gone` was revoked, and one transaction stands in block 6."""
    members = [
        MemberRecord(member="old", keys=service_keys("old"), status="active", admitted_height=1, admitted_by="1" * 64),
        MemberRecord(
            member="gone",
            keys=service_keys("gone"),
            status="revoked",
            admitted_height=1,
            ended_height=5,
            admitted_by="2" * 64,
        ),
    ]
    return ChainState.restore(
        HEIGHT - 1,
        "7" * 64,
        TIME_MS,
        members=members,
        recent_ids={admit("other", expires=9).id: 6},
        market=(),
        finality=(),
        governance=(),
    )


def refusal(check: Callable[[], object]) -> Code:
    with pytest.raises(InvalidTransaction) as caught:
        check()
    return caught.value.code


def refused_by(state: ChainState, transaction: Transaction) -> Code:
    before = state.snapshot()
    code = refusal(lambda: check_transaction(state, transaction, HEIGHT, TIME_MS, GENESIS))
    assert state.snapshot() == before
    return code


def refused_alone(transaction: Transaction) -> Code:
    return refusal(lambda: SignatureCache(GENESIS).check(transaction))


# against the state


@pytest.mark.parametrize("expires", [HEIGHT, HEIGHT + 1, HEIGHT + AHEAD])
def test_a_transaction_may_expire_from_its_block_on_up_to_the_limit(state: ChainState, expires: int) -> None:
    check_transaction(state, admit("new", expires=expires), HEIGHT, TIME_MS, GENESIS)


def test_an_expired_transaction_is_refused(state: ChainState) -> None:
    assert refused_by(state, admit("new", expires=HEIGHT - 1)) == Code.TX_EXPIRED


def test_an_expiry_too_far_ahead_is_refused(state: ChainState) -> None:
    assert refused_by(state, admit("new", expires=HEIGHT + AHEAD + 1)) == Code.TX_EXPIRY_TOO_FAR


def test_a_transaction_id_occurs_once_per_chain(state: ChainState) -> None:
    assert refused_by(state, admit("other", expires=9)) == Code.TX_DUPLICATE


@pytest.mark.parametrize("member", ["old", "gone"])
def test_a_member_id_is_never_used_twice(state: ChainState, member: str) -> None:
    assert refused_by(state, admit(member, expires=HEIGHT, keys=service_keys("fresh"))) == Code.MEMBER_EXISTS


@pytest.mark.parametrize("owner", ["old", "gone"])
@pytest.mark.parametrize("service", ["wallet", "box", "block", "vote"])
def test_no_key_is_registered_twice_not_even_after_a_revocation(state: ChainState, owner: str, service: str) -> None:
    keys = msgspec.structs.replace(service_keys("new"), **{service: getattr(service_keys(owner), service)})
    assert refused_by(state, admit("new", expires=HEIGHT, keys=keys)) == Code.KEY_REUSED


def test_a_key_does_not_move_between_services(state: ChainState) -> None:
    keys = msgspec.structs.replace(service_keys("new"), block=service_keys("old").vote)
    assert refused_by(state, admit("new", expires=HEIGHT, keys=keys)) == Code.KEY_REUSED


def test_an_active_member_can_be_revoked(state: ChainState) -> None:
    check_transaction(state, revoke("old", expires=HEIGHT), HEIGHT, TIME_MS, GENESIS)


def test_an_unknown_member_can_not_be_revoked(state: ChainState) -> None:
    assert refused_by(state, revoke("nobody", expires=HEIGHT)) == Code.MEMBER_UNKNOWN


def test_a_member_is_revoked_only_once(state: ChainState) -> None:
    assert refused_by(state, revoke("gone", expires=HEIGHT)) == Code.MEMBER_REVOKED


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (admit("new", expires=HEIGHT), admit("new", expires=HEIGHT, keys=service_keys("x")), Code.MEMBER_EXISTS),
        (admit("new", expires=HEIGHT), admit("newer", expires=HEIGHT, keys=service_keys("new")), Code.KEY_REUSED),
        (revoke("old", expires=HEIGHT), revoke("old", expires=HEIGHT, salt="2"), Code.MEMBER_REVOKED),
    ],
)
def test_two_transactions_with_a_common_claim_exclude_each_other(
    state: ChainState, first: Transaction, second: Transaction, code: Code
) -> None:
    assert set(claims_of(first)) & set(claims_of(second))
    apply_transaction(state, first, BlockContext(height=HEIGHT, fills_left=0))
    assert refused_by(state, second) == code


def test_an_admission_and_a_later_revocation_do_not_exclude_each_other() -> None:
    assert not set(claims_of(admit("new"))) & set(claims_of(revoke("new")))


# by itself


def test_a_transaction_of_the_authority_is_valid_by_itself() -> None:
    cache = SignatureCache(GENESIS)
    cache.check(admit("new"))
    cache.check(revoke("new"))


def test_only_the_authority_changes_the_roster(state: ChainState) -> None:
    member = signing_key("old.peer")
    change = Revoke(member="old")
    check_transaction(state, membership(change, expires=9), HEIGHT, TIME_MS, GENESIS)
    assert refused_by(state, membership(change, expires=9, key=member)) == Code.TX_WRONG_SENDER


def test_a_signature_by_somebody_else_is_refused() -> None:
    forged = membership(Revoke(member="new"), expires=5, key=signing_key("old.peer"))
    body = msgspec.structs.replace(forged.body, sender=AUTHORITY.public)
    raw = encode(TransactionForm(body=body, signature=forged.signature))
    assert refused_alone(decode_transaction(raw)) == Code.BAD_SIGNATURE


def test_a_transaction_of_another_network_is_refused() -> None:
    assert refused_alone(membership(Revoke(member="new"), expires=5, network="f" * 32)) == Code.WRONG_NETWORK


def test_the_reserved_id_is_never_admitted() -> None:
    assert refused_alone(admit("consortium")) == Code.BAD_MEMBER_ID


@pytest.mark.parametrize("service", ["wallet", "block", "vote"])
@pytest.mark.parametrize("key", ["00" * 32, "02" + "00" * 31], ids=["small order", "not on the curve"])
def test_every_signing_key_must_be_usable(service: str, key: str) -> None:
    keys = msgspec.structs.replace(service_keys("new"), **{service: key})
    assert refused_alone(admit("new", keys=keys)) == Code.BAD_KEY


def test_the_box_key_must_be_usable() -> None:
    # Coefficients of an ML-KEM key are below 3329 (FIPS 203 section 7.2); all ones are not.
    keys = msgspec.structs.replace(service_keys("new"), box="ff" * 1184 + box_public("new")[-64:])
    assert refused_alone(admit("new", keys=keys)) == Code.BAD_KEY


def test_the_keys_of_a_member_differ_from_each_other() -> None:
    keys = msgspec.structs.replace(service_keys("new"), vote=service_keys("new").wallet)
    assert refused_alone(admit("new", keys=keys)) == Code.KEY_REUSED


@pytest.mark.parametrize("service", ["wallet", "block", "vote"])
def test_no_member_uses_the_key_of_the_authority(service: str) -> None:
    keys = msgspec.structs.replace(service_keys("new"), **{service: AUTHORITY.public})
    assert refused_alone(membership(Admit(member="new", keys=keys), expires=5)) == Code.KEY_REUSED


# the cache of what was judged


def test_a_valid_transaction_is_judged_once() -> None:
    cache = SignatureCache(GENESIS)
    for _ in range(3):
        cache.check(admit("new"))
    assert (cache.misses, cache.hits, len(cache)) == (1, 2, 1)


def test_a_changed_signature_is_not_taken_for_the_one_that_was_judged() -> None:
    cache = SignatureCache(GENESIS)
    good = admit("new")
    cache.check(good)
    raw = encode(TransactionForm(body=good.body, signature="0" * 128))
    forged = decode_transaction(raw)
    assert forged.id == good.id
    assert refusal(lambda: cache.check(forged)) == Code.BAD_SIGNATURE


def test_refusals_are_not_remembered() -> None:
    cache = SignatureCache(GENESIS)
    for _ in range(2):
        assert refusal(lambda: cache.check(admit("consortium"))) == Code.BAD_MEMBER_ID
    assert (cache.misses, len(cache)) == (2, 0)


def test_the_cache_is_bounded_and_forgets_what_was_not_used_longest() -> None:
    cache = SignatureCache(GENESIS, limit=2)
    first, second, third = (revoke(member) for member in "abc")
    for transaction in (first, second, first, third):
        cache.check(transaction)
    assert len(cache) == 2
    cache.check(first)
    assert cache.misses == 3
    cache.check(second)
    assert cache.misses == 4
