"""Organisations and who belongs to them: /org, /orgs."""

from __future__ import annotations

from tests.support.grafana_double.routing import Call, number, route
from tests.support.grafana_double.state import ROLES, ApiError, Body, Grafana, Org, Role

ADDRESS = dict.fromkeys(("address1", "address2", "city", "zipCode", "state", "country"), "")


def _shown(org: Org) -> Body:
    return {"id": org.id, "name": org.name, "address": ADDRESS}


def _org(call: Call) -> Org:
    org = call.grafana.orgs.get(number(call.path["org"], "orgId is invalid"))
    if org is None:
        raise ApiError(404, "Organization not found")
    return org


def _role(body: Body) -> Role:
    for role in ROLES:
        if body.get("role") == role:
            return role
    raise ApiError(400, "Invalid role specified")


def _members(grafana: Grafana, org: Org) -> list[Body]:
    return [
        {
            "orgId": org.id,
            "userId": user.id,
            "login": user.login,
            "email": user.email,
            "name": user.name,
            "role": org.members[user.id],
            "isDisabled": user.is_disabled,
            "authLabels": [],
        }
        for user in grafana.users.values()
        if user.id in org.members
    ]


def _rename(call: Call, org: Org) -> Body:
    name = str(call.body.get("name") or "")
    if any(other is not org and other.name.lower() == name.lower() for other in call.grafana.orgs.values()):
        raise ApiError(400, "Organization name taken")
    org.name = name
    return {"message": "Organization updated"}


def _add(call: Call, org: Org) -> Body:
    role = _role(call.body)
    user = call.grafana.find_user(str(call.body.get("loginOrEmail") or ""))
    if user is None:
        raise ApiError(404, "User not found")
    if user.id in org.members:
        raise ApiError(409, "User is already member of this organization")
    org.members[user.id] = role
    if not user.org_id:
        user.org_id = org.id
    return {"message": "User added to organization", "userId": user.id}


def _update(call: Call, org: Org | None) -> Body:
    role, user_id = _role(call.body), number(call.path["user"], "userId is invalid")
    if org is None or user_id not in org.members:
        raise ApiError(500, "Failed update org user")
    if org.admins() == [user_id] and role != "Admin":
        raise ApiError(400, "Cannot change role so that there is no organization admin left")
    org.members[user_id] = role
    return {"message": "Organization user updated"}


@route("GET", "/org", "Viewer")
def current_org(call: Call) -> Body:
    return _shown(call.org)


@route("PUT", "/org", "Admin")
def rename_current_org(call: Call) -> Body:
    return _rename(call, call.org)


@route("GET", "/org/users", "Admin")
def current_members(call: Call) -> list[Body]:
    return _members(call.grafana, call.org)


@route("POST", "/org/users", "Admin")
def add_to_current_org(call: Call) -> Body:
    return _add(call, call.org)


@route("PATCH", "/org/users/{user}", "Admin")
def change_role_in_current_org(call: Call) -> Body:
    return _update(call, call.org)


@route("DELETE", "/org/users/{user}", "Admin")
def remove_from_current_org(call: Call) -> Body:
    user_id = number(call.path["user"], "userId is invalid")
    call.grafana.remove_member(call.org, user_id)
    user = call.grafana.users.get(user_id)
    if user is not None and not call.grafana.orgs_of(user):
        call.grafana.delete_user(user)
        return {"message": "User deleted"}
    return {"message": "User removed from organization"}


@route("GET", "/orgs", "server admin")
def list_orgs(call: Call) -> list[Body]:
    return [{"id": org.id, "name": org.name} for org in call.page_of(list(call.grafana.orgs.values()))]


@route("POST", "/orgs", "server admin")
def create_org(call: Call) -> Body:
    name = str(call.body.get("name") or "")
    if not name:
        raise ApiError(400, "bad request data")
    org = call.grafana.add_org(name)
    org.members[call.user.id] = "Admin"
    return {"message": "Organization created", "orgId": org.id}


@route("GET", "/orgs/name/{name:path}", "server admin")
def find_org(call: Call) -> Body:
    for org in call.grafana.orgs.values():
        if org.name.lower() == call.path["name"].lower():
            return _shown(org)
    raise ApiError(404, "Organization not found")


@route("GET", "/orgs/{org}", "server admin")
def get_org(call: Call) -> Body:
    return _shown(_org(call))


@route("PUT", "/orgs/{org}", "server admin")
def rename_org(call: Call) -> Body:
    org = call.grafana.orgs.get(number(call.path["org"], "orgId is invalid"))
    if org is None:
        raise ApiError(500, "Failed to update organization")
    return _rename(call, org)


@route("DELETE", "/orgs/{org}", "server admin")
def delete_org(call: Call) -> Body:
    org_id = number(call.path["org"], "orgId is invalid")
    if org_id == call.user.org_id:
        raise ApiError(400, "Cannot delete your active organization")
    org = call.grafana.orgs.get(org_id)
    if org is None:
        raise ApiError(404, "Failed to delete organization. ID not found")
    call.grafana.delete_org(org)
    return {"message": "Organization deleted"}


@route("GET", "/orgs/{org}/users", "server admin")
def members(call: Call) -> list[Body]:
    return _members(call.grafana, _org(call))


@route("POST", "/orgs/{org}/users", "server admin")
def add_member(call: Call) -> Body:
    return _add(call, _org(call))


@route("PATCH", "/orgs/{org}/users/{user}", "server admin")
def change_role(call: Call) -> Body:
    return _update(call, call.grafana.orgs.get(number(call.path["org"], "orgId is invalid")))


@route("DELETE", "/orgs/{org}/users/{user}", "server admin")
def remove_member(call: Call) -> Body:
    call.grafana.remove_member(_org(call), number(call.path["user"], "userId is invalid"))
    return {"message": "User removed from organization"}
