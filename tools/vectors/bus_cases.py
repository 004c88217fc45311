"""Names, topics and rights on the bus."""

from __future__ import annotations

from minervas_core.errors import MinervasError
from minervas_core.identifiers import Principal, check_member_id, parse_principal
from minervas_core.rights import ADMISSION, Rights, rights_for
from minervas_core.topics import MeshTopic, matches, parse_topic
from tools.vectors.format import Case, Plain

OPERATOR = "mokpo-univ"

MEMBER_IDS = (
    "a", "0", "mokpo-univ", "a--b", "a" * 32, "1-2", "consortium", "", "-a", "a-", "A", "a_b", "a.b", "a/b", "a+",
    "#", "a" * 33, "a\n", " a", "é", "目",
)  # fmt: skip

PRINCIPALS = (
    "a.peer", "a.miner", "a.ledger", "a.meter-gateway", "a.meter-gateway-2", "a.peer-999", "consortium.admission",
    "consortium.broker", "consortium.monitor", "a.admission", "consortium.peer", "a.oracle", "a", "a.", ".peer",
    "a.peer.x", "a.peer-0", "a.peer-01", "a.peer-1000", "a.peer-1-2", "a.Peer", "A.peer", "+.peer", "a.peer\n", "",
)  # fmt: skip

TOPICS = (
    "mesh/v1/a/peer/hello",
    "mesh/v1/a/meter-gateway/reading/roof-east/CH2",
    "mesh/v1/consortium/admission/tx",
    "inbox/v1/a/peer/b/peer/get_headers",
    "inbox/v1/a/ledger/a/peer/reply",
    "inbox/v1/consortium/admission/a/peer/get_membership",
    "",
    "mesh",
    "mesh/v1/a/peer",
    "mesh/v1/a/peer/",
    "mesh/v2/a/peer/hello",
    "mesh/v1/a/oracle/hello",
    "mesh/v1/A/peer/hello",
    "mesh/v1/a.peer/x/hello",
    "mesh/v1/a/peer/hello/",
    "mesh/v1/a/peer/Hello",
    "mesh/v1/a/peer/+",
    "mesh/v1/+/peer/hello",
    "mesh/v1/a/peer/#",
    "/mesh/v1/a/peer/hello",
    "inbox/v1/a/peer/b/peer",
    "inbox/v1/a/peer/b/peer/x/y",
    "inbox/v1/a/peer/b/oracle/x",
    "inbox/v1/a/admission/b/peer/x",
    "$SYS/broker/version",
    "$CONTROL/dynamic-security/v1",
    "$share/g/mesh/v1/a/peer/hello",
    "mesh/v1/a/peer/hello\n",
    "mesh/v1/a/peer/" + "k" * 33,
    "mesh/v1/a/meter-gateway/reading/" + "/".join(["m" * 64] * 4),
)

FILTERS = (
    ("a/b", "a/b", "equal"),
    ("a/+", "a/b", "one level"),
    ("+/b", "a/b", "first level"),
    ("a/+/c", "a/b/c", "level between"),
    ("a/+", "a", "no level is no level"),
    ("a/+", "a/", "an empty level is a level"),
    ("+/+", "/a", "empty first level"),
    ("+", "/a", "two levels"),
    ("a/#", "a/b/c", "all below"),
    ("a/#", "a", "the parent too"),
    ("a/#", "ab", "whole levels only"),
    ("#", "a/b", "everything"),
    ("#", "$SYS/a", "but nothing of the broker"),
    ("+/a", "$SYS/a", "nor by one level"),
    ("$SYS/#", "$SYS/a", "unless named"),
    ("$SYS/+", "$SYS/a/b", "one level only"),
    ("a/b", "a/b/c", "longer topic"),
    ("a/b/c", "a/b", "longer filter"),
    ("A/b", "a/b", "case matters"),
    ("a/#/c", "a/b/c", "# only at the end"),
    ("a/+", "a/+", "a topic with a wildcard is no topic"),
    ("#", "a/#", "nor with the other wildcard"),
    ("$share/g/a/b", "a/b", "shared subscriptions are not part of the rights"),
)
"""Filter, topic and what the pair shows."""


def name_cases() -> list[Case]:
    """Member ids and principals, with the code if they are refused."""
    members: list[Case] = [
        {"name": f"member {name!a}", "member": name, "code": _code(check_member_id, name)} for name in MEMBER_IDS
    ]
    for name in PRINCIPALS:
        case: Case = {"name": f"principal {name!a}", "principal": name, "code": _code(parse_principal, name)}
        members.append(case | ({"role": parse_principal(name).role} if case["code"] is None else {}))
    return members


def topic_cases() -> list[Case]:
    """Topics taken apart, or the code if they are refused."""
    return [_topic(topic) for topic in TOPICS]


def _topic(topic: str) -> Case:
    try:
        parsed = parse_topic(topic)
    except MinervasError as error:
        return {"name": topic, "topic": topic, "code": str(error.code)}
    parts: Case = {"name": topic, "topic": topic, "code": None, "kind": parsed.kind}
    if isinstance(parsed, MeshTopic):
        return parts | {"owner": str(parsed.owner), "rest": list(parsed.rest)}
    return parts | {
        "recipient": str(parsed.recipient),
        "sender": str(parsed.sender),
        "reply_topic": str(parsed.reply()),
    }


def filter_cases() -> list[Case]:
    """Which filters match which topics."""
    return [
        {"name": shows, "filter": pattern, "topic": topic, "matches": matches(pattern, topic)}
        for pattern, topic, shows in FILTERS
    ]


def rights_table() -> Case:
    """Every row of the rights table with ``<member>`` and ``<service>`` in place of names."""
    rows: dict[str, tuple[Principal, bool]] = {
        "peer": (Principal("member-id", "peer"), False),
        "ledger": (Principal("member-id", "ledger"), False),
        "ledger of the operator": (Principal("member-id", "ledger"), True),
        "miner": (Principal("member-id", "miner"), False),
        "meter-gateway": (Principal("member-id", "meter-gateway"), False),
        "admission": (ADMISSION, False),
    }
    table: dict[str, Plain] = {}
    for name, (principal, is_operator) in rows.items():
        operator = principal.member if is_operator else "another-member"
        rights = rights_for(principal, operator_member=operator)
        table[name] = {
            "principal": str(principal).replace("member-id", "<member>"),
            "publish": _placeholders(rights.publish),
            "subscribe": _placeholders(rights.subscribe),
        }
    return {"about": "Filters that each principal may publish to and subscribe to (spec/topics.md).", "rights": table}


def _placeholders(filters: tuple[str, ...]) -> list[Plain]:
    return [one.replace("member-id", "<member>") for one in filters]


# forging matrix

PROBES = (
    "mesh/v1/mokpo-univ/peer/hello",
    "mesh/v1/mokpo-univ/peer/tx",
    "mesh/v1/mokpo-univ/peer/block",
    "mesh/v1/mokpo-univ/peer/presence",
    "mesh/v1/mokpo-univ/peer/other",
    "mesh/v1/mokpo-univ/peer/tx/more",
    "mesh/v1/mokpo-univ/ledger/presence",
    "mesh/v1/mokpo-univ/miner/presence",
    "mesh/v1/mokpo-univ/miner/block",
    "mesh/v1/haenam-farm/peer/hello",
    "mesh/v1/haenam-farm/peer/tx",
    "mesh/v1/haenam-farm/ledger/presence",
    "mesh/v1/haenam-farm/meter-gateway/reading/roof/CH2",
    "mesh/v1/consortium/admission/tx",
    "mesh/v1/consortium/admission/presence",
    "inbox/v1/mokpo-univ/peer/haenam-farm/peer/get_headers",
    "inbox/v1/haenam-farm/peer/mokpo-univ/peer/get_headers",
    "inbox/v1/haenam-farm/peer/kim-house/peer/get_headers",
    "inbox/v1/haenam-farm/peer/mokpo-univ/ledger/submit",
    "inbox/v1/mokpo-univ/peer/mokpo-univ/ledger/tip",
    "inbox/v1/mokpo-univ/ledger/mokpo-univ/peer/submit",
    "inbox/v1/mokpo-univ/ledger/mokpo-univ/miner/found",
    "inbox/v1/mokpo-univ/ledger/haenam-farm/peer/submit",
    "inbox/v1/haenam-farm/ledger/mokpo-univ/peer/submit",
    "inbox/v1/haenam-farm/ledger/mokpo-univ/ledger/reading_runs",
    "inbox/v1/mokpo-univ/ledger/haenam-farm/ledger/reply",
    "inbox/v1/kim/ledger/haenam-farm/ledger/reading_runs",
    "inbox/v1/mokpo-univ/miner/mokpo-univ/ledger/template",
    "inbox/v1/haenam-farm/miner/mokpo-univ/ledger/template",
    "inbox/v1/mokpo-univ/miner/mokpo-univ/peer/template",
    "inbox/v1/consortium/admission/mokpo-univ/peer/get_membership",
    "inbox/v1/consortium/admission/haenam-farm/peer/get_membership",
    "inbox/v1/consortium/admission/mokpo-univ/ledger/get_membership",
    "inbox/v1/mokpo-univ/peer/consortium/admission/tx_status",
    "inbox/v1/mokpo-univ/ledger/consortium/admission/submit",
    "$CONTROL/dynamic-security/v1",
    "$CONTROL/dynamic-security/v1/response",
    "$SYS/broker/clients/total",
    "$share/g/mesh/v1/mokpo-univ/peer/hello",
    "homeassistant/sensor/minervas-mokpo-univ-meter-gateway/power/config",
    "anything/else",
)
"""Topics that each principal is tried on."""

TRIED = ("mokpo-univ.peer", "mokpo-univ.ledger", "haenam-farm.ledger", "mokpo-univ.miner", "consortium.admission")


def rights_cases() -> list[Case]:
    """For every principal and topic: may it write there, may it read there. Mokpo is the operator."""
    cases: list[Case] = []
    for name in TRIED:
        rights = rights_for(parse_principal(name), operator_member=OPERATOR)
        cases += [
            {
                "name": f"{name} on {topic}",
                "principal": name,
                "topic": topic,
                "publish": may(rights, "publish", topic),
                "subscribe": may(rights, "subscribe", topic),
            }
            for topic in PROBES
        ]
    return cases


def may(rights: Rights, action: str, topic: str) -> bool:
    """Whether the rights cover a concrete topic."""
    filters = rights.publish if action == "publish" else rights.subscribe
    return any(matches(one, topic) for one in filters)


def _code(check: object, name: str) -> str | None:
    try:
        check(name)  # type: ignore[operator]  # one of the two checks
    except MinervasError as error:
        return str(error.code)
    return None
