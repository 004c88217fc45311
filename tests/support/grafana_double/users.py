"""Accounts: /user, /users, /admin."""

from __future__ import annotations

from typing import Any

from tests.support.grafana_double.routing import Call, number, route
from tests.support.grafana_double.state import ApiError, Body, User

MIN_PASSWORD = 4
MADE = "2026-01-01T00:00:00Z"


def _shown(user: User) -> Body:
    return {
        "id": user.id,
        "uid": f"user-{user.id}",
        "email": user.email,
        "name": user.name,
        "login": user.login,
        "theme": "",
        "orgId": user.org_id,
        "isGrafanaAdmin": user.is_server_admin,
        "isDisabled": user.is_disabled,
        "isExternal": False,
        "authLabels": [],
        "createdAt": MADE,
        "updatedAt": MADE,
    }


def _user(call: Call) -> User:
    text = call.path["user"]
    user = call.grafana.users.get(int(text)) if text.lstrip("-").isdigit() else None
    if user is None:
        raise ApiError(404, "user not found")
    return user


def _orgs(call: Call, user: User) -> list[Body]:
    return [{"orgId": org.id, "name": org.name, "role": org.members[user.id]} for org in call.grafana.orgs_of(user)]


def _update(call: Call, user: User) -> Body:
    changes = {name: str(call.body[name]) for name in ("login", "email", "name") if call.body.get(name)}
    if not {"login", "email"} & changes.keys():
        raise ApiError(400, "Need to specify either username or email")
    for name in ("login", "email"):
        other = call.grafana.find_user(changes[name]) if name in changes else None
        if other not in (None, user):
            raise ApiError(409, "User already exists")
    user.login = changes.get("login", user.login).lower()
    user.email = changes.get("email", user.email).lower()
    user.name = changes.get("name", user.name)
    return {"message": "User updated"}


def _use(call: Call, user: User, org_id: int) -> Body:
    org = call.grafana.orgs.get(org_id)
    if org is None or user.id not in org.members:
        raise ApiError(401, "Not a valid organization")
    user.org_id = org.id
    return {"message": "Active organization changed"}


@route("GET", "/user", "signed in")
def this_user(call: Call) -> Body:
    return _shown(call.user)


@route("PUT", "/user", "signed in")
def update_this_user(call: Call) -> Body:
    return _update(call, call.user)


@route("PUT", "/user/password", "signed in")
def change_own_password(call: Call) -> Body:
    if call.body.get("oldPassword") != call.user.password:
        raise ApiError(400, "Invalid old password")
    new = str(call.body.get("newPassword") or "")
    if len(new) < MIN_PASSWORD:
        raise ApiError(400, "New password is too short")
    call.user.password = new
    return {"message": "User password changed"}


@route("GET", "/user/orgs", "signed in")
def own_orgs(call: Call) -> list[Body]:
    return _orgs(call, call.user)


@route("GET", "/user/teams", "Viewer")
def own_teams(call: Call) -> list[Body]:
    return [{"id": team.id, "name": team.name} for team in call.org.teams.values() if call.user.id in team.members]


@route("POST", "/user/using/{org}", "signed in")
def use_org(call: Call) -> Body:
    return _use(call, call.user, number(call.path["org"], "id is invalid"))


@route("POST", "/user/stars/dashboard/uid/{uid}", "Viewer")
def star(call: Call) -> Body:
    call.user.stars.add(call.path["uid"])
    return {"message": "Dashboard starred!"}


@route("DELETE", "/user/stars/dashboard/uid/{uid}", "Viewer")
def unstar(call: Call) -> Body:
    call.user.stars.discard(call.path["uid"])
    return {"message": "Dashboard unstarred"}


@route("GET", "/users", "server admin")
def search_users(call: Call) -> list[Body]:
    wanted = call.query.get("query", "").lower()
    found = [user for user in call.grafana.users.values() if wanted in f"{user.login} {user.email} {user.name}".lower()]
    return [{**_shown(user), "isAdmin": user.is_server_admin} for user in call.page_of(found)]


@route("GET", "/users/lookup", "server admin")
def look_up(call: Call) -> Body:
    user = call.grafana.find_user(call.query.get("loginOrEmail", ""))
    if user is None:
        raise ApiError(404, "user not found")
    return _shown(user)


@route("GET", "/users/{user}", "server admin")
def get_user(call: Call) -> Body:
    return _shown(_user(call))


@route("PUT", "/users/{user}", "server admin")
def update_user(call: Call) -> Body:
    try:
        user = _user(call)
    except ApiError as error:
        raise ApiError(404, "User not found") from error
    return _update(call, user)


@route("GET", "/users/{user}/orgs", "server admin")
def orgs_of_user(call: Call) -> list[Body]:
    return _orgs(call, _user(call))


@route("GET", "/users/{user}/teams", "server admin")
def teams_of_user(call: Call) -> list[Body]:
    user = _user(call)
    return [
        {"id": team.id, "name": team.name, "orgId": org.id}
        for org in call.grafana.orgs.values()
        for team in org.teams.values()
        if user.id in team.members
    ]


@route("POST", "/users/{user}/using/{org}", "server admin")
def use_org_for_user(call: Call) -> Body:
    org_id = number(call.path["org"], "orgId is invalid")
    user = call.grafana.users.get(number(call.path["user"], "id is invalid"))
    if user is None:
        raise ApiError(401, "Not a valid organization")
    return _use(call, user, org_id)


@route("POST", "/admin/users", "server admin")
def create_user(call: Call) -> Body:
    user = call.grafana.add_user(call.body)
    return {"id": user.id, "uid": f"user-{user.id}", "message": "User created"}


@route("DELETE", "/admin/users/{user}", "server admin")
def delete_user(call: Call) -> Body:
    call.grafana.delete_user(_user(call))
    return {"message": "User deleted"}


@route("PUT", "/admin/users/{user}/password", "server admin")
def set_password(call: Call) -> Body:
    user, password = _user(call), str(call.body.get("password") or "")
    if len(password) < MIN_PASSWORD:
        raise ApiError(400, "New password too short")
    user.password = password
    return {"message": "User password updated"}


@route("PUT", "/admin/users/{user}/permissions", "server admin")
def set_server_admin(call: Call) -> Body:
    user, admin = _user(call), bool(call.body.get("isGrafanaAdmin"))
    others = [other for other in call.grafana.users.values() if other.is_server_admin and other is not user]
    if not admin and not others:
        raise ApiError(400, "Cannot remove last grafana admin")
    user.is_server_admin = admin
    return {"message": "User permissions updated"}


@route("POST", "/admin/users/{user}/disable", "server admin")
def disable(call: Call) -> Body:
    user = _user(call)
    user.is_disabled = True
    call.grafana.end_sessions(user.id)
    return {"message": "User disabled"}


@route("POST", "/admin/users/{user}/enable", "server admin")
def enable(call: Call) -> Body:
    _user(call).is_disabled = False
    return {"message": "User enabled"}


@route("POST", "/admin/users/{user}/logout", "server admin")
def log_out(call: Call) -> Body:
    user = _user(call)
    if user is call.user:
        raise ApiError(400, "You cannot logout yourself")
    call.grafana.end_sessions(user.id)
    return {"message": "User logged out"}


@route("GET", "/admin/users/{user}/auth-tokens", "server admin")
def sessions(call: Call) -> list[Body]:
    user = _user(call)
    owners = [owner for owner in call.grafana.sessions.values() if owner == user.id]
    return [{"id": place, "isActive": False} for place, _ in enumerate(owners, 1)]


@route("GET", "/admin/settings", "server admin")
def settings(call: Call) -> Body:
    return {
        "DEFAULT": {"app_mode": "production"},
        "plugins": {"enable_alpha": "false"},
        "security": {"admin_password": "*********", "secret_key": "*********"},
        "server": {"protocol": "http"},
        "users": {"allow_sign_up": "false", "auto_assign_org": "true", "auto_assign_org_role": "Viewer"},
    }


@route("GET", "/admin/stats", "server admin")
def stats(call: Call) -> dict[str, Any]:
    orgs, users = call.grafana.orgs.values(), call.grafana.users.values()
    return {
        "orgs": len(orgs),
        "users": len(users),
        "dashboards": sum(len(org.dashboards) for org in orgs),
        "datasources": sum(len(org.data_sources) for org in orgs),
        "admins": sum(user.is_server_admin for user in users),
        "activeSessions": len(call.grafana.sessions),
        "activeUsers": len(set(call.grafana.sessions.values())),
        "stars": sum(len(user.stars) for user in users),
        "alerts": sum(len(org.alerting.rules) for org in orgs),
        "snapshots": 0,
        "playlists": 0,
        "tags": 0,
    }


for _name in ("dashboards", "datasources", "plugins", "alerting"):

    @route("POST", f"/admin/provisioning/{_name}/reload", "server admin")
    def reload(call: Call, name: str = _name) -> Body:
        return {"message": f"{name.capitalize()} config reloaded"}
