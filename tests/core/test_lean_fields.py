"""Lean fields: their types check the length only, so their digits and names are judged after decoding, all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from minervas_core.encoding import Record, encode
from minervas_core.errors import Code, InvalidEncoding
from minervas_core.market.records import MarketBody, Offer
from minervas_core.market.settlement_records import Settling
from minervas_core.metering import Generation
from minervas_core.transactions import TransactionBody, TransactionForm, decode_transaction
from tools.vectors.document_cases import changed, put
from tools.vectors.samples import all_samples

BODIES: tuple[type[Record], ...] = get_args(TransactionBody)


def _lean(kind: Any) -> str:
    """The pattern of a lean type, or nothing."""
    if isinstance(kind, msgspec.inspect.Metadata):
        return str((kind.extra_json_schema or {}).get("pattern", ""))
    return ""


def _lean_fields(record: type[Record]) -> Iterator[tuple[str, str, bool]]:
    """Name and pattern of each lean field, and whether it is a list."""
    described = msgspec.inspect.type_info(record)
    assert isinstance(described, msgspec.inspect.StructType)
    for field in described.fields:
        is_list = isinstance(field.type, msgspec.inspect.ListType)
        kind = field.type.item_type if isinstance(field.type, msgspec.inspect.ListType) else field.type
        if pattern := _lean(kind):
            yield field.name, pattern, is_list


SAMPLES = [encode(sample) for name, sample in all_samples().items() if name.startswith("TransactionForm, ")]
CASES = [(record, *field) for record in BODIES for field in _lean_fields(record)]


def _good(pattern: str) -> str:
    digits = re.search(r"\{(\d+)\}\\Z", pattern)
    return "a" * int(digits[1]) if digits else "ab"


def _bad(pattern: str) -> list[str]:
    good = _good(pattern)
    if len(good) == 2:
        return ["", "-a", "a-", "A", "a_b", "a\n", "é", "a/b", "a" * 33]
    return [good[:-1], good + "a", "", *(good[:-1] + wrong for wrong in ("g", "A", "\n", "é", "٣", '"', " "))]


def _form(record: type[Record]) -> bytes:
    """A transaction of this kind with good lean fields; the rest is as one of the vectors has it."""
    sample = next(raw for raw in SAMPLES if record.__struct_config__.tag == msgspec.json.decode(raw)["body"]["type"])
    for name, pattern, is_list in _lean_fields(record):
        good = _good(pattern)
        value: object = [good, "b" * 64] if is_list else good
        sample = changed(sample, put("body", name, value=value))
    return sample


@pytest.mark.parametrize(("record", "name", "pattern", "is_list"), CASES, ids=str)
def test_every_lean_field_of_a_transaction_is_judged(
    record: type[Record], name: str, pattern: str, is_list: bool
) -> None:
    raw = _form(record)
    decode_transaction(raw)
    for bad in _bad(pattern):
        value: object = ["b" * 64, bad] if is_list else bad
        with pytest.raises(InvalidEncoding) as refused:
            decode_transaction(changed(raw, put("body", name, value=value)))
        assert refused.value.code is Code.WRONG_SHAPE, bad


def test_the_signature_is_judged() -> None:
    for bad in _bad(r"^[0-9a-f]{128}\Z"):
        with pytest.raises(InvalidEncoding) as refused:
            decode_transaction(changed(SAMPLES[0], put("signature", value=bad)))
        assert refused.value.code is Code.WRONG_SHAPE, bad


def test_lean_fields_are_only_in_transactions() -> None:
    """Everything else is decoded without a judge. Rare kinds of transactions have none."""
    lean = {record for record in _all_records(Record) if any(_lean_fields(record))}
    assert {TransactionForm, Generation, Offer} < lean <= {*BODIES, TransactionForm, MarketBody, Settling}


def _all_records(record: type[Record]) -> Iterator[type[Record]]:
    for each in record.__subclasses__():
        yield each
        yield from _all_records(each)
