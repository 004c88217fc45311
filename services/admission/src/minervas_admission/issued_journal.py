"""Certificates that are signed while no database is at hand (`init`, `sign-server`): kept as files until recorded."""

from __future__ import annotations

from cryptography import x509

from minervas_admission.ca import CLIENT, SERVER, IssuedCertificate, describe_certificate
from minervas_admission.data_directory import DataDirectory
from minervas_admission.store.certificates import record_certificate
from minervas_admission.store.database import Database
from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import write_atomic


def remember(data: DataDirectory, certificate: IssuedCertificate) -> None:
    """Keep a certificate until the service records it; call this before the certificate is handed out.

    Raises:
        LocalFault: ``bad_key_file`` if the directory can not be written.
    """
    write_atomic(data.issued / f"{certificate.serial}.{certificate.purpose}.crt", certificate.pem.encode())


async def record_remembered(data: DataDirectory, database: Database) -> int:
    """Record in the database what was remembered; returns how many certificates were new to it.

    Raises:
        LocalFault: ``bad_key_file`` if one of the files is damaged.
        TransientFault: ``database_away``.
    """
    files = sorted(data.issued.glob("*.crt")) if data.issued.is_dir() else []
    certificates: list[IssuedCertificate] = []
    for file in files:
        purpose = file.suffixes[0].lstrip(".") if len(file.suffixes) == 2 else ""
        try:
            if purpose not in (CLIENT, SERVER):
                raise ValueError("the file's name says neither client nor server")
            certificates.append(describe_certificate(x509.load_pem_x509_certificate(file.read_bytes()), purpose))
        except ValueError as error:
            raise LocalFault(
                Code.BAD_KEY_FILE, "A remembered certificate is damaged", file=str(file), reason=str(error)
            ) from error
    async with database.transaction() as connection:
        new = [await record_certificate(connection, certificate) for certificate in certificates]
    for file in files:
        file.unlink()
    return sum(new)
