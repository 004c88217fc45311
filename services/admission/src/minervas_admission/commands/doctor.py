"""`doctor` and `support-bundle`: what is wrong with this admission, and a file for whoever helps."""

from __future__ import annotations

import argparse
import datetime as dt
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
from cryptography import x509

from minervas_admission.authority import load_consortium
from minervas_admission.commands.output import say, say_json, table
from minervas_admission.crl import LIST_NAME
from minervas_admission.data_directory import DataDirectory
from minervas_admission.restored import check_caught_up
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.database import Database
from minervas_admission.store.schema import check_schema
from minervas_core.errors import MinervasError
from minervas_runtime.support.bundle import Bundle
from minervas_runtime.support.findings import HEADINGS, Finding, as_rows, exit_status, failure, good, warning
from minervas_runtime.support.host_checks import (
    CA_LATE_DAYS,
    check_broker,
    check_certificate,
    check_clock,
    check_disk,
    check_listening,
    check_secrets,
)

LIST_LATE = dt.timedelta(days=6)
"""A list is issued hourly and lasts a week."""
WAIT_S = 5.0
MAX_STATE_BYTES = 1 << 20


async def run_doctor(settings: AdmissionSettings, *, as_json: bool) -> int:
    """Look at everything and show it; returns the exit status: 1 if something does not work."""
    findings = await examine(settings)
    if as_json:
        say_json(msgspec.to_builtins(findings))
    else:
        table(HEADINGS, as_rows(findings))
    return exit_status(findings)


async def run_support_bundle(settings: AdmissionSettings, given: argparse.Namespace) -> None:
    """Write the bundle.

    Raises:
        LocalFault: ``bad_settings`` if a log cannot be read or the bundle not be written; ``not_empty``.
    """
    bundle = Bundle()
    bundle.findings(await examine(settings))
    bundle.directory("data", settings.paths.data)
    bundle.directory("broker-export", settings.paths.broker_export)
    bundle.state("settings", msgspec.to_builtins(settings, enc_hook=str))
    if settings.health.port:
        base = f"http://{_reachable(settings.health.host)}:{settings.health.port}"
        bundle.state("healthz", _json(_get(f"{base}/healthz")))
        bundle.metrics("admission", _get(f"{base}/metrics"))
    lines = sum(bundle.log(str(number), path) for number, path in enumerate(given.log))
    bundle.write(given.file)
    say(f"{given.file}: {lines} lines of logs; look into it before you send it")


async def examine(settings: AdmissionSettings) -> list[Finding]:
    """Everything that is looked at."""
    data, http = DataDirectory(settings.paths.data), settings.http
    now = dt.datetime.now(dt.UTC)
    trusted = data.trusted_cas
    return [
        check_clock(),
        check_disk("data", settings.paths.data),
        check_secrets("admission", settings.paths.data),
        _consortium(settings),
        check_certificate("of the CA", data.ca_certificate, data.ca_certificate, now, late_days=CA_LATE_DAYS),
        check_certificate("for the broker", data.bus_certificate, trusted, now),
        check_certificate("of HTTPS", http.certificate_file or data.https_certificate, _judge(settings), now),
        _revocation_list(settings.paths.broker_export / LIST_NAME, now),
        check_broker(settings.broker.host, settings.broker.port, trusted, data.bus_certificate, data.bus_key),
        await _database(settings),
        check_listening("admission", _reachable(http.host), http.port),
    ]


def _judge(settings: AdmissionSettings) -> Path | None:
    """Who signed the HTTPS certificate: one that the operator brings is by anybody."""
    return None if settings.http.certificate_file else DataDirectory(settings.paths.data).trusted_cas


def _consortium(settings: AdmissionSettings) -> Finding:
    """Whether the keys of CA and authority open, and nothing was restored that has not caught up."""
    check = "keys of the consortium"
    try:
        check_caught_up(DataDirectory(settings.paths.data))
        consortium = load_consortium(settings)
    except MinervasError as error:
        return failure(check, str(error), "see docs/operating.md: lost passphrase, restore")
    return good(check, f"{consortium.genesis.body.name}, {len(consortium.cas.trusted)} CA in use")


def _revocation_list(file: Path, now: dt.datetime) -> Finding:
    check = "revocation list"
    try:
        until = x509.load_pem_x509_crl(file.read_bytes()).next_update_utc
    except (OSError, ValueError) as error:
        return failure(check, f"cannot be read: {error}", "run `minervas-admission reconcile`")
    if until is None or until <= now:
        return failure(check, "too old: the broker refuses everybody", "start admission, or look at its log")
    if until - now < LIST_LATE:
        return warning(check, f"valid to {until:%Y-%m-%d %H:%MZ}", "it is issued hourly: is admission running?")
    return good(check, f"valid to {until:%Y-%m-%d %H:%MZ}")


async def _database(settings: AdmissionSettings) -> Finding:
    database = Database(settings.database, application="minervas-admission doctor")
    try:
        async with database.transaction() as connection:
            await check_schema(connection)
    except MinervasError as error:
        return failure("database", str(error), "start PostgreSQL, or run `minervas-admission migrate`")
    finally:
        await database.close()
    return good("database", f"{settings.database.name} is current")


def _reachable(host: str) -> str:
    """An address of this machine at which a server that listens there is reached."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened at


def _get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:  # noqa: S310 - http to ourselves
            return str(answer.read(MAX_STATE_BYTES).decode("utf-8", "replace"))
    except (urllib.error.URLError, OSError, ssl.SSLError):
        return ""


def _json(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
