"""Preferences of accounts, organisations and teams, and the home page that they choose."""

from __future__ import annotations

from tests.support.grafana_double.routing import Call, route
from tests.support.grafana_double.state import ApiError, Body, slug
from tests.support.grafana_double.teams import team_of

_KNOWN = {"theme", "homeDashboardUID", "timezone", "weekStart", "language", "regionalFormat", "navbar", "queryHistory"}


def _checked(call: Call) -> Body:
    wanted = {name: value for name, value in call.body.items() if name in _KNOWN}
    home = call.body.get("homeDashboardId")
    if home:
        found = [dashboard.uid for dashboard in call.org.dashboards.values() if dashboard.id == home]
        if not found:
            raise ApiError(404, "Dashboard not found")
        wanted["homeDashboardUID"] = found[0]
    return wanted


def _shown(preferences: Body) -> Body:
    return {name: value for name, value in preferences.items() if value not in ("", None, {})}


def _replace(call: Call, preferences: Body) -> Body:
    wanted = _checked(call)
    preferences.clear()
    preferences.update(wanted)
    return {"message": "Preferences updated"}


def _merge(call: Call, preferences: Body) -> Body:
    preferences.update(_checked(call))
    return {"message": "Preferences updated"}


@route("GET", "/user/preferences", "signed in")
def of_user(call: Call) -> Body:
    return _shown(call.user.preferences)


@route("PUT", "/user/preferences", "Viewer")
def replace_of_user(call: Call) -> Body:
    return _replace(call, call.user.preferences)


@route("PATCH", "/user/preferences", "Viewer")
def merge_of_user(call: Call) -> Body:
    return _merge(call, call.user.preferences)


@route("GET", "/org/preferences", "Viewer")
def of_org(call: Call) -> Body:
    return _shown(call.org.preferences)


@route("PUT", "/org/preferences", "Admin")
def replace_of_org(call: Call) -> Body:
    return _replace(call, call.org.preferences)


@route("PATCH", "/org/preferences", "Admin")
def merge_of_org(call: Call) -> Body:
    return _merge(call, call.org.preferences)


@route("GET", "/dashboards/home", "Viewer")
def home(call: Call) -> Body:
    uid = home_uid(call)
    if uid is None:
        return {"dashboard": {"title": "Home"}, "meta": {"isHome": True, "canSave": False, "canDelete": False}}
    return {"redirectUri": f"/d/{uid}/{slug(call.org.dashboards[uid].model['title'])}"}


def home_uid(call: Call) -> str | None:
    """The dashboard that the caller comes to first: the account's choice, else the organisation's."""
    for preferences in (call.user.preferences, call.org.preferences):
        uid = preferences.get("homeDashboardUID")
        if uid in call.org.dashboards:
            return str(uid)
    return None


@route("GET", "/teams/{team}/preferences", "Admin")
def of_team(call: Call) -> Body:
    return _shown(team_of(call).preferences)


@route("PUT", "/teams/{team}/preferences", "Admin")
def replace_of_team(call: Call) -> Body:
    return _replace(call, team_of(call).preferences)
