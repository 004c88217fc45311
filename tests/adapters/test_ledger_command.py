"""The command `minervas-ledger`: what a person types, one clear line for every mistake, and the exit status."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_ledger import __version__
from tests.support.builders import LocalChain
from tests.support.fix_ledger import TRUNCATE_ALL
from tests.support.ledger import StoredChain, database_settings
from tests.support.wait import HANG_S

LONG_AGO_MS = 1_700_000_000_000
"""A genesis of 2023: commands know the time of day, and take no block from the future."""

SETTINGS = """\
member = "{member}"

[paths]
data = "ledger"
enrol = "enrol"
issued = "issued"
secrets = "secrets"

[database]
host = "{database.socket_dir}"
port = {database.port}
name = "{database.name}"
user = "{database.writer.user}"
password_file = "{database.writer.password_file}"

[database_owner]
user = "{database.owner.user}"
password_file = "{database.owner.password_file}"
"""


@dataclass
class Command:
    """A node directory with a settings file."""

    directory: Path
    database: NodeDatabase

    def __post_init__(self) -> None:
        self.write(SETTINGS.format(member="m0", database=self.database))
        (self.directory / "issued").mkdir()
        (self.directory / "issued" / "genesis.json").write_bytes(LocalChain().genesis.raw)

    @property
    def config(self) -> Path:
        return self.directory / "ledger.toml"

    def write(self, text: str) -> None:
        self.config.write_text(text, encoding="utf-8")

    def run(self, verb: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "minervas_ledger", verb, *more]
        arguments = [] if verb == "version" else ["--config", str(self.config)]
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, timeout=HANG_S, cwd=self.directory
        )


@pytest.fixture
def command(tmp_path: Path, node_database: NodeDatabase) -> Command:
    return Command(tmp_path, node_database)


def test_version_is_shown(command: Command) -> None:
    done = command.run("version")
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


def test_migrate_says_what_it_did(command: Command) -> None:
    first, second = command.run("migrate"), command.run("migrate")
    assert (first.returncode, second.returncode) == (0, 0)
    assert "applied 0001_chain" in first.stdout
    assert "current" in second.stdout


def test_audit_passes_and_then_names_the_row_that_was_changed(
    command: Command, postgres_server: PostgresServer
) -> None:
    command.run("migrate")
    local = LocalChain()
    stored = StoredChain(database_settings(command.database), local.genesis)
    stored.take(local.found("m0", "m1"), local.extend("m1"))
    passed = command.run("audit")  # while a ledger works
    stored.now.close()
    assert passed.returncode == 0, passed.stderr
    assert f"audit passed: 2 blocks with 2 transactions, tip {local.tip.hash}, 2 members" in passed.stdout
    with psycopg.connect(postgres_server.superuser_conninfo(command.database.name)) as superuser:
        superuser.execute("UPDATE roster SET admitted_height = 2 WHERE member = 'm1'")
    failed = command.run("audit")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "audit_mismatch" in failed.stderr
    assert "table='roster', row='m1'" in failed.stderr


def test_a_chain_goes_out_as_a_file_and_comes_back_into_an_empty_database(
    command: Command, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    command.run("migrate")
    local = LocalChain(created_ms=LONG_AGO_MS)
    (command.directory / "issued" / "genesis.json").write_bytes(local.genesis.raw)
    stored = StoredChain(database_settings(command.database), local.genesis)
    stored.take(local.found("m0", "m1"), local.extend("m1"))
    exported = command.run("export", "chain.gz")  # while a ledger works; the name is below the working directory
    beside = command.run("import", str(tmp_path / "chain.gz"))
    stored.now.close()
    assert (exported.returncode, exported.stderr) == (0, "")
    assert "exported 2 blocks" in exported.stdout
    assert beside.returncode == 1
    assert "Another ledger works in this database" in beside.stderr
    with psycopg.connect(postgres_server.superuser_conninfo(command.database.name)) as superuser:
        superuser.execute(TRUNCATE_ALL)
    imported = command.run("import", "chain.gz")
    assert imported.returncode == 0, imported.stderr
    assert f"imported 2 new of 2 blocks; the best chain has height 2, tip {local.tip.hash}" in imported.stdout
    assert command.run("audit").returncode == 0
    (tmp_path / "chain.gz").write_bytes((tmp_path / "chain.gz").read_bytes()[:-9])
    damaged = command.run("import", "chain.gz")
    assert damaged.returncode == 1
    assert damaged.stderr.count("\n") == 1
    assert "bad_chain_file" in damaged.stderr


def test_audit_of_a_database_that_was_not_migrated_is_refused(command: Command) -> None:
    done = command.run("audit")
    assert done.returncode == 1
    assert "run minervas-ledger migrate" in done.stderr


def test_check_config_accepts_a_good_file(command: Command) -> None:
    done = command.run("check-config")
    assert (done.returncode, done.stderr) == (0, "")
    assert "m0" in done.stdout


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("user =", "usr ="), "did you mean user?"),
        (("[database_owner]", "[database_own]"), "did you mean database_owner?"),
        (('member = "m0"', 'member = "M 0"'), "member"),
        (("port =", "port = 99999 #"), "database.port"),
        (("[paths]", "[paths"), "not TOML"),
    ],
)
def test_wrong_settings_end_with_status_2_and_one_line(command: Command, change: tuple[str, str], told: str) -> None:
    command.write(command.config.read_text(encoding="utf-8").replace(*change, 1))
    done = command.run("check-config")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(command.config) in done.stderr
    assert told in done.stderr


@pytest.mark.parametrize("verb", ["run", "migrate", "audit"])
def test_no_verb_works_with_wrong_settings(command: Command, verb: str) -> None:
    command.write("")
    done = command.run(verb)
    assert done.returncode == 2
    assert "member: this setting is missing" in done.stderr


def test_migrate_without_an_owner_says_so(command: Command) -> None:
    text = command.config.read_text(encoding="utf-8")
    command.write(text[: text.index("[database_owner]")])
    done = command.run("migrate")
    assert done.returncode == 2
    assert "database_owner" in done.stderr


def test_password_file_that_is_open_to_others_is_refused(command: Command) -> None:
    open_file = command.directory / "open.password"
    open_file.write_text("secret\n", encoding="utf-8")
    open_file.chmod(0o644)
    text = command.config.read_text(encoding="utf-8")
    command.write(text.replace(str(command.database.writer.password_file), "open.password"))
    done = command.run("audit")
    assert done.returncode == 1
    assert "chmod 600" in done.stderr


def test_no_database_is_one_line_that_says_where(command: Command) -> None:
    text = command.config.read_text(encoding="utf-8")
    command.write(text.replace(f"port = {command.database.port}", "port = 1"))
    for verb in ("migrate", "audit"):
        done = command.run(verb)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "database_away" in done.stderr
        assert "port=1" in done.stderr
