"""The catalogue of messages, the code's own tables, the rights and the schemas say the same."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from minervas_core import (
    ledger_messages,
    messages,
    node_bill_messages,
    node_market_messages,
    node_messages,
    node_vote_messages,
)
from minervas_core.encoding import encode
from minervas_core.identifiers import Principal
from minervas_core.rights import ADMISSION, rights_for
from minervas_core.topics import InboxTopic, matches, parse_topic
from minervas_runtime.requests import EXPIRY_S
from tools.vectors.samples import all_samples

SPEC = Path(__file__).parents[2] / "spec"
CATALOGUE: dict[str, Any] = yaml.safe_load((SPEC / "asyncapi.yaml").read_text("ascii"))
SCHEMAS: dict[str, Any] = json.loads((SPEC / "schemas.json").read_text("ascii"))
ASYNCAPI_SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "asyncapi-3.0.0.json").read_text("utf-8")
)
OPERATIONS: dict[str, dict[str, Any]] = CATALOGUE["operations"]
SAMPLES = all_samples()
NODE_ROLES = ("peer", "ledger", "miner", "meter-gateway")


def sent() -> Iterator[dict[str, Any]]:
    """Operations of senders."""
    yield from (operation for operation in OPERATIONS.values() if operation["action"] == "send")


def channel_of(reference: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = CATALOGUE["channels"][reference["$ref"].removeprefix("#/channels/")]
    return found


def message_of(channel: dict[str, Any]) -> dict[str, Any]:
    reference: str = channel["messages"]["message"]["$ref"]
    found: dict[str, Any] = CATALOGUE["components"]["messages"][reference.removeprefix("#/components/messages/")]
    return found


def topic_of(channel: dict[str, Any], *, to: str = "haenam", sender: str = "kim") -> str:
    """A concrete topic of a channel."""
    address: str = channel["address"]
    return address.replace("{member}", sender).replace("{from}", sender).replace("{to}", to)


def principal(role: str, member: str) -> Principal:
    return ADMISSION if role == "admission" else Principal(member, role)


def kinds_of(sealing: str, *, with_reply: bool) -> dict[tuple[str, str], set[str]]:
    """Types (message, or message and answer) by sender and kind."""
    found: dict[tuple[str, str], set[str]] = {}
    for operation in sent():
        channel = channel_of(operation["channel"])
        message = message_of(channel)
        if message["x-sealing"] != sealing or ("reply" in operation) != with_reply:
            continue
        kind = channel["address"].rpartition("/")[2]
        types = message["name"]
        if with_reply:
            types += f" -> {message_of(channel_of(operation['reply']['channel']))['name']}"
        found.setdefault((operation["x-role"], kind), set()).add(types)
    return found


def pairs(table: dict[str, tuple[type, type]]) -> dict[str, set[str]]:
    return {kind: {f"{ask.__name__} -> {answer.__name__}"} for kind, (ask, answer) in table.items()}


# the document


def test_the_catalogue_is_an_asyncapi_document() -> None:
    jsonschema.Draft7Validator(ASYNCAPI_SCHEMA).validate(CATALOGUE)


def test_the_schema_of_asyncapi_refuses_a_wrong_catalogue() -> None:
    """So that the test above can fail."""
    wrong = json.loads(json.dumps(CATALOGUE))
    next(iter(wrong["operations"].values()))["bindings"]["mqtt"]["qos"] = 7
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(ASYNCAPI_SCHEMA).validate(wrong)


def test_every_reference_leads_somewhere() -> None:
    documents = {"": CATALOGUE, "./schemas.json": SCHEMAS}
    references = list(_references(CATALOGUE))
    assert len(references) > 100
    for reference in references:
        file, _, path = reference.partition("#/")
        found: Any = documents[file]
        for step in path.split("/"):
            found = found[step]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


# the code's tables


def test_sealed_gossip_is_that_of_the_code() -> None:
    found = kinds_of("gossip", with_reply=False)
    assert found == {("peer", kind): {body.__name__} for kind, body in messages.GOSSIP_TYPES.items()}


def test_requests_between_peers_are_those_of_the_code() -> None:
    found = kinds_of("gossip", with_reply=True)
    assert found == {
        ("peer", kind): types
        for kind, types in pairs(messages.PEER_REQUEST_TYPES | node_bill_messages.BILL_PEER_REQUEST_TYPES).items()
    }


def test_requests_between_peers_and_admission_are_those_of_the_code() -> None:
    found = {kind: types for (role, kind), types in kinds_of("plain", with_reply=True).items() if role != "ledger"}
    assert found == pairs(messages.ADMISSION_REQUEST_TYPES)


def test_requests_between_ledgers_are_those_of_the_code() -> None:
    found = {kind: types for (role, kind), types in kinds_of("plain", with_reply=True).items() if role == "ledger"}
    assert found == pairs(ledger_messages.LEDGER_REQUEST_TYPES)


def test_plain_messages_without_answer() -> None:
    assert kinds_of("plain", with_reply=False) == {
        ("peer", "hello"): {"Hello"},
        ("peer", "sender_key"): {"SenderKeyMessage"},
        ("peer", "key_request"): {"KeyRequest"},
        ("admission", "tx"): {"MembershipBatch"},
        ("meter-gateway", "reading"): {"ReadingBatch"},
        **{(role, "presence"): {"Presence"} for role in (*NODE_ROLES, "admission")},
    }


def test_requests_inside_a_node_are_those_of_the_code() -> None:
    found = {kind: types for (_, kind), types in kinds_of("node", with_reply=True).items()}
    types = node_messages.NODE_REQUEST_TYPES | node_market_messages.NODE_MARKET_REQUEST_TYPES
    types |= node_vote_messages.NODE_VOTE_REQUEST_TYPES
    assert found == pairs(types | node_bill_messages.NODE_BILL_REQUEST_TYPES)


def test_events_inside_a_node_are_those_of_the_code() -> None:
    found = {kind: types for (_, kind), types in kinds_of("node", with_reply=False).items()}
    types = node_messages.NODE_EVENT_TYPES | node_market_messages.NODE_MARKET_EVENT_TYPES
    types |= node_vote_messages.NODE_VOTE_EVENT_TYPES
    assert found == {kind: {body.__name__} for kind, body in types.items()}


# what the services take


SERVICES = Path(__file__).parents[2] / "services"


def _taken_in_code(role: str) -> set[str]:
    """Kinds for which a service registers a handler with a literal kind."""
    found: set[str] = set()
    for path in (SERVICES / role / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("on", "serve", "listen")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


@pytest.mark.parametrize("role", [*NODE_ROLES, "admission"])
def test_every_service_takes_what_the_catalogue_sends_to_its_inbox(role: str) -> None:
    inboxes = {
        channel_of(operation["channel"])["address"].rpartition("/")[2]
        for operation in OPERATIONS.values()
        if operation["action"] == "receive"
        and operation["x-role"] == role
        and channel_of(operation["channel"])["address"].startswith("inbox/")
    }
    assert inboxes
    taken = _taken_in_code(role)
    assert taken == inboxes


# topics, rights, MQTT


@pytest.mark.parametrize("name", CATALOGUE["channels"])
def test_every_channel_is_a_topic(name: str) -> None:
    channel = CATALOGUE["channels"][name]
    parse_topic(topic_of(channel))
    assert set(channel.get("parameters", {})) == {
        word for word in ("member", "to", "from") if f"{{{word}}}" in channel["address"]
    }


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation["action"] == "send"])
def test_both_sides_have_the_right(name: str) -> None:
    """Who sends may publish, who receives may subscribe; and likewise back for the answer."""
    operation, other = OPERATIONS[name], OPERATIONS[name.replace("send.", "receive.", 1)]
    who = "mokpo" if name.startswith("send.inbox.ledger.ledger.") else "kim"  # only the operator's ledger asks others
    sender = principal(operation["x-role"], who)
    topic = topic_of(channel_of(operation["channel"]), sender=who)
    assert _may(sender, "publish", topic)
    for reader in _receivers(topic, other["x-role"]):
        assert _may(reader, "subscribe", topic)
        if "reply" in operation:
            answer = topic_of(channel_of(operation["reply"]["channel"]), sender=who)
            parsed = parse_topic(topic)
            assert isinstance(parsed, InboxTopic)
            assert answer == str(parsed.reply())
            assert _may(reader, "publish", answer)
            assert _may(sender, "subscribe", answer)


def _receivers(topic: str, role: str) -> list[Principal]:
    parsed = parse_topic(topic)
    if isinstance(parsed, InboxTopic):
        assert parsed.recipient.service == role
        return [parsed.recipient]
    if parsed.kind == "reading":
        return [Principal(parsed.owner.member, "ledger"), Principal("mokpo", "ledger")]
    return [Principal("haenam", "peer")] if role == "peers" else [Principal("haenam", "peer"), ADMISSION]


def _may(who: Principal, action: str, topic: str) -> bool:
    filters = getattr(rights_for(who, operator_member="mokpo"), action)
    return any(matches(one, topic) for one in filters)


def test_every_right_to_publish_is_used_by_a_message() -> None:
    """A right that no message needs is one too many; those of later versions are listed."""
    later = {
        "homeassistant/+/minervas-kim-meter-gateway/+/config",
    }
    topics = [topic_of(channel, to=to) for channel in CATALOGUE["channels"].values() for to in ("haenam", "kim")]
    others = ("haenam", "a")  # the latter is the operator
    topics += [topic_of(channel, to="kim", sender=one) for channel in CATALOGUE["channels"].values() for one in others]
    filters = {
        one
        for role in (*NODE_ROLES, "admission")
        for one in rights_for(principal(role, "kim"), operator_member="a").publish
    }
    unused = {one for one in filters if not any(matches(one, topic) for topic in topics)}
    assert unused == later | {"$CONTROL/dynamic-security/#"}


def test_everything_but_presence_expires() -> None:
    for operation in sent():
        mqtt = operation["bindings"]["mqtt"]
        is_presence = channel_of(operation["channel"])["address"].endswith("/presence")
        assert mqtt["qos"] == 1
        assert mqtt["retain"] == is_presence
        assert mqtt.get("messageExpiryInterval") == (None if is_presence else EXPIRY_S)


# schemas


def validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMAS["$defs"]})


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_fulfils_its_schema(name: str) -> None:
    sample = SAMPLES[name]
    value = json.loads(encode(sample))
    validator(type(sample).__name__).validate(value)
    with pytest.raises(jsonschema.ValidationError):
        validator(type(sample).__name__).validate(value | {"unknown": 1})


def test_messages_of_the_wrong_shape_do_not_fulfil_their_schema() -> None:
    cases = json.loads((SPEC / "vectors" / "messages.json").read_text("ascii"))["refused"]
    beyond_schemas = {
        "GetHeaders: limit is a float",  # 1.0 is an integer to JSON Schema
        "Reply: neither body nor failure",  # the catalogue says it
        "Reply: both body and failure",
    }
    wrong = [case for case in cases if case["code"] == "wrong_shape" and case["name"] not in beyond_schemas]
    assert len(wrong) > 10
    for case in wrong:
        value = json.loads(bytes.fromhex(case["bytes_hex"]))
        assert not validator(case["type"]).is_valid(value), case["name"]
