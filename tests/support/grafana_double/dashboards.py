"""Dashboards, their permissions, and the search that finds them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.support.grafana_double.folders import checked_acl, level, shown_acl, visible_folders
from tests.support.grafana_double.routing import Call, route
from tests.support.grafana_double.state import UID, ApiError, Body, Dashboard, slug

_SERVER_FIELDS = {"id", "uid", "version"}
_ADMIN = 1


def may(call: Call, dashboard: Dashboard) -> int:
    """What the caller may do with it: its own list counts, else its folder's."""
    if dashboard.acl is not None or dashboard.folder is None:
        return level(call, dashboard.acl, _ADMIN)
    folder = call.org.folders[dashboard.folder]
    return level(call, folder.acl, folder.creator)


def _dashboard(call: Call, needed: int) -> Dashboard:
    dashboard = call.org.dashboards.get(call.path["uid"])
    if dashboard is None:
        raise ApiError(404, "Dashboard not found")
    if may(call, dashboard) < needed:
        raise ApiError(403, "You'll need additional permissions to perform this action.")
    return dashboard


def _folder_of(call: Call) -> str | None:
    uid = call.body.get("folderUid") or None
    if uid is not None:
        if uid not in call.org.folders:
            raise ApiError(400, "folder not found")
        return str(uid)
    wanted = call.body.get("folderId") or (call.body.get("meta") or {}).get("folderId")
    return next((folder.uid for folder in call.org.folders.values() if folder.id == wanted), None)


def _save(call: Call, dashboard: Dashboard, model: Body) -> Body:
    dashboard.versions.append({name: value for name, value in model.items() if name not in _SERVER_FIELDS})
    call.org.dashboards[dashboard.uid] = dashboard
    title = str(model["title"])
    return {
        "id": dashboard.id,
        "uid": dashboard.uid,
        "url": f"/d/{dashboard.uid}/{slug(title)}",
        "slug": slug(title),
        "status": "success",
        "version": len(dashboard.versions),
        "folderUid": dashboard.folder or "",
    }


@route("POST", "/dashboards/db", "Editor")
def save_dashboard(call: Call) -> Body:
    model = call.body.get("dashboard")
    if not isinstance(model, dict):
        raise ApiError(400, "bad request data")
    if not str(model.get("title") or "").strip():
        raise ApiError(400, "Dashboard title cannot be empty", status="empty-name")
    uid, folder = str(model.get("uid") or call.grafana.new_uid()), _folder_of(call)
    if not UID.fullmatch(uid):
        raise ApiError(400, "uid contains illegal characters or is too long")
    known = call.org.dashboards.get(uid)
    if known is None:
        return _save(call, Dashboard(call.grafana.new_id(), uid, folder, []), model)
    if may(call, known) < 2:
        raise ApiError(403, "You'll need additional permissions to perform this action.")
    if not call.body.get("overwrite") and model.get("version") != len(known.versions):
        raise ApiError(412, "The dashboard has been changed by someone else", status="version-mismatch")
    known.folder = folder
    return _save(call, known, model)


@route("GET", "/dashboards/tags", "Viewer")
def tags(call: Call) -> list[Body]:
    counts = Counter(tag for item in call.org.dashboards.values() if may(call, item) for tag in _tags(item))
    return [{"term": term, "count": count} for term, count in sorted(counts.items())]


@route("GET", "/dashboards/uid/{uid}", "Viewer")
def get_dashboard(call: Call) -> Body:
    dashboard = _dashboard(call, 1)
    folder = call.org.folders.get(dashboard.folder or "")
    mine, title = may(call, dashboard), str(dashboard.model["title"])
    meta = {
        "type": "db",
        "canSave": mine >= 2,
        "canEdit": mine >= 2,
        "canAdmin": mine >= 4,
        "canDelete": mine >= 2,
        "slug": slug(title),
        "url": f"/d/{dashboard.uid}/{slug(title)}",
        "version": len(dashboard.versions),
        "folderId": folder.id if folder is not None else 0,
        "folderUid": folder.uid if folder is not None else "",
        "folderTitle": folder.title if folder is not None else "Dashboards",
        "provisioned": False,
        "provisionedExternalId": "",
    }
    return {"dashboard": dashboard.model, "meta": meta}


@route("DELETE", "/dashboards/uid/{uid}", "Editor")
def delete_dashboard(call: Call) -> Body:
    dashboard = _dashboard(call, 2)
    del call.org.dashboards[dashboard.uid]
    title = dashboard.model["title"]
    return {"title": title, "message": f"Dashboard {title} deleted", "uid": dashboard.uid}


@route("GET", "/dashboards/uid/{uid}/permissions", "Editor")
def get_permissions(call: Call) -> list[Body]:
    return shown_acl(call, _dashboard(call, 4).acl, _ADMIN)


@route("POST", "/dashboards/uid/{uid}/permissions", "Editor")
def replace_permissions(call: Call) -> Body:
    _dashboard(call, 4).acl = checked_acl(call)
    return {"message": "Dashboard permissions updated"}


def _tags(dashboard: Dashboard) -> list[str]:
    return list(dashboard.model.get("tags") or [])


@route("GET", "/search", "Viewer")
def search(call: Call) -> list[Body]:
    kind = call.query.get("type")
    if kind not in (None, "", "dash-db", "dash-folder"):
        raise ApiError(500, "Search failed")
    narrowed = bool(call.tags or call.query.get("starred") == "true" or _list(call, "folderUIDs", "folderUid"))
    found: list[Body] = []
    if kind != "dash-db" and not narrowed:
        found += [_folder_hit(folder.uid, folder.id, folder.title) for folder in visible_folders(call)]
    if kind != "dash-folder":
        found += [_hit(call, item) for item in call.org.dashboards.values() if may(call, item) and _matches(call, item)]
    wanted = _list(call, "dashboardUIDs", "dashboardUID")
    ids = _list(call, "dashboardIds")
    query = call.query.get("query", "").lower()
    found = [
        hit
        for hit in found
        if query in str(hit["title"]).lower()
        and (not wanted or hit["uid"] in wanted)
        and (not ids or str(hit["id"]) in ids)
    ]
    page, limit = call.page()[0], int(call.query.get("limit") or 0) or 1_000
    return found[(page - 1) * limit : page * limit]


def _list(call: Call, *names: str) -> list[str]:
    return [part for name in names for part in call.query.get(name, "").split(",") if part]


def _matches(call: Call, dashboard: Dashboard) -> bool:
    folders = _list(call, "folderUIDs", "folderUid")
    starred = call.query.get("starred") == "true"
    return (
        set(call.tags) <= set(_tags(dashboard))
        and (not folders or (dashboard.folder or "general") in folders)
        and (not starred or dashboard.uid in call.user.stars)
    )


def _hit(call: Call, dashboard: Dashboard) -> dict[str, Any]:
    title = str(dashboard.model["title"])
    folder = call.org.folders.get(dashboard.folder or "")
    place = {"folderUid": folder.uid, "folderId": folder.id, "folderTitle": folder.title} if folder is not None else {}
    return {
        "id": dashboard.id,
        "uid": dashboard.uid,
        "orgId": call.org.id,
        "title": title,
        "url": f"/d/{dashboard.uid}/{slug(title)}",
        "type": "dash-db",
        "tags": _tags(dashboard),
        "isStarred": dashboard.uid in call.user.stars,
        **place,
    }


def _folder_hit(uid: str, number: int, title: str) -> dict[str, Any]:
    url = f"/dashboards/f/{uid}/{slug(title)}"
    return {"id": number, "uid": uid, "title": title, "url": url, "type": "dash-folder", "tags": [], "isStarred": False}
