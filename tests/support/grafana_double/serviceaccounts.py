"""Service accounts and their tokens."""

from __future__ import annotations

import secrets

from tests.support.grafana_double.routing import Answer, Call, route
from tests.support.grafana_double.state import ROLES, ApiError, Body, ServiceAccount

_RIGHTS = (
    "serviceaccounts.permissions:read",
    "serviceaccounts.permissions:write",
    "serviceaccounts:delete",
    "serviceaccounts:read",
    "serviceaccounts:write",
)


def _shown(call: Call, account: ServiceAccount) -> Body:
    rights = {"accessControl": dict.fromkeys(_RIGHTS, True)} if call.query.get("accesscontrol") == "true" else {}
    return {
        "id": account.id,
        "uid": f"sa-{account.id}",
        "name": account.name,
        "login": f"sa-{call.org.id}-{account.name}",
        "orgId": call.org.id,
        "isDisabled": account.is_disabled,
        "role": account.role,
        "tokens": len(account.tokens),
        **rights,
    }


def _account(call: Call) -> ServiceAccount:
    text = call.path["account"]
    account = call.org.service_accounts.get(int(text)) if text.isdigit() else None
    if account is None:
        raise ApiError(404, "service account not found")
    return account


@route("POST", "/serviceaccounts", "Admin")
def create(call: Call) -> Answer:
    name, role = str(call.body.get("name") or ""), call.body.get("role") or "Viewer"
    if not name or role not in ROLES:
        raise ApiError(400, "Bad request data")
    if any(account.name == name for account in call.org.service_accounts.values()):
        raise ApiError(400, "service account already exists")
    account = ServiceAccount(call.grafana.new_id(), name, role)
    call.org.service_accounts[account.id] = account
    return Answer(201, _shown(call, account))


@route("GET", "/serviceaccounts/search", "Admin")
def search(call: Call) -> Body:
    query = call.query.get("query", "").lower()
    found = [account for account in call.org.service_accounts.values() if query in account.name.lower()]
    page, size = call.page()
    shown = [_shown(call, account) for account in call.page_of(found)]
    return {"totalCount": len(found), "serviceAccounts": shown, "page": page, "perPage": size}


@route("GET", "/serviceaccounts/{account}", "Admin")
def get(call: Call) -> Body:
    return _shown(call, _account(call))


@route("PATCH", "/serviceaccounts/{account}", "Admin")
def update(call: Call) -> Body:
    account = _account(call)
    account.name = str(call.body.get("name") or account.name)
    if call.body.get("role") in ROLES:
        account.role = call.body["role"]
    account.is_disabled = bool(call.body.get("isDisabled", account.is_disabled))
    return {"message": "Service account updated", "id": account.id, "name": account.name}


@route("DELETE", "/serviceaccounts/{account}", "Admin")
def delete(call: Call) -> Body:
    del call.org.service_accounts[_account(call).id]
    return {"message": "Service account deleted"}


@route("GET", "/serviceaccounts/{account}/tokens", "Admin")
def tokens(call: Call) -> list[Body]:
    account = call.org.service_accounts.get(int(call.path["account"]))
    return [{"id": number, "name": name} for number, (name, _) in account.tokens.items()] if account else []


@route("POST", "/serviceaccounts/{account}/tokens", "Admin")
def create_token(call: Call) -> Body:
    account, name = _account(call), str(call.body.get("name") or "")
    if any(name == known for other in call.org.service_accounts.values() for known, _ in other.tokens.values()):
        raise ApiError(400, "service account token with given name already exists in the organization")
    number, key = call.grafana.new_id(), f"glsa_{secrets.token_urlsafe(24)}"
    account.tokens[number] = (name, key)
    return {"id": number, "name": name, "key": key}


@route("DELETE", "/serviceaccounts/{account}/tokens/{token}", "Admin")
def delete_token(call: Call) -> Body:
    account = _account(call)
    if account.tokens.pop(int(call.path["token"]), None) is None:
        raise ApiError(404, "service account token not found")
    return {"message": "Service account token deleted"}
