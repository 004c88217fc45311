"""`init`: makes a consortium. Every part is made only if it is missing, so an interrupted run is continued."""

from __future__ import annotations

import secrets

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_admission.authority import check_genesis_settings, load_consortium
from minervas_admission.ca import CertificateAuthority, create_ca_certificate
from minervas_admission.ca_set import CaSet
from minervas_admission.crl import build_list, export_ca, export_list
from minervas_admission.data_directory import DataDirectory
from minervas_admission.own_certificates import ensure_own_certificates
from minervas_admission.restored import check_caught_up
from minervas_admission.sealed_keys import (
    create_authority_key,
    create_ca_key,
    load_authority_key,
    load_ca_key,
    load_passphrase,
)
from minervas_admission.settings import AdmissionSettings
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import GenesisBody, load_genesis, sign_genesis
from minervas_runtime.clock import Clock
from minervas_runtime.key_files import DIRECTORY_MODE, PUBLIC_MODE, load_or_create_seed, write_atomic


def initialise(settings: AdmissionSettings, clock: Clock) -> list[str]:
    """Make CA, authority key, genesis, own certificates and a first, empty revocation list, as far as missing.

    Returns:
        What was made, for people.

    Raises:
        LocalFault: if something is there but unusable, or the settings contradict an existing genesis.
    """
    data = DataDirectory(settings.paths.data)
    check_caught_up(data)
    passphrase = load_passphrase(settings.ca_passphrase_file)
    _make_private_directory(data)
    made = _make_ca(settings, data, passphrase, clock)
    made += _make_genesis(settings, data, passphrase, clock)
    load_or_create_seed(data.token_key)
    cas = load_consortium(settings).cas
    signed = ensure_own_certificates(data, cas.signing, settings.http.names, clock.now_ms())
    made += [f"own {purpose} certificate" for purpose in signed]
    made += _make_list(settings, data, cas, clock)
    return made


def _make_private_directory(data: DataDirectory) -> None:
    """Make the private directory, closed to others whatever the umask; an existing one keeps its mode."""
    try:
        if not data.root.is_dir():
            data.root.mkdir(parents=True)
            data.root.chmod(DIRECTORY_MODE)
    except OSError as error:
        raise LocalFault(
            Code.BAD_KEY_FILE, "The data directory can not be made", directory=str(data.root), reason=str(error)
        ) from error


def _make_ca(settings: AdmissionSettings, data: DataDirectory, passphrase: bytes, clock: Clock) -> list[str]:
    made: list[str] = []
    if data.ca_state.exists():  # there was a rollover, so there are others, which `load_consortium` checks
        return made
    if not data.ca_key.exists():
        if data.ca_certificate.exists():
            raise LocalFault(
                Code.BAD_KEY_FILE, "There is a CA certificate but its key is gone; restore it", file=str(data.ca_key)
            )
        create_ca_key(data.ca_key, passphrase)
        made.append("CA key")
    if not data.ca_certificate.exists():
        key = load_ca_key(data.ca_key, passphrase)
        certificate = create_ca_certificate(key, settings.consortium.name, clock.now_ms())
        write_atomic(data.ca_certificate, certificate.public_bytes(Encoding.PEM), mode=PUBLIC_MODE)
        made.append("CA certificate")
    return made


def _make_genesis(settings: AdmissionSettings, data: DataDirectory, passphrase: bytes, clock: Clock) -> list[str]:
    if data.genesis.exists():
        check_genesis_settings(settings, load_genesis(data.genesis.read_bytes()))
        return []
    made: list[str] = []
    if not data.authority_key.exists():
        create_authority_key(data.authority_key, passphrase)
        made.append("authority key")
    signer = load_authority_key(data.authority_key, passphrase)
    body = GenesisBody(
        format=1,
        network=secrets.token_hex(16),
        name=settings.consortium.name,
        authority=signer.public,
        currency=settings.consortium.currency,
        time_zone=settings.consortium.time_zone,
        created_ms=clock.now_ms(),
        parameters=settings.genesis,
    )
    write_atomic(data.genesis, sign_genesis(body, signer).raw, mode=PUBLIC_MODE)
    return [*made, "genesis"]


def _make_list(settings: AdmissionSettings, data: DataDirectory, cas: CaSet, clock: Clock) -> list[str]:
    """Give the broker a list to start with; the service issues the next ones, with whoever was revoked.

    An existing list is never replaced by an empty one: that would let revoked members in again.
    """
    made: list[str] = []
    lists: list[bytes] = []
    for name, authority in cas.trusted.items():
        stored = data.ca(name).revocation_list
        if not stored.exists():
            now_ms = clock.now_ms()
            write_atomic(stored, build_list(authority, [], now_ms, now_ms))
            made = ["first revocation list"]
        lists.append(stored.read_bytes())
        if not _is_of(lists[-1], authority):
            raise LocalFault(Code.BAD_KEY_FILE, "The stored revocation list is of another CA", file=str(stored))
    export_ca(settings.paths.broker_export, cas.pem.encode())
    export_list(settings.paths.broker_export, b"".join(lists))
    return made


def _is_of(pem: bytes, authority: CertificateAuthority) -> bool:
    return x509.load_pem_x509_crl(pem).is_signature_valid(authority.certificate.public_key())  # type: ignore[arg-type] # EC
