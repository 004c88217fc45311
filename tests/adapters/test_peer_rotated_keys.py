"""Members with rotated keys: what newcomers believe, and how those follow whose own tip is behind or ahead."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.errors import Code, PeerFault
from minervas_core.frames import check_frame_signature, parse_frame, seal_gossip
from minervas_core.messages import MAX_HELLO_TRANSACTIONS
from minervas_core.node_messages import Roster
from minervas_core.transactions import Leave, MeterKey, NewKeys, Recover, Rotate, Suspend
from minervas_peer.member_directory import MemberDirectory, Standing
from minervas_peer.membership_proof import prove_keys, worth_showing
from tests.adapters.test_peer_key_exchange import CONSORTIUM, A, B, Network, Side, key_message
from tests.support.peer import NOW_MS, Member, roster, seed

A2 = CONSORTIUM.rotate(A, "anna 2")
A3 = CONSORTIUM.rotate(A2, "anna 3")
C = CONSORTIUM.member("cara")
TRUSTED = frozenset({CONSORTIUM.genesis.body.authority})


def refusal_of_hello(side: Side, sender: Member) -> Code:
    with pytest.raises(PeerFault) as caught:
        side.exchange.on_hello(sender.name, Side(sender).exchange.hello().payload, 0)
    return caught.value.code


# what newcomers believe


def test_a_newcomer_believes_an_admission_and_the_rotations_after_it() -> None:
    proven = prove_keys("anna", A3.identity.membership, CONSORTIUM.genesis, TRUSTED)
    assert proven.keys == A3.keys
    assert proven.earlier_wallets == (A.keys.wallet, A2.keys.wallet)


def test_newcomers_exchange_keys_with_a_member_that_has_rotated_its_own() -> None:
    network = Network(Side(A3), Side(B))
    network.hello("anna")
    network.run()
    assert network.complete()


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (A2.identity.membership[::-1], Code.MEMBER_UNKNOWN),
        (A2.identity.membership[1:], Code.MEMBER_UNKNOWN),
        ((A3.identity.membership[0], A3.identity.membership[2]), Code.BAD_CONSENT),
        (CONSORTIUM.rotate(A, "thief", signer=B.wallet).identity.membership, Code.BAD_CONSENT),
        ((*A2.identity.membership, CONSORTIUM.sign(Leave(member="anna")).raw), Code.MEMBER_LEFT),
    ],
    ids=["wrong order", "no admission", "a gap", "another's consent", "it left"],
)
def test_what_does_not_follow_from_the_admission_proves_nothing(shown: tuple[bytes, ...], code: Code) -> None:
    with pytest.raises(PeerFault) as caught:
        prove_keys("anna", shown, CONSORTIUM.genesis, TRUSTED)
    assert caught.value.code == code


def test_a_recovery_proves_nothing_for_only_the_chain_knows_of_a_veto() -> None:
    thief = CONSORTIUM.member("thief")
    recovered = CONSORTIUM.sign(Recover(member="anna", wallet=thief.keys.wallet))
    proven = prove_keys("anna", (A.admit.raw, recovered.raw), CONSORTIUM.genesis, TRUSTED)
    assert proven.keys == A.keys


def test_a_hello_shows_the_admission_and_the_newest_rotations_of_service_keys_only() -> None:
    meters = CONSORTIUM.sign(
        Rotate(member="anna", keys=NewKeys(), meters=[MeterKey(meter="roof", gateway=A3.keys.vote)])
    )
    suspended = CONSORTIUM.sign(Suspend(member="anna"))
    member = A
    for number in range(20):
        member = CONSORTIUM.rotate(member, f"anna {number}")
    own = [A.admit.raw, meters.raw, suspended.raw, *(each.raw for each in member.rotations)]
    shown = worth_showing(own)
    assert len(shown) == MAX_HELLO_TRANSACTIONS
    assert shown == (A.admit.raw, *own[-15:])
    assert worth_showing(own[:3]) == (A.admit.raw,)


# between members


def test_a_rotation_that_our_tip_does_not_have_yet_is_believed_from_a_hello() -> None:
    ours = Side(B)
    ours.exchange.on_roster(roster((A, B)))
    ours.exchange.on_hello("anna", Side(A2).exchange.hello().payload, 0)
    assert ours.directory.keys("anna") == A2.keys
    theirs = Side(A2)
    assert theirs.exchange.on_sender_key("bert", key_message(ours, Side(A2, epoch=NOW_MS + 1)), 0) is not None


def test_frames_of_the_new_wallet_open_before_our_tip_has_the_rotation() -> None:
    ours = Side(B)
    ours.exchange.on_roster(roster((A, B)))
    ours.exchange.on_hello("anna", Side(A2).exchange.hello().payload, 0)
    frame = parse_frame(
        seal_gossip(
            b"{}",
            topic="mesh/v1/anna/peer/block",
            correlation=b"",
            network=CONSORTIUM.genesis.network,
            key=A2.sender_key(1),
            wallet=A2.wallet,
            nonce=seed("nonce", 24),
            sent_at_ms=NOW_MS,
        ),
        CONSORTIUM.genesis.network,
    )
    wallet = ours.directory.keys("anna").wallet
    check_frame_signature(frame, topic="mesh/v1/anna/peer/block", correlation=b"", wallet=wallet)


def test_an_old_wallet_is_refused_when_our_tip_has_the_rotation() -> None:
    ours = Side(B)
    ours.exchange.on_roster(roster((A2, B)))
    assert refusal_of_hello(ours, A) == Code.BAD_SIGNATURE
    assert ours.directory.keys("anna") == A2.keys


def test_a_rotation_that_does_not_come_from_the_wallet_on_our_tip_is_not_believed() -> None:
    """Who holds a wallet that was recovered away from cannot lead us off the chain."""
    recovered = msgspec.structs.replace(A.keys, wallet=C.keys.wallet)
    ours = Side(B)
    ours.exchange.on_roster(with_keys(roster((A, B)), recovered))
    assert refusal_of_hello(ours, A2) == Code.BAD_SIGNATURE


def with_keys(told: Roster, keys: object) -> Roster:
    entries = [msgspec.structs.replace(each, keys=keys) if each.member == "anna" else each for each in told.members]
    return msgspec.structs.replace(told, members=entries, roster_hash="changed")


def test_what_the_chain_says_replaces_what_was_shown() -> None:
    directory = MemberDirectory("bert")
    directory.apply(roster((A, B)))
    directory.advance("anna", A2.keys)
    directory.apply(roster((A3, B)))
    assert directory.keys("anna") == A3.keys


def test_a_rotated_wallet_or_box_key_starts_a_new_epoch() -> None:
    network = Network(Side(A), Side(B))
    network.roster(A, B)
    network.hello()
    network.run()
    assert network.complete()
    assert network.roster(A2, B, at=("bert",)) == ["bert"]


def test_a_rotated_vote_key_starts_no_new_epoch() -> None:
    network = Network(Side(A), Side(B))
    network.roster(A, B)
    network.hello()
    network.run()
    other = Member(A.name, A.wallet, A.box, msgspec.structs.replace(A.keys, vote=C.keys.vote), A.admit)
    assert network.roster(other, B, at=("bert",)) == []


def test_a_member_that_has_left_is_not_heard_and_its_leaving_starts_a_new_epoch() -> None:
    ours = Side(B)
    ours.exchange.on_roster(roster((A, B)))
    ours.exchange.on_hello("anna", Side(A).exchange.hello().payload, 0)
    told = roster((A, B))
    entries = [
        msgspec.structs.replace(each, status="left", ended_height=2) if each.member == "anna" else each
        for each in told.members
    ]
    left = msgspec.structs.replace(told, members=entries, roster_hash="left")
    assert ours.exchange.on_roster(left)[1]
    assert ours.directory.standing("anna") is Standing.LEFT
    assert not ours.directory.may_have_our_key("anna")
    assert refusal_of_hello(ours, A) == Code.MEMBER_LEFT
