"""Changing parameters and the rule version at a height (minervas_core.governance.parameters)."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.audit import replay
from minervas_core.blocks import decode_block
from minervas_core.errors import Code, InvalidTransaction, LocalFault
from minervas_core.genesis import Parameters
from minervas_core.governance.parameters import CHANGEABLE, MAX_SCHEDULED, NOTICE_INTERVALS, first_unknown_height
from minervas_core.mempool import Mempool
from minervas_core.signature_cache import SignatureCache
from minervas_core.state import check_transaction
from minervas_core.template import build_draft
from minervas_core.transactions import Transaction
from tests.support.builders import FAR_FUTURE_MS, TINY, LocalChain, admit, bid, find_nonce, sign_block, signing_key
from tests.support.governance import change_parameters

ROOMY = msgspec.structs.replace(TINY, max_expiry_blocks=1_000, diversity_per_mille=0, vote_interval=2)
"""Blocks by anybody, and changes that apply six blocks later."""

NOTICE = NOTICE_INTERVALS * ROOMY.vote_interval
EXPIRES = 900


def chain(parameters: Parameters = ROOMY) -> LocalChain:
    """At height 1, with members a, b and c."""
    local = LocalChain(parameters)
    local.found("a", "b", "c")
    return local


def refused(local: LocalChain, transaction: Transaction) -> Code:
    """The code under which the next block would be refused that carries a transaction."""
    state, height = local.chain.state, local.tip.height + 1
    with pytest.raises(InvalidTransaction) as caught:
        check_transaction(state, transaction, height, local.tip.time_ms + 1, local.genesis)
    return caught.value.code


def refused_alone(transaction: Transaction) -> Code:
    with pytest.raises(InvalidTransaction) as caught:
        SignatureCache(chain().genesis).check(transaction)
    return caught.value.code


def grow_to(local: LocalChain, height: int) -> None:
    while local.tip.height < height:
        local.extend("a")


def change(local: LocalChain, changes: dict[str, int | str], *, rule_version: int = 0) -> int:
    """Mine a change that applies as soon as possible; returns the height from which on it does."""
    height = local.tip.height + 1 + NOTICE
    local.extend("a", [change_parameters(height, changes, rule_version=rule_version, expires=EXPIRES)])
    return height


# what may be changed


def test_what_headers_are_judged_by_stays() -> None:
    fixed = set(Parameters.__struct_fields__) - CHANGEABLE
    assert {"block_interval_ms", "min_difficulty", "lwma_window", "vote_interval", "max_expiry_blocks"} <= fixed
    for name in fixed:
        assert refused_alone(change_parameters(50, {name: 7})) == Code.PARAMETER_FIXED


def test_everything_else_can_be_changed() -> None:
    defaults = msgspec.to_builtins(Parameters())
    SignatureCache(chain().genesis).check(change_parameters(50, {name: defaults[name] for name in CHANGEABLE}))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"colour": 3}, Code.PARAMETER_UNKNOWN),
        ({"slot_ms": 0}, Code.PARAMETER_VALUE),
        ({"slot_ms": "900000"}, Code.PARAMETER_VALUE),
        ({"market_mode": "lottery"}, Code.PARAMETER_VALUE),
        ({"max_block_bytes": 1_000_001}, Code.PARAMETER_VALUE),
        ({"max_block_transactions": 1_501}, Code.PARAMETER_VALUE),
        ({"max_lots_per_offer": 101}, Code.PARAMETER_VALUE),
    ],
)
def test_names_and_bounds_are_those_of_genesis(changes: dict[str, int | str], code: Code) -> None:
    assert refused_alone(change_parameters(50, changes)) == code


def test_only_the_authority_changes_parameters() -> None:
    local = chain()
    assert refused(local, change_parameters(50, {"slot_ms": 7}, key=signing_key("a.peer"))) == Code.TX_WRONG_SENDER


def test_a_change_is_announced_ahead_so_that_it_can_be_final_before_it_applies() -> None:
    local = chain()
    earliest = local.tip.height + 1 + NOTICE
    assert refused(local, change_parameters(earliest - 1, {"slot_ms": 7})) == Code.PARAMETERS_NOTICE
    local.extend("a", [change_parameters(earliest, {"slot_ms": 7})])


def test_only_so_many_changes_wait() -> None:
    local = chain()
    heights = [100 + number for number in range(MAX_SCHEDULED + 1)]
    local.extend("a", [change_parameters(each, {"slot_ms": 7}, expires=EXPIRES) for each in heights[:-1]])
    assert refused(local, change_parameters(heights[-1], {"slot_ms": 7})) == Code.PARAMETERS_LIMIT
    local.extend("a", [change_parameters(heights[0], {"slot_ms": 8}, expires=EXPIRES)])


# when it applies


def test_the_block_at_the_height_is_the_first_that_is_judged_by_it() -> None:
    local = chain()
    height = change(local, {"max_block_transactions": 2, "slot_ms": 20_000})
    grow_to(local, height - 2)
    local.extend("a", [admit(each, expires=EXPIRES) for each in "def"])
    three = local.mine("a", [admit(each, expires=EXPIRES) for each in "ghi"])
    outcome = local.receive(three)
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_TX_COUNT
    assert local.chain.parameters == msgspec.structs.replace(ROOMY, max_block_transactions=2, slot_ms=20_000)
    local.extend("a", [admit(each, expires=EXPIRES) for each in "gh"])


def test_a_higher_limit_applies_as_well() -> None:
    local = chain(msgspec.structs.replace(ROOMY, max_block_transactions=3))
    height = change(local, {"max_block_transactions": 5})
    grow_to(local, height - 1)
    local.extend("a", [admit(each, expires=EXPIRES) for each in "defgh"])


def test_changes_of_different_heights_add_up() -> None:
    local = chain()
    first = change(local, {"slot_ms": 20_000, "smallest_order_wh": 5})
    second = change(local, {"slot_ms": 30_000})
    grow_to(local, first - 1)
    assert (local.chain.parameters.slot_ms, local.chain.parameters.smallest_order_wh) == (20_000, 5)
    grow_to(local, second - 1)
    assert (local.chain.parameters.slot_ms, local.chain.parameters.smallest_order_wh) == (30_000, 5)


def test_a_later_transaction_for_the_same_height_replaces_the_earlier() -> None:
    local = chain()
    local.extend("a", [change_parameters(50, {"slot_ms": 7, "idle_intervals": 3}, expires=EXPIRES)])
    local.extend("a", [change_parameters(50, {"slot_ms": 8}, expires=EXPIRES)])
    grow_to(local, 49)
    assert (local.chain.parameters.slot_ms, local.chain.parameters.idle_intervals) == (8, TINY.idle_intervals)


def test_an_empty_change_takes_one_back_and_nothing_else() -> None:
    local = chain()
    assert refused(local, change_parameters(50)) == Code.PARAMETERS_EMPTY
    local.extend("a", [change_parameters(50, {"slot_ms": 7}, expires=EXPIRES)])
    local.extend("a", [change_parameters(50, expires=EXPIRES)])
    grow_to(local, 50)
    assert local.chain.parameters == ROOMY
    assert local.chain.state.governance.scheduled() == {}


def test_the_market_is_judged_by_the_parameters_in_force() -> None:
    local = chain()
    height = change(local, {"smallest_order_wh": 100, "max_open_orders": 1})
    grow_to(local, height - 2)
    local.extend("a", [bid("a", 50, 1)])
    assert refused(local, bid("b", 99, 1)) == Code.ORDER_TOO_SMALL
    assert refused(local, bid("a", 100, 1)) == Code.ORDER_LIMIT
    pool = Mempool(local.genesis, local.chain.signatures)
    pool.add(bid("b", 100, 1), local.chain.state, FAR_FUTURE_MS)
    with pytest.raises(InvalidTransaction) as caught:
        pool.add(bid("b", 101, 1, salt="one more"), local.chain.state, FAR_FUTURE_MS)
    assert caught.value.code == Code.ORDER_LIMIT


def test_who_may_mine_is_judged_by_the_parameters_in_force() -> None:
    local = chain()
    height = change(local, {"diversity_per_mille": 1_000})
    grow_to(local, height - 1)
    assert not local.chain.may_mine("a", local.tip.time_ms + 1_000)
    outcome = local.receive(local.mine("a"))
    assert outcome.error is not None
    assert outcome.error.code == Code.BLOCK_MINER_TOO_SOON
    local.extend("b")


def test_a_template_holds_as_much_as_the_parameters_in_force_allow() -> None:
    local = chain()
    height = change(local, {"max_block_transactions": 2})
    pool = Mempool(local.genesis, local.chain.signatures)
    for member in "defg":
        pool.add(admit(member, expires=EXPIRES), local.chain.state, FAR_FUTURE_MS)
    grow_to(local, height - 1)
    content = build_draft(local.chain, pool, (), "a", local.tip.time_ms + 1_000)
    assert len(content.transactions) == 2
    assert local.receive(sign_block(find_nonce(content.draft), content.transactions)).status == "connected"


# over reorganisations and restarts


def test_a_reorganisation_takes_a_change_back_exactly() -> None:
    local = chain()
    fork = local.tip
    height = change(local, {"slot_ms": 7})
    grow_to(local, height + 1)
    assert local.chain.parameters.slot_ms == 7
    side = local.mine("b", on=fork)
    for _ in range(height + 2 - fork.height):
        local.receive(side)
        side = local.mine("b", on=side)
    assert local.chain.parameters == ROOMY
    assert local.chain.state.governance.rows() == []


def test_a_replay_yields_the_same_parameters() -> None:
    local = chain()
    height = change(local, {"slot_ms": 7})
    grow_to(local, height)
    raws = [local.store.blocks[node.hash] for node in local.tip.blocks()][::-1]
    last = list(replay(local.genesis, raws))[-1]
    assert last.state.snapshot() == local.chain.state.snapshot()


# rule versions


def test_rule_versions_only_rise() -> None:
    local = chain()
    assert refused(local, change_parameters(50, rule_version=1)) == Code.RULE_VERSION_ORDER
    local.extend("a", [change_parameters(50, rule_version=3, expires=EXPIRES)])
    assert refused(local, change_parameters(60, rule_version=3)) == Code.RULE_VERSION_ORDER
    assert refused(local, change_parameters(40, rule_version=3)) == Code.RULE_VERSION_ORDER
    local.extend("a", [change_parameters(40, rule_version=2, expires=EXPIRES)])


def test_a_block_under_unknown_rules_is_neither_connected_nor_refused() -> None:
    local = chain()
    height = change(local, {}, rule_version=2)
    assert first_unknown_height(local.chain.state.governance) == height
    grow_to(local, height - 1)
    assert first_unknown_height(local.chain.state.governance) == height
    beyond = local.mine("a")
    for _ in range(3):
        outcome = local.receive(beyond)
        assert (outcome.status, outcome.error) == ("side_branch", None)
        assert local.tip.height == height - 1
        beyond = local.mine("a", on=beyond)


def test_a_branch_is_followed_up_to_the_first_block_under_unknown_rules() -> None:
    """The winning branch arrives from its end, as orphans do."""
    local, other = chain(), chain()
    height = change(other, {}, rule_version=2)
    grow_to(other, height - 1)
    branch = [other.chain.tree.main_at(each) for each in range(2, height)]
    blocks = [other.store.blocks[node.hash] for node in branch if node is not None]
    local.extend("c")
    beyond = other.mine("a")
    local.receive(beyond)
    for raw in reversed(blocks):
        local.receive(decode_block(raw))
    assert local.tip.hash == other.tip.hash
    assert local.chain.tree.get(beyond.hash) is not None


def test_nothing_is_mined_under_unknown_rules() -> None:
    local = chain()
    height = change(local, {}, rule_version=2)
    grow_to(local, height - 1)
    assert not local.chain.may_mine("b", local.tip.time_ms + 1_000)
    with pytest.raises(LocalFault) as caught:
        build_draft(local.chain, Mempool(local.genesis, local.chain.signatures), (), "b", local.tip.time_ms + 1_000)
    assert caught.value.code == Code.SOFTWARE_TOO_OLD


def test_a_newer_software_goes_on_where_the_older_one_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    local = chain()
    height = change(local, {}, rule_version=2)
    grow_to(local, height - 1)
    beyond = local.mine("a")
    local.receive(beyond)
    monkeypatch.setattr("minervas_core.governance.parameters.RULE_VERSION", 2)
    assert local.receive(beyond).change is not None
    assert local.tip.hash == beyond.hash
    local.extend("b")
    assert first_unknown_height(local.chain.state.governance) == 0


def test_an_audit_with_too_old_software_says_so() -> None:
    local = chain()
    height = change(local, {}, rule_version=2)
    grow_to(local, height - 1)
    raws = [local.store.blocks[node.hash] for node in local.tip.blocks()][::-1]
    with pytest.raises(LocalFault) as caught:
        list(replay(local.genesis, [*raws, local.mine("a").raw]))
    assert caught.value.code == Code.SOFTWARE_TOO_OLD
