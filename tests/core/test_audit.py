"""A replay from genesis finds what does not follow (minervas_core.audit)."""

from __future__ import annotations

import pytest

from minervas_core.audit import replay
from minervas_core.blocks import assemble_block, decode_block
from minervas_core.errors import Code, InvalidBlock, InvalidEncoding
from minervas_core.roster import roster_hash
from tests.support.builders import LocalChain, admit, altered, make_genesis, revoke, sign_block


@pytest.fixture(scope="module")
def local() -> LocalChain:
    made = LocalChain()
    made.found("a", "b", "c")
    made.extend("b", [admit("d")])
    made.extend("c", [revoke("a")])
    made.extend("d")
    return made


@pytest.fixture
def raws(local: LocalChain) -> list[bytes]:
    return [local.store.blocks[node.hash] for node in local.tip.blocks()][::-1]


def refused(local: LocalChain, raws: list[bytes]) -> tuple[int, Code]:
    """How many blocks pass, and what the next one is refused with."""
    passed: list[int] = []
    with pytest.raises((InvalidBlock, InvalidEncoding)) as caught:
        passed.extend(each.height for each in replay(local.genesis, raws))
    return len(passed), caught.value.code


def test_a_chain_replays_to_its_state_with_the_stored_undo_data(local: LocalChain, raws: list[bytes]) -> None:
    heights, roster_hashes = [], []
    for each in replay(local.genesis, raws):
        heights.append(each.height)
        roster_hashes.append(roster_hash(each.state.roster))
        assert each.undo == local.store.undo[each.block.hash]
        assert each.state.tip_hash == each.block.hash
    assert heights == [1, 2, 3, 4]
    assert len(set(roster_hashes)) == 3
    assert each.work == local.tip.work
    assert each.state.snapshot() == local.chain.state.snapshot()


def test_an_empty_chain_replays_to_nothing(local: LocalChain) -> None:
    assert list(replay(local.genesis, [])) == []


def test_a_missing_block_is_found(local: LocalChain, raws: list[bytes]) -> None:
    assert refused(local, [raws[0], raws[2]]) == (1, Code.BLOCK_UNKNOWN_PARENT)
    assert refused(local, raws[1:]) == (0, Code.BLOCK_UNKNOWN_PARENT)


def test_a_changed_byte_is_found(local: LocalChain, raws: list[bytes]) -> None:
    changed = raws[2].replace(b'"miner":"c"', b'"miner":"b"')
    assert refused(local, [*raws[:2], changed, raws[3]]) in {(2, Code.BLOCK_WORK), (2, Code.BLOCK_SIGNATURE)}
    assert refused(local, [*raws[:2], raws[2] + b" "]) == (2, Code.NOT_CANONICAL)


def test_a_header_that_does_not_follow_is_found(local: LocalChain, raws: list[bytes]) -> None:
    block = decode_block(raws[3])
    harder = altered(block, difficulty=block.header.difficulty + 1)
    assert refused(local, [*raws[:3], harder.raw]) == (3, Code.BLOCK_DIFFICULTY)


def test_exchanged_content_is_found(local: LocalChain, raws: list[bytes]) -> None:
    block = decode_block(raws[1])
    emptied = assemble_block(block.header, block.signature, [])
    assert refused(local, [raws[0], emptied.raw]) == (1, Code.BLOCK_TX_ROOT)


def test_a_wrong_signature_is_found(local: LocalChain, raws: list[bytes]) -> None:
    block = decode_block(raws[3])
    assert refused(local, [*raws[:3], sign_block(block.header, [], signer="a").raw]) == (3, Code.BLOCK_SIGNATURE)


def test_a_block_of_a_revoked_member_is_found(local: LocalChain, raws: list[bytes]) -> None:
    block = altered(decode_block(raws[3]), miner="a")
    assert refused(local, [*raws[:3], block.raw]) == (3, Code.BLOCK_MINER_UNKNOWN)


def test_the_chain_of_another_genesis_is_found(raws: list[bytes]) -> None:
    with pytest.raises(InvalidBlock) as caught:
        next(replay(make_genesis(name="Another consortium"), raws))
    assert caught.value.code == Code.BLOCK_UNKNOWN_PARENT
