"""Checks of the vectors about metering and the market, each of one case."""

from __future__ import annotations

from collections.abc import Callable

from minervas_core.blocks import decode_block
from minervas_core.encoding import decode, encode, encode_untyped
from minervas_core.genesis import load_genesis
from minervas_core.keys import signing_bytes
from minervas_core.market.fills import derived_lot_id
from minervas_core.metering import BATCH_PURPOSE, MAX_BATCH_BYTES, Reading, ReadingBatch, readings_root
from tests.support.vector_files import FILES, Case, bytes_of, code_of
from tools.vectors.market_cases import MarketNode
from tools.vectors.metering_cases import judge_batch


def market_history(case: Case) -> None:
    _play(case, "market")


def auction_history(case: Case) -> None:
    _play(case, "auctions")


def _play(case: Case, file: str) -> None:
    node = MarketNode(load_genesis(bytes.fromhex(FILES[file]["genesis_hex"])))
    for step in case["steps"]:
        block = decode_block(bytes.fromhex(FILES[file]["blocks"][step["block"]]))
        assert node.receive(block, step["now_ms"]) == (step["status"], step["code"])
        assert (node.chain.tip.height, node.chain.tip.hash) == (step["height"], step["tip"])
        if "market" in step:
            assert (node.market(), node.told_trades()) == (step["market"], step["trades"])
            assert node.told_retirements() == step["retirements"]
            assert node.told_clearings() == step["clearings"]


def derived_lot(case: Case) -> None:
    assert derived_lot_id(case["offer"], case["bid"], case["event"]) == case["id"]


def batch(case: Case) -> None:
    data = bytes.fromhex(case["canonical_hex"])
    judge_batch(data)
    body = decode(data, ReadingBatch, max_bytes=MAX_BATCH_BYTES).body
    assert signing_bytes(BATCH_PURPOSE, case["network"], encode(body)).hex() == case["signed_bytes_hex"]
    assert (body.member, body.gateway) == (case["member"], case["gateway"])


def refused_batch(case: Case) -> None:
    assert code_of(lambda: judge_batch(bytes_of(case))) == case["code"]


def root_of_readings(case: Case) -> None:
    readings = [decode(encode_untyped(each), Reading, max_bytes=MAX_BATCH_BYTES) for each in case["readings"]]
    assert readings_root(readings) == case["root"]


METERING_CHECKS: dict[str, Callable[[Case], None]] = {
    "batches": batch,
    "refused_batches": refused_batch,
    "roots": root_of_readings,
}
"""Check of a case of metering by section."""
