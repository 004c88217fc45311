"""Alert rules and contact points of the operator's organisation, through Grafana's provisioning API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grafana_client.api import GrafanaApi

from minervas_admission.grafana.dashboards import AlertRules
from minervas_admission.grafana.server import UID, GrafanaServer
from minervas_admission.settings import GrafanaSettings
from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import read_secret

CONTACT = "minervas-operator"
"""Name of the contact point; each of its ways has a uid that begins so."""


@dataclass(frozen=True, slots=True)
class OperatorAlerts:
    """The operator's alerts."""

    settings: GrafanaSettings
    server: GrafanaServer

    def set_up(self, org_id: int, rules: AlertRules) -> None:
        """Make contact point, policy and rules what settings and files say, and delete rules that are in no file.

        Raises:
            LocalFault: ``grafana_refused``.
            TransientFault: ``grafana_away``.
        """
        ways = self._ways()
        with self.server.connected("setting up alerts", *_secrets(ways), org_id=org_id) as api:
            self._contact_points(api, ways, rules.policy)
            for group in rules.groups:
                path = f"/v1/provisioning/folder/{UID}/rule-groups/{group['title']}"
                placed = [{**rule, "folderUID": UID, "orgID": org_id} for rule in group["rules"]]
                api.client.PUT(path, json={**group, "folderUid": UID, "rules": placed})
            kept = {str(rule["uid"]) for group in rules.groups for rule in group["rules"]}
            for rule in api.client.GET("/v1/provisioning/alert-rules"):
                if rule.get("folderUID") == UID and rule["uid"] not in kept:
                    api.client.DELETE(f"/v1/provisioning/alert-rules/{rule['uid']}", accept_empty_json=True)

    def test(self, org_id: int) -> list[str]:
        """Send a test alert over every way; returns what became of each.

        Raises:
            LocalFault: ``bad_settings`` if there is no contact; ``grafana_refused`` if one did not take it.
            TransientFault: ``grafana_away``.
        """
        ways = self._ways()
        if not ways:
            raise LocalFault(
                Code.BAD_SETTINGS,
                "Nobody is told of alerts; give grafana.alerts an email or a webhook",
                key="grafana.alerts",
            )
        receiver = {
            "name": CONTACT,
            "grafana_managed_receiver_configs": [{**way, "disableResolveMessage": True} for way in ways],
        }
        alert = {"labels": {"alertname": "TestAlert"}, "annotations": {"summary": "Minervas: a test alert"}}
        with self.server.connected("sending a test alert", *_secrets(ways), org_id=org_id) as api:
            path = "/alertmanager/grafana/config/api/v1/receivers/test"
            answer = api.client.POST(path, json={"receivers": [receiver], "alert": alert})
        results = [each for item in answer.get("receivers", []) for each in _results(item)]
        if failed := [text for good, text in results if not good]:
            raise LocalFault(Code.GRAFANA_REFUSED, "A test alert did not arrive", reason="; ".join(failed)[:200])
        return [text for _, text in results]

    def _ways(self) -> list[dict[str, Any]]:
        """How the operator is told."""
        alerts, ways = self.settings.alerts, list[dict[str, Any]]()
        if alerts.email:
            told = {"addresses": ";".join(alerts.email), "singleEmail": True}
            ways.append({"uid": f"{CONTACT}-email", "name": CONTACT, "type": "email", "settings": told})
        if alerts.webhook:
            settings: dict[str, Any] = {"url": alerts.webhook, "httpMethod": "POST"}
            if alerts.webhook_token_file is not None:
                token = read_secret(alerts.webhook_token_file).strip().decode("utf-8", "replace")
                settings |= {"authorization_scheme": "Bearer", "authorization_credentials": token}
            ways.append({"uid": f"{CONTACT}-webhook", "name": CONTACT, "type": "webhook", "settings": settings})
        return ways

    def _contact_points(self, api: GrafanaApi, ways: list[dict[str, Any]], policy: dict[str, Any]) -> None:
        """Tell whom the settings name and nobody else; a contact that is told can not be deleted before."""
        path = "/v1/provisioning/contact-points"
        present = {str(point["uid"]) for point in api.client.GET(f"{path}?name={CONTACT}")}
        for way in ways:
            if way["uid"] in present:
                api.client.PUT(f"{path}/{way['uid']}", json=way)
            else:
                api.client.POST(path, json=way)
        if ways:
            api.client.PUT("/v1/provisioning/policies", json={**policy, "receiver": CONTACT})
        elif present:
            api.client.DELETE("/v1/provisioning/policies")
        for uid in present - {way["uid"] for way in ways}:
            api.client.DELETE(f"{path}/{uid}")


def _results(receiver: dict[str, Any]) -> list[tuple[bool, str]]:
    """Whether each way took a test alert, and a text for people."""
    found = []
    for config in receiver.get("grafana_managed_receiver_configs", []):
        good = config.get("status") == "ok"
        found.append(
            (good, f"{config.get('uid') or config.get('name')}: {config.get('error') or config.get('status')}")
        )
    return found


def _secrets(ways: list[dict[str, Any]]) -> list[str]:
    return [
        way["settings"]["authorization_credentials"] for way in ways if "authorization_credentials" in way["settings"]
    ]
