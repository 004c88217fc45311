"""init, sign-server, migrate, check-config: what is done on admission's host before the service runs."""

from __future__ import annotations

from pathlib import Path

from minervas_admission.authority import load_consortium
from minervas_admission.bootstrap import initialise
from minervas_admission.certificate_request import request_public_key
from minervas_admission.commands.output import say, when
from minervas_admission.data_directory import DataDirectory
from minervas_admission.issued_journal import remember
from minervas_admission.sealed_keys import load_passphrase
from minervas_admission.server_certificate import server_files
from minervas_admission.server_renewal import BROKER, ServerRequest, sign_broker
from minervas_admission.settings import AdmissionSettings, DatabaseOwnerSettings, DatabaseSettings
from minervas_admission.store.migrate import migrate
from minervas_core.errors import Code, LocalFault
from minervas_runtime.clock import SystemClock
from minervas_runtime.database_logins import hand_in_logins
from minervas_runtime.key_files import PUBLIC_MODE, read_secret, write_atomic
from minervas_runtime.settings import SettingsError


def run_init(settings: AdmissionSettings) -> None:
    """Make the consortium, as far as it is not made.

    Raises:
        LocalFault: see `initialise`.
    """
    made = initialise(settings, SystemClock())
    for name in made:
        say(f"made {name}")
    consortium = load_consortium(settings)
    if not made:
        say("Everything is there already.")
    say(f"consortium      {consortium.genesis.body.name}")
    say(f"network         {consortium.network}")
    say(f"genesis hash    {consortium.genesis.hash}")
    say(f"CA fingerprint  {consortium.authority.fingerprint}")


def run_logins(settings: AdmissionSettings, config: Path, directory: Path) -> None:
    """Make the passwords of the database's roles, and hand in their verifiers.

    Raises:
        SettingsError: without a section [database_owner].
        LocalFault: see `hand_in_logins`.
    """
    if settings.database_owner is None:
        raise SettingsError(
            "this setting is missing", file=config, key="database_owner", advice="add it: it owns the tables"
        )
    logins: list[DatabaseSettings | DatabaseOwnerSettings] = [settings.database, settings.database_owner]
    if settings.grafana is not None:
        logins.append(settings.grafana.readers)
    for role in hand_in_logins([(login.user, login.password_file) for login in logins], directory):
        say(f"{role}: the password's verifier is in {directory}")


def run_migrate(settings: AdmissionSettings) -> None:
    """Bring the database up to date.

    Raises:
        LocalFault, TransientFault: see `migrate`.
    """
    for name in (applied := migrate(settings)):
        say(f"applied {name}")
    if not applied:
        say("The database is up to date.")


def run_sign_server(
    settings: AdmissionSettings, *, request: Path, name: str, server_names: list[str], days: int, out: Path
) -> None:
    """Sign the certificate of the broker or another server of the consortium. Its key never comes here.

    The broker's is renewed by the service from then on.

    Raises:
        LocalFault: ``bad_settings`` if the request can not be read; see `CertificateAuthority.issue_server`.
        PeerFault: if the request is malformed or its key too weak.
    """
    try:
        pem = request.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalFault(
            Code.BAD_SETTINGS, "The certificate request can not be read", file=str(request), reason=str(error)
        ) from error
    authority, data, now_ms = (
        load_consortium(settings).authority,
        DataDirectory(settings.paths.data),
        SystemClock().now_ms(),
    )
    if name == BROKER:
        wanted = ServerRequest(csr=pem, names=server_names, days=days)
        certificate = sign_broker(data, authority, settings.paths.broker_export, wanted, now_ms)
    else:
        key = request_public_key(pem, service=name)
        certificate = authority.issue_server(name, key, server_names, now_ms, days=days)
        remember(data, certificate)
    write_atomic(out, certificate.pem.encode(), mode=PUBLIC_MODE)
    say(f"signed {name} for {', '.join(server_names)} until {when(certificate.not_after_ms)}: {out}")


def run_check_config(settings: AdmissionSettings, config: Path) -> None:
    """Check what the settings refer to; the settings themselves were checked when they were read.

    Raises:
        LocalFault: ``bad_key_file`` if a secret is missing, open to others or too short, or the HTTPS certificate that
            the operator brings can not be used.
    """
    load_passphrase(settings.ca_passphrase_file)
    read_secret(settings.database.password_file)
    if settings.database_owner is not None:
        read_secret(settings.database_owner.password_file)
    if settings.http.certificate_file is not None:
        server_files(settings, SystemClock().now_ms())
    say(f"{config}: settings are good")
