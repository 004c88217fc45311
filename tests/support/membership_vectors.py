"""Checks of the vectors about memberships, each of one case."""

from __future__ import annotations

from minervas_core.blocks import decode_block
from minervas_core.encoding import decode, encode, encode_untyped
from minervas_core.keys import signing_bytes
from minervas_core.transactions import CONSENT_PURPOSE, WalletConsent, consent_is_valid
from tests.support.vector_files import FILES, Case
from tools.vectors.membership_cases import MembershipNode


def membership_history(case: Case) -> None:
    node = MembershipNode()
    for step in case["steps"]:
        block = decode_block(bytes.fromhex(FILES["membership"]["blocks"][step["block"]]))
        assert node.receive(block, step["now_ms"]) == (step["status"], step["code"])
        told = node.told()
        assert told == {name: step[name] for name in told}


def consent(case: Case) -> None:
    body = decode(encode_untyped(case["value"]), WalletConsent, max_bytes=1_000)
    assert signing_bytes(CONSENT_PURPOSE, case["network"], encode(body)).hex() == case["signed_bytes_hex"]
    assert consent_is_valid(body, case["network"], case["wallet"], case["signature"])
