"""`init`: makes a consortium once, and continues where it was interrupted."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from minervas_admission.authority import load_consortium
from minervas_admission.bootstrap import initialise
from minervas_admission.ca import CertificateAuthority
from minervas_admission.crl import RevokedCertificate
from minervas_admission.data_directory import DataDirectory
from minervas_admission.own_certificates import ensure_own_certificates
from minervas_admission.revocation_list import issue_lists
from minervas_admission.settings import AdmissionSettings, load_admission_settings
from minervas_core.errors import Code, LocalFault
from minervas_runtime.clock import ManualClock
from minervas_runtime.key_files import write_atomic

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000

SETTINGS = """
ca_passphrase_file = "ca.passphrase"
[consortium]
name = "Test consortium"
operator_member = "operator"
[genesis]
block_interval_ms = 2000
[paths]
data = "data"
broker_export = "export"
[http]
names = ["localhost", "127.0.0.1"]
[broker]
host = "127.0.0.1"
[database]
host = "127.0.0.1"
name = "none"
user = "nobody"
password_file = "none"
"""


@pytest.fixture
def settings(tmp_path: Path) -> AdmissionSettings:
    (tmp_path / "ca.passphrase").touch(mode=0o600)
    (tmp_path / "ca.passphrase").write_text(secrets.token_urlsafe(24) + "\n")
    (tmp_path / "admission.toml").write_text(SETTINGS)
    return load_admission_settings(tmp_path / "admission.toml")


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def test_init_makes_everything_and_changes_nothing_the_second_time(settings: AdmissionSettings, tmp_path: Path) -> None:
    made = initialise(settings, ManualClock(NOW_MS))
    assert made == [
        *("CA key", "CA certificate", "authority key", "genesis"),
        *("own client certificate", "own server certificate", "first revocation list"),
    ]
    before = contents(tmp_path)
    assert initialise(settings, ManualClock(NOW_MS + DAY_MS)) == []
    assert contents(tmp_path) == before


def test_private_files_are_private(settings: AdmissionSettings) -> None:
    initialise(settings, ManualClock(NOW_MS))
    data = DataDirectory(settings.paths.data)
    for file in (data.ca_key, data.authority_key, data.token_key, data.bus_key, data.https_key):
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert data.root.stat().st_mode & 0o777 == 0o700


def test_the_keys_of_ca_and_authority_are_encrypted_on_disk(settings: AdmissionSettings) -> None:
    initialise(settings, ManualClock(NOW_MS))
    data = DataDirectory(settings.paths.data)
    for file in (data.ca_key, data.authority_key):
        assert file.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        with pytest.raises(TypeError):
            serialization.load_pem_private_key(file.read_bytes(), password=None)
    settings.ca_passphrase_file.write_text("another passphrase altogether")
    with pytest.raises(LocalFault) as refusal:
        load_consortium(settings)
    assert refusal.value.code == Code.BAD_KEY_FILE


@pytest.mark.parametrize(("text", "mode"), [("short", 0o600), ("", 0o600), ("a long enough passphrase", 0o644)])
def test_a_weak_or_open_passphrase_is_refused(settings: AdmissionSettings, text: str, mode: int) -> None:
    settings.ca_passphrase_file.write_text(text)
    settings.ca_passphrase_file.chmod(mode)
    with pytest.raises(LocalFault) as refusal:
        initialise(settings, ManualClock(NOW_MS))
    assert refusal.value.code == Code.BAD_KEY_FILE
    assert not settings.paths.data.exists()


class Interrupted(Exception):
    """Stands for a crash."""


@pytest.mark.parametrize("survives", range(12))
def test_an_interrupted_init_is_continued(
    settings: AdmissionSettings, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    """Interrupt at every file that is written; the second run makes a whole that fits together."""
    modules = ("bootstrap", "sealed_keys", "own_certificates", "issued_journal", "revocation_list", "crl")
    original = write_atomic
    written: list[Path] = []

    def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
        if len(written) == survives:
            raise Interrupted
        written.append(path)
        original(path, data, mode=mode)

    with monkeypatch.context() as patch:
        for module in modules:
            patch.setattr(f"minervas_admission.{module}.write_atomic", write)
        with pytest.raises(Interrupted):
            initialise(settings, ManualClock(NOW_MS))
    initialise(settings, ManualClock(NOW_MS + 60_000))
    consortium = load_consortium(settings)
    crl = x509.load_pem_x509_crl((settings.paths.broker_export / "ca.crl").read_bytes())
    assert crl.is_signature_valid(consortium.authority.key.public_key())
    assert (settings.paths.broker_export / "ca.crl.sha256").exists()
    for file in (
        DataDirectory(settings.paths.data).bus_certificate,
        DataDirectory(settings.paths.data).https_certificate,
    ):
        x509.load_pem_x509_certificate(file.read_bytes()).verify_directly_issued_by(consortium.authority.certificate)


def test_a_list_with_revocations_is_never_replaced_by_an_empty_one(settings: AdmissionSettings) -> None:
    initialise(settings, ManualClock(NOW_MS))
    data = DataDirectory(settings.paths.data)
    cas = load_consortium(settings).cas
    revoked = {cas.signing.id: [RevokedCertificate("abc", NOW_MS)]}
    issue_lists(cas, data, settings.paths.broker_export, revoked, NOW_MS)
    for file in settings.paths.broker_export.iterdir():
        file.unlink()
    initialise(settings, ManualClock(NOW_MS + 1))
    crl = x509.load_pem_x509_crl((settings.paths.broker_export / "ca.crl").read_bytes())
    assert [entry.serial_number for entry in crl] == [0xABC]


def test_a_lost_ca_key_is_not_replaced(settings: AdmissionSettings) -> None:
    initialise(settings, ManualClock(NOW_MS))
    DataDirectory(settings.paths.data).ca_key.unlink()
    with pytest.raises(LocalFault) as refusal:
        initialise(settings, ManualClock(NOW_MS))
    assert refusal.value.code == Code.BAD_KEY_FILE


def test_settings_that_contradict_the_genesis_are_refused(settings: AdmissionSettings, tmp_path: Path) -> None:
    initialise(settings, ManualClock(NOW_MS))
    (tmp_path / "admission.toml").write_text(SETTINGS.replace("2000", "3000"))
    changed = load_admission_settings(tmp_path / "admission.toml")
    for use in (lambda: initialise(changed, ManualClock(NOW_MS)), lambda: load_consortium(changed)):
        with pytest.raises(LocalFault) as refusal:
            use()
        assert refusal.value.code == Code.BAD_SETTINGS
        assert refusal.value.values["key"] == "genesis.block_interval_ms"


@pytest.mark.parametrize(
    ("later_ms", "names", "signed"),
    [
        (19 * DAY_MS, ["localhost", "127.0.0.1"], []),
        (21 * DAY_MS, ["localhost", "127.0.0.1"], ["client", "server"]),
        (0, ["localhost"], ["server"]),
    ],
)
def test_own_certificates_are_renewed_after_twenty_days_or_for_new_names(
    settings: AdmissionSettings, later_ms: int, names: list[str], signed: list[str]
) -> None:
    initialise(settings, ManualClock(NOW_MS))
    data = DataDirectory(settings.paths.data)
    authority: CertificateAuthority = load_consortium(settings).authority
    assert ensure_own_certificates(data, authority, names, NOW_MS + later_ms) == signed
    assert ensure_own_certificates(data, authority, names, NOW_MS + later_ms) == []
