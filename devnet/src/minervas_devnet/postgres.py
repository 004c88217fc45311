"""A PostgreSQL cluster of the devnet's own: real, durable settings, never as root, gone with its directory.

The cluster listens on one loopback port and on a Unix socket, asks everybody for a SCRAM password, and runs as the
system user `postgres` (else `nobody`) when root starts it. It is a plain child process: `stop` is PostgreSQL's fast
shutdown, `kill` is a crash, and `start` after either continues with what was committed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psycopg

from minervas_core.errors import Code, LocalFault
from minervas_devnet.ports import LOOPBACK, free_port
from minervas_devnet.postgres_binaries import PostgresBinaries, find_binaries
from minervas_devnet.postgres_roles import (
    Login,
    NodeDatabase,
    database_name,
    grant_tables,
    make_database,
    make_login,
    make_readers,
    write_password,
)
from minervas_devnet.server_account import server_account
from minervas_devnet.waiting import POLL_S, stretched

SUPERUSER = "postgres"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
INITDB_TIMEOUT_S = 120.0
STALE_SEGMENT = "pre-existing shared memory block"
"""What a server says that is started before the last children of a killed one are gone."""

CONFIGURATION = """\
# Written by minervas_devnet.postgres.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = '{socket_dir}'
password_encryption = scram-sha-256
max_connections = 200
shared_buffers = 64MB
# On: what was committed survives a crash.
fsync = {durable}
full_page_writes = {durable}
synchronous_commit = {durable}
log_line_prefix = '%m [%p] %q%u@%d '
log_timezone = 'UTC'
timezone = 'UTC'
"""

ACCESS = f"""\
# Written by minervas_devnet.postgres: a password from everybody, nobody from outside.
local all all scram-sha-256
host  all all {LOOPBACK}/32 scram-sha-256
"""


class PostgresError(LocalFault):
    """The cluster could not be made or started; the message has the end of the server's log."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INTERNAL, message)


class PostgresServer:
    """One PostgreSQL cluster below a directory. Also a context manager: started inside, stopped at the end.

    Args:
        directory: where the cluster goes: data, socket, log and password files, nothing else; made if missing.
            Short enough for a Unix socket (107 bytes with the socket's name).
        port: TCP port on loopback; a free one if not given.
        durable: whether what was committed survives a crash; False is faster, for a server that nobody kills.
        binaries: the installation to use; what `find_binaries` finds if not given.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        binaries: PostgresBinaries | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.host = LOOPBACK
        self.port = port or free_port()
        self.socket_dir = self.directory / "run"
        self.log_file = self.directory / "server.log"
        self.password_file = self.directory / "superuser.password"
        self.name = "postgres"
        self._data = self.directory / "data"
        self._durable = durable
        self._installed = binaries or find_binaries()
        self._binaries = self._installed
        self._account = server_account("postgres")
        self._process: subprocess.Popen[bytes] | None = None
        if len(os.fsencode(self.socket_dir / f".s.PGSQL.{self.port}.lock")) > 107:
            raise PostgresError(f"{self.socket_dir} is too long a path for a Unix socket")

    @property
    def major(self) -> int:
        """Major version of the server."""
        return self._binaries.major

    @property
    def pid(self) -> int | None:
        """Process id of the server, or None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Make the cluster if it does not exist yet, start it and return when it accepts connections.

        Raises:
            PostgresError: if it cannot be made or started.
        """
        if self.pid is not None:
            return
        if not self._data.exists():
            self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            try:
                self._make_cluster()
            except BaseException:
                shutil.rmtree(self.directory)  # half a cluster could not be started, now or later
                raise
        deadline = time.monotonic() + stretched(START_TIMEOUT_S)
        while not self._start_once(deadline):
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Shut the server down: sessions are ended, everything is written. Nothing happens when it does not run."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def create_database(self, member: str, passwords: Path | None = None) -> NodeDatabase:
        """Create the database of a member with an owner and a writer role, each with a password of its own.

        Args:
            member: member id, or `consortium` for admission's database.
            passwords: directory for `owner.password` and `writer.password` (mode 0600); if not given, one below
                the cluster's.
        """
        folder = passwords or self.directory / "passwords" / member
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = database_name(member)
        with self._connect("postgres") as connection:
            owner = make_login(connection, f"{name}_owner", folder / "owner.password")
            writer = make_login(connection, f"{name}_writer", folder / "writer.password")
            make_database(connection, name, owner, writer)
        with self._connect(name) as connection:
            grant_tables(connection, owner, writer)
        return NodeDatabase(
            name=name, host=self.host, port=self.port, socket_dir=self.socket_dir, owner=owner, writer=writer
        )

    def create_readers(self, database: NodeDatabase) -> Login:
        """Let a ledger's database have readers; returns the role that opens and closes them, admission's.

        May be repeated. The ledger's schema must be migrated afterwards.
        """
        password_file = database.owner.password_file.with_name(f"{database.name}.access.password")
        with self._connect(database.name) as connection:
            if password_file.exists():
                access = Login(user=f"{database.name}_access", password_file=password_file)
            else:
                access = make_login(connection, f"{database.name}_access", password_file)
            make_readers(connection, database.writer, access)
        return access

    def superuser_conninfo(self, database: str = "postgres") -> str:
        """Return a superuser's connection string, password included: keep it out of logs."""
        password = self.password_file.read_text(encoding="utf-8").strip()
        return psycopg.conninfo.make_conninfo(
            host=self.host, port=self.port, dbname=database, user=SUPERUSER, password=password, connect_timeout=10
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _connect(self, database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        with psycopg.connect(self.superuser_conninfo(database), autocommit=True) as connection:
            yield connection

    def _make_cluster(self) -> None:
        self._account.check_can_reach(self.directory)
        self._binaries = self._reachable_binaries()
        self._account.make_dir(self.socket_dir, 0o755)
        self._account.make_dir(self._data)
        password = write_password(self.password_file)
        for_initdb = self._account.write_file(self.directory / "initdb.password", password + "\n")
        try:
            self._run_initdb(for_initdb)
        finally:
            for_initdb.unlink()
        settings = CONFIGURATION.format(
            host=self.host, port=self.port, socket_dir=self.socket_dir, durable="on" if self._durable else "off"
        )
        self._account.write_file(self._data / "minervas.conf", settings)
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("include 'minervas.conf'\n")
        (self._data / "pg_hba.conf").write_text(ACCESS, encoding="utf-8")

    def _run_initdb(self, password_file: Path) -> None:
        command: list[str | Path] = [
            *(self._binaries.program("initdb"), "--pgdata", self._data, "--username", SUPERUSER),
            *("--pwfile", password_file, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            "--data-checksums",
        ]
        done = subprocess.run(  # noqa: S603 - fixed command
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=INITDB_TIMEOUT_S,
            cwd="/",
            **self._account.run_as(),
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise PostgresError(f"initdb failed with exit status {done.returncode}: {said}")

    def _reachable_binaries(self) -> PostgresBinaries:
        """Return the installation, copied below our directory if its system user cannot run it where it is."""
        installed = self._installed
        try:
            subprocess.run(  # noqa: S603 - fixed command
                [installed.program("postgres"), "--version"],
                capture_output=True, check=True, cwd="/", **self._account.run_as(),
            )  # fmt: skip
        except (PermissionError, subprocess.CalledProcessError) as error:
            if not installed.in_wheel:
                raise PostgresError(f"{self._account.name} cannot run {installed.bin_dir}: {error}") from error
            return self._copied(installed)
        return installed

    def _copied(self, wheel: PostgresBinaries) -> PostgresBinaries:
        """Copy the wheel's server and the libraries it finds by relative path: a virtual environment may be private."""
        install = wheel.bin_dir.parent
        package = install.parent
        target = self.directory / "server"
        without = shutil.ignore_patterns("include", "*.a", "pkgconfig", "pgxs")
        shutil.copytree(install, target / package.name / install.name, ignore=without)
        shutil.copytree(package.parent / f"{package.name}.libs", target / f"{package.name}.libs")
        for folder in (target, target / package.name):
            folder.chmod(0o755)
        return PostgresBinaries(target / package.name / install.name / "bin", major=wheel.major, in_wheel=True)

    def _start_once(self, deadline: float) -> bool:
        """Start the server; False if it must be tried again because a killed one is not quite gone."""
        began = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - fixed command
                [self._binaries.program("postgres"), "-D", self._data],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True, umask=0o077,
                **self._account.run_as(),
            )  # fmt: skip
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                said = self._said_since(began)
                if STALE_SEGMENT in said:
                    return False
                raise PostgresError(f"the server ended with exit status {self._process.returncode}:\n{said}")
            if self._accepts_connections():
                return True
            time.sleep(POLL_S)
        self.kill()
        raise PostgresError(f"the server did not accept connections in time:\n{self._said_since(began)}")

    def _accepts_connections(self) -> bool:
        try:
            with self._connect("postgres"):
                return True
        except psycopg.OperationalError:
            return False

    def _said_since(self, offset: int) -> str:
        """Return the last lines of the log, from a byte offset on."""
        lines = self.log_file.read_bytes()[offset:].decode(errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(stretched(STOP_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
