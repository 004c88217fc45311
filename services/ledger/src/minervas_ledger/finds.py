"""What the miner hands in: found blocks and abandoned searches."""

from __future__ import annotations

import logging

import msgspec

from minervas_core.abandoned import check_abandoned, is_search_for
from minervas_core.blocks import assemble_block
from minervas_core.errors import Code, InvalidBlock, MinervasError, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.node_messages import Abandoned, AbandonedSearch, Announce, BlockResult, Found, Stored
from minervas_ledger import metrics, refusals
from minervas_ledger.block_results import block_result, refused_result
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.template_book import GivenTemplate
from minervas_ledger.templates import Sender, TemplateMaker
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

MINER = "miner"


class Finds:
    """Takes the results of searches. Every call may be repeated by a miner that missed the answer.

    Args:
        member: whose node it is.
        genesis: the consortium's genesis.
        worker: the chain.
        templates: what the miner was given.
        link: to the peer, which tells everybody.
        clock: time of day.
    """

    def __init__(
        self,
        *,
        member: str,
        genesis: Genesis,
        worker: ChainWorker,
        templates: TemplateMaker,
        link: Sender,
        clock: Clock,
    ) -> None:
        self._member = member
        self._genesis = genesis
        self._worker = worker
        self._templates = templates
        self._link = link
        self._clock = clock

    async def found(self, found: Found) -> BlockResult:
        """Put a found block together and treat it as any other block; if it is in, tell everybody.

        Raises:
            TransientFault: ``database_away``: the miner will repeat it.
        """
        given = self._templates.book.get(found.template_id)
        if given is None or not is_search_for(found.header, given.draft):
            error = InvalidBlock(
                Code.TEMPLATE_STALE, "Not a search for a template that is remembered", template=found.template_id
            )
            refusals.record("found", error, origin=MINER)
            self._templates.renew()
            return refused_result(error)
        return await self._connect(found, given)

    async def _connect(self, found: Found, given: GivenTemplate) -> BlockResult:
        now_ms = self._clock.now_ms()
        block = assemble_block(found.header, found.signature, given.transactions, given.votes)
        [outcome] = await self._worker.run(lambda chain: chain.take_blocks([block], now_ms, origin=MINER))
        if self._worker.view.tip.hash == block.hash:  # also when it is handed in again: others may have missed it
            await self._announce(block.raw)
        elif outcome.status == "refused":
            self._templates.renew()
        return block_result(outcome)

    async def _announce(self, raw: bytes) -> None:
        """Others will also see our tip in our presence, so a failure here only makes it slower."""
        try:
            await self._link.send("peer", "announce", Announce(block=msgspec.Raw(raw)))
        except MinervasError as error:
            log.warning("announce_failed", extra={"fields": {"code": error.code, "reason": str(error)}})

    async def abandoned(self, abandoned: Abandoned) -> Stored:
        """Check an abandoned search by recomputation and store it; then a new template is due.

        Raises:
            PeerFault: ``abandoned_claim`` if it is not what it claims.
            TransientFault: ``database_away``: the miner will repeat it.
        """
        search = msgspec.structs.replace(abandoned.search, stored_at_ms=self._clock.now_ms())
        self._check_search(abandoned.template_id, search)
        is_new = await self._worker.run(lambda chain: chain.store_search(search))
        if is_new:
            metrics.ABANDONED_SEARCHES.inc()
            fields = {"height": search.header.height, "tries": search.tries, "lowest_hash": search.lowest_hash}
            log.info("search_abandoned", extra={"fields": fields})
            self._templates.search_over(abandoned.template_id)
        return Stored()

    def _check_search(self, template_id: str, search: AbandonedSearch) -> None:
        """A search for a template from before our last start can no longer be compared with it."""
        header, given = search.header, self._templates.book.get(template_id)
        ours = header.miner == self._member and header.network == self._genesis.network
        if not ours or (given is not None and not is_search_for(header, given.draft)):
            raise PeerFault(Code.ABANDONED_CLAIM, "Not a search for its template", template=template_id)
        check_abandoned(search)
