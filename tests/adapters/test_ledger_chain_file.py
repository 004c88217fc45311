"""Export and import: the chain as one file comes back exactly, and a damaged file is told at the block where it is."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_devnet.postgres import PostgresServer
from minervas_ledger import import_command, progress
from minervas_ledger.export_command import run_export
from minervas_ledger.import_command import run_import
from minervas_ledger.settings import DatabaseSettings, LedgerSettings
from minervas_ledger.store.connection import Connection
from minervas_runtime.chain_file import ChainFileReader, write_chain
from minervas_runtime.clock import ManualClock
from minervas_runtime.settings import NodePaths
from tests.support.builders import FAR_FUTURE_MS, LocalChain, admit, altered, make_genesis, mine_block, revoke
from tests.support.fix_ledger import TRUNCATE_ALL
from tests.support.ledger import StoredChain, audit

BLOCKS = 25
GENESIS = "ab" * 32


@dataclass
class Backup:
    """A node directory, the chain that its file holds, and what the commands said."""

    settings: LedgerSettings
    local: LocalChain
    file: Path
    said: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def store(self, *, upto: int = BLOCKS) -> None:
        """Fill the database."""
        stored = StoredChain(self.settings.database, self.local.genesis)
        nodes = list(self.local.tip.blocks())[::-1][:upto]
        stored.take(*(self.local.chain._stored(node) for node in nodes))
        stored.now.close()

    def write(self, blocks: list[bytes] | None = None, genesis: str = "") -> bytes:
        """Write a file with these blocks, or those of the chain."""
        target = io.BytesIO()
        write_chain(target, genesis or self.local.genesis.hash, self.raw() if blocks is None else blocks)
        self.file.write_bytes(target.getvalue())
        return target.getvalue()

    def raw(self) -> list[bytes]:
        return [self.local.chain._stored(node).raw for node in list(self.local.tip.blocks())[::-1]]

    def export(self, file: Path | None = None) -> int:
        return run_export(self.settings, file or self.file, self.said.append, self.told.append)

    def take_in(self, *, now_ms: int = FAR_FUTURE_MS) -> int:
        return run_import(self.settings, self.file, ManualClock(now_ms), self.said.append, self.told.append)

    def fault(self) -> LocalFault:
        """What an import refuses."""
        with pytest.raises(LocalFault) as caught:
            self.take_in()
        return caught.value

    def height(self) -> int:
        return audit(self.settings.database, self.local.genesis).height


@pytest.fixture
def backup(ledger_database: DatabaseSettings, tmp_path: Path) -> Backup:
    local = LocalChain()
    local.found("m0", "m1", "m2")
    for number in range(2, BLOCKS + 1):
        local.extend(f"m{number % 3}", [admit(f"n{number}", expires=number + 3)] if number % 4 == 0 else [])
    (tmp_path / "genesis.json").write_bytes(local.genesis.raw)
    paths = NodePaths(data=tmp_path, enrol=tmp_path, issued=tmp_path, secrets=tmp_path)
    return Backup(LedgerSettings(member="m0", paths=paths, database=ledger_database), local, tmp_path / "chain")


@pytest.fixture
def superuser(postgres_server: PostgresServer, ledger_database: DatabaseSettings) -> Iterator[Connection]:
    with psycopg.connect(postgres_server.superuser_conninfo(ledger_database.name), autocommit=True) as connection:
        yield connection


# there and back


@pytest.mark.parametrize("name", ["chain", "chain.gz"])
def test_what_was_exported_comes_back_exactly(backup: Backup, name: str, superuser: Connection) -> None:
    backup.file = backup.file.with_name(name)
    backup.store()
    assert backup.export() == 0
    assert f"exported {BLOCKS} blocks" in backup.said[-1]
    assert (backup.file.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    superuser.execute(TRUNCATE_ALL)
    assert backup.take_in() == 0
    assert f"imported {BLOCKS} new of {BLOCKS} blocks" in backup.said[-1]
    assert audit(backup.settings.database, backup.local.genesis).tip_hash == backup.local.tip.hash


def test_an_exported_file_is_what_the_format_says(backup: Backup) -> None:
    backup.store()
    backup.export()
    content = backup.file.read_bytes()
    body = b"".join(len(raw).to_bytes(4, "big") + raw for raw in backup.raw())
    start = f"minervas-chain 1\ngenesis {backup.local.genesis.hash}\n".encode()
    whole = start + body + bytes(4) + BLOCKS.to_bytes(8, "big")
    assert content == whole + hashlib.sha256(whole).digest()
    assert stat.S_IMODE(backup.file.stat().st_mode) == 0o600


def test_an_empty_chain_is_exported_too(backup: Backup) -> None:
    assert backup.export() == 0
    assert backup.take_in() == 0
    assert "imported 0 new of 0 blocks; the best chain has height 0" in backup.said[-1]


def test_import_into_a_shorter_database_takes_what_is_missing(backup: Backup) -> None:
    backup.store(upto=10)
    backup.write()
    backup.take_in()
    assert f"imported {BLOCKS - 10} new of {BLOCKS} blocks" in backup.said[-1]
    assert backup.height() == BLOCKS
    backup.take_in()
    assert f"imported 0 new of {BLOCKS} blocks" in backup.said[-1]


def test_import_may_be_interrupted_and_goes_on(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed stays; the next run passes over it."""
    monkeypatch.setattr(import_command, "BLOCKS_PER_COMMIT", 4)
    backup.write()
    monkeypatch.setattr(progress.Progress, "__call__", interrupt_at(12))
    with pytest.raises(KeyboardInterrupt):
        backup.take_in()
    monkeypatch.undo()
    assert backup.height() == 12
    backup.take_in()
    assert f"imported {BLOCKS - 12} new of {BLOCKS} blocks" in backup.said[-1]


def interrupt_at(height: int) -> object:
    def stop(_: object, reached: int, target: int = 0) -> None:
        if reached == height:
            raise KeyboardInterrupt

    return stop


def test_a_worse_chain_stays_beside_the_best_one(backup: Backup) -> None:
    backup.store()
    other = LocalChain()
    other.found("m0", "m1", "m2")
    other.extend("m1", start=77)
    backup.write([other.chain._stored(node).raw for node in list(other.tip.blocks())[::-1]])
    backup.take_in()
    assert f"imported 1 new of 2 blocks; the best chain has height {BLOCKS}" in backup.said[-1]


def test_export_shows_progress(backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    times_ms = itertools.count(0, 500)
    monkeypatch.setattr(progress, "monotonic_ms", lambda: next(times_ms))
    backup.store()
    backup.export()
    assert backup.told[0] == f"export: height 4 of {BLOCKS}, 2 blocks/s, about 0:10 min left"
    backup.take_in()
    assert not [line for line in backup.told if not line.startswith(("export: height", "import: height"))]


# what is refused


def test_the_file_of_another_consortium_is_refused(backup: Backup) -> None:
    backup.write(genesis=make_genesis(name="Another").hash)
    fault = backup.fault()
    assert fault.code == Code.BAD_GENESIS
    assert fault.values["found"] == make_genesis(name="Another").hash


def test_a_database_of_another_consortium_is_not_exported(backup: Backup) -> None:
    backup.store()
    (backup.settings.paths.issued / "genesis.json").write_bytes(make_genesis(name="Another").raw)
    with pytest.raises(LocalFault) as caught:
        backup.export()
    assert caught.value.code == Code.BAD_GENESIS
    assert not backup.file.exists()


def test_a_block_that_breaks_a_rule_is_named_and_those_before_it_stay(backup: Backup) -> None:
    raw = backup.raw()
    parent = backup.local.chain.tree.main_at(6)
    assert parent is not None
    bad = mine_block(parent, [revoke("nobody", expires=9)], "m1", backup.local.genesis)
    backup.write([*raw[:6], bad.raw, *raw[7:]])
    fault = backup.fault()
    assert (fault.code, fault.values["block"]) == (Code.BAD_CHAIN_FILE, 7)
    assert Code.MEMBER_UNKNOWN in str(fault.values["reason"])
    assert backup.height() == 6
    backup.write()
    backup.take_in()
    assert backup.height() == BLOCKS


def test_a_block_that_is_missing_is_named(backup: Backup) -> None:
    raw = backup.raw()
    backup.write([*raw[:4], *raw[5:]])
    fault = backup.fault()
    assert (fault.values["block"], fault.values["reason"]) == (5, "it says height 6")
    assert backup.height() == 4


def test_a_block_of_another_branch_does_not_follow(backup: Backup) -> None:
    raw = backup.raw()
    stranger = altered(backup.local.chain._stored(backup.local.tip), height=5, prev="cd" * 32)
    backup.write([*raw[:4], stranger.raw])
    fault = backup.fault()
    assert fault.values["block"] == 5
    assert Code.BLOCK_UNKNOWN_PARENT in str(fault.values["reason"])


def test_a_clock_that_is_behind_is_the_reason(backup: Backup) -> None:
    backup.write()
    parent = backup.local.chain.tree.main_at(3)
    assert parent is not None
    with pytest.raises(LocalFault) as caught:
        backup.take_in(now_ms=parent.time_ms)
    assert Code.BLOCK_TIME_TOO_NEW in str(caught.value.values["reason"])


def test_every_damaged_byte_is_noticed(backup: Backup) -> None:
    """A spoiled byte breaks a block, or the digest at the end; nothing of it is taken for good."""
    good = backup.write()
    for place in range(0, len(good), 997):
        backup.file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert backup.fault().code in (Code.BAD_CHAIN_FILE, Code.BAD_GENESIS), place
    backup.write()
    backup.take_in()
    assert backup.height() == BLOCKS


def test_a_file_that_was_cut_is_told_at_the_block(backup: Backup) -> None:
    good = backup.write()
    before = sum(len(raw) + 4 for raw in backup.raw()[:9])
    backup.file.write_bytes(good[: 17 + 8 + 64 + 1 + before + 10])
    fault = backup.fault()
    assert (fault.message, fault.values["block"]) == ("The file is damaged: it ends too early", 10)
    assert backup.height() == 9


def test_a_packed_file_that_was_cut_is_refused(backup: Backup) -> None:
    packed = gzip.compress(backup.write(), mtime=0)
    for content in (packed[:-20], packed[: len(packed) // 2], packed[:-8] + bytes(8), packed[:30] + b"x" * 50):
        backup.file.write_bytes(content)
        assert backup.fault().code == Code.BAD_CHAIN_FILE


@pytest.mark.parametrize("content", [b"", b"{}", b"minervas-chain 2\n", b"minervas-chain 1\nGenesis " + b"a" * 99])
def test_another_file_is_refused(backup: Backup, content: bytes) -> None:
    backup.file.write_bytes(content)
    assert backup.fault().code == Code.BAD_CHAIN_FILE


def test_a_file_that_is_not_there_is_refused(backup: Backup) -> None:
    assert backup.fault().code == Code.BAD_CHAIN_FILE


def test_an_export_that_fails_leaves_the_file_before(backup: Backup, tmp_path: Path) -> None:
    backup.store()
    backup.file.write_bytes(b"old")
    nowhere = tmp_path / "no" / "chain"
    with pytest.raises(LocalFault) as caught:
        backup.export(nowhere)
    assert caught.value.code == Code.BAD_CHAIN_FILE
    assert backup.file.read_bytes() == b"old"


def test_a_block_that_is_damaged_in_the_database_is_not_exported(backup: Backup, superuser: Connection) -> None:
    backup.store()
    backup.file.write_bytes(b"old")
    superuser.execute("UPDATE blocks SET raw = (SELECT raw FROM blocks WHERE height = 4) WHERE height = 5")
    with pytest.raises(LocalFault) as caught:
        backup.export()
    assert (caught.value.code, caught.value.values["table"]) == (Code.AUDIT_MISMATCH, "blocks")
    assert backup.file.read_bytes() == b"old"
    assert sorted(each.name for each in backup.file.parent.iterdir()) == ["chain", "genesis.json"]


def test_import_beside_a_working_ledger_is_refused(backup: Backup) -> None:
    backup.write()
    working = StoredChain(backup.settings.database, backup.local.genesis)
    with pytest.raises(TransientFault) as caught:
        backup.take_in()
    assert "Another ledger works in this database" in str(caught.value)
    working.now.close()


# the form


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file[:-32] + bytes(32), "its digest is another"),
        (lambda file: file[:-40] + (9).to_bytes(8, "big") + file[-32:], "another number of blocks"),
        (lambda file: file + b"x", "something follows its end"),
        (lambda file: file[:90] + (2**31).to_bytes(4, "big") + file[94:], "no block is so long"),
        (lambda file: file[:-33], "it ends too early"),
    ],
)
def test_a_reader_checks_the_whole_form(change: object, told: str) -> None:
    target = io.BytesIO()
    assert write_chain(target, GENESIS, [b"one", b"three"]) == 2
    assert list(ChainFileReader(io.BytesIO(target.getvalue()), "f").blocks()) == [b"one", b"three"]
    assert callable(change)
    with pytest.raises(LocalFault) as caught:
        list(ChainFileReader(io.BytesIO(change(target.getvalue())), "f").blocks())
    assert told in caught.value.message
