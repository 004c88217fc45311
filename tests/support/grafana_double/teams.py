"""Teams of an organisation."""

from __future__ import annotations

from tests.support.grafana_double.routing import Call, route
from tests.support.grafana_double.state import ApiError, Body, Team


def team_of(call: Call) -> Team:
    """The team of the path; raises ApiError 404."""
    text = call.path["team"]
    team = call.org.teams.get(int(text)) if text.isdigit() else None
    if team is None:
        raise ApiError(404, "Team not found")
    return team


@route("GET", "/teams/search", "Viewer")
def search_teams(call: Call) -> Body:
    name, query = call.query.get("name"), call.query.get("query", "").lower()
    found = [team for team in call.org.teams.values() if name in (None, team.name) and query in team.name.lower()]
    shown = [_team(call, team) for team in call.page_of(found)]
    page, size = call.page()
    return {"totalCount": len(found), "teams": shown, "page": page, "perPage": size}


def _team(call: Call, team: Team) -> Body:
    members = len(team.members)
    return {"id": team.id, "orgId": call.org.id, "name": team.name, "email": team.email, "memberCount": members}


@route("POST", "/teams", "Admin")
def add_team(call: Call) -> Body:
    name = str(call.body.get("name") or "")
    if not name:
        raise ApiError(400, "bad request data")
    if any(team.name == name for team in call.org.teams.values()):
        raise ApiError(409, "Team name taken")
    team = Team(call.grafana.new_id(), name, str(call.body.get("email") or ""), [call.user.id])
    call.org.teams[team.id] = team
    return {"message": "Team created", "teamId": team.id}


@route("GET", "/teams/{team}", "Viewer")
def get_team(call: Call) -> Body:
    return _team(call, team_of(call))


@route("PUT", "/teams/{team}", "Admin")
def update_team(call: Call) -> Body:
    team = team_of(call)
    team.name, team.email = str(call.body.get("name") or team.name), str(call.body.get("email") or team.email)
    return {"message": "Team updated"}


@route("DELETE", "/teams/{team}", "Admin")
def delete_team(call: Call) -> Body:
    del call.org.teams[team_of(call).id]
    return {"message": "Team deleted"}


@route("GET", "/teams/{team}/members", "Viewer")
def team_members(call: Call) -> list[Body]:
    users = call.grafana.users
    return [{"userId": user, "login": users[user].login, "teamId": team_of(call).id} for user in team_of(call).members]


@route("POST", "/teams/{team}/members", "Admin")
def add_team_member(call: Call) -> Body:
    team, user = team_of(call), int(call.body.get("userId") or 0)
    if user in team.members:
        raise ApiError(400, "User is already added to this team")
    if user not in call.grafana.users:
        raise ApiError(404, "user not found")
    team.members.append(user)
    return {"message": "Member added to Team"}


@route("DELETE", "/teams/{team}/members/{user}", "Admin")
def remove_team_member(call: Call) -> Body:
    team, user = team_of(call), int(call.path["user"])
    if user not in team.members:
        raise ApiError(404, "Team member not found")
    team.members.remove(user)
    return {"message": "Team Member removed"}
