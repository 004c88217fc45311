"""Take the pictures of the dashboards in docs/screens (`make dashboard-pictures`).

A real PostgreSQL is filled, the double of Grafana's API gets organisations and data sources with the readers' roles,
and every panel's queries go through it as a viewer. Chromium draws what came back with Grafana's own UI packages from
npm, which are installed below build/ (640 MB; nothing else needs them). The manifest in docs/screens says from which
JSON each picture was drawn; tests/tools/test_dashboard_pictures.py compares.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
from playwright.async_api import Page, Route

from minervas_devnet.ports import free_port
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.workdir import WorkDir
from tests.support.chromium import chromium, window
from tests.support.grafana_double.server import GrafanaDouble
from tests.support.readers import OPERATOR
from tools.dashboard_pictures.drawing import Looking, Picture
from tools.dashboard_pictures.manifest import GRAFANA, MANIFEST, PAGE, ROOT, SCREENS, sha256_of
from tools.dashboard_pictures.world import LOOKING, PictureWorld

BUILT = ROOT / "build" / "dashboard-pictures"
NOW = datetime.fromisoformat("2026-06-21T14:30:00+09:00")
PASSWORD = "pictures-only"  # noqa: S105 - of a server that lives for a minute, on the loopback interface
MAX_BYTES = 400_000
ADDRESS = "http://dashboards.invalid"
HTML = """<!doctype html><html><head><meta charset="utf-8"><link rel="stylesheet" href="page.css"></head>
<body style="margin:0"><div id="root"></div><script src="page.js"></script></body></html>"""
SETTLED = "document.querySelector('canvas, [role=table]') !== null || window.problems.length > 0"

PICTURES = (
    *(Picture(f"dashboards/solar-{name}.json", "ko", "dark") for name in ("rt", "today", "history")),
    *(Picture(f"dashboards/en/solar-{name}.json", "en", "light") for name in ("rt", "today", "history")),
    Picture("dashboards/trade.json", "ko", "dark"),
    Picture("dashboards/chain.json", "ko", "dark"),
    Picture("operator/fleet.json", "ko", "light", as_operator=True),
    Picture("operator/alerts.json", "ko", "light", as_operator=True),
)


def main() -> None:
    """Draw all pictures, or those whose names contain an argument."""
    wanted = [picture for picture in PICTURES if all(word in picture.name for word in sys.argv[1:])]
    bundle = _bundle()
    with WorkDir("pictures") as work, PostgresServer(work.path / "postgres", durable=False) as server:
        world = PictureWorld(server, int(NOW.timestamp() * 1000))
        world.fill()
        with GrafanaDouble(free_port(), PASSWORD) as grafana:
            clients = {reader: _organisation(grafana, server, world, reader) for reader in (LOOKING, OPERATOR)}
            asyncio.run(_draw_all(wanted, clients, bundle))
        world.close()


def _bundle() -> Path:
    """Install Grafana's packages as they are locked, once, and bundle the page."""
    BUILT.mkdir(parents=True, exist_ok=True)
    stamp = BUILT / "installed"
    lock = sha256_of(PAGE / "package-lock.json")
    for file in PAGE.iterdir():
        if file.is_file():
            shutil.copy(file, BUILT / file.name)
    if not stamp.exists() or stamp.read_text() != lock:
        _say("installing Grafana's UI packages from npm (640 MB, minutes)")
        subprocess.run(["npm", "ci", "--silent"], cwd=BUILT, check=True)  # noqa: S607 - npm of the machine
        subprocess.run(["npm", "rebuild", "--silent", "--ignore-scripts=false", "esbuild"], cwd=BUILT, check=True)  # noqa: S607
        stamp.write_text(lock)
    subprocess.run(["node", "build.mjs", "out"], cwd=BUILT, check=True)  # noqa: S607 - node of the machine
    return BUILT / "out"


def _organisation(grafana: GrafanaDouble, server: PostgresServer, world: PictureWorld, reader: str) -> httpx.Client:
    """An organisation with a data source under the reader's role; returns a client of its viewer."""
    where: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(world.world.readers.conninfo(reader))
    source = {
        "name": "Minervas",
        "uid": "solar",
        "type": "grafana-postgresql-datasource",
        "url": f"{server.host}:{server.port}",
        "user": where["user"],
        "jsonData": {"database": where["dbname"], "sslmode": "disable"},
        "secureJsonData": {"password": where["password"]},
    }
    with httpx.Client(base_url=f"{grafana.url}/api", auth=("admin", PASSWORD), timeout=120) as admin:
        org = admin.post("/orgs", json={"name": f"member-{reader}"}).raise_for_status().json()["orgId"]
        headers = {"X-Grafana-Org-Id": str(org)}
        admin.post("/datasources", json=source, headers=headers).raise_for_status()
        user = {"login": reader, "password": PASSWORD, "OrgId": org}
        admin.post("/admin/users", json=user).raise_for_status()
    return httpx.Client(base_url=grafana.url, auth=(reader, PASSWORD), timeout=600)


async def _draw_all(wanted: list[Picture], clients: dict[str, httpx.Client], bundle: Path) -> None:
    manifest = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    async with chromium() as browser:
        for picture in wanted:
            dashboard = json.loads((GRAFANA / picture.place).read_text())
            looking = Looking(clients[OPERATOR if picture.as_operator else LOOKING], NOW)
            drawing = await asyncio.to_thread(looking.draw, picture, dashboard)
            async with window(browser, size=(1600, 1000), language=picture.language, scheme=picture.theme) as page:
                content = await _draw(page, drawing, bundle)
            for panel, error in drawing["failed"].items():
                sys.exit(f"{picture.name}: panel {panel}: {error}")
            if len(content) > MAX_BYTES:
                sys.exit(f"{picture.name} would have {len(content):,} bytes; {MAX_BYTES:,} are allowed")
            (SCREENS / picture.name).write_bytes(content)
            manifest[picture.name] = {
                "drawn_from": f"infra/grafana/{picture.place}",
                "drawn_from_sha256": sha256_of(GRAFANA / picture.place),
                "picture_sha256": hashlib.sha256(content).hexdigest(),
            }
            _say(f"docs/screens/{picture.name}: {len(content):,} bytes")
    names = {picture.name for picture in PICTURES}
    kept = {name: manifest[name] for name in sorted(manifest) if name in names}
    MANIFEST.write_text(json.dumps(kept, indent=2) + "\n")


async def _draw(page: Page, drawing: dict[str, Any], bundle: Path) -> bytes:
    await page.route(f"{ADDRESS}/**", lambda route: _serve(route, bundle))
    await page.goto(f"{ADDRESS}/")
    await page.evaluate("drawing => window.draw(drawing)", drawing)
    await page.wait_for_function(SETTLED)
    await page.evaluate("document.fonts.ready")
    board = page.locator("#board")
    previous, content = b"", await board.screenshot(animations="disabled")
    while previous != content:  # panels measure themselves and are drawn again
        previous, content = content, await board.screenshot(animations="disabled")
    problems = await page.evaluate("window.problems")
    if problems:
        sys.exit("\n".join(problems))
    return content


async def _serve(route: Route, bundle: Path) -> None:
    """Answer the page's requests from the bundle; there is no server."""
    name = route.request.url.removeprefix(f"{ADDRESS}/")
    if not name:
        await route.fulfill(body=HTML, content_type="text/html")
    elif (bundle / name).is_file():
        await route.fulfill(path=bundle / name)
    else:
        await route.abort()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
