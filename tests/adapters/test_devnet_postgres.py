"""The devnet's PostgreSQL: real server, never as root, passwords asked, durable, stopped cleanly."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from minervas_core.errors import LocalFault
from minervas_devnet.ports import free_port
from minervas_devnet.postgres import PostgresError, PostgresServer
from minervas_devnet.postgres_binaries import PostgresMissing, find_binaries
from minervas_devnet.postgres_roles import NodeDatabase, database_name
from minervas_devnet.server_account import ServerAccount, server_account


def owner_makes_table(database: NodeDatabase) -> None:
    with psycopg.connect(database.conninfo(database.owner)) as connection:
        connection.execute("CREATE TABLE seen (id bigint GENERATED ALWAYS AS IDENTITY, word text)")


def words(database: NodeDatabase) -> list[str]:
    with psycopg.connect(database.conninfo(database.writer)) as connection:
        return [row[0] for row in connection.execute("SELECT word FROM seen ORDER BY id")]


def write_word(database: NodeDatabase, word: str) -> None:
    with psycopg.connect(database.conninfo(database.writer)) as connection:
        connection.execute("INSERT INTO seen (word) VALUES (%s)", [word])


def test_server_does_not_run_as_root(postgres_server: PostgresServer) -> None:
    status = Path(f"/proc/{postgres_server.pid}/status").read_text(encoding="ascii")
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert "0" not in uids


DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


def current_setting(connection: psycopg.Connection[tuple[object, ...]], name: str) -> object:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    return row[0] if row else None


def test_server_is_durable_unless_told_otherwise(work_dir: Path, postgres_server: PostgresServer) -> None:
    with PostgresServer(work_dir / "postgres") as server, psycopg.connect(server.superuser_conninfo()) as connection:
        assert [current_setting(connection, name) for name in DURABILITY] == ["on"] * 3
    with psycopg.connect(postgres_server.superuser_conninfo()) as connection:
        assert [current_setting(connection, name) for name in DURABILITY] == ["off"] * 3


def test_pages_have_checksums_and_passwords_are_scram(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.superuser_conninfo()) as connection:
        for name, expected in (
            ("data_checksums", "on"),
            ("password_encryption", "scram-sha-256"),
            ("listen_addresses", "127.0.0.1"),
        ):
            assert current_setting(connection, name) == expected, name
        methods = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
    assert methods == [("scram-sha-256",)]


@pytest.mark.parametrize("over", ["tcp", "socket"])
def test_nobody_gets_in_without_the_password(
    postgres_server: PostgresServer, node_database: NodeDatabase, over: str
) -> None:
    host = node_database.host if over == "tcp" else str(node_database.socket_dir)
    user = node_database.writer.user
    for password in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(
                host=host, port=postgres_server.port, dbname=node_database.name, user=user, password=password
            )
    password = node_database.writer.password()
    psycopg.connect(
        host=host, port=postgres_server.port, dbname=node_database.name, user=user, password=password
    ).close()


def test_password_files_are_private_and_the_server_never_saw_the_password(
    postgres_server: PostgresServer, node_database: NodeDatabase
) -> None:
    files = [node_database.owner.password_file, node_database.writer.password_file, postgres_server.password_file]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    log = postgres_server.log_file.read_text(encoding="utf-8")
    assert not any(file.read_text(encoding="utf-8").strip() in log for file in files)


def test_writer_uses_the_tables_of_the_owner_and_cannot_change_the_schema(node_database: NodeDatabase) -> None:
    owner_makes_table(node_database)
    write_word(node_database, "one")
    assert words(node_database) == ["one"]
    for forbidden in ("CREATE TABLE mine (i int)", "DROP TABLE seen", "TRUNCATE seen", "ALTER TABLE seen ADD i int"):
        with (
            psycopg.connect(node_database.conninfo(node_database.writer)) as connection,
            pytest.raises(errors.InsufficientPrivilege),
        ):
            connection.execute(forbidden)


def test_writer_may_make_temporary_tables(node_database: NodeDatabase) -> None:
    with psycopg.connect(node_database.conninfo(node_database.writer)) as connection:
        connection.execute("CREATE TEMPORARY TABLE staging (i int) ON COMMIT DROP")


def test_roles_of_one_member_cannot_connect_to_the_database_of_another(
    postgres_server: PostgresServer, node_database: NodeDatabase
) -> None:
    other = postgres_server.create_database("somebody-else")
    for login in (node_database.owner, node_database.writer):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(
                host=other.host, port=other.port, dbname=other.name, user=login.user, password=login.password()
            )


def test_database_names_of_different_members_differ() -> None:
    assert database_name("mokpo-univ") == "minervas_mokpo_univ"
    assert len({database_name(member) for member in ("a-b", "ab", "a-b-", "a")}) == 4


def test_what_was_committed_survives_stop_and_kill(work_dir: Path) -> None:
    with PostgresServer(work_dir / "pg") as server:
        database = server.create_database("mokpo-univ")
        owner_makes_table(database)
        write_word(database, "before stop")
        server.stop()
        assert server.pid is None
        server.start()
        write_word(database, "before kill")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(database.conninfo(database.writer))
        server.start()
        assert words(database) == ["before stop", "before kill"]


def test_stop_ends_open_sessions_and_leaves_no_process(work_dir: Path) -> None:
    server = PostgresServer(work_dir / "pg")
    server.start()
    session = psycopg.connect(server.superuser_conninfo())
    pid = server.pid
    assert pid is not None
    server.stop()
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    session.close()
    assert not Path(f"/proc/{pid}").exists()
    assert not (work_dir / "pg" / "data" / "postmaster.pid").exists()


def test_port_that_is_taken_is_a_clear_error(work_dir: Path, postgres_server: PostgresServer) -> None:
    server = PostgresServer(work_dir / "pg", port=postgres_server.port)
    with pytest.raises(PostgresError, match="Address already in use"):
        server.start()
    assert server.pid is None


def test_path_too_long_for_a_socket_is_a_clear_error(work_dir: Path) -> None:
    with pytest.raises(PostgresError, match="too long"):
        PostgresServer(work_dir / ("x" * 100), port=free_port())


def test_failing_initdb_is_a_clear_error_and_can_be_tried_again(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = PostgresServer(work_dir / "pg")
    monkeypatch.setattr("minervas_devnet.postgres.SUPERUSER", "pg_not_allowed")
    with pytest.raises(PostgresError, match="initdb failed"):
        server.start()
    monkeypatch.undo()
    with server:
        assert server.pid is not None


@pytest.mark.parametrize("choice", ["/does/not/exist", "newest"])
def test_wrong_choice_of_server_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    monkeypatch.setenv("MINERVAS_POSTGRES", choice)
    with pytest.raises(PostgresMissing, match=choice):
        find_binaries()


def test_choosing_a_directory_uses_that_server(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_binaries()
    monkeypatch.setenv("MINERVAS_POSTGRES", str(found.bin_dir))
    assert find_binaries().bin_dir == found.bin_dir


def test_server_too_old_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postgres", "initdb"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.99'\n", encoding="ascii")
        program.chmod(0o755)
    monkeypatch.setenv("MINERVAS_POSTGRES", str(tmp_path))
    with pytest.raises(PostgresMissing, match=">= 15"):
        find_binaries()


def pretend_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay out the machine's server as the wheel does, below a directory that only its owner can pass."""
    found = find_binaries()
    programs = folder / "package" / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (folder / "package.libs").mkdir()
    for name in ("postgres", "initdb"):
        (programs / name).write_text(f'#!/bin/sh\nexec {found.bin_dir}/{name} "$@"\n', encoding="ascii")
        (programs / name).chmod(0o755)
    folder.chmod(0o700)
    monkeypatch.setattr("minervas_devnet.postgres_binaries.WHEEL_PACKAGE", "package")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("MINERVAS_POSTGRES", "wheel")


def can_reach(account: ServerAccount, folder: Path) -> bool:
    try:
        account.check_can_reach(folder)
    except LocalFault:
        return False
    return True


def test_server_of_the_wheel_is_copied_if_its_user_cannot_run_it_where_it_is(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not find_binaries().in_wheel:
        pretend_wheel(work_dir / "private", monkeypatch)
    wheel = find_binaries()
    assert wheel.in_wheel
    with PostgresServer(work_dir / "pg") as server:
        assert server.pid is not None
        reachable = can_reach(server_account("postgres"), wheel.bin_dir)
        assert (work_dir / "pg" / "server").exists() != reachable


@pytest.mark.parametrize("name", ["closed", "open"])
def test_work_directory_closed_to_the_server_user_is_a_clear_error(work_dir: Path, name: str) -> None:
    account = server_account("postgres")
    folder = work_dir / name
    folder.mkdir()
    folder.chmod(0o700 if name == "closed" else 0o711)
    if account.is_other and name == "closed":
        with pytest.raises(LocalFault, match=f"cannot pass through {folder}"):
            PostgresServer(folder / "pg").start()
    else:
        account.check_can_reach(folder)


def test_command_prints_the_bin_directory() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "minervas_devnet.postgres_binaries"], capture_output=True, text=True, check=True
    )
    assert Path(printed.stdout.strip()) == find_binaries().bin_dir
