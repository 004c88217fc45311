"""A backup: complete, private, checked before it is used, and restored only where there is nothing."""

from __future__ import annotations

import io
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
import pytest

from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.backup import sealed_file
from minervas_runtime.backup.files import entry_of
from minervas_runtime.backup.making import make_backup
from minervas_runtime.backup.passphrase import read_passphrase
from minervas_runtime.backup.restoring import check_backup, restore_backup
from minervas_runtime.backup.sealed_file import CHUNK_BYTES, SealedReader, SealedWriter
from tests.support.backups import CHEAP, PASSPHRASE, NodeHost, drop_database, kept_database
from tests.support.builders import LocalChain, admit
from tests.support.ledger import StoredChain, audit, migrated

NOW_MS = 1_800_000_000_000


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file.SealedWriter.__init__, "__kwdefaults__", {"cost_log2": CHEAP})


def made(host: NodeHost, path: Path) -> Path:
    make_backup(host.settings, path, PASSPHRASE, version="1", now_ms=NOW_MS, say=lambda _: None)
    return path


def restored(host: NodeHost, path: Path, passphrase: bytes = PASSPHRASE) -> None:
    restore_backup(host.settings, path, passphrase, lambda _: None)


def sealed(content: bytes) -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file, PASSPHRASE)
    writer.write(content)
    writer.close()
    return file.getvalue()


def opened(raw: bytes) -> bytes:
    return SealedReader(io.BytesIO(raw), PASSPHRASE, "file").read()


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_what_was_sealed_opens_again_whatever_its_size(size: int) -> None:
    content = os.urandom(size)
    assert opened(sealed(content)) == content
    assert content[:64] not in sealed(content) or size < 16


def _flip(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


SEALED_CHUNK = CHUNK_BYTES + sealed_file.TAG_BYTES
CHANGES: dict[str, Callable[[bytes, int], bytes]] = {
    "a bit of the first chunk": lambda raw, start: _flip(raw, start + 5),
    "a bit of the last tag": lambda raw, _: _flip(raw, len(raw) - 1),
    "a bit of the nonce": lambda raw, start: (
        raw[: start - 60].replace(b'nonce":"', b'nonce":"00', 1) + raw[start - 60 :]
    ),
    "the last byte is gone": lambda raw, _: raw[:-1],
    "cut between two chunks": lambda raw, start: raw[: start + SEALED_CHUNK],
    "cut before the first chunk": lambda raw, start: raw[:start],
    "two chunks exchanged": lambda raw, start: (
        raw[:start]
        + raw[start + SEALED_CHUNK : start + 2 * SEALED_CHUNK]
        + raw[start : start + SEALED_CHUNK]
        + raw[start + 2 * SEALED_CHUNK :]
    ),
    "a chunk left out": lambda raw, start: raw[:start] + raw[start + SEALED_CHUNK :],
    "something behind the end": lambda raw, _: raw + b"x",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_was_changed_or_cut_off_is_refused(change: str) -> None:
    raw = sealed(os.urandom(2 * CHUNK_BYTES + 100))
    start = len(raw) - (2 * SEALED_CHUNK + 100 + sealed_file.TAG_BYTES)
    with pytest.raises(LocalFault) as refused:
        opened(CHANGES[change](raw, start))
    assert refused.value.code == Code.BAD_BACKUP


def test_a_file_that_asks_for_too_much_memory_is_refused() -> None:
    raw = sealed(b"")
    with pytest.raises(LocalFault) as refused:
        opened(raw.replace(b'"cost_log2":4', b'"cost_log2":9', 1).replace(b'"cost_log2":9', b'"cost_log2":40', 1))
    assert refused.value.code == Code.BAD_BACKUP


def test_files_come_back_with_their_content_and_modes(tmp_path: Path) -> None:
    host = NodeHost(tmp_path / "host", {})
    files = host.fill()
    (host.root / "peer/link").symlink_to("/etc/passwd")
    path = made(host, tmp_path / "backup")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    raw = path.read_bytes()
    assert not any(content[:32] in raw for content in files.values() if content)
    target = host.elsewhere(tmp_path / "target")
    restored(target, path)
    found = {name: (target.root / name).read_bytes() for name in files}
    assert found == files
    for name in (*files, "peer/old"):
        assert (target.root / name).stat().st_mode == (host.root / name).stat().st_mode
    assert not (target.root / "peer/link").exists()
    assert check_backup(path, PASSPHRASE).end.left_out == ["peer/link"]


def test_a_gateway_begins_a_new_spool_after_a_restore(tmp_path: Path) -> None:
    """The old one would give numbers a second time that the ledger has seen."""
    host = NodeHost(tmp_path / "host", {})
    host.fill()
    (host.root / "meter-gateway/spool.db").write_bytes(b"x")
    (host.root / "meter-gateway/spool.db-wal").write_bytes(b"x")
    target = host.elsewhere(tmp_path / "target")
    restored(target, made(host, tmp_path / "backup"))
    assert sorted(path.name for path in (target.root / "meter-gateway").iterdir()) == ["gateway.key"]


def test_a_sqlite_database_is_copied_whole_while_somebody_writes(tmp_path: Path) -> None:
    """Grafana keeps its accounts in one; what stands only in the write-ahead log belongs to it."""
    host = NodeHost(tmp_path / "host", {})
    host.fill()
    connection = sqlite3.connect(host.root / "peer/grafana.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE accounts (name TEXT)")
    connection.execute("INSERT INTO accounts VALUES ('kim')")
    target = host.elsewhere(tmp_path / "target")
    restored(target, made(host, tmp_path / "backup"))
    connection.close()
    with sqlite3.connect(target.root / "peer/grafana.db") as copy:
        assert copy.execute("SELECT name FROM accounts").fetchall() == [("kim",)]
    copy.close()


def test_a_file_that_grows_while_it_is_read_is_kept_as_long_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 10)
    found = entry_of("log", path)
    assert found is not None
    path.write_bytes(b"x" * 20)
    assert b"".join(found[1]) == b"x" * 10
    shrunk = entry_of("log", path)
    assert shrunk is not None
    path.write_bytes(b"")
    with pytest.raises(LocalFault, match="shorter"):
        list(shrunk[1])


def test_another_passphrase_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    host = NodeHost(tmp_path / "host", {})
    host.fill()
    path = made(host, tmp_path / "backup")
    with pytest.raises(LocalFault, match="passphrase is another") as refused:
        restored(host.elsewhere(tmp_path / "target"), path, b"another passphrase")
    assert refused.value.code == Code.BAD_BACKUP
    assert not (tmp_path / "target").exists()


def test_nothing_is_restored_of_a_file_that_is_damaged_at_its_end(tmp_path: Path) -> None:
    host = NodeHost(tmp_path / "host", {})
    host.fill()
    path = made(host, tmp_path / "backup")
    path.write_bytes(_flip(path.read_bytes(), path.stat().st_size - 1))
    with pytest.raises(LocalFault, match="damaged"):
        restored(host.elsewhere(tmp_path / "target"), path)
    assert not (tmp_path / "target").exists()


def test_a_backup_is_restored_only_into_an_empty_place_and_never_overwritten(tmp_path: Path) -> None:
    host = NodeHost(tmp_path / "host", {})
    files = host.fill()
    path = made(host, tmp_path / "backup")
    for attempt in (lambda: restored(host, path), lambda: made(host, path)):
        with pytest.raises(LocalFault) as refused:
            attempt()
        assert refused.value.code == Code.NOT_EMPTY
    assert {name: (host.root / name).read_bytes() for name in files} == files


def test_a_backup_of_somebody_else_is_refused(tmp_path: Path) -> None:
    host = NodeHost(tmp_path / "host", {})
    host.fill()
    path = made(host, tmp_path / "backup")
    with pytest.raises(LocalFault, match="somebody else"):
        restored(NodeHost(tmp_path / "target", {}, owner="beta"), path)


@pytest.mark.parametrize(("content", "mode"), [(b"too short", 0o600), (PASSPHRASE, 0o644)])
def test_a_passphrase_that_is_short_or_open_to_others_is_refused(tmp_path: Path, content: bytes, mode: int) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(LocalFault) as refused:
        read_passphrase(file, is_new=True)
    assert refused.value.code == Code.BAD_KEY_FILE


TABLES = """
CREATE ROLE backup_readers NOLOGIN;
CREATE ROLE backup_gm_1 LOGIN PASSWORD 'reader' IN ROLE backup_readers;
ALTER ROLE backup_gm_1 SET statement_timeout = '5s';
ALTER ROLE backup_gm_1 IN DATABASE {name} SET search_path = pg_catalog, public;
SET ROLE {owner};
CREATE TABLE readings (id bigint GENERATED ALWAYS AS IDENTITY, member text, watts double precision, raw bytea);
INSERT INTO readings (member, watts, raw) SELECT 'alpha', n / 7.0, int8send(n) FROM generate_series(1, 5000) n;
ALTER TABLE readings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON readings USING (session_user <> 'backup_gm_1');
GRANT SELECT ON readings TO backup_readers;
GRANT USAGE ON SCHEMA public TO backup_readers;
"""


def test_a_database_comes_back_with_roles_rights_and_row_level_security(
    postgres_server: PostgresServer, node_database: NodeDatabase, tmp_path: Path
) -> None:
    database, name = node_database, node_database.name
    with psycopg.connect(postgres_server.superuser_conninfo(name), autocommit=True) as connection:
        for statement in TABLES.format(name=name, owner=database.owner.user).strip().split(";\n"):
            connection.execute(statement.rstrip(";").encode())
        wanted = connection.execute("RESET ROLE").connection.execute("SELECT * FROM readings ORDER BY id").fetchall()
    host = NodeHost(tmp_path / "host", {"ledger": kept_database(postgres_server, database)})
    host.fill()
    path = made(host, tmp_path / "backup")
    assert b"backup_gm_1" not in path.read_bytes()
    target = host.elsewhere(tmp_path / "target")
    with pytest.raises(LocalFault) as refused:
        restored(target, path)
    assert refused.value.code == Code.NOT_EMPTY
    drop_database(postgres_server, database)
    with psycopg.connect(postgres_server.superuser_conninfo(), autocommit=True) as connection:
        connection.execute("DROP ROLE backup_gm_1, backup_readers")
    restored(target, path)
    with psycopg.connect(postgres_server.superuser_conninfo(name)) as connection:
        assert connection.execute("SELECT * FROM readings ORDER BY id").fetchall() == wanted
    with psycopg.connect(database.conninfo(database.writer)) as connection:  # with the password that it had
        assert connection.execute("SELECT current_user").fetchone() == (database.writer.user,)
    reader = f"host={database.host} port={database.port} dbname={name} user=backup_gm_1 password=reader"
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(reader)
    with psycopg.connect(postgres_server.superuser_conninfo(name), autocommit=True) as connection:
        connection.execute(f"GRANT CONNECT ON DATABASE {name} TO backup_gm_1".encode())
    with psycopg.connect(reader) as connection:
        assert connection.execute("SELECT count(*) FROM readings").fetchone() == (0,)
        assert connection.execute("SHOW search_path").fetchone() == ("pg_catalog, public",)
        assert connection.execute("SHOW statement_timeout").fetchone() == ("5s",)
    drop_database(postgres_server, database)
    with psycopg.connect(postgres_server.superuser_conninfo(), autocommit=True) as connection:
        connection.execute("DROP ROLE backup_gm_1, backup_readers")


def test_a_ledgers_chain_comes_back_audits_clean_and_goes_on(
    postgres_server: PostgresServer, node_database: NodeDatabase, tmp_path: Path
) -> None:
    local = LocalChain()
    stored = StoredChain(migrated(node_database), local.genesis)
    stored.take(local.found("m0", "m1"), local.extend("m1"), local.extend("m0", [admit("m2", expires=6)]))
    stored.now.close()
    host = NodeHost(tmp_path / "host", {"ledger": kept_database(postgres_server, node_database)})
    host.fill()
    path = made(host, tmp_path / "backup")
    drop_database(postgres_server, node_database)
    restored(host.elsewhere(tmp_path / "target"), path)
    report = audit(stored.settings, local.genesis)
    assert (report.tip_hash, report.height, report.members) == (local.tip.hash, 3, 3)
    again = StoredChain(stored.settings, local.genesis)
    assert again.take(local.extend("m2")) == ["connected"]
    again.now.close()
    drop_database(postgres_server, node_database)


def test_a_server_that_does_not_answer_leaves_no_half_backup(
    postgres_server: PostgresServer, node_database: NodeDatabase, tmp_path: Path
) -> None:
    away = msgspec.structs.replace(kept_database(postgres_server, node_database), port=1)
    host = NodeHost(tmp_path / "host", {"ledger": away})
    host.fill()
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(TransientFault) as refused:
        made(host, out / "backup")
    assert refused.value.code == Code.DATABASE_AWAY
    assert list(out.iterdir()) == []
