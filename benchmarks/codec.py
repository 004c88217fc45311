"""A transaction from bytes and to bytes, against the standard library's json doing the same."""

from __future__ import annotations

import json

from benchmarks.comparing import compared, seconds
from benchmarks.naive import plain_json
from benchmarks.results import Result
from benchmarks.world import make_world
from minervas_core.encoding import encode
from minervas_core.transactions import TransactionForm, decode_transaction


def measure(*, transactions: int = 500, rounds: int = 15) -> list[Result]:
    """Measure; takes about 3 seconds.

    Both sides read the same bytes, refuse what is not canonical or not of the right form, compute the id, and encode
    again. ``bare_json`` only reads, compares and writes: it would take anything that is canonical.
    """
    raw = [each.raw for each in make_world(1, transactions).blocks[0].transactions]
    naive, bare, ours = [], [], []
    for _ in range(rounds):
        naive.append(seconds(lambda: [_naive(each) for each in raw]))
        bare.append(seconds(lambda: [_bare(each) for each in raw]))
        ours.append(seconds(lambda: [_ours(each) for each in raw]))
    same = compared("codec.transaction", naive, ours, per_s=len(raw), unit="tx/s", goal=5)
    return [*same, compared("codec.transaction_vs_bare_json", bare, ours, per_s=len(raw), unit="tx/s", goal=None)[-1]]


def _ours(raw: bytes) -> bytes:
    transaction = decode_transaction(raw)
    return encode(TransactionForm(body=transaction.body, signature=transaction.signature))


def _naive(raw: bytes) -> bytes:
    _, content = plain_json.decode(raw)
    return plain_json.encode(content)


def _bare(raw: bytes) -> bytes:
    content = json.loads(raw)
    if plain_json.encode(content) != raw:
        raise ValueError("not canonical")
    return plain_json.encode(content)
