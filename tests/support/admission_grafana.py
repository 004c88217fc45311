"""Admission with Grafana: settings, dashboards as files, the access without the service around it, and who looks in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from minervas_admission.grafana.access import GrafanaAccess, make_access
from minervas_admission.settings import GrafanaSettings
from minervas_admission.store.database import Database
from minervas_runtime.clock import SystemClock
from tests.support.admission import AdmissionHome
from tests.support.fix_grafana import GrafanaServer
from tests.support.readers import Readers

SOURCE = {"uid": "solar", "type": "grafana-postgresql-datasource"}


def dashboard(uid: str, title: str = "") -> dict[str, Any]:
    """A dashboard without panels."""
    return {"uid": uid, "title": title or uid, "schemaVersion": 41, "panels": [], "timezone": "Asia/Seoul"}


def write_dashboards(folder: Path, *models: dict[str, Any]) -> Path:
    """A directory with these dashboards and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.json"):
        file.unlink()
    for model in models:
        (folder / f"{model['uid']}.json").write_text(json.dumps(model))
    return folder


ALERT_RULES = [
    {
        "uid": "no-readings", "title": "No readings", "ruleGroup": "fast", "folderUID": "solar", "condition": "A",
        "for": "30s", "noDataState": "Alerting", "execErrState": "Error", "labels": {"severity": "page"},
        "data": [{
            "refId": "A", "datasourceUid": "solar", "relativeTimeRange": {"from": 60, "to": 0},
            "model": {"refId": "A", "rawSql": "SELECT 1", "format": "table"},
        }],
    }
]  # fmt: skip


def grafana_sections(root: Path, grafana: GrafanaServer, readers: Readers, **changes: Any) -> dict[str, dict[str, Any]]:
    """Admission's settings about Grafana, by sections; makes the files that they name."""
    database = readers.database
    write_files(root)
    return {
        "grafana": {
            "url": grafana.url,
            "admin_user": grafana.admin_user,
            "admin_password_file": str(grafana.password_file),
            "dashboards": str(root / "dashboards"),
            "operator_dashboards": str(root / "operator"),
            "alert_rules": str(root / "alerting"),
            **changes,
        },
        "grafana.readers": {
            "host": database.host,
            "port": database.port,
            "name": database.name,
            "user": readers.access.user,
            "password_file": str(readers.access.password_file),
        },
        "grafana.data_source": {"sslmode": "disable"},
    }


def write_files(root: Path) -> None:
    """The files that the settings name."""
    write_dashboards(root / "dashboards", dashboard("solar-rt"), dashboard("trade"))
    write_dashboards(root / "dashboards" / "en", dashboard("solar-rt", "In English"), dashboard("trade"))
    write_dashboards(root / "operator", dashboard("fleet"))
    write_dashboards(root / "alerting")
    for name, content in (
        ("groups", [{"title": "fast", "folderUid": "solar", "interval": 10}]),
        ("rules", ALERT_RULES),
        ("policy", {"receiver": "minervas-operator", "group_by": ["alertname"]}),
    ):
        (root / "alerting" / f"{name}.json").write_text(json.dumps(content))


@dataclass
class GrafanaBench:
    """The access of one admission, which does not run; members are entered by hand."""

    home: AdmissionHome
    grafana: GrafanaServer
    settings: GrafanaSettings = field(init=False)
    database: Database = field(init=False)
    access: GrafanaAccess = field(init=False)

    def __post_init__(self) -> None:
        assert self.home.settings.grafana is not None
        self.settings = self.home.settings.grafana
        self.database = Database(self.home.settings.database, application="grafana bench")
        self.again()

    def again(self) -> GrafanaAccess:
        """Another access to the same: as after a restart."""
        self.access = make_access(self.settings, self.database, SystemClock(), "Asia/Seoul")
        return self.access

    def enter(self, member: str) -> None:
        """Enter an active member."""
        self.home.as_owner(
            """
            INSERT INTO applications (id, token_hash, member, fingerprint, name, contact, content, received_ms,
                remote_address, state) VALUES (%s, '', %s, '', '', '', '', 0, '', 'approved')
            """,
            self._application(member),
            member,
        )
        self.home.as_owner(
            "INSERT INTO members (member, application, state, approved_ms) VALUES (%s, %s, 'active', 1)",
            member,
            self._application(member),
        )

    @staticmethod
    def _application(member: str) -> str:
        return hashlib.sha256(member.encode()).hexdigest()[:32]

    def end(self, member: str) -> None:
        """End a membership in the database only."""
        self.home.as_owner("UPDATE members SET state = 'revoked', ended_ms = 2 WHERE member = %s", member)

    async def leave(self) -> None:
        """End everybody, so that nothing is left to do about them."""
        self.home.as_owner("UPDATE members SET state = 'revoked', ended_ms = 2")
        self.home.as_owner("UPDATE grafana_access SET state = 'closed'")
        await self.database.close()

    def row(self, member: str) -> dict[str, Any]:
        """What admission knows of the access."""
        found = self.home.as_owner("SELECT to_jsonb(g) FROM grafana_access g WHERE member = %s", member)
        return dict(found[0][0]) if found else {}

    def api(self, user: str | None = None, password: str = "", org: int | None = None) -> httpx.Client:
        """A client as a user, or as the server's admin."""
        return as_user(self.grafana, user, password, org)


def as_user(
    grafana: GrafanaServer, user: str | None = None, password: str = "", org: int | None = None
) -> httpx.Client:
    """A client of Grafana as a user, or as the server's admin."""
    auth = (user, password) if user else (grafana.admin_user, grafana.admin_password)
    headers = {"X-Grafana-Org-Id": str(org)} if org else {}
    return httpx.Client(base_url=f"{grafana.url}/api", auth=auth, headers=headers, timeout=20)


def ask(client: httpx.Client, statement: str) -> httpx.Response:
    """Send SQL as anybody in an organisation can."""
    query = {"refId": "A", "datasource": SOURCE, "rawSql": statement, "format": "table"}
    return client.post("/ds/query", json={"from": "now-1h", "to": "now", "queries": [query]})


def values(answer: httpx.Response) -> list[list[Any]]:
    """The rows of a good answer."""
    assert answer.status_code == 200, answer.text
    [frame] = answer.json()["results"]["A"]["frames"]
    return [list(row) for row in zip(*frame["data"]["values"], strict=True)]
