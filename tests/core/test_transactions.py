"""Transactions by themselves: form, id, signature, order."""

from __future__ import annotations

import hashlib
import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidEncoding, InvalidTransaction
from minervas_core.keys import signing_bytes
from minervas_core.transactions import (
    KNOWN_TYPES,
    MAX_TRANSACTION_BYTES,
    Membership,
    Revoke,
    TransactionBody,
    block_order,
    check_signature,
    decode_transaction,
)
from tests.support.examples import examples
from tools.vectors.document_cases import changed, put
from tools.vectors.fixtures import ADMISSIONS, AUTHORITY, KIM, NETWORK, OTHER_NETWORK, REVOCATION, membership
from tools.vectors.governance_samples import AUTHORITY_CHANGE, PARAMETERS_CHANGE
from tools.vectors.market_fixtures import FIRST_STATEMENT


def test_a_transaction_decodes_as_it_was_signed() -> None:
    for transaction in (*ADMISSIONS, REVOCATION):
        again = decode_transaction(transaction.raw)
        assert again == transaction
        assert again.kind == "membership"
        check_signature(again, NETWORK)


def test_the_id_is_the_hash_of_the_signed_bytes() -> None:
    signed = signing_bytes("transaction", NETWORK, encode(REVOCATION.body))
    assert REVOCATION.id == hashlib.sha256(signed).hexdigest()


def test_another_signature_does_not_make_another_id() -> None:
    """So nobody can enter one transaction under two ids; that the signature is right is judged apart."""
    forged = decode_transaction(changed(REVOCATION.raw, put("signature", value="00" * 64)))
    assert forged.id == REVOCATION.id
    with pytest.raises(InvalidTransaction) as refused:
        check_signature(forged, NETWORK)
    assert refused.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("field", [name for name in Membership.__struct_fields__ if name != "change"])
def test_every_field_of_the_body_changes_the_id(field: str) -> None:
    value: object = 7 if field == "expires_height" else "00" * (len(getattr(REVOCATION.body, field)) // 2)
    other = decode_transaction(changed(REVOCATION.raw, put("body", field, value=value)))
    assert other.id != REVOCATION.id


def test_the_salt_tells_two_equal_transactions_apart() -> None:
    one, two = (membership(Revoke(member=KIM.member), name) for name in ("one", "two"))
    assert one.id != two.id


def test_a_transaction_of_another_network_is_refused() -> None:
    with pytest.raises(InvalidTransaction) as refused:
        check_signature(REVOCATION, OTHER_NETWORK)
    assert refused.value.code is Code.WRONG_NETWORK


def test_known_types_are_those_that_decode() -> None:
    assert {kind.__struct_config__.tag for kind in get_args(TransactionBody)} == KNOWN_TYPES


@pytest.mark.parametrize("kind", ["refund", "", "Membership", "x" * 10_000])
def test_a_type_that_does_not_exist_says_so(kind: str) -> None:
    with pytest.raises(InvalidEncoding) as refused:
        decode_transaction(changed(REVOCATION.raw, put("body", "type", value=kind)))
    assert refused.value.code is Code.UNKNOWN_TYPE
    assert len(str(refused.value.values["type"])) <= 64


@given(start=st.integers(0, len(REVOCATION.raw)), length=st.integers(0, 4), inserted=st.binary(max_size=4))
@settings(max_examples=examples(200))
def test_no_damaged_transaction_is_valid(start: int, length: int, inserted: bytes) -> None:
    """Not even one that decodes again: neither bytes nor content can be exchanged."""
    bad = REVOCATION.raw[:start] + inserted + REVOCATION.raw[start + length :]
    if bad == REVOCATION.raw:
        return
    with pytest.raises((InvalidEncoding, InvalidTransaction)):
        check_signature(decode_transaction(bad), NETWORK)


@given(st.binary(max_size=300))
@settings(max_examples=examples(200))
def test_any_bytes_are_refused_as_a_transaction(data: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        decode_transaction(data)


def test_size_is_limited() -> None:
    with pytest.raises(InvalidEncoding) as refused:
        decode_transaction(REVOCATION.raw + b" " * MAX_TRANSACTION_BYTES)
    assert refused.value.code is Code.TOO_LARGE


def test_an_admission_is_far_below_the_limit() -> None:
    assert all(len(transaction.raw) < MAX_TRANSACTION_BYTES // 8 for transaction in ADMISSIONS)


def test_transactions_of_a_group_stand_by_id() -> None:
    in_order = sorted(ADMISSIONS, key=block_order)
    assert [transaction.id for transaction in in_order] == sorted(transaction.id for transaction in ADMISSIONS)
    assert len({block_order(transaction)[0] for transaction in ADMISSIONS}) == 1


def test_a_new_authority_key_stands_before_all_else() -> None:
    ranks = [block_order(each)[0] for each in (AUTHORITY_CHANGE, REVOCATION, FIRST_STATEMENT, PARAMETERS_CHANGE)]
    assert ranks == sorted(set(ranks))


def test_a_member_can_not_sign_as_the_authority() -> None:
    """The sender is part of what is signed: the authority's name under another signature is refused."""
    body = REVOCATION.body
    document = {"body": json.loads(encode(body)), "signature": KIM.wallet.sign("transaction", NETWORK, encode(body))}
    forged = decode_transaction(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    assert forged.body.sender == AUTHORITY.public
    with pytest.raises(InvalidTransaction):
        check_signature(forged, NETWORK)
