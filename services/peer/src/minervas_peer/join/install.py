"""Install what admission granted. Every file is written whole or not at all, and `ready` last."""

from __future__ import annotations

from pathlib import Path

from minervas_core.encoding import encode
from minervas_core.enrolment import Grant
from minervas_core.errors import Code, LocalFault
from minervas_peer.join.node_directory import NodeDirectory
from minervas_runtime.enrolment import NODE_KEY_FILE, READY_FILE
from minervas_runtime.key_files import PUBLIC_MODE, load_or_create_seed, write_atomic

PUBLIC_DIRECTORY_MODE = 0o755
"""Every service of the node reads what was issued, also under an account of its own; none of it is secret."""


def install(grant: Grant, ca_pem: bytes, node: NodeDirectory) -> None:
    """Write the node key and the issued files; a run that was interrupted is simply repeated.

    Args:
        grant: what was granted, checked.
        ca_pem: the CA's certificate as we checked it, and nothing else that OpenSSL might trust.
        node: where.

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
    _write(node.issued / READY_FILE, b"")


def install_membership(grant: Grant, node: NodeDirectory) -> None:
    """Write the transactions that prove the membership, which is all that a rotation of keys changes.

    Raises:
        LocalFault: ``bad_key_file``.
    """
    _write(node.issued / "membership.json", b"[" + b",".join(map(bytes, grant.membership)) + b"]")


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
