"""What admission answers to a renewal: checked before anything is installed; each file is written whole or not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509

from minervas_core.encoding import encode
from minervas_core.errors import Code, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.identifiers import Principal
from minervas_core.keys import SigningKey
from minervas_core.renewal import RenewalAnswer
from minervas_peer.join.fingerprint import read_cas
from minervas_peer.join.grant_check import check_certificate
from minervas_peer.membership_proof import prove_membership
from minervas_runtime.key_files import PUBLIC_MODE, write_atomic
from minervas_runtime.tls_identity import certificate_hash

log = logging.getLogger(__name__)


def check_answer(answer: RenewalAnswer, member: str, requests: Mapping[str, str], trusted_pem: bytes) -> None:
    """Check an answer.

    Args:
        answer: what came over the verified connection.
        member: ours.
        requests: certificate requests (PEM) by service, as they were sent.
        trusted_pem: the CA certificates that we trust.

    Raises:
        PeerFault: ``bad_enrolment`` saying what is wrong.
    """
    authorities = read_cas(trusted_pem)
    given = {item.service: item.certificate for item in answer.certificates}
    if given.keys() != requests.keys() or len(given) != len(answer.certificates):
        raise PeerFault(
            Code.BAD_ENROLMENT,
            "The certificates are not those that were asked for; nothing was installed. Tell the operator",
            found=",".join(given),
        )
    for service, pem in given.items():
        key = x509.load_pem_x509_csr(requests[service].encode()).public_key()
        check_certificate(pem, key, str(Principal(member, service)), authorities)


def names_unknown_ca(answer: RenewalAnswer, trusted_pem: bytes) -> bool:
    """Whether the consortium uses a CA that we do not trust (yet): it is time for a look at its signed bundle."""
    known = {certificate_hash(each) for each in read_cas(trusted_pem)}
    return not {certificate_hash(each) for each in read_cas(answer.ca_pem.encode())} <= known


def install_answer(answer: RenewalAnswer, issued: Path) -> None:
    """Write what was checked, certificates last: a service takes one up as soon as it is there.

    Raises:
        LocalFault: ``bad_key_file`` if something can not be written.
    """
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


def _write(file: Path, content: bytes) -> None:
    """Write a file unless it has this content already."""
    if not file.exists() or file.read_bytes() != content:
        write_atomic(file, content, mode=PUBLIC_MODE)
