"""What admission answers to a renewal: checked before anything is installed; each file is written whole or not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_core.encoding import encode
from minervas_core.errors import Code, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.renewal import RenewalAnswer
from minervas_peer.join.grant_check import check_certificate
from minervas_peer.membership_proof import prove_membership
from minervas_runtime.key_files import PUBLIC_MODE, write_atomic
from minervas_runtime.tls_identity import certificate_hash

log = logging.getLogger(__name__)


def check_answer(
    answer: RenewalAnswer, member: str, requests: Mapping[str, str], trusted_pem: bytes
) -> list[x509.Certificate]:
    """Check an answer.

    Args:
        answer: what came over the verified connection.
        member: ours.
        requests: certificate requests (PEM) by service, as they were sent.
        trusted_pem: the CA certificates that we trust.

    Returns:
        The CA certificates to trust from now on: ours, and new ones that came with one of ours.

    Raises:
        PeerFault: ``bad_enrolment`` saying what is wrong.
    """
    authorities = _authorities(answer.ca_pem, trusted_pem)
    given = {item.service: item.certificate for item in answer.certificates}
    if given.keys() != requests.keys() or len(given) != len(answer.certificates):
        raise _bad("The certificates are not those that were asked for", ",".join(given))
    for service, pem in given.items():
        key = x509.load_pem_x509_csr(requests[service].encode()).public_key()
        check_certificate(pem, key, str(Principal(member, service)), authorities)
    return authorities


def install_answer(answer: RenewalAnswer, authorities: list[x509.Certificate], issued: Path) -> None:
    """Write what was checked, certificates last: a service takes one up as soon as it is there.

    Raises:
        LocalFault: ``bad_key_file`` if something can not be written.
    """
    _write(issued / "ca.crt", b"".join(each.public_bytes(Encoding.PEM) for each in authorities))
    _write(issued / "broker.json", encode(answer.broker))
    for item in answer.certificates:
        _write(issued / "certs" / f"{item.service}.crt", item.certificate.encode())


def install_membership(answer: RenewalAnswer, member: str, genesis: Genesis, wallet: SigningKey, issued: Path) -> None:
    """Write the member's own transactions, if they prove the wallet that we have; else those from before are kept.

    Raises:
        LocalFault: ``bad_key_file`` if the file can not be written.
    """
    shown = [bytes(raw) for raw in answer.membership]
    try:
        proven = prove_membership(member, shown, genesis)
    except PeerFault as error:
        log.warning("membership_not_taken", extra={"fields": {"code": error.code, "reason": str(error)}})
        return
    if proven.wallet == wallet.public:
        _write(issued / "membership.json", b"[" + b",".join(shown) + b"]")


def _authorities(pem: str, trusted_pem: bytes) -> list[x509.Certificate]:
    """Ours, followed by those that are new.

    Raises:
        PeerFault: ``bad_enrolment`` if none of ours is among them, or one is no CA.
    """
    trusted = x509.load_pem_x509_certificates(trusted_pem)
    try:
        offered = x509.load_pem_x509_certificates(pem.encode())
        basic = [each.extensions.get_extension_for_class(x509.BasicConstraints).value for each in offered]
    except (ValueError, x509.ExtensionNotFound) as error:
        raise _bad("The CA certificates are damaged", str(error)) from error
    known = {certificate_hash(each) for each in trusted}
    if not all(each.ca for each in basic) or not known & {certificate_hash(each) for each in offered}:
        raise _bad("The CA certificates have nothing to do with ours", str(len(offered)))
    return [*trusted, *(each for each in offered if certificate_hash(each) not in known)]


def _write(file: Path, content: bytes) -> None:
    """Write a file unless it has this content already."""
    if not file.exists() or file.read_bytes() != content:
        write_atomic(file, content, mode=PUBLIC_MODE)


def _bad(problem: str, found: str) -> PeerFault:
    return PeerFault(Code.BAD_ENROLMENT, f"{problem}; nothing was installed. Tell the operator", found=found[:300])
