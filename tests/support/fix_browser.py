"""Fixtures: a real admission with web pages and a real Chromium, one of each for all tests of a file.

A machine without Chromium is a failure, never a skip: `make browser` installs it. Tests that use these run in the
event loop of their module: `pytestmark = pytest.mark.asyncio(loop_scope="module")`.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser

from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from tests.support.chromium import chromium
from tests.support.databases import copy_database
from tests.support.web_service import WebService, serving_pages

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pages(
    postgres_server: PostgresServer, migrated_admission: NodeDatabase, session_work_dir: Path
) -> AsyncIterator[WebService]:
    """A running service; use member and account names of your own."""
    root = session_work_dir / f"pages-{next(_numbers)}"
    root.mkdir(mode=0o711)
    async with serving_pages(root, copy_database(postgres_server, migrated_admission)) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window() -> AsyncIterator[Browser]:
    """A browser; each test opens pages of its own."""
    async with chromium() as browser:
        yield browser
