"""Telling our peer about a new tip: at once, and again now and then, because the bus may lose a message."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from minervas_core.errors import MinervasError
from minervas_core.node_messages import TipChanged
from minervas_ledger.chain_view import ChainView
from minervas_ledger.chain_worker import ChainWorker
from minervas_ledger.templates import Sender

log = logging.getLogger(__name__)

REPEAT_S = 10.0


class TipTeller:
    """Sends the newest tip; tips that are overtaken while the bus is slow are left out.

    Args:
        worker: the chain.
        link: to the peer.
    """

    def __init__(self, worker: ChainWorker, link: Sender) -> None:
        self._worker = worker
        self._link = link
        self._changed = asyncio.Event()

    def chain_changed(self, before: ChainView, after: ChainView) -> None:
        """The chain may have a new tip."""
        if _told(before) != _told(after):
            self._changed.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            self._changed.clear()
            try:
                await self._link.send("peer", "tip", _told(self._worker.view))
            except MinervasError as error:
                log.info("tip_not_told", extra={"fields": {"code": error.code, "reason": str(error)}})
            try:
                async with asyncio.timeout(REPEAT_S):
                    await self._changed.wait()
            except TimeoutError:
                continue


def _told(view: ChainView) -> TipChanged:
    return TipChanged(
        tip=view.tip, roster_hash=view.roster_hash, syncing=view.syncing, authority=view.authority or msgspec.UNSET
    )
