"""Who of the members is there: admission keeps the newest presence of every process, and nothing else."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import pytest
from prometheus_client import REGISTRY

from minervas_admission.commands.members import show_member, show_members
from minervas_admission.member_view import SILENT_MS, Presences
from minervas_admission.presence_keeper import MAX_UNSAVED, PresenceKeeper
from minervas_admission.store.database import Database
from minervas_admission.store.presence import presences
from minervas_core.encoding import encode
from minervas_core.identifiers import Principal
from minervas_core.messages import ChainTip, Presence
from minervas_core.topics import mesh
from minervas_runtime.bus import Message, Will
from minervas_runtime.clock import ManualClock, SystemClock
from minervas_runtime.mqtt_bus import MqttBus
from minervas_runtime.presence import offline_will
from tests.support.admission import AdmissionHome, Applicant
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

TIP = ChainTip(height=7, hash="ab" * 32, work="123")
PEER = Principal("alpha", "peer")
NOW_MS = 1_700_000_000_000


def refused(code: str) -> float:
    return REGISTRY.get_sample_value("minervas_admission_presence_refused_total", {"code": code}) or 0


def online(**changes: object) -> Presence:
    values: dict[str, object] = {"state": "online", "version": "1.2.3", "sent_at_ms": NOW_MS, **changes}
    return Presence(**values)  # type: ignore[arg-type]  # a test's fields


def heard(presence: Presence | bytes, principal: Principal = PEER, *, retain: bool = False) -> Message:
    payload = presence if isinstance(presence, bytes) else encode(presence)
    return Message(mesh(principal, "presence"), payload, retain=retain)


def kept(home: AdmissionHome, principal: Principal = PEER) -> dict[str, object]:
    """The row of a process, or nothing."""
    found = home.as_owner("SELECT to_jsonb(presence)::text FROM presence WHERE principal = %s", str(principal))
    return dict(json.loads(found[0][0])) if found else {}


@pytest.fixture
def with_alpha(admission_home: AdmissionHome) -> AdmissionHome:
    """A database that knows member alpha with a peer and a ledger, and a member beta that was revoked."""
    for number, (member, state) in enumerate((("alpha", "active"), ("beta", "revoked"))):
        admission_home.as_owner(
            "INSERT INTO applications (id, member, name, contact, content, fingerprint, token_hash, remote_address,"
            " received_ms, state) VALUES (%s, %s, 'n', 'c', '{}', 'f', 't', 'r', 1, 'approved')",
            f"{number:032x}", member,
        )  # fmt: skip
        admission_home.as_owner(
            "INSERT INTO members (member, application, state, approved_ms, ended_ms) VALUES (%s, %s, %s, 1, %s)",
            member, f"{number:032x}", state, 2 if state == "revoked" else None,
        )  # fmt: skip
        for service in ("peer", "ledger"):
            admission_home.as_owner(
                "INSERT INTO certificates VALUES (%s, %s, %s, 'client', 'k', 1, 2, 'pem')",
                f"{number}{len(service)}", f"{member}.{service}", member,
            )  # fmt: skip
    return admission_home


async def test_what_the_processes_tell_is_shown_and_their_end_with_its_time(
    admission_and_broker: AdmissionWithBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    clock = SystemClock()
    expires_ms = clock.now_ms() + 86_400_000
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(home.running())
        applicant = Applicant("alpha")
        home.install(applicant, await home.admit(applicant))
        will: Will = offline_will("alpha", "peer", version="1.2.3", now_ms=clock.now_ms())
        peer: MqttBus = home.bus(broker, "alpha", "peer", will=will)
        await peer.start()
        stack.push_async_callback(peer.stop)
        presence = online(
            sent_at_ms=clock.now_ms() + 60_000, certificate_expires_ms=expires_ms, tip=TIP, disk_use_per_mille=950
        )
        await peer.publish(mesh(PEER, "presence"), encode(presence), retain=True)
        await wait_until_async(lambda: kept(home).get("state") == "online", describe="the presence")
        row = kept(home)
        assert (row["version"], row["tip_height"], row["tip_hash"]) == ("1.2.3", 7, TIP.hash)
        assert (row["certificate_expires_ms"], row["disk_use_per_mille"]) == (expires_ms, 950)
        assert 30_000 < int(str(row["clock_offset_ms"])) <= 60_000

        capsys.readouterr()
        await show_members(home.settings, as_json=False)
        line = capsys.readouterr().out.splitlines()[1]
        assert "1 of 3 online, peer: disk 95 % full, peer: clock +" in line

        await peer.stop()
        await wait_until_async(lambda: kept(home).get("state") == "offline", describe="the will")
        after = kept(home)
        assert int(str(after["since_ms"])) >= int(str(row["since_ms"]))
        assert (after["tip_height"], after["disk_use_per_mille"]) == (7, 950)
        await show_members(home.settings, as_json=True)
        [member] = json.loads(capsys.readouterr().out)
        assert [(item["principal"], item["state"]) for item in member["presence"]] == [("alpha.peer", "offline")]
        await show_member(home.settings, "alpha", as_json=False)
        out = capsys.readouterr().out
        assert "peer     offline" in out
        assert "95.0 %" in out


async def test_presence_that_the_broker_kept_is_known_after_a_restart(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    applicant = Applicant("alpha")
    async with home.running():
        home.install(applicant, await home.admit(applicant))
    peer = home.bus(broker, "alpha", "peer")
    await peer.start()
    await peer.publish(mesh(PEER, "presence"), encode(online(tip=TIP)), retain=True)
    async with home.running():
        await wait_until_async(lambda: kept(home).get("state") == "online", describe="the kept presence")
        assert kept(home)["clock_offset_ms"] is None
        await home.decisions().revoke("alpha", "", confirmed=True)
        assert kept(home)["state"] == "offline"
    await peer.stop()


async def test_only_the_processes_of_living_members_have_a_row(with_alpha: AdmissionHome) -> None:
    database = Database(with_alpha.settings.database, application="test")
    keeper = PresenceKeeper(database, ManualClock(NOW_MS))
    before = refused("member_unknown")
    for name in ("alpha.peer", "alpha.miner", "beta.peer", "nobody.peer"):
        member, _, service = name.partition(".")
        keeper.hear(heard(online(), Principal(member, service)))
    await keeper.save()
    assert with_alpha.as_owner("SELECT principal FROM presence") == [("alpha.peer",)]
    assert refused("member_unknown") == before + 3
    await database.close()


GARBAGE = [
    (heard(b"nonsense"), "not_json"),
    (heard(b""), "not_json"),
    (heard(b'{"sent_at_ms":1,"state":"away","version":"1"}'), "wrong_shape"),
    (heard(b'{"sent_at_ms":1, "state":"online","version":"1"}'), "not_canonical"),
    (heard(online(version="a\0b")), "wrong_shape"),
    (heard(online(version="x" * 65)), "wrong_shape"),
    (heard(b'{"version":"' + b"x" * 5_000 + b'"}'), "too_large"),
    (Message("mesh/v1/alpha/butler/presence", encode(online())), "bad_topic"),
    (Message("mesh/v1/alpha/peer/presence/more", encode(online())), "bad_topic"),
    (Message("mesh/v1/alpha/peer/tx", encode(online())), "bad_topic"),
]


async def test_what_is_no_presence_is_counted_and_changes_nothing(with_alpha: AdmissionHome) -> None:
    database = Database(with_alpha.settings.database, application="test")
    keeper = PresenceKeeper(database, ManualClock(NOW_MS))
    keeper.hear(heard(online()))
    await keeper.save()
    row = kept(with_alpha)
    for message, code in GARBAGE:
        before = refused(code)
        keeper.hear(message)
        assert refused(code) == before + 1, message
    await keeper.save()
    assert kept(with_alpha) == row
    await database.close()


async def test_offline_keeps_what_was_told_and_the_same_message_again_is_not_news(with_alpha: AdmissionHome) -> None:
    clock = ManualClock(NOW_MS)
    database = Database(with_alpha.settings.database, application="test")
    keeper = PresenceKeeper(database, clock)

    async def tell(presence: Presence, *, after_ms: int, retain: bool = False) -> dict[str, object]:
        clock.advance(after_ms)
        keeper.hear(heard(presence, retain=retain))
        await keeper.save()
        return kept(with_alpha)

    first = await tell(online(tip=TIP, spool_use_per_mille=3, spool_readings=12, clock_synchronised=False), after_ms=0)
    again = await tell(online(tip=TIP, spool_use_per_mille=3), after_ms=5_000, retain=True)
    assert again["seen_ms"] == first["seen_ms"] == NOW_MS
    newer = await tell(online(sent_at_ms=NOW_MS + 1, tip=TIP), after_ms=5_000)
    assert (newer["since_ms"], newer["seen_ms"]) == (NOW_MS, NOW_MS + 10_000)
    offline = await tell(Presence(state="offline", version="1.2.3", sent_at_ms=NOW_MS), after_ms=5_000)
    assert (offline["state"], offline["since_ms"], offline["seen_ms"]) == ("offline", NOW_MS + 15_000, NOW_MS + 15_000)
    assert (offline["tip_height"], offline["spool_use_per_mille"]) == (7, 3)
    assert (offline["spool_readings"], offline["clock_synchronised"]) == (12, False)
    assert offline["clock_offset_ms"] == newer["clock_offset_ms"] == 1 - 10_000
    await database.close()


async def test_a_flood_of_names_takes_bounded_memory(with_alpha: AdmissionHome) -> None:
    database = Database(with_alpha.settings.database, application="test")
    keeper = PresenceKeeper(database, ManualClock(NOW_MS))
    before = refused("rate_limited")
    for number in range(MAX_UNSAVED + 3):
        keeper.hear(heard(online(), Principal(f"m{number}", "peer")))
    assert refused("rate_limited") == before + 3
    keeper.hear(heard(online(version="2"), Principal("m0", "peer")))  # one that is waiting is replaced
    assert refused("rate_limited") == before + 3
    await keeper.save()
    assert with_alpha.as_owner("SELECT count(*) FROM presence") == [(0,)]
    await database.close()


async def test_who_says_online_and_is_not_heard_of_is_silent(with_alpha: AdmissionHome) -> None:
    database = Database(with_alpha.settings.database, application="test")
    keeper = PresenceKeeper(database, ManualClock(NOW_MS))
    keeper.hear(heard(online(tip=TIP)))
    await keeper.save()
    async with database.transaction() as connection:
        rows = tuple(await presences(connection, member="alpha"))
    await database.close()
    assert [Presences(rows, NOW_MS + after).state(rows[0]) for after in (0, SILENT_MS, SILENT_MS + 1)] == [
        *("online", "online", "silent"),
    ]
    assert Presences(rows, NOW_MS).best_tip == 7
