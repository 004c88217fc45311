"""Whose signature peers take for the authority's, before and after its key is replaced (spec/governance.md)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from minervas_core.errors import Code, PeerFault
from minervas_core.keys import SigningKey
from minervas_core.messages import MAX_HELLO_BYTES, MAX_HELLO_TRANSACTIONS
from minervas_peer.authority_keys import AuthorityKeys
from minervas_peer.membership_proof import MAX_SHOWN_AUTHORITIES, prove_keys, prove_membership, worth_showing
from tests.support.peer import Consortium, Member, replace_authority, seed

CONSORTIUM = Consortium()
GENESIS = CONSORTIUM.genesis
OLD = CONSORTIUM.authority
FIRST, SECOND = (SigningKey(seed(f"authority {number}")) for number in range(2))


def replace(new: SigningKey, previous: SigningKey, *, approving: SigningKey | None = None) -> bytes:
    return replace_authority(GENESIS, previous, new, approving=approving)


def admitted_by(key: SigningKey) -> Member:
    return CONSORTIUM.member("anna", authority=key)


def trusted(*issued: bytes, tip: str = "") -> frozenset[str]:
    keys = AuthorityKeys(GENESIS, issued)
    keys.tell_tip(tip)
    return keys.trusted


def refused(*shown: bytes, by: frozenset[str] | None = None) -> Code:
    with pytest.raises(PeerFault) as caught:
        prove_keys("anna", shown, GENESIS, trusted() if by is None else by)
    return caught.value.code


# what a member shows


def test_a_newcomer_follows_the_changes_of_the_key_from_genesis_to_whoever_admitted_the_member() -> None:
    anna = admitted_by(SECOND)
    chain = [replace(FIRST, OLD), replace(SECOND, FIRST)]
    proof = prove_keys("anna", [*chain, anna.admit.raw], GENESIS, trusted())
    assert proof.keys == anna.keys
    assert refused(anna.admit.raw) == Code.TX_WRONG_SENDER
    assert refused(chain[0], anna.admit.raw) == Code.TX_WRONG_SENDER
    assert refused(chain[1], anna.admit.raw) == Code.AUTHORITY_NOT_CURRENT
    assert refused(anna.admit.raw, *chain) == Code.TX_WRONG_SENDER, "the changes stand before what they prove"


def test_a_change_that_the_old_key_did_not_sign_proves_nothing_without_the_chain() -> None:
    anna = admitted_by(FIRST)
    wallet = SigningKey(seed("a wallet of nobody"))
    recovery = replace(FIRST, OLD, approving=wallet)
    assert refused(recovery, anna.admit.raw) == Code.AUTHORITY_APPROVALS
    assert prove_keys("anna", [recovery, anna.admit.raw], GENESIS, trusted(tip=FIRST.public)).keys == anna.keys


def test_a_change_with_a_wrong_signature_is_refused() -> None:
    raw = replace(FIRST, OLD).replace(b'"salt":"00', b'"salt":"01')
    assert refused(raw, admitted_by(FIRST).admit.raw) == Code.BAD_SIGNATURE


# what we know ourselves


def test_at_first_the_key_of_genesis_counts() -> None:
    assert trusted() == {OLD.public}


def test_what_admission_granted_counts_even_if_the_members_replaced_a_lost_key() -> None:
    granted = [replace(FIRST, OLD, approving=SigningKey(seed("w"))), replace(SECOND, FIRST)]
    assert trusted(*granted) == {OLD.public, FIRST.public, SECOND.public}
    anna = admitted_by(SECOND)
    assert prove_membership("anna", [*granted, anna.admit.raw], GENESIS) == anna.keys


def test_a_grant_with_a_change_of_another_key_proves_nothing() -> None:
    anna = admitted_by(SECOND)
    with pytest.raises(PeerFault):
        prove_membership("anna", [replace(SECOND, FIRST), anna.admit.raw], GENESIS)


def test_the_key_on_our_tip_ends_the_trust_in_those_before() -> None:
    granted = [replace(FIRST, OLD), replace(SECOND, FIRST)]
    assert trusted(*granted, tip=FIRST.public) == {FIRST.public, SECOND.public}
    assert trusted(*granted, tip=SECOND.public) == {SECOND.public}
    assert trusted(tip=SECOND.public) == {SECOND.public}
    assert refused(admitted_by(OLD).admit.raw, by=trusted(tip=FIRST.public)) == Code.TX_WRONG_SENDER


# what a Hello shows


def test_a_hello_shows_the_newest_changes_before_the_admission() -> None:
    keys = [OLD, *(SigningKey(seed(f"key {number}")) for number in range(MAX_SHOWN_AUTHORITIES + 2))]
    chain = [replace(new, previous) for previous, new in pairwise(keys)]
    anna = admitted_by(keys[-1])
    shown = worth_showing([*chain, anna.admit.raw])
    assert shown == (*chain[-MAX_SHOWN_AUTHORITIES:], anna.admit.raw)
    assert len(shown) <= MAX_HELLO_TRANSACTIONS
    assert sum(map(len, shown)) < MAX_HELLO_BYTES // 4


def test_a_hello_shows_only_what_came_after_a_replacement_without_the_old_key() -> None:
    recovery, after = replace(FIRST, OLD, approving=SigningKey(seed("w"))), replace(SECOND, FIRST)
    anna = admitted_by(SECOND)
    assert worth_showing([recovery, after, anna.admit.raw]) == (after, anna.admit.raw)
