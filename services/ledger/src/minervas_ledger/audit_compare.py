"""What rows should say, and how the first difference is reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from minervas_core.blocks import Block
from minervas_core.encoding import encode
from minervas_core.errors import Code, LocalFault
from minervas_core.state import BlockUndo
from minervas_ledger.store.audit_rows import BlockRow, SearchRow, TransactionRow

MAX_SHOWN = 80
"""Characters of a value that a report shows."""

Row = BlockRow | TransactionRow | SearchRow


def mismatch(table: str, row: str, reason: str) -> LocalFault:
    """A row that does not follow from the chain."""
    return LocalFault(Code.AUDIT_MISMATCH, "This row does not follow from genesis", table=table, row=row, reason=reason)


def compare(table: str, name: str, found: Row, expected: Row) -> None:
    """Compare a row with what it should be.

    Raises:
        LocalFault: ``audit_mismatch`` naming the first column that differs.
    """
    for field in dataclasses.fields(expected):
        is_there, should_be = getattr(found, field.name), getattr(expected, field.name)
        if is_there != should_be:
            raise mismatch(table, name, f"{field.name} is {shown(is_there)}, not {shown(should_be)}")


def compare_transactions(block: Block, found: Sequence[TransactionRow]) -> None:
    """Compare the transaction rows of one block with its content.

    Raises:
        LocalFault: ``audit_mismatch`` naming the first row that differs, is missing, or is too many.
    """
    expected = transaction_rows(block)
    for row, should_be in zip(found, expected, strict=False):
        compare("transactions", _place(block, should_be.position), row, should_be)
    if len(found) < len(expected):
        raise mismatch("transactions", _place(block, len(found)), "the row is missing")
    if len(found) > len(expected):
        raise mismatch(
            "transactions", _place(block, found[len(expected)].position), "the block has no such transaction"
        )


def block_row(
    block: Block, *, work: int, first_seen: int, best_chain: bool, invalid: bool, undo: BlockUndo | None
) -> BlockRow:
    """The row that a block should have."""
    header = block.header
    return BlockRow(
        hash=block.hash,
        prev=header.prev,
        height=header.height,
        miner=header.miner,
        time_ms=header.time_ms,
        difficulty=header.difficulty,
        transactions=len(block.transactions),
        work=work,
        first_seen=first_seen,
        best_chain=best_chain,
        invalid=invalid,
        header=encode(header),
        raw=block.raw,
        undo=None if undo is None else encode(undo),
    )


def transaction_rows(block: Block) -> list[TransactionRow]:
    """The rows that a block's transactions should have."""
    return [
        TransactionRow(
            id=transaction.id,
            block=block.hash,
            position=position,
            kind=transaction.kind,
            raw=transaction.raw,
        )
        for position, transaction in enumerate(block.transactions)
    ]


def block_name(row: BlockRow) -> str:
    """How a report names a block."""
    return f"height {row.height}, hash {row.hash}"


def _place(block: Block, position: int) -> str:
    return f"position {position} of block {block.hash} at height {block.header.height}"


def shown(value: object) -> str:
    """A value as a report shows it."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text)} characters)"
