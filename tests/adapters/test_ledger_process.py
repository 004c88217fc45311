"""The ledger as the process that members run: what its /metrics shows."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import prometheus_client
import pytest_asyncio

from minervas_core.identifiers import Principal
from minervas_devnet.health import is_status
from minervas_devnet.ports import LOOPBACK, free_port
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_devnet.processes import ManagedProcess, console_script
from minervas_ledger import metrics
from minervas_runtime.key_files import write_atomic
from tests.support.builders import LocalChain
from tests.support.fix_broker import Broker
from tests.support.ledger import NODE_KEY, StoredChain, migrated
from tests.support.wait import wait_until_async

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "services" / "ledger" / "README.md"

PROMISED = {
    "height": "minervas_chain_height",
    "work": "minervas_chain_work",
    "interval histogram": "minervas_chain_block_interval_seconds",
    "reorganisations": "minervas_chain_reorganisations",
    "their depth": "minervas_chain_reorganisation_depth",
    "finality": "minervas_finality_final_height",
    "mempool size": "minervas_mempool_transactions",
    "mempool bytes": "minervas_mempool_bytes",
    "refusals by code": "minervas_refusals",
    "sync state": "minervas_sync_active",
    "peers": "minervas_sync_peers",
}
"""What everybody's dashboards may count on."""

SETTINGS = """\
member = "m0"

[paths]
data = "data"
enrol = "enrol"
issued = "issued"
secrets = "secrets"

[database]
host = "{database.socket_dir}"
port = {database.port}
name = "{database.name}"
user = "{database.writer.user}"
password_file = "{database.writer.password_file}"

[broker]
host = "{broker.server.host}"
port = {broker.server.port}

[health]
port = {health_port}
"""


class Node:
    """The directory of an approved node with a ledger, a chain of two blocks, and its process."""

    def __init__(self, directory: Path, broker: Broker, database: NodeDatabase) -> None:
        self.local = LocalChain()
        stored = StoredChain(migrated(database), self.local.genesis)
        stored.take(self.local.found("m0", "m1"), self.local.extend("m1"))
        stored.now.close()
        self.health_port = free_port()
        settings = directory / "ledger.toml"
        text = SETTINGS.format(database=database, broker=broker, health_port=self.health_port)
        settings.write_text(text, encoding="utf-8")
        files = broker.admit(Principal("m0", "ledger"))
        write_atomic(directory / "data" / "tls.key", files.key_file.read_bytes())
        issued = directory / "issued"
        (issued / "certs").mkdir(parents=True)
        shutil.copy(files.cert_file, issued / "certs" / "ledger.crt")
        shutil.copy(files.ca_file, issued / "ca.crt")
        (issued / "genesis.json").write_bytes(self.local.genesis.raw)
        (issued / "membership.json").write_bytes(b"[]")
        write_atomic(directory / "secrets" / "node.key", NODE_KEY.hex().encode())
        (issued / "ready").touch()
        command: list[str | Path] = [console_script("minervas-ledger"), "run", "--config", settings]
        self.process = ManagedProcess("ledger", command, directory / "ledger.log")

    async def scrape(self) -> str:
        async with httpx.AsyncClient() as client:
            response = await client.get(f"http://{LOOPBACK}:{self.health_port}/metrics")
        assert response.status_code == 200
        return response.text


@pytest_asyncio.fixture
async def node(tmp_path: Path, own_broker: Broker, node_database: NodeDatabase) -> AsyncIterator[Node]:
    made = await asyncio.to_thread(Node, tmp_path, own_broker, node_database)
    await asyncio.to_thread(made.process.start)
    await wait_until_async(lambda: asyncio.to_thread(is_status, made.health_port, "ok"))
    yield made
    await asyncio.to_thread(made.process.stop)


def families(text: str) -> set[str]:
    """Names of the metrics of a scrape, as they are declared."""
    return {
        re.sub(r"_total$", "", line.split()[2])
        for line in text.splitlines()
        if line.startswith("# TYPE minervas_") and not line.split()[2].endswith("_created")
    }


async def test_running_ledger_shows_every_metric(node: Node) -> None:
    text = await node.scrape()
    assert set(PROMISED.values()) <= families(text)
    assert f"minervas_chain_height {float(node.local.tip.height)}" in text
    assert f"minervas_chain_work {float(node.local.tip.work)}" in text
    assert "minervas_sync_active 0.0" in text
    assert 'minervas_sync_peers{state="ahead"} 0.0' in text
    assert 'minervas_chain_block_interval_seconds_bucket{le="15.0"} 0.0' in text
    assert 'minervas_chain_reorganisation_depth_bucket{le="1.0"} 0.0' in text


async def test_documented_metrics_are_those_that_are_shown(node: Node) -> None:
    documented = set(re.findall(r"`(minervas_\w+)`", README.read_text(encoding="utf-8").partition("## Metrics")[2]))
    shown = {name for name in families(await node.scrape()) if not name.startswith("minervas_bus_")}
    assert shown - {"minervas_handler_errors"} == documented - {"minervas_handler_errors"}


def test_every_metric_of_the_module_has_a_name_of_ours() -> None:
    """One that is defined but in another registry would never be shown."""
    made = [value for value in vars(metrics).values() if isinstance(value, prometheus_client.metrics.MetricWrapperBase)]
    registered = {family.name for family in prometheus_client.REGISTRY.collect()}
    assert {each._name for each in made} <= registered
