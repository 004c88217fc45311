"""Rules of the roster (minervas_core.roster)."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from minervas_core.roster import MemberRecord, Roster, key_texts, roster_hash
from tests.support.builders import service_keys


def record(member: str, **fields: object) -> MemberRecord:
    made = MemberRecord(
        member=member, keys=service_keys(member), status="active", admitted_height=1, admitted_by="a" * 64
    )
    return msgspec.structs.replace(made, **fields)


def revoked(member: str) -> MemberRecord:
    return record(member, status="revoked", ended_height=9)


def test_an_active_member_is_found_by_id_and_by_wallet() -> None:
    roster = Roster([record("a"), record("b")])
    assert roster.active("a") == record("a")
    assert roster.active_by_wallet(service_keys("b").wallet) == record("b")


def test_only_the_wallet_key_finds_a_member_by_wallet() -> None:
    assert Roster([record("a")]).active_by_wallet(service_keys("a").block) is None


def test_a_revoked_member_keeps_its_record_and_its_keys_but_is_not_active() -> None:
    roster = Roster([record("a"), record("b")])
    roster.put(revoked("a"))
    assert roster.get("a") == revoked("a")
    assert roster.active("a") is None
    assert roster.active_by_wallet(service_keys("a").wallet) is None
    assert [roster.owner_of_key(key) for key in key_texts(service_keys("a"))] == ["a"] * 4
    assert roster.active_count == 1
    assert roster.active_members() == [record("b")]


def test_a_forgotten_admission_leaves_no_key_behind() -> None:
    roster = Roster([record("a"), record("b")])
    roster.forget("a")
    assert roster.get("a") is None
    assert roster.owner_of_key(service_keys("a").vote) is None
    assert roster.active_count == 1
    with pytest.raises(KeyError):
        roster.forget("a")


def test_members_are_listed_by_id() -> None:
    assert [each.member for each in Roster([record("b"), record("c"), record("a")]).members()] == ["a", "b", "c"]


def test_the_hash_is_sha256_over_the_canonical_list_by_member_id() -> None:
    roster = Roster([record("b"), revoked("a")])
    plain = [msgspec.to_builtins(each) for each in (revoked("a"), record("b"))]
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    assert roster_hash(roster) == hashlib.sha256(canonical).hexdigest()


def test_the_hash_follows_every_change_and_comes_back_with_it() -> None:
    roster = Roster([record("a")])
    before = roster_hash(roster)
    roster.put(record("b"))
    with_b = roster_hash(roster)
    roster.put(revoked("b"))
    assert len({before, with_b, roster_hash(roster)}) == 3
    roster.forget("b")
    assert roster_hash(roster) == before


def test_a_layer_changes_nothing_below_until_it_is_merged() -> None:
    below = Roster([record("a"), record("b")])
    hash_below = roster_hash(below)
    layer = Roster(below=below)
    layer.put(revoked("a"))
    layer.put(record("c"))
    layer.forget("b")
    assert [each.member for each in layer.members()] == ["a", "c"]
    assert layer.active_count == 1
    assert layer.owner_of_key(service_keys("b").wallet) is None
    assert [each.member for each in below.members()] == ["a", "b"]
    assert (below.active_count, roster_hash(below)) == (2, hash_below)

    assert layer.changes() == [("a", record("a")), ("b", record("b")), ("c", None)]
    layer.merge_down()
    assert [each.member for each in below.members()] == ["a", "c"]
    assert below.active_count == 1
    assert below.owner_of_key(service_keys("b").wallet) is None
    assert roster_hash(below) == roster_hash(Roster([revoked("a"), record("c")]))


def test_only_a_layer_can_be_merged() -> None:
    with pytest.raises(ValueError, match="over nothing"):
        Roster().merge_down()
