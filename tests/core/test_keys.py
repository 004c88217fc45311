"""Ed25519: domain separation, and that both libraries agree wherever the protocol lets a signature through."""

from __future__ import annotations

import contextlib

import pytest
from Crypto.Signature import eddsa
from hypothesis import given, settings
from hypothesis import strategies as st

from minervas_core import keys
from minervas_core.errors import Code, PeerFault
from minervas_core.keys import SigningKey, check_public_key, node_id, signing_bytes, verify
from tests.support.examples import examples
from tools.vectors.ed25519_points import TORSION_POINTS, L, compress
from tools.vectors.fixtures import MOKPO, NETWORK, OTHER_NETWORK
from tools.vectors.signature_cases import key_cases, signature_cases

BODY = b'{"value":1}'
KEY = MOKPO.wallet


def pycryptodome_accepts(public: str, message: bytes, signature: str) -> bool:
    """What the library that signs would say of a signature."""
    try:
        key = eddsa.import_public_key(bytes.fromhex(public))
        eddsa.new(key, "rfc8032").verify(message, bytes.fromhex(signature))
    except ValueError:
        return False
    return True


@given(seed=st.binary(min_size=32, max_size=32), body=st.binary(max_size=100))
@settings(max_examples=examples(50))
def test_what_one_library_signs_the_other_accepts(seed: bytes, body: bytes) -> None:
    key = SigningKey(seed)
    signature = key.sign("transaction", NETWORK, body)
    assert verify(key.public, "transaction", NETWORK, body, signature)
    assert pycryptodome_accepts(key.public, signing_bytes("transaction", NETWORK, body), signature)
    assert check_public_key(key.public) == key.public


@given(position=st.integers(0, 511), body=st.binary(max_size=50))
@settings(max_examples=examples(50))
def test_any_bit_flipped_in_a_signature_makes_it_invalid(position: int, body: bytes) -> None:
    raw = bytearray.fromhex(KEY.sign("transaction", NETWORK, body))
    raw[position // 8] ^= 1 << position % 8
    assert not verify(KEY.public, "transaction", NETWORK, body, raw.hex())


@given(public=st.text(max_size=70), signature=st.text(max_size=140), network=st.text(max_size=40))
def test_verify_never_raises(public: str, signature: str, network: str) -> None:
    assert not verify(public, "transaction", network, BODY, signature)


def test_a_signature_is_bound_to_purpose_network_and_body() -> None:
    signature = KEY.sign("transaction", NETWORK, BODY)
    assert verify(KEY.public, "transaction", NETWORK, BODY, signature)
    assert not verify(KEY.public, "hello", NETWORK, BODY, signature)
    assert not verify(KEY.public, "transaction", OTHER_NETWORK, BODY, signature)
    assert not verify(KEY.public, "transaction", NETWORK, BODY + b" ", signature)


@given(st.tuples(*[st.sampled_from(["transaction", "hello", "frame", "block"])] * 2), st.binary(), st.binary())
def test_signed_bytes_are_unambiguous(purposes: tuple[str, str], one: bytes, other: bytes) -> None:
    """With a purpose without NUL and a network id of fixed length no two claims share their signed bytes."""
    same = signing_bytes(purposes[0], NETWORK, one) == signing_bytes(purposes[1], NETWORK, other)
    assert same == (purposes[0] == purposes[1] and one == other)


def test_the_libraries_differ_only_on_the_equation_times_eight() -> None:
    """Pycryptodome multiplies by the cofactor. This is why the protocol names one library's answer as the rule."""
    differing = {
        str(case["name"])
        for case in signature_cases()
        if case["valid"]
        != pycryptodome_accepts(
            str(case["public"]), bytes.fromhex(str(case["signed_bytes_hex"])), str(case["signature"]).strip()
        )
        and str(case["signature"]) == str(case["signature"]).lower().replace(" ", "")
    }
    assert differing == {
        "R with a component of order 8",
        "key with a component of order 8, challenge no multiple of 8",
    }


@pytest.mark.parametrize("spelling", [str.upper, lambda text: " " + text, lambda text: text[:64] + " " + text[64:]])
def test_a_signature_has_one_spelling(spelling: object) -> None:
    signature = KEY.sign("transaction", NETWORK, BODY)
    assert callable(spelling)
    assert not verify(KEY.public, "transaction", NETWORK, BODY, spelling(signature))


def test_a_second_s_is_refused() -> None:
    """Otherwise anybody could change a signature, and with it the bytes, of somebody else's transaction."""
    signature = bytes.fromhex(KEY.sign("transaction", NETWORK, BODY))
    s = int.from_bytes(signature[32:], "little") + L
    assert not verify(KEY.public, "transaction", NETWORK, BODY, (signature[:32] + s.to_bytes(32, "little")).hex())


def test_the_list_of_small_order_points_is_complete() -> None:
    assert {y for _, y in TORSION_POINTS} == keys._SMALL_ORDER_Y
    for point in TORSION_POINTS:
        with pytest.raises(PeerFault) as refused:
            check_public_key(compress(point).hex())
        assert refused.value.code is Code.BAD_KEY


def test_keys_that_may_not_be_registered_are_refused() -> None:
    verdicts = {str(case["name"]): case["code"] for case in key_cases()}
    accepted = {name for name, code in verdicts.items() if code is None}
    assert accepted == {
        "wallet of mokpo-univ",
        "wallet of haenam-farm",
        "wallet of kim-house",
        "component of order 8",
    }
    assert set(verdicts.values()) == {None, "bad_key"}


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=examples(100))
def test_any_bytes_are_a_key_or_refused(raw: bytes) -> None:
    with contextlib.suppress(PeerFault):
        assert check_public_key(raw.hex()) == raw.hex()


def test_a_secret_is_not_shown() -> None:
    assert repr(KEY) == f"SigningKey(public={KEY.public})"


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(bytes(size))


def test_the_node_id_is_the_hash_of_the_wallet() -> None:
    assert node_id("00" * 32) == "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
