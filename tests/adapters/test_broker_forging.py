"""Nobody can speak for somebody else, or hear what is not for it: the whole rights table, tried out on the real broker.

For each role of a member everything that any other principal may publish is tried, at each QoS, retained and as will;
and everything that others may subscribe to. The table itself says what is allowed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from minervas_core.identifiers import Principal
from minervas_core.rights import ADMISSION, Rights, rights_for
from minervas_core.topics import matches
from tests.support.fix_broker import OPERATOR_MEMBER, Broker
from tests.support.pki import CertFiles
from tests.support.raw_mqtt import RawClient
from tests.support.wait import wait_until

ROLES = ("peer", "miner", "ledger", "meter-gateway")
NOT_AUTHORIZED = 0x87

EAVESDROPPING = (
    "#",
    "+/#",
    "mesh/#",
    "inbox/#",
    "inbox/+/#",
    "$SYS/#",
    "$CONTROL/#",
    "$CONTROL/dynamic-security/v1/response",
)


def rights_of(principal: Principal) -> Rights:
    return rights_for(principal, operator_member=OPERATOR_MEMBER)


def example(topic_filter: str) -> str:
    """A topic that a filter covers."""
    return topic_filter.replace("dynamic-security/#", "dynamic-security/v1").replace("+", "somebody").replace("#", "x")


def may(filters: tuple[str, ...], topic: str) -> bool:
    return any(matches(pattern, topic) for pattern in filters)


def is_within(narrow: str, wide: str) -> bool:
    """Whether a filter matches nothing but what another one matches; for the filters of the table."""
    pairs = itertools.zip_longest(narrow.split("/"), wide.split("/"))
    return all(b in (a, "#") or (b == "+" and a not in (None, "#")) for a, b in pairs)


class Stage:
    """Two members with all their services, and an observer that hears everything."""

    def __init__(self, broker: Broker, member: str) -> None:
        self.broker = broker
        self.names = (f"{member}-a", f"{member}-b")
        self.principals = [Principal(name, role) for name in self.names for role in ROLES]
        for principal in self.principals:
            broker.grant(principal, rights_of(principal))
        observer = f"{member}-observer.peer"
        broker.grant(observer, Rights((), ("mesh/#", "inbox/#", "homeassistant/#")))
        self.observer = RawClient(broker, broker.issue(observer), observer).connect()
        for topic_filter in ("mesh/#", "inbox/#", "homeassistant/#"):
            assert self.observer.subscribe(topic_filter) == 1

    def files(self, principal: Principal) -> CertFiles:
        return self.broker.issue(principal)

    def of_others(self, attacker: Principal) -> list[str]:
        """Topics on which somebody else may publish, and the attacker may not."""
        own = rights_of(attacker).publish
        found = {example(pattern) for other in (*self.principals, ADMISSION) for pattern in rights_of(other).publish}
        found |= {f"inbox/v1/{self.names[1]}/peer/{self.names[1]}/peer/tx", "anything", f"mesh/v1/{attacker.member}"}
        return sorted(topic for topic in found if not may(own, topic))


@pytest.fixture(scope="module")
def stage(broker: Broker) -> Iterator[Stage]:
    made = Stage(broker, "forging")
    yield made
    made.observer.stop()


@pytest.mark.parametrize("role", ROLES)
def test_nobody_can_publish_in_the_name_of_another_member_or_service(stage: Stage, role: str) -> None:
    attacker = Principal(stage.names[0], role)
    forged = stage.of_others(attacker)
    assert len(forged) > 20
    with RawClient(stage.broker, stage.files(attacker)) as client:
        for topic, retain in itertools.product(forged, (False, True)):
            assert client.publish(topic, b"forged", qos=1, retain=retain) == NOT_AUTHORIZED, topic
            for qos in (0, 2):  # a denied QoS 2 publish is reported as a success, so only the observer tells
                client.publish(topic, b"forged", qos=qos, retain=retain)
        for pattern in rights_of(attacker).publish:
            assert client.publish(example(pattern), f"mark of {role}".encode()) in (0, 0x10), pattern
    allowed = len(rights_of(attacker).publish)
    wait_until(lambda: stage.observer.payloads().count(f"mark of {role}".encode()) == allowed, describe="the marks")
    assert b"forged" not in stage.observer.payloads()


@pytest.mark.parametrize("role", ROLES)
def test_nobody_can_hear_what_is_for_another_member_or_service(stage: Stage, role: str) -> None:
    me = Principal(stage.names[0], role)
    own = rights_of(me).subscribe
    others = {pattern for other in stage.principals for pattern in rights_of(other).subscribe}
    shared = {f"$share/group/{pattern}" for pattern in (*others, *own)}
    with RawClient(stage.broker, stage.files(me)) as client:
        for topic_filter in sorted({*others, *shared, *EAVESDROPPING} - set(own)):
            covered = any(is_within(topic_filter, pattern) for pattern in own)
            assert (client.subscribe(topic_filter) < 0x80) == covered, topic_filter
        for topic_filter in own:
            assert client.subscribe(topic_filter) == 1
        secret = f"inbox/v1/{stage.names[1]}/peer/{stage.names[1]}/ledger/secret"
        with RawClient(stage.broker, stage.files(Principal(stage.names[1], "ledger"))) as other:
            assert other.publish(secret, b"secret") == 0
        wait_until(lambda: (secret, b"secret") in stage.observer.received, describe="the secret at the observer")
        assert (secret, b"secret") not in client.received


def test_a_will_can_not_be_forged(stage: Stage) -> None:
    attacker, victim = (Principal(name, "peer") for name in stage.names)
    for topic, payload in ((f"mesh/v1/{victim.member}/peer/presence", b"forged will"), (
        f"mesh/v1/{attacker.member}/peer/presence", b"true will",
    )):  # fmt: skip
        client = RawClient(stage.broker, stage.files(attacker), will=(topic, payload)).connect()
        if not client.closed:
            client.cut()
    wait_until(lambda: b"true will" in stage.observer.payloads(), describe="the attacker's own will")
    assert b"forged will" not in stage.observer.payloads()


@pytest.mark.parametrize("name", ["#", "+", "a+b", "acmé", "acme/peer", "$SYS", "admin", "democlient"])
def test_a_name_that_is_a_wildcard_or_of_a_default_account_opens_nothing(stage: Stage, name: str) -> None:
    """Admission never signs such a name; if it did, the broker would still have no rights for it."""
    files = stage.broker.issue(name)
    client = RawClient(stage.broker, files).connect()
    if client.connect_code == 0 and not client.closed:
        for topic in (f"mesh/v1/{stage.names[0]}/peer/tx", "$CONTROL/dynamic-security/v1", "anything"):
            assert client.publish(topic, b"forged") != 0 or client.closed
        for topic_filter in ("#", "mesh/v1/+/+/tx", "$SYS/#"):
            assert client.subscribe(topic_filter) not in (0, 1, 2)
    client.stop()
    assert b"forged" not in stage.observer.payloads()
