"""The port to Grafana's HTTP API: each call finds what it is about, or makes it.

grafana-client does the work where it is right. Its own calls are passed by where they are not: logging out (it has
none), preferences (it does not know `language`), queries and alerting (it knows no organisation or an old form). A
connection is made for one organisation and thrown away: the organisation in which the admin is "now" would be shared
by everybody who works as that admin.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException

from minervas_admission.grafana.dashboards import Dashboards
from minervas_admission.grafana.faults import grafana_faults, reason_of
from minervas_admission.settings import GrafanaSettings
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_runtime.key_files import read_secret

UID = "solar"
"""Of the data source and the folder, in every organisation."""
SOURCE_TYPE = "grafana-postgresql-datasource"
FOLDER_TITLE = "Minervas"
USER_AGENT = "minervas-admission"
VIEWER = "Viewer"

EXISTS = (409, 412)
"""How Grafana answers when what is to be made is there; another attempt may have made it."""


@dataclass(frozen=True, slots=True)
class User:
    """A user of Grafana."""

    id: int
    login: str
    is_admin: bool
    is_disabled: bool


@dataclass(frozen=True, slots=True)
class Source:
    """Where and as whom an organisation reads the ledger's database, without the password."""

    host: str
    port: int
    database: str
    user: str
    sslmode: str
    root_certificate: str | None

    def body(self, password: str) -> dict[str, Any]:
        """As Grafana takes it. Few connections: each organisation has a pool of its own."""
        options: dict[str, Any] = {
            "database": self.database,
            "sslmode": self.sslmode,
            "postgresVersion": 1500,
            "timescaledb": False,
            "maxOpenConns": 4,
            "maxIdleConns": 1,
            "maxIdleConnsAuto": False,
            "connMaxLifetime": 3600,
            "timeInterval": "1s",
        }
        if self.root_certificate is not None:
            options |= {"tlsConfigurationMethod": "file-path", "sslRootCertFile": self.root_certificate}
        host = f"[{self.host}]" if ":" in self.host else self.host
        return {
            "uid": UID,
            "name": FOLDER_TITLE,
            "type": SOURCE_TYPE,
            "access": "proxy",
            "isDefault": True,
            "url": f"{host}:{self.port}",
            "user": self.user,
            "database": self.database,
            "jsonData": options,
            "secureJsonData": {"password": password},
        }


@dataclass(frozen=True, slots=True)
class GrafanaServer:
    """One Grafana, as its server admin. Every method may take seconds and belongs beside the event loop.

    Raises (all methods):
        TransientFault: ``grafana_away``.
        LocalFault: ``grafana_refused``; ``bad_key_file`` if the admin's password cannot be read.
    """

    settings: GrafanaSettings

    @contextmanager
    def connected(self, doing: str, *secret: str, org_id: int | None = None) -> Iterator[GrafanaApi]:
        """A client for some calls in one organisation, with its exceptions turned into ours."""
        url = urlsplit(self.settings.url)
        password = read_secret(self.settings.admin_password_file).strip().decode("utf-8", "replace")
        prefix = url.path.strip("/")
        with grafana_faults(doing, password, *secret):
            api = GrafanaApi(
                (self.settings.admin_user, password),
                host=_bracketed(url.hostname or ""),
                port=url.port,
                url_path_prefix=f"{prefix}/" if prefix else "",
                protocol=url.scheme,
                verify=str(self.settings.ca_file) if self.settings.ca_file else True,
                timeout=self.settings.timeout_s,
                user_agent=USER_AGENT,
                organization_id=org_id,
                session_pool_size=1,
            )
            api.client.s.trust_env = False  # neither a proxy nor a .netrc of whoever starts us
            try:
                yield api
            finally:
                api.client.s.close()

    def version(self) -> str:
        """The server's version; also says whether our name and password are right."""
        with self.connected("asking for its version") as api:
            return str(api.client.GET("/frontend/settings").get("buildInfo", {}).get("version", ""))

    def ensure_org(self, name: str) -> int:
        """Id of the organisation of this name."""
        with self.connected("making an organisation") as api:
            found = _found(lambda: api.organization.find_organization(name))
            if found is None:
                made = _unless_there(lambda: api.organization.create_organization(name))
                found = {"id": made["orgId"]} if made else api.organization.find_organization(name)
            return int(found["id"])

    def ensure_source(self, org_id: int, source: Source, password: str) -> None:
        """Give an organisation its data source with this password."""
        body = source.body(password)
        with self.connected("setting up the data source", password, org_id=org_id) as api:
            present = _found(lambda: api.datasource.get_datasource_by_uid(UID))
            if present is None and _unless_there(lambda: api.datasource.create_datasource(body)):
                return
            api.datasource.update_datasource_by_uid(UID, body)

    def has_source(self, org_id: int, source: Source) -> bool:
        """Whether the organisation has its data source, and it reads what it should; its password is not shown."""
        wanted = source.body("")
        with self.connected("looking at the data source", org_id=org_id) as api:
            found = _found(lambda: api.datasource.get_datasource_by_uid(UID))
        return (
            found is not None
            and all(found.get(name) == wanted[name] for name in ("type", "url", "user"))
            and (found.get("jsonData") or {}).items() >= wanted["jsonData"].items()
        )

    def remove_source(self, org_id: int) -> None:
        """Take an organisation its data source, if it has one."""
        with self.connected("removing the data source", org_id=org_id) as api:
            _found(lambda: api.datasource.delete_datasource_by_uid(UID))

    def ensure_dashboards(self, org_id: int, dashboards: Dashboards, before: list[str]) -> None:
        """Save all dashboards in the folder, and delete those that were given before and are no more."""
        with self.connected("saving dashboards", org_id=org_id) as api:
            if _found(lambda: api.folder.get_folder(UID)) is None:
                _unless_there(lambda: api.folder.create_folder(FOLDER_TITLE, uid=UID))
            for model in dashboards.models:
                api.dashboard.update_dashboard(
                    {
                        "dashboard": {**model, "id": None},
                        "folderUid": UID,
                        "overwrite": True,
                        "message": dashboards.hash,
                    }
                )
            for uid in sorted(set(before) - set(dashboards.uids)):
                _found(functools.partial(api.dashboard.delete_dashboard, uid))

    def has_dashboards(self, org_id: int, uids: list[str]) -> bool:
        """Whether the organisation still has them all."""
        with self.connected("looking at dashboards", org_id=org_id) as api:
            return all(_found(functools.partial(api.dashboard.get_dashboard, uid)) for uid in uids)

    def set_preferences(self, org_id: int, *, language: str, time_zone: str, home: str) -> None:
        """What users of the organisation see unless they choose otherwise."""
        body = {"language": language, "timezone": time_zone, "homeDashboardUID": home, "theme": ""}
        with self.connected("setting preferences", org_id=org_id) as api:
            api.client.PUT("/org/preferences", json=body)

    def find_user(self, login: str) -> User | None:
        """The user of this name."""
        with self.connected("looking for a user") as api:
            found = _found(lambda: api.users.find_user(login))
        if found is None or str(found["login"]).lower() != login:
            return None
        return User(int(found["id"]), login, bool(found.get("isGrafanaAdmin")), bool(found.get("isDisabled")))

    def ensure_user(self, login: str, org_id: int) -> int:
        """Id of a member's user; a new one gets a password that nobody knows, in its own organisation.

        Raises:
            LocalFault: ``grafana_refused`` if the name is a server admin's.
        """
        user = self.find_user(login)
        if user is None:
            password = secrets.token_urlsafe(32)
            body = {"login": login, "name": login, "password": password, "OrgId": org_id}
            with self.connected("making a user", password) as api:
                made = _unless_there(lambda: api.admin.create_user(body))
            if made:
                return int(made["id"])
            user = self.find_user(login)
        if user is None or user.is_admin:
            raise LocalFault(
                Code.GRAFANA_REFUSED,
                "This member's name is that of a server admin, or of something else, in Grafana: rename that",
                doing="making a user",
                login=login,
            )
        return user.id

    def settle_user(self, user_id: int, login: str, org_id: int) -> None:
        """Make a user a Viewer of one organisation and of no other, and let it log in."""
        with self.connected("giving a user its organisation") as api:
            roles = {int(item["orgId"]): str(item["role"]) for item in api.client.GET(f"/users/{user_id}/orgs")}
            if org_id not in roles:
                body = {"loginOrEmail": login, "role": VIEWER}
                _unless_there(lambda: api.client.POST(f"/orgs/{org_id}/users", json=body))
            elif roles[org_id] != VIEWER:
                api.client.PATCH(f"/orgs/{org_id}/users/{user_id}", json={"role": VIEWER})
            api.client.POST(f"/users/{user_id}/using/{org_id}")
            for other in roles.keys() - {org_id}:
                api.client.DELETE(f"/orgs/{other}/users/{user_id}")
            api.client.POST(f"/admin/users/{user_id}/enable")

    def set_password(self, user_id: int, password: str) -> None:
        """Set a user's password and end its sessions."""
        with self.connected("setting a password", password) as api:
            api.client.PUT(f"/admin/users/{user_id}/password", json={"password": password})
            api.client.POST(f"/admin/users/{user_id}/logout")

    def shut_out(self, user_id: int, org_id: int | None) -> bool:
        """Disable a user, end its sessions and take it out of its organisation; False if there is no such user."""
        with self.connected("shutting a user out") as api:
            if _found(lambda: api.client.POST(f"/admin/users/{user_id}/disable")) is None:
                return False
            _found(lambda: api.client.POST(f"/admin/users/{user_id}/logout"))
            if org_id is not None:
                _found(lambda: api.client.DELETE(f"/orgs/{org_id}/users/{user_id}"))
        return True

    def query(self, org_id: int, statement: str) -> list[list[Any]]:
        """Rows of a statement, as anybody in the organisation would get them.

        Raises:
            TransientFault: also if the database refuses the data source.
        """
        query = {
            "refId": "A", "datasource": {"uid": UID, "type": SOURCE_TYPE}, "rawSql": statement, "format": "table",
            "intervalMs": 1000, "maxDataPoints": 100,
        }  # fmt: skip
        body = {"from": "now-5m", "to": "now", "queries": [query]}
        with self.connected("asking the data source", org_id=org_id) as api:
            try:
                result = api.client.POST("/ds/query", json=body)["results"]["A"]
            except GrafanaClientError as error:
                result = _result_in(error)
            if result.get("error"):
                raise TransientFault(
                    Code.GRAFANA_AWAY,
                    "Grafana's data source does not answer",
                    doing="asking the data source",
                    reason=reason_of({"message": result["error"]}),
                )
            columns = [frame["data"]["values"] for frame in result["frames"]]
        return [list(row) for values in columns for row in zip(*values, strict=True)]


def _result_in(error: GrafanaException) -> dict[str, Any]:
    """The failed result in an answer.

    Raises:
        GrafanaException: the same, if it is about something else.
    """
    answer = error.response
    if not isinstance(answer, dict) or "results" not in answer:
        raise error
    result: dict[str, Any] = answer["results"]["A"]
    return result


def _found(call: Callable[[], Any]) -> Any | None:
    """What a call answers; None if Grafana says that there is no such thing."""
    try:
        return call()
    except GrafanaClientError as error:
        if error.status_code != 404:
            raise
        return None


def _unless_there(call: Callable[[], Any]) -> Any | None:
    """What a call answers; None if what it makes is there already."""
    try:
        return call()
    except GrafanaClientError as error:
        if error.status_code not in EXISTS:
            raise
        return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
