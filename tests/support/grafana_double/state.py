"""What a Grafana knows: organisations, users, and the things of each organisation."""

from __future__ import annotations

import itertools
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Role = Literal["Viewer", "Editor", "Admin"]
ROLES: tuple[Role, ...] = ("Viewer", "Editor", "Admin")
MAIN_ORG = 1
VERSION = "13.2.0"
UID = re.compile(r"[a-zA-Z0-9_-]{1,40}")

Body = dict[str, Any]


class ApiError(Exception):
    """An answer that is an error: the status, and JSON with a message."""

    def __init__(self, status: int, message: str, /, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Body = {"message": message, **more}


@dataclass
class User:
    """An account, or the identity of a service account."""

    id: int
    login: str
    email: str
    name: str
    password: str
    org_id: int
    is_server_admin: bool = False
    is_disabled: bool = False
    preferences: Body = field(default_factory=dict)
    stars: set[str] = field(default_factory=set)


@dataclass
class DataSource:
    """A data source; `secrets` are never given back."""

    id: int
    uid: str
    body: Body
    secrets: dict[str, str]
    version: int = 1


@dataclass
class Folder:
    """A folder; `acl` is what was set, None while Grafana's defaults hold."""

    id: int
    uid: str
    title: str
    parent: str | None
    creator: int
    version: int = 1
    acl: list[Body] | None = None


@dataclass
class Dashboard:
    """A dashboard: all its versions, the newest last."""

    id: int
    uid: str
    folder: str | None
    versions: list[Body]
    acl: list[Body] | None = None

    @property
    def model(self) -> Body:
        """The JSON that counts."""
        return {**self.versions[-1], "id": self.id, "uid": self.uid, "version": len(self.versions)}


@dataclass
class Team:
    """A team and who belongs to it."""

    id: int
    name: str
    email: str
    members: list[int]
    preferences: Body = field(default_factory=dict)


@dataclass
class ServiceAccount:
    """A machine's account of one organisation; tokens by id: name and key."""

    id: int
    name: str
    role: Role
    is_disabled: bool = False
    tokens: dict[int, tuple[str, str]] = field(default_factory=dict)


@dataclass
class Alerting:
    """What the provisioning API of alerting keeps."""

    rules: dict[str, Body] = field(default_factory=dict)
    contact_points: dict[str, Body] = field(default_factory=dict)
    policies: Body | None = None
    mute_timings: dict[str, Body] = field(default_factory=dict)
    templates: dict[str, Body] = field(default_factory=dict)


@dataclass
class Org:
    """An organisation with everything that belongs to it; deleting it deletes all of that."""

    id: int
    name: str
    members: dict[int, Role] = field(default_factory=dict)
    preferences: Body = field(default_factory=dict)
    data_sources: dict[str, DataSource] = field(default_factory=dict)
    folders: dict[str, Folder] = field(default_factory=dict)
    dashboards: dict[str, Dashboard] = field(default_factory=dict)
    teams: dict[int, Team] = field(default_factory=dict)
    service_accounts: dict[int, ServiceAccount] = field(default_factory=dict)
    alerting: Alerting = field(default_factory=Alerting)

    def admins(self) -> list[int]:
        """Ids of the organisation's admins."""
        return [user for user, role in self.members.items() if role == "Admin"]


class Grafana:
    """All organisations, users and browser sessions."""

    def __init__(self, admin_user: str, admin_password: str, version: str = VERSION) -> None:
        self.version = version
        self.started = datetime.now(UTC)
        self._ids = itertools.count(1)
        self._org_ids = itertools.count(MAIN_ORG)
        self._user_ids = itertools.count(1)
        self.orgs: dict[int, Org] = {}
        self.users: dict[int, User] = {}
        self.sessions: dict[str, int] = {}
        """Cookie to user id."""
        main = self.add_org("Main Org.")
        admin = User(next(self._user_ids), admin_user.lower(), f"{admin_user}@localhost", "", admin_password, main.id)
        admin.is_server_admin = True
        self.users[admin.id] = admin
        main.members[admin.id] = "Admin"

    def new_id(self) -> int:
        """An id for a thing of an organisation; none is used twice."""
        return next(self._ids)

    def new_uid(self) -> str:
        """A uid as Grafana makes them."""
        return secrets.token_hex(7)

    def add_org(self, name: str) -> Org:
        """A new organisation; raises ApiError 409 when the name is taken."""
        if any(org.name.lower() == name.lower() for org in self.orgs.values()):
            raise ApiError(409, "Organization name taken")
        org = Org(next(self._org_ids), name)
        self.orgs[org.id] = org
        return org

    def add_user(self, body: Body) -> User:
        """A new account, Viewer of the organisation that it names or of the first; raises ApiError."""
        login, email = str(body.get("login") or "").lower(), str(body.get("email") or "").lower()
        login, email = login or email, email or login
        if not login:
            raise ApiError(400, "Validation error, need specify either username or email")
        if len(str(body.get("password") or "")) < 4:
            raise ApiError(400, "Password is missing or too short")
        org = self.orgs.get(int(body.get("OrgId") or body.get("orgId") or MAIN_ORG))
        if org is None:
            raise ApiError(400, "Organization not found")
        if self.find_user(login) or self.find_user(email):
            raise ApiError(412, f"User with email '{email}' or username '{login}' already exists")
        user = User(next(self._user_ids), login, email, str(body.get("name") or ""), str(body["password"]), org.id)
        self.users[user.id] = user
        org.members[user.id] = "Viewer"
        return user

    def find_user(self, login_or_email: str) -> User | None:
        """The account with this name or address, in any case of letters."""
        wanted = login_or_email.lower()
        return next((user for user in self.users.values() if wanted in (user.login, user.email)), None)

    def orgs_of(self, user: User) -> list[Org]:
        """The organisations that the account belongs to, by name."""
        return sorted((org for org in self.orgs.values() if user.id in org.members), key=lambda org: org.name)

    def remove_member(self, org: Org, user_id: int) -> None:
        """Take an account out of an organisation; another of its organisations becomes the current one."""
        if org.admins() == [user_id]:
            raise ApiError(400, "Cannot remove last organization admin")
        org.members.pop(user_id, None)
        user = self.users.get(user_id)
        if user is not None and user.org_id == org.id:
            self._choose_org(user)

    def delete_org(self, org: Org) -> None:
        """Delete an organisation and everything in it."""
        del self.orgs[org.id]
        for user in self.users.values():
            if user.org_id == org.id:
                self._choose_org(user)

    def delete_user(self, user: User) -> None:
        """Delete an account, its memberships and its sessions."""
        del self.users[user.id]
        for org in self.orgs.values():
            org.members.pop(user.id, None)
            for team in org.teams.values():
                if user.id in team.members:
                    team.members.remove(user.id)
        self.end_sessions(user.id)

    def end_sessions(self, user_id: int) -> None:
        """End every browser session of an account."""
        self.sessions = {cookie: owner for cookie, owner in self.sessions.items() if owner != user_id}

    def _choose_org(self, user: User) -> None:
        user.org_id = next((org.id for org in self.orgs_of(user)), 0)


def slug(title: str) -> str:
    """The end of a page's address that only people read."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "page"
