"""Box keys: X-Wing under HPKE, checked with a published key and with a second implementation."""

from __future__ import annotations

import hashlib

import pytest
from Crypto.Protocol import HPKE
from Crypto.PublicKey.Hybrid import MLKEM768_X25519, HybridKey
from hypothesis import given, settings
from hypothesis import strategies as st

from minervas_core.box import PUBLIC_BYTES, SUITE, BoxKey, load_box_public
from minervas_core.errors import Code, InvalidFrame, PeerFault
from minervas_core.messages import SEALED_KEY_BYTES, sender_key_info
from tests.support.examples import examples
from tools.vectors.fixtures import HAENAM, KIM, MOKPO, sender_key
from tools.vectors.samples import sender_key_message

DRAFT_SEED = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
"""First test vector of draft-connolly-cfrg-xwing-kem; X-Wing expands it with SHAKE-256 into our 96 bytes."""
EXPANDED = hashlib.shake_256(DRAFT_SEED).digest(96)

LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    2**255 - 20,
)
"""u coordinates of the X25519 points of small order (RFC 7748 section 6.1, cr.yp.to/ecdh.html)."""


def test_public_key_of_the_published_seed() -> None:
    public = BoxKey(EXPANDED).public
    assert public.startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5b19cfc3d")
    assert len(public) == 2 * PUBLIC_BYTES


def test_a_second_implementation_opens_what_is_sealed() -> None:
    """HPKE with X-Wing in pycryptodome, which shares no code with the library in use."""
    theirs = HybridKey(param_set=MLKEM768_X25519, seed=DRAFT_SEED)
    sealed = SUITE.encrypt(b"secret", load_box_public(BoxKey(EXPANDED).public), info=b"info")
    receiver = HPKE.new(receiver_key=theirs, aead_id=HPKE.AEAD.AES256_GCM, info=b"info", enc=sealed[:1120])
    assert receiver.unseal(sealed[1120:]) == b"secret"


def test_what_a_second_implementation_seals_is_opened() -> None:
    theirs = HybridKey(param_set=MLKEM768_X25519, seed=DRAFT_SEED)
    sender = HPKE.new(receiver_key=theirs.public_key(), aead_id=HPKE.AEAD.AES256_GCM, info=b"info")
    assert BoxKey(EXPANDED).open(sender.enc + sender.seal(b"secret"), b"info") == b"secret"


def test_the_kept_sample_opens() -> None:
    body = sender_key_message().body
    sealed = bytes.fromhex(body.sealed)
    assert len(sealed) == SEALED_KEY_BYTES
    assert HAENAM.box.open(sealed, sender_key_info(body)) == sender_key(MOKPO).secret


def test_a_sealed_key_opens_only_for_its_recipient_and_info() -> None:
    body = sender_key_message().body
    sealed, info = bytes.fromhex(body.sealed), sender_key_info(body)
    for box, wrong_info in ((KIM.box, info), (HAENAM.box, info + b" "), (HAENAM.box, b"")):
        with pytest.raises(InvalidFrame) as refused:
            box.open(sealed, wrong_info)
        assert refused.value.code is Code.FRAME_UNSEALABLE


@given(position=st.integers(0, SEALED_KEY_BYTES * 8 - 1))
@settings(max_examples=examples(40))
def test_any_bit_flipped_in_a_sealed_key_is_refused(position: int) -> None:
    body = sender_key_message().body
    sealed = bytearray.fromhex(body.sealed)
    sealed[position // 8] ^= 1 << position % 8
    with pytest.raises(InvalidFrame):
        HAENAM.box.open(bytes(sealed), sender_key_info(body))


@given(st.binary(max_size=1_300))
@settings(max_examples=examples(30))
def test_any_bytes_are_refused_as_a_sealed_key(data: bytes) -> None:
    with pytest.raises(InvalidFrame):
        HAENAM.box.open(data, b"info")


@pytest.mark.parametrize("u", LOW_ORDER)
def test_nobody_registers_a_box_key_that_nobody_can_seal_to(u: int) -> None:
    _refused(HAENAM.box.public[:-64] + u.to_bytes(32, "little").hex())


@pytest.mark.parametrize("u", [2**255 - 19, 2**255 - 1, 2**255 + 9])
def test_an_x25519_point_has_one_spelling(u: int) -> None:
    _refused(HAENAM.box.public[:-64] + u.to_bytes(32, "little").hex())


@pytest.mark.parametrize(
    "public",
    ["", "00", HAENAM.box.public[:-2], HAENAM.box.public + "00", HAENAM.box.public.upper(), "z" * 2_432],
    ids=lambda public: f"{len(public)} digits",
)
def test_a_box_key_of_the_wrong_form_is_refused(public: str) -> None:
    _refused(public)


def test_an_ml_kem_key_with_a_coefficient_of_the_modulus_is_refused() -> None:
    """FIPS 203 section 7.2: 3329 is not reduced; in 12 bits, little-endian, it is 01 0d."""
    _refused("010d" + HAENAM.box.public[4:])


def _refused(public: str) -> None:
    with pytest.raises(PeerFault) as refused:
        load_box_public(public)
    assert refused.value.code is Code.BAD_KEY


@pytest.mark.parametrize("size", [0, 32, 95, 97])
def test_a_box_seed_has_96_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="96 bytes"):
        BoxKey(bytes(size))


def test_a_box_key_does_not_show_its_secret() -> None:
    assert repr(HAENAM.box) == f"BoxKey(public={HAENAM.box.public[:16]}...)"
