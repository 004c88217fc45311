"""The catalogue of messages: spec/asyncapi.yaml, made from one table of conversations.

Tests compare the table with the code's own: kinds and types (`messages`, `node_messages`), rights, samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import yaml

from minervas_core.topics import REPLY

Sealing = Literal["plain", "gossip", "node"]

EXPIRY_S = 60
"""How long the broker keeps anything but presence for somebody who is slow (design section 3)."""


@dataclass(frozen=True)
class Conversation:
    """One kind of message, from whom to whom, and the answer if there is one."""

    kind: str
    sender: str
    """Role that sends (or asks)."""
    receiver: str
    """Role that receives (or answers); ``readers`` for what several roles read."""
    message: str
    """Type of the content."""
    sealing: Sealing
    summary: str
    reply: str = ""
    """Type of the answer's body, if there is an answer."""
    retained: bool = False

    @property
    def name(self) -> str:
        """Identifier of the channel."""
        scope = "node" if self.sealing == "node" else "mesh" if self.is_outbox else "inbox"
        return f"{scope}.{self.sender}.{self.receiver}.{self.kind}"

    @property
    def is_outbox(self) -> bool:
        """Whether it is published on the sender's own outbox."""
        return self.receiver in ("peers", "readers")

    @property
    def address(self) -> str:
        """The topic, with parameters in braces."""
        if self.is_outbox:
            owner = "consortium/admission" if self.sender == "admission" else f"{{member}}/{self.sender}"
            return f"mesh/v1/{owner}/{self.kind}"
        return f"inbox/v1/{self._party(self.receiver, 'to')}/{self._party(self.sender, 'from')}/{self.kind}"

    @property
    def reply_address(self) -> str:
        """Topic of the answer."""
        return f"inbox/v1/{self._party(self.sender, 'from')}/{self._party(self.receiver, 'to')}/{REPLY}"

    def _party(self, role: str, place: str) -> str:
        if role == "admission":
            return "consortium/admission"
        return f"{{member}}/{role}" if self.sealing == "node" else f"{{{place}}}/{role}"


def _node(sender: str, receiver: str, rows: dict[str, tuple[str, str, str]]) -> list[Conversation]:
    return [
        Conversation(kind, sender, receiver, message, "node", summary, reply)
        for kind, (message, reply, summary) in rows.items()
    ]


def _presence(sender: str, summary: str) -> Conversation:
    return Conversation("presence", sender, "readers", "Presence", "plain", summary, retained=True)


CONVERSATIONS = [
    Conversation("hello", "peer", "peers", "Hello", "plain", "A peer introduces itself and names its sender key."),
    Conversation("tx", "peer", "peers", "TransactionBatch", "gossip", "Transactions of the peer's own member."),
    Conversation("block", "peer", "peers", "BlockAnnouncement", "gossip", "A block that the member's miner found."),
    Conversation("vote", "peer", "peers", "VoteBatch", "gossip", "Votes of the member's own ledger."),
    Conversation("tx", "admission", "peers", "MembershipBatch", "plain", "Membership transactions not yet settled."),
    _presence("peer", "A peer is there, and on which tip; the will says offline."),
    _presence("ledger", "A ledger is there, and on which tip; the will says offline."),
    _presence("miner", "A miner is there; the will says offline."),
    _presence("meter-gateway", "A meter-gateway is there; the will says offline."),
    Conversation(
        "reading", "meter-gateway", "readers", "ReadingBatch", "plain", "Samples, signed by the gateway's key."
    ),
    _presence("admission", "Admission is there; the will says offline."),
    Conversation("sender_key", "peer", "peer", "SenderKeyMessage", "plain", "Hand over a sender key, sealed inside."),
    Conversation("key_request", "peer", "peer", "KeyRequest", "plain", "Ask for the key of a frame that stays closed."),
    Conversation(
        "get_headers", "peer", "peer", "GetHeaders", "gossip", "Ask for headers of its best chain.", "Headers"
    ),
    Conversation("get_bodies", "peer", "peer", "GetBodies", "gossip", "Ask for blocks by hash.", "Bodies"),
    Conversation(
        "sold_readings",
        "peer",
        "peer",
        "GetSoldReadings",
        "gossip",
        "Ask the seller for the readings behind energy that was bought.",
        "SoldReadings",
    ),
    Conversation("get_votes", "peer", "peer", "GetVotes", "gossip", "Ask for votes that its ledger has seen.", "Votes"),
    Conversation(
        "get_membership",
        "peer",
        "admission",
        "GetMembership",
        "plain",
        "Ask for all membership transactions from a number on.",
        "MembershipBatch",
    ),
    Conversation(
        "tx_status",
        "admission",
        "peer",
        "GetTransactionStatus",
        "plain",
        "Ask the operator's peer where transactions stand.",
        "TransactionStatuses",
    ),
    Conversation(
        "reading_runs",
        "ledger",
        "ledger",
        "GetReadingRuns",
        "plain",
        "The operator's ledger asks which readings a member's ledger has.",
        "ReadingRuns",
    ),
    Conversation(
        "reading_batches",
        "ledger",
        "ledger",
        "GetReadingBatches",
        "plain",
        "The operator's ledger asks for readings that it misses, in the batches that their gateway signed.",
        "ReadingBatches",
    ),
    *_node(
        "peer",
        "ledger",
        {
            "submit": ("Submit", "SubmitResults", "Transactions for the queue."),
            "block": ("DeliverBlock", "BlockResult", "A block that another member announced."),
            "peer_tip": ("PeerTip", "", "Another member claims this tip."),
            "get_headers": ("GetHeaders", "Headers", "Headers for another member."),
            "get_bodies": ("GetBodies", "Bodies", "Blocks for another member."),
            "tx_status": ("GetTransactionStatus", "TransactionStatuses", "Where transactions stand, for admission."),
            "roster": ("GetRoster", "Roster", "The roster on the ledger's tip."),
            "status": ("GetStatus", "LedgerStatus", "The node's state."),
            "blocks": ("GetBlocks", "BlockSummaries", "A page of the best chain."),
            "block_detail": ("GetBlock", "BlockDetail", "One block."),
            "transaction": ("GetTransaction", "TransactionDetail", "One transaction."),
            "abandoned_list": ("GetAbandoned", "AbandonedSearches", "The newest abandoned searches."),
            "side_branches": ("GetSideBranches", "SideBranches", "The branches beside the best chain."),
            "lots": ("GetLots", "Lots", "Unspent lots on the best chain."),
            "lot_detail": ("GetLot", "LotDetail", "One lot, and where its energy comes from."),
            "retirements": ("GetRetirements", "Retirements", "Lots on the best chain that were claimed as used."),
            "orders": ("GetOrders", "Orders", "Open orders on the best chain."),
            "trades": ("GetTrades", "Trades", "The newest trades on the best chain."),
            "market": ("GetMarket", "MarketView", "The order book by price, the spread and the last trade."),
            "clearings": ("GetClearings", "Clearings", "What the auctions of the slots decided, newest first."),
            "volumes": ("GetVolumes", "Volumes", "What was traded in each slot, newest first."),
            "obligations": ("GetObligations", "Obligations", "Who owes whom on the best chain."),
            "meters": ("GetMeters", "Meters", "Registered meters and what they minted."),
            "vote": ("SubmitVotes", "VoteResults", "Votes that another member sent."),
            "get_votes": ("GetVotes", "Votes", "Votes for another member."),
            "finality": ("GetFinality", "FinalityReport", "How far finality has come, and who is missing."),
            "readings": ("GetReadings", "Readings", "The newest stored readings."),
            "bills": ("GetBills", "Bills", "A month's bills."),
            "bill_lines": ("GetBillLines", "BillLines", "One bill with some of its lines."),
            "member_statement": ("GetMemberStatement", "MemberStatement", "A member's month at a glance."),
            "settlements": ("GetSettlements", "Settlements", "The newest payments and credit notes."),
            "trade_at": ("GetTradeAt", "TradeAt", "One trade by its place in the chain."),
            "finality_proof": ("GetFinalityProof", "FinalityProof", "What shows that a block is final."),
            "member_history": ("GetMemberHistory", "MemberHistory", "Transactions that changed who the members are."),
            "sold_readings": ("GetSoldReadings", "SoldReadings", "Readings under a statement, for who has its energy."),
        },
    ),
    *_node(
        "ledger",
        "peer",
        {
            "tip": ("TipChanged", "", "The best chain has a new head."),
            "announce": ("Announce", "", "Our miner found this block; tell everybody."),
            "relay": ("Relay", "", "Statements of our gateways; tell everybody."),
            "fetch_headers": ("FetchHeaders", "Headers", "Get headers from one member."),
            "fetch_bodies": ("FetchBodies", "Bodies", "Get blocks from one member."),
            "fetch_votes": ("FetchVotes", "Votes", "Get votes from one member."),
            "announce_votes": ("AnnounceVotes", "", "Our own votes; tell everybody."),
        },
    ),
    *_node(
        "ledger",
        "miner",
        {
            "template": ("Template", "", "Search for this block."),
            "pause": ("Pause", "", "There is nothing to search for."),
        },
    ),
    *_node(
        "miner",
        "ledger",
        {
            "get_template": ("GetTemplate", "", "Send me the current template."),
            "progress": ("SearchProgress", "", "How the running search goes."),
            "found": ("Found", "BlockResult", "A hash below the target, with the miner's signature."),
            "abandoned": ("Abandoned", "Stored", "A search that reached its time limit."),
        },
    ),
    *_node(
        "meter-gateway",
        "ledger",
        {
            "statement": ("Statement", "SubmitResult", "A metering statement for the queue and for everybody."),
            "channel_registers": ("GetChannelRegisters", "ChannelRegisters", "Where the channels stand on the chain."),
            "tx_status": ("GetTransactionStatus", "TransactionStatuses", "Where statements stand."),
        },
    ),
    *_node(
        "ledger",
        "meter-gateway",
        {"readings_stored": ("ReadingsStored", "", "These readings are in the database; forget them.")},
    ),
]
"""Every message that exists."""

_PARAMETERS = {
    "member": "Id of the member whose node it is.",
    "to": "Id of the member that is addressed.",
    "from": "Id of the member that sends.",
}

_SEALED = {
    "plain": "Plain canonical JSON.",
    "gossip": "Canonical JSON, sealed in a frame under the sender's sender key and signed by its wallet (frames.md).",
    "node": "Canonical JSON, sealed in a frame under the node key (frames.md).",
}

_CONTENT_TYPE = {
    "plain": "application/json",
    "gossip": "application/vnd.minervas.frame",
    "node": "application/vnd.minervas.frame",
}


def catalogue() -> dict[str, Any]:
    """The AsyncAPI document."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for each in CONVERSATIONS:
        channels[each.name] = _channel(each.address, each.name)
        messages[each.name] = _message(each, each.message, f"{each.kind} ({each.message})", _reference(each.message))
        operations |= _operations(each)
        if each.reply:
            reply_name = f"{each.name}.reply"
            channels[reply_name] = _channel(each.reply_address, reply_name)
            messages[reply_name] = _message(
                each, each.reply, f"reply to {each.kind} ({each.reply})", _reply(each.reply)
            )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Minervas bus",
            "version": "1.0.0",
            "description": (
                "Every message that exists in protocol version 1, on which topic, from whom to whom, and how it is "
                "sealed. Generated by `make vectors`. The prose is in the other files of this directory."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": _SERVER},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "securitySchemes": {"certificate": {"type": "X509"}}},
    }


_SERVER = {
    "host": "broker.example:8883",
    "protocol": "secure-mqtt",
    "protocolVersion": "5",
    "description": (
        "MQTT 5 over TLS 1.3 with a client certificate; the client id is the certificate's common name. Clients start "
        "clean: what was missed is pulled."
    ),
    "security": [{"$ref": "#/components/securitySchemes/certificate"}],
    "bindings": {"mqtt": {"cleanSession": True, "sessionExpiryInterval": 0, "bindingVersion": "0.2.0"}},
}


def _channel(address: str, message: str) -> dict[str, Any]:
    used = {name: {"description": text} for name, text in _PARAMETERS.items() if f"{{{name}}}" in address}
    channel: dict[str, Any] = {
        "address": address,
        "messages": {"message": {"$ref": f"#/components/messages/{message}"}},
    }
    return channel | ({"parameters": used} if used else {})


def _message(each: Conversation, kind: str, title: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": kind,
        "title": title,
        "summary": _SEALED[each.sealing],
        "contentType": _CONTENT_TYPE[each.sealing],
        "payload": payload,
        "x-sealing": each.sealing,
    }


def _reference(kind: str) -> dict[str, Any]:
    return {"$ref": f"./schemas.json#/$defs/{kind}"}


def _reply(kind: str) -> dict[str, Any]:
    """A `Reply` whose body is of one type."""
    parts = {"body": _reference(kind), "failure": _reference("Failure")}
    return {
        "oneOf": [
            {"type": "object", "required": [name], "properties": {name: part}, "additionalProperties": False}
            for name, part in parts.items()
        ]
    }


def _operations(each: Conversation) -> dict[str, Any]:
    """What both sides do. All roles that read presence are in topics.md; here its receivers stand as `readers`."""
    bindings = {"qos": 1, "retain": each.retained, "bindingVersion": "0.2.0"}
    if not each.retained:
        bindings["messageExpiryInterval"] = EXPIRY_S
    message = f"#/channels/{each.name}/messages/message"
    both: dict[str, Any] = {}
    for action, role in (("send", each.sender), ("receive", each.receiver)):
        operation: dict[str, Any] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{each.name}"},
            "title": f"{role}: {action} {each.kind}",
            "summary": each.summary,
            "messages": [{"$ref": message}],
            "bindings": {"mqtt": bindings if action == "send" else {"qos": 1, "bindingVersion": "0.2.0"}},
            "x-role": role,
        }
        if each.reply:
            reply_channel = f"#/channels/{each.name}.reply"
            operation["reply"] = {
                "channel": {"$ref": reply_channel},
                "messages": [{"$ref": f"{reply_channel}/messages/message"}],
            }
        both[f"{action}.{each.name}"] = operation
    return both


class _Dumper(yaml.SafeDumper):
    """Writes every value out instead of pointing to an earlier one."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # PyYAML's form
        return True


def catalogue_text() -> str:
    """Content of spec/asyncapi.yaml."""
    head = "# Generated by `make vectors` from tools/vectors/catalogue.py.\n"
    return head + yaml.dump(catalogue(), Dumper=_Dumper, sort_keys=False, width=120)
