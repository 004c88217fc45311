"""Sealed frames: what they look like, and that nothing in them can be exchanged."""

from __future__ import annotations

import json

from minervas_core.errors import MinervasError
from minervas_core.frames import (
    MAX_FRAME_BYTES,
    check_frame_signature,
    open_frame,
    parse_frame,
    seal_gossip,
    seal_node,
)
from tools.vectors.document_cases import Change, changed, put
from tools.vectors.fixtures import HAENAM, MOKPO, NETWORK, OTHER_NETWORK, START_MS, seed, sender_key
from tools.vectors.format import Case

NODE_KEY = seed("node key")
NONCE = seed("nonce", 24)
CORRELATION = seed("correlation", 16)
SENT_AT_MS = START_MS + 10_000
CONTENT = b'{"hashes":[]}'
GOSSIP_TOPIC = "mesh/v1/mokpo-univ/peer/tx"
REQUEST_TOPIC = "inbox/v1/haenam-farm/peer/mokpo-univ/peer/get_bodies"
NODE_TOPIC = "inbox/v1/mokpo-univ/ledger/mokpo-univ/miner/found"


def gossip(topic: str = GOSSIP_TOPIC, correlation: bytes = b"", content: bytes = CONTENT) -> bytes:
    """A frame of Mokpo's peer."""
    return seal_gossip(
        content,
        topic=topic,
        correlation=correlation,
        network=NETWORK,
        key=sender_key(MOKPO),
        wallet=MOKPO.wallet,
        nonce=NONCE,
        sent_at_ms=SENT_AT_MS,
    )


def node(topic: str = NODE_TOPIC, correlation: bytes = b"") -> bytes:
    """A frame between two services of Mokpo."""
    return seal_node(
        CONTENT,
        topic=topic,
        correlation=correlation,
        network=NETWORK,
        member=MOKPO.member,
        node_key=NODE_KEY,
        nonce=NONCE,
        sent_at_ms=SENT_AT_MS,
    )


def judge(data: bytes, *, topic: str, correlation: bytes, secret: bytes, wallet: str | None) -> bytes:
    """Do what a receiver does: take apart, check the signature if there is a wallet, open."""
    frame = parse_frame(data, NETWORK)
    if wallet is not None:
        check_frame_signature(frame, topic=topic, correlation=correlation, wallet=wallet)
    return open_frame(frame, topic=topic, correlation=correlation, secret=secret)


def frame_cases() -> list[Case]:
    """Frames that open."""
    return [
        _gossip_case("gossip", GOSSIP_TOPIC, b""),
        _gossip_case("request with correlation data", REQUEST_TOPIC, CORRELATION),
        _gossip_case("empty content", GOSSIP_TOPIC, b"", content=b""),
        _node_case("inside a node", b""),
        _node_case("request inside a node", CORRELATION),
    ]


def _gossip_case(name: str, topic: str, correlation: bytes, *, content: bytes = CONTENT) -> Case:
    data = gossip(topic, correlation, content)
    key = sender_key(MOKPO)
    return _case(name, data, topic, correlation, content) | {
        "key_id": key.key_id,
        "secret": key.secret.hex(),
        "wallet": MOKPO.wallet.public,
    }


def _node_case(name: str, correlation: bytes) -> Case:
    data = node(NODE_TOPIC, correlation)
    return _case(name, data, NODE_TOPIC, correlation, CONTENT) | {"key_id": "0" * 32, "secret": NODE_KEY.hex()}


def _case(name: str, data: bytes, topic: str, correlation: bytes, content: bytes) -> Case:
    head = data[2 : 2 + int.from_bytes(data[:2], "big")]
    return {
        "name": name,
        "topic": topic,
        "correlation_hex": correlation.hex(),
        "content_hex": content.hex(),
        "nonce": NONCE.hex(),
        "header": json.loads(head),
        "frame_hex": data.hex(),
    }


def refused_frame_cases() -> list[Case]:
    """Frames that are refused, each with one difference from a good one."""
    data = gossip(REQUEST_TOPIC, CORRELATION)
    other_topic = REQUEST_TOPIC.replace("get_bodies", "get_headers")
    cases: list[Case] = [
        _refused("other topic", data, topic=other_topic),
        _refused("other recipient", data, topic=REQUEST_TOPIC.replace("haenam-farm", "kim-house")),
        _refused("other correlation data", data, correlation=bytes(16)),
        _refused("no correlation data", data, correlation=b""),
        _refused("signed by another wallet", data, wallet=HAENAM.wallet.public),
        _refused("other sender key", data, secret=sender_key(HAENAM).secret),
        _refused("ciphertext changed", _flip(data, -20)),
        _refused("tag changed", _flip(data, -1)),
        _refused("ciphertext shortened", data[:-1]),
        _refused("ciphertext lengthened", data + b"\0"),
        _refused("time changed", _headed(data, put("sent_at_ms", value=SENT_AT_MS + 1))),
        _refused("nonce changed", _headed(data, put("nonce", value="00" * 24))),
        _refused("key id changed", _headed(data, put("key_id", value="11" * 16))),
        _refused("sender changed", _headed(data, put("sender", value="haenam-farm"))),
        _refused("network changed", _headed(data, put("network", value=OTHER_NETWORK))),
        _refused("version 2", _headed(data, put("version", value=2))),
        _refused("unknown field", _headed(data, put("extra", value=1))),
        _refused("header with a blank", _with_head(data, b" ")),
        _refused("signature missing", _headed(data, lambda head: head.pop("signature"))),
        _refused("header length beyond the end", b"\xff\xff" + data[2:]),
        _refused("header length 0", b"\0\0" + data[2:]),
        _refused("cut within the header", data[:100]),
        _refused("no tag", data[: 2 + int.from_bytes(data[:2], "big")]),
        _refused("one byte", b"\0"),
        _refused("no bytes", b""),
    ]
    return cases + _refused_node_frames()


def _refused_node_frames() -> list[Case]:
    own = node(NODE_TOPIC, CORRELATION)
    return [
        _refused_node("node frame: time changed", _headed(own, put("sent_at_ms", value=SENT_AT_MS + 1))),
        _refused_node("node frame: sender changed", _headed(own, put("sender", value="haenam-farm"))),
        _refused_node("node frame: other topic", own, topic=NODE_TOPIC.replace("found", "abandoned")),
        _refused_node("node frame: other correlation data", own, correlation=bytes(16)),
        _refused_node("node frame: other node key", own, secret=seed("another node key")),
        _refused_node("node frame: with a signature", _headed(own, put("signature", value="00" * 64))),
    ]


def _refused(
    name: str,
    data: bytes,
    *,
    topic: str = REQUEST_TOPIC,
    correlation: bytes = CORRELATION,
    secret: bytes = sender_key(MOKPO).secret,
    wallet: str | None = MOKPO.wallet.public,
) -> Case:
    try:
        judge(data, topic=topic, correlation=correlation, secret=secret, wallet=wallet)
    except MinervasError as error:
        return {
            "name": name,
            "topic": topic,
            "correlation_hex": correlation.hex(),
            "secret": secret.hex(),
            "wallet": wallet,
            "frame_hex": data.hex(),
            "code": str(error.code),
        }
    raise AssertionError(f"accepted: {name}")


def _refused_node(
    name: str,
    data: bytes,
    *,
    topic: str = NODE_TOPIC,
    correlation: bytes = CORRELATION,
    secret: bytes = NODE_KEY,
) -> Case:
    return _refused(name, data, topic=topic, correlation=correlation, secret=secret, wallet=None)


def _flip(data: bytes, position: int) -> bytes:
    changed_data = bytearray(data)
    changed_data[position] ^= 1
    return bytes(changed_data)


def _headed(data: bytes, change: Change) -> bytes:
    """The frame with a changed header; ciphertext and signature stay."""
    end = 2 + int.from_bytes(data[:2], "big")
    head = changed(data[2:end], change)
    return len(head).to_bytes(2, "big") + head + data[end:]


def _with_head(data: bytes, added: bytes) -> bytes:
    end = 2 + int.from_bytes(data[:2], "big")
    head = data[2:end] + added
    return len(head).to_bytes(2, "big") + head + data[end:]


def oversize_frame_case() -> Case:
    """A frame above the limit, told by how it is made."""
    size = MAX_FRAME_BYTES + 1
    try:
        parse_frame(bytes(size), NETWORK)
    except MinervasError as error:
        return {"name": "zeros, one byte above the limit", "zeros": size, "code": str(error.code)}
    raise AssertionError("accepted a frame above the limit")
