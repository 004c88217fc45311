"""Topics of the bus: outboxes and inboxes (design section 3).

``mesh/v1/<member>/<service>/<kind>[/...]`` is an outbox that only its owner writes.
``inbox/v1/<to-member>/<to-service>/<from-member>/<from-service>/<kind>`` is written by *from* and read by *to*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minervas_core.errors import Code, InvalidFrame, PeerFault
from minervas_core.identifiers import Principal, parse_principal

MAX_TOPIC_LENGTH = 256
"""Longest topic accepted; the longest that the grammar yields has about 150 characters."""

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
_DETAIL = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")

REPLY = "reply"
"""Kind of every answer to a request."""


@dataclass(frozen=True, slots=True)
class MeshTopic:
    """An outbox topic."""

    owner: Principal
    kind: str
    rest: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(("mesh", "v1", self.owner.member, self.owner.service, self.kind, *self.rest))


@dataclass(frozen=True, slots=True)
class InboxTopic:
    """A message from one principal to another."""

    recipient: Principal
    sender: Principal
    kind: str

    def __str__(self) -> str:
        to, by = self.recipient, self.sender
        return f"inbox/v1/{to.member}/{to.service}/{by.member}/{by.service}/{self.kind}"

    def reply(self) -> InboxTopic:
        """Where the answer to this message goes."""
        return InboxTopic(self.sender, self.recipient, REPLY)


def mesh(owner: Principal, kind: str, *rest: str) -> str:
    """Topic of an outbox."""
    return str(MeshTopic(owner, kind, rest))


def inbox(recipient: Principal, sender: Principal, kind: str) -> str:
    """Topic of a message from `sender` to `recipient`."""
    return str(InboxTopic(recipient, sender, kind))


def inbox_filter(recipient: Principal) -> str:
    """Subscription for everything that is addressed to `recipient`."""
    return f"inbox/v1/{recipient.member}/{recipient.service}/+/+/+"


def parse_topic(topic: str) -> MeshTopic | InboxTopic:
    """Take a concrete topic apart.

    Raises:
        InvalidFrame: ``bad_topic`` if it is not of either form or names nobody that can exist.
    """
    levels = topic.split("/") if len(topic) <= MAX_TOPIC_LENGTH else []
    try:
        match levels:
            case ["mesh", "v1", member, service, kind, *rest] if _KIND.match(kind) and all(map(_DETAIL.match, rest)):
                return MeshTopic(parse_principal(f"{member}.{service}"), kind, tuple(rest))
            case ["inbox", "v1", to_member, to_service, from_member, from_service, kind] if _KIND.match(kind):
                recipient = parse_principal(f"{to_member}.{to_service}")
                return InboxTopic(recipient, parse_principal(f"{from_member}.{from_service}"), kind)
    except PeerFault as error:
        raise InvalidFrame(Code.BAD_TOPIC, "Topic names nobody that can exist", topic=topic) from error
    raise InvalidFrame(Code.BAD_TOPIC, "Neither an outbox nor an inbox", topic=topic[:MAX_TOPIC_LENGTH])


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a subscription filter covers a concrete topic (MQTT 5 section 4.7).

    A topic with a wildcard in it is no concrete topic, and ``#`` above the last level is no filter: neither matches.
    """
    wanted, given = topic_filter.split("/"), topic.split("/")
    if "+" in topic or "#" in topic or (given[0].startswith("$") and wanted[0] in ("+", "#")):
        return False
    for position, level in enumerate(wanted):
        if level == "#":
            return position == len(wanted) - 1
        if position >= len(given) or level not in ("+", given[position]):
            return False
    return len(wanted) == len(given)
