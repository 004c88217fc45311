"""The committed vectors hold for the code, case by case, and the code still writes exactly these files."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from minervas_core import (
    addition,
    applicant,
    ca_bundle,
    enrolment,
    expected_output,
    genesis,
    messages,
    metering,
    node_bill_messages,
    node_market_messages,
    node_messages,
    node_vote_messages,
    rekeying,
    renewal,
)
from minervas_core.billing.bills import bill_hash, check_bill, make_bill
from minervas_core.billing.records import Bill, BillLine
from minervas_core.blocks import (
    block_signature_is_valid,
    block_signing_body,
    decode_block,
    decode_header,
    transactions_root,
)
from minervas_core.box import BoxKey, load_box_public
from minervas_core.chain import Chain
from minervas_core.difficulty import next_difficulty
from minervas_core.encoding import Record, decode, decode_untyped, encode, encode_untyped, sha256_hex
from minervas_core.errors import Code
from minervas_core.finality import votes
from minervas_core.frames import SenderKey, parse_frame, seal_gossip, seal_node
from minervas_core.genesis import Parameters, load_genesis
from minervas_core.identifiers import check_member_id, parse_principal
from minervas_core.keys import SigningKey, check_public_key, node_id, signing_bytes, verify
from minervas_core.merkle import merkle_root, path_leads_to
from minervas_core.proof_of_work import attempt, is_good, target
from minervas_core.rights import rights_for
from minervas_core.state import BlockUndo
from minervas_core.topics import InboxTopic, MeshTopic, matches, parse_topic
from minervas_core.transactions import check_signature, decode_transaction
from minervas_runtime.months import month_bounds
from tests.support import finality_vectors
from tests.support.governance_vectors import governance_history
from tests.support.market_vectors import METERING_CHECKS, auction_history, derived_lot, market_history
from tests.support.membership_vectors import consent, membership_history
from tests.support.vector_files import FILES, SPEC, Case, bytes_of, code_of
from tools.vectors.addition_cases import judge_addition
from tools.vectors.bus_cases import may
from tools.vectors.ca_bundle_cases import judge_ca_bundle
from tools.vectors.files import vector_files
from tools.vectors.fixtures import MEMBERS, MOKPO, NETWORK
from tools.vectors.frame_cases import judge
from tools.vectors.message_cases import judge_application, judge_hello
from tools.vectors.proof_cases import judge_proof
from tools.vectors.renewal_cases import judge_renewal

LARGE = 2_000_000
GENERATED = vector_files()


@pytest.mark.parametrize("name", GENERATED)
def test_the_code_writes_the_committed_file(name: str) -> None:
    """`make vectors` changes nothing: neither the rules nor the vectors moved without the other."""
    assert (SPEC / name).read_text("ascii") == GENERATED[name]


def test_every_vector_file_is_generated() -> None:
    assert {f"vectors/{name}.json" for name in FILES} == {name for name in GENERATED if name.startswith("vectors/")}


def test_every_code_of_a_vector_exists() -> None:
    codes = {case.get("code") for _, _, case in _all_cases()} - {None}
    assert codes <= set(Code)
    assert len(codes) > 10


def _all_cases() -> Iterator[tuple[str, str, Case]]:
    for name, content in FILES.items():
        for section, cases in content.items():
            if isinstance(cases, list):
                yield from ((name, section, case) for case in cases)


def _ids(found: tuple[str, str, Case]) -> str:
    name, section, case = found
    return f"{name}-{section}-{case['name']}".encode("ascii", "backslashreplace").decode()


def accepted_value(case: Case) -> None:
    data = bytes.fromhex(case["canonical_hex"])
    assert encode_untyped(case["value"]) == data
    assert decode_untyped(data, max_bytes=LARGE) == case["value"]
    assert sha256_hex(data) == case["sha256"]


def refused_value(case: Case) -> None:
    assert code_of(lambda: decode_untyped(bytes_of(case), max_bytes=4_096)) == case["code"]


def seed(case: Case) -> None:
    assert SigningKey(bytes.fromhex(case["seed"])).public == case["public"]


def public_key(case: Case) -> None:
    assert code_of(lambda: check_public_key(case["public"])) == case["code"]
    if case["code"] is None:
        assert node_id(case["public"]) == case["node_id"]


def signature(case: Case) -> None:
    body = bytes.fromhex(case["body_hex"])
    assert signing_bytes(case["purpose"], case["network"], body).hex() == case["signed_bytes_hex"]
    assert verify(case["public"], case["purpose"], case["network"], body, case["signature"]) == case["valid"]
    if "seed" in case:
        signer = SigningKey(bytes.fromhex(case["seed"]))
        assert signer.sign(case["purpose"], case["network"], body) == case["signature"]


def merkle_tree(case: Case) -> None:
    assert merkle_root([bytes.fromhex(leaf) for leaf in case["leaves_hex"]]) == case["root"]


def merkle_proof(case: Case) -> None:
    leaf = bytes.fromhex(case["leaf_hex"])
    assert path_leads_to(leaf, case["index"], case["count"], case["path"], case["root"]) == case["proves"]


def work_target(case: Case) -> None:
    assert f"{target(case['difficulty']):064x}" == case["target_hex"]


def work_try(case: Case) -> None:
    digest = attempt(bytes.fromhex(case["seal"]), int(case["nonce"], 16))
    assert digest.hex() == case["hash"]
    assert is_good(digest, case["difficulty"]) == case["good"]


def work_limit(case: Case) -> None:
    assert is_good(bytes.fromhex(case["hash"]), case["difficulty"]) == case["good"]


def _parameters(case: Case) -> Parameters:
    return Parameters(
        block_interval_ms=case["block_interval_ms"],
        initial_difficulty=case["initial_difficulty"],
        min_difficulty=case["min_difficulty"],
        lwma_window=case["lwma_window"],
    )


def one_difficulty(case: Case) -> None:
    history = [(time_ms, difficulty) for time_ms, difficulty in case["history"]]
    assert next_difficulty(history, _parameters(case)) == case["next_difficulty"]


def difficulty_sequence(case: Case) -> None:
    history: list[tuple[int, int]] = []
    for time_ms, difficulty in zip(case["times_ms"], case["difficulties"], strict=True):
        assert next_difficulty(history, _parameters(case)) == difficulty
        history.append((time_ms, difficulty))


def accepted_genesis(case: Case) -> None:
    loaded = load_genesis(bytes.fromhex(case["canonical_hex"]))
    assert loaded.hash == case["hash"] == sha256_hex(bytes.fromhex(case["signed_bytes_hex"]))
    assert json.loads(loaded.raw) == case["value"]
    signer = SigningKey(bytes.fromhex(case["authority_seed"]))
    assert genesis.sign_genesis(loaded.body, signer) == loaded


def refused_genesis(case: Case) -> None:
    assert code_of(lambda: load_genesis(bytes_of(case))) == case["code"]


def accepted_transaction(case: Case) -> None:
    transaction = decode_transaction(bytes.fromhex(case["canonical_hex"]))
    check_signature(transaction, NETWORK)
    assert transaction.id == case["id"] == sha256_hex(bytes.fromhex(case["signed_bytes_hex"]))
    assert transaction.signature == case["signature"]
    assert json.loads(transaction.raw) == case["value"]


def refused_transaction(case: Case) -> None:
    assert code_of(lambda: check_signature(decode_transaction(bytes_of(case)), NETWORK)) == case["code"]


def header(case: Case) -> None:
    decoded = decode_header(bytes.fromhex(case["canonical_hex"]))
    assert decoded.hash() == case["hash"]
    assert decoded.seal().hex() == case["seal"] == sha256_hex(bytes.fromhex(case["draft_hex"]))
    assert json.loads(encode(decoded)) == case["value"]
    assert is_good(bytes.fromhex(case["hash"]), decoded.difficulty)


def refused_header(case: Case) -> None:
    assert code_of(lambda: decode_header(bytes_of(case))) == case["code"]


def block(case: Case) -> None:
    decoded = decode_block(bytes.fromhex(case["canonical_hex"]))
    assert decoded.hash == case["hash"]
    assert [transaction.id for transaction in decoded.transactions] == case["transactions"]
    assert transactions_root(decoded.transactions) == case["tx_root"] == decoded.header.tx_root
    assert signing_bytes("block", NETWORK, block_signing_body(decoded.hash)).hex() == case["signed_bytes_hex"]
    block_key = next(who for who in MEMBERS if who.member == decoded.header.miner).block.public
    assert block_signature_is_valid(decoded.header, decoded.hash, case["signature"], block_key)


def refused_block(case: Case) -> None:
    assert code_of(lambda: decode_block(bytes_of(case))) == case["code"]


def sample(case: Case) -> None:
    modules = (
        addition,
        applicant,
        enrolment,
        ca_bundle,
        renewal,
        rekeying,
        expected_output,
        messages,
        node_messages,
        node_market_messages,
        node_bill_messages,
        metering,
        node_vote_messages,
        votes,
    )
    kinds = {name: kind for module in modules for name, kind in vars(module).items()}
    data = bytes.fromhex(case["canonical_hex"])
    value: Record = decode(data, kinds[case["type"]], max_bytes=LARGE)
    assert encode(value) == data == encode_untyped(case["value"])
    assert sha256_hex(data) == case["sha256"]


def signed_message(case: Case) -> None:
    kinds: dict[str, type[messages.Hello | messages.SenderKeyMessage | messages.KeyRequest]] = {
        "Hello": messages.Hello,
        "SenderKeyMessage": messages.SenderKeyMessage,
        "KeyRequest": messages.KeyRequest,
    }
    message = decode(bytes.fromhex(case["canonical_hex"]), kinds[case["name"]], max_bytes=LARGE)
    messages.check_signed(message.body, message.signature, network=NETWORK, wallet=case["wallet"])
    assert signing_bytes(case["purpose"], NETWORK, encode(message.body)).hex() == case["signed_bytes_hex"]


def refused_message(case: Case) -> None:
    kind = vars(messages)[case["type"]]
    assert code_of(lambda: decode(bytes_of(case), kind, max_bytes=case["max_bytes"])) == case["code"]


def refused_hello(case: Case) -> None:
    assert code_of(lambda: judge_hello(bytes_of(case))) == case["code"]


def signed_ca_bundle(case: Case) -> None:
    signed = decode(bytes.fromhex(case["canonical_hex"]), ca_bundle.SignedCaBundle, max_bytes=LARGE)
    bundle = ca_bundle.check_ca_bundle(
        signed, network=NETWORK, trusted=frozenset([case["authority"]]), installed=case["installed"]
    )
    assert signing_bytes("ca_bundle", NETWORK, encode(bundle)).hex() == case["signed_bytes_hex"]


def refused_ca_bundle(case: Case) -> None:
    assert code_of(lambda: judge_ca_bundle(bytes_of(case))) == case["code"]


def claim(case: Case) -> None:
    enrolled = decode(bytes.fromhex(case["canonical_hex"]), enrolment.ServiceEnrolment, max_bytes=LARGE)
    enrolment.check_enrolment(enrolled)
    assert enrolled.claim.signing_key == case["signing_key"]
    assert enrolled.signature == case["signature"]
    signed = signing_bytes("enrolment", enrolment.NO_NETWORK, encode(enrolled.claim))
    assert signed.hex() == case["signed_bytes_hex"]


def application(case: Case) -> None:
    handed_in = decode(bytes.fromhex(case["canonical_hex"]), enrolment.Application, max_bytes=LARGE)
    assert enrolment.application_fingerprint(handed_in) == case["fingerprint"]
    assert json.loads(encode(enrolment.check_application(handed_in))) == case["keys"]
    declared = [
        {"gateway": gateway, "meter": json.loads(encode(meter))}
        for gateway, meter in enrolment.declared_meters(handed_in)
    ]
    assert declared == case["meters"]


def refused_application(case: Case) -> None:
    assert code_of(lambda: judge_application(bytes_of(case))) == case["code"]


def added(case: Case) -> None:
    document = decode(bytes.fromhex(case["canonical_hex"]), addition.Addition, max_bytes=LARGE)
    addition.check_addition(document, case["wallet"], NETWORK)
    assert addition.addition_fingerprint(document) == case["fingerprint"]
    assert signing_bytes("addition", NETWORK, encode(document.body)).hex() == case["signed_bytes_hex"]


def refused_addition(case: Case) -> None:
    assert code_of(lambda: judge_addition(bytes_of(case))) == case["code"]


def renewed(case: Case) -> None:
    asked = decode(bytes.fromhex(case["canonical_hex"]), renewal.Renewal, max_bytes=LARGE)
    renewal.check_renewal(asked, NETWORK, frozenset({case["wallet"]}))
    assert asked.signature == case["signature"]
    assert signing_bytes("renewal", NETWORK, encode(asked.body)).hex() == case["signed_bytes_hex"]


def refused_renewal(case: Case) -> None:
    assert code_of(lambda: judge_renewal(bytes_of(case))) == case["code"]


def frame(case: Case) -> None:
    data, topic = bytes.fromhex(case["frame_hex"]), case["topic"]
    correlation, secret = bytes.fromhex(case["correlation_hex"]), bytes.fromhex(case["secret"])
    content = judge(data, topic=topic, correlation=correlation, secret=secret, wallet=case.get("wallet"))
    assert content.hex() == case["content_hex"]
    head = case["header"]
    assert json.loads(encode(parse_frame(data, NETWORK).header)) == head
    shared: dict[str, Any] = {
        "topic": topic,
        "correlation": correlation,
        "network": NETWORK,
        "nonce": bytes.fromhex(case["nonce"]),
        "sent_at_ms": head["sent_at_ms"],
    }
    if "wallet" in case:
        key = SenderKey(head["sender"], 1, head["key_id"], secret)
        assert seal_gossip(content, key=key, wallet=MOKPO.wallet, **shared) == data
    else:
        assert seal_node(content, member=head["sender"], node_key=secret, **shared) == data


def refused_frame(case: Case) -> None:
    data, secret = bytes.fromhex(case["frame_hex"]), bytes.fromhex(case["secret"])
    correlation = bytes.fromhex(case["correlation_hex"])
    found = code_of(
        lambda: judge(data, topic=case["topic"], correlation=correlation, secret=secret, wallet=case["wallet"])
    )
    assert found == case["code"]


def sealed_key(case: Case) -> None:
    box = BoxKey(bytes.fromhex(case["box_seed"]))
    assert box.public == case["box_public"]
    load_box_public(box.public)
    assert box.open(bytes.fromhex(case["sealed_hex"]), bytes.fromhex(case["info_hex"])).hex() == case["secret"]


def refused_sealed_key(case: Case) -> None:
    box, info = BoxKey(bytes.fromhex(case["box_seed"])), bytes.fromhex(case["info_hex"])
    assert code_of(lambda: box.open(bytes_of(case), info)) == case["code"]


def name(case: Case) -> None:
    if "member" in case:
        assert code_of(lambda: check_member_id(case["member"])) == case["code"]
        return
    assert code_of(lambda: parse_principal(case["principal"])) == case["code"]
    if case["code"] is None:
        assert parse_principal(case["principal"]).role == case["role"]


def topic(case: Case) -> None:
    assert code_of(lambda: parse_topic(case["topic"])) == case["code"]
    if case["code"] is not None:
        return
    parsed = parse_topic(case["topic"])
    assert parsed.kind == case["kind"]
    if isinstance(parsed, MeshTopic):
        assert (str(parsed.owner), list(parsed.rest)) == (case["owner"], case["rest"])
    else:
        assert isinstance(parsed, InboxTopic)
        assert (str(parsed.recipient), str(parsed.sender)) == (case["recipient"], case["sender"])
        assert str(parsed.reply()) == case["reply_topic"]


def topic_filter(case: Case) -> None:
    assert matches(case["filter"], case["topic"]) == case["matches"]


def right(case: Case) -> None:
    operator = FILES["rights"]["operator_member"]
    rights = rights_for(parse_principal(case["principal"]), operator_member=operator)
    for action in ("publish", "subscribe"):
        assert may(rights, action, case["topic"]) == case[action]


def history(case: Case) -> None:
    raws: dict[str, bytes] = {}
    undo: dict[str, BlockUndo] = {}
    chain = Chain.fresh(load_genesis(bytes.fromhex(FILES["chain"]["genesis_hex"])), raws.__getitem__, undo.__getitem__)
    for step in case["steps"]:
        block = decode_block(bytes.fromhex(FILES["chain"]["blocks"][step["block"]]))
        outcome = chain.receive_block(block, step["now_ms"])
        raws |= {stored.block.hash: stored.block.raw for stored in outcome.stored}
        undo |= {each.block.hash: each.undo for each in (outcome.change.connected if outcome.change else ())}
        assert (outcome.status, outcome.error and outcome.error.code) == (step["status"], step["code"])
        assert (chain.tip.height, chain.tip.hash, chain.tip.work) == (step["height"], step["tip"], step["work"])
        assert chain.state.roster.hash() == step["roster_hash"]


def proof(case: Case) -> None:
    proven = judge_proof(case["lines_hex"])
    assert (proven.transaction.id, proven.height, proven.block) == (case["id"], case["height"], case["block"])
    assert (proven.final_height, proven.final_block) == (case["final"]["height"], case["final"]["hash"])
    assert (proven.work, list(proven.members)) == (case["work"], case["members"])


def refused_proof(case: Case) -> None:
    assert code_of(lambda: judge_proof(case["lines_hex"])) == case["code"]


def month_of_a_zone(case: Case) -> None:
    assert month_bounds(case["zone"], case["month"]) == (case["from_ms"], case["until_ms"])
    zone, first = ZoneInfo(case["zone"]), dt.date.fromisoformat(f"{case['month']}-01")
    before, begins, after, ends = (
        dt.datetime.fromtimestamp(ms / 1000, zone).date()
        for ms in (case["from_ms"] - 1, case["from_ms"], case["until_ms"] - 1, case["until_ms"])
    )
    assert (before < first, begins, after < ends, ends.day) == (True, first, True, 1)
    assert (after.year, after.month) == (first.year, first.month)


def bill(case: Case) -> None:
    genesis = load_genesis(bytes.fromhex(case["genesis_hex"]))
    lines = [decode(encode_untyped(line), BillLine, max_bytes=LARGE) for line in case["lines"]]
    due = decode(encode_untyped(case["bill"]), Bill, max_bytes=LARGE)
    assert make_bill(genesis, due.seller, due.buyer, due.period, lines, place=case["place"]) == due
    assert bill_hash(due) == case["hash"]
    check_bill(genesis, due, lines)
    rate, net = genesis.parameters.tax_per_mille, sum(line["energy_wh"] * line["price_micro"] for line in case["lines"])
    digits = {"KRW": 0, "EUR": 2, "KWD": 3}[genesis.body.currency]
    exact = Decimal(net) * (1000 + rate) / 1000 / 1_000_000
    rounded = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
    assert due.total_micro == int(rounded * 1_000_000)


CHECKS: dict[str, dict[str, Callable[[Case], None]]] = {
    "encoding": {"accepted": accepted_value, "refused": refused_value},
    "keys": {"seeds": seed, "public_keys": public_key, "signatures": signature},
    "merkle": {"roots": merkle_tree, "paths": merkle_proof},
    "proof_of_work": {"targets": work_target, "tries": work_try, "limits": work_limit},
    "difficulty": {"single": one_difficulty, "sequences": difficulty_sequence},
    "genesis": {"accepted": accepted_genesis, "refused": refused_genesis},
    "transactions": {"accepted": accepted_transaction, "refused": refused_transaction},
    "blocks": {"headers": header, "refused_headers": refused_header, "blocks": block, "refused_blocks": refused_block},
    "enrolment": {
        "documents": sample,
        "claims": claim,
        "ca_bundles": signed_ca_bundle,
        "refused_ca_bundles": refused_ca_bundle,
        "applications": application,
        "refused_applications": refused_application,
        "additions": added,
        "refused_additions": refused_addition,
    },
    "renewal": {"documents": sample, "accepted": renewed, "refused": refused_renewal},
    "frames": {"accepted": frame, "refused": refused_frame},
    "sender_keys": {"accepted": sealed_key, "refused": refused_sealed_key},
    "messages": {
        "samples": sample,
        "signed": signed_message,
        "refused": refused_message,
        "refused_hellos": refused_hello,
    },
    "node_messages": {"samples": sample},
    "topics": {"names": name, "topics": topic, "filters": topic_filter},
    "rights": {"tries": right},
    "chain": {"histories": history},
    "governance": {"histories": governance_history},
    "membership": {"consents": consent, "histories": membership_history},
    "market": {"histories": market_history, "derived_lots": derived_lot},
    "auctions": {"histories": auction_history},
    "finality": finality_vectors.CHECKS,
    "proofs": {"accepted": proof, "refused": refused_proof},
    "metering": {"samples": sample, **METERING_CHECKS},
    "bills": {"months": month_of_a_zone, "bills": bill},
}


@pytest.mark.parametrize("found", list(_all_cases()), ids=_ids)
def test_case(found: tuple[str, str, Case]) -> None:
    file, section, case = found
    CHECKS[file][section](case)


def test_every_section_is_checked_and_none_is_empty() -> None:
    sections = {(file, section) for file, section, _ in _all_cases()}
    assert sections == {(file, section) for file, checks in CHECKS.items() for section in checks}


def test_a_frame_above_the_limit_is_refused() -> None:
    case = FILES["frames"]["oversize_frame"]
    assert code_of(lambda: parse_frame(bytes(case["zeros"]), NETWORK)) == case["code"]
