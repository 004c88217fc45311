"""A stand-in for the operator member's peer: says of every transaction where it stands on the chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec

from minervas_core.encoding import decode, encode
from minervas_core.messages import GetTransactionStatus, Reply, TransactionStatus, TransactionStatuses
from minervas_devnet.broker import BrokerServer
from minervas_runtime.clock import SystemClock
from minervas_runtime.mqtt_bus import MqttBus
from minervas_runtime.requests import Request, Requester
from tests.support.admission import OPERATOR_MEMBER, AdmissionHome, Applicant, grant_of


class OperatorPeer:
    """Answers as the operator member's peer does: everything is in one block, the one below the tip."""

    def __init__(self, requester: Requester) -> None:
        self.state: Literal["in_block", "final"] = "in_block"
        self.height = 3
        self.bus: MqttBus | None = None
        """With which it is connected, if `operator_peer` made it."""
        self.asked: list[str] = []
        requester.serve("tx_status", self._answer)

    async def _answer(self, request: Request) -> bytes:
        question = decode(request.payload, GetTransactionStatus, max_bytes=10**6)
        self.asked += question.ids
        statuses = [TransactionStatus(id=item, state=self.state, height=self.height, depth=2) for item in question.ids]
        final = self.height if self.state == "final" else 0
        answer = TransactionStatuses(statuses=statuses, tip_height=self.height + 1, final_height=final)
        return encode(Reply(body=msgspec.Raw(encode(answer))))


@asynccontextmanager
async def operator_peer(home: AdmissionHome, broker: BrokerServer, **details: Any) -> AsyncIterator[OperatorPeer]:
    """Admit the operator's member, and have its peer answer for the length of the block.

    Args:
        home: a running admission.
        broker: its running broker.
        details: fields of the operator's own application.
    """
    operator = Applicant(OPERATOR_MEMBER)
    receipt = await home.apply(operator.application(**details))
    await home.decisions().approve(OPERATOR_MEMBER, confirmed=True)
    home.install(operator, grant_of(await home.state(receipt)))
    bus: MqttBus = home.bus(broker, OPERATOR_MEMBER, "peer")
    await bus.start()
    requester = Requester(bus, SystemClock())
    peer = OperatorPeer(requester)
    peer.bus = bus
    await requester.start()
    try:
        yield peer
    finally:
        await requester.stop()
        await bus.stop()
