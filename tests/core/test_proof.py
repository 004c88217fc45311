"""Proofs for outsiders: what they show, and that nothing altered or left out passes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from minervas_core.blocks import Block
from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.proof import (
    FORMAT,
    MAX_LINE_BYTES,
    ProofBlock,
    ProofCheck,
    ProofHead,
    ProofSubject,
    Proven,
    block_part,
    subject_part,
)
from minervas_core.transactions import Transaction
from tests.support.builders import admit, make_genesis, revoke
from tests.support.membership import recover, rotate, veto
from tests.support.voting import INTERVAL, VOTING, VotingChain

MEMBERS = ("a", "b", "c", "d")


class Shown:
    """A proof in parts, which a test may spoil."""

    def __init__(self, chain: VotingChain, about: int, index: int = 0) -> None:
        self.genesis: Genesis = chain.genesis
        blocks = [block_at(chain, height) for height in range(1, chain.tip.height + 1)]
        self.head = ProofHead(
            format=FORMAT, network=chain.genesis.network, genesis=chain.genesis.hash, blocks=len(blocks)
        )
        self.blocks = [block_part(block) for block in blocks]
        self.transaction = blocks[about - 1].transactions[index]
        self.subject = subject_part(blocks[about - 1], self.transaction.id)

    def check(self) -> Proven:
        """Judge it as a reader does, from bytes."""
        head = decode(encode(self.head), ProofHead, max_bytes=MAX_LINE_BYTES)
        check = ProofCheck(self.genesis, head)
        for block in self.blocks:
            check.add(decode(encode(block), ProofBlock, max_bytes=MAX_LINE_BYTES))
        return check.conclude(decode(encode(self.subject), ProofSubject, max_bytes=MAX_LINE_BYTES))

    def change(self, height: int, **fields: object) -> None:
        """Exchange fields of a block's line."""
        self.blocks[height - 1] = msgspec.structs.replace(self.blocks[height - 1], **fields)


@pytest.fixture
def chain() -> VotingChain:
    """Four members; a fifth is admitted and one is revoked on the way; the first checkpoint is final."""
    chain = VotingChain(MEMBERS)
    chain.extend("a", [admit("e", expires=900)])
    chain.justify(0, INTERVAL)
    chain.extend("b", [revoke("d", expires=900)])
    chain.justify(INTERVAL, 2 * INTERVAL, ("a", "b", "c", "e"))
    return chain


def block_at(chain: VotingChain, height: int) -> Block:
    node = chain.chain.tree.main_at(height)
    assert node is not None
    return chain.chain._stored(node)


@pytest.fixture
def shown(chain: VotingChain) -> Shown:
    return Shown(chain, 2)


def refused(check: Callable[[], object]) -> Code:
    with pytest.raises(PeerFault) as caught:
        check()
    return caught.value.code


def test_a_proof_shows_a_final_transaction_its_block_and_the_members(shown: Shown, chain: VotingChain) -> None:
    proven = shown.check()
    assert (proven.transaction.id, proven.height) == (shown.transaction.id, 2)
    assert proven.block == block_at(chain, 2).hash
    assert (proven.final_height, proven.final_block) == (chain.head.final.height, chain.head.final.hash)
    assert proven.work == chain.tip.work
    assert proven.members == ("a", "b", "c", "e")


def test_every_transaction_of_a_block_can_be_the_subject(chain: VotingChain) -> None:
    for index in range(len(MEMBERS)):
        shown = Shown(chain, 1, index)
        assert shown.check().transaction.id == shown.transaction.id


def test_a_block_above_the_last_final_one_is_not_proven(chain: VotingChain) -> None:
    chain.extend("c", [admit("f", expires=900)])
    assert refused(Shown(chain, chain.tip.height).check) == Code.PROOF_NOT_FINAL


def test_a_proof_of_another_consortium_is_refused(shown: Shown) -> None:
    shown.genesis = make_genesis(name="Another consortium")
    assert refused(shown.check) == Code.WRONG_NETWORK


@pytest.mark.parametrize("announced", [-1, 1])
def test_as_many_blocks_as_announced(shown: Shown, announced: int) -> None:
    shown.head = msgspec.structs.replace(shown.head, blocks=shown.head.blocks + announced)
    assert refused(shown.check) == Code.PROOF_INCOMPLETE


def test_a_subject_above_the_shown_blocks_is_refused(shown: Shown) -> None:
    shown.subject = msgspec.structs.replace(shown.subject, height=shown.head.blocks + 1)
    assert refused(shown.check) == Code.PROOF_INCOMPLETE


def test_a_subject_that_is_not_in_its_block_is_refused(shown: Shown) -> None:
    shown.subject = msgspec.structs.replace(shown.subject, height=1)
    assert refused(shown.check) == Code.PROOF_PATH


def test_a_block_left_out_is_refused(shown: Shown) -> None:
    del shown.blocks[2]
    assert refused(shown.check) == Code.BLOCK_UNKNOWN_PARENT


def test_a_vote_left_out_is_refused(shown: Shown) -> None:
    height = next(number for number, block in enumerate(shown.blocks, 1) if block.votes)
    shown.change(height, votes=shown.blocks[height - 1].votes[1:])
    assert refused(shown.check) == Code.BLOCK_VOTES_ROOT


def test_an_admission_left_out_leaves_its_member_unknown(shown: Shown) -> None:
    members = [each for each in shown.blocks[0].members if b'"member":"a"' not in bytes(each.transaction)]
    shown.change(1, members=members)
    assert refused(shown.check) == Code.BLOCK_MINER_UNKNOWN


def test_an_admission_that_the_block_does_not_carry_is_refused(shown: Shown) -> None:
    [stranger] = block_part(_carrying(admit("x", expires=900))).members
    shown.change(2, members=[*shown.blocks[1].members, stranger])
    assert refused(shown.check) == Code.PROOF_PATH


def test_a_header_without_its_work_is_refused(shown: Shown) -> None:
    header = msgspec.structs.replace(shown.blocks[1].header, difficulty=10**15)
    shown.change(2, header=header)
    assert refused(shown.check) == Code.BLOCK_DIFFICULTY


def test_a_block_that_its_miner_did_not_sign_is_refused(shown: Shown) -> None:
    shown.change(2, signature="00" * 64)
    assert refused(shown.check) == Code.BLOCK_SIGNATURE


def test_a_transaction_that_the_block_does_not_carry_has_no_proof(chain: VotingChain) -> None:
    with pytest.raises(KeyError):
        subject_part(block_at(chain, INTERVAL), "ab" * 32)


def _carrying(*transactions: Transaction) -> Block:
    chain = VotingChain()
    return chain.mine("a", transactions)


def test_a_proof_shows_vetoes_for_without_them_a_recovery_would_take_effect() -> None:
    chain = VotingChain(MEMBERS, parameters=msgspec.structs.replace(VOTING, recovery_wait_ms=1))
    asked = recover("d", "d2", expires=900)
    chain.extend("a", [asked])
    chain.extend("b", [veto("d", asked, expires=900)])
    chain.extend("c", [rotate("d", "d3", "wallet", expires=900)])
    chain.justify(0, INTERVAL)
    chain.justify(INTERVAL, 2 * INTERVAL)
    shown = Shown(chain, 1)
    assert shown.check().members == MEMBERS
    shown.change(3, members=[])
    assert refused(shown.check) == Code.BAD_CONSENT
