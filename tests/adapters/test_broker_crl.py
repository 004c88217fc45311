"""The revocation list reaches Mosquitto within a second, and never in a state that Mosquitto takes badly.

A broken list at SIGHUP makes Mosquitto 2.0 accept revoked certificates and 2.1 exit; an expired one, or one from the
future, makes either refuse everybody.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minervas_core.identifiers import Principal
from minervas_core.topics import mesh
from minervas_devnet.broker import RUNNING, BrokerServer
from tests.support.fix_broker import Broker
from tests.support.pki import DAY, HOUR, Authority, CertFiles, publish_crl
from tests.support.promises import kept_within
from tests.support.wait import HANG_S, wait_until, wait_until_async

SECOND = dt.timedelta(seconds=1)


def is_refused(broker: Broker, files: CertFiles) -> bool:
    return broker.probe(files).verdict == "refused"


async def test_a_revoked_certificate_is_refused_within_a_second_and_nobody_else_notices(own_broker: Broker) -> None:
    staying = Principal("staying", "peer")
    bus = own_broker.bus(staying, own_broker.admit(staying))
    await bus.start()
    changes: list[bool] = []
    bus.on_connection_change(changes.append)

    async def revoke(number: int) -> float:
        victim = own_broker.issue(f"victim-{number}.peer")
        start = time.monotonic()
        own_broker.revoke(victim)
        reloads = number + 1
        await wait_until_async(lambda: own_broker.server.output().count("Reloading config") == reloads)
        assert is_refused(own_broker, victim)
        return time.monotonic() - start

    await kept_within(1.0, revoke)
    await bus.publish(mesh(staying, "tx"), b"still here")
    assert changes == []
    await bus.stop()


async def test_after_a_revocation_the_old_key_is_refused_and_a_new_one_under_the_same_name_works(
    own_broker: Broker,
) -> None:
    alice = Principal("alice", "peer")
    old = own_broker.admit(alice)
    own_broker.kick(alice)
    own_broker.revoke(old)
    own_broker.server.wait_for_log("Reloading config")
    new = own_broker.admit(alice)
    assert is_refused(own_broker, old)
    bus = own_broker.bus(alice, new)
    async with asyncio.timeout(HANG_S):
        await bus.start()
    await bus.publish(mesh(alice, "tx"), b"readmitted")
    await bus.stop()


FRAME_WITH_NO_LIST_IN_IT = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"

BROKEN: list[object] = [
    pytest.param(lambda _: b"garbage", "not a PEM file of kind X509 CRL", id="garbage"),
    pytest.param(lambda _: b"", "not a PEM file of kind X509 CRL", id="empty"),
    pytest.param(lambda pem: pem[: len(pem) // 2], "not a PEM file of kind X509 CRL", id="cut in the middle"),
    pytest.param(lambda pem: without_line(pem, 2), "truncated", id="one line missing"),
    pytest.param(lambda pem: pem.replace(b"MII", b"!!!", 1).replace(b"MIH", b"!!!", 1), "not base64", id="not base64"),
    pytest.param(lambda pem: pem + pem, "two lists of one CA", id="two lists of one CA"),
    pytest.param(lambda _: FRAME_WITH_NO_LIST_IN_IT, "malformed", id="frame with no list in it"),
]


def without_line(pem: bytes, number: int) -> bytes:
    lines = pem.splitlines(keepends=True)
    return b"".join(lines[:number] + lines[number + 1 :])


@pytest.mark.parametrize(("damage", "problem"), BROKEN)
def test_a_broken_list_never_reaches_mosquitto_and_the_next_good_one_does(
    own_broker: Broker, damage: Callable[[bytes], bytes], problem: str
) -> None:
    good, victim = own_broker.issue("good.peer"), own_broker.issue("victim.peer")
    own_broker.authority.revoke(victim.certificate)
    installed = (own_broker.server.directory / "live" / "ca.crl").read_bytes()
    publish_crl(own_broker.export_dir, damage(own_broker.authority.crl_pem()))
    own_broker.server.wait_for_log(f"revocation list ignored: {problem}")
    assert (own_broker.server.directory / "live" / "ca.crl").read_bytes() == installed
    assert "Reloading config" not in own_broker.server.output()
    assert own_broker.accepts(good)
    publish_crl(own_broker.export_dir, own_broker.authority.crl_pem())
    own_broker.server.wait_for_log("Reloading config")
    assert own_broker.accepts(good)
    assert is_refused(own_broker, victim)


@pytest.mark.parametrize(
    ("last_update", "next_update", "problem"),
    [
        pytest.param(-2 * DAY, -SECOND, "expired at", id="expired"),
        pytest.param(HOUR, DAY, "not valid before", id="from the future"),
    ],
)
def test_a_list_out_of_its_time_never_reaches_mosquitto(
    own_broker: Broker, last_update: dt.timedelta, next_update: dt.timedelta, problem: str
) -> None:
    good = own_broker.issue("good.peer")
    pem = own_broker.authority.crl_pem(last_update=last_update, next_update=next_update)
    publish_crl(own_broker.export_dir, pem)
    own_broker.server.wait_for_log(f"revocation list ignored: {problem}")
    assert own_broker.accepts(good)


def test_a_list_that_does_not_fit_its_digest_is_ignored_until_it_does(own_broker: Broker) -> None:
    pem = own_broker.authority.crl_pem()
    publish_crl(own_broker.export_dir, pem, digest="0" * 64)
    own_broker.server.wait_for_log("revocation list ignored: digest differs")
    publish_crl(own_broker.export_dir, pem)
    own_broker.server.wait_for_log("Reloading config")


def test_a_list_of_another_ca_is_ignored(own_broker: Broker, work_dir: Path) -> None:
    """With it Mosquitto would find no list of its own CA, and refuse everybody."""
    other = Authority(work_dir / "other-ca", name="Other CA")
    publish_crl(own_broker.export_dir, other.crl_pem())
    own_broker.server.wait_for_log("revocation list ignored: no list of a CA in ca.crt")
    assert own_broker.accepts(own_broker.issue("good.peer"))


def test_a_list_that_is_gone_leaves_the_old_one_in_use(own_broker: Broker) -> None:
    victim = own_broker.issue("victim.peer")
    own_broker.revoke(victim)
    own_broker.server.wait_for_log("Reloading config")
    publish_crl(own_broker.export_dir, own_broker.authority.crl_pem(), digest="0" * 64)
    (own_broker.export_dir / "ca.crl").unlink()
    own_broker.server.wait_for_log("revocation list ignored: cannot read")
    assert not own_broker.accepts(victim)
    assert own_broker.accepts(own_broker.issue("good.peer"))


def test_the_same_list_again_is_not_reloaded(own_broker: Broker) -> None:
    pem = own_broker.authority.crl_pem()
    publish_crl(own_broker.export_dir, pem)
    own_broker.server.wait_for_log("Reloading config")
    publish_crl(own_broker.export_dir, pem)
    publish_crl(own_broker.export_dir, b"garbage")
    own_broker.server.wait_for_log("revocation list ignored")
    assert own_broker.server.output().count("Reloading config") == 1


def test_a_list_with_thousands_of_entries_is_taken(own_broker: Broker) -> None:
    victim = own_broker.issue("victim.peer")
    own_broker.authority._revoked.extend(range(1, 5_000))
    own_broker.revoke(victim)
    own_broker.server.wait_for_log("Reloading config")
    assert is_refused(own_broker, victim)


def test_without_a_valid_list_the_broker_does_not_start_and_says_so(work_dir: Path) -> None:
    authority = Authority(work_dir / "ca")
    export_dir = work_dir / "export"
    publish_crl(export_dir, b"garbage")
    server = BrokerServer(work_dir / "broker", export_dir)
    server.install(authority.ca_pem, authority.sign_server(server.prepare().read_bytes()))
    server.start(wait=False)
    try:
        server.wait_for_log("waiting for a valid revocation list")
        server.wait_for_log("revocation list ignored")
        assert "mosquitto version" not in server.output()
        publish_crl(export_dir, authority.crl_pem())
        server.wait_for_log(RUNNING)
    finally:
        server.stop()


def test_without_its_certificate_the_broker_waits_and_names_the_file(work_dir: Path) -> None:
    authority = Authority(work_dir / "ca")
    publish_crl(work_dir / "export", authority.crl_pem())
    server = BrokerServer(work_dir / "broker", work_dir / "export")
    csr = server.prepare().read_bytes()
    server.start(wait=False)
    try:
        server.wait_for_log(f"waiting for {server.directory}/pki/ca.crt")
        server.install(authority.ca_pem, authority.sign_server(csr))
        server.wait_for_log(RUNNING)
    finally:
        server.stop()
    wait_until(lambda: server.exit_status == 0, describe="an orderly end")
