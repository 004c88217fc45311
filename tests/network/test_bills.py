"""On real nodes, by the command line: a bought lot is certified, and its bill is verified down to the wire."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from minervas_core.encoding import encode_untyped
from minervas_devnet.node import Node
from minervas_peer import cli
from minervas_peer.api_client import ApiClient
from tests.support.metering import accepted, trades_of, wait_lots, wait_trades
from tests.support.network import SYNC_TIMEOUT_S, Network
from tests.support.wait import wait_until

PRICE = 142_600


def minervas(node: Node, *arguments: str) -> int:
    token = node.directory / "peer" / "api.token"
    return cli.run([*arguments, "--api", node.api.url, "--token-file", str(token)])


def told(capsys: pytest.CaptureFixture[str], node: Node, *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert minervas(node, *arguments, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_bill_is_verified_down_to_the_wire_and_its_energy_certified(
    network: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seller, buyer = network.alpha, network.gamma
    [(lot, energy_wh)] = wait_lots(seller, energy_wh=40)
    accepted(seller.market.offer(PRICE, lots=(lot,)))
    bid = accepted(buyer.market.bid(energy_wh, PRICE))
    wait_trades(network.nodes, bid, energy_wh)
    trade = trades_of(buyer, bid)[0]
    used = accepted(buyer.market.place("/v1/retirements", {"lots": [trade.lots[0]]}))
    certificate = str(tmp_path / "certificate.json")
    wait_until(
        lambda: minervas(buyer, "certificate", used, "--output", certificate) == 0,
        SYNC_TIMEOUT_S,
        describe="the retirement's block is final",
    )
    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(_genesis(buyer))
    assert cli.run(["verify", certificate, "--genesis", str(genesis)]) == 0

    zone = json.loads(genesis.read_bytes())["body"]["time_zone"]
    block = told(capsys, buyer, "block", str(trade.height))
    month = datetime.fromtimestamp(block["header"]["time_ms"] / 1_000, ZoneInfo(zone)).strftime("%Y-%m")
    bill = f"{month}/{seller.member}/{buyer.member}"
    lines = told(capsys, buyer, "bill", bill)["lines"]
    [number] = [line["line"] for line in lines if (line["height"], line["position"]) == (trade.height, trade.position)]
    steps = told(capsys, buyer, "verify", bill, "--line", str(number))["steps"]
    assert {step["name"] for step in steps if step["status"] == "not_checked"} == {"chain", "matching"}
    assert {"readings", "frames"} <= {step["name"] for step in steps if step["status"] == "ok"}

    evidence = str(tmp_path / "evidence.jsonl")
    assert minervas(network.beta, "export", bill, "--line", str(number), "--output", evidence) == 0
    capsys.readouterr()
    assert cli.run(["verify", evidence, "--genesis", str(genesis), "--json"]) == 0
    refused = [step for step in json.loads(capsys.readouterr().out)["steps"] if step["name"] == "readings"]
    assert {step["status"] for step in refused} == {"not_checked"}


def _genesis(node: Node) -> bytes:
    with ApiClient(node.api.url) as client:
        return encode_untyped(client.get("/v1/genesis")["genesis"])
