"""What the CA signs, what it refuses to sign, and what its revocation lists say."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from minervas_admission.ca import CertificateAuthority, create_ca_certificate
from minervas_admission.certificate_request import request_public_key
from minervas_admission.crl import RevokedCertificate, build_list, export_ca, export_list, next_number
from minervas_core.errors import Code, LocalFault, MinervasError, PeerFault
from minervas_core.identifiers import CONSORTIUM_SERVICES, NODE_SERVICES

NETWORK = "ab" * 16
NOW_MS = 1_800_000_000_000
NOW = dt.datetime.fromtimestamp(NOW_MS / 1000, dt.UTC)
CA_KEY = ec.generate_private_key(ec.SECP256R1())
CA = CertificateAuthority(CA_KEY, create_ca_certificate(CA_KEY, "Test consortium", NOW_MS), NETWORK)
KEY = ec.generate_private_key(ec.SECP256R1())


def request(key: CertificateIssuerPrivateKeyTypes, *names: str, extensions: tuple[x509.ExtensionType, ...] = ()) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()


def client(principal: str = "alpha.peer") -> x509.Certificate:
    return x509.load_pem_x509_certificate(CA.issue_client(principal, KEY.public_key(), NOW_MS).pem.encode())


def server(*names: str) -> x509.Certificate:
    issued = CA.issue_server("consortium.broker", KEY.public_key(), list(names), NOW_MS)
    return x509.load_pem_x509_certificate(issued.pem.encode())


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


@pytest.mark.parametrize("certificate", [client(), server("localhost", "127.0.0.1")], ids=["client", "server"])
def test_every_certificate_has_the_profile(certificate: x509.Certificate) -> None:
    certificate.verify_directly_issued_by(CA.certificate)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert not basic.value.ca
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not usage.value.crl_sign
    assert not usage.value.key_encipherment
    issuer = CA.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier == issuer.digest
    assert certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert certificate.not_valid_before_utc == NOW - dt.timedelta(minutes=5)
    assert len(certificate.subject.rdns) == 1


def test_client_certificates_serve_clients_only_and_last_thirty_days() -> None:
    certificate = client("alpha.meter-gateway-2")
    assert usages(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.not_valid_after_utc == NOW + dt.timedelta(days=30)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [
        x509.UniformResourceIdentifier(f"urn:minervas:{NETWORK}:member:alpha:service:meter-gateway-2")
    ]


def test_server_certificates_serve_servers_only_under_their_names() -> None:
    certificate = server("broker.example.org", "127.0.0.1", "::1")
    assert usages(certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_the_ca_may_sign_certificates_and_lists_but_no_further_ca() -> None:
    basic = CA.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    usage = CA.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert CA.certificate.not_valid_after_utc - NOW > dt.timedelta(days=3650)


def test_the_only_way_to_sign_takes_a_purpose_and_sets_its_key_usage() -> None:
    """Mosquitto lets a certificate without extended key usage in: nothing else in the service may sign any."""
    source = Path(__file__).parents[2] / "services" / "admission" / "src"
    signers = [
        f"{file.name}: {line.strip()}"
        for file in source.rglob("*.py")
        for line in file.read_text("utf-8").splitlines()
        if "CertificateBuilder(" in line and "RevokedCertificateBuilder" not in line
    ]
    assert sorted(line.partition(":")[0] for line in signers) == ["ca.py", "ca.py"]
    with pytest.raises(KeyError):
        CA._sign("alpha.peer", KEY.public_key(), [], purpose="anything", days=1, now_ms=NOW_MS)


@pytest.mark.parametrize("names", [[], ["*"], ["two words"], ["UPPER.example"], ["a..b"], [""]])
def test_servers_without_a_usable_name_are_not_signed(names: list[str]) -> None:
    with pytest.raises(LocalFault) as refusal:
        CA.issue_server("consortium.broker", KEY.public_key(), names, NOW_MS)
    assert refusal.value.code == Code.BAD_SETTINGS


def test_a_member_never_gets_a_server_certificate() -> None:
    with pytest.raises(LocalFault):
        CA.issue_server("alpha.peer", KEY.public_key(), ["localhost"], NOW_MS)


MEMBERS = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
SERVICES = re.compile("(" + "|".join(NODE_SERVICES) + r")(-[1-9][0-9]{0,2})?")
OWN = re.compile("(" + "|".join(CONSORTIUM_SERVICES) + r")(-[1-9][0-9]{0,2})?")


def is_principal(name: str) -> bool:
    """The grammar of facts/mqtt.md section 8, written down a second time."""
    member, dot, service = name.partition(".")
    allowed = OWN if member == "consortium" else SERVICES
    return bool(dot and MEMBERS.fullmatch(member) and allowed.fullmatch(service))


NAMES = ("alpha", "consortium", "peer", "miner", "ledger", "meter-gateway", "admission", "admin", "democlient")
SIGNS = (".", "..", "-1", "-0", "-", "#", "+", "/", "$", "A", "é", "1", "\0", " ", "\n", "\u0430")
PIECES = st.sampled_from((*NAMES, *SIGNS))


@given(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=6).map("".join)))
@example("admin")
@example("democlient")
@example("alpha.peer.miner")
@example("alpha.peer\n")
@example("alpha.peer\0")
@example("alp\u0430.peer")
@example("consortium.peer")
@example("alpha.admission")
@example("a" * 33 + ".peer")
@example("#.peer")
@example("alpha/peer")
@example("")
def test_a_certificate_names_a_process_that_can_exist_or_is_not_signed(name: str) -> None:
    if not is_principal(name):
        with pytest.raises(PeerFault) as refusal:
            CA.issue_client(name, KEY.public_key(), NOW_MS)
        assert refusal.value.code == Code.BAD_MEMBER_ID
    else:
        attributes = client(name).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert [attribute.value for attribute in attributes] == [name]


def test_subject_and_extensions_of_a_request_are_ignored() -> None:
    wanted = request(
        KEY,
        "consortium.admission",
        "admin",
        extensions=(
            x509.BasicConstraints(ca=True, path_length=None),
            x509.SubjectAlternativeName([x509.DNSName("broker.example.org")]),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        ),
    )
    key = request_public_key(wanted, service="peer")
    certificate = x509.load_pem_x509_certificate(CA.issue_client("alpha.peer", key, NOW_MS).pem.encode())
    assert certificate.subject.rfc4514_string() == "CN=alpha.peer"
    assert usages(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert not names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate,
        lambda: rsa.generate_private_key(65537, 3072),
    ],
    ids=["P-256", "Ed25519", "RSA 3072"],
)
def test_strong_keys_are_taken(make: Callable[[], CertificateIssuerPrivateKeyTypes]) -> None:
    key = make()
    taken = request_public_key(request(key, "x"), service="peer")
    assert CA.issue_client("alpha.peer", taken, NOW_MS).principal == "alpha.peer"


@pytest.mark.parametrize(
    "make",
    [lambda: ec.generate_private_key(ec.SECP384R1()), lambda: rsa.generate_private_key(65537, 2048)],
    ids=["P-384", "RSA 2048"],
)
def test_other_keys_are_refused(make: Callable[[], CertificateIssuerPrivateKeyTypes]) -> None:
    with pytest.raises(PeerFault) as refusal:
        request_public_key(request(make(), "x"), service="peer")
    assert refusal.value.code == Code.BAD_KEY


def test_a_request_that_was_changed_after_signing_is_refused() -> None:
    der = bytearray(x509.load_pem_x509_csr(request(KEY, "xxxxxxxx").encode()).public_bytes(Encoding.DER))
    position = der.index(b"xxxxxxxx")
    der[position] = ord("y")
    pem = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()
    with pytest.raises(PeerFault) as refusal:
        request_public_key(pem, service="peer")
    assert refusal.value.code == Code.BAD_SIGNATURE


@given(st.text(max_size=200))
@example("-----BEGIN CERTIFICATE REQUEST-----\n")
@example("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")
@example("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
def test_what_is_no_request_is_refused_as_such(text: str) -> None:
    with pytest.raises(MinervasError) as refusal:
        request_public_key(text, service="peer")
    assert refusal.value.code == Code.BAD_ENROLMENT


def test_a_revocation_list_has_what_the_broker_needs() -> None:
    revoked = [RevokedCertificate("ab12", NOW_MS - 1_000), RevokedCertificate("7", NOW_MS)]
    crl = x509.load_pem_x509_crl(build_list(CA, revoked, 42, NOW_MS))
    assert crl.is_signature_valid(CA_KEY.public_key())
    assert crl.issuer == CA.certificate.subject
    assert crl.last_update_utc == NOW - dt.timedelta(minutes=5)
    assert crl.next_update_utc == NOW + dt.timedelta(days=7)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 42
    issuer = CA.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == issuer.digest
    assert sorted(entry.serial_number for entry in crl) == [0x7, 0xAB12]


def test_list_numbers_rise_even_when_the_clock_goes_back() -> None:
    first = next_number(None, NOW_MS)
    second = next_number(build_list(CA, [], first, NOW_MS), NOW_MS - 60_000)
    assert second == first + 1
    assert next_number(build_list(CA, [], second, NOW_MS), NOW_MS + 5_000) == NOW_MS + 5_000


def test_the_exported_digest_is_of_the_exported_list(tmp_path: Path) -> None:
    export = tmp_path / "export"
    export_ca(export, CA.pem.encode())
    for number in (1, 2):
        export_list(export, build_list(CA, [], number, NOW_MS))
        digest = (export / "ca.crl.sha256").read_text().split()
        assert digest == [hashlib.sha256((export / "ca.crl").read_bytes()).hexdigest(), "ca.crl"]
    assert {file.name: file.stat().st_mode & 0o777 for file in export.iterdir()} == {
        "ca.crt": 0o644,
        "ca.crt.sha256": 0o644,
        "ca.crl": 0o644,
        "ca.crl.sha256": 0o644,
    }
    assert export.stat().st_mode & 0o777 == 0o755
