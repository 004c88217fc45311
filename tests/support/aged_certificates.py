"""Certificates that were issued long ago, by the real CA for the real keys; the others are forgotten.

So nobody's clock has to be shifted: the node and admission find what they would find after so many days.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psycopg
from cryptography import x509

from minervas_admission.authority import load_consortium
from minervas_admission.ca import CLIENT, IssuedCertificate
from minervas_admission.settings import load_admission_settings
from minervas_devnet.consortium import Consortium
from minervas_devnet.node import Node
from minervas_runtime.clock import SystemClock
from minervas_runtime.key_files import write_atomic

DAY_MS = 86_400_000


def age_certificates(consortium: Consortium, node: Node, days: float) -> dict[str, str]:
    """Replace all certificates of a node by such as were issued so many days ago; serials by service."""
    settings = load_admission_settings(consortium.admission.settings_file)
    authority = load_consortium(settings).authority
    issued_ms = SystemClock().now_ms() - round(days * DAY_MS)
    certificates: dict[Path, IssuedCertificate] = {}
    for file in sorted((node.directory / "issued" / "certs").glob("*.crt")):
        key = x509.load_pem_x509_certificate(file.read_bytes()).public_key()
        certificates[file] = authority.issue_client(f"{node.member}.{file.stem}", key, issued_ms)
    owner, database = settings.database_owner, settings.database
    assert owner is not None
    with psycopg.connect(
        host=database.host, port=database.port, dbname=database.name, user=owner.user,
        password=owner.password_file.read_text().strip(),
    ) as connection:  # fmt: skip
        _exchange(connection, node.member, certificates.values())
    for file, certificate in certificates.items():
        write_atomic(file, certificate.pem.encode(), mode=0o644)
    return {file.stem: certificate.serial for file, certificate in certificates.items()}


def _exchange(
    connection: psycopg.Connection[tuple[object, ...]], member: str, certificates: Iterable[IssuedCertificate]
) -> None:
    connection.execute(
        "DELETE FROM renewed_certificates USING renewals r WHERE r.id = renewal AND member = %s", (member,)
    )
    connection.execute("DELETE FROM renewals WHERE member = %s", (member,))
    connection.execute("DELETE FROM certificates WHERE member = %s", (member,))
    for each in certificates:
        connection.execute(
            """
            INSERT INTO certificates (serial, principal, member, purpose, key_id, not_before_ms, not_after_ms, pem)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (each.serial, each.principal, member, CLIENT, each.key_id, each.not_before_ms, each.not_after_ms, each.pem),
        )


def serials(node: Node) -> dict[str, str]:
    """Serials of what is installed, by service."""
    files = (node.directory / "issued" / "certs").glob("*.crt")
    return {file.stem: f"{x509.load_pem_x509_certificate(file.read_bytes()).serial_number:x}" for file in files}
