"""Folders and who may see what is in them."""

from __future__ import annotations

from tests.support.grafana_double.routing import Answer, Call, route
from tests.support.grafana_double.state import ROLES, UID, ApiError, Body, Folder, slug

LEVELS = {1: "View", 2: "Edit", 4: "Admin"}
CHANGED = "the folder has been changed by someone else"


def default_acl(creator: int) -> list[Body]:
    """What Grafana sets for a new folder: its maker, and the two lesser roles."""
    return [
        {"userId": creator, "permission": 4},
        {"role": "Editor", "permission": 2},
        {"role": "Viewer", "permission": 1},
    ]


def level(call: Call, acl: list[Body] | None, creator: int) -> int:
    """What the caller may do with something that has this list: 0, 1 view, 2 edit, 4 all."""
    if call.role == "Admin":
        return 4
    teams = {team.id for team in call.org.teams.values() if call.user.id in team.members}
    mine = [0]
    for item in default_acl(creator) if acl is None else acl:
        role = item.get("role")
        if (
            item.get("userId") == call.user.id
            or item.get("teamId") in teams
            or (role in ROLES and ROLES.index(call.role) >= ROLES.index(role))
        ):
            mine.append(int(item["permission"]))
    return max(mine)


def checked_acl(call: Call) -> list[Body]:
    """The list that was sent; raises ApiError 400."""
    items = call.body.get("items")
    if not isinstance(items, list) or any(item.get("permission") not in LEVELS for item in items):
        raise ApiError(400, "bad request data")
    return [
        {name: item[name] for name in ("role", "userId", "teamId", "permission") if item.get(name)} for item in items
    ]


def shown_acl(call: Call, acl: list[Body] | None, creator: int) -> list[Body]:
    """The list as Grafana shows it, what allows most first."""
    items = default_acl(creator) if acl is None else acl
    shown = []
    for item in sorted(items, key=lambda item: -int(item["permission"])):
        user = call.grafana.users.get(item.get("userId", 0))
        login = {"userLogin": user.login} if user is not None else {}
        shown.append({**item, **login, "permissionName": LEVELS[item["permission"]], "inherited": False})
    return shown


def visible_folders(call: Call) -> list[Folder]:
    """The folders that the caller may see."""
    return [folder for folder in call.org.folders.values() if level(call, folder.acl, folder.creator)]


def _shown(call: Call, folder: Folder) -> Body:
    mine = level(call, folder.acl, folder.creator)
    return {
        "id": folder.id,
        "uid": folder.uid,
        "orgId": call.org.id,
        "title": folder.title,
        "url": f"/dashboards/f/{folder.uid}/{slug(folder.title)}",
        "hasAcl": folder.acl is not None,
        "canSave": mine >= 2,
        "canEdit": mine >= 2,
        "canAdmin": mine >= 4,
        "canDelete": mine >= 2,
        "version": folder.version,
        **({"parentUid": folder.parent} if folder.parent else {}),
    }


def _folder(call: Call, needed: int) -> Folder:
    folder = call.org.folders.get(call.path["uid"])
    if folder is None:
        raise ApiError(404, "folder not found", status="not-found")
    if level(call, folder.acl, folder.creator) < needed:
        raise ApiError(403, "You'll need additional permissions to perform this action.")
    return folder


def _parent(call: Call) -> str | None:
    parent = call.body.get("parentUid") or None
    if parent is not None and parent not in call.org.folders:
        raise ApiError(404, "folder not found", status="not-found")
    return parent


@route("GET", "/folders", "Viewer")
def list_folders(call: Call) -> list[Body]:
    parent = call.query.get("parentUid") or None
    found = [folder for folder in visible_folders(call) if folder.parent == parent]
    return [{"id": folder.id, "uid": folder.uid, "title": folder.title} for folder in found]


@route("POST", "/folders", "Editor")
def create_folder(call: Call) -> Body:
    title, uid = str(call.body.get("title") or "").strip(), str(call.body.get("uid") or call.grafana.new_uid())
    if not title:
        raise ApiError(400, "folder title cannot be empty")
    if not UID.fullmatch(uid):
        raise ApiError(400, "uid contains illegal characters or is too long")
    parent = _parent(call)
    if uid in call.org.folders:
        raise ApiError(412, CHANGED, status="version-mismatch")
    if any(folder.title == title and folder.parent == parent for folder in call.org.folders.values()):
        raise ApiError(409, "a folder with the same name already exists in the current location")
    folder = Folder(call.grafana.new_id(), uid, title, parent, call.user.id)
    call.org.folders[uid] = folder
    return _shown(call, folder)


@route("GET", "/folders/id/{id}", "Viewer")
def folder_by_id(call: Call) -> Body:
    for folder in visible_folders(call):
        if str(folder.id) == call.path["id"]:
            return _shown(call, folder)
    raise ApiError(404, "folder not found", status="not-found")


@route("GET", "/folders/{uid}", "Viewer")
def get_folder(call: Call) -> Body:
    return _shown(call, _folder(call, 1))


@route("PUT", "/folders/{uid}", "Editor")
def update_folder(call: Call) -> Body:
    folder = _folder(call, 2)
    if not call.body.get("overwrite") and call.body.get("version") != folder.version:
        raise ApiError(412, CHANGED, status="version-mismatch")
    folder.title = str(call.body.get("title") or folder.title)
    folder.version += 1
    return _shown(call, folder)


@route("POST", "/folders/{uid}/move", "Editor")
def move_folder(call: Call) -> Body:
    folder = _folder(call, 2)
    folder.parent = _parent(call)
    return _shown(call, folder)


@route("DELETE", "/folders/{uid}", "Editor")
def delete_folder(call: Call) -> Body:
    folder = _folder(call, 2)
    rules = [uid for uid, rule in call.org.alerting.rules.items() if rule.get("folderUID") == folder.uid]
    if rules and call.query.get("forceDeleteRules", "").lower() != "true":
        raise ApiError(400, "folder cannot be deleted: folder is not empty")
    for rule in rules:
        del call.org.alerting.rules[rule]
    gone = {folder.uid}
    while more := {item.uid for item in call.org.folders.values() if item.parent in gone} - gone:
        gone |= more
    for uid in gone:
        del call.org.folders[uid]
    for dashboard in [item.uid for item in call.org.dashboards.values() if item.folder in gone]:
        del call.org.dashboards[dashboard]
    return {"message": f"Folder {folder.title} deleted", "id": folder.id, "title": folder.title}


@route("GET", "/folders/{uid}/permissions", "Editor")
def get_permissions(call: Call) -> list[Body]:
    folder = _folder(call, 4)
    return shown_acl(call, folder.acl, folder.creator)


@route("POST", "/folders/{uid}/permissions", "Editor")
def replace_permissions(call: Call) -> Body:
    _folder(call, 4).acl = checked_acl(call)
    return {"message": "Folder permissions updated"}


@route("POST", "/access-control/folders/{uid}/users/{user}", "Editor")
def set_for_user(call: Call) -> Answer | Body:
    """Any body without a known `permission` takes the user's permission away, and answers 200: a trap."""
    folder, user = _folder(call, 4), call.path["user"]
    if not user.isdigit() or int(user) not in call.grafana.users:
        raise ApiError(400, "user not found")
    wanted = call.body.get("permission") or ""
    if wanted and wanted not in LEVELS.values():
        raise ApiError(400, f"invalid permission: {wanted}")
    kept = default_acl(folder.creator) if folder.acl is None else folder.acl
    folder.acl = [item for item in kept if item.get("userId") != int(user)]
    if not wanted:
        return {"message": "Permission removed"}
    number = next(number for number, name in LEVELS.items() if name == wanted)
    folder.acl.append({"userId": int(user), "permission": number})
    return {"message": "Permission updated"}
