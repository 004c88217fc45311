"""The deployment: three hosts' worth of docker compose, from the first `up` to a revocation, on a real engine.

`make test-compose` runs it, with the project's own docker-compose.yml and example env files; overlay.yaml adds what a
test needs. Each step asserts, and prints its seconds. The consortium is one test, because every step rests on the ones
before; what the compose file promises about each container is looked at in between.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, expect

from minervas_devnet.api_client import ApiAway
from minervas_devnet.market_api import Readings, _Lots, _Trades
from minervas_devnet.ports import free_ports
from tests.compose.environment import filled_in
from tests.compose.project import (
    COMPOSE_FILE,
    GRAFANA_DOUBLE,
    GREEN_S,
    OVERLAY,
    ROOT,
    CommandFailed,
    Project,
    Steps,
    run,
    say,
)
from tests.support.chromium import DESKTOP, TIMEOUT_MS, chromium, window
from tests.support.wait import wait_until
from tests.support.web_walk import Walk

OPERATOR, BETA, GAMMA = "mokpo-univ", "haenam-farm", "sinan-coop"
VERSION = "test"
"""Tag of the images: those of a running consortium on this machine are left alone."""
METERS = "./infra/meters/simulated.toml"
CHAIN_S = 300.0
"""How long to wait for the chain: blocks take longer when everybody shares two cores."""
PAGE_MS = TIMEOUT_MS
BROWSER_TRIES = 4

PRIVATE_VOLUMES = {
    "peer-data": {"peer"},
    "ledger-data": {"ledger", "ledger-logins", "ledger-migrate"},
    "miner-data": {"miner"},
    "gateway-data": {"meter-gateway"},
    "database-data": {"database"},
    "database-secret": {"database"},
    "database-key": {"database", "database-request"},
    "admission-data": {"admission", "admission-logins", "admission-ca", "admission-migrate"},
    "admission-passphrase": {"admission", "admission-logins", "admission-ca", "admission-migrate"},
    "broker-key": {"broker", "broker-request"},
    "grafana-secrets": {"grafana", "grafana-secrets"},
    "grafana-key": {"grafana", "grafana-secrets"},
    "grafana-admin": {"grafana", "grafana-secrets", "admission"},
}
"""Who may mount a volume with private keys or passwords: one service, and what runs once for it. Only the password of
Grafana's admin is shared: admission makes organisations and users with it."""


class Consortium:
    """The projects and the network that joins them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mark = f"mvt{secrets.token_hex(3)}"
        self.admission_port, self.broker_port, self.grafana_port, *self.console_ports = free_ports(6)
        self.projects: list[Project] = []
        self.grafana = grafana_overlays()
        run("docker", "network", "create", self.mark)

    def operator(self) -> Project:
        """The operator's host."""
        return self._project(
            ".env.example",
            OPERATOR,
            {
                "COMPOSE_PROFILES": "operator,simulated-meters",
                "ADMISSION_HOST": "admission.test",
                "ADMISSION_PORT": str(self.admission_port),
                "ADMISSION_BIND": "127.0.0.1",
                "BROKER_HOST": "broker.test",
                "BROKER_PORT": str(self.broker_port),
                "BROKER_BIND": "127.0.0.1",
                "GRAFANA_HOST": "grafana.test",
                "GRAFANA_PORT": str(self.grafana_port),
                "GRAFANA_BIND": "127.0.0.1",
            },
            *self.grafana,
        )

    def member(self, member: str, fingerprint: str) -> Project:
        """A member's host."""
        return self._project(
            ".env.member.example",
            member,
            {
                "COMPOSE_PROFILES": "simulated-meters",
                "ADMISSION_URL": f"https://admission.test:{self.admission_port}",
                "CA_FINGERPRINT": fingerprint,
            },
        )

    def _project(self, example: str, member: str, values: dict[str, str], *overlays: str) -> Project:
        port = self.console_ports[len(self.projects)]
        common = {
            "MEMBER": member,
            "METERS_FILE": METERS,
            "CONSOLE_PORT": str(port),
            "TEST_NETWORK": self.mark,
            "MINER_CPUS": "0.3",
            "MINERVAS_VERSION": VERSION,
        }
        env_file = filled_in(example, {**values, **common}, self.directory / f"{member}.env")
        project = Project(f"{self.mark}-{member}", env_file, member, port, (OVERLAY, *overlays))
        self.projects.append(project)
        return project

    def remove(self) -> None:
        """Take everything away."""
        for project in reversed(self.projects):
            project.api.close()
            project.remove()
        run("docker", "network", "rm", self.mark)


@pytest.fixture
def consortium(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Consortium]:
    """Hosts for the test; after a failure the ends of all logs are printed."""
    made = Consortium(tmp_path)
    failed_before = request.session.testsfailed
    try:
        yield made
    finally:
        if request.session.testsfailed > failed_before:
            for project in made.projects:
                sys.stderr.write(project.logs())
        made.remove()


async def test_a_consortium_of_three_hosts_joins_trades_survives_faults_and_revokes(consortium: Consortium) -> None:
    steps = Steps()
    say("")
    operator = consortium.operator()
    build_images(operator)
    steps.done("images built: " + ", ".join(image_sizes()))

    operator.compose("up", "--detach")
    operator.wait_green()
    steps.done("operator: from `up` to all healthy, waiting for approval")
    check_containers(operator)
    check_secrets(operator)
    steps.done("operator: containers are confined, secrets are in their own volumes only")

    async with page_of(consortium) as page:
        walk = Walk(page, "en")
        await log_in(walk, operator)
        steps.done("operator logged in with the first password and changed it")
        await approve(walk, operator)
        wait_until(lambda: has_joined(operator), timeout=CHAIN_S, describe="the operator's member to be active")
        steps.done("operator's own member approved in the browser, active on its chain")

        fingerprint = operator.exec("admission", "minervas-admission", "fingerprint").strip()
        beta, gamma = consortium.member(BETA, fingerprint), consortium.member(GAMMA, fingerprint)
        for project in (beta, gamma):
            project.compose("up", "--detach")
        for project in (beta, gamma):
            project.wait_green()
        check_containers(beta)
        steps.done("two members: from `up` to all healthy, waiting for approval")
        for project in (beta, gamma):
            await approve(walk, project)
            wait_until(partial(has_joined, project), timeout=CHAIN_S, describe=f"{project.member} to be active")
        steps.done("two members approved in the browser, active on their chains")

        nodes = [operator, beta, gamma]
        check_readings(nodes)
        steps.done("readings of all meters are stored, by each ledger")
        wait_until(partial(has_grafana, operator, nodes), timeout=CHAIN_S, describe="Grafana accounts of all members")
        steps.done("Grafana: an organisation and a user for each member")
        wait_same_tip(nodes)
        trade(seller=beta, buyer=gamma, nodes=nodes)
        steps.done("a trade, the same on all nodes")
        wait_until(lambda: min(final_height(node) for node in nodes) > 0, timeout=CHAIN_S, describe="a final block")
        wait_until(partial(all_settled, operator), timeout=CHAIN_S, describe="approvals to be settled by the chain")
        steps.done(f"finality: block {min(final_height(node) for node in nodes)} is final on all nodes")
        say("            memory: " + ", ".join(memory_of(operator)))

        crash_everything(operator, [beta, gamma])
        steps.done("every container killed once; all healthy again, one chain")
        cut_off(gamma, others=[operator, beta], network=consortium.mark)
        steps.done("a member cut off for some blocks caught up: chain and readings")
        restart(operator)
        wait_same_tip(nodes)
        steps.done("the operator's host went down and up again, with new containers and the same data")

        await revoke(walk, gamma)
        wait_until(lambda: is_shut_out(gamma), timeout=CHAIN_S, describe="the revoked node to be refused")
        final = final_height(operator)
        wait_until(lambda: final_height(beta) > final, timeout=CHAIN_S, describe="finality to go on")
        gone = grafana(operator, f"/api/users/lookup?loginOrEmail={gamma.member}")
        assert gone is None or gone["isDisabled"]
        steps.done("a member revoked in the browser; its node is refused, finality goes on without it")
    took = stop_times(operator)
    steps.done("operator stopped: " + took)
    say(f"  {steps.total_s():7.1f} s  in all")


# ---- images and containers --------------------------------------------------------------------------------------


def grafana_overlays() -> tuple[str, ...]:
    """Nothing if Grafana's image is here or can be pulled; else what puts the double in its place."""
    image = re.search(r"GRAFANA_IMAGE:-(\S+)}", (ROOT / COMPOSE_FILE).read_text("utf-8"))
    assert image
    for command in (("docker", "image", "inspect", image[1]), ("docker", "pull", "--quiet", image[1])):
        with suppress(CommandFailed):
            run(*command)
            return ()
    return (GRAFANA_DOUBLE,)


def build_images(operator: Project) -> None:
    """Build what the compose file names, and on top of it the double of Grafana, if that is needed."""
    files = ("--file", COMPOSE_FILE, "--env-file", operator.env_file)
    run("docker", "compose", "--project-name", operator.name, *files, "build", "--quiet", timeout_s=1_800)
    if GRAFANA_DOUBLE in operator.overlays:
        dockerfile = "tests/compose/images/grafana-double/Dockerfile"
        options = ("--build-arg", f"VERSION={VERSION}", "--tag", f"minervas-test/grafana-double:{VERSION}")
        run("docker", "buildx", "build", "--quiet", "--load", *options, "--file", dockerfile, ".")


def image_sizes() -> list[str]:
    """Our images with their sizes."""
    shown = ("--format", "{{.Repository}} {{.Tag}} {{.Size}}", "--filter", f"reference=minervas/*:{VERSION}")
    said = run("docker", "images", *shown)
    return [f"{line.split()[0].removeprefix('minervas/')} {line.split()[2]}" for line in said.splitlines()]


def memory_of(project: Project) -> list[str]:
    """Memory that each container of a project uses."""
    names = [project.container_name(service) for service in project.services()]
    said = run("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names)
    return [f"{line.split()[0].removeprefix(project.name + '-').removesuffix('-1')} {line.split()[1]}"
            for line in said.splitlines()]  # fmt: skip


def check_containers(project: Project) -> None:
    """Nothing runs as root, with capabilities, with a writable image, without limits, or with a published database."""
    for service, container in project.containers().items():
        host, config = container["HostConfig"], container["Config"]
        assert config["User"] not in ("", "0", "root"), service
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert not host["Privileged"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["Memory"] > 0, service
        assert (host["PidsLimit"] or 0) > 0, service
        assert host["LogConfig"]["Config"]["max-size"], service
        published = {int(each["HostPort"]) for ports in host["PortBindings"].values() for each in ports}
        assert bool(published) == (service in {"peer", "admission", "broker", "grafana"}), service
        assert not any("PASSWORD=" in each or "PASSPHRASE=" in each for each in config["Env"]), service


def check_secrets(project: Project) -> None:
    """Volumes with private keys are mounted by their service alone; inside, secrets are for their owner only."""
    mounted: dict[str, set[str]] = {}
    for service, container in project.containers().items():
        for mount in container["Mounts"]:
            if mount["Type"] == "volume":
                mounted.setdefault(mount["Name"].removeprefix(f"{project.name}_"), set()).add(service)
    for volume, allowed in PRIVATE_VOLUMES.items():
        assert mounted[volume] == allowed, volume
    open_files = "find /data -type f ( -name *.key -o -name *.password -o -name *.token ) -perm /077"
    for service in ("peer", "ledger", "miner", "meter-gateway", "admission"):
        assert project.exec(service, *open_files.split()) == "", service
    assert "600" in project.exec("admission", "stat", "-c", "%a", "/passphrase/ca.passphrase")
    logs = project.logs()
    assert "BEGIN PRIVATE KEY" not in logs
    assert "SCRAM-SHA-256$" not in logs


# ---- people at the browser -----------------------------------------------------------------------------------------


@asynccontextmanager
async def page_of(consortium: Consortium) -> AsyncIterator[Page]:
    """The operator's browser."""
    expect.set_options(timeout=PAGE_MS)
    url = f"https://127.0.0.1:{consortium.admission_port}"
    async with chromium() as browser, window(browser, size=DESKTOP, language="en-US", base_url=url) as page:
        page.set_default_timeout(PAGE_MS)
        yield page


async def log_in(walk: Walk, operator: Project) -> None:
    """With the password that one command prints, once."""
    command = ["minervas-admission", "first-password"]

    async def attempt() -> None:
        said = operator.exec("admission", *command)
        command[1:] = ["reset-password", "admin"]
        match = re.search(r"^password +(\S+)$", said, re.MULTILINE)
        assert match, said
        await walk.page.context.clear_cookies()
        await walk.page.goto("/operator")
        await walk.log_in("admin", match[1])
        await walk.choose_password(match[1])

    await insist(attempt)


async def approve(walk: Walk, project: Project) -> None:
    """Compare the fingerprint that the member's host shows with the one on the page, and approve."""
    wait_until(lambda: "Fingerprint to compare" in project.compose("logs", "join"), timeout=GREEN_S, describe="join")
    told = re.findall(r"Fingerprint to compare.*?: ([0-9a-f ]+)", project.compose("logs", "--no-color", "join"))[-1]
    page = walk.page

    async def attempt() -> None:
        await page.goto("/operator/queue")
        await walk.sees("queue.title")
        link = page.get_by_role("link").filter(has_text=project.member)
        if await link.count() == 0:
            return  # the attempt before came through, only its answer did not
        await link.click()
        await expect(page.locator("code.fingerprint")).to_have_text(told.strip())
        await walk.box("queue.compared").check()
        await walk.button("queue.approve").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text(walk.t("decisions.kind.approve"))

    await insist(attempt)


async def revoke(walk: Walk, project: Project) -> None:
    """Type the member's id, and see that the membership has ended."""

    async def attempt() -> None:
        await walk.page.goto(f"/operator/members/{project.member}")
        if await walk.link("members.do.revoke").count() > 0:
            await walk.decide_about(project.member, "revoke", "keys were stolen")
            await walk.box("members.type_id", member=project.member).fill(project.member)
            await walk.button("members.do.revoke").click()
            heading = walk.page.get_by_role("heading", level=1)
            await expect(heading).to_contain_text(walk.t("decisions.kind.revoke"))

    await insist(attempt)


async def insist(attempt: Callable[[], Awaitable[None]]) -> None:
    """Do something in the browser, again if need be.

    Chromium drops what is on its way when a network comes or goes, and each container that starts or ends is one.
    """
    for _ in range(BROWSER_TRIES - 1):
        with suppress(PlaywrightError, AssertionError):
            return await attempt()
    return await attempt()


# ---- looking at the consortium -----------------------------------------------------------------------------------


def has_joined(node: Project) -> bool:
    """Whether a node's own chain counts its member, and everything of it is connected."""
    status = node.compose("ps", "--all", "--format", "json", "join")
    return '"ExitCode":0' in status and said_of(node, "standing") == "active" and node.is_green()


def said_of(node: Project, key: str) -> str:
    """One word of the API's status; empty while it does not answer."""
    try:
        return str(getattr(node.api.status(), key))
    except ApiAway:
        return ""


def tip(node: Project) -> tuple[int, str]:
    """Height and hash of a node's tip; (-1, "") while it does not answer."""
    try:
        ledger = node.api.status().ledger
    except ApiAway:
        return -1, ""
    return (ledger.tip.height, ledger.tip.hash) if ledger else (-1, "")


def final_height(node: Project) -> int:
    """Height of the last final block; -1 while the node does not answer."""
    try:
        return node.api.finality().final.height
    except ApiAway:
        return -1


def wait_same_tip(nodes: list[Project], *, above: int = 0) -> None:
    """Wait until all nodes agree on a tip above a height."""

    def agree() -> bool:
        tips = {tip(node) for node in nodes}
        return len(tips) == 1 and next(iter(tips))[0] > above

    wait_until(agree, timeout=CHAIN_S, describe=lambda: f"one tip above {above}: {[tip(node) for node in nodes]}")


def all_settled(operator: Project) -> bool:
    """Whether every membership transaction that admission signed is final."""
    listed = json.loads(operator.exec("admission", "minervas-admission", "members", "--json"))
    return all(row["chain_state"] == "settled" for row in listed)


def check_readings(nodes: list[Project]) -> None:
    """Every node stores its own meters' readings, measured and not missing."""
    for node in nodes:
        wait_until(partial(has_measured, node), timeout=CHAIN_S, describe=f"measured readings of {node.member}")


def has_measured(node: Project) -> bool:
    """Whether both meters of a node are among its newest readings, measured."""
    with suppress(ApiAway):
        newest = node.api.get("/v1/readings?limit=20", Readings).readings
        return {each.meter for each in newest if each.quality == "measured"} == {"pv-1", "barn"}
    return False


def trade(*, seller: Project, buyer: Project, nodes: list[Project]) -> None:
    """An offer and a bid on two hosts become one trade on all."""
    wait_until(lambda: free_wh(seller) >= 20, timeout=CHAIN_S, describe=lambda: f"lots to sell: {free_wh(seller)} Wh")
    seller.exec("peer", "minervas", "offer", "--energy-wh", "20", "--price", "142.6")
    buyer.exec("peer", "minervas", "bid", "--energy-wh", "20", "--price", "150")
    for node in nodes:
        wait_until(partial(has_trade, node, seller, buyer), timeout=CHAIN_S, describe=f"the trade on {node.member}")


def has_trade(node: Project, seller: Project, buyer: Project) -> bool:
    """Whether a node's chain has a trade between two members."""
    with suppress(ApiAway):
        trades = node.api.get("/v1/trades?limit=50", _Trades).trades
        return any((each.seller, each.buyer) == (seller.member, buyer.member) for each in trades)
    return False


def free_wh(node: Project) -> int:
    """Energy that a member can sell."""
    with suppress(ApiAway):
        lots = node.api.get(f"/v1/lots?owner={node.member}&free=true&limit=1000", _Lots).lots
        return sum(each.energy_wh for each in lots if not each.offer)
    return -1


def grafana(operator: Project, path: str) -> Any:
    """What Grafana's API answers to its admin; None if it is not found."""
    port = re.search(r"(?m)^GRAFANA_PORT=(\d+)$", operator.env_file.read_text("utf-8"))
    assert port
    password = operator.exec("admission", "cat", "/grafana-admin/password")
    url = f"https://127.0.0.1:{port[1]}{path}"
    headers = {"host": f"grafana.test:{port[1]}"}
    # Its certificate is for its name, not for this address; admission itself checks it.
    answer = httpx.get(url, auth=("admin", password), headers=headers, verify=False, trust_env=False)  # noqa: S501
    return answer.json() if answer.status_code == 200 else None


def has_grafana(operator: Project, nodes: list[Project]) -> bool:
    """Whether every member has a user, and there is an organisation for each, the operator's and the empty one."""
    users = [grafana(operator, f"/api/users/lookup?loginOrEmail={node.member}") for node in nodes]
    return all(users) and len(grafana(operator, "/api/orgs") or []) >= len(nodes) + 2


# ---- faults ------------------------------------------------------------------------------------------------------


def crash_everything(operator: Project, members: list[Project]) -> None:
    """Kill every container: the operator's one after the other, a member's all at once, as when the power fails."""
    for service in operator.services():
        operator.crash(service)
    for member in members:
        member.crash(*member.services())
    nodes = [operator, *members]
    for node in nodes:
        node.wait_green()
    height = max(tip(node)[0] for node in nodes)
    wait_same_tip(nodes, above=height)


def cut_off(node: Project, *, others: list[Project], network: str) -> None:
    """Take a host's network away for some blocks."""
    stored = stored_readings(node)
    cut = [node.container_name(service) for service in ("peer", "ledger", "miner", "meter-gateway")]
    for name in cut:
        run("docker", "network", "disconnect", "--force", network, name)
    height = max(tip(other)[0] for other in others)
    wait_until(lambda: tip(others[0])[0] > height + 4, timeout=CHAIN_S, describe="blocks without the one cut off")
    assert tip(node) == (-1, "")  # its own services speak through the broker, too
    for name in cut:
        run("docker", "network", "connect", network, name)
    wait_same_tip([node, *others], above=height + 4)
    wait_until(
        lambda: stored_readings(node) > stored, timeout=CHAIN_S, describe="the readings that waited in the spool"
    )


def stored_readings(node: Project) -> int:
    """How many readings a node's ledger has stored; -1 while it does not answer."""
    with suppress(ApiAway):
        return node.api.get("/v1/readings?limit=1", Readings).stored
    return -1


def restart(node: Project) -> None:
    """Down and up: containers are new, volumes stay."""
    before, fingerprint = tip(node)[0], node.exec("admission", "minervas-admission", "fingerprint")
    node.compose("down", "--timeout", "10")
    node.compose("up", "--detach")
    node.wait_green()
    wait_until(lambda: tip(node)[0] >= before, timeout=CHAIN_S, describe="the chain of before")
    assert node.exec("admission", "minervas-admission", "fingerprint") == fingerprint


def is_shut_out(node: Project) -> bool:
    """Whether a revoked node's peer is refused by the broker."""
    return "certificate" in said_of(node, "bus_refusal") or said_of(node, "connected") == "False"


def stop_times(project: Project) -> str:
    """Stop a host; whoever had to be killed is named."""
    project.compose("stop")
    killed = [service for service, each in project.containers().items() if each["State"]["ExitCode"] == 137]
    assert json.dumps(project.states())
    return "all by themselves" if not killed else "killed after ten seconds: " + ", ".join(killed)
