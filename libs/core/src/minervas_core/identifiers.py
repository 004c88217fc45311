"""Names: members, services and principals (design sections 1 and 3)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

import msgspec

from minervas_core.errors import Code, PeerFault

MEMBER_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\Z"
"""What a member id looks like (design section 1)."""

RESERVED_MEMBER = "consortium"
"""Member id of the admission authority and the broker; nobody can be admitted under it."""

NODE_SERVICES = ("peer", "miner", "ledger", "meter-gateway")
"""Services of a member's node. A second process of one service is called ``<service>-<n>``."""

CONSORTIUM_SERVICES = ("admission", "broker", "database", "grafana", "monitor")
"""Services under the reserved member; database and grafana only have certificates of servers."""

MemberId = Annotated[str, msgspec.Meta(pattern=MEMBER_PATTERN)]
LeanMemberId = Annotated[str, msgspec.Meta(min_length=1, max_length=32, extra_json_schema={"pattern": MEMBER_PATTERN})]
"""A `MemberId` of which the type only checks the length: a `judge` asks `is_member_id` (see `encoding.LeanHash`)."""
ServiceName = Annotated[str, msgspec.Meta(pattern=r"^[a-z]+(-[a-z]+)*(-[1-9][0-9]{0,2})?\Z")]

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*\Z"
"""Text for people: no control characters, line separators or direction overrides, which could fake a terminal line."""

_MEMBER = re.compile(MEMBER_PATTERN)
_NUMBER_SUFFIX = re.compile(r"-[1-9][0-9]{0,2}\Z")


@lru_cache(maxsize=4_096)
def is_member_id(text: str) -> bool:
    """Whether a text is a `MemberId`; meters and channels are named likewise. The same few come again and again."""
    return _MEMBER.match(text) is not None


class Principal(msgspec.Struct, frozen=True, order=True):
    """One process on the bus; its text form is the certificate's common name and the MQTT client id."""

    member: str
    service: str

    def __str__(self) -> str:
        return f"{self.member}.{self.service}"

    @property
    def role(self) -> str:
        """The service without a worker number: ``meter-gateway-2`` has the role ``meter-gateway``."""
        return _NUMBER_SUFFIX.sub("", self.service)


def check_member_id(member: str) -> str:
    """Return `member` if it may be admitted.

    Raises:
        PeerFault: ``bad_member_id`` if it breaks the grammar or is reserved.
    """
    if not _MEMBER.match(member) or member == RESERVED_MEMBER:
        raise PeerFault(
            Code.BAD_MEMBER_ID,
            "A member id is 1 to 32 of a-z, 0-9 and inner hyphens, and not a reserved word",
            member=member,
        )
    return member


def parse_principal(name: str) -> Principal:
    """Split ``<member>.<service>`` and check both halves.

    Raises:
        PeerFault: ``bad_member_id`` if it is not the name of a service that exists.
    """
    member, dot, service = name.partition(".")
    principal = Principal(member, service)
    allowed = CONSORTIUM_SERVICES if member == RESERVED_MEMBER else NODE_SERVICES
    if not dot or not _MEMBER.match(member) or principal.role not in allowed:
        raise PeerFault(Code.BAD_MEMBER_ID, "Not a principal of the form <member>.<service>", name=name)
    return principal
