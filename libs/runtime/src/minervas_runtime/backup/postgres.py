"""PostgreSQL's own programs: a dump of a database as a stream, and back. Passwords go through a file of mode 0600."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TypedDict

import msgspec

from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_runtime.backup.settings import KeptDatabase
from minervas_runtime.key_files import read_secret

DEBIAN = Path("/usr/lib/postgresql")
MAX_ROLES_BYTES = 16 << 20
WAIT_S = 60
LAST_WORDS = 300


class RunAs(TypedDict, total=False):
    """The arguments of `subprocess` that change the user; empty when it stays the same."""

    user: int
    group: int
    extra_groups: Sequence[int]


class DatabaseOwner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a database is, how it sorts, and who may do what with it as a whole."""

    owner: str
    encoding: str
    collate: str
    ctype: str
    is_closed: bool
    """Whether it has rights of its own, so that not everybody may connect."""
    rights: list[tuple[str, str]]
    """(role, right), besides the owner's."""


class RoleStatements(msgspec.Struct, frozen=True, kw_only=True):
    """A role, and the statements that make it what it is once it exists."""

    name: str
    statements: list[str]
    settings_here: list[str]
    """Its settings in this database only: what follows ``ALTER ROLE ... IN DATABASE ...``."""


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """What a dump of a database lacks: its owner and rights, and the roles that it speaks of, with their passwords."""

    database: DatabaseOwner
    roles: list[RoleStatements]


_DATABASE = """
SELECT json_build_object(
    'owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding),
    'collate', d.datcollate, 'ctype', d.datctype, 'is_closed', d.datacl IS NOT NULL,
    'rights', coalesce((SELECT json_agg(json_build_array(pg_get_userbyid(a.grantee), a.privilege_type))
                        FROM aclexplode(d.datacl) a WHERE a.grantee <> 0 AND a.grantee <> d.datdba), '[]'))
FROM pg_database d WHERE d.datname = current_database()
"""

# Roles that the database's objects or rights name, and all that are in a group with them, up and down.
_ROLES = """
WITH RECURSIVE named AS (
    SELECT s.refobjid AS oid FROM pg_shdepend s
    WHERE s.refclassid = 'pg_authid'::regclass
      AND (s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
           OR (s.classid = 'pg_database'::regclass
               AND s.objid = (SELECT oid FROM pg_database WHERE datname = current_database())))
    UNION SELECT datdba FROM pg_database WHERE datname = current_database()
), related AS (
    SELECT oid FROM named
    UNION
    SELECT CASE WHEN m.roleid = r.oid THEN m.member ELSE m.roleid END
    FROM related r JOIN pg_auth_members m ON r.oid IN (m.roleid, m.member)
), chosen AS (
    SELECT a.* FROM pg_authid a WHERE a.oid IN (SELECT oid FROM related)
      AND NOT a.rolsuper AND a.rolname !~ '^pg_'
), settings AS (
    SELECT s.setrole, s.setdatabase, format('SET %I TO %s', split_part(item, '=', 1),
        CASE WHEN split_part(item, '=', 1) IN ('search_path', 'temp_tablespaces')
             THEN substr(item, strpos(item, '=') + 1)
             ELSE quote_literal(substr(item, strpos(item, '=') + 1)) END) AS setting
    FROM pg_db_role_setting s, unnest(s.setconfig) item
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
)
SELECT coalesce(json_agg(json_build_object('name', c.rolname, 'statements', (
    SELECT json_agg(statement) FROM (
        SELECT format('ALTER ROLE %I WITH NOSUPERUSER %s %s %s %s NOREPLICATION %s CONNECTION LIMIT %s PASSWORD %s',
                      c.rolname,
                      CASE WHEN c.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
                      CASE WHEN c.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
                      CASE WHEN c.rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
                      CASE WHEN c.rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
                      CASE WHEN c.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
                      c.rolconnlimit, coalesce(quote_literal(c.rolpassword), 'NULL')) AS statement
        UNION ALL
        SELECT format('ALTER ROLE %I %s', c.rolname, setting) FROM settings
        WHERE setrole = c.oid AND setdatabase = 0
        UNION ALL
        SELECT format('GRANT %I TO %I%s', g.rolname, c.rolname,
                      CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END)
        FROM pg_auth_members m JOIN pg_authid g ON g.oid = m.roleid
        WHERE m.member = c.oid AND NOT g.rolsuper
    ) listed), 'settings_here', (
    SELECT coalesce(json_agg(setting), '[]') FROM settings WHERE setrole = c.oid AND setdatabase <> 0
)) ORDER BY c.rolname), '[]')
FROM chosen c
"""

_OBJECTS = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
"""


class PostgresPrograms:
    """pg_dump, pg_restore and psql against one database."""

    def __init__(self, database: KeptDatabase, directory: Path | None) -> None:
        """Look the programs up.

        Raises:
            LocalFault: ``bad_settings`` if they are not installed; ``bad_key_file`` for the password.
        """
        self.database = database
        self._directory = directory
        file = database.password_file
        self._password = read_secret(file).decode("utf-8").strip() if file is not None else ""
        self._user = RunAs()
        if database.run_as is not None:
            self._user = RunAs(user=database.run_as, group=database.run_as, extra_groups=[])

    def roles(self) -> Roles:
        """Whose the database is, and all roles that it speaks of.

        Raises:
            LocalFault: ``bad_backup`` if the server refuses.
        """
        database = msgspec.json.decode(self.ask(_DATABASE), type=DatabaseOwner)
        return Roles(database=database, roles=msgspec.json.decode(self.ask(_ROLES), type=list[RoleStatements]))

    @contextlib.contextmanager
    def dumped(self) -> Iterator[IO[bytes]]:
        """The dump of the database, of one moment, to be read to its end inside the block.

        Raises:
            LocalFault: ``bad_backup`` if it fails.
        """
        with self._environment() as environment, tempfile.TemporaryFile() as words:
            command = [*self._command("pg_dump"), "--format=custom", "--compress=3", "--lock-wait-timeout=60s"]
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                [*command, self.database.name],
                stdout=subprocess.PIPE,
                stderr=words,
                env=environment,
                **self._user,
            )
            try:
                if process.stdout is None:  # cannot be: it is a pipe
                    raise LocalFault(Code.INTERNAL, "pg_dump has no output")
                yield process.stdout
                self._end(process, "pg_dump", words)
            finally:
                _stop(process)

    @contextlib.contextmanager
    def loading(self) -> Iterator[IO[bytes]]:
        """Where a dump is written inside the block; all of it is in the database afterwards, or nothing.

        Raises:
            LocalFault: ``bad_backup`` if it fails.
        """
        with self._environment() as environment, tempfile.TemporaryFile() as words:
            command = [*self._command("pg_restore"), "--single-transaction", "--exit-on-error"]
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                [*command, "--dbname", self.database.name],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words, env=environment,
                **self._user,
            )  # fmt: skip
            try:
                if process.stdin is None:  # cannot be: it is a pipe
                    raise LocalFault(Code.INTERNAL, "pg_restore has no input")
                with contextlib.suppress(BrokenPipeError):  # then it says why
                    yield process.stdin
                    process.stdin.close()
                self._end(process, "pg_restore", words)
            finally:
                _stop(process)

    def exists(self) -> bool:
        """Whether there is a database of this name."""
        found = self.ask(f"SELECT count(*) FROM pg_database WHERE datname = {_literal(self.database.name)}", "postgres")  # noqa: S608 - quoted
        return found == "1"

    def is_empty(self) -> bool:
        """Whether nothing was made in the database yet."""
        return self.ask(_OBJECTS) == "0"

    def make(self, roles: Roles) -> None:
        """Make the roles and the database, as far as they are missing, and give them their rights.

        Raises:
            LocalFault: ``bad_backup`` if the server refuses.
        """
        known = set(self.ask("SELECT rolname FROM pg_roles", "postgres").splitlines())
        statements = [f"CREATE ROLE {_name(role.name)}" for role in roles.roles if role.name not in known]
        name, made = _name(self.database.name), roles.database
        self.run([*statements, *(each for role in roles.roles for each in role.statements)])
        if not self.exists():
            sorting = f"LC_COLLATE {_literal(made.collate)} LC_CTYPE {_literal(made.ctype)}"
            form = f"TEMPLATE template0 ENCODING {_literal(made.encoding)} {sorting}"
            self.run([f"CREATE DATABASE {name} OWNER {_name(made.owner)} {form}"], whole=False)
        rights = [f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"] if made.is_closed else []
        rights += [f"GRANT {right} ON DATABASE {name} TO {_name(role)}" for role, right in made.rights]
        rights += [
            f"ALTER ROLE {_name(role.name)} IN DATABASE {name} {each}"
            for role in roles.roles
            for each in role.settings_here
        ]
        self.run(rights)

    def ask(self, query: str, database: str = "") -> str:
        """The answer to a query, unaligned.

        Raises:
            LocalFault, TransientFault: if the server refuses or does not answer.
        """
        return self._psql(query, database or self.database.name, ())

    def run(self, statements: list[str], *, whole: bool = True) -> None:
        """Run statements, in one transaction if `whole`; the server's log does not get them, for some have passwords.

        Raises:
            LocalFault, TransientFault: if the server refuses or does not answer.
        """
        script = "".join(f"{each};\n" for each in ("SET log_statement = 'none'", *statements))
        self._psql(script, "postgres", ("--single-transaction",) if whole else ())

    def _psql(self, script: str, database: str, options: tuple[str, ...]) -> str:
        command = [*self._command("psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", *options]
        with self._environment() as environment:
            done = subprocess.run(  # noqa: S603 - our own arguments
                [*command, "--set=ON_ERROR_STOP=1", "--dbname", database],
                input=script.encode(), capture_output=True, env=environment, check=False, **self._user,
            )  # fmt: skip
        if done.returncode == 2:  # psql's word for a bad connection
            raise TransientFault(
                Code.DATABASE_AWAY, "PostgreSQL does not answer, or not to this role",
                host=self.database.host, port=self.database.port, user=self.database.user, reason=_words(done.stderr),
            )  # fmt: skip
        if done.returncode:
            raise self._failed("psql", done.stderr)
        return done.stdout.decode().strip()

    def _command(self, program: str) -> list[str]:
        database = self.database
        found = _find(program, self._directory)
        return [
            str(found), "--host", database.host, "--port", str(database.port),
            "--username", database.user, "--no-password",
        ]  # fmt: skip

    @contextlib.contextmanager
    def _environment(self) -> Iterator[dict[str, str]]:
        """The environment of a program: the password is in a private file, which goes with the block."""
        environment = {
            "PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "PGCLIENTENCODING": "UTF8",
            "PGCONNECT_TIMEOUT": "15", "PGTZ": "UTC",
        }  # fmt: skip
        if not self._password:
            yield environment
            return
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="minervas-") as file:  # mode 0600
            escaped = self._password.replace("\\", "\\\\").replace(":", "\\:")
            file.write(f"*:*:*:*:{escaped}\n")
            file.flush()
            if self.database.run_as is not None:
                os.chown(file.name, self.database.run_as, self.database.run_as)
            yield {**environment, "PGPASSFILE": file.name}

    def _end(self, process: subprocess.Popen[bytes], program: str, words: IO[bytes]) -> None:
        if process.wait():
            words.seek(0)
            raise self._failed(program, words.read())

    def _failed(self, program: str, stderr: bytes) -> LocalFault:
        return LocalFault(
            Code.BAD_BACKUP, f"{program} failed; it needs a superuser of the server, and programs of its version",
            database=self.database.name, user=self.database.user, reason=_words(stderr),
        )  # fmt: skip


def _find(program: str, directory: Path | None) -> Path:
    """Where a program is: in the directory given, else the newest that Debian has installed, else in the path."""
    if directory is not None:
        places = [directory / program]
    else:
        debian = sorted(DEBIAN.glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]), reverse=True)
        places = [*debian, *map(Path, filter(None, [shutil.which(program)]))]
    for place in places:
        if place.is_file():
            return place
    raise LocalFault(
        Code.BAD_SETTINGS, "A program of PostgreSQL is missing; install postgresql-client, or set `programs`",
        program=program,
    )  # fmt: skip


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(WAIT_S)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _words(stderr: bytes) -> str:
    """The last words of a program."""
    return " ".join(stderr.decode("utf-8", "replace").split())[-LAST_WORDS:]


def _name(identifier: str) -> str:
    escaped = identifier.replace('"', '""')
    return f'"{escaped}"'


def _literal(text: str) -> str:
    if "\\" in text or "\0" in text:
        raise LocalFault(Code.BAD_SETTINGS, "A name with a backslash cannot be used", name=text)
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
