"""Secrets on disk: made once, never replaced, private, written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from minervas_core.errors import Code, LocalFault
from minervas_runtime.key_files import (
    load_or_create_seed,
    load_or_create_tls_key,
    read_secret,
    read_seed,
    write_atomic,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_seed_is_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "node" / "peer" / "wallet.key"
    seed = load_or_create_seed(path)
    assert len(seed) == 32
    assert load_or_create_seed(path) == seed
    assert load_or_create_seed(tmp_path / "other.key") != seed
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_the_umask_does_not_open_a_secret(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create_seed(tmp_path / "seed.key", 96)
    finally:
        os.umask(before)
    assert mode(tmp_path / "seed.key") == 0o600
    assert len(read_seed(tmp_path / "seed.key", 96)) == 96


@pytest.mark.parametrize("content", [b"", b"xyz\n", b"00" * 31, b"00" * 33, b"\xff\xfe"])
def test_a_damaged_seed_is_refused_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wallet.key"
    write_atomic(path, content)
    with pytest.raises(LocalFault) as refused:
        load_or_create_seed(path)
    assert refused.value.code == Code.BAD_KEY_FILE
    assert refused.value.values["file"] == str(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("open_mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path, open_mode: int) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"secret")
    path.chmod(open_mode)
    with pytest.raises(LocalFault, match="chmod 600") as refused:
        read_secret(path)
    assert refused.value.values["mode"] == oct(open_mode)


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match="cannot be read") as refused:
        read_secret(tmp_path / "nowhere")
    assert refused.value.values["file"] == str(tmp_path / "nowhere")


def test_a_tls_key_is_made_once_and_is_p256(tmp_path: Path) -> None:
    path = tmp_path / "tls.key"
    key = load_or_create_tls_key(path)
    assert isinstance(key.curve, ec.SECP256R1)
    assert load_or_create_tls_key(path).private_numbers() == key.private_numbers()
    assert mode(path) == 0o600


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"garbage", id="garbage"),
        pytest.param(pem(ec.generate_private_key(ec.SECP384R1())), id="other curve"),
        pytest.param(pem(ed25519.Ed25519PrivateKey.generate()), id="other kind"),
    ],
)
def test_an_unusable_tls_key_is_refused_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tls.key"
    write_atomic(path, content)
    with pytest.raises(LocalFault) as refused:
        load_or_create_tls_key(path)
    assert refused.value.code == Code.BAD_KEY_FILE
    assert path.read_bytes() == content


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LocalFault, match="cannot be written") as refused:
        write_atomic(path, b"new")
    assert refused.value.values["reason"] == "No space left on device"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
