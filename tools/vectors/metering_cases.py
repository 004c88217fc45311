"""Readings: batches and roots."""

from __future__ import annotations

import json

from minervas_core.encoding import decode, encode
from minervas_core.keys import signing_bytes
from minervas_core.metering import (
    BATCH_PURPOSE,
    MAX_BATCH_BYTES,
    ReadingBatch,
    check_batch,
    readings_root,
    sign_batch,
)
from tools.vectors.document_cases import changed, drop, put
from tools.vectors.fixtures import HAENAM, MOKPO, NETWORK, OTHER_NETWORK
from tools.vectors.format import Case, refused
from tools.vectors.market_fixtures import BATCH, READINGS, gateway_key


def batch_cases() -> list[Case]:
    """A signed batch."""
    return [
        {
            "name": f"two readings of {MOKPO.member}",
            "member": MOKPO.member,
            "network": NETWORK,
            "canonical_hex": encode(BATCH).hex(),
            "signed_bytes_hex": signing_bytes(BATCH_PURPOSE, NETWORK, encode(BATCH.body)).hex(),
            "gateway": BATCH.body.gateway,
            "signature": BATCH.signature,
        }
    ]


def judge_batch(raw: bytes) -> None:
    """Check a batch that came on the topic of the vectors' member."""
    check_batch(decode(raw, ReadingBatch, max_bytes=MAX_BATCH_BYTES), network=NETWORK, member=MOKPO.member)


def refused_batch_cases() -> list[Case]:
    """Batches that are refused, each with one fault."""
    raw = encode(BATCH)
    faults = {
        "changed after signing": changed(raw, put("body", "readings", 0, "power_mw", value=1)),
        "signed by another gateway": encode(sign_batch(BATCH.body, gateway_key(HAENAM))),
        "of another member": changed(raw, put("body", "member", value=HAENAM.member)),
        "of another network": changed(raw, put("body", "network", value=OTHER_NETWORK)),
        "without readings": changed(raw, put("body", "readings", value=[])),
        "201 readings": changed(raw, put("body", "readings", value=[json.loads(encode(READINGS[1]))] * 201)),
        "a reading with a fraction": raw.replace(b'"power_mw":83100', b'"power_mw":83100.5'),
        "a reading without time": changed(raw, drop("body", "readings", 0, "time_ms")),
        "an unknown quality": changed(raw, put("body", "readings", 0, "quality", value="guessed")),
        "an unknown fault": changed(raw, put("body", "readings", 1, "fault", value="tired")),
        "half a byte from the wire": changed(raw, put("body", "readings", 0, "reply", value="0")),
        "a null value": changed(raw, put("body", "readings", 1, "power_mw", value=None)),
    }
    return refused(faults, judge_batch)


def root_cases() -> list[Case]:
    """Roots over readings as a statement carries them."""
    return [
        {
            "name": f"{len(readings)} readings",
            "readings": [json.loads(encode(reading)) for reading in readings],
            "root": readings_root(readings),
        }
        for readings in ((), READINGS[:1], READINGS)
    ]
