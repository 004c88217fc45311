"""Canonical bytes: RFC 8785 restricted, one spelling for each value, only `InvalidEncoding` for bad bytes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minervas_core.encoding import (
    MAX_DEPTH,
    MAX_INTEGER,
    MAX_REASON_LENGTH,
    Count,
    FieldName,
    Hash,
    Record,
    WorkSum,
    decode,
    decode_untyped,
    encode,
    encode_untyped,
    sha256_hex,
)
from minervas_core.errors import Code, InvalidEncoding
from tests.support.examples import examples
from tools.vectors.samples import all_samples

LARGE = 10_000_000
SAMPLES = all_samples()

keys = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"))
scalars = st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


class Sample(Record, frozen=True, kw_only=True):
    count: Count
    digest: Hash
    work: WorkSum
    table: dict[FieldName, Count]
    embedded: msgspec.Raw
    note: str | msgspec.UnsetType = msgspec.UNSET


SAMPLE = Sample(count=1, digest="ab" * 32, work="ff", table={"b": 2, "a": 1}, embedded=msgspec.Raw(b"[1]"))


@given(values)
@settings(max_examples=examples(300))
def test_canonical_bytes_equal_those_of_the_oracle(value: Any) -> None:
    assert encode_untyped(value) == rfc8785.dumps(value)


@given(values)
@settings(max_examples=examples(300))
def test_decoding_gives_the_value_back(value: Any) -> None:
    assert decode_untyped(encode_untyped(value), max_bytes=LARGE) == value


@pytest.mark.parametrize("name", SAMPLES)
def test_every_message_type_encodes_as_the_oracle_does(name: str) -> None:
    data = encode(SAMPLES[name])
    assert rfc8785.dumps(json.loads(data)) == data


@pytest.mark.parametrize("name", SAMPLES)
def test_every_message_type_decodes_to_itself(name: str) -> None:
    sample = SAMPLES[name]
    again = decode(encode(sample), type(sample), max_bytes=LARGE)
    assert type(again) is type(sample)
    assert encode(again) == encode(sample)


def test_every_record_type_of_core_has_a_sample() -> None:
    """A new message type must come with a sample, and with it a vector."""
    covered: set[type[Record]] = set()
    for sample in SAMPLES.values():
        covered |= {base for kind in _types_within(sample) for base in kind.__mro__}
    known = {kind for kind in _subclasses(Record) if kind.__module__.startswith("minervas_core.")}
    elsewhere = {
        "minervas_core.roster",  # what a ledger keeps and never sends: these have tests of their own
        "minervas_core.state",
        "minervas_core.market.state",
        "minervas_core.governance.state",
        "minervas_core.finality.state",
        "minervas_core.record_tables",
    }
    assert {kind.__name__ for kind in known - covered if kind.__module__ not in elsewhere} == set()


def _subclasses(kind: type[Record]) -> set[type[Record]]:
    found = set(kind.__subclasses__())
    return found.union(*(_subclasses(one) for one in found)) if found else found


def _types_within(value: object) -> set[type[Record]]:
    if isinstance(value, Record):
        inside = [getattr(value, name) for name in value.__struct_fields__]
        return {type(value)}.union(*(_types_within(one) for one in inside))
    if isinstance(value, list):
        return set().union(*(_types_within(one) for one in value))
    return set()


@given(st.binary(max_size=200))
@example(b"[" * 200_000)
@example(b'"\xff"')
@settings(max_examples=examples(500))
def test_any_bytes_are_a_value_or_an_invalid_encoding(data: bytes) -> None:
    try:
        value = decode_untyped(data, max_bytes=LARGE)
    except InvalidEncoding:
        return
    assert encode_untyped(value) == data


@given(st.text(alphabet='[]{}":,0123456789.eE+-truefalsn\\ab ', max_size=40))
@settings(max_examples=examples(500))
def test_anything_like_json_is_a_value_or_an_invalid_encoding(text: str) -> None:
    try:
        value = decode_untyped(text.encode(), max_bytes=LARGE)
    except InvalidEncoding:
        return
    assert encode_untyped(value) == text.encode()


@given(name=st.sampled_from(sorted(SAMPLES)), data=st.data())
@settings(max_examples=examples(400))
def test_a_damaged_message_is_refused_or_another_value(name: str, data: st.DataObject) -> None:
    """No damage makes a decoder fail otherwise, and none yields the same value from other bytes."""
    kind, good = type(SAMPLES[name]), encode(SAMPLES[name])
    start = data.draw(st.integers(0, len(good)))
    length = data.draw(st.integers(0, 3))
    bad = good[:start] + data.draw(st.binary(max_size=3)) + good[start + length :]
    try:
        value = decode(bad, kind, max_bytes=LARGE)
    except InvalidEncoding:
        return
    assert encode(value) == bad


def test_a_typed_value_with_a_default_has_one_spelling_only() -> None:
    """A field left out is not the field with its default: otherwise one value had two byte strings."""
    data = encode(SAMPLES["GetBlocks"])
    assert data == b'{"below_height":0,"limit":20}'
    with pytest.raises(InvalidEncoding) as refused:
        decode(b'{"limit":20}', type(SAMPLES["GetBlocks"]), max_bytes=LARGE)
    assert refused.value.code is Code.NOT_CANONICAL


@pytest.mark.parametrize(
    "change",
    [
        {"count": 1.0},
        {"count": True},
        {"count": "1"},
        {"count": -1},
        {"count": MAX_INTEGER + 1},
        {"count": None},
        {"digest": "AB" * 32},
        {"digest": "ab" * 31},
        {"digest": "ab" * 32 + "\n"},
        {"work": "0f"},
        {"work": ""},
        {"work": "1" + "0" * 64},
        {"table": {"A": 1}},
        {"table": {"a-b": 1}},
        {"table": {"a": 0.5}},
        {"table": {"a" * 65: 1}},
        {"note": None},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_field_of_the_wrong_form_is_refused(change: dict[str, object]) -> None:
    document = json.loads(encode(SAMPLE)) | change
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(InvalidEncoding) as refused:
        decode(data, Sample, max_bytes=LARGE)
    assert refused.value.code is Code.WRONG_SHAPE


def test_an_embedded_document_keeps_its_bytes() -> None:
    """What is embedded is judged by its own decoder; here it must only survive unchanged."""
    data = encode(SAMPLE).replace(b'"embedded":[1]', b'"embedded":[1, 1.50]')
    assert bytes(decode(data, Sample, max_bytes=LARGE).embedded) == b"[1, 1.50]"


def test_a_blank_around_an_embedded_document_is_refused() -> None:
    data = encode(SAMPLE).replace(b'"embedded":[1]', b'"embedded": [1]')
    with pytest.raises(InvalidEncoding) as refused:
        decode(data, Sample, max_bytes=LARGE)
    assert refused.value.code is Code.NOT_CANONICAL


def test_size_is_checked_before_anything_is_parsed() -> None:
    with pytest.raises(InvalidEncoding) as refused:
        decode_untyped(b"[" * 1_000, max_bytes=999)
    assert refused.value.code is Code.TOO_LARGE
    assert refused.value.values == {"size_bytes": 1_000, "max_bytes": 999}
    assert decode_untyped(b'"' + b"a" * 8 + b'"', max_bytes=10) == "a" * 8


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        1.0,
        float("nan"),
        None,
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        10**5_000,
        b"bytes",
        {1},
        "\ud800",
        {"a": ["\udfff"]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_canonical_json_lacks_is_not_encoded(value: object) -> None:
    with pytest.raises(InvalidEncoding) as refused:
        encode_untyped(value)
    assert refused.value.code is Code.WRONG_SHAPE


@pytest.mark.parametrize("key", ["A", "", "1a", "_a", "a-b", "a b", "é", "a\n", "\ud800", 1], ids=ascii)
def test_a_bad_key_is_not_encoded(key: Any) -> None:
    with pytest.raises(InvalidEncoding) as refused:
        encode_untyped({key: 1})
    assert refused.value.code is Code.WRONG_SHAPE


def test_nesting_has_a_limit() -> None:
    deepest: object = 1
    for _ in range(MAX_DEPTH):
        deepest = [deepest]
    data = encode_untyped(deepest)
    assert decode_untyped(data, max_bytes=LARGE) == deepest
    with pytest.raises(InvalidEncoding):
        encode_untyped([deepest])
    with pytest.raises(InvalidEncoding):
        decode_untyped(b"[" + data + b"]", max_bytes=LARGE)


def test_an_explanation_does_not_quote_without_limit() -> None:
    data = b'{"' + b"x" * 100_000 + b'":1}'
    with pytest.raises(InvalidEncoding) as refused:
        decode(data, Sample, max_bytes=LARGE)
    assert len(str(refused.value.values["reason"])) <= MAX_REASON_LENGTH


def test_hash_is_sha256_in_lower_case_hex() -> None:
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
