"""The HTTPS server with a certificate that the operator brings: used, replaced while it runs, and checked at start."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_admission import https_server
from minervas_admission.commands.host import run_check_config
from minervas_admission.server_certificate import check_brought
from minervas_admission.settings import load_admission_settings
from minervas_core.errors import Code, LocalFault
from minervas_devnet.ports import LOOPBACK
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.clock import SystemClock
from minervas_runtime.settings import SettingsError
from tests.support.admission import AdmissionHome
from tests.support.pki import Authority, write_key
from tests.support.wait import wait_until_async

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])


def bring(authority: Authority, directory: Path) -> bytes:
    """Put a certificate of another authority, and its key, into a directory; returns the certificate."""
    directory.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, hashes.SHA256())
    pem = authority.sign_server(request.public_bytes(serialization.Encoding.PEM))
    (directory / "new.crt").write_bytes(pem)
    write_key(directory / "new.key", key)
    (directory / "new.key").replace(directory / "own.key")
    (directory / "new.crt").replace(directory / "own.crt")
    return pem


async def served(home: AdmissionHome) -> bytes:
    """The certificate that a client sees."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(LOOPBACK, home.http_port, ssl=context)
    seen = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(seen).public_bytes(serialization.Encoding.PEM)


async def test_brought_certificate_is_served_and_replaced_while_running(
    work_dir: Path, node_database: NodeDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(https_server, "WATCH_S", 0.02)
    authority, files = Authority(work_dir / "other"), work_dir / "brought"
    first = bring(authority, files)
    http = {"certificate_file": str(files / "own.crt"), "key_file": str(files / "own.key")}
    home = AdmissionHome(work_dir, node_database, http=http)
    home.https_ca = authority.ca_file
    async with home.running():
        assert await served(home) == first
        (files / "own.crt").write_text("not a certificate")
        await wait_until_async(lambda: "https_certificate_kept" in caplog.messages)
        assert await served(home) == first
        second = bring(authority, files)

        async def is_second() -> bool:
            return await served(home) == second

        await wait_until_async(is_second)


def check(files: Path) -> None:
    """Check what was brought, now."""
    check_brought(files / "own.crt", files / "own.key", SystemClock().now_ms())


def test_brought_certificate_that_can_not_be_used_is_refused_with_the_reason(work_dir: Path) -> None:
    authority, files, other = Authority(work_dir / "ca"), work_dir / "brought", work_dir / "another"
    bring(authority, files)
    bring(authority, other)
    check(files)
    key = ec.generate_private_key(ec.SECP256R1())
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    year = dt.timedelta(days=365)
    late_ms = SystemClock().now_ms() + year // dt.timedelta(milliseconds=1)
    with pytest.raises(LocalFault, match="not valid now"):
        check_brought(files / "own.crt", files / "own.key", late_ms)
    for name, content, words in (
        ("own.crt", b"nothing", "is not PEM"),
        ("own.key", b"nothing", "is not a private key in PEM"),
        ("own.key", encrypted, "is encrypted"),
        ("own.key", (other / "own.key").read_bytes(), "is for another key"),
        ("own.crt", None, "can not be read"),
        ("own.key", None, "cannot be read"),
    ):
        kept = (files / name).read_bytes()
        if content is None:
            (files / name).unlink()
        else:
            (files / name).write_bytes(content)
        with pytest.raises(LocalFault, match=words) as refused:
            check(files)
        assert refused.value.code == Code.BAD_KEY_FILE
        (files / name).touch(mode=0o600)
        (files / name).write_bytes(kept)
    (files / "own.key").chmod(0o644)
    with pytest.raises(LocalFault, match="open to others"):
        check(files)


def test_certificate_without_key_is_refused_in_the_settings(admission_home: AdmissionHome) -> None:
    config = admission_home.config
    text = config.read_text("utf-8")
    config.write_text(text.replace("[http]", '[http]\ncertificate_file = "own.crt"'), "utf-8")
    with pytest.raises(SettingsError, match="belong together"):
        load_admission_settings(config)
    config.write_text(text.replace("[http]", '[http]\ncertificate_file = "a.crt"\nkey_file = "a.key"'), "utf-8")
    with pytest.raises(LocalFault, match="certificate can not be read"):
        run_check_config(load_admission_settings(config), config)
