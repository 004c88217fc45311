"""The audit of blocks beside the best chain: valid by themselves, and with a reason not to be followed."""

from __future__ import annotations

from collections.abc import Iterator

from minervas_core.audit import replay
from minervas_core.blocks import Block, decode_block
from minervas_core.errors import Code, InvalidBlock, LocalFault, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.signature_cache import SignatureCache
from minervas_core.tree import BlockTree, HeaderNode, is_better
from minervas_core.validation import check_block_body, check_header
from minervas_ledger.audit_compare import block_name, block_row, compare, compare_transactions, mismatch
from minervas_ledger.store.audit_rows import BlockRow, block_transactions, side_blocks
from minervas_ledger.store.chain_state import read_raw
from minervas_ledger.store.connection import Connection


class SideBranchAudit:
    """Goes on where the best chain's audit ended.

    Args:
        connection: in the audit's snapshot.
        genesis: the consortium's genesis.
        tree: holds the best chain; gets the side branches.
        justified: where the fork choice starts: more work counts only upon it.
    """

    def __init__(self, connection: Connection, genesis: Genesis, tree: BlockTree, justified: HeaderNode) -> None:
        self._connection = connection
        self._genesis = genesis
        self._tree = tree
        self._justified = justified
        self._signatures = SignatureCache(genesis)

    def run(self) -> None:
        """Check every row.

        Raises:
            LocalFault: ``audit_mismatch``.
        """
        for row in side_blocks(self._connection):
            try:
                block = decode_block(row.raw)
                parent = self._tree.get(block.header.prev)
                if parent is None:
                    raise mismatch("blocks", block_name(row), "its predecessor is missing")
                check_header(block.header, block.hash, parent, self._genesis)
                check_block_body(block, self._signatures)
            except PeerFault as error:
                raise mismatch("blocks", block_name(row), str(error)) from error
            self._check_row(row, block, parent)
            compare_transactions(block, block_transactions(self._connection, block.hash))

    def _check_row(self, row: BlockRow, block: Block, parent: HeaderNode) -> None:
        node = self._tree.add(block.header, block.hash, parent)
        if parent.state == "invalid" or (row.invalid and self._breaks_a_rule(node)):
            node.state = "invalid"
        else:
            self._tree.set_body(node, row.first_seen)
        expected = block_row(
            block,
            work=node.work,
            first_seen=row.first_seen,
            best_chain=False,
            invalid=node.state == "invalid",
            undo=None,
        )
        compare("blocks", block_name(row), row, expected)
        is_choice = node.state == "body" and self._tree.descends(node, self._justified)
        if is_choice and is_better(node, self._tree.tip) and not self._cannot_be_judged(node):
            raise mismatch("blocks", block_name(row), "it is better than the tip, but not on the best chain")

    def _breaks_a_rule(self, node: HeaderNode) -> bool:
        """Whether the branch up to this block, replayed from genesis, ends with a refusal of this block."""
        path = self._tree.path(self._tree.root, node)
        taken = 0
        try:
            for _ in replay(self._genesis, self._raw(path)):
                taken += 1
        except InvalidBlock:
            return taken == len(path) - 1
        return False

    def _cannot_be_judged(self, node: HeaderNode) -> bool:
        """Whether the branch goes on under rules that this software does not have: then the chain waits below it."""
        path = self._tree.path(self._tree.root, node)
        try:
            for _ in replay(self._genesis, self._raw(path)):
                pass
        except LocalFault as error:
            return error.code == Code.SOFTWARE_TOO_OLD
        except InvalidBlock:
            return False
        return False

    def _raw(self, path: list[HeaderNode]) -> Iterator[bytes]:
        for node in path:
            yield read_raw(self._connection, node.hash)
