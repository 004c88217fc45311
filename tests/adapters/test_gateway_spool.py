"""The spool: numbers without gaps whatever happens, bounded, replaced when it cannot be used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from minervas_core.encoding import encode
from minervas_core.errors import LocalFault
from minervas_core.metering import Reading
from minervas_meter_gateway.channel_state import ChannelState, Draft, Point
from minervas_meter_gateway.spool import Spool, SpoolFull, Statement
from minervas_meter_gateway.spool_file import SpoolTrouble
from tests.support import spool_filler, spool_on_full_disk
from tests.support.fix_small_disk import SmallDisk
from tests.support.gateway import MEMBER, NETWORK, reading
from tests.support.seed import seeded_random

KEY = ("pv1", "dc")
ROOT = Path(spool_filler.__file__).parents[2]
DRAFT = Draft(Point(1, 2, 3), Point(4, 5, 6), measured=7, substituted=1, missing=8, root="0" * 64, reset=True)


class SpoolDir:
    """Opens the spool of one directory again and again, and closes what was left open."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "spool.db"
        self._open: list[Spool] = []

    def open(self, *, network: str = NETWORK, max_bytes: int = 10**8, max_age_ms: int = 10**12) -> Spool:
        spool = Spool(self.file, network=network, member=MEMBER, max_bytes=max_bytes, max_age_ms=max_age_ms)
        self._open.append(spool)
        return spool

    def close(self) -> None:
        for spool in self._open:
            spool.close()
        self._open.clear()


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[SpoolDir]:
    directory = SpoolDir(tmp_path)
    yield directory
    directory.close()


def bodies(first: int, count: int) -> list[bytes]:
    return [encode(reading(number, number, number)) for number in range(first, first + count)]


def numbers(spool: Spool) -> list[int]:
    """Numbers of the readings that wait."""
    return [msgspec.json.decode(body, type=Reading).sequence for body in spool.read(0, 2**53, 10**6)]


def test_a_restart_goes_on_with_the_number_and_the_id(spools: SpoolDir) -> None:
    first = spools.open()
    first.append(bodies(0, 3), {}, [])
    spools.close()
    again = spools.open()
    assert (again.id, again.next_sequence, again.depth) == (first.id, 3, 3)
    again.append(bodies(3, 2), {}, [])
    assert numbers(again) == [0, 1, 2, 3, 4]


def test_numbers_are_not_given_out_again_after_everything_was_acknowledged(spools: SpoolDir) -> None:
    spool = spools.open()
    spool.append(bodies(0, 5), {}, [])
    assert spool.acknowledge([(0, 4)]) == 5
    spools.close()
    assert (spools.open().next_sequence, spool.depth) == (5, 0)


def test_a_new_file_has_a_new_id(spools: SpoolDir) -> None:
    first = spools.open()
    spools.close()
    spools.file.unlink()
    assert spools.open().id != first.id


def test_acknowledgements_may_come_twice_in_parts_and_for_what_never_was(spools: SpoolDir) -> None:
    spool = spools.open()
    spool.append(bodies(0, 10), {}, [])
    assert spool.acknowledge([(2, 3), (7, 7), (9, 500), (600, 700), (5, 4)]) == 4
    assert spool.acknowledge([(2, 3)]) == 0
    assert numbers(spool) == [0, 1, 4, 5, 6, 8]
    assert (spool.depth, spool.oldest(), spool.waiting_below(5)) == (6, 0, 3)


def test_states_and_statements_are_there_after_a_restart(spools: SpoolDir) -> None:
    spool = spools.open()
    state = ChannelState(start=Point(1, 2), reset=True, last_energy_mwh=5)
    (stored,) = spool.append(bodies(0, 1), {KEY: state}, [Statement(0, *KEY, DRAFT)])
    spools.close()
    again = spools.open()
    assert again.states() == {KEY: state}
    assert again.statements() == [stored]
    signed = Statement(stored.id, *KEY, DRAFT, b"signed", 9, in_block=True)
    again.save(changed=[signed])
    assert again.statements() == [signed]
    again.save(removed=[signed])
    assert again.statements() == []


def test_a_full_spool_refuses_and_takes_again_after_acknowledgements(spools: SpoolDir) -> None:
    spool = spools.open(max_bytes=200_000)
    with pytest.raises(SpoolFull):  # noqa: PT012 - it is not known at which one
        while True:
            spool.append(bodies(spool.next_sequence, 50), {}, [])
    full_at = spool.next_sequence
    assert spool.fill_per_cent() >= 100
    assert numbers(spool) == list(range(full_at))
    spool.acknowledge([(0, full_at // 2)])
    assert spool.fill_per_cent() < 90
    spool.append(bodies(full_at, 1), {}, [])
    assert spool.next_sequence == full_at + 1


def test_a_spool_whose_oldest_reading_waits_too_long_refuses_until_it_is_acknowledged(spools: SpoolDir) -> None:
    spool = spools.open(max_age_ms=100)
    spool.append(bodies(1_000, 1), {}, [])  # its time is its number
    spool.append(bodies(1_090, 1), {}, [])
    assert spool.fill_per_cent() == 90
    with pytest.raises(SpoolFull, match="waits for too long"):
        spool.append(bodies(1_100, 1), {}, [])
    assert spool.next_sequence == 2
    spool.acknowledge([(0, 0)])
    spool.append(bodies(1_100, 1), {}, [])
    assert spool.fill_per_cent() == 10


def test_a_clock_that_was_set_back_does_not_fill_the_spool(spools: SpoolDir) -> None:
    spool = spools.open(max_age_ms=100)
    spool.append(bodies(1_000, 1), {}, [])
    spool.append(bodies(10, 1), {}, [])
    assert spool.fill_per_cent() == 0


def test_a_failing_disk_changes_nothing(spools: SpoolDir) -> None:
    spool = spools.open()
    spool.append(bodies(0, 1), {KEY: ChannelState(last_energy_mwh=1)}, [])
    spool._connection.execute("PRAGMA query_only = ON")  # as a disk that has become read-only
    with pytest.raises(SpoolTrouble):
        spool.append(bodies(1, 1), {KEY: ChannelState(last_energy_mwh=2)}, [])
    spool._connection.execute("PRAGMA query_only = OFF")
    assert (spool.next_sequence, numbers(spool)) == (1, [0])
    assert spool.states()[KEY].last_energy_mwh == 1


def test_a_full_disk_changes_nothing_and_what_was_refused_is_taken_when_there_is_room(small_disk: SmallDisk) -> None:
    small_disk.leave(2)
    command = [*small_disk.inside, sys.executable, "-m", "tests.support.spool_on_full_disk", str(small_disk.point)]
    # Who enters a namespace leaves the working directory behind.
    importing = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen(command, env=importing, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as filling:
        assert filling.stdin is not None
        assert filling.stdout is not None
        appended, waiting, following, *trouble = filling.stdout.readline().split()
        assert "is full" in " ".join(trouble)
        assert int(appended) > 0
        assert waiting == following == appended
        small_disk.leave(10)
        filling.stdin.write("go on\n")
        filling.stdin.flush()
        later = int(appended) + spool_on_full_disk.AT_ONCE
        assert filling.stdout.readline().split() == [str(later)] * 3
    assert filling.returncode == 0


def test_a_damaged_file_is_moved_aside_and_sampling_goes_on(spools: SpoolDir) -> None:
    spools.file.write_bytes(b"not a database" * 1000)
    spool = spools.open()
    assert spool.next_sequence == 0
    (aside,) = spools.file.parent.glob("spool.db.aside-*")
    assert aside.read_bytes().startswith(b"not a database")


def test_the_spool_of_another_network_is_not_sent_to_this_one(spools: SpoolDir) -> None:
    other = spools.open(network="a" * 32)
    other.append(bodies(0, 3), {KEY: ChannelState(start=Point(1, 2))}, [])
    spools.close()
    spool = spools.open()
    assert (spool.depth, spool.states()) == (0, {})
    assert spool.id != other.id


def test_a_second_gateway_on_the_same_spool_does_not_start(spools: SpoolDir) -> None:
    spools.open()
    with pytest.raises(LocalFault, match="another gateway"):
        spools.open()


def test_killed_at_any_moment_no_number_is_lost_or_used_twice(spools: SpoolDir) -> None:
    chance = seeded_random("kill -9")
    committed = 0
    spool_id = ""
    for _ in range(3):
        said = _fill_and_kill(spools.file, lines=chance.randint(1, 60))
        spool = spools.open()
        assert spool_id in ("", spool.id)
        spool_id = spool.id
        assert spool.next_sequence >= max(committed, said)
        assert numbers(spool) == list(range(spool.next_sequence))
        assert spool.states()[KEY].last_energy_mwh == spool.next_sequence - 1
        committed = spool.next_sequence
        spools.close()


def _fill_and_kill(file: Path, *, lines: int) -> int:
    """Let a process fill the spool and kill it in the middle; returns the last number that it said was committed."""
    command = [sys.executable, "-m", "tests.support.spool_filler", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        said = 0
        for _ in range(lines):
            said = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split("\n")[:-1]
        return int(rest[-1]) if rest else said
