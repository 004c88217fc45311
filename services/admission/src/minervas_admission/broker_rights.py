"""Makes the broker's clients and roles what the database says: one principal at a time, or all in a reconciliation.

Only one such operation runs at a time, and each asks the database at its start, so a reconciliation never undoes an
approval or a revocation that happens beside it. Admission's own client is never deleted or changed: whoever takes that
away from itself locks everybody out. Its role may be given what it lacks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from minervas_admission.dynsec import Answer, Command, DynsecClient
from minervas_admission.dynsec_roles import (
    ALL_DENIED,
    create_client,
    create_role,
    delete_client,
    delete_role,
    expected_acls,
    listed_acls,
    modify_role,
    role_name,
)
from minervas_admission.metrics import RECONCILED
from minervas_admission.store.certificates import entitled_principals
from minervas_admission.store.database import Database
from minervas_core.errors import Code, TransientFault
from minervas_core.identifiers import Principal, parse_principal
from minervas_core.rights import ADMISSION
from minervas_runtime.clock import Clock

log = logging.getLogger(__name__)

KICK_TIMEOUT_S = 0.5
"""A revocation does not wait longer than this for the broker before it goes on to the revocation list."""

_GONE = ("Client not found", "Role not found")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was repaired on the broker."""

    action: str
    subject: str

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"


class BrokerRights:
    """The broker's clients and roles."""

    def __init__(
        self, database: Database, clock: Clock, *, operator_member: str, dynsec: Callable[[], DynsecClient | None]
    ) -> None:
        """Prepare.

        Args:
            database: says who may use the broker.
            clock: says which certificates have expired.
            operator_member: see `rights_for`.
            dynsec: gives the control client; None before the broker was reached for the first time.
        """
        self._database = database
        self._clock = clock
        self._operator_member = operator_member
        self._dynsec = dynsec
        self._lock = asyncio.Lock()

    async def grant(self, member: str) -> list[str]:
        """Let a member's processes use the broker, as far as they do not yet; returns their names.

        Raises:
            TransientFault: ``bus_offline``, ``timeout`` or ``database_away``.
            DynsecRefused: if the plugin refuses a command.
        """
        async with self._lock:
            principals = [parse_principal(name) for name in await self._entitled(member)]
            dynsec = self._client()
            asked: list[Command] = [{"command": "getRole", "rolename": role_name(who)} for who in principals]
            asked += [{"command": "getClient", "username": str(who)} for who in principals]
            answers = await dynsec.execute(asked)
            roles = [found for answer in answers[: len(principals)] if (found := _found(answer, "role"))]
            clients = [found for answer in answers[len(principals) :] if (found := _found(answer, "client"))]
            await dynsec.succeed(list(self._repairs(principals, roles, clients).values()))
        return [str(who) for who in principals]

    async def withdraw(self, principals: list[str]) -> None:
        """Take all rights from processes and end their sessions; what is gone already is fine.

        Raises:
            TransientFault: ``bus_offline``, or ``timeout`` after half a second.
            DynsecRefused: if the plugin refuses for another reason than that there is no such client or role.
        """
        names = [name for name in principals if name != str(ADMISSION)]
        commands = [delete_client(name) for name in names]
        commands += [delete_role(role_name(parse_principal(name))) for name in names]
        try:
            async with asyncio.timeout(KICK_TIMEOUT_S), self._lock:
                answers = await self._client().execute(commands)
        except TimeoutError as error:
            raise TransientFault(
                Code.TIMEOUT, "The broker did not end the sessions in time", timeout_ms=round(KICK_TIMEOUT_S * 1000)
            ) from error
        for answer in answers:
            if answer.error not in _GONE:
                answer.check()

    async def reconcile(self) -> list[Change]:
        """Compare all clients, roles, groups and defaults with the database and repair them.

        Returns:
            What was changed.

        Raises:
            TransientFault: ``bus_offline``, ``timeout`` or ``database_away``.
            DynsecRefused: if the plugin refuses a command.
        """
        async with self._lock:
            entitled = [parse_principal(name) for name in await self._entitled(None)]
            dynsec = self._client()
            roles = await dynsec.list_all("listRoles", "roles")
            clients = await dynsec.list_all("listClients", "clients")
            groups = await dynsec.list_all("listGroups", "groups")
            work = await self._default_repairs(dynsec)
            work |= _own_role_repair(roles, self._operator_member)
            work |= _extras(entitled, roles, clients, groups)
            work |= self._repairs(entitled, roles, clients)
            await dynsec.succeed(list(work.values()))
        for change in work:
            RECONCILED.labels(change.action).inc()
            log.warning("broker_repaired", extra={"fields": {"action": change.action, "subject": change.subject}})
        return list(work)

    async def _entitled(self, member: str | None) -> list[str]:
        async with self._database.transaction() as connection:
            return await entitled_principals(connection, self._clock.now_ms(), member=member)

    def _client(self) -> DynsecClient:
        dynsec = self._dynsec()
        if dynsec is None:
            raise TransientFault(Code.BUS_OFFLINE, "The broker has not been reached yet")
        return dynsec

    def _repairs(
        self, principals: list[Principal], roles: list[dict[str, Any]], clients: list[dict[str, Any]]
    ) -> dict[Change, Command]:
        """What is missing or wrong of these principals, in an order that works."""
        known_roles = {str(role.get("rolename")): listed_acls(role) for role in roles}
        known_clients = {str(client.get("username")): client for client in clients}
        work: dict[Change, Command] = {}
        for who in principals:
            acls = expected_acls(who, self._operator_member)
            present = known_roles.get(role_name(who))
            if present is None:
                work[Change("create role", role_name(who))] = create_role(who, acls)
            elif present != acls:
                work[Change("correct role", role_name(who))] = modify_role(who, acls)
        for who in principals:
            client = known_clients.get(str(who))
            if client is not None and not _is_plain_client(client, who):
                work[Change("delete wrong client", str(who))] = delete_client(str(who))
                client = None
            if client is None:
                work[Change("create client", str(who))] = create_client(who)
        return work

    async def _default_repairs(self, dynsec: DynsecClient) -> dict[Change, Command]:
        data = (await dynsec.execute([{"command": "getDefaultACLAccess"}]))[0].check()
        rules = data.get("acls")
        present = {
            str(rule.get("acltype")): bool(rule.get("allow"))
            for rule in (rules if isinstance(rules, list) else [])
            if isinstance(rule, dict)
        }
        wrong = {kind: allow for kind, allow in ALL_DENIED.items() if present.get(kind) != allow}
        if not wrong:
            return {}
        acls = [{"acltype": kind, "allow": allow} for kind, allow in wrong.items()]
        return {Change("deny by default", ",".join(wrong)): {"command": "setDefaultACLAccess", "acls": acls}}


def _found(answer: Answer, key: str) -> dict[str, Any] | None:
    """The role or client of an answer; None if there is no such thing."""
    if answer.error in _GONE:
        return None
    value = answer.check().get(key)
    return value if isinstance(value, dict) else None


def _is_plain_client(client: dict[str, Any], who: Principal) -> bool:
    """Whether a client has its own role and nothing else."""
    roles = [str(role.get("rolename")) for role in _dicts(client.get("roles"))]
    return roles == [role_name(who)] and not client.get("groups") and not client.get("disabled", False)


def _dicts(value: object) -> Iterable[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _own_role_repair(roles: list[dict[str, Any]], operator_member: str) -> dict[Change, Command]:
    """Give our own role what it lacks; nothing is ever taken from it.

    With ``modifyRole``, because ``addRoleACL`` ends the sessions of everybody with the role: our own.
    """
    name = role_name(ADMISSION)
    present = next((listed_acls(role) for role in roles if role.get("rolename") == name), None)
    if present is None:  # a role of another name lets us in; leave that alone
        return {}
    missing = expected_acls(ADMISSION, operator_member) - present
    if not missing:
        return {}
    lacked = ", ".join(f"{kind} {topic}" for kind, topic, _ in sorted(missing))
    return {Change("add own rights", lacked): modify_role(ADMISSION, present | missing)}


def _extras(
    entitled: list[Principal],
    roles: list[dict[str, Any]],
    clients: list[dict[str, Any]],
    groups: list[dict[str, Any]],
) -> dict[Change, Command]:
    """What nobody should have. Our own client and every role that it uses stay."""
    names = {str(ADMISSION), *(str(who) for who in entitled)}
    kept_roles = {role_name(ADMISSION), *(role_name(who) for who in entitled)}
    for client in clients:
        if client.get("username") == str(ADMISSION):
            kept_roles |= {str(role.get("rolename")) for role in _dicts(client.get("roles"))}
    work: dict[Change, Command] = {}
    for client in clients:
        if (name := str(client.get("username"))) not in names:
            work[Change("delete client", name)] = delete_client(name)
    for role in roles:
        if (name := str(role.get("rolename"))) not in kept_roles:
            work[Change("delete role", name)] = delete_role(name)
    for group in groups:
        if name := str(group.get("groupname") or ""):
            work[Change("delete group", name)] = {"command": "deleteGroup", "groupname": name}
    return work
