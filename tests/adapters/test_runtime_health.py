"""/healthz and /metrics: the status as it is, 503 when failing, and nothing that a bad client can break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from minervas_core.errors import LocalFault
from minervas_runtime import health as health_module
from minervas_runtime.health import HealthServer
from minervas_runtime.metrics import REFUSALS
from tests.support.wait import HANG_S

Served = tuple[HealthServer, dict[str, Any]]


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    status: dict[str, Any] = {"status": "waiting"}
    server = HealthServer("127.0.0.1", 0, lambda: status)
    await server.start()
    yield server, status
    await server.stop()


async def get(server: HealthServer, path: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, f"http://127.0.0.1:{server.port}{path}")


@pytest.mark.parametrize(("status", "code"), [("waiting", 200), ("ok", 200), ("failing", 503)])
async def test_healthz_is_200_also_while_waiting_and_503_when_failing(served: Served, status: str, code: int) -> None:
    server, current = served
    current.update(status=status, tip=7)
    response = await get(server, "/healthz?from=probe")
    assert response.status_code == code
    assert response.json() == {"status": status, "tip": 7}


async def test_metrics_are_served(served: Served) -> None:
    REFUSALS.labels("peer", "tx", "bad_signature").inc()
    response = await get(served[0], "/metrics")
    assert 'minervas_refusals_total{code="bad_signature",kind="tx",service="peer"}' in response.text


async def test_other_paths_and_methods_are_refused(served: Served) -> None:
    assert (await get(served[0], "/secret")).status_code == 404
    assert (await get(served[0], "/healthz", "POST")).status_code == 405


@pytest.mark.parametrize("sent", [b"", b"\x00\xff garbage\r\n\r\n", b"GET /" + b"a" * 20_000])
async def test_garbage_disturbs_nobody(served: Served, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served[0].port)
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(HANG_S):
        await reader.read()
    writer.close()
    assert (await get(served[0], "/healthz")).status_code == 200


async def test_a_client_that_says_nothing_is_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "REQUEST_TIMEOUT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", served[0].port)
    async with asyncio.timeout(HANG_S):
        assert await reader.read() == b""
    writer.close()


async def test_a_port_in_use_is_one_clear_fault(served: Served) -> None:
    with pytest.raises(LocalFault, match="health address") as refused:
        await HealthServer("127.0.0.1", served[0].port, dict).start()
    assert refused.value.values["port"] == served[0].port


async def test_a_status_that_is_no_plain_json_is_still_shown(served: Served) -> None:
    server, current = served
    current["path"] = health_module
    assert "health" in json.loads((await get(server, "/healthz")).text)["path"]
