"""Membership transactions on their way from admission to our ledger.

They come by two ways: admission publishes new ones, and we ask for all of them at start, after every reconnect and
from time to time; with them come changes of parameters and of the authority's key. Only what the authority signed and
our tip does not show yet is passed on. One that admission had not sent us before, and that our ledger did not know, is
told to the other members: they may have missed it too.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, InvalidFrame, MinervasError, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.governance.records import ChangeAuthority
from minervas_core.messages import MAX_PLAIN_BYTES, Failure, GetMembership, MembershipBatch, Reply
from minervas_core.node_messages import Submit, SubmitResults
from minervas_core.rights import ADMISSION
from minervas_core.topics import mesh
from minervas_core.transactions import Admit, Membership, Transaction
from minervas_peer.authority_keys import AuthorityKeys, check_by_itself, check_sender
from minervas_peer.gossip import Gossip
from minervas_peer.ledger_link import LedgerLink
from minervas_peer.member_directory import ENDED, MemberDirectory, Standing
from minervas_peer.refusals import Refusals
from minervas_runtime.bus import Bus, Message
from minervas_runtime.requests import Requester

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
RETRY_S = 5.0
"""Pause before admission is asked again after it did not answer."""
MAX_PAGES = 1_000
"""Answers to one question: 400,000 transactions."""

MAX_ANNOUNCED = 64
"""Keys of the authority that admission may name beyond our tip: more than a consortium will ever have."""

MAX_REMEMBERED = 20_000
"""Transactions known to be done with: more than a consortium will ever have."""


class MembershipFeed:
    """Passes membership transactions on."""

    def __init__(
        self,
        *,
        bus: Bus,
        requester: Requester,
        genesis: Genesis,
        directory: MemberDirectory,
        authorities: AuthorityKeys,
        ledger: LedgerLink,
        gossip: Gossip,
        refusals: Refusals,
        interval_ms: int,
    ) -> None:
        self._bus = bus
        self._requester = requester
        self._genesis = genesis
        self._directory = directory
        self._authorities = authorities
        self._announced: set[str] = set()
        """Keys by which admission says that the authority's was replaced: our ledger judges that."""
        self._ledger = ledger
        self._gossip = gossip
        self._refusals = refusals
        self._interval_ms = interval_ms
        self._pull = asyncio.Event()
        self._done: set[str] = set()
        """Transactions that our ledger has found on its chain or expired: not handed to it again and again."""
        bus.on_connection_change(lambda connected: self._pull.set() if connected else None)

    async def start(self) -> None:
        """Subscribe to what admission publishes.

        Raises:
            BusDenied, BusRefused, BusOffline: as `Bus.subscribe`.
        """
        await self._bus.subscribe("mesh/v1/+/+/tx", self._on_message)

    async def run(self) -> None:
        """Ask admission in time until cancelled."""
        while True:
            self._pull.clear()
            pause_s = self._interval_ms / 1000
            try:
                await self._pull_all()
            except MinervasError as error:
                log.info("membership_not_pulled", extra={"fields": {"code": error.code, "reason": str(error)}})
                pause_s = min(pause_s, RETRY_S)
            try:
                async with asyncio.timeout(pause_s):
                    await self._pull.wait()
            except TimeoutError:
                continue

    async def _on_message(self, message: Message) -> None:
        if message.topic != mesh(ADMISSION, "tx"):
            return
        try:
            batch = decode(message.payload, MembershipBatch, max_bytes=MAX_PLAIN_BYTES)
            await self._pass_on(batch, relay=False)
        except MinervasError as error:
            self._refusals.note("membership", error, member=ADMISSION.member)

    async def _pull_all(self) -> None:
        """Ask admission for all transactions, page by page.

        Raises:
            MinervasError: if admission does not answer or answers nonsense, or our ledger is away.
        """
        after = 0
        for _ in range(MAX_PAGES):
            batch = await self._page(after)
            await self._pass_on(batch, relay=True)
            after = batch.first + len(batch.transactions)
            if not batch.transactions or after >= batch.total:
                return

    async def _page(self, after: int) -> MembershipBatch:
        message = await self._requester.request(
            ADMISSION.member, ADMISSION.service, "get_membership", encode(GetMembership(after=after)), TIMEOUT_S
        )
        reply = decode(message.payload, Reply, max_bytes=MAX_PLAIN_BYTES)
        if isinstance(reply.failure, Failure) or isinstance(reply.body, msgspec.UnsetType):
            raise PeerFault(Code.NOT_READY, "Admission did not give its membership transactions")
        batch = decode(bytes(reply.body), MembershipBatch, max_bytes=MAX_PLAIN_BYTES)
        if batch.first != after:
            raise InvalidFrame(Code.BAD_FRAME, "Another page than asked for", asked=after, first=batch.first)
        return batch

    async def _pass_on(self, batch: MembershipBatch, *, relay: bool) -> None:
        """Hand what is signed and new to the ledger."""
        new = [transaction for raw in batch.transactions if (transaction := self._checked(bytes(raw)))]
        if not new:
            return
        body = Submit(transactions=[msgspec.Raw(item.raw) for item in new], origin=ADMISSION.member)
        answer = await self._ledger.ask("submit", body, SubmitResults)
        accepted = [item for item, result in zip(new, answer.results, strict=False) if result.status == "accepted"]
        for item, result in zip(new, answer.results, strict=False):
            if result.code in (Code.TX_DUPLICATE, Code.TX_EXPIRED) and len(self._done) < MAX_REMEMBERED:
                self._done.add(item.id)
        if accepted:
            log.info("membership_submitted", extra={"fields": {"transactions": len(accepted)}})
        if relay and self._directory.settled:
            for transaction in accepted:
                self._gossip.offer(transaction.raw)

    def _checked(self, raw: bytes) -> Transaction | None:
        """The transaction, if the authority signed it and it is not in effect yet."""
        try:
            transaction = check_by_itself(raw, self._genesis)
            self._check_signer(transaction)
        except MinervasError as error:
            self._refusals.note("membership", error, member=ADMISSION.member)
            return None
        return None if transaction.id in self._done or self._is_in_effect(transaction) else transaction

    def _check_signer(self, transaction: Transaction) -> None:
        """Check who signed, as far as can be said before our ledger judges it.

        Raises:
            PeerFault: ``tx_wrong_sender``.
        """
        body, trusted = transaction.body, self._authorities.trusted | self._announced
        if isinstance(body, ChangeAuthority):
            if body.previous in trusted and len(self._announced) < MAX_ANNOUNCED:
                self._announced.add(body.authority)
        else:
            check_sender(transaction, trusted)

    def _is_in_effect(self, transaction: Transaction) -> bool:
        body = transaction.body
        if isinstance(body, ChangeAuthority):
            return body.authority == self._authorities.on_tip
        if not isinstance(body, Membership):
            return False
        change = body.change
        standing = self._directory.standing(change.member)
        in_effect = {Standing.ACTIVE, *ENDED} if isinstance(change, Admit) else ENDED
        return standing in in_effect
