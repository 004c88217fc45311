"""Install what admission granted. Every file is written whole or not at all, and `ready` last."""

from __future__ import annotations

from pathlib import Path

import msgspec

from minervas_core.encoding import encode
from minervas_core.enrolment import Grant
from minervas_core.errors import Code, LocalFault
from minervas_peer.join.node_directory import NodeDirectory
from minervas_peer.renewal.node_files import ADMISSION_FILE, address_file
from minervas_runtime.enrolment import NODE_KEY_FILE, READY_FILE
from minervas_runtime.key_files import PUBLIC_MODE, load_or_create_seed, write_atomic

MEMBERSHIP_FILE = "membership.json"
PUBLIC_DIRECTORY_MODE = 0o755
"""Every service of the node reads what was issued, also under an account of its own; none of it is secret."""


def install(grant: Grant, ca_pem: bytes, node: NodeDirectory, url: str) -> None:
    """Write the node key and the issued files; a run that was interrupted is simply repeated.

    Args:
        grant: what was granted, checked.
        ca_pem: the certificates of the CAs in use, and nothing else that OpenSSL might trust.
        node: where.
        url: of admission, where the peer will renew the certificates.

    Raises:
        LocalFault: ``bad_key_file`` if something can not be written.
    """
    load_or_create_seed(node.secrets / NODE_KEY_FILE)
    _make_directory(node.issued)
    _make_directory(node.issued / "certs")
    for service, pem in grant.certificates.items():
        _write(node.issued / "certs" / f"{service}.crt", pem.encode())
    _write(node.issued / "ca.crt", ca_pem)
    _write(node.issued / "genesis.json", bytes(grant.genesis))
    install_membership(grant, node)
    _write(node.issued / "broker.json", encode(grant.broker))
    _write(node.issued / ADMISSION_FILE, address_file(url))
    _write(node.issued / READY_FILE, b"")


def install_membership(grant: Grant, node: NodeDirectory) -> None:
    """Write the transactions that prove the membership, which is all that a rotation of keys changes.

    Raises:
        LocalFault: ``bad_key_file``.
    """
    _write(node.issued / MEMBERSHIP_FILE, b"[" + b",".join(map(bytes, grant.membership)) + b"]")


def install_addition(grant: Grant, ca_pem: bytes, node: NodeDirectory) -> None:
    """Write certificates of added gateways, and what a directory of their own lacks besides.

    What a joined node has is left as it is, but for its membership transactions, to which the new ones are added.

    Args:
        grant: what was granted, checked.
        ca_pem: the certificates of the CAs in use, and nothing else that OpenSSL might trust.
        node: where.

    Raises:
        LocalFault: ``bad_key_file`` if something can not be written.
    """
    _make_directory(node.issued)
    _make_directory(node.issued / "certs")
    for service, pem in grant.certificates.items():
        _write(node.issued / "certs" / f"{service}.crt", pem.encode())
    others = {"ca.crt": ca_pem, "genesis.json": bytes(grant.genesis), "broker.json": encode(grant.broker)}
    for name, content in others.items():
        if not (node.issued / name).exists():
            _write(node.issued / name, content)
    known = _membership(node.issued / MEMBERSHIP_FILE)
    added = [bytes(raw) for raw in grant.membership if bytes(raw) not in known]
    _write(node.issued / MEMBERSHIP_FILE, b"[" + b",".join([*known, *added]) + b"]")
    _write(node.issued / READY_FILE, b"")


def _membership(path: Path) -> list[bytes]:
    """The transactions that are installed already; a damaged file is written anew."""
    try:
        return [bytes(raw) for raw in msgspec.json.decode(path.read_bytes(), type=list[msgspec.Raw])]
    except (OSError, msgspec.MsgspecError):
        return []


def _write(path: Path, content: bytes) -> None:
    write_atomic(path, content, mode=PUBLIC_MODE)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=PUBLIC_DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalFault(
            Code.BAD_KEY_FILE,
            "The directory can not be made; check the owner of the node directory",
            file=str(path),
            reason=error.strerror or str(error),
        ) from error
