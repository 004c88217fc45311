"""The peer's HTTP API and the commands that show it, over a peer on an in-memory broker and a stand-in ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from minervas_core.blocks import Draft, assemble_block, sign_block_hash
from minervas_core.errors import Code, LocalFault
from minervas_core.keys import SigningKey
from minervas_core.merkle import merkle_root
from minervas_core.node_messages import (
    AbandonedSearch,
    AbandonedSearches,
    BlockDetail,
    BlockSummaries,
    BlockSummary,
    GetAbandoned,
    GetBlock,
    GetBlocks,
    GetSideBranches,
    GetTransaction,
    SideBranchEntry,
    SideBranches,
    TransactionDetail,
)
from minervas_core.transactions import Transaction
from minervas_peer import cli
from minervas_peer.api.app import build_app
from minervas_peer.api.request_limits import MAX_BODY_BYTES, RequestLimits, allowed_names
from minervas_peer.api.server import ApiServer
from minervas_peer.api.view import NodeView
from minervas_peer.settings import ApiSettings
from tests.support.peer import NOW_MS, Consortium, roster, seed
from tests.support.peer_network import Node, PeerNetwork
from tests.support.wait import wait_until_async

LOOPBACK = allowed_names("127.0.0.1", ())
BLOCK_KEY = SigningKey(seed("block/anna"))


def block_of(consortium: Consortium, *transactions: Transaction) -> Any:
    """Block 1 with these transactions; nobody here checks its work."""
    draft = Draft(
        version=1,
        network=consortium.genesis.network,
        height=1,
        prev=consortium.genesis.hash,
        tx_root=merkle_root([item.raw for item in transactions]),
        votes_root=merkle_root([]),
        time_ms=NOW_MS,
        difficulty=64,
        miner="anna",
    )
    header = draft.with_nonce(7)
    return assemble_block(
        header, sign_block_hash(header.hash(), consortium.genesis.network, BLOCK_KEY), list(transactions)
    )


class Site:
    """A settled node with a chain of one block, and its API."""

    def __init__(self, network: PeerNetwork, node: Node) -> None:
        self.node = node
        self.admit = node.member.admit
        self.block = block_of(network.consortium, self.admit)
        ledger = node.ledger
        ledger.on("blocks", GetBlocks, self._blocks)
        ledger.on("block_detail", GetBlock, self._block_detail)
        ledger.on("transaction", GetTransaction, self._transaction)
        ledger.on("abandoned_list", GetAbandoned, self._abandoned)
        ledger.on("side_branches", GetSideBranches, self._side_branches)
        self.asked: list[msgspec.Struct] = []
        self.view = NodeView(network.consortium.genesis, node.bus, node.peer.ledger, node.peer.status)
        self.app: FastAPI = build_app(self.view, LOOPBACK)

    async def get(self, path: str, *, host: str = "127.0.0.1", **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}:8730") as client:
            return await client.request(options.pop("method", "GET"), path, **options)

    def _blocks(self, body: GetBlocks) -> BlockSummaries:
        self.asked.append(body)
        summary = BlockSummary(
            header=self.block.header,
            hash=self.block.hash,
            transactions=1,
            size_bytes=len(self.block.raw),
            best_chain=True,
            final=False,
        )
        return BlockSummaries(blocks=[summary])

    def _block_detail(self, body: GetBlock) -> BlockDetail:
        if body.block not in ("1", self.block.hash):
            raise LocalFault(Code.NOT_FOUND, "No such block", block=body.block)
        return BlockDetail(
            block=msgspec.Raw(self.block.raw),
            hash=self.block.hash,
            best_chain=True,
            depth=3,
            final=True,
            work="ff00ff00ff00ff00ff",
        )

    def _transaction(self, body: GetTransaction) -> TransactionDetail:
        if body.id != self.admit.id:
            raise LocalFault(Code.NOT_FOUND, "No such transaction", id=body.id)
        return TransactionDetail(
            transaction=msgspec.Raw(self.admit.raw),
            id=self.admit.id,
            state="in_block",
            height=1,
            depth=3,
            block=self.block.hash,
        )

    def _abandoned(self, body: GetAbandoned) -> AbandonedSearches:
        self.asked.append(body)
        search = AbandonedSearch(
            header=self.block.header,
            tries=1_234_567,
            elapsed_ms=8_000,
            lowest_hash=self.block.hash,
            stored_at_ms=NOW_MS,
        )
        return AbandonedSearches(searches=[search])

    def _side_branches(self, body: GetSideBranches) -> SideBranches:
        self.asked.append(body)
        branch = SideBranchEntry(
            hash=self.block.hash, height=7, length=3, fork_height=4, work="3e8", status="headers-only"
        )
        return SideBranches(branches=[branch], total=2)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with PeerNetwork() as network:
        anna, bert = await network.add("anna"), await network.add("bert")
        members = roster([anna.member, bert.member], [network.consortium.member("gone")], height=1)
        for node in (anna, bert):
            await node.ledger.move(1, members)
        await wait_until_async(lambda: anna.peer.directory.settled and bert.peer.directory.settled)
        await wait_until_async(lambda: network.complete() and anna.peer.exchange.given_to == {"bert"})
        await wait_until_async(lambda: getattr(anna.peer.presence.of("bert"), "tip", None) == bert.ledger.tip)
        yield Site(network, anna)


# answers


async def test_status_shows_the_node_its_chain_its_peers_and_what_was_refused(site: Site) -> None:
    site.node.peer.refusals.count("block", Code.BAD_FRAME, number=3)
    response = await site.get("/v1/status")
    assert response.status_code == 200
    status = response.json()
    assert (status["member"], status["standing"], status["connected"]) == ("anna", "active", True)
    assert len(status["node_id"]) == 64
    assert status["ledger"]["tip"]["height"] == 1
    assert status["ledger"]["search"] is None
    (bert,) = status["peers"]
    assert (bert["member"], bert["standing"], bert["presence"]) == ("bert", "active", "online")
    assert (bert["their_key"], bert["our_key_given"], bert["tip"]["height"]) == ("held", True, 1)
    assert status["refusals"]["bad_frame"] == 3
    assert "secret" not in response.text


async def test_status_works_while_the_ledger_is_away_and_everything_else_says_503(site: Site) -> None:
    await site.node.ledger.stop()
    site.node.peer.ledger._timeout_s = 0.1
    status = (await site.get("/v1/status")).json()
    assert status["ledger"] is None
    assert status["member"] == "anna"
    for path in ("/v1/members", "/v1/blocks", "/v1/blocks/1", "/v1/abandoned"):
        response = await site.get(path)
        assert response.status_code == 503
        assert response.json()["code"] == Code.NOT_READY


async def test_members_show_who_is_active_and_who_was_revoked(site: Site) -> None:
    page = (await site.get("/v1/members")).json()
    assert [(member["member"], member["status"]) for member in page["members"]] == [
        ("anna", "active"),
        ("bert", "active"),
        ("gone", "revoked"),
    ]
    assert page["members"][0]["keys"]["wallet"] == site.node.member.keys.wallet


async def test_blocks_are_listed_by_page(site: Site) -> None:
    page = (await site.get("/v1/blocks?below_height=9&limit=5")).json()
    assert page["blocks"][0]["hash"] == site.block.hash
    assert page["blocks"][0]["header"]["nonce"] == "0000000000000007"
    assert site.asked == [GetBlocks(below_height=9, limit=5)]


async def test_a_block_is_found_by_hash_and_by_height_with_its_transactions(site: Site) -> None:
    for reference in (site.block.hash, "1"):
        block = (await site.get(f"/v1/blocks/{reference}")).json()
        assert (block["hash"], block["depth"], block["work"]) == (site.block.hash, 3, "ff00ff00ff00ff00ff")
        (transaction,) = block["transactions"]
        assert transaction["id"] == site.admit.id
        assert transaction["body"]["change"]["member"] == "anna"


async def test_a_transaction_shows_where_it_stands(site: Site) -> None:
    found = (await site.get(f"/v1/transactions/{site.admit.id}")).json()
    assert (found["state"], found["height"], found["block"]) == ("in_block", 1, site.block.hash)
    assert found["transaction"]["signature"] == site.admit.signature


async def test_abandoned_searches_show_their_lowest_hash(site: Site) -> None:
    page = (await site.get("/v1/abandoned?limit=3")).json()
    assert page["searches"][0]["lowest_hash"] == site.block.hash
    assert site.asked == [GetAbandoned(limit=3)]


async def test_side_branches_are_listed(site: Site) -> None:
    page = (await site.get("/v1/side-branches?limit=1")).json()
    assert page == {
        "branches": [
            {
                "hash": site.block.hash,
                "height": 7,
                "length": 3,
                "fork_height": 4,
                "work": "3e8",
                "status": "headers-only",
            }
        ],
        "total": 2,
    }
    assert site.asked == [GetSideBranches(limit=1)]


async def test_health_follows_the_connection(site: Site) -> None:
    response = await site.get("/healthz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    site.node.network.broker.interrupt()
    response = await site.get("/healthz")
    assert (response.status_code, response.json()["status"]) == (503, "failing")


async def test_metrics_count_refusals_by_code(site: Site) -> None:
    site.node.peer.refusals.count("block", Code.BAD_FRAME)
    response = await site.get("/metrics")
    assert 'minervas_refusals_total{code="bad_frame",kind="block",service="peer"}' in response.text


async def test_the_description_lists_every_path_and_loads_nothing_from_elsewhere(site: Site) -> None:
    description = (await site.get("/openapi.json")).json()
    assert {"/v1/status", "/v1/members", "/v1/blocks", "/v1/blocks/{block}", "/v1/transactions/{transaction}",
            "/v1/abandoned", "/v1/side-branches", "/v1/finality", "/healthz",
            "/metrics"} == set(description["paths"])  # fmt: skip
    assert (await site.get("/docs")).status_code == 404


# refusals


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/blocks/999", 404, Code.NOT_FOUND),
        ("/v1/blocks/" + "0" * 64, 404, Code.NOT_FOUND),
        ("/v1/transactions/" + "0" * 64, 404, Code.NOT_FOUND),
        ("/v1/nothing", 404, Code.NOT_FOUND),
        ("/v1/blocks/xyz", 400, Code.WRONG_SHAPE),
        ("/v1/blocks/01", 400, Code.WRONG_SHAPE),
        ("/v1/blocks/1%0A", 400, Code.WRONG_SHAPE),
        ("/v1/blocks/9999999999999999", 400, Code.WRONG_SHAPE),
        ("/v1/transactions/1", 400, Code.WRONG_SHAPE),
        ("/v1/blocks?limit=0", 400, Code.WRONG_SHAPE),
        ("/v1/blocks?limit=201", 400, Code.WRONG_SHAPE),
        ("/v1/blocks?below_height=-1", 400, Code.WRONG_SHAPE),
        ("/v1/blocks?below_height=9007199254740992", 400, Code.WRONG_SHAPE),
        ("/v1/abandoned?limit=many", 400, Code.WRONG_SHAPE),
        ("/v1/blocks/" + "1" * 2_000, 414, Code.TOO_LARGE),
    ],
)
async def test_every_error_has_code_message_and_values(site: Site, path: str, status: int, code: Code) -> None:
    response = await site.get(path)
    assert response.status_code == status
    error = response.json()
    assert error["code"] == code
    assert error["message"]
    assert isinstance(error["values"], dict)


async def test_the_api_changes_nothing(site: Site) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        response = await site.get("/v1/status", method=method)
        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")


async def test_a_small_body_reaches_the_application() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await Response(body)(scope, receive, send)

    transport = httpx.ASGITransport(app=RequestLimits(echo, names=None))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        response = await client.post("/", content=b"x" * MAX_BODY_BYTES)
    assert response.content == b"x" * MAX_BODY_BYTES


async def test_a_large_body_is_refused_also_if_its_length_is_not_announced(site: Site) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(MAX_BODY_BYTES // 10)

    for content in (bytes(MAX_BODY_BYTES + 1), parts()):
        response = await site.get("/v1/status", content=content)
        assert (response.status_code, response.json()["code"]) == (413, Code.TOO_LARGE)


@pytest.mark.parametrize(
    ("host", "names", "called", "status"),
    [
        ("127.0.0.1", (), "127.0.0.1", 200),
        ("127.0.0.1", (), "LOCALHOST", 200),
        ("::1", (), "[::1]", 200),
        ("127.0.0.1", (), "evil.example", 421),
        ("127.0.0.1", ("node.example",), "node.example", 200),
        ("localhost", (), "evil.example", 421),
        ("0.0.0.0", (), "anything.example", 200),  # noqa: S104 - nothing listens there
        ("0.0.0.0", ("node.example",), "evil.example", 421),  # noqa: S104
    ],
)
async def test_a_web_page_can_not_read_the_api_under_a_name_of_its_own(
    site: Site, host: str, names: tuple[str, ...], called: str, status: int
) -> None:
    site.app = build_app(site.view, allowed_names(host, names))
    response = await site.get("/healthz", host=called)
    assert response.status_code == status


async def test_an_unexpected_error_is_logged_and_says_nothing_of_the_inside(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(site.view, "members", fail)
    response = await site.get("/v1/members")
    assert (response.status_code, response.json()["code"]) == (500, Code.INTERNAL)
    assert "inside" not in response.text
    assert "api_request_failed" in caplog.text


# server and command line


@pytest.fixture
async def served(site: Site) -> AsyncIterator[str]:
    server = ApiServer(ApiSettings(port=0))
    task = asyncio.create_task(server.run(site.app))
    yield f"http://127.0.0.1:{server.port}"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_port_in_use_is_one_clear_error() -> None:
    first = ApiServer(ApiSettings(port=0))
    first._socket.listen()
    try:
        with pytest.raises(LocalFault) as refusal:
            ApiServer(ApiSettings(port=first.port))
        assert refusal.value.code is Code.BAD_SETTINGS
        assert refusal.value.values["port"] == first.port
    finally:
        first.close()


@pytest.fixture
def command(served: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command in a thread, as it blocks; returns status, output and error output."""

    async def run(*arguments: str, before: bool = False) -> tuple[int, str, str]:
        given = ["--api", served, *arguments] if before else [*arguments, "--api", served]
        status = await asyncio.to_thread(cli.run, given)
        return status, *capsys.readouterr()

    return run


async def test_commands_show_the_node_to_people(site: Site, command: Callable[..., Any]) -> None:
    for arguments, expected in (
        (("status",), ["anna in Test consortium", "active", "bert", "online", "held", "given"]),
        (("members",), ["anna", "gone", "revoked"]),
        (("blocks",), ["2027-01-15", "anna", site.block.hash[:12], "0000000000000007"]),
        (("block", "1"), [site.block.hash, "3 deep", "admit anna", site.admit.id]),
        (("tx", site.admit.id), ["membership", "in block 1", '"action": "admit"']),
        (("abandoned",), ["1,234,567", "8,000"]),
        (("branches",), ["1 of 2", "headers-only", site.block.hash[:12], "1,000"]),
    ):
        status, out, err = await command(*arguments)
        assert (status, err) == (0, "")
        for text in expected:
            assert text in out, (arguments, text, out)


async def test_commands_give_json_to_programs(site: Site, command: Callable[..., Any]) -> None:
    shown = ("status", "members", "blocks", "abandoned", "branches")
    for arguments in (*((name,) for name in shown), ("block", "1"), ("tx", site.admit.id)):
        status, out, _ = await command(*arguments, "--json")
        assert status == 0
        assert json.loads(out)
    assert (await command("--json", "status", before=True))[1] == (await command("status", "--json"))[1]


async def test_a_refusal_of_the_api_is_one_line_and_status_1(command: Callable[..., Any]) -> None:
    status, out, err = await command("block", "999")
    assert (status, out) == (1, "")
    assert err.startswith("minervas: error: not_found: ")
    assert len(err.splitlines()) == 1


def test_a_peer_that_is_not_there_is_one_line_with_advice(capsys: pytest.CaptureFixture[str]) -> None:
    closed = ApiServer(ApiSettings(port=0))
    closed.close()
    assert cli.run(["status", "--api", f"http://127.0.0.1:{closed.port}"]) == 1
    err = capsys.readouterr().err
    assert "is the peer running and approved?" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [["block", "xyz"], ["tx", "12"], ["blocks", "--limit", "201"], ["status", "--api", "ftp://x"], [], ["nothing"]],
)
def test_wrong_arguments_are_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.run(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err


def test_the_address_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINERVAS_API", "http://127.0.0.1:9")
    assert cli.run(["status"]) == 1
    assert "http://127.0.0.1:9" in capsys.readouterr().err
