"""Admission's settings file."""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from minervas_core.errors import MinervasError
from minervas_core.genesis import Parameters
from minervas_core.identifiers import check_member_id
from minervas_runtime.settings import HealthSettings, LogSettings, SettingsError, load_settings

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]

_DNS_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: an unknown key is an error."""


class ConsortiumSettings(_Section, frozen=True, kw_only=True):
    """What the genesis says of the consortium besides the numbers; can not be changed after `init`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")] = "KRW"
    """ISO 4217 code."""
    time_zone: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_+\-/0-9]{1,64}\Z")] = "Asia/Seoul"
    """IANA name; months begin and end in it."""
    operator_member: str
    """The member whose peer is asked where a transaction stands, and whose ledger reads everybody's readings."""


class PathSettings(_Section, frozen=True, kw_only=True):
    """Directories."""

    data: Path
    """Private: CA, authority key, genesis, own keys."""
    broker_export: Path
    """Public: ca.crt, ca.crl and its digest, read by the broker's wrapper."""


class HttpSettings(_Section, frozen=True, kw_only=True):
    """The HTTPS API that applicants use."""

    host: str = "127.0.0.1"
    port: Port = 8443
    names: Annotated[list[str], msgspec.Meta(min_length=1)]
    """DNS names and IP addresses under which applicants reach it; they go into its certificate."""
    applications_per_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 20
    """New applications accepted from one client address; as many may come at once."""
    certificate_file: Path | None = None
    """A certificate (PEM, with its chain) that the operator brings; without it the consortium's CA signs one."""
    key_file: Path | None = None
    """Its private key, mode 0600; used and reloaded like `certificate_file`."""
    strict_transport_days: Annotated[int, msgspec.Meta(ge=0, le=3_650)] = 365
    """How long browsers remember to come by HTTPS only; 0 does not tell them."""


class WebSettings(_Section, frozen=True, kw_only=True):
    """The operator's pages."""

    idle_minutes: Annotated[int, msgspec.Meta(ge=1, le=1_440)] = 30
    """Whoever does nothing for so long has to log in again."""
    session_hours: Annotated[int, msgspec.Meta(ge=1, le=168)] = 12
    """Whoever logged in so long ago has to log in again, whatever they do."""
    logins_per_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    """Attempts to log in from one client address, and to one account; as many may come at once."""


class FormSettings(_Section, frozen=True, kw_only=True):
    """The form with which strangers may apply in a browser."""

    valid_days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 7
    """How long the one-time token of a filled-in form can be used."""
    forms_per_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    """Requests of the form from one client address; as many may come at once."""


class AdmissionBrokerSettings(_Section, frozen=True, kw_only=True):
    """Where the broker is."""

    host: str
    port: Port = 8883
    public_host: Text | None = None
    """What members are told; `host` if not given."""
    public_port: Port | None = None
    """What members are told; `port` if not given."""


class DatabaseSettings(_Section, frozen=True, kw_only=True):
    """Admission's PostgreSQL database and the role that works in it."""

    host: str
    """Name, address, or directory of a Unix socket (then it starts with a slash)."""
    port: Port = 5432
    name: str
    user: str
    password_file: Path


class DatabaseOwnerSettings(_Section, frozen=True, kw_only=True):
    """The role that owns the tables; only `migrate` uses it."""

    user: str
    password_file: Path


class ChainSettings(_Section, frozen=True, kw_only=True):
    """How membership transactions are followed."""

    confirm_depth: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 6
    """Blocks after which a transaction that expired and is in none of them is signed anew."""
    publish_interval_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 3_000
    """How often unsettled transactions are published and asked for."""


class PersonalDataSettings(_Section, frozen=True, kw_only=True):
    """What becomes of data about people and organisations."""

    rejected_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 90
    """So long after its rejection an application's personal data is deleted."""


Https = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?\Z", max_length=500)]
Language = Literal["ko", "en"]


class GrafanaDataSettings(_Section, frozen=True, kw_only=True):
    """How Grafana reaches the operator's ledger database; where nothing is given, as admission does."""

    host: str | None = None
    port: Port | None = None
    sslmode: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    """disable only where nobody else is on the way: the readers' passwords are SCRAM, but their rows are plain then."""
    root_certificate: str | None = None
    """Path of the CA's certificate where Grafana runs."""


class GrafanaAlertSettings(_Section, frozen=True, kw_only=True):
    """Whom Grafana tells of alerts: addresses, a webhook, or both."""

    email: Annotated[list[Text], msgspec.Meta(max_length=20)] = []
    """Addresses; Grafana sends with the SMTP server of its own settings."""
    webhook: Https | None = None
    webhook_token_file: Path | None = None
    """Sent as `Authorization: Bearer`; mode 0600."""


class GrafanaSettings(_Section, frozen=True, kw_only=True):
    """The Grafana in which members see their output; without this section nobody gets access."""

    url: Https
    """How admission reaches it."""
    public_url: Https | None = None
    """What members are told; `url` if not given."""
    ca_file: Path | None = None
    """CA that signed its certificate (PEM); the system's if not given."""
    admin_user: Text = "admin"
    admin_password_file: Path
    """Of the server admin: only that account may make organisations and users."""
    timeout_s: Annotated[float, msgspec.Meta(ge=0.5, le=60)] = 5.0
    dashboards: Path
    """Directory with the members' dashboards (JSON)."""
    operator_dashboards: Path | None = None
    alert_rules: Path | None = None
    """Directory with groups of alert rules (JSON)."""
    language: Language = "ko"
    """Until a member chose one with its link."""
    link_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 72
    """How long the one-time link for a password can be used."""
    passwords_per_minute: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    """Uses of links from one client address."""
    readers: DatabaseSettings
    """The operator's ledger database, and the role that opens and closes readers there."""
    data_source: GrafanaDataSettings = GrafanaDataSettings()
    alerts: GrafanaAlertSettings = GrafanaAlertSettings()


class AdmissionSettings(_Section, frozen=True, kw_only=True):
    """What admission needs to know."""

    ca_passphrase_file: Path
    """Under this passphrase the keys of CA and authority are encrypted; 16 characters or more, mode 0600."""
    consortium: ConsortiumSettings
    genesis: Parameters = Parameters()
    """The consortium's shared numbers; can not be changed after `init`."""
    paths: PathSettings
    http: HttpSettings
    broker: AdmissionBrokerSettings
    database: DatabaseSettings
    database_owner: DatabaseOwnerSettings | None = None
    web: WebSettings = WebSettings()
    chain: ChainSettings = ChainSettings()
    forms: FormSettings = FormSettings()
    personal_data: PersonalDataSettings = PersonalDataSettings()
    grafana: GrafanaSettings | None = None
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()


def load_admission_settings(path: Path) -> AdmissionSettings:
    """Read and check the settings file.

    Raises:
        SettingsError: naming file, key and what to do.
    """
    settings = load_settings(path, AdmissionSettings)
    try:
        check_member_id(settings.consortium.operator_member)
    except MinervasError as error:
        raise SettingsError(
            error.message, file=path, key="consortium.operator_member", advice="name the operator's member"
        ) from error
    _check_time_zone(path, settings.consortium.time_zone)
    for name in settings.http.names:
        if not is_server_name(name):
            raise SettingsError(
                f"{name!r} is neither a DNS name nor an IP address", file=path, key="http.names", advice="correct it"
            )
    if (settings.http.certificate_file is None) != (settings.http.key_file is None):
        raise SettingsError(
            "certificate_file and key_file belong together",
            file=path, key="http.certificate_file", advice="give both, or neither",
        )  # fmt: skip
    if settings.grafana is not None:
        _check_grafana(path, settings.grafana)
    return settings


def _check_grafana(path: Path, grafana: GrafanaSettings) -> None:
    """Passwords go there: in the clear only within this machine."""
    parts = urlsplit(grafana.url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise SettingsError(
            "the password of Grafana's admin would go over the network in the clear",
            file=path, key="grafana.url", advice="give Grafana a certificate (minervas-admission sign-server)",
        )  # fmt: skip
    if grafana.alerts.webhook_token_file is not None and grafana.alerts.webhook is None:
        raise SettingsError(
            "a token without a webhook", file=path, key="grafana.alerts.webhook_token_file", advice="give both"
        )


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_server_name(name: str) -> bool:
    """Whether a certificate can name this server: a DNS name in lower case or an IP address."""
    return _is_address(name) or (len(name) <= 253 and _DNS_NAME.match(name) is not None)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check_time_zone(path: Path, name: str) -> None:
    """Every member's bills need the zone to exist."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(
            f"there is no time zone {name!r}", file=path, key="consortium.time_zone", advice="use an IANA name"
        ) from error
