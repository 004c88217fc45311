"""Changing the consortium's parameters: what is refused before anything is signed, shown, signed, and followed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from minervas_admission.parameter_changes import ParameterView, WantedChange, wanted_change
from minervas_admission.store.transactions import open_transactions
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.genesis import load_genesis
from minervas_core.governance.parameters import check_change, check_change_alone
from minervas_core.governance.records import ChangeParameters
from minervas_core.governance.state import Governance
from minervas_core.messages import TransactionStatus, TransactionStatuses
from minervas_core.transactions import check_signature, decode_transaction
from tests.support.admission import AdmissionHome, Applicant, SagaBench
from tests.support.admission_crashes import crash_in, finish, transactions
from tests.support.fix_admission import AdmissionWithBroker

NOTICE = 12
"""Three vote intervals of the tests' genesis."""
SPAN = 50
"""Half of max_expiry_blocks in the tests' genesis."""
DEPTH = 6
PROGRAM = Path(sys.executable).with_name("minervas-admission")


async def record(home: AdmissionHome, wanted: WantedChange) -> None:
    """Decide while no service runs: the decision waits."""
    with pytest.raises(TransientFault) as refusal:
        await home.decisions().parameters(wanted, confirmed=True)
    assert refusal.value.code == Code.NOT_READY


async def refusal_of(home: AdmissionHome, height: int, *assignments: str) -> LocalFault:
    """Why a change is refused before it is recorded."""
    with pytest.raises(LocalFault) as refusal:
        await home.decisions().parameters(wanted_change(height, assignments), confirmed=True)
    assert home.as_owner("SELECT count(*) FROM decisions WHERE kind = 'parameters' AND state = 'queued'") == [(0,)]
    return refusal.value


async def carry_out(bench: SagaBench) -> None:
    for decision in await bench.queued():
        assert await bench.runner().attempt(decision)


async def report(bench: SagaBench, tip: int, height: int = 0) -> None:
    """Let the operator's peer report: everything open is final at a height, or not known to it."""
    async with bench.database.transaction() as connection:
        rows = await open_transactions(connection)
    statuses = [
        TransactionStatus(
            id=row.id, state="final" if height else "unknown", height=height, depth=DEPTH if height else 0
        )
        for row in rows
    ]
    await bench.follower.apply(rows, TransactionStatuses(statuses=statuses, tip_height=tip, final_height=height))


def set_tip(home: AdmissionHome, height: int) -> None:
    home.as_owner("UPDATE operator_tip SET height = %s, reported_ms = 1", height)


@pytest.mark.parametrize(
    ("assignment", "code", "words"),
    [
        ("vote_interval=8", Code.PARAMETER_FIXED, "'vote_interval', changeable="),
        ("max_orders=8", Code.PARAMETER_UNKNOWN, "'max_orders', changeable="),
        ("max_open_orders=0", Code.PARAMETER_VALUE, "max_open_orders"),
        ("max_open_orders=many", Code.PARAMETER_VALUE, "max_open_orders"),
        ("max_open_orders=-1", Code.PARAMETER_VALUE, "max_open_orders"),
        ("market_mode=lottery", Code.PARAMETER_VALUE, "market_mode"),
        ("max_open_orders", Code.PARAMETER_VALUE, "name=value"),
        ("MAX=1", Code.PARAMETER_VALUE, "No such change"),
    ],
)
async def test_names_and_values_that_the_chain_refuses_are_refused_before_signing(
    admission_home: AdmissionHome, assignment: str, code: str, words: str
) -> None:
    refusal = await refusal_of(admission_home, 1_000, assignment)
    assert refusal.code == code
    assert words in str(refusal)


async def test_heights_that_come_too_soon_or_make_no_sense_are_refused(admission_home: AdmissionHome) -> None:
    set_tip(admission_home, 100)
    refusal = await refusal_of(admission_home, 101 + NOTICE - 1, "max_open_orders=5")
    assert refusal.code == Code.PARAMETERS_NOTICE
    assert refusal.values == {"activation_height": 112, "earliest_height": 113, "chain_height": 100}
    assert (await refusal_of(admission_home, 0, "max_open_orders=5")).code == Code.PARAMETER_VALUE
    assert (await refusal_of(admission_home, 200)).code == Code.PARAMETERS_EMPTY
    refusal = await refusal_of(admission_home, 200, "max_open_orders=5", "max_open_orders=6")
    assert (refusal.code, refusal.values) == (Code.PARAMETER_VALUE, {"given": "max_open_orders=6"})
    await record(admission_home, wanted_change(101 + NOTICE, ["max_open_orders=5"]))


async def test_what_is_signed_is_valid_on_chain_and_expires_when_no_block_may_carry_it(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    set_tip(home, 100)
    async with home.running():
        await home.decisions().parameters(wanted_change(120, ["max_open_orders=5", "slot_ms=60000"]), confirmed=True)
        await home.decisions().parameters(wanted_change(900, ["max_open_orders=6"]), confirmed=True)
    genesis = load_genesis(home.data.genesis.read_bytes())
    rows = home.as_owner("SELECT raw, member, decision FROM membership_transactions ORDER BY number")
    assert [row[1:] for row in rows] == [(None, 1), (None, 2)]
    for (raw, *_), expires_height, changes in zip(
        rows,
        (120 - NOTICE, 100 + SPAN),
        ({"max_open_orders": 5, "slot_ms": 60_000}, {"max_open_orders": 6}),
        strict=True,
    ):
        transaction = decode_transaction(bytes(raw))
        body = transaction.body
        assert isinstance(body, ChangeParameters)
        check_signature(transaction, genesis.network)
        check_change_alone(transaction.id, body, genesis)
        check_change(Governance(), body, body.expires_height if body.activation_height == 120 else 101, genesis)
        assert (body.sender, body.expires_height) == (genesis.body.authority, expires_height)
        assert (body.changes, body.rule_version) == (changes, 0)
    assert home.as_owner("SELECT state FROM decisions ORDER BY id") == [("carried_out",)] * 2


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
async def test_a_change_of_parameters_survives_a_crash(
    admission_and_broker: AdmissionWithBroker, after_effect: bool
) -> None:
    home = admission_and_broker.home
    await record(home, wanted_change(120, ["max_open_orders=5"]))
    await crash_in(admission_and_broker, "parameters", "transaction", after_effect=after_effect)
    await finish(home)
    assert transactions(home) == [(0, "parameters")]
    assert home.as_owner("SELECT step, state FROM saga_steps") == [("transaction", "done")]


async def test_a_change_whose_height_has_come_too_close_meanwhile_is_refused_and_not_signed(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    await record(home, wanted_change(120, ["max_open_orders=5"]))
    set_tip(home, 115)
    await finish(home)
    assert transactions(home) == []
    [(state, outcome)] = home.as_owner("SELECT state, outcome FROM decisions")
    assert state == "refused"
    assert outcome.startswith("parameters_notice: Announced too late")


async def test_a_change_is_settled_with_its_decision_and_another_for_its_height_waits_for_that(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    await record(home, wanted_change(120, ["max_open_orders=5"]))
    async with SagaBench(home) as bench:
        await carry_out(bench)
        refusal = await refusal_of(home, 120, "max_open_orders=6")
        assert (refusal.code, "not final yet" in str(refusal)) == (Code.NOT_READY, True)
        await report(bench, 10, 8)
        assert home.as_owner("SELECT state FROM decisions") == [("done",)]
        assert home.as_owner("SELECT detail FROM saga_steps WHERE step = 'chain'") == [("final in block 8",)]
        await record(home, wanted_change(120, []))
        await carry_out(bench)
        await report(bench, 20, 18)
    refusal = await refusal_of(home, 120)
    assert refusal.code == Code.PARAMETERS_EMPTY, "it was taken back"


async def test_a_change_that_no_block_carried_is_signed_anew_while_one_still_can(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    await record(home, wanted_change(100, ["max_open_orders=5"]))
    async with SagaBench(home) as bench:
        await carry_out(bench)
        await report(bench, SPAN + DEPTH)
        assert home.as_owner("SELECT state, expires_height FROM membership_transactions ORDER BY number") == [
            ("expired", SPAN),
            ("open", 100 - NOTICE),
        ]
        assert home.as_owner("SELECT state FROM decisions") == [("carried_out",)]
        await report(bench, 100 - NOTICE + DEPTH)
    assert transactions(home) == [(0, "parameters"), (1, "parameters")]
    assert home.as_owner("SELECT state FROM decisions") == [("done",)]
    [[detail]] = home.as_owner("SELECT detail FROM saga_steps WHERE step = 'chain'")
    assert detail == "expired; no block carried it up to height 88: not changed"


async def test_differences_are_to_what_is_in_force_just_below_the_height(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    genesis = load_genesis(home.data.genesis.read_bytes())

    async def shown(bench: SagaBench, height: int, *assignments: str) -> tuple[int | str, int | str]:
        async with bench.database.transaction() as connection:
            view = await ParameterView.read(connection, genesis)
        [row] = view.differences(wanted_change(height, assignments))
        return row.before, row.after

    async with SagaBench(home) as bench:
        for height, value in ((30, 5), (60, 6)):
            await record(home, wanted_change(height, [f"max_open_orders={value}"]))
        await carry_out(bench)
        await report(bench, 10, 8)
        for tip in (10, 29, 45):
            set_tip(home, tip)
            assert await shown(bench, 60, "max_open_orders=7") == (5, 7)
            assert await shown(bench, 61, "max_open_orders=7") == (6, 7)
        set_tip(home, 10)
        assert await shown(bench, 30, "max_open_orders=7") == (200, 7)


async def test_the_operator_sees_what_changes_and_every_step(admission_and_broker: AdmissionWithBroker) -> None:
    home = admission_and_broker.home
    async with home.running_process():
        await home.admit(Applicant("alpha"))
        status, out, error = await command(home, "parameters", "--at", "500", "max_open_orders=20", "--yes")
        assert status == 0, error
        lines = out.splitlines()
        assert lines[0] == "From block 500 on (the chain is at 0; a block up to 488 must carry it):"
        assert lines[1].split() == ["max_open_orders", "200", "->", "20"]
        assert [lines[3].split()[0], lines[3].split()[2]] == ["transaction", "ms"]
        status, _, error = await command(home, "parameters", "--at", "500", "block_interval_ms=1000", "--yes")
        assert (status, "parameter_fixed: It stays as genesis has it" in error) == (1, True)
        assert (await command(home, "parameters", "--at", "900", "max_open_orders=20"))[0] == 1, "nobody confirmed"

        status, out, error = await command(home, "suspend", "alpha", "--reason", "node is away", "--yes")
        assert status == 0, error
        assert [line.split()[0] for line in out.splitlines()[1:-1]] == ["database", "transaction"]
        assert "active, no vote" in (await command(home, "members"))[1]
        assert (await command(home, "resume", "alpha"))[0] == 1, "nobody confirmed"
        assert (await command(home, "leave", "alpha", "--yes"))[0] == 0
        members = (await command(home, "members"))[1].splitlines()[1]
        assert "leave waits for a block" in " ".join(members.split())
        audit = (await command(home, "audit"))[1]
    for entry in ("parameters  consortium", "suspend  alpha", "leave  alpha", "none missing"):
        assert entry in audit
    assert "node is away" not in audit, "reasons may be personal: they stand with the decision"


async def command(home: AdmissionHome, *arguments: str) -> tuple[int, str, str]:
    """Run a command; returns exit status, output and error output."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *arguments, "--config", str(home.config),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
