"""What is missing or wrong at start is said in one clear line; a retry follows where it can help, else the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from minervas_devnet.health import is_status
from minervas_devnet.node import PROGRAMS
from minervas_devnet.processes import ManagedProcess, console_script
from minervas_devnet.programs import try_program
from tests.support.network import Network
from tests.support.wait import HANG_S, wait_until


@pytest.mark.parametrize("verb", ["run", "check-config"])
@pytest.mark.parametrize("service", ["peer", "miner", "ledger", "admission"])
def test_wrong_settings_end_the_program_with_the_file_and_the_key(
    shared_network: Network, tmp_path: Path, service: str, verb: str
) -> None:
    admission = shared_network.consortium.admission
    good = admission.settings_file if service == "admission" else shared_network.alpha.settings_file(service)
    wrong = tmp_path / f"{service}.toml"
    wrong.write_text("surprise = 1\n" + good.read_text(encoding="utf-8"), encoding="utf-8")
    done = try_program(f"minervas-{service}", verb, "--config", wrong)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(wrong) in done.stderr
    assert "surprise" in done.stderr


@pytest.mark.parametrize("service", ["peer", "miner", "ledger"])
def test_service_says_that_the_broker_is_away_and_connects_when_it_is_back(network: Network, service: str) -> None:
    node = network.beta
    process = node.services[service]
    process.stop()
    node.cut(service)
    process.start()
    record = process.wait_for_event("broker_away", timeout_s=HANG_S)
    assert (record["host"], record["port"]) == ("127.0.0.1", node.proxies[service].port)
    assert not is_status(node.health_ports[service], "ok")
    node.restore(service)
    node.wait_ready()


def test_ledger_says_that_its_database_is_away_and_works_when_it_is_back(network: Network) -> None:
    node = network.beta
    process = node.services["ledger"]
    process.stop()
    node.cut("database")
    process.start()
    record = process.wait_for_event("database_away", timeout_s=HANG_S)
    assert str(node.proxies["database"].port) in str(record)
    assert process.pid is not None
    assert not is_status(node.health_ports["ledger"], "ok")
    node.restore("database")
    node.wait_ready()
    network.goes_on()


def test_ledger_that_loses_its_database_goes_on_when_it_is_back(network: Network) -> None:
    network.beta.cut("database")
    wait_until(lambda: not is_status(network.beta.health_ports["ledger"], "ok"), HANG_S)
    network.wait_blocks(2, network.alpha, network.gamma)
    network.beta.restore("database")
    network.beta.wait_ready()
    network.goes_on()


def test_admission_says_that_its_database_is_away(shared_network: Network, tmp_path: Path) -> None:
    admission = shared_network.consortium.admission
    process = ManagedProcess(
        "second admission",
        [console_script("minervas-admission"), "run", "--config", admission.settings_file],
        tmp_path / "admission.log",
        environment={"MINERVAS_DATABASE__PORT": "1", "MINERVAS_HTTP__PORT": "1025", "MINERVAS_HEALTH__PORT": "0"},
    )
    process.start()
    try:
        wait_until(lambda: "database_away" in process.output(), HANG_S, process.output)
    finally:
        process.stop()
    done = try_program("minervas-admission", "pending", "--config", tmp_path / "nowhere.toml")
    assert done.returncode == 2
    assert "no such file" in done.stderr


def test_two_processes_with_one_certificate_are_told_so(network: Network, tmp_path: Path) -> None:
    """They take each other's session over, again and again: only the log can say why nothing works."""
    node = network.gamma
    first = node.services["miner"]
    second = ManagedProcess(
        "second miner",
        [console_script(PROGRAMS["miner"]), "run", "--config", node.settings_file("miner")],
        tmp_path / "miner.log",
        environment={"MINERVAS_HEALTH__PORT": "0"},
    )
    second.start()
    try:
        told = {"bus_unstable", "bus_refused"}
        wait_until(
            lambda: told & {record["event"] for each in (first, second) for record in each.log_records()}, HANG_S
        )
    finally:
        second.stop()
    first.restart()
    node.wait_ready()
