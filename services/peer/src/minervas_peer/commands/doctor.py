"""`minervas doctor` and `minervas support-bundle`: what is wrong with this node, and a file for whoever helps."""

from __future__ import annotations

import argparse
import datetime as dt
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from minervas_core.enrolment import BrokerAddress
from minervas_core.errors import MinervasError
from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output
from minervas_peer.join.http_exchange import open_client, read_answer
from minervas_peer.join.node_directory import NodeDirectory
from minervas_runtime.clock import SystemClock
from minervas_runtime.support.bundle import Bundle
from minervas_runtime.support.findings import HEADINGS, Finding, as_rows, exit_status, failure, good, warning
from minervas_runtime.support.host_checks import (
    check_broker,
    check_certificate,
    check_clock,
    check_disk,
    check_secrets,
    offset_finding,
)

ADMISSION_FILE = "admission.json"
BROKER_FILE = "broker.json"
METRICS_WAIT_S = 5.0


class _AdmissionAddress(msgspec.Struct):
    """What ``issued/admission.json`` says."""

    url: str


@dataclass(frozen=True, slots=True)
class NodePlaces:
    """Where a node's files are."""

    node: NodeDirectory
    data: Path
    """The peer's private directory."""


def add_doctor_commands(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add both commands."""
    doctor = add("doctor", "look for what is wrong: clock, disk, certificates, broker, admission, ledger, keys")
    bundle = add("support-bundle", "write states, numbers and logs, but no secrets, into a file for whoever helps")
    bundle.add_argument("file", type=Path, metavar="FILE", help="a new file (.zip)")
    text = "a log of a service, e.g. of `docker compose logs --no-color > LOG`; repeatable"
    bundle.add_argument("--log", type=Path, action="append", default=[], metavar="LOG", help=text)
    text = "a service's /metrics, e.g. http://127.0.0.1:9100/metrics; repeatable"
    bundle.add_argument("--metrics", action="append", default=[], metavar="URL", help=text)
    for parser in (doctor, bundle):
        parser.add_argument("--node", type=Path, default=Path(), metavar="DIR", help="the node's directory")
        text = "the peer's private directory (peer/ below the node's)"
        parser.add_argument("--data", type=Path, metavar="DIR", help=text)


def run_doctor(given: argparse.Namespace, client: ApiClient, output: Output) -> int:
    """Look at everything and show it; returns the exit status: 1 if something does not work."""
    findings = examine(_places(given), client)
    if output.as_json:
        output.json(msgspec.to_builtins(findings))
    else:
        output.table("", HEADINGS, as_rows(findings))
    return exit_status(findings)


def run_support_bundle(given: argparse.Namespace, client: ApiClient, output: Output) -> None:
    """Write the bundle.

    Raises:
        LocalFault: ``bad_settings`` if a log cannot be read or the bundle not be written; ``not_empty``.
    """
    places, bundle = _places(given), Bundle()
    bundle.findings(examine(places, client))
    bundle.directory("node", places.node.path)
    bundle.directory("data", places.data)
    for path in ("/v1/status", "/v1/finality", "/v1/renewal"):
        bundle.state(path.rpartition("/")[2], _asked(client, path) or {})
    for number, url in enumerate(given.metrics):
        bundle.metrics(str(number), _text(url))
    lines = sum(bundle.log(str(number), path) for number, path in enumerate(given.log))
    bundle.write(given.file)
    output.say(f"{given.file}: {lines} lines of logs; look into it before you send it")


def examine(places: NodePlaces, client: ApiClient) -> list[Finding]:
    """Everything that is looked at."""
    findings = [check_clock(), check_disk("node", places.node.path), check_secrets("peer", places.data)]
    if not places.node.is_joined:
        detail = f"nothing is installed in {places.node.issued}"
        return [*findings, failure("membership", detail, "run `minervas join`, or name the node with --node")]
    findings.append(good("membership", "certificates, genesis and broker address are installed"))
    return [*findings, *_certificates(places), _broker(places), _admission(places), *_service(client)]


def _places(given: argparse.Namespace) -> NodePlaces:
    return NodePlaces(NodeDirectory(given.node), given.data or given.node / "peer")


def _certificates(places: NodePlaces) -> list[Finding]:
    issued, now = places.node.issued, dt.datetime.now(dt.UTC)
    files = sorted((issued / "certs").glob("*.crt"))
    return [check_certificate(file.stem, file, issued / "ca.crt", now) for file in files]


def _broker(places: NodePlaces) -> Finding:
    try:
        address = msgspec.json.decode((places.node.issued / BROKER_FILE).read_bytes(), type=BrokerAddress)
    except (OSError, msgspec.MsgspecError) as error:
        return failure("broker", f"its address cannot be read: {error}", "run `minervas join` again")
    identity = places.data / "tls.pem"
    return check_broker(address.host, address.port, places.node.issued / "ca.crt", identity, identity)


def _admission(places: NodePlaces) -> Finding:
    """Whether admission answers, by whom its certificate is, and how far its clock is from ours."""
    check, issued = "admission", places.node.issued
    try:
        url = msgspec.json.decode((issued / ADMISSION_FILE).read_bytes(), type=_AdmissionAddress).url
        context = ssl.create_default_context(cafile=str(issued / "ca.crt"))
        context.load_default_certs()  # the operator may have a certificate of a public CA
        with open_client(url, context) as http:
            answer = read_answer(http.stream("GET", "/ca.crt"), url)
    except (OSError, msgspec.MsgspecError) as error:
        return warning(check, f"its address cannot be read: {error}", "certificates cannot be renewed without it")
    except MinervasError as error:
        advice = "certificates are renewed there: mend it before they end"
        return warning(check, str(error), advice)
    if answer.server_time_ms is None:
        return good(check, f"{url} answers")
    return offset_finding(check, SystemClock().now_ms() - answer.server_time_ms, f"the clock of {url}")


def _service(client: ApiClient) -> list[Finding]:
    try:
        status = client.get("/v1/status")
    except MinervasError as error:
        return [failure("peer", str(error), "start the peer, or name its API with --api; then look at its log")]
    findings = [good("peer", "its API answers")]
    if status["connected"]:
        findings.append(good("bus", "the peer is connected"))
    else:
        refusal = str(status["bus_refusal"]) or "not connected"
        advice = "see `broker`; if that is well, a firewall may let this program through and not the peer"
        findings.append(failure("bus", refusal, advice))
    return [*findings, *_ledger(status["ledger"])]


def _ledger(ledger: Json | None) -> list[Finding]:
    if not ledger:
        return [failure("ledger", "does not answer the peer", "is it running, and its database? Look at its log")]
    tip, final = ledger["tip"]["height"], ledger["final"]["height"]
    detail = f"height {tip:,}, final {final:,}"
    if ledger["syncing"]:
        return [warning("ledger", f"{detail}, syncing", "wait: it is catching up with the others")]
    return [good("ledger", detail)]


def _asked(client: ApiClient, path: str) -> Json | None:
    try:
        return client.get(path)
    except MinervasError:
        return None


def _text(url: str) -> str:
    try:
        return httpx.get(url, timeout=METRICS_WAIT_S, trust_env=False).text
    except (httpx.HTTPError, httpx.InvalidURL):
        return ""
