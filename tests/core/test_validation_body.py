"""Rules of a block's content, each with its code (minervas_core.validation)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from minervas_core.blocks import Block, assemble_block
from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidBlock
from minervas_core.signature_cache import SignatureCache
from minervas_core.transactions import (
    Revoke,
    Transaction,
    TransactionForm,
    block_order,
    check_signature,
    decode_transaction,
)
from minervas_core.validation import check_block_body, follows_from_hash
from tests.support.builders import (
    AUTHORITY,
    LocalChain,
    admit,
    find_nonce,
    make_draft,
    membership,
    revoke,
    sign_block,
)

LOCAL = LocalChain()


def block_of(transactions: Sequence[Transaction]) -> Block:
    """A block with these transactions in this order."""
    return sign_block(find_nonce(make_draft(LOCAL.tip, transactions, "a", LOCAL.genesis)), transactions)


def check(block: Block) -> None:
    check_block_body(block, SignatureCache(LOCAL.genesis))


def refused(block: Block) -> InvalidBlock:
    with pytest.raises(InvalidBlock) as caught:
        check(block)
    return caught.value


def in_order(transactions: Sequence[Transaction]) -> list[Transaction]:
    return sorted(transactions, key=block_order)


def test_an_empty_block_is_accepted() -> None:
    check(block_of([]))


def test_transactions_in_order_are_accepted() -> None:
    check(block_of(in_order([admit("a"), admit("b"), revoke("c")])))


def test_transactions_out_of_order_are_refused_for_ever() -> None:
    error = refused(block_of(in_order([admit("a"), admit("b"), revoke("c")])[::-1]))
    assert error.code == Code.BLOCK_TX_ORDER
    assert follows_from_hash(error)


def test_a_transaction_that_stands_twice_is_refused() -> None:
    assert refused(block_of([admit("a"), admit("a")])).code == Code.TX_DUPLICATE


def test_content_that_the_header_does_not_name_is_refused_without_judging_the_block() -> None:
    honest = block_of(in_order([admit("a"), admit("b")]))
    for transactions in (honest.transactions[:1], honest.transactions[::-1], [], [*honest.transactions, revoke("c")]):
        error = refused(assemble_block(honest.header, honest.signature, transactions))
        assert error.code == Code.BLOCK_TX_ROOT
        assert not follows_from_hash(error)


def test_a_transaction_with_a_bad_signature_condemns_its_block() -> None:
    good = admit("a")
    forged = decode_transaction(encode(TransactionForm(body=good.body, signature="0" * 128)))
    error = refused(block_of([forged]))
    assert error.code == Code.BAD_SIGNATURE
    assert error.values["tx"] == forged.id
    assert follows_from_hash(error)


@pytest.mark.parametrize(
    ("transaction", "code"),
    [
        (membership(Revoke(member="x"), expires=5, network="f" * 32), Code.WRONG_NETWORK),
        (admit("consortium"), Code.BAD_MEMBER_ID),
    ],
)
def test_a_transaction_that_is_invalid_by_itself_condemns_its_block(transaction: Transaction, code: Code) -> None:
    assert refused(block_of([transaction])).code == code


def test_transactions_seen_before_are_not_verified_again() -> None:
    transactions = in_order([admit("a"), admit("b")])
    signatures = SignatureCache(LOCAL.genesis)
    for transaction in transactions:
        signatures.check(transaction)
    check_block_body(block_of(transactions), signatures)
    assert (signatures.misses, signatures.hits) == (2, 2)


def test_the_builders_sign_validly() -> None:
    check_signature(admit("a"), LOCAL.genesis.network)
    assert admit("a").body.sender == AUTHORITY.public
