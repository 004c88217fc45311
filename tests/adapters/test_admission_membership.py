"""Membership transactions: signed, numbered, handed out, followed on chain, signed anew when they expire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from minervas_admission.authority import load_consortium
from minervas_admission.chain_follower import read_statuses
from minervas_admission.membership_feed import MAX_BATCH, consecutive_runs, count_fitting
from minervas_admission.membership_signing import sign_change
from minervas_admission.store.transactions import TransactionRow, insert_transaction, next_number, open_transactions
from minervas_core.encoding import decode, encode
from minervas_core.errors import MinervasError
from minervas_core.genesis import load_genesis
from minervas_core.governance.authority import sign_statement
from minervas_core.governance.records import ChangeAuthority
from minervas_core.keys import SigningKey
from minervas_core.membership import apply_membership, check_membership, check_membership_alone, membership_of
from minervas_core.messages import (
    Failure,
    GetMembership,
    MembershipBatch,
    Reply,
    TransactionStatus,
    TransactionStatuses,
)
from minervas_core.state import ChainState
from minervas_core.transactions import (
    Change,
    Leave,
    NewKeys,
    Recover,
    Resume,
    Rotate,
    Suspend,
    check_signature,
    decode_transaction,
    sign_transaction,
)
from minervas_runtime.clock import SystemClock
from minervas_runtime.requests import Request, Requester
from tests.support.admission import OPERATOR_MEMBER, AdmissionHome, Applicant, SagaBench
from tests.support.builders import seed_bytes
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.operator_peer import OperatorPeer
from tests.support.wait import wait_until_async

SPAN = 50
"""Half of max_expiry_blocks in the tests' genesis."""
DEPTH = 6
"""The default of confirm_depth."""


@pytest.fixture
async def bench(admission_and_broker: AdmissionWithBroker) -> AsyncIterator[SagaBench]:
    """A consortium whose only member is alpha, with its admission open, and no service."""
    async with admission_and_broker.home.running():
        await admission_and_broker.home.admit(Applicant("alpha"))
    async with SagaBench(admission_and_broker.home) as running:
        yield running


@pytest.fixture
def home(admission_and_broker: AdmissionWithBroker) -> AdmissionHome:
    return admission_and_broker.home


async def rows(bench: SagaBench) -> list[TransactionRow]:
    async with bench.database.transaction() as connection:
        return await open_transactions(connection)


async def report(bench: SagaBench, tip: int, final: int = 0, **places: tuple[int, int]) -> None:
    """Let the operator's peer report: transactions by action, with height and depth; unnamed ones are unknown."""
    open_rows = await rows(bench)
    statuses = [
        TransactionStatus(
            id=row.id,
            state="final" if places[row.action][0] <= final else "in_block",
            height=places[row.action][0],
            depth=places[row.action][1],
        )
        if row.action in places
        else TransactionStatus(id=row.id, state="unknown")
        for row in open_rows
    ]
    await bench.follower.apply(open_rows, TransactionStatuses(statuses=statuses, tip_height=tip, final_height=final))


def states(home: AdmissionHome) -> list[tuple[int, str, str]]:
    return [
        (number, action, state)
        for number, action, state in home.as_owner(
            "SELECT number, action, state FROM membership_transactions ORDER BY number"
        )
    ]


def decision_states(home: AdmissionHome) -> list[str]:
    return [state for (state,) in home.as_owner("SELECT state FROM decisions ORDER BY id")]


async def revoke_alpha(bench: SagaBench, home: AdmissionHome) -> None:
    with pytest.raises(MinervasError):  # nobody carries it out but we
        await home.decisions().revoke("alpha", "test", confirmed=True)
    [decision] = await bench.queued()
    assert await bench.runner().attempt(decision)


async def test_admission_and_revocation_are_valid_by_the_rules_of_the_chain(
    bench: SagaBench, home: AdmissionHome
) -> None:
    await revoke_alpha(bench, home)
    genesis = load_genesis(home.data.genesis.read_bytes())
    state = ChainState.fresh(genesis)
    for height, row in enumerate(await rows(bench), start=1):
        transaction = decode_transaction(row.raw)
        assert (transaction.id, transaction.body.expires_height) == (row.id, SPAN)
        check_signature(transaction, genesis.network)
        check_membership_alone(transaction, genesis)
        check_membership(state, transaction)
        apply_membership(state, transaction, height)
    record = state.roster.get("alpha")
    assert record is not None
    assert record.status == "revoked"


async def test_a_transaction_is_settled_when_it_is_final(bench: SagaBench, home: AdmissionHome) -> None:
    assert decision_states(home) == ["carried_out"]
    await report(bench, 9, admit=(5, DEPTH - 1))
    assert states(home) == [(0, "admit", "open")]
    assert home.as_owner("SELECT height, depth FROM membership_transactions") == [(5, DEPTH - 1)]
    await report(bench, 10, 8, admit=(5, DEPTH))
    assert states(home) == [(0, "admit", "settled")]
    assert decision_states(home) == ["done"]
    assert home.as_owner("SELECT step, state FROM saga_steps ORDER BY entry")[-1] == ("chain", "done")
    assert await rows(bench) == []


async def test_a_block_that_is_undone_takes_the_transaction_back_to_waiting(
    bench: SagaBench, home: AdmissionHome
) -> None:
    await report(bench, 5, admit=(4, 2))
    await report(bench, 6)
    assert home.as_owner("SELECT state, height, depth FROM membership_transactions") == [("open", 0, 0)]


async def test_a_transaction_that_no_block_can_carry_any_more_is_signed_anew(
    bench: SagaBench, home: AdmissionHome
) -> None:
    await report(bench, SPAN + DEPTH - 1)
    assert states(home) == [(0, "admit", "open")], "a reorganisation could still bring it into a block"
    await report(bench, SPAN + DEPTH)
    assert states(home) == [(0, "admit", "expired"), (1, "admit", "open")]
    [new] = await rows(bench)
    body = membership_of(decode_transaction(new.raw))
    assert body.expires_height == SPAN + DEPTH + SPAN
    [[old_raw]] = home.as_owner("SELECT raw FROM membership_transactions WHERE number = 0")
    old = membership_of(decode_transaction(bytes(old_raw)))
    assert body.change == old.change
    assert body.salt != old.salt
    assert "number 0 expired" in home.as_owner("SELECT detail FROM saga_steps WHERE step = 'transaction'")[0][0]
    await report(bench, 70, 68, admit=(65, DEPTH))
    assert decision_states(home) == ["done"]


async def test_new_transactions_expire_above_the_reported_tip(bench: SagaBench, home: AdmissionHome) -> None:
    await report(bench, 40, 36, admit=(3, 38))
    await revoke_alpha(bench, home)
    [revocation] = await rows(bench)
    assert revocation.expires_height == 40 + SPAN


async def test_revoking_somebody_whose_admission_expired_is_moot(bench: SagaBench, home: AdmissionHome) -> None:
    await revoke_alpha(bench, home)
    await report(bench, SPAN + DEPTH)
    assert states(home) == [(0, "admit", "expired"), (1, "revoke", "moot")]
    assert decision_states(home) == ["done", "done"]


async def test_a_revocation_that_expires_is_signed_anew_as_long_as_the_admission_stands(
    bench: SagaBench, home: AdmissionHome
) -> None:
    await report(bench, 10, 8, admit=(3, DEPTH))
    await revoke_alpha(bench, home)
    await report(bench, 10 + SPAN + DEPTH)
    assert states(home) == [(0, "admit", "settled"), (1, "revoke", "expired"), (2, "revoke", "open")]
    await report(bench, 70, 68, revoke=(64, DEPTH))
    assert decision_states(home) == ["done", "done"]


async def sign(bench: SagaBench, change: Change) -> TransactionRow:
    """Sign a change within the decision that admitted alpha, as the operator's commands will."""
    async with bench.database.transaction() as connection:
        return await sign_change(connection, bench.follower.consortium, change, 1, 0)


async def test_every_change_of_a_membership_is_numbered_stored_and_handed_out(
    bench: SagaBench, home: AdmissionHome
) -> None:
    changes: list[Change] = [
        Suspend(member="alpha"),
        Resume(member="alpha"),
        Rotate(member="alpha", keys=NewKeys(vote="aa" * 32), meters=[]),
        Recover(member="alpha", wallet="bb" * 32),
        Leave(member="alpha"),
    ]
    signed = [await sign(bench, change) for change in changes]
    assert states(home)[1:] == [
        (number, action, "open")
        for number, action in enumerate(("suspend", "resume", "rotate", "recover", "leave"), start=1)
    ]
    assert [row.raw for row in await rows(bench)][1:] == [row.raw for row in signed]


async def test_a_rotation_that_needs_consent_is_not_signed_anew_but_others_are(
    bench: SagaBench, home: AdmissionHome
) -> None:
    await report(bench, 10, 8, admit=(3, DEPTH))
    await sign(bench, Rotate(member="alpha", keys=NewKeys(wallet="aa" * 32), meters=[], consent="bb" * 64))
    await sign(bench, Rotate(member="alpha", keys=NewKeys(vote="cc" * 32), meters=[]))
    await report(bench, 10 + SPAN + DEPTH)
    assert states(home) == [
        (0, "admit", "settled"),
        (1, "rotate", "expired"),
        (2, "rotate", "expired"),
        (3, "rotate", "open"),
    ]
    [again] = await rows(bench)
    assert membership_of(decode_transaction(again.raw)).change == Rotate(
        member="alpha", keys=NewKeys(vote="cc" * 32), meters=[]
    )


async def test_a_change_of_a_revoked_member_is_not_signed_anew(bench: SagaBench, home: AdmissionHome) -> None:
    await report(bench, 10, 8, admit=(3, DEPTH))
    await sign(bench, Suspend(member="alpha"))
    await revoke_alpha(bench, home)
    await report(bench, 20, 18, revoke=(12, DEPTH))
    await report(bench, 10 + SPAN + DEPTH, 18)
    assert states(home) == [(0, "admit", "settled"), (1, "suspend", "expired"), (2, "revoke", "settled")]


async def ask(bench: SagaBench, after: int) -> MembershipBatch:
    request = Request(None, "get_membership", "t", encode(GetMembership(after=after)), b"", "r")  # type: ignore[arg-type]
    reply = decode(await bench.feed.serve(request), Reply, max_bytes=10**6)
    assert not isinstance(reply.body, msgspec.UnsetType)
    return decode(bytes(reply.body), MembershipBatch, max_bytes=10**6)


async def test_any_peer_gets_all_transactions_page_by_page(bench: SagaBench, home: AdmissionHome) -> None:
    await revoke_alpha(bench, home)
    for after, count in ((0, 2), (1, 1), (2, 0), (9, 0)):
        batch = await ask(bench, after)
        assert (batch.first, batch.total, len(batch.transactions)) == (after, 2, count)


async def test_a_malformed_question_is_answered_with_its_code(bench: SagaBench) -> None:
    request = Request(None, "get_membership", "t", b"{}", b"", "r")  # type: ignore[arg-type] # the sender does not matter
    reply = decode(await bench.feed.serve(request), Reply, max_bytes=10**6)
    assert isinstance(reply.failure, Failure)
    assert reply.failure.code == "wrong_shape"


async def test_a_member_learns_of_the_others_over_the_real_broker(admission_and_broker: AdmissionWithBroker) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    alpha = Applicant("alpha")
    async with home.running():
        home.install(alpha, await home.admit(alpha))
        bus = home.bus(broker, "alpha", "peer")
        await bus.start()
        requester = Requester(bus, SystemClock())
        await requester.start()
        answer = await requester.request("consortium", "admission", "get_membership", encode(GetMembership(after=0)), 5)
        reply = decode(answer.payload, Reply, max_bytes=10**6)
        assert not isinstance(reply.body, msgspec.UnsetType)
        batch = decode(bytes(reply.body), MembershipBatch, max_bytes=10**6)
        assert [membership_of(decode_transaction(bytes(raw))).change.member for raw in batch.transactions] == ["alpha"]
        await requester.stop()
        await bus.stop()


async def test_the_operators_peer_is_asked_until_the_chain_has_confirmed(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    operator = Applicant(OPERATOR_MEMBER)
    async with home.running():
        home.install(operator, await home.admit(operator))
        bus = home.bus(broker, OPERATOR_MEMBER, "peer")
        await bus.start()
        requester = Requester(bus, SystemClock())
        peer = OperatorPeer(requester)
        await requester.start()
        receipt = await home.apply(Applicant("alpha").application())
        approving = asyncio.create_task(home.decisions(on_chain=True).approve("alpha", confirmed=True))
        await wait_until_async(lambda: len(set(peer.asked)) == 2)
        assert not approving.done()
        peer.state = "final"
        await approving
        assert (await home.state(receipt)).state == "approved"
        await wait_until_async(lambda: states(home) == [(0, "admit", "settled"), (1, "admit", "settled")])
        await requester.stop()
        await bus.stop()
    assert home.as_owner("SELECT height FROM operator_tip") == [(4,)]


async def test_reports_that_are_none_are_refused() -> None:
    failure = encode(Reply(failure=Failure(code="database_away", message="later")))
    for payload in (b"", b"{}", failure, encode(Reply(body=msgspec.Raw(b"{}")))):
        with pytest.raises(MinervasError):
            read_statuses(payload)


def test_messages_carry_consecutive_numbers_only() -> None:
    def row(number: int) -> TransactionRow:
        return TransactionRow(number, "", "m", "admit", 1, b"", 0, 0, "open", 0, 0)

    numbers = [0, 1, 2, 5, 6, *range(100, 100 + MAX_BATCH + 1)]
    runs = consecutive_runs([row(number) for number in numbers])
    assert [(run[0].number, len(run)) for run in runs] == [(0, 3), (5, 2), (100, MAX_BATCH), (100 + MAX_BATCH, 1)]


# what is about the consortium and not about a member


async def replace_authority(bench: SagaBench, home: AdmissionHome) -> bytes:
    """Store a change of the authority's key as the next transaction, as whoever makes it will do."""
    consortium = load_consortium(home.settings)
    new = SigningKey(seed_bytes("new authority", 32))
    body = ChangeAuthority(
        network=consortium.network,
        sender=consortium.signer.public,
        salt="00" * 16,
        expires_height=SPAN,
        previous=consortium.signer.public,
        authority=new.public,
        proof="00" * 64,
        approvals=[],
    )
    change = sign_transaction(msgspec.structs.replace(body, proof=sign_statement(body, new)), consortium.signer)
    async with bench.database.transaction() as connection:
        row = TransactionRow(
            number=await next_number(connection),
            id=change.id,
            member="",
            action="authority",
            decision=0,
            raw=change.raw,
            expires_height=SPAN,
            signed_ms=1,
            state="open",
            height=0,
            depth=0,
        )
        await insert_transaction(connection, row)
    return change.raw


async def test_a_change_of_the_authoritys_key_is_handed_out_with_the_others_and_followed_until_it_is_final(
    bench: SagaBench, home: AdmissionHome
) -> None:
    raw = await replace_authority(bench, home)
    batch = await ask(bench, 0)
    assert [bytes(item) for item in batch.transactions][1:] == [raw]
    await report(bench, 10, 8, admit=(5, DEPTH), authority=(6, DEPTH))
    assert states(home) == [(0, "admit", "settled"), (1, "authority", "settled")]


async def test_a_change_of_the_authoritys_key_that_expires_is_not_signed_anew(
    bench: SagaBench, home: AdmissionHome
) -> None:
    await replace_authority(bench, home)
    await report(bench, SPAN + DEPTH, 8, admit=(5, DEPTH))
    assert states(home) == [(0, "admit", "settled"), (1, "authority", "expired")]


async def test_a_grant_carries_the_changes_of_the_authoritys_key(
    admission_and_broker: AdmissionWithBroker, bench: SagaBench, home: AdmissionHome
) -> None:
    raw = await replace_authority(bench, home)
    async with home.running():
        grant = await home.admit(Applicant("bravo"))
    assert bytes(grant.membership[0]) == raw
    assert len(grant.membership) == 2


def test_a_message_holds_what_fits_into_it() -> None:
    large = b"x" * 60_000
    assert count_fitting([large] * 3) == 3
    assert 20 < count_fitting([large] * 60) < 25
    assert count_fitting([]) == 0
