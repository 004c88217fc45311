"""The rights table of design section 3: what each principal may write and read on the bus.

Broker roles are generated from here, with literal topics for each principal; spec/rights.json publishes the table and
a test compares. Wildcards stand only where the other side is not known when the role is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from minervas_core.errors import Code, LocalFault, PeerFault
from minervas_core.identifiers import RESERVED_MEMBER, Principal, parse_principal
from minervas_core.topics import inbox_filter, mesh

PEER_GOSSIP = ("hello", "tx", "block", "vote")
"""Kinds that peers broadcast to each other."""

ADMISSION = Principal(RESERVED_MEMBER, "admission")
"""The admission service."""

CONTROL = "$CONTROL/dynamic-security/#"
"""Where Mosquitto's dynamic-security plugin takes commands and answers."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Topic filters that a principal may publish to and subscribe to (and receive)."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def rights_for(principal: Principal, *, operator_member: str) -> Rights:
    """Rights of one principal.

    Args:
        principal: the process.
        operator_member: the member whose ledger collects everybody's readings, and asks for those that it misses.

    Raises:
        LocalFault: ``internal`` for a service without a row in the table, or a name that no principal can have: its
            parts become literal levels of topic filters, where a ``+`` would open everything.
    """
    try:
        parse_principal(str(principal))
    except PeerFault as error:
        raise LocalFault(Code.INTERNAL, "Not the name of a principal", principal=str(principal)) from error
    match principal.role:
        case "peer":
            return _peer(principal)
        case "ledger":
            return _ledger(principal, operator_member=operator_member)
        case "miner":
            return _below_ledger(principal)
        case "meter-gateway":
            return _gateway(principal)
        case "admission" if principal == ADMISSION:
            return _admission()
        case _:
            raise LocalFault(Code.INTERNAL, "No rights are defined for this service", principal=str(principal))


def _to(member: str, service: str, sender: Principal) -> str:
    """Filter for messages of `sender` to a service of one member (or of any, for ``+``)."""
    return f"inbox/v1/{member}/{service}/{sender.member}/{sender.service}/+"


def _peer(me: Principal) -> Rights:
    kinds = (*PEER_GOSSIP, "presence")
    return Rights(
        publish=(
            *(mesh(me, kind) for kind in kinds),
            _to("+", "peer", me),
            _to(me.member, "ledger", me),
            _to(ADMISSION.member, ADMISSION.service, me),
        ),
        subscribe=(inbox_filter(me), *(f"mesh/v1/+/+/{kind}" for kind in kinds)),
    )


def _ledger(me: Principal, *, operator_member: str) -> Rights:
    """Only the operator's ledger asks others, for missing readings; they can write to nobody but it (ADR 0037)."""
    is_operator = me.member == operator_member
    readers = "+" if is_operator else me.member
    return Rights(
        publish=(
            mesh(me, "presence"),
            _to(me.member, "+", me),  # gateways can be added later
            _to("+" if is_operator else operator_member, "ledger", me),
        ),
        subscribe=(inbox_filter(me), f"mesh/v1/{readers}/+/reading/#", f"mesh/v1/{readers}/+/presence"),
    )


def _below_ledger(me: Principal) -> Rights:
    return Rights(
        publish=(mesh(me, "presence"), _to(me.member, "ledger", me)),
        subscribe=(inbox_filter(me), mesh(Principal(me.member, "ledger"), "presence")),
    )


def _gateway(me: Principal) -> Rights:
    base = _below_ledger(me)
    own = (mesh(me, "reading") + "/#", f"homeassistant/+/minervas-{me.member}-{me.service}/+/config")
    return Rights(publish=(*base.publish, *own), subscribe=base.subscribe)


def _admission() -> Rights:
    return Rights(
        publish=(mesh(ADMISSION, "tx"), mesh(ADMISSION, "presence"), _to("+", "peer", ADMISSION), CONTROL),
        subscribe=(inbox_filter(ADMISSION), "mesh/v1/+/+/presence", "$SYS/#", CONTROL),
    )
