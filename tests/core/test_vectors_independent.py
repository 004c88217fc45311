"""The vectors checked by a second, small verifier that shares no code with the protocol.

It knows only what spec/ says, with `json` and `hashlib`, and the primitives of libraries. What it can not check from
the prose alone would be a gap in spec/.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from Crypto.Cipher import ChaCha20_Poly1305
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
Case = dict[str, Any]


def cases(file: str, section: str) -> list[Case]:
    found: list[Case] = json.loads((VECTORS / f"{file}.json").read_text("ascii"))[section]
    assert found
    return found


def canonical(value: object) -> bytes:
    """spec/encoding.md: with keys of ASCII letters, sorting by code point is sorting by UTF-16."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def signed(purpose: str, network: str, body: bytes) -> bytes:
    """spec/keys.md."""
    return f"minervas/v1/{purpose}\0{network}".encode() + body


def is_signature(public: str, message: bytes, signature: str) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except InvalidSignature:
        return False
    return True


def root(leaves: list[bytes]) -> str:
    """spec/blocks.md."""

    def subtree(hashes: list[bytes]) -> bytes:
        if len(hashes) == 1:
            return hashes[0]
        split = 1
        while split * 2 < len(hashes):
            split *= 2
        return hashlib.sha256(b"\x01" + subtree(hashes[:split]) + subtree(hashes[split:])).digest()

    return subtree([hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]).hex() if leaves else sha256(b"")


def difficulty_after(history: list[list[int]], case: Case) -> int:
    """spec/blocks.md."""
    window = case["lwma_window"]
    if len(history) < window:
        return int(case["initial_difficulty"])
    times = [time_ms for time_ms, _ in history][-(window + 1) :]
    difficulties = [difficulty for _, difficulty in history][-(window + 1) :]
    n = len(times) - 1
    weighted = sum(i * (times[i] - times[i - 1]) for i in range(1, n + 1))
    raised = sum(difficulties[1:]) * (n + 1) * case["block_interval_ms"] // (2 * weighted)
    return int(min(max(raised, case["min_difficulty"]), 2**53 - 1))


@pytest.mark.parametrize("file", ["genesis", "transactions", "blocks", "messages", "node_messages", "enrolment"])
def test_every_document_is_canonical(file: str) -> None:
    section = {"genesis": "accepted", "transactions": "accepted", "blocks": "headers", "enrolment": "documents"}
    for case in cases(file, section.get(file, "samples")):
        assert canonical(case["value"]).hex() == case["canonical_hex"], case["name"]


def test_plain_values() -> None:
    for case in cases("encoding", "accepted"):
        assert canonical(case["value"]).hex() == case["canonical_hex"], case["name"]
        assert sha256(bytes.fromhex(case["canonical_hex"])) == case["sha256"]


def test_signatures() -> None:
    for case in cases("keys", "signatures"):
        message = signed(case["purpose"], case["network"], bytes.fromhex(case["body_hex"]))
        assert message.hex() == case["signed_bytes_hex"]
        text = case["signature"]
        in_form = len(text) == 128 and set(text) <= set("0123456789abcdef")
        assert (in_form and is_signature(case["public"], message, text)) == case["valid"], case["name"]


def test_transactions() -> None:
    network = json.loads((VECTORS / "transactions.json").read_text("ascii"))["network"]
    for case in cases("transactions", "accepted"):
        body = case["value"]["body"]
        message = signed("transaction", network, canonical(body))
        assert sha256(message) == case["id"]
        assert is_signature(body["sender"], message, case["value"]["signature"])


def test_genesis() -> None:
    for case in cases("genesis", "accepted"):
        body = case["value"]["body"]
        message = signed("genesis", body["network"], canonical(body))
        assert sha256(message) == case["hash"]
        assert is_signature(body["authority"], message, case["value"]["signature"])


def test_headers_form_a_chain_with_work() -> None:
    previous = cases("genesis", "accepted")[0]["hash"]
    for height, case in enumerate(cases("blocks", "headers"), 1):
        header = dict(case["value"])
        assert (header["height"], header["prev"]) == (height, previous)
        nonce = bytes.fromhex(header.pop("nonce"))
        seal = hashlib.sha256(canonical(header)).digest()
        assert seal.hex() == case["seal"]
        previous = sha256(seal + nonce)
        assert previous == case["hash"]
        assert int(previous, 16) < (2**256 - 1) // header["difficulty"]


def test_blocks() -> None:
    keys = _admitted_keys()
    for case in cases("blocks", "blocks"):
        block = json.loads(bytes.fromhex(case["canonical_hex"]))
        assert canonical(block).hex() == case["canonical_hex"]
        network = block["header"]["network"]
        assert root([canonical(one) for one in block["transactions"]]) == block["header"]["tx_root"] == case["tx_root"]
        assert block["header"]["votes_root"] == sha256(b"")
        ids = [sha256(signed("transaction", network, canonical(one["body"]))) for one in block["transactions"]]
        assert ids == case["transactions"] == sorted(ids)
        message = signed("block", network, canonical(case["hash"]))
        assert is_signature(keys[block["header"]["miner"]]["block"], message, block["signature"])


def _admitted_keys() -> dict[str, dict[str, str]]:
    changes = [case["value"]["body"].get("change") for case in cases("transactions", "accepted")]
    return {change["member"]: change["keys"] for change in changes if change and change["action"] == "admit"}


def test_roster_hash() -> None:
    """spec/membership.md: after three blocks Kim is revoked."""
    admitted_by = {
        case["value"]["body"]["change"]["member"]: case["id"]
        for case in cases("transactions", "accepted")
        if case["value"]["body"].get("change", {}).get("action") == "admit"
    }
    records = [
        {
            "member": member,
            "keys": keys,
            "status": "revoked" if member == "kim-house" else "active",
            "admitted_height": 1,
            "ended_height": 3 if member == "kim-house" else 0,
            "suspended_height": 0,
            "admitted_by": admitted_by[member],
        }
        for member, keys in sorted(_admitted_keys().items())
    ]
    grown = next(case for case in cases("chain", "histories") if case["name"] == "three blocks")
    assert sha256(canonical(records)) == grown["steps"][-1]["roster_hash"]


def test_merkle_roots() -> None:
    for case in cases("merkle", "roots"):
        assert root([bytes.fromhex(leaf) for leaf in case["leaves_hex"]]) == case["root"]


def test_difficulty() -> None:
    for case in cases("difficulty", "single"):
        assert difficulty_after(case["history"], case) == case["next_difficulty"], case["name"]
    for case in cases("difficulty", "sequences"):
        history: list[list[int]] = []
        for time_ms, difficulty in zip(case["times_ms"], case["difficulties"], strict=True):
            assert difficulty_after(history, case) == difficulty
            history.append([time_ms, difficulty])


def test_frames() -> None:
    for case in cases("frames", "accepted"):
        data = bytes.fromhex(case["frame_hex"])
        (length,) = struct.unpack(">H", data[:2])
        head, ciphertext = json.loads(data[2 : 2 + length]), data[2 + length :]
        assert head == case["header"]
        place = {"topic": case["topic"], "correlation": case["correlation_hex"]}
        bound = {name: head[name] for name in ("version", "network", "key_id", "sender", "sent_at_ms")} | place
        cipher = ChaCha20_Poly1305.new(key=bytes.fromhex(case["secret"]), nonce=bytes.fromhex(head["nonce"]))
        cipher.update(canonical(bound))
        assert cipher.decrypt_and_verify(ciphertext[:-16], ciphertext[-16:]).hex() == case["content_hex"]
        if "wallet" in case:
            claim = {name: head[name] for name in ("key_id", "nonce", "sender", "sent_at_ms")} | place
            message = signed("frame", head["network"], canonical(claim | {"digest": sha256(ciphertext)}))
            assert is_signature(case["wallet"], message, head["signature"])
        else:
            assert head["key_id"] == "0" * 32
            assert "signature" not in head


def test_signed_messages() -> None:
    for case in cases("messages", "signed"):
        message = json.loads(bytes.fromhex(case["canonical_hex"]))
        body = message["body"]
        assert is_signature(
            case["wallet"], signed(case["purpose"], body["network"], canonical(body)), message["signature"]
        )


def test_applications() -> None:
    for case in cases("enrolment", "applications"):
        application = json.loads(bytes.fromhex(case["canonical_hex"]))
        digits = sha256(canonical(application))[:24]
        assert case["fingerprint"].replace(" ", "") == digits
        for service in application["services"]:
            message = signed("enrolment", "0" * 32, canonical(service["claim"]))
            assert is_signature(service["claim"]["signing_key"], message, service["signature"])
