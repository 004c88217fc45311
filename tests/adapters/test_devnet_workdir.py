"""The devnet's work directory, ports and waiting."""

from __future__ import annotations

import stat
import time

import pytest

from minervas_devnet.ports import free_ports
from minervas_devnet.waiting import WaitTimeout
from minervas_devnet.workdir import WorkDir
from tests.support.wait import DEFAULT_TIMEOUT_S, wait_until, wait_until_async


def test_directory_is_passable_not_listable_and_removed_after_success() -> None:
    with WorkDir("unit") as work:
        assert stat.S_IMODE(work.path.stat().st_mode) == 0o711
        (work.path / "file").touch()
    assert not work.path.exists()


def fail_inside(work: WorkDir, error: BaseException) -> None:
    with work:
        raise error


def test_directory_is_kept_after_a_failure_and_its_place_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    work = WorkDir("unit")
    with pytest.raises(ValueError, match="boom"):
        fail_inside(work, ValueError("boom"))
    assert capsys.readouterr().err == f"kept for a look: {work.path}\n"
    work.path.rmdir()


def test_directory_is_removed_after_ctrl_c() -> None:
    work = WorkDir("unit")
    with pytest.raises(KeyboardInterrupt):
        fail_inside(work, KeyboardInterrupt())
    assert not work.path.exists()


def test_directory_is_kept_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINERVAS_KEEP", "1")
    with WorkDir("unit") as work:
        pass
    assert work.path.exists()
    work.path.rmdir()


def test_free_ports_are_never_handed_out_twice() -> None:
    ports = [port for _ in range(20) for port in free_ports(5)]
    assert len(set(ports)) == 100


def test_waiting_ends_as_soon_as_the_condition_holds() -> None:
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + 0.1)
    assert time.monotonic() < began + DEFAULT_TIMEOUT_S


def test_timeout_says_what_was_awaited_and_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINERVAS_TIMEOUT_FACTOR", raising=False)
    with pytest.raises(WaitTimeout, match=r"waited 0.05 s for a condition.*; tip is 7"):
        wait_until(lambda: False, timeout=0.05, describe=lambda: "tip is 7")
    with pytest.raises(WaitTimeout, match=r"waited 0.05 s for height 8"):
        wait_until(lambda: False, timeout=0.05, describe="height 8")


def test_timeouts_are_stretched_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINERVAS_TIMEOUT_FACTOR", "3")
    with pytest.raises(WaitTimeout, match=r"waited 0.06 s"):
        wait_until(lambda: False, timeout=0.02)


async def test_waiting_in_a_coroutine_takes_both_kinds_of_conditions() -> None:
    looks = iter([False, False, True])

    async def look() -> bool:
        return next(looks)

    await wait_until_async(look)
    await wait_until_async(lambda: True)
    with pytest.raises(WaitTimeout, match="never"):
        await wait_until_async(lambda: False, timeout=0.05, describe="never")
