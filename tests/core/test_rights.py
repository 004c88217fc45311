"""The rights table: nobody writes under another name, and everybody reads what its work needs."""

from __future__ import annotations

from itertools import product

import pytest

from minervas_core.errors import Code, LocalFault
from minervas_core.identifiers import Principal
from minervas_core.ledger_messages import LEDGER_REQUEST_TYPES
from minervas_core.messages import ADMISSION_REQUEST_TYPES, GOSSIP_TYPES, PEER_REQUEST_TYPES
from minervas_core.rights import ADMISSION, PEER_GOSSIP, Rights, rights_for
from minervas_core.topics import inbox, inbox_filter, matches, mesh

OPERATOR = "mokpo"
MEMBERS = ("mokpo", "haenam", "kim")
SERVICES = ("peer", "miner", "ledger", "meter-gateway")
PRINCIPALS = [Principal(*pair) for pair in product(MEMBERS, SERVICES)] + [ADMISSION]
KINDS = (*PEER_GOSSIP, "presence", "reading", "other")
INBOX_KINDS = ("reply", "get_headers", "found", "get_membership", "other")
OUTBOXES = [mesh(owner, kind) for owner in PRINCIPALS for kind in KINDS]
INBOXES = [inbox(to, by, kind) for to in PRINCIPALS for by in PRINCIPALS for kind in INBOX_KINDS]
BROKER_TOPICS = ("$CONTROL/dynamic-security/v1", "$CONTROL/other", "$SYS/broker/uptime", "$share/g/mesh/v1/kim/peer/tx")
TOPICS = [*OUTBOXES, *INBOXES, *BROKER_TOPICS, "homeassistant/sensor/x/y/config", "other"]


def rights(principal: Principal) -> Rights:
    return rights_for(principal, operator_member=OPERATOR)


def writes(principal: Principal) -> set[str]:
    return {topic for topic in TOPICS if any(matches(one, topic) for one in rights(principal).publish)}


def reads(principal: Principal) -> set[str]:
    return {topic for topic in TOPICS if any(matches(one, topic) for one in rights(principal).subscribe)}


@pytest.mark.parametrize("principal", PRINCIPALS, ids=str)
def test_nobody_writes_into_an_outbox_of_somebody_else(principal: Principal) -> None:
    own = {mesh(principal, kind) for kind in KINDS}
    assert writes(principal) & set(OUTBOXES) <= own


@pytest.mark.parametrize("principal", PRINCIPALS, ids=str)
def test_nobody_writes_under_another_name_into_an_inbox(principal: Principal) -> None:
    own = {inbox(to, principal, kind) for to in PRINCIPALS for kind in INBOX_KINDS}
    assert writes(principal) & set(INBOXES) <= own


@pytest.mark.parametrize("principal", PRINCIPALS, ids=str)
def test_everybody_reads_exactly_its_own_inbox(principal: Principal) -> None:
    addressed = {inbox(principal, by, kind) for by in PRINCIPALS for kind in INBOX_KINDS}
    assert reads(principal) & set(INBOXES) == addressed


@pytest.mark.parametrize("principal", PRINCIPALS, ids=str)
def test_only_admission_touches_the_broker(principal: Principal) -> None:
    broker = {topic for topic in TOPICS if topic.startswith("$")}
    control, status = "$CONTROL/dynamic-security/v1", "$SYS/broker/uptime"
    is_admission = principal == ADMISSION
    assert writes(principal) & broker == ({control} if is_admission else set())
    assert reads(principal) & broker == ({control, status} if is_admission else set())


@pytest.mark.parametrize("principal", PRINCIPALS, ids=str)
def test_every_filter_names_its_owner_or_only_reads(principal: Principal) -> None:
    """No publish filter has a wildcard where the writer's own name stands."""
    for one in rights(principal).publish:
        levels = one.split("/")
        if levels[0] == "mesh":
            assert levels[2:4] == [principal.member, principal.service]
        elif levels[0] == "inbox":
            assert levels[4:6] == [principal.member, principal.service]
        else:
            assert levels[0] in ("$CONTROL", "homeassistant")


def test_gossip_travels_from_every_peer_to_every_peer() -> None:
    for by, to in product(MEMBERS, MEMBERS):
        for kind in (*GOSSIP_TYPES, "hello", "presence"):
            topic = mesh(Principal(by, "peer"), kind)
            assert topic in writes(Principal(by, "peer"))
            assert topic in reads(Principal(to, "peer"))


def test_only_peers_and_admission_write_what_peers_take_as_gossip() -> None:
    taken = [topic for topic in OUTBOXES if topic.split("/")[4] in PEER_GOSSIP]
    for principal in PRINCIPALS:
        written = writes(principal) & set(taken)
        if principal == ADMISSION:
            assert written == {mesh(ADMISSION, "tx")}
        elif principal.service != "peer":
            assert written == set()


def test_requests_and_answers_between_peers_are_allowed() -> None:
    one, other = Principal("mokpo", "peer"), Principal("kim", "peer")
    for kind in (*PEER_REQUEST_TYPES, "sender_key", "key_request", "reply"):
        for by, to in ((one, other), (other, one)):
            assert any(matches(allowed, inbox(to, by, kind)) for allowed in rights(by).publish)


def test_requests_and_answers_between_peers_and_admission_are_allowed() -> None:
    peer = Principal("kim", "peer")
    for kind in (*ADMISSION_REQUEST_TYPES, "reply"):
        for by, to in ((peer, ADMISSION), (ADMISSION, peer)):
            assert any(matches(allowed, inbox(to, by, kind)) for allowed in rights(by).publish)


@pytest.mark.parametrize("service", ["peer", "miner", "ledger", "meter-gateway"])
def test_services_of_a_node_reach_only_their_neighbours_in_it(service: str) -> None:
    neighbours = {
        "peer": {"peer", "ledger"},
        "ledger": {"peer", "miner", "meter-gateway", "ledger"},
        "miner": {"ledger"},
        "meter-gateway": {"ledger"},
    }
    me = Principal("kim", service)
    reached = {to.service for to in PRINCIPALS if to.member == "kim" and inbox(to, me, "other") in writes(me)}
    assert reached == neighbours[service]


@pytest.mark.parametrize("service", ["miner", "ledger", "meter-gateway"])
def test_only_peers_reach_all_other_members_and_ledgers_the_operators(service: str) -> None:
    me = Principal("kim", service)
    reached = {str(to) for to in PRINCIPALS if to.member != "kim" and inbox(to, me, "other") in writes(me)}
    assert reached == ({"mokpo.ledger"} if service == "ledger" else set())


def test_only_the_operators_ledger_reaches_all_ledgers() -> None:
    """So nobody else can ask for a member's readings; whom it asks can answer."""
    asker, asked = Principal("mokpo", "ledger"), Principal("kim", "ledger")
    for kind in LEDGER_REQUEST_TYPES:
        assert any(matches(allowed, inbox(asked, asker, kind)) for allowed in rights(asker).publish)
        askers = [one for one in PRINCIPALS if any(matches(f, inbox(asked, one, kind)) for f in rights(one).publish)]
        assert {str(one) for one in askers if one.member != "kim"} == {"mokpo.ledger"}
    assert any(matches(allowed, inbox(asker, asked, "reply")) for allowed in rights(asked).publish)


def test_readings_are_read_by_the_own_ledger_and_the_operators() -> None:
    topic = mesh(Principal("kim", "meter-gateway"), "reading", "roof", "CH2")
    readers = {str(one) for one in PRINCIPALS if any(matches(allowed, topic) for allowed in rights(one).subscribe)}
    assert readers == {"kim.ledger", "mokpo.ledger"}


@pytest.mark.parametrize(
    "principal",
    [
        Principal("+", "peer"),
        Principal("#", "peer"),
        Principal("a/b", "peer"),
        Principal("kim", "+"),
        Principal("kim", "admission"),
        Principal("consortium", "peer"),
        Principal("consortium", "broker"),
        Principal("", "peer"),
        Principal("kim", ""),
    ],
    ids=str,
)
def test_no_rights_are_made_for_a_name_that_no_principal_has(principal: Principal) -> None:
    with pytest.raises(LocalFault) as refused:
        rights(principal)
    assert refused.value.code is Code.INTERNAL


def test_a_second_process_of_a_service_has_an_inbox_of_its_own() -> None:
    second = Principal("kim", "meter-gateway-2")
    assert inbox_filter(second) in rights(second).subscribe
    assert not any(
        matches(one, mesh(Principal("kim", "meter-gateway"), "reading", "x")) for one in rights(second).publish
    )
