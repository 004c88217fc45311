"""Readings, their batches and roots (minervas_core.metering)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, InvalidEncoding, InvalidFrame
from minervas_core.merkle import merkle_root
from minervas_core.metering import (
    MAX_BATCH_BYTES,
    MAX_READINGS_PER_BATCH,
    Reading,
    ReadingBatch,
    check_batch,
    readings_root,
    sign_batch,
)
from tools.vectors.document_cases import changed, drop, put
from tools.vectors.fixtures import HAENAM, MOKPO, NETWORK, OTHER_NETWORK
from tools.vectors.market_fixtures import BATCH, READINGS, gateway_key


def refused(batch: ReadingBatch, *, network: str = NETWORK, member: str = MOKPO.member) -> Code:
    with pytest.raises(InvalidFrame) as caught:
        check_batch(batch, network=network, member=member)
    return caught.value.code


def test_a_batch_is_accepted_from_its_gateway() -> None:
    check_batch(decode(encode(BATCH), ReadingBatch, max_bytes=MAX_BATCH_BYTES), network=NETWORK, member=MOKPO.member)


def test_a_batch_belongs_to_its_network_and_to_the_member_of_the_topic() -> None:
    assert refused(BATCH, network=OTHER_NETWORK) == Code.WRONG_NETWORK
    assert refused(BATCH, member=HAENAM.member) == Code.FRAME_FOREIGN_SENDER


def test_a_batch_is_signed_by_the_gateway_that_it_names() -> None:
    forged = sign_batch(BATCH.body, gateway_key(HAENAM))
    assert refused(forged) == Code.BAD_SIGNATURE
    altered = msgspec.structs.replace(BATCH.body, spool="0" * 32)
    assert refused(msgspec.structs.replace(BATCH, body=altered)) == Code.BAD_SIGNATURE


def test_the_largest_batch_fits_its_limit() -> None:
    largest = msgspec.structs.replace(
        READINGS[0],
        meter="m" * 32,
        channel="c" * 32,
        sequence=2**53 - 1,
        time_ms=2**53 - 1,
        power_mw=-(2**53) + 1,
        voltage_mv=-(2**53) + 1,
        current_ma=-(2**53) + 1,
        energy_mwh=2**53 - 1,
        request="ff" * 260,
        reply="ff" * 260,
    )
    body = msgspec.structs.replace(BATCH.body, readings=[largest] * MAX_READINGS_PER_BATCH)
    raw = encode(ReadingBatch(body=body, signature="0" * 128))
    assert len(raw) < MAX_BATCH_BYTES
    decode(raw, ReadingBatch, max_bytes=MAX_BATCH_BYTES)


@pytest.mark.parametrize("count", [0, MAX_READINGS_PER_BATCH + 1])
def test_a_batch_has_some_readings_and_not_too_many(count: int) -> None:
    body = msgspec.structs.replace(BATCH.body, readings=[READINGS[1]] * count)
    with pytest.raises(InvalidEncoding) as caught:
        decode(encode(ReadingBatch(body=body, signature="0" * 128)), ReadingBatch, max_bytes=MAX_BATCH_BYTES)
    assert caught.value.code == Code.WRONG_SHAPE


@pytest.mark.parametrize(
    "change",
    [
        put("quality", value="guessed"),
        put("fault", value="tired"),
        put("power_mw", value=1.5),
        put("energy_mwh", value=-1),
        put("reply", value="0"),
        put("reply", value="FF"),
        put("meter", value="Roof"),
        put("note", value=""),
        drop("time_ms"),
    ],
)
def test_a_reading_of_another_form_is_refused(change: object) -> None:
    with pytest.raises(InvalidEncoding):
        decode(changed(encode(READINGS[0]), change), Reading, max_bytes=10_000)  # type: ignore[arg-type]


def test_what_was_not_measured_has_no_values_at_all() -> None:
    assert b"power" not in encode(READINGS[1])
    assert b"energy" not in encode(READINGS[1])


@given(st.lists(st.sampled_from(READINGS), max_size=9))
def test_the_root_is_the_merkle_root_of_the_canonical_readings(readings: list[Reading]) -> None:
    assert readings_root(readings) == merkle_root([encode(each) for each in readings])


def test_every_reading_counts_in_the_root() -> None:
    other = msgspec.structs.replace(READINGS[0], sequence=5)
    roots = {readings_root(each) for each in ((READINGS[0],), (other,), READINGS, READINGS[::-1])}
    assert len(roots) == 4
