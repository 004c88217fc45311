"""Whom this node's services trust: the CA certificates in ``issued/ca.crt``, kept up to date (spec/membership.md).

Admission replaces its CA now and then, and a node that was off meanwhile can not check the server any more. So the
bundle is fetched from whoever answers, and only what the authority's signature covers is believed.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minervas_core.ca_bundle import MAX_CA_BUNDLE_BYTES, CaBundle, SignedCaBundle, check_ca_bundle
from minervas_core.encoding import decode
from minervas_core.errors import Code, InvalidEncoding, MinervasError, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.governance.records import ChangeAuthority
from minervas_peer.authority_keys import check_by_itself, follow_authority
from minervas_peer.join.http_exchange import open_client, read_answer
from minervas_runtime.key_files import PUBLIC_MODE, write_atomic

log = logging.getLogger(__name__)

CA_FILE = "ca.crt"
BUNDLE_FILE = "ca-bundle.json"
"""The installed bundle, as it was signed."""

REFRESH_S = 86_400.0
"""A node asks once a day; admission waits for two days before it relies on that."""
RETRY_S = 3_600.0
"""Pause after a question that failed."""


def refresh_ca_bundle(url: str, issued: Path, genesis: Genesis, trusted: frozenset[str]) -> bool:
    """Fetch the CA bundle from admission, check it and install it; blocks.

    Args:
        url: of admission.
        issued: the node's directory of issued files.
        genesis: the consortium's genesis.
        trusted: keys that count as the authority's; see `trusted_at_start`.

    Returns:
        Whether `ca.crt` changed; services use it at their next connection.

    Raises:
        TransientFault: ``peer_unreachable`` or ``not_ready``.
        PeerFault: if the answer is no bundle, or not one that we may install; see `install_ca_bundle`.
        LocalFault: ``bad_key_file`` if the directory can not be written.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the signature is what counts: our CA may be the one that was replaced
    with open_client(url, context) as client:
        answer = read_answer(client.stream("GET", "/v1/ca-bundle"), url)
    return install_ca_bundle(answer.body, issued, genesis, trusted)


def install_ca_bundle(raw: bytes, issued: Path, genesis: Genesis, trusted: frozenset[str]) -> bool:
    """Check a bundle and install it; returns whether `ca.crt` changed.

    Raises:
        InvalidEncoding: if it is no bundle.
        InvalidEnrolment: ``wrong_network``, ``bad_signature`` or ``ca_bundle_old``.
        PeerFault: ``bad_enrolment`` if a certificate in it is not a CA's.
        LocalFault: ``bad_key_file`` if the directory can not be written.
    """
    signed = decode(raw, SignedCaBundle, max_bytes=MAX_CA_BUNDLE_BYTES)
    bundle = check_ca_bundle(
        signed,
        network=genesis.network,
        trusted=_followed(signed, genesis, trusted),
        installed=_number(installed_bundle(issued)),
    )
    pem = "".join(_checked(certificate) for certificate in bundle.certificates).encode()
    target = issued / CA_FILE
    changed = not target.exists() or target.read_bytes() != pem
    if changed:
        write_atomic(target, pem, mode=PUBLIC_MODE)
    if changed or _number(installed_bundle(issued)) != bundle.number:
        write_atomic(issued / BUNDLE_FILE, raw, mode=PUBLIC_MODE)
    return changed


def installed_bundle(issued: Path) -> SignedCaBundle | None:
    """The bundle that was installed last; None before the first, or if its file is damaged."""
    try:
        return decode((issued / BUNDLE_FILE).read_bytes(), SignedCaBundle, max_bytes=MAX_CA_BUNDLE_BYTES)
    except (OSError, InvalidEncoding):
        return None


def trusted_at_start(issued: Path, granted: frozenset[str]) -> frozenset[str]:
    """Keys that count as the authority's before our own chain can be asked.

    That is the one that signed the installed bundle: an older key, which may have been replaced because it was stolen,
    counts no more. Before the first bundle it is those that admission granted.
    """
    installed = installed_bundle(issued)
    return granted if installed is None else frozenset([installed.signer])


class CaBundleKeeper:
    """Keeps the CA certificates of a node up to date while its peer runs."""

    def __init__(self, url: str, issued: Path, genesis: Genesis) -> None:
        self._url = url
        self._issued = issued
        self._genesis = genesis
        self._good = False
        """Whether the last question had a good answer."""

    async def refresh(self, trusted: frozenset[str]) -> None:
        """Ask once. A failure is only logged: the CA that we have may be good."""
        self._good = False
        try:
            changed = await asyncio.to_thread(refresh_ca_bundle, self._url, self._issued, self._genesis, trusted)
        except MinervasError as error:
            log.warning("ca_bundle_not_refreshed", extra={"fields": {"code": error.code, "reason": str(error)}})
            return
        self._good = True
        if changed:
            log.info("ca_bundle_installed", extra={"fields": {"number": _number(installed_bundle(self._issued))}})

    async def run(self, trusted: Callable[[], frozenset[str]]) -> None:
        """Ask once a day until cancelled, an hour after a failure again; `trusted` tells the authority's keys."""
        while True:
            await asyncio.sleep(REFRESH_S if self._good else RETRY_S)
            await self.refresh(trusted())


def _number(signed: SignedCaBundle | None) -> int:
    bundle: CaBundle | None = signed.bundle if signed else None
    return bundle.number if bundle else 0


def _followed(signed: SignedCaBundle, genesis: Genesis, trusted: frozenset[str]) -> frozenset[str]:
    """The trusted keys, and those that replaced them with their own signature."""
    for raw in signed.changes:
        try:
            body = check_by_itself(bytes(raw), genesis).body
            if isinstance(body, ChangeAuthority):
                trusted = follow_authority(body, trusted)
        except PeerFault:
            continue  # it leads nowhere for us; the signature of the bundle decides
    return trusted


def _checked(pem: str) -> str:
    """One certificate that may sign others, in the usual form."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(pem.encode())
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound) as error:
        raise PeerFault(Code.BAD_ENROLMENT, "The CA bundle has a damaged certificate", reason=str(error)) from error
    if not is_ca:
        raise PeerFault(Code.BAD_ENROLMENT, "The CA bundle has a certificate that is not a CA's")
    return certificate.public_bytes(Encoding.PEM).decode()
