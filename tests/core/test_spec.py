"""The prose of spec/ says what the code does: numbers, codes, parameters, purposes, examples, links."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import minervas_core
from minervas_core import (
    addition,
    applicant,
    blocks,
    ca_bundle,
    enrolment,
    frames,
    genesis,
    messages,
    metering,
    rekeying,
    renewal,
    transactions,
)
from minervas_core.difficulty import next_difficulty
from minervas_core.encoding import encode, encode_untyped, sha256_hex
from minervas_core.errors import Code
from minervas_core.genesis import Parameters
from minervas_core.governance import authority
from minervas_core.governance import records as governance_records
from minervas_core.governance.parameters import CHANGEABLE
from minervas_core.identifiers import MEMBER_PATTERN
from minervas_core.market import records
from minervas_core.market.state import PendingFill
from minervas_core.rights import PEER_GOSSIP
from tools.vectors.fixtures import BLOCK_2

SPEC = Path(__file__).parents[2] / "spec"
PROSE = {path.name: path.read_text("utf-8") for path in sorted(SPEC.glob("*.md"))}
CORE = Path(minervas_core.__path__[0])


def rows(file: str, columns: int) -> Iterator[list[str]]:
    """Cells of all tables of this width in a file, without heads."""
    for line in PROSE[file].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == columns:
            yield [cell.strip("| ") for cell in cells]


def fenced(file: str, language: str) -> list[str]:
    """Contents of the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)\n```", PROSE[file], flags=re.DOTALL)


# examples


def test_the_example_of_the_encoding() -> None:
    value = msgspec.json.decode(fenced("encoding.md", "json")[0])
    data = encode_untyped(value)
    assert fenced("encoding.md", "text")[0].encode() == data
    assert fenced("encoding.md", "hex") == [data.hex(), sha256_hex(data)]
    assert f"has these {len(data)} bytes" in PROSE["encoding.md"]


def test_the_example_of_a_header() -> None:
    assert encode(BLOCK_2.header).decode() in fenced("blocks.md", "text")
    assert fenced("blocks.md", "hex") == [BLOCK_2.header.seal().hex(), BLOCK_2.hash]


def test_the_example_of_the_difficulty() -> None:
    text = PROSE["blocks.md"]
    assert "N = 4, T = 2,000 ms. Times 0, 2000, 5000, 6000, 10000; difficulties 100, 100, 110, 120, 130." in text
    history = list(zip([0, 2_000, 5_000, 6_000, 10_000], [100, 100, 110, 120, 130], strict=True))
    parameters = Parameters(block_interval_ms=2_000, lwma_window=4, min_difficulty=1)
    assert next_difficulty(history, parameters) == 85
    assert "floor(85.18...) = 85" in text


# numbers


def _constants() -> dict[str, int]:
    """Limits of core, by module and name."""
    found: dict[str, int] = {}
    for info in pkgutil.walk_packages(minervas_core.__path__, "minervas_core."):
        if info.ispkg:
            continue
        module = importlib.import_module(info.name)
        name_in_core = info.name.removeprefix("minervas_core.")
        tree = ast.parse((CORE / (name_in_core.replace(".", "/") + ".py")).read_text("utf-8"))
        own = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in _names(node)}
        found |= {f"{name_in_core}.{name}": vars(module)[name] for name in own if isinstance(vars(module)[name], int)}
    return found


def _names(node: ast.Assign) -> list[ast.Name]:
    return [target for target in node.targets if isinstance(target, ast.Name)]


def test_every_limit_is_in_the_table_with_its_value() -> None:
    told = {cells[2].strip("`"): int(cells[1].replace(",", "")) for cells in rows("limits.md", 4) if "." in cells[2]}
    limits = {name: value for name, value in _constants().items() if ".MAX_" in name}
    limits.pop("proof_of_work.MAX_HASH")  # not a limit, but the largest SHA-256
    assert limits.items() <= told.items()
    assert told.items() <= _constants().items()


def test_every_limit_has_a_reason() -> None:
    reasons = [cells[3] for cells in rows("limits.md", 4)]
    assert len(reasons) > 20
    assert all(reasons)


def test_every_parameter_is_in_the_table_with_its_default_and_bounds() -> None:
    told = {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows("genesis.md", 4) if "`" in cells[0]}
    schema = msgspec.json.schema(Parameters)["$defs"]["Parameters"]["properties"]
    for name, (default, bounds) in told.items():
        if "enum" in schema[name]:
            assert (default, bounds.split(", ")) == (schema[name]["default"], schema[name]["enum"]), name
            continue
        assert int(default.replace(",", "")) == schema[name]["default"], name
        low, high = schema[name]["minimum"], schema[name]["maximum"]
        assert bounds == (f">= {low}" if high == 2**53 - 1 else f"{low:,} to {high:,}"), name
    assert set(told) == set(Parameters.__struct_fields__)


def test_the_parameters_that_may_change_are_listed() -> None:
    told = {name for cells in rows("governance.md", 2) for name in re.findall(r"`(\w+)`", cells[0])}
    assert told & set(Parameters.__struct_fields__) == CHANGEABLE


# codes


def test_every_code_is_explained_once() -> None:
    told = [cells[0].strip("`") for cells in rows("errors.md", 3) if "`" in cells[0]]
    assert sorted(told) == sorted(str(code) for code in Code)


FAMILIES = {
    "PeerFault": "peer",
    "InvalidEncoding": "peer",
    "InvalidFrame": "peer",
    "InvalidTransaction": "peer",
    "InvalidBlock": "peer",
    "InvalidEnrolment": "peer",
    "LocalFault": "own",
    "TransientFault": "passing",
    "BlockFromTheFuture": "passing",
}


def test_the_family_of_every_code_is_the_one_that_core_raises() -> None:
    told = {cells[0].strip("`"): cells[1].split(", ") for cells in rows("errors.md", 3) if "`" in cells[0]}
    raised = set(_raised())
    assert len(raised) > 40
    assert {(family, code) for family, code in raised if family not in told[code]} == set()


def _raised() -> Iterator[tuple[str, str]]:
    """Family and code of every error that core makes with a literal code."""
    for path in CORE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            first = node.args[0]
            if node.func.id in FAMILIES and isinstance(first, ast.Attribute) and hasattr(Code, first.attr):
                yield FAMILIES[node.func.id], str(Code[first.attr])


@pytest.mark.parametrize("file", PROSE)
def test_every_code_that_is_mentioned_exists(file: str) -> None:
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PROSE[file]))
    prefixes = (
        "tx_",
        "member_",
        "frame_",
        "pool_",
        "bad_",
        "not_",
        "block_t",
        "block_m",
        "block_w",
        "block_d",
        "wrong_",
        "statement_",
        "lot_",
        "order_",
        "meter_",
        "channel_u",
        "channel_t",
    )
    suspects = {word for word in words if word.startswith(prefixes)}
    assert suspects - {"tx_root", "tx_status", "wrong_slave"} <= {str(code) for code in Code}


# words


def test_every_purpose_of_a_signature_is_listed() -> None:
    told = {cells[0].strip("`") for cells in rows("keys.md", 3) if cells[0].startswith("`")}
    assert told == {
        genesis.PURPOSE,
        transactions.PURPOSE,
        transactions.CONSENT_PURPOSE,
        blocks.PURPOSE,
        frames.PURPOSE,
        enrolment.PURPOSE,
        addition.PURPOSE,
        renewal.PURPOSE,
        ca_bundle.PURPOSE,
        messages.HELLO_PURPOSE,
        messages.SENDER_KEY_PURPOSE,
        messages.KEY_REQUEST_PURPOSE,
        metering.BATCH_PURPOSE,
        authority.PURPOSE,
        rekeying.KEY_PURPOSE,
        rekeying.REQUEST_PURPOSE,
    }


@pytest.mark.parametrize(
    ("file", "heading", "kind"),
    [
        ("blocks.md", "field of the header", blocks.Header),
        ("frames.md", "field of the header", frames.FrameHeader),
        ("genesis.md", "field of the body", genesis.GenesisBody),
        ("governance.md", "field of a change", governance_records.ChangeParameters),
        ("governance.md", "field of a replacement", governance_records.ChangeAuthority),
        ("membership.md", "field of a claim", enrolment.ServiceClaim),
        ("membership.md", "field of an application", enrolment.Application),
        ("membership.md", "field of the details", applicant.About),
        ("membership.md", "field of a site", applicant.Site),
        ("membership.md", "field of a panel", applicant.Panel),
        ("membership.md", "field of an addition", addition.AdditionBody),
        ("membership.md", "field of a renewal", renewal.RenewalBody),
        ("membership.md", "field of a CA bundle", ca_bundle.CaBundle),
        ("transactions.md", "field", transactions.Membership),
        ("transactions.md", "field of a statement", metering.Generation),
        ("transactions.md", "field of an offer", records.Offer),
        ("transactions.md", "field of a bid", records.Bid),
        ("transactions.md", "field of a cancellation", records.Cancel),
        ("transactions.md", "field of a merge", records.Merge),
        ("transactions.md", "field of a retirement", records.Retire),
        ("metering.md", "field of a meter", records.MeterDeclaration),
        ("metering.md", "field of a reading", metering.Reading),
        ("metering.md", "field of a batch", metering.ReadingBatchBody),
        ("market.md", "field", records.Order),
    ],
)
def test_every_field_is_explained(file: str, heading: str, kind: type[msgspec.Struct]) -> None:
    table = re.search(rf"^\| {heading} \|.*?\n((?:\|.*\n)+)", PROSE[file], flags=re.MULTILINE)
    assert table is not None
    first_cells = re.findall(r"^\| (`.*?`) \|", table[1], flags=re.MULTILINE)
    told = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    common = {"network", "sender", "salt", "expires_height"}
    elsewhere = (
        {"change"} if kind is transactions.Membership else common if common <= set(kind.__struct_fields__) else set()
    )
    assert told - {"type"} == set(kind.__struct_fields__) - elsewhere


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("meters", records.Meter),
        ("registers", records.Register),
        ("lots", records.Lot),
        ("obligations", records.Obligation),
        ("slots", records.Slot),
        ("pending_fills", PendingFill),
    ],
)
def test_every_field_of_the_market_is_named(table: str, kind: type[msgspec.Struct]) -> None:
    (row,) = [cells[2] for cells in rows("market.md", 3) if cells[0] == f"`{table}`"]
    assert set(re.findall(r"`(\w+)`", row)) == set(kind.__struct_fields__)


def test_the_grammar_of_names_is_the_one_of_the_code() -> None:
    assert f"`{MEMBER_PATTERN[1:-2]}`" in PROSE["topics.md"]


def test_the_gossip_of_peers_is_the_one_of_the_code() -> None:
    peer = next(cells for cells in rows("topics.md", 3) if cells[0] == "peer")
    kinds = " ".join((*PEER_GOSSIP, "presence"))
    assert f"own outbox `{kinds}`" in peer[1]
    assert f"outboxes of all: `{kinds}`" in peer[2]


@pytest.mark.parametrize("file", PROSE)
def test_every_link_leads_somewhere(file: str) -> None:
    prose = re.sub(r"`[^`]*`", "", PROSE[file])
    links = re.findall(r"\]\(\s*([^)\s]+)\)", prose)
    local = [link for link in links if not link.startswith("https://")]
    assert all((SPEC / link).exists() for link in local), local


def test_every_file_is_in_the_overview() -> None:
    named = set(re.findall(r"\]\(([\w.]+)\)", PROSE["README.md"]))
    assert {path.name for path in SPEC.iterdir()} - {"README.md"} <= named


def test_every_vector_file_is_named_in_the_prose() -> None:
    prose = "\n".join(PROSE.values())
    unnamed = {path.name for path in (SPEC / "vectors").glob("*.json") if f"vectors/{path.name}" not in prose}
    assert unnamed == {"node_messages.json"}  # samples only; the catalogue has their types
