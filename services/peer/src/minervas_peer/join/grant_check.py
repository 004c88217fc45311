"""Check what admission granted before anything is installed: it must be for our keys, and by the right authority."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minervas_core.addition import Addition
from minervas_core.enrolment import (
    Application,
    BringsServices,
    ConsortiumInfo,
    Grant,
    check_application,
    declared_meters,
)
from minervas_core.errors import Code, LocalFault, PeerFault
from minervas_core.genesis import Genesis, load_genesis
from minervas_core.identifiers import Principal
from minervas_core.transactions import Membership, RegisterMeter, decode_transaction
from minervas_peer.join.fingerprint import check_ca, read_cas
from minervas_peer.membership_proof import prove_membership


def check_grant(grant: Grant, application: Application, info: ConsortiumInfo, fingerprint: str) -> None:
    """Check a grant.

    Raises:
        PeerFault: ``bad_enrolment`` saying what is wrong with it.
    """
    check_ca(grant.ca_pem.encode(), fingerprint)
    _check_certificates(grant.certificates, application, read_cas(grant.ca_pem.encode()))
    genesis = _genesis(bytes(grant.genesis), info)
    try:
        registered = prove_membership(application.member, [bytes(raw) for raw in grant.membership], genesis)
    except PeerFault as error:
        raise _bad("The granted membership is not signed by the consortium's authority", str(error)) from error
    if registered != check_application(application):
        raise _bad("The granted membership registers other keys than ours", application.member)


def check_addition_grant(grant: Grant, addition: Addition, info: ConsortiumInfo, fingerprint: str) -> None:
    """Check what was granted to gateways that are added.

    Raises:
        PeerFault: ``bad_enrolment`` saying what is wrong with it.
    """
    check_ca(grant.ca_pem.encode(), fingerprint)
    _check_certificates(grant.certificates, addition, read_cas(grant.ca_pem.encode()))
    genesis = _genesis(bytes(grant.genesis), info)
    granted = [bytes(raw) for raw in grant.membership]
    try:
        prove_membership(addition.member, granted, genesis)
    except PeerFault as error:
        raise _bad("The granted membership is not signed by the consortium's authority", str(error)) from error
    bodies = [decode_transaction(raw).body for raw in granted]
    changes = [body.change for body in bodies if isinstance(body, Membership)]
    registered = [each.meter for each in changes if isinstance(each, RegisterMeter)]
    for _, meter in declared_meters(addition):  # its gateway key may have been rotated since
        if meter not in registered:
            raise _bad("A meter was not registered as we declared it", meter.meter)


def _check_certificates(
    certificates: Mapping[str, str], application: BringsServices, authorities: list[x509.Certificate]
) -> None:
    if set(certificates) != {enrolment.claim.service for enrolment in application.services}:
        raise _bad("The certificates are not those that were asked for", ",".join(sorted(certificates)))
    for enrolment in application.services:
        claim = enrolment.claim
        request = x509.load_pem_x509_csr(claim.csr.encode())
        principal = str(Principal(application.member, claim.service))
        check_certificate(certificates[claim.service], request.public_key(), principal, authorities)


def check_certificate(
    pem: str, key: CertificatePublicKeyTypes, principal: str, authorities: list[x509.Certificate]
) -> None:
    """Check that a certificate is one of the consortium's for our key and name.

    Args:
        pem: the certificate.
        key: ours.
        principal: the process that it is for.
        authorities: CAs of which one has to have signed it.

    Raises:
        PeerFault: ``bad_enrolment``.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        _check_issuer(certificate, authorities)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        certified = certificate.public_key()
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise _bad("A certificate is not one of the consortium's CA", f"{principal}: {error}") from error
    names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [principal]:
        raise _bad("A certificate is for another name", f"{','.join(names)} instead of {principal}")
    if _der(certified) != _der(key):
        raise _bad("A certificate is for another key than ours", principal)
    if list(usage) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        raise _bad("A certificate is not a client's", principal)


def _check_issuer(certificate: x509.Certificate, authorities: list[x509.Certificate]) -> None:
    """Raise what `verify_directly_issued_by` raises if none of the CAs signed the certificate."""
    named = [each for each in authorities if each.subject == certificate.issuer]
    certificate.verify_directly_issued_by((named or authorities)[0])


def _genesis(raw: bytes, info: ConsortiumInfo) -> Genesis:
    try:
        genesis = load_genesis(raw)
    except LocalFault as error:
        raise _bad("The genesis is damaged", str(error)) from error
    if (genesis.hash, genesis.network) != (info.genesis_hash, info.network):
        raise _bad("The genesis is not the one of this consortium", genesis.hash)
    return genesis


def _der(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _bad(problem: str, found: str) -> PeerFault:
    return PeerFault(Code.BAD_ENROLMENT, f"{problem}; nothing was installed. Tell the operator", found=found[:300])
