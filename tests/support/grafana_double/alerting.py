"""The provisioning API of alerting: rules, contact points, policies, mute timings, templates. Nothing is evaluated."""

from __future__ import annotations

from typing import Any

from tests.support.grafana_double.routing import Answer, Call, route
from tests.support.grafana_double.state import ApiError, Body

CONFLICT = "a conflicting alert rule is found: "
REDACTED = "[REDACTED]"
DEFAULT_RECEIVER = "grafana-default-email"
_SECRET_SETTINGS = {"password", "url", "token", "authorization_credentials"}
_RULE_NEEDS = ("title", "ruleGroup", "folderUID", "condition", "data")
_URL_IS_SECRET = {"slack", "discord", "teams", "googlechat"}


def _provenance(call: Call) -> str:
    return "" if call.headers.get("x-disable-provenance") else "api"


def _not_found() -> ApiError:
    return ApiError(404, "Not found")


def _check_rule(call: Call, rule: Body) -> None:
    missing = [name for name in _RULE_NEEDS if not rule.get(name)]
    if missing:
        raise ApiError(400, f"invalid alert rule: {missing[0]} is missing")
    if rule["folderUID"] not in call.org.folders:
        raise ApiError(400, "invalid alert rule: folder does not exist")


def _store_rule(call: Call, uid: str, rule: Body) -> Body:
    _check_rule(call, rule)
    rules, provenance = call.org.alerting.rules, _provenance(call)
    if any(
        other["title"] == rule["title"] and other["folderUID"] == rule["folderUID"] and other["uid"] != uid
        for other in rules.values()
    ):
        raise ApiError(409, CONFLICT + "rule title under the same organisation and folder must be unique")
    known = rules.get(uid)
    if known is not None and known["provenance"] and not provenance:
        raise ApiError(409, "cannot change provenance from 'api' to ''")
    rules[uid] = {**rule, "uid": uid, "orgID": call.org.id, "provenance": provenance}
    return rules[uid]


@route("GET", "/v1/provisioning/alert-rules", "Editor")
def rules(call: Call) -> list[Body]:
    return list(call.org.alerting.rules.values())


@route("POST", "/v1/provisioning/alert-rules", "Editor")
def create_rule(call: Call) -> Answer:
    uid = str(call.body.get("uid") or call.grafana.new_uid())
    if uid in call.org.alerting.rules:
        raise ApiError(409, CONFLICT + "rule UID under the same organisation should be unique")
    return Answer(201, _store_rule(call, uid, call.body))


@route("GET", "/v1/provisioning/alert-rules/{uid}", "Editor")
def get_rule(call: Call) -> Body:
    rule = call.org.alerting.rules.get(call.path["uid"])
    if rule is None:
        raise _not_found()
    return rule


@route("PUT", "/v1/provisioning/alert-rules/{uid}", "Editor")
def update_rule(call: Call) -> Body:
    get_rule(call)
    return _store_rule(call, call.path["uid"], call.body)


@route("DELETE", "/v1/provisioning/alert-rules/{uid}", "Editor")
def delete_rule(call: Call) -> Answer:
    call.org.alerting.rules.pop(call.path["uid"], None)
    return Answer(204)


def _group(call: Call) -> list[Body]:
    folder, name = call.path["folder"], call.path["group"]
    found = call.org.alerting.rules.values()
    return [rule for rule in found if rule["folderUID"] == folder and rule["ruleGroup"] == name]


@route("GET", "/v1/provisioning/folder/{folder}/rule-groups/{group}", "Editor")
def get_group(call: Call) -> Body:
    found = _group(call)
    if not found:
        raise _not_found()
    interval = found[0].get("intervalSeconds", 60)
    return {"title": call.path["group"], "folderUid": call.path["folder"], "interval": interval, "rules": found}


@route("PUT", "/v1/provisioning/folder/{folder}/rule-groups/{group}", "Editor")
def replace_group(call: Call) -> Body:
    """The rules of the group are these and no others."""
    interval = int(call.body.get("interval") or 60)
    if interval % 10:
        raise ApiError(400, "invalid alert rule: interval must be a multiple of the base interval of 10 seconds")
    placed: Body = {"folderUID": call.path["folder"], "ruleGroup": call.path["group"], "intervalSeconds": interval}
    wanted = [{**rule, **placed} for rule in call.body.get("rules") or []]
    for rule in wanted:
        _check_rule(call, rule)
    kept = {str(rule.get("uid")) for rule in wanted}
    for rule in _group(call):
        if rule["uid"] not in kept:
            del call.org.alerting.rules[rule["uid"]]
    for rule in wanted:
        _store_rule(call, str(rule.get("uid") or call.grafana.new_uid()), rule)
    return {**call.body, "rules": _group(call)}


@route("DELETE", "/v1/provisioning/folder/{folder}/rule-groups/{group}", "Editor")
def delete_group(call: Call) -> Answer:
    found = _group(call)
    if not found:
        raise _not_found()
    for rule in found:
        del call.org.alerting.rules[rule["uid"]]
    return Answer(204)


def _without_secrets(point: Body) -> Body:
    hidden = {
        name: REDACTED
        for name in point["settings"].keys() & _SECRET_SETTINGS
        if name != "url" or point["type"] in _URL_IS_SECRET
    }
    return {**point, "settings": {**point["settings"], **hidden}}


def _point(call: Call, uid: str) -> Body:
    body = call.body
    if not body.get("name") or not body.get("type") or not isinstance(body.get("settings"), dict):
        raise ApiError(400, "invalid contact point: name, type and settings are needed")
    known = call.org.alerting.contact_points.get(uid)
    settings = dict(body["settings"])
    for name, value in settings.items():
        if value == REDACTED and known is not None:
            settings[name] = known["settings"].get(name)
    point = {
        "uid": uid,
        "name": body["name"],
        "type": body["type"],
        "settings": settings,
        "disableResolveMessage": bool(body.get("disableResolveMessage")),
        "provenance": _provenance(call),
    }
    call.org.alerting.contact_points[uid] = point
    return _without_secrets(point)


@route("GET", "/v1/provisioning/contact-points", "Editor")
def contact_points(call: Call) -> list[Body]:
    name = call.query.get("name")
    found = call.org.alerting.contact_points.values()
    return [_without_secrets(point) for point in found if name in (None, point["name"])]


@route("POST", "/v1/provisioning/contact-points", "Editor")
def create_contact_point(call: Call) -> Answer:
    uid = str(call.body.get("uid") or call.grafana.new_uid())
    if uid in call.org.alerting.contact_points:
        raise ApiError(409, "contact point with this uid already exists")
    return Answer(202, _point(call, uid))


@route("PUT", "/v1/provisioning/contact-points/{uid}", "Editor")
def update_contact_point(call: Call) -> Answer:
    if call.path["uid"] not in call.org.alerting.contact_points:
        raise _not_found()
    _point(call, call.path["uid"])
    return Answer(202, {"message": "contactpoint updated"})


@route("DELETE", "/v1/provisioning/contact-points/{uid}", "Editor")
def delete_contact_point(call: Call) -> Answer:
    alerting = call.org.alerting
    point = alerting.contact_points.get(call.path["uid"])
    is_last = (
        point is not None and [other["name"] for other in alerting.contact_points.values()].count(point["name"]) == 1
    )
    if point is not None and is_last and point["name"] in _receivers(alerting.policies or {}):
        raise ApiError(409, "contact point is currently used by a notification policy")
    alerting.contact_points.pop(call.path["uid"], None)
    return Answer(202, {"message": "contactpoint deleted"})


def _receivers(policy: Body) -> set[Any]:
    return {policy.get("receiver")}.union(*(_receivers(route) for route in policy.get("routes") or [])) - {None}


def _default_policies() -> Body:
    return {"receiver": DEFAULT_RECEIVER, "group_by": ["grafana_folder", "alertname"]}


@route("GET", "/v1/provisioning/policies", "Editor")
def policies(call: Call) -> Body:
    return call.org.alerting.policies or _default_policies()


@route("PUT", "/v1/provisioning/policies", "Editor")
def set_policies(call: Call) -> Answer:
    names = {point["name"] for point in call.org.alerting.contact_points.values()} | {DEFAULT_RECEIVER}
    unknown = _receivers(call.body) - names
    if unknown or not call.body.get("receiver"):
        raise ApiError(400, f"invalid object specification: receiver {sorted(unknown)} does not exist")
    call.org.alerting.policies = {**call.body, "provenance": _provenance(call)}
    return Answer(202, {"message": "policies updated"})


@route("DELETE", "/v1/provisioning/policies", "Editor")
def reset_policies(call: Call) -> Answer:
    call.org.alerting.policies = None
    return Answer(202, _default_policies())


@route("GET", "/v1/provisioning/mute-timings", "Editor")
def mute_timings(call: Call) -> list[Body]:
    return list(call.org.alerting.mute_timings.values())


@route("POST", "/v1/provisioning/mute-timings", "Editor")
def create_mute_timing(call: Call) -> Answer:
    name = str(call.body.get("name") or "")
    if not name or name in call.org.alerting.mute_timings:
        raise ApiError(400, "invalid mute timing: no name, or one that is taken")
    timing = {"name": name, "time_intervals": call.body.get("time_intervals"), "provenance": _provenance(call)}
    call.org.alerting.mute_timings[name] = timing
    return Answer(201, timing)


@route("GET", "/v1/provisioning/mute-timings/{name}", "Editor")
def mute_timing(call: Call) -> Body:
    timing = call.org.alerting.mute_timings.get(call.path["name"])
    if timing is None:
        raise _not_found()
    return timing


@route("DELETE", "/v1/provisioning/mute-timings/{name}", "Editor")
def delete_mute_timing(call: Call) -> Answer:
    call.org.alerting.mute_timings.pop(call.path["name"], None)
    return Answer(204)


@route("GET", "/v1/provisioning/templates", "Editor")
def templates(call: Call) -> list[Body]:
    return list(call.org.alerting.templates.values())


@route("GET", "/v1/provisioning/templates/{name}", "Editor")
def template(call: Call) -> Body:
    found = call.org.alerting.templates.get(call.path["name"])
    if found is None:
        raise _not_found()
    return found


@route("PUT", "/v1/provisioning/templates/{name}", "Editor")
def set_template(call: Call) -> Answer:
    made = {
        "name": call.path["name"],
        "template": str(call.body.get("template") or ""),
        "provenance": _provenance(call),
    }
    call.org.alerting.templates[made["name"]] = made
    return Answer(202, made)


@route("DELETE", "/v1/provisioning/templates/{name}", "Editor")
def delete_template(call: Call) -> Answer:
    call.org.alerting.templates.pop(call.path["name"], None)
    return Answer(204)


@route("POST", "/alertmanager/grafana/config/api/v1/receivers/test", "Editor")
def test_receivers(call: Call) -> Answer:
    """Nothing is sent; an address that ends with `refused` stands for one that does not take it."""
    receivers: list[Body] = []
    for receiver in call.body.get("receivers") or []:
        configs = [
            {"name": config["name"], "uid": config.get("uid", ""), **_sent(config["settings"])}
            for config in receiver["grafana_managed_receiver_configs"]
        ]
        receivers.append({"name": receiver["name"], "grafana_managed_receiver_configs": configs})
    failed = any(config["status"] != "ok" for each in receivers for config in each["grafana_managed_receiver_configs"])
    return Answer(207 if failed else 200, {"alert": call.body.get("alert"), "receivers": receivers})


def _sent(settings: Body) -> Body:
    if str(settings.get("url", "")).endswith("refused"):
        return {"status": "failed", "error": "failed to send webhook: unexpected status code 403"}
    return {"status": "ok"}
