"""The ledger over the bus: what peer and miner hand in and ask, and what they are told."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.blocks import Block, decode_block
from minervas_core.encoding import Record, decode, encode
from minervas_core.errors import Code, MinervasError
from minervas_core.messages import (
    MAX_PRESENCE_BYTES,
    Bodies,
    GetBodies,
    GetHeaders,
    GetTransactionStatus,
    Headers,
    Presence,
    TransactionStatuses,
)
from minervas_core.node_messages import (
    Abandoned,
    AbandonedSearch,
    AbandonedSearches,
    BlockDetail,
    BlockSummaries,
    DeliverBlock,
    GetAbandoned,
    GetBlock,
    GetBlocks,
    GetRoster,
    GetSideBranches,
    GetTransaction,
    Roster,
    SearchProgress,
    SideBranches,
    Stored,
    Submit,
    Template,
    TransactionDetail,
)
from minervas_core.topics import mesh
from minervas_core.transactions import TransactionForm
from minervas_core.tree import HeaderNode
from minervas_ledger import templates
from minervas_runtime.node_link import RemoteFault
from tests.support.builders import FAR_FUTURE_MS, LocalChain, admit, altered, mine_block, revoke, sign_block
from tests.support.ledger import LEDGER, MEMBER, LedgerNode, RemoteMember, found_block
from tests.support.wait import wait_until_async

MEMBERS = ("m0", "m1", "m2", "m3", "m4", "m5", "m6")
"""So many that a member must wait for two others before it may mine again."""


async def founded(node: LedgerNode) -> LocalChain:
    """Give the ledger a first block of another member; returns a chain of the same content."""
    local = LocalChain()
    block = local.mine("m1", [admit(each) for each in MEMBERS])
    local.receive(block)
    assert (await node.peer.deliver(block)).status == "connected"
    return local


def block_1(local: LocalChain) -> Block:
    node = local.chain.tree.main_at(1)
    assert node is not None
    return local.chain._stored(node)


# templates and found blocks


async def test_block_1_can_admit_its_own_miner(ledger_node: LedgerNode) -> None:
    await ledger_node.miner.ask_for_template()
    await ledger_node.miner.paused(templates.NOT_ADMITTED)
    results = await ledger_node.peer.submit(admit(MEMBER).raw)
    assert [each.status for each in results.results] == ["accepted"]
    template = await ledger_node.miner.template(height=1)
    result = await ledger_node.miner.deliver(template)
    assert result.status == "connected"
    await ledger_node.until_tip(result.hash)
    roster = await ledger_node.peer.ask("roster", GetRoster(), Roster)
    assert [(each.member, each.status, each.admitted_height) for each in roster.members] == [(MEMBER, "active", 1)]


async def test_found_block_is_announced_and_the_others_are_next(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    template = await ledger_node.miner.template(height=2)
    assert template.draft.miner == MEMBER
    result = await ledger_node.miner.deliver(template)
    assert result.status == "connected"
    await ledger_node.miner.paused(templates.NOT_OUR_TURN)
    await wait_until_async(lambda: ledger_node.peer.announced)
    assert decode_block(bytes(ledger_node.peer.announced[0].block)).hash == result.hash


async def test_found_block_may_carry_a_later_time_than_its_template(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    template = await ledger_node.miner.template(height=2)
    result = await ledger_node.miner.deliver(template, time_ms=template.draft.time_ms + 500)
    assert result.status == "connected"


async def test_found_block_may_be_delivered_twice(ledger_node: LedgerNode) -> None:
    """The miner repeats it when it missed the answer."""
    await founded(ledger_node)
    found = found_block(await ledger_node.miner.template(height=2))
    first, second = await ledger_node.miner.hand_in(found), await ledger_node.miner.hand_in(found)
    assert (first.status, second.status) == ("connected", "known")
    assert first.hash == second.hash


async def test_found_block_of_an_unknown_template_is_stale(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    found = found_block(await ledger_node.miner.template(height=2))
    result = await ledger_node.miner.hand_in(msgspec.structs.replace(found, template_id="ab" * 16))
    assert (result.status, result.code) == ("refused", Code.TEMPLATE_STALE)


async def test_found_block_that_its_template_does_not_yield_is_stale(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    template = await ledger_node.miner.template(height=2)
    other = msgspec.structs.replace(template, draft=msgspec.structs.replace(template.draft, tx_root="cd" * 32))
    result = await ledger_node.miner.hand_in(found_block(other))
    assert (result.status, result.code) == ("refused", Code.TEMPLATE_STALE)


async def test_found_block_goes_through_the_same_rules_as_any_other(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    template = await ledger_node.miner.template(height=2)
    result = await ledger_node.miner.deliver(template, miner="m1")
    assert (result.status, result.code) == ("refused", Code.BLOCK_SIGNATURE)
    renewed = await ledger_node.miner.template(height=2)
    await wait_until_async(lambda: ledger_node.miner.orders[-1] != template)
    renewed = await ledger_node.miner.template(height=2)
    assert (await ledger_node.miner.deliver(renewed)).status == "connected"


async def test_block_found_on_an_overtaken_tip_stays_as_a_side_branch(ledger_node: LedgerNode) -> None:
    local = await founded(ledger_node)
    template = await ledger_node.miner.template(height=2)
    assert (await ledger_node.peer.deliver(local.extend("m2"))).status == "connected"
    result = await ledger_node.miner.deliver(template)
    assert result.status == "side_branch"
    assert (await ledger_node.peer.status()).side_branches == 1
    assert not ledger_node.peer.announced


async def test_new_tip_makes_a_new_template(ledger_node: LedgerNode) -> None:
    local = await founded(ledger_node)
    await ledger_node.miner.template(height=2)
    block = local.extend("m2")
    await ledger_node.peer.deliver(block)
    assert (await ledger_node.miner.template(height=3)).draft.prev == block.hash


async def test_queued_transaction_comes_into_the_template(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    empty = await ledger_node.miner.template(height=2)
    await ledger_node.peer.submit(admit("late", expires=7).raw)
    await wait_until_async(lambda: ledger_node.miner.orders[-1] != empty)
    template = await ledger_node.miner.template(height=2)
    assert template.draft.tx_root != empty.draft.tx_root
    assert (await ledger_node.miner.deliver(template)).status == "connected"
    assert (await ledger_node.peer.status()).mempool_transactions == 0


async def test_burst_of_transactions_makes_few_templates(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    await ledger_node.miner.template(height=2)
    before = len(ledger_node.miner.orders)
    for number in range(20):
        await ledger_node.peer.submit(admit(f"late-{number}", expires=7).raw)
    await wait_until_async(lambda: len(ledger_node.miner.orders) > before)
    assert len(ledger_node.miner.orders) - before <= 3


async def test_asking_again_repeats_the_same_template(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    template = await ledger_node.miner.template(height=2)
    before = len(ledger_node.miner.orders)
    await ledger_node.miner.ask_for_template()
    await wait_until_async(lambda: len(ledger_node.miner.orders) > before)
    assert ledger_node.miner.orders[-1] == template


async def test_miner_that_made_one_of_the_last_blocks_waits_until_the_chain_is_idle(ledger_node: LedgerNode) -> None:
    local = await founded(ledger_node)
    parameters = ledger_node.genesis.parameters
    ledger_node.clock.set(local.tip.time_ms + parameters.block_interval_ms)
    block = local.extend(MEMBER)
    await ledger_node.peer.deliver(block)
    await ledger_node.miner.paused(templates.NOT_OUR_TURN)
    idle_ms = parameters.idle_intervals * parameters.block_interval_ms
    ledger_node.clock.set(block.header.time_ms + idle_ms - 1)
    orders = len(ledger_node.miner.orders)
    await ledger_node.miner.ask_for_template()
    await wait_until_async(lambda: len(ledger_node.miner.orders) > orders)
    await ledger_node.miner.paused(templates.NOT_OUR_TURN)
    ledger_node.clock.set(block.header.time_ms + idle_ms)
    template = await ledger_node.miner.template(height=3)  # by itself, when it is time
    assert (await ledger_node.miner.deliver(template)).status == "connected"


# abandoned searches


def abandoned(template: Template, *, tries: int = 1_000) -> Abandoned:
    """A search that ends without success: a nonce whose hash is not good."""
    header = template.draft.with_nonce(0)
    number = 0
    while int(header.hash(), 16) < 2**256 // header.difficulty:
        number += 1
        header = template.draft.with_nonce(number)
    search = AbandonedSearch(header=header, tries=min(tries, 2), elapsed_ms=4_000, lowest_hash=header.hash())
    return Abandoned(template_id=template.template_id, search=search)


async def hand_in_abandoned(node: LedgerNode, body: Abandoned) -> Stored:
    return await node.miner.link.request("ledger", "abandoned", body, Stored, 10.0)


async def test_abandoned_search_is_stored_and_followed_by_a_new_template(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    template = await ledger_node.miner.template(height=2)
    body = abandoned(template)
    await hand_in_abandoned(ledger_node, body)
    await wait_until_async(lambda: ledger_node.miner.orders[-1] != template)
    assert (await ledger_node.miner.template(height=2)).template_id != template.template_id
    await hand_in_abandoned(ledger_node, body)
    listed = await ledger_node.peer.ask("abandoned_list", GetAbandoned(), AbandonedSearches)
    assert [each.lowest_hash for each in listed.searches] == [body.search.lowest_hash]
    assert listed.searches[0].stored_at_ms == FAR_FUTURE_MS
    assert (await ledger_node.peer.status()).abandoned_searches == 1


@pytest.mark.parametrize("spoiled", ["tries", "hash", "template", "miner"])
async def test_abandoned_search_that_does_not_check_is_refused(ledger_node: LedgerNode, spoiled: str) -> None:
    await founded(ledger_node)
    body = abandoned(await ledger_node.miner.template(height=2))
    search = body.search
    match spoiled:
        case "tries":
            search = msgspec.structs.replace(search, tries=2**52)
        case "hash":
            search = msgspec.structs.replace(search, lowest_hash="00" * 32)
        case "template":
            header = msgspec.structs.replace(search.header, tx_root="cd" * 32)
            search = msgspec.structs.replace(search, header=header, lowest_hash=header.hash())
        case "miner":
            header = msgspec.structs.replace(search.header, miner="m1")
            search = msgspec.structs.replace(search, header=header, lowest_hash=header.hash())
    with pytest.raises(RemoteFault) as caught:
        await hand_in_abandoned(ledger_node, msgspec.structs.replace(body, search=search))
    assert caught.value.code == Code.ABANDONED_CLAIM
    assert (await ledger_node.peer.status()).abandoned_searches == 0


# transactions and blocks from others


async def test_each_transaction_of_a_batch_is_judged_on_its_own(ledger_node: LedgerNode) -> None:
    good, other = admit("late"), admit("late", salt="other")
    forged = TransactionForm(body=admit("zoe").body, signature=good.signature)
    results = await ledger_node.peer.submit(good.raw, b'{"x":1}', encode(forged), good.raw, other.raw, origin="m1")
    assert [(each.status, each.code) for each in results.results] == [
        ("accepted", ""),
        ("refused", Code.WRONG_SHAPE),
        ("refused", Code.BAD_SIGNATURE),
        ("known", ""),
        ("refused", Code.POOL_CONFLICT),
    ]
    assert results.results[0].id == good.id
    assert (await ledger_node.peer.status()).mempool_transactions == 1


async def test_transaction_in_the_chain_is_known(ledger_node: LedgerNode) -> None:
    await founded(ledger_node)
    results = await ledger_node.peer.submit(admit("m1").raw)
    assert [each.status for each in results.results] == ["known"]


async def test_status_counts_refusals_by_code_and_nothing_else_is_disturbed(ledger_node: LedgerNode) -> None:
    local = await founded(ledger_node)
    before = (await ledger_node.peer.status()).refusals
    good = local.mine("m2")
    wrong = {
        Code.BLOCK_WORK: msgspec.structs.replace(good.header, nonce="f" * 16),
        Code.BLOCK_TIME_TOO_OLD: altered(good, time_ms=local.tip.time_ms).header,
        Code.BLOCK_DIFFICULTY: altered(good, difficulty=7).header,
        Code.BLOCK_HEIGHT: altered(good, height=9).header,
        Code.WRONG_NETWORK: altered(good, network="ff" * 16).header,
        Code.BLOCK_TX_ROOT: altered(good, tx_root="cd" * 32).header,
    }
    while int(wrong[Code.BLOCK_WORK].hash(), 16) < 2**256 // good.header.difficulty:
        nonce = int(wrong[Code.BLOCK_WORK].nonce, 16) - 1
        wrong[Code.BLOCK_WORK] = msgspec.structs.replace(good.header, nonce=f"{nonce:016x}")
    for code, header in wrong.items():
        result = await ledger_node.peer.deliver(sign_block(header, good.transactions))
        assert (result.status, result.code) == ("refused", code)
    spoiled = DeliverBlock(block=msgspec.Raw(b'{"header":1}'), origin="m3")
    assert (await ledger_node.peer.ask("block", spoiled, type(result))).code == Code.WRONG_SHAPE
    status = await ledger_node.peer.status()
    assert status.tip.hash == local.tip.hash
    for code in (*wrong, Code.WRONG_SHAPE):
        assert status.refusals.get(code, 0) == before.get(code, 0) + 1
    assert (await ledger_node.peer.deliver(good)).status == "connected"


async def test_block_from_the_future_is_taken_when_its_time_has_come(ledger_node: LedgerNode) -> None:
    local = await founded(ledger_node)
    ahead_ms = ledger_node.genesis.parameters.max_ahead_intervals * ledger_node.genesis.parameters.block_interval_ms
    block = local.mine("m2", time_ms=FAR_FUTURE_MS + ahead_ms + 5_000)
    assert (await ledger_node.peer.deliver(block)).status == "postponed"
    ledger_node.clock.advance(5_000)
    await ledger_node.until_tip(block.hash)


# questions


async def test_questions_about_blocks_and_transactions(ledger_node: LedgerNode) -> None:
    local = await founded(ledger_node)
    blocks = [local.chain._stored(local.tip)] + [local.extend(f"m{each}") for each in (2, 3, 4)]
    for block in blocks[1:]:
        await ledger_node.peer.deliver(block)
    side = local.mine("m5", on=local.chain.tree.main_at(2))
    await ledger_node.peer.deliver(side)
    ask = ledger_node.peer.ask

    page = await ask("blocks", GetBlocks(below_height=4, limit=2), BlockSummaries)
    assert [each.hash for each in page.blocks] == [blocks[2].hash, blocks[1].hash]
    newest = await ask("blocks", GetBlocks(limit=200), BlockSummaries)
    assert [each.header.height for each in newest.blocks] == [4, 3, 2, 1]
    assert (newest.blocks[3].transactions, newest.blocks[3].size_bytes) == (len(MEMBERS), len(blocks[0].raw))

    for question in ("2", blocks[1].hash):
        detail = await ask("block_detail", GetBlock(block=question), BlockDetail)
        assert (bytes(detail.block), detail.depth, detail.best_chain) == (blocks[1].raw, 3, True)
    detail = await ask("block_detail", GetBlock(block=side.hash), BlockDetail)
    assert (detail.hash, detail.depth, detail.best_chain) == (side.hash, 0, False)

    headers = await ask("get_headers", GetHeaders(locator=[blocks[1].hash], limit=1), Headers)
    assert [bytes(each) for each in headers.headers] == [msgspec.json.encode(blocks[2].header, order="sorted")]
    bodies = await ask("get_bodies", GetBodies(hashes=[blocks[3].hash, blocks[0].hash]), Bodies)
    assert [bytes(each) for each in bodies.blocks] == [blocks[3].raw, blocks[0].raw]

    queued = admit("late", expires=9)
    await ledger_node.peer.submit(queued.raw)
    included = blocks[0].transactions[1]
    one = await ask("transaction", GetTransaction(id=included.id), TransactionDetail)
    assert (bytes(one.transaction), one.state, one.height, one.depth) == (included.raw, "in_block", 1, 4)
    two = await ask("transaction", GetTransaction(id=queued.id), TransactionDetail)
    assert (bytes(two.transaction), two.state) == (queued.raw, "queued")
    statuses = await ask(
        "tx_status", GetTransactionStatus(ids=[queued.id, "ab" * 32, included.id]), TransactionStatuses
    )
    assert [each.state for each in statuses.statuses] == ["queued", "unknown", "in_block"]
    assert (statuses.statuses[2].depth, statuses.tip_height) == (4, 4)


async def test_side_branches_are_listed_with_what_is_known_of_them(ledger_node: LedgerNode) -> None:
    local = await founded(ledger_node)
    base = local.tip
    for miner in ("m2", "m3", "m4"):
        await ledger_node.peer.deliver(local.extend(miner))
    stale = local.mine("m5", on=base)
    bad = local.mine("m6", [revoke("nobody")], on=base)
    local.receive(stale)
    worse = mine_block(local.node(stale), [revoke("nobody")], "m6", local.genesis)
    for block in (stale, worse, bad):
        await ledger_node.peer.deliver(block)
    answer = await ledger_node.peer.ask("side_branches", GetSideBranches(limit=1), SideBranches)
    assert answer.total == 2
    assert [each.hash for each in answer.branches] == [worse.hash]
    whole = await ledger_node.peer.ask("side_branches", GetSideBranches(), SideBranches)
    facts = [(each.hash, each.height, each.length, each.fork_height, each.status) for each in whole.branches]
    assert facts == [(worse.hash, 3, 2, 1, "valid-fork"), (bad.hash, 2, 1, 1, "valid-fork")]
    above = local.node(stale)
    for number, miner in enumerate(("m6", "m5", "m4", "m3")):  # better than ours, but for its second block
        made = mine_block(above, [], miner, local.genesis) if number else worse
        above = HeaderNode(made.hash, made.header, above, above.work + made.header.difficulty)
        last = await ledger_node.peer.deliver(made)
    assert last.status == "refused"
    whole = await ledger_node.peer.ask("side_branches", GetSideBranches(), SideBranches)
    assert {each.status for each in whole.branches if each.fork_height == 1 and each.length > 1} == {"invalid"}
    ahead = LocalChain()
    ahead.receive(block_1(local))
    for miner in ("m6", "m5", "m4", "m3", "m2"):
        ahead.extend(miner, start=9)
    silent = RemoteMember(ahead, silent="bodies")
    await ledger_node.peer.meet("m1", silent)
    await wait_until_async(lambda: "bodies" in silent.asked)
    found = await ledger_node.peer.ask("side_branches", GetSideBranches(), SideBranches)
    assert (found.branches[0].hash, found.branches[0].status) == (ahead.tip.hash, "headers-only")
    assert int(found.branches[0].work, 16) == ahead.tip.work


@pytest.mark.parametrize(
    ("kind", "question", "answer_type"),
    [
        ("block_detail", GetBlock(block="ab" * 32), BlockDetail),
        ("block_detail", GetBlock(block="99"), BlockDetail),
        ("transaction", GetTransaction(id="ab" * 32), TransactionDetail),
    ],
)
async def test_what_does_not_exist_is_not_found(
    ledger_node: LedgerNode, kind: str, question: Record, answer_type: type[Record]
) -> None:
    with pytest.raises(RemoteFault) as caught:
        await ledger_node.peer.ask(kind, question, answer_type)
    assert caught.value.code == Code.NOT_FOUND


async def test_status_shows_the_running_search(ledger_node: LedgerNode) -> None:
    progress = SearchProgress(
        height=1, difficulty=2, tries=3, elapsed_ms=4, tries_per_second=5, lowest_hash="ab" * 32, nonce="0" * 16
    )
    assert (await ledger_node.peer.status()).search is msgspec.UNSET
    await ledger_node.miner.link.send("ledger", "progress", progress)

    async def is_shown() -> bool:
        return (await ledger_node.peer.status()).search == progress

    await wait_until_async(is_shown)


# the bus


async def test_each_kind_is_taken_from_one_service_only(ledger_node: LedgerNode) -> None:
    """Services of a node share the node key: the miner must not submit, the peer not hand in blocks as found."""
    await founded(ledger_node)
    found = found_block(await ledger_node.miner.template(height=2))
    attempts = [
        (ledger_node.peer.link, "found", found),
        (ledger_node.miner.link, "submit", Submit(transactions=[msgspec.Raw(admit("late").raw)], origin="local")),
    ]
    for link, kind, body in attempts:
        with pytest.raises(MinervasError) as caught:
            await link.request("ledger", kind, body, Stored, 10.0)
        assert caught.value.code == Code.FRAME_FOREIGN_SENDER


async def test_presence_carries_the_tip(ledger_node: LedgerNode) -> None:
    seen: list[Presence] = []
    topic = mesh(LEDGER, "presence")
    await ledger_node.peer.bus.subscribe(
        topic, lambda message: seen.append(decode(message.payload, Presence, max_bytes=MAX_PRESENCE_BYTES))
    )
    await wait_until_async(lambda: seen)
    assert (seen[-1].state, seen[-1].tip) == ("online", ledger_node.peer.tips[-1].tip)


async def test_restarted_ledger_goes_on_with_its_chain(ledger_node: LedgerNode) -> None:
    local = await founded(ledger_node)
    await ledger_node.stop_ledger()
    ledger_node.peer.tips.clear()
    await ledger_node.start_ledger()
    assert ledger_node.peer.tips[-1].tip.hash == local.tip.hash
    await ledger_node.miner.ask_for_template()
    assert (await ledger_node.miner.deliver(await ledger_node.miner.template(height=2))).status == "connected"
