"""Somebody in between: takes TLS under another CA and passes everything on to the real server."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.pki import Authority, write_key


@contextmanager
def intercepting(directory: Path, port: int) -> Iterator[str]:
    """Run in front of a server on this machine; yields the URL."""
    authority = Authority(directory / "company", name="Company inspection CA")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    (directory / "company.crt").write_bytes(
        authority.sign_server(csr.public_bytes(serialization.Encoding.PEM), host="localhost", address="127.0.0.1")
    )
    write_key(directory / "company.key", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "company.crt", directory / "company.key")
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(listener, context, port), daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _serve(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    upstream = ssl.create_default_context()
    upstream.check_hostname = False
    upstream.verify_mode = ssl.CERT_NONE
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        with suppress(OSError):  # a client that does not trust us breaks off
            _pass_on(context.wrap_socket(plain, server_side=True), upstream, port)


def _pass_on(client: ssl.SSLSocket, upstream: ssl.SSLContext, port: int) -> None:
    """One request and its answer."""
    with client, upstream.wrap_socket(socket.create_connection(("127.0.0.1", port))) as server:
        server.sendall(client.recv(65_536))
        server.settimeout(2)
        while part := server.recv(65_536):
            client.sendall(part)
