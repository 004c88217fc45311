"""The rights table as roles of Mosquitto's dynamic-security plugin: one role per principal, with literal topics.

Wildcards for the own name (``%u``) would do with one role per service, but Mosquitto 2.0 takes them literally.
"""

from __future__ import annotations

from typing import Any

from minervas_admission.dynsec import Command
from minervas_core.errors import Code, LocalFault
from minervas_core.identifiers import Principal
from minervas_core.rights import Rights, rights_for

Acl = tuple[str, str, bool]
"""Kind of access, topic filter, whether it is allowed."""

ALL_DENIED: dict[str, bool] = {
    "publishClientSend": False,
    "publishClientReceive": False,
    "subscribe": False,
    "unsubscribe": True,
}
"""Default access: nothing but to unsubscribe."""


def role_name(principal: Principal) -> str:
    """Name of the principal's role."""
    return f"p-{principal}"


def expected_acls(principal: Principal, operator_member: str) -> frozenset[Acl]:
    """The rules of a principal's role.

    Raises:
        LocalFault: ``internal`` for a principal without rights, or a filter that no broker would take.
    """
    return acls_of(rights_for(principal, operator_member=operator_member))


def acls_of(rights: Rights) -> frozenset[Acl]:
    """Rights as rules: a subscription needs the right to subscribe and, for each message, to receive.

    Raises:
        LocalFault: ``internal`` for a filter that is not valid in MQTT; the plugin would accept and never match it.
    """
    rules: set[Acl] = set()
    for topic in rights.publish:
        rules.add(("publishClientSend", check_filter(topic), True))
    for topic in rights.subscribe:
        rules.add(("publishClientReceive", check_filter(topic), True))
        rules.add(("subscribePattern", topic, True))
    return frozenset(rules)


def check_filter(topic: str) -> str:
    """Return a topic filter if it is valid (MQTT 5 section 4.7.1).

    Raises:
        LocalFault: ``internal``.
    """
    levels = topic.split("/")
    wrong = (
        not topic
        or "\0" in topic
        or any("+" in level and level != "+" for level in levels)
        or any("#" in level and (level != "#" or place != len(levels) - 1) for place, level in enumerate(levels))
    )
    if wrong:
        raise LocalFault(Code.INTERNAL, "Not a valid topic filter", topic=topic)
    return topic


def listed_acls(role: dict[str, Any]) -> frozenset[Acl]:
    """The rules of a role as the plugin lists it. Priorities do not matter where everything is allowed."""
    rules = role.get("acls")
    return frozenset(
        (str(rule.get("acltype")), str(rule.get("topic")), bool(rule.get("allow")))
        for rule in (rules if isinstance(rules, list) else [])
        if isinstance(rule, dict)
    )


def acl_objects(acls: frozenset[Acl]) -> list[dict[str, Any]]:
    """Rules as the plugin takes them."""
    return [{"acltype": kind, "topic": topic, "priority": 0, "allow": allow} for kind, topic, allow in sorted(acls)]


def create_role(principal: Principal, acls: frozenset[Acl]) -> Command:
    """The command that makes a principal's role."""
    return {"command": "createRole", "rolename": role_name(principal), "acls": acl_objects(acls)}


def modify_role(principal: Principal, acls: frozenset[Acl]) -> Command:
    """The command that replaces the rules of a principal's role."""
    return {"command": "modifyRole", "rolename": role_name(principal), "acls": acl_objects(acls)}


def create_client(principal: Principal) -> Command:
    """The command that lets a principal use its role. Without a password: the certificate says who it is."""
    return {"command": "createClient", "username": str(principal), "roles": [{"rolename": role_name(principal)}]}


def delete_client(name: str) -> Command:
    """The command that takes all rights away and ends the session.

    ``disableClient`` would not do: with certificates the plugin's flag is not looked at when the client comes back.
    """
    return {"command": "deleteClient", "username": name}


def delete_role(name: str) -> Command:
    """The command that deletes a role."""
    return {"command": "deleteRole", "rolename": name}
