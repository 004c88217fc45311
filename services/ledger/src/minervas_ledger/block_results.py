"""What became of a block, as the answer that other services get."""

from __future__ import annotations

from minervas_core.chain import BlockOutcome
from minervas_core.errors import MinervasError
from minervas_core.node_messages import BlockResult


def block_result(outcome: BlockOutcome) -> BlockResult:
    """Answer with an outcome."""
    error = outcome.error
    return BlockResult(
        status=outcome.status,
        hash=outcome.hash,
        code=error.code.value if error else "",
        message=error.message if error else "",
    )


def refused_result(error: MinervasError) -> BlockResult:
    """Answer with a refusal of something that is not even a block of ours."""
    return BlockResult(status="refused", code=error.code.value, message=error.message)
