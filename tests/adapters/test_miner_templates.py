"""A miner refuses templates that cannot be right, with a stable code."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from minervas_core.errors import Code, InvalidBlock
from minervas_core.genesis import Genesis
from minervas_miner.template_check import check_template
from tests.support.miner import EASY, MEMBER, make_genesis, make_template

OTHER_HASH = "ab" * 32


@pytest.fixture(scope="module")
def genesis() -> Genesis:
    return make_genesis()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version": 2}, Code.BLOCK_VERSION),
        ({"network": "6" * 32}, Code.WRONG_NETWORK),
        ({"miner": "haenam-farm"}, Code.BLOCK_MINER_UNKNOWN),
        ({"height": 2}, Code.BLOCK_UNKNOWN_PARENT),
        ({"prev": OTHER_HASH}, Code.BLOCK_UNKNOWN_PARENT),
        ({"difficulty": EASY - 1}, Code.BLOCK_DIFFICULTY),
        ({"difficulty": EASY + 1}, Code.BLOCK_DIFFICULTY),
    ],
)
def test_wrong_draft_is_refused(genesis: Genesis, changes: dict[str, Any], code: Code) -> None:
    with pytest.raises(InvalidBlock) as refusal:
        check_template(make_template(genesis, **changes), genesis, MEMBER)
    assert refusal.value.code == code


def test_difficulty_below_the_floor_is_refused_after_the_first_blocks() -> None:
    body = make_genesis().body
    parameters = msgspec.structs.replace(body.parameters, min_difficulty=50)
    genesis = Genesis(msgspec.structs.replace(body, parameters=parameters), OTHER_HASH, b"")
    later: dict[str, Any] = {"height": parameters.lwma_window + 1, "prev": "cd" * 32}
    check_template(make_template(genesis, **later, difficulty=50), genesis, MEMBER)
    with pytest.raises(InvalidBlock) as refusal:
        check_template(make_template(genesis, **later, difficulty=49), genesis, MEMBER)
    assert refusal.value.code == Code.BLOCK_DIFFICULTY


@pytest.mark.parametrize("field", ["give_up_ms", "retime_ms"])
def test_search_without_end_or_renewal_is_refused(genesis: Genesis, field: str) -> None:
    template = msgspec.structs.replace(make_template(genesis), **{field: 0})
    with pytest.raises(InvalidBlock) as refusal:
        check_template(template, genesis, MEMBER)
    assert refusal.value.code == Code.WRONG_SHAPE


def test_right_template_is_accepted(genesis: Genesis) -> None:
    check_template(make_template(genesis), genesis, MEMBER)
