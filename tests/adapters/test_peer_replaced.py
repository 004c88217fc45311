"""A member whose node was replaced: its new wallet speaks on the bus while its recovery waits, and signs no order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from minervas_core import box
from minervas_core.errors import Code, PeerFault, TransientFault
from minervas_core.keys import SigningKey
from minervas_core.node_messages import Roster, WaitingRecovery
from minervas_core.rekeying import NewKey, check_rotation_request, claim_key
from minervas_core.transactions import NewKeys, Recover, Rotate, ServiceKeys
from minervas_peer.key_exchange import Identity
from minervas_peer.member_directory import MemberDirectory
from minervas_peer.rekey.own_keys import OwnKeys
from minervas_peer.rekey.signer import RotationSigner
from minervas_peer.trader import Trader
from minervas_runtime.clock import ManualClock
from minervas_runtime.key_ring import KeyRing
from tests.adapters.test_peer_key_exchange import CONSORTIUM, A, B, Network, Side
from tests.support.peer import NOW_MS, Member, roster, seed

NEW = CONSORTIUM.member("anna-anew")
ROTATED = msgspec.structs.replace(NEW.keys, wallet=A.keys.wallet)
"""What the chain has while the recovery waits: all new keys but the wallet."""
RECOVERED = NEW.keys
EFFECTIVE_MS = NOW_MS + 86_400_000
WISH = "ab" * 16


def fresh() -> Member:
    """Anna's new node, with what admission granted it."""
    others = NewKeys(box=NEW.keys.box, block=NEW.keys.block, vote=NEW.keys.vote)
    granted = (
        CONSORTIUM.sign(Rotate(member="anna", keys=others, meters=[])),
        CONSORTIUM.sign(Recover(member="anna", wallet=NEW.keys.wallet)),
    )
    return Member("anna", NEW.wallet, NEW.box, NEW.keys, A.admit, granted)


def told(keys: ServiceKeys, *, waiting: bool, height: int = 2) -> Roster:
    """The roster of a tip on which anna has these keys."""
    recovery = WaitingRecovery(
        wallet=NEW.keys.wallet, transaction="cd" * 32, height=2, effective_ms=EFFECTIVE_MS
    )  # fmt: skip
    changes = {"keys": keys, "recovery": recovery if waiting else msgspec.UNSET}
    base = roster((A, B), height=height)
    entries = [msgspec.structs.replace(each, **changes) if each.member == "anna" else each for each in base.members]
    return msgspec.structs.replace(base, members=entries, roster_hash=f"{keys.wallet[:8]} {waiting}")


def hello(member: Member, epoch: int = NOW_MS) -> bytes:
    return Side(member, epoch=epoch).exchange.hello().payload


def test_the_new_wallet_speaks_as_soon_as_the_tip_has_its_recovery_and_not_before() -> None:
    ours = Side(B)
    ours.exchange.on_roster(roster((A, B)))
    with pytest.raises(PeerFault) as caught:
        ours.exchange.on_hello("anna", hello(fresh()), 0)
    assert caught.value.code == Code.BAD_SIGNATURE
    ours.exchange.on_roster(told(ROTATED, waiting=True))
    ours.exchange.on_hello("anna", hello(fresh()), 0)
    assert ours.directory.keys("anna") == RECOVERED


def test_both_wallets_may_speak_while_the_recovery_waits() -> None:
    ours = Side(B)
    ours.exchange.on_roster(told(ROTATED, waiting=True))
    ours.exchange.on_hello("anna", hello(fresh()), 0)
    ours.exchange.on_hello("anna", hello(A, epoch=NOW_MS + 1), 0)
    assert ours.directory.keys("anna") == ROTATED


def test_nobody_else_speaks_for_a_member_whose_recovery_waits() -> None:
    ours = Side(B)
    ours.exchange.on_roster(told(ROTATED, waiting=True))
    thief = Member("anna", B.wallet, B.box, B.keys, A.admit)
    with pytest.raises(PeerFault) as caught:
        ours.exchange.on_hello("anna", hello(thief), 0)
    assert caught.value.code == Code.BAD_SIGNATURE


@pytest.mark.parametrize(("keys", "heard"), [(RECOVERED, True), (ROTATED, False)], ids=["took effect", "vetoed"])
def test_the_end_of_a_recovery_decides_who_speaks_and_starts_a_new_epoch(keys: ServiceKeys, heard: bool) -> None:
    network = Network(Side(B), Side(fresh()))
    bert = network.sides["bert"]
    bert.exchange.on_roster(told(ROTATED, waiting=True))
    network.hello()
    network.run()
    assert "anna" in bert.exchange.given_to
    assert bert.exchange.on_roster(told(keys, waiting=False, height=3))[1]
    if heard:
        bert.exchange.on_hello("anna", hello(fresh(), epoch=NOW_MS + 9), 0)
        return
    with pytest.raises(PeerFault):
        bert.exchange.on_hello("anna", hello(fresh(), epoch=NOW_MS + 9), 0)


# trading


class Silent:
    """A ledger and gossip that nobody should get to."""


def trader(directory: MemberDirectory, identity: Identity) -> Trader:
    clock = ManualClock(NOW_MS)
    return Trader(
        genesis=CONSORTIUM.genesis, directory=directory, identity=identity, ledger=Silent(), gossip=Silent(),  # type: ignore[arg-type]  # never reached
        clock=clock,
    )  # fmt: skip


@pytest.mark.parametrize("waiting", [True, False], ids=["waits", "vetoed or not announced"])
async def test_a_wallet_that_does_not_count_signs_no_order_and_says_until_when(waiting: bool) -> None:
    directory = MemberDirectory("anna")
    directory.apply(told(ROTATED, waiting=waiting))
    with pytest.raises(TransientFault) as caught:
        trader(directory, fresh().identity).check_wallet()
    assert caught.value.code == Code.WALLET_WAITS
    assert caught.value.values == ({"effective_ms": EFFECTIVE_MS} if waiting else {})
    if waiting:
        assert "takes effect at 20" in caught.value.message
    directory.apply(told(RECOVERED, waiting=False, height=3))
    trader(directory, fresh().identity).check_wallet()


# our own keys


def own(tmp_path: Path, *members: Member) -> OwnKeys:
    """Rings with the keys of these members, the first of whom is used."""
    wallets, boxes = iter([each.wallet for each in members]), iter([each.box for each in members])
    for number, _ in enumerate(members[1:]):
        for name, size in (("wallet", 32), ("box", box.SEED_BYTES)):
            file = tmp_path / f"{name}-{number:032x}.key"
            file.write_text("00" * size)
            file.chmod(0o600)
    rings = (
        KeyRing(tmp_path, "wallet", lambda _seed: next(wallets)),
        KeyRing(tmp_path, "box", lambda _seed: next(boxes), box.SEED_BYTES),
    )
    return OwnKeys(replace(members[0].identity), *rings, lambda: members[-1].identity.membership)


A2 = CONSORTIUM.rotate(A, "anna 2")


def test_a_peer_takes_its_new_keys_when_its_tip_has_them_and_goes_back_if_the_block_is_undone(tmp_path: Path) -> None:
    keys = own(tmp_path, A, A2)
    assert not keys.follow(A.keys)
    assert keys.follow(A2.keys)
    assert (keys.identity.wallet, keys.identity.box) == (A2.wallet, A2.box)
    assert keys.identity.membership == A2.identity.membership
    assert keys.identity.other_boxes == (A.box,)
    assert keys.follow(A.keys)
    assert (keys.identity.wallet, keys.identity.box) == (A.wallet, A.box)


def test_a_wallet_that_waits_for_its_recovery_is_kept_while_the_tip_has_the_lost_one(tmp_path: Path) -> None:
    keys = own(tmp_path, fresh())
    assert not keys.follow(ROTATED)
    assert keys.identity.wallet == NEW.wallet


def test_own_new_keys_start_a_new_epoch() -> None:
    network = Network(Side(A), Side(B))
    side = network.sides["anna"]
    side.exchange._follow_keys = lambda keys: keys == A2.keys
    assert not side.exchange.on_roster(roster((A, B)))[1]
    assert side.exchange.on_roster(roster((A2, B), height=2))[1]


def signer(tmp_path: Path) -> RotationSigner:
    directory = MemberDirectory("anna")
    directory.apply(roster((A, B), height=7))
    wallets = KeyRing(tmp_path, "wallet", SigningKey)
    keys = OwnKeys(A.identity, wallets, KeyRing(tmp_path, "box", box.BoxKey, box.SEED_BYTES), tuple)
    return RotationSigner(CONSORTIUM.genesis, keys, directory, ManualClock(NOW_MS))


def test_the_peer_signs_for_its_own_new_keys_and_for_those_of_other_services(tmp_path: Path) -> None:
    vote = SigningKey(seed("new vote"))
    new = NewKey(
        wish=WISH, member="anna", service="ledger", name="vote", key=vote.public, replaces=A.keys.vote
    )  # fmt: skip
    signed = signer(tmp_path).sign(WISH, ["wallet", "box"], [claim_key(new, vote)])
    check_rotation_request(signed, CONSORTIUM.genesis.network)
    assert [claim.new.name for claim in signed.request.keys] == ["wallet", "box", "vote"]
    assert signed.request.expires_height > 7
    again = signer(tmp_path).sign(WISH, ["wallet", "box"], [])
    assert again.request.keys == signed.request.keys[:2]


def test_the_wallet_signs_for_no_wallet_or_box_key_that_another_service_brings(tmp_path: Path) -> None:
    thief = SigningKey(seed("thief"))
    new = NewKey(
        wish=WISH, member="anna", service="peer", name="wallet", key=thief.public, replaces=A.keys.wallet
    )  # fmt: skip
    with pytest.raises(PeerFault) as caught:
        signer(tmp_path).sign(WISH, [], [claim_key(new, thief)])
    assert caught.value.code == Code.BAD_ENROLMENT
