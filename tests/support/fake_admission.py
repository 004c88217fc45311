"""A stand-in for admission's HTTPS API: real TLS under a throw-away CA, and every answer can be made wrong."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from minervas_core.encoding import Record, encode
from minervas_core.enrolment import (
    Application,
    ApplicationReceipt,
    ApplicationState,
    BrokerAddress,
    ConsortiumInfo,
    Grant,
    ServiceEnrolment,
    application_fingerprint,
    check_application,
)
from minervas_core.transactions import Admit
from tests.support.peer import NOW_MS, Consortium
from tests.support.pki import CLIENT_AUTH, DAY, HOUR, Authority, write_key

Answer = tuple[int, bytes]


class FakeAdmission:
    """What the server knows, and how it answers. Change the attributes to make it answer otherwise."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory / "ca")
        self.directory = directory
        self.consortium = Consortium()
        self.served_ca = self.authority.ca_pem
        self.ca_bundle = b""
        self.time_ms = NOW_MS
        self.state = "pending"
        self.reason = ""
        self.refusal: tuple[int, str, str] | None = None
        self.drop_answer_to: set[str] = set()
        self.change_grant: Callable[[Grant], Grant] = lambda grant: grant
        self.change_receipt: Callable[[ApplicationReceipt], ApplicationReceipt] = lambda receipt: receipt
        self.on_request: Callable[[str], None] = lambda _path: None
        self.requests: list[str] = []
        self.applications: dict[str, bytes] = {}
        self.url = ""

    @property
    def fingerprint(self) -> str:
        """What the operator tells applicants."""
        der = self.authority.certificate.public_bytes(serialization.Encoding.DER)
        return "sha256:" + hashlib.sha256(der).hexdigest()

    def certify(self, enrolment: ServiceEnrolment, principal: str, **changes: Any) -> str:
        """A client certificate for the key of a request."""
        key = changes.get("key") or x509.load_pem_x509_csr(enrolment.claim.csr.encode()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        authority: Authority = changes.get("authority") or self.authority
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, principal)])
        usage = x509.ExtendedKeyUsage(changes.get("usages", CLIENT_AUTH))
        builder = authority._builder(subject, key, -HOUR, DAY).add_extension(usage, critical=False)
        pem = builder.sign(authority._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return pem.decode()

    def grant(self, application: Application) -> Grant:
        """What an approved applicant gets."""
        member = application.member
        admit = self.consortium.sign(Admit(member=member, keys=check_application(application)))
        certificates: dict[str, str] = {
            item.claim.service: self.certify(item, f"{member}.{item.claim.service}") for item in application.services
        }
        return self.change_grant(
            Grant(
                ca_pem=self.authority.ca_pem.decode(),
                certificates=certificates,
                genesis=msgspec.Raw(self.consortium.genesis.raw),
                membership=[msgspec.Raw(admit.raw)],
                broker=BrokerAddress(host="broker.example", port=8883),
            )
        )

    def answer(self, method: str, path: str, body: bytes, token: str) -> Answer:
        """Answer one request."""
        if path == "/ca.crt":
            return 200, self.served_ca
        if path == "/v1/ca-bundle":
            return 200, self.ca_bundle
        if path == "/v1/consortium":
            genesis = self.consortium.genesis
            return 200, encode(
                ConsortiumInfo(
                    name=genesis.body.name,
                    network=genesis.network,
                    genesis_hash=genesis.hash,
                    time_ms=self.time_ms,
                    protocol_version=1,
                )
            )
        if method == "POST" and path == "/v1/applications":
            return self._apply(body)
        return self._state(path.rpartition("/")[2], token)

    def _apply(self, body: bytes) -> Answer:
        application = msgspec.json.decode(body, type=Application)
        receipt = _receipt(body, application)
        if self.refusal is not None and receipt.application_id not in self.applications:
            status, code, message = self.refusal
            return status, json.dumps({"code": code, "message": message, "values": {}}).encode()
        known = receipt.application_id in self.applications
        self.applications[receipt.application_id] = body
        return (200 if known else 201), encode(self.change_receipt(receipt))

    def _state(self, application_id: str, token: str) -> Answer:
        body = self.applications.get(application_id)
        if body is None or _receipt(body, msgspec.json.decode(body, type=Application)).token != token:
            return 404, b'{"code":"not_found","message":"There is no application with this id and token","values":{}}'
        application = msgspec.json.decode(body, type=Application)
        fields: dict[str, Any] = {
            "application_id": application_id,
            "member": application.member,
            "state": self.state,
            "fingerprint": application_fingerprint(application),
        }
        if self.state == "rejected":
            fields["reason"] = self.reason
        if self.state == "approved":
            fields["grant"] = self.grant(application)
        state: Record = ApplicationState(**fields)
        return 200, encode(state)

    @contextmanager
    def serve(self, *, authority: Authority | None = None, host: str = "localhost") -> Iterator[str]:
        """Serve on a free port; yields the URL. Certificate by another authority or for another host if asked for."""
        files = self._server_files(authority or self.authority, host)
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.url = f"https://localhost:{server.server_address[1]}"
        try:
            yield self.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _server_files(self, authority: Authority, host: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "consortium.admission")])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        csr = request.public_bytes(serialization.Encoding.PEM)
        cert_file, key_file = self.directory / "https.crt", self.directory / "https.key"
        cert_file.write_bytes(authority.sign_server(csr, host=host, address="192.0.2.1"))
        write_key(key_file, key)
        return cert_file, key_file

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        admission = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Stay quiet."""

            def do_GET(self) -> None:
                self._serve("GET")

            def do_POST(self) -> None:
                self._serve("POST")

            def _serve(self, method: str) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                admission.requests.append(f"{method} {self.path}")
                token = self.headers.get("authorization", "").removeprefix("Bearer ")
                status, content = admission.answer(method, self.path, body, token)
                if self.path in admission.drop_answer_to:
                    return
                admission.on_request(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(admission.time_ms / 1000)

        return Handler


def _receipt(body: bytes, application: Application) -> ApplicationReceipt:
    digest = hashlib.sha256(body).hexdigest()
    return ApplicationReceipt(
        application_id=digest[:32],
        token=hashlib.sha256(digest.encode()).hexdigest(),
        fingerprint=application_fingerprint(application),
    )
