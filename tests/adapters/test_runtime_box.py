"""What is sealed to a box key opens under that key and that info only; randomness is fresh each time."""

from __future__ import annotations

import pytest

from minervas_core.box import SEED_BYTES, BoxKey
from minervas_core.errors import Code, InvalidFrame, PeerFault
from minervas_runtime.box import new_salt, seal_to_box
from minervas_runtime.clock import ManualClock, SystemClock, monotonic_ms
from minervas_runtime.randomness import new_frame_nonce, new_search_start, new_secret


def test_a_sealed_secret_opens_under_its_key_and_info_only() -> None:
    recipient, other = BoxKey(b"r" * SEED_BYTES), BoxKey(b"o" * SEED_BYTES)
    sealed = seal_to_box(recipient.public, b"k" * 32, b"info")
    assert len(sealed) == 1_168
    assert recipient.open(sealed, b"info") == b"k" * 32
    for key, data, info in (
        (other, sealed, b"info"),
        (recipient, sealed, b"other info"),
        (recipient, sealed[:-1], b"info"),
    ):
        with pytest.raises(InvalidFrame) as refused:
            key.open(data, info)
        assert refused.value.code == Code.FRAME_UNSEALABLE


def test_sealing_the_same_twice_gives_different_bytes() -> None:
    public = BoxKey(b"r" * SEED_BYTES).public
    assert seal_to_box(public, b"k" * 32, b"") != seal_to_box(public, b"k" * 32, b"")


def test_sealing_to_something_that_is_no_key_is_the_peers_fault() -> None:
    with pytest.raises(PeerFault) as refused:
        seal_to_box("00" * 10, b"k" * 32, b"")
    assert refused.value.code == Code.BAD_KEY


def test_randomness_has_its_length_and_does_not_repeat() -> None:
    assert len({new_salt() for _ in range(100)}) == 100
    assert (len(new_salt()), len(new_frame_nonce()), len(new_secret())) == (32, 24, 32)
    starts = {new_search_start() for _ in range(100)}
    assert len(starts) == 100
    assert max(starts) < 2**64
    assert max(starts) > 2**60


def test_clocks_speak_milliseconds() -> None:
    assert 1_700_000_000_000 < SystemClock().now_ms() < 10_000_000_000_000
    first = monotonic_ms()
    assert monotonic_ms() >= first
    clock = ManualClock(5)
    clock.advance(3)
    assert clock.now_ms() == 8
    clock.set(1)
    assert clock.now_ms() == 1
