"""Messages between peers: signed ones are bound to what they say, tables tie every kind to one type."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core import messages, node_messages
from minervas_core.encoding import Record, encode
from minervas_core.errors import Code, InvalidFrame
from minervas_core.frames import MAX_FRAME_BYTES
from minervas_core.genesis import Parameters
from minervas_core.messages import (
    MAX_CONTENT_BYTES,
    MAX_HEADERS_PER_REPLY,
    MAX_HELLO_BYTES,
    MAX_HELLO_TRANSACTIONS,
    MAX_REPLY_BODIES_BYTES,
    Bodies,
    Headers,
    Reply,
    SenderKeyInfo,
    check_signed,
    sender_key_info,
)
from tools.vectors.fixtures import ADMISSIONS, BLOCK_1, HAENAM, KIM, MOKPO, NETWORK, OTHER_NETWORK, MemberKeys, hello
from tools.vectors.samples import key_request, sender_key_message

SIGNED: dict[str, tuple[messages.Hello | messages.SenderKeyMessage | messages.KeyRequest, MemberKeys]] = {
    "hello": (hello(MOKPO), MOKPO),
    "sender_key": (sender_key_message(), MOKPO),
    "key_request": (key_request(), HAENAM),
}


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_message_is_accepted_from_its_signer_only(name: str) -> None:
    message, signer = SIGNED[name]
    check_signed(message.body, message.signature, network=NETWORK, wallet=signer.wallet.public)
    for other in (KIM.wallet.public, signer.block.public, signer.vote.public):
        with pytest.raises(InvalidFrame) as refused:
            check_signed(message.body, message.signature, network=NETWORK, wallet=other)
        assert refused.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("name", SIGNED)
def test_every_field_of_a_signed_message_is_bound(name: str) -> None:
    message, signer = SIGNED[name]
    for field in message.body.__struct_fields__:
        value = getattr(message.body, field)
        changed: object
        if isinstance(value, int):
            changed = value + 1
        elif isinstance(value, list):
            changed = []
        else:
            changed = OTHER_NETWORK if field == "network" else "0" * len(value)
        body = msgspec.structs.replace(message.body, **{field: changed})
        with pytest.raises(InvalidFrame):
            check_signed(body, message.signature, network=NETWORK, wallet=signer.wallet.public)


def test_a_message_of_another_network_is_refused_as_such() -> None:
    message = hello(MOKPO)
    with pytest.raises(InvalidFrame) as refused:
        check_signed(message.body, message.signature, network=OTHER_NETWORK, wallet=MOKPO.wallet.public)
    assert refused.value.code is Code.WRONG_NETWORK


def test_a_sealed_key_is_bound_to_everything_but_itself() -> None:
    """HPKE info: sender, recipient, epoch, key id and network."""
    body = sender_key_message().body
    info = sender_key_info(body)
    assert info.startswith(b"minervas/v1/sender_key\0")
    fields = [name for name in body.__struct_fields__ if name != "sealed"]
    assert set(fields) == set(SenderKeyInfo.__struct_fields__)
    for field in fields:
        value = getattr(body, field)
        changed = value + 1 if isinstance(value, int) else "0" * len(value)
        assert sender_key_info(msgspec.structs.replace(body, **{field: changed})) != info


def test_a_reply_is_a_body_or_a_failure() -> None:
    with pytest.raises(ValueError, match="either"):
        Reply()
    with pytest.raises(ValueError, match="either"):
        Reply(body=msgspec.Raw(b"{}"), failure=messages.Failure(code="timeout", message="x"))


def test_every_reply_fits_into_a_frame() -> None:
    """The largest answers that the limits allow, with the largest block and with the most headers."""
    wrapping = len(encode(Reply(body=msgspec.Raw(encode(Bodies(blocks=[]))))))
    assert MAX_REPLY_BODIES_BYTES + wrapping + messages.MAX_BODIES_PER_REQUEST < MAX_CONTENT_BYTES
    assert Parameters().max_block_bytes < MAX_REPLY_BODIES_BYTES
    headers = Headers(headers=[msgspec.Raw(encode(BLOCK_1.header))] * MAX_HEADERS_PER_REPLY)
    assert len(encode(headers)) < MAX_CONTENT_BYTES // 2
    assert MAX_CONTENT_BYTES < MAX_FRAME_BYTES


def test_a_hello_with_all_its_transactions_fits() -> None:
    largest = max(len(transaction.raw) for transaction in ADMISSIONS)
    assert len(encode(hello(MOKPO))) + (MAX_HELLO_TRANSACTIONS - 1) * (largest + 1) < MAX_HELLO_BYTES


def test_every_kind_has_one_meaning() -> None:
    """Kinds of one conversation differ; a kind that two conversations share has one type in both."""
    tables: list[dict[str, object]] = [
        dict(messages.PEER_REQUEST_TYPES),
        dict(messages.ADMISSION_REQUEST_TYPES),
        dict(node_messages.NODE_REQUEST_TYPES),
    ]
    for one in tables:
        for other in tables:
            for kind in one.keys() & other.keys():
                assert one[kind] == other[kind]
    assert not node_messages.NODE_EVENT_TYPES.keys() & node_messages.NODE_REQUEST_TYPES.keys()
    assert "reply" not in {kind for table in tables for kind in table} | node_messages.NODE_EVENT_TYPES.keys()


def test_every_message_type_belongs_to_a_kind() -> None:
    """No message type without a conversation: what nobody sends has no place in the catalogue."""
    used: set[type[Record]] = set()
    for table in (messages.PEER_REQUEST_TYPES, messages.ADMISSION_REQUEST_TYPES, node_messages.NODE_REQUEST_TYPES):
        for pair in table.values():
            used |= set(pair)
    used |= set(messages.GOSSIP_TYPES.values()) | set(node_messages.NODE_EVENT_TYPES.values())
    used |= {messages.Hello, messages.SenderKeyMessage, messages.KeyRequest, messages.Presence, Reply}
    parts = {
        "HelloBody", "SenderKeyBody", "KeyRequestBody", "SenderKeyInfo", "Failure", "TransactionStatus", "ChainTip",
        "SubmitResult", "RosterEntry", "WaitingRecovery", "BlockSummary", "AbandonedSearch", "SideBranchEntry",
    }  # fmt: skip
    defined = {
        kind
        for module in (messages, node_messages)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Record) and kind.__module__ == module.__name__
    }
    assert {kind.__name__ for kind in defined - used} == parts
