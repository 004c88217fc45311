"""Passwords of database roles: made in their service, while the server gets verifiers that it accepts."""

from __future__ import annotations

import stat
from pathlib import Path

import psycopg
import pytest

from minervas_core.errors import Code, LocalFault
from minervas_devnet.postgres import PostgresServer
from minervas_runtime.database_logins import fits, hand_in_logins, verifier


def test_postgresql_lets_in_whoever_has_the_password_of_a_verifier_and_nobody_else(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    hand_in_logins([("scram_test", tmp_path / "password")], tmp_path)
    handed_in = (tmp_path / "scram_test.scram").read_text().strip()
    with psycopg.connect(postgres_server.superuser_conninfo(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE scram_test LOGIN PASSWORD '{handed_in}'")
    password = (tmp_path / "password").read_text().strip()
    conninfo = psycopg.conninfo.make_conninfo(postgres_server.superuser_conninfo(), user="scram_test")
    psycopg.connect(conninfo, password=password).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(conninfo, password=password + "x")


def test_a_password_is_private_and_stays_and_so_does_its_verifier(tmp_path: Path) -> None:
    login = ("role", tmp_path / "private" / "password")
    assert hand_in_logins([login], tmp_path / "out") == ["role"]
    before = (login[1].read_bytes(), (tmp_path / "out" / "role.scram").read_bytes())
    assert hand_in_logins([login], tmp_path / "out") == []
    assert (login[1].read_bytes(), (tmp_path / "out" / "role.scram").read_bytes()) == before
    assert stat.S_IMODE(login[1].stat().st_mode) == 0o600
    assert before[0].strip() not in before[1]


@pytest.mark.parametrize("damaged", ["", "SCRAM-SHA-256$4096:x$y:z", "SCRAM-SHA-256$999999999:AAAA$y:z", "\xff"])
def test_a_damaged_or_foreign_verifier_is_made_again(tmp_path: Path, damaged: str) -> None:
    login = ("role", tmp_path / "password")
    hand_in_logins([login], tmp_path)
    (tmp_path / "role.scram").write_text(damaged)
    assert hand_in_logins([login], tmp_path) == ["role"]
    assert fits((tmp_path / "role.scram").read_text().strip(), login[1].read_bytes().strip())


def test_a_verifier_fits_its_password_only() -> None:
    text = verifier(b"secret", b"0123456789abcdef")
    assert fits(text, b"secret")
    assert not fits(text, b"Secret")


def test_a_password_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o644)
    with pytest.raises(LocalFault) as refused:
        hand_in_logins([("role", tmp_path / "password")], tmp_path)
    assert refused.value.code is Code.BAD_KEY_FILE
