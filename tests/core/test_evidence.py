"""From a bill to the wire: whatever is altered is found, and at the step where it belongs (minervas_core.evidence)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from msgspec import Raw

from minervas_core.billing.bills import make_bill
from minervas_core.billing.records import Bill
from minervas_core.encoding import encode
from minervas_core.errors import Code, InvalidProof
from minervas_core.evidence.certificate import Certificate, CertificateCheck
from minervas_core.evidence.frames import FrameCheck
from minervas_core.evidence.records import (
    EvidencePart,
    ShownBill,
    ShownLines,
    ShownReadings,
    ShownStatement,
    ShownTrade,
)
from minervas_core.evidence.replay import replay_for_bill
from minervas_core.evidence.steps import Step, all_hold
from minervas_core.evidence.trades import ReplayedMarket
from minervas_core.evidence.verification import BillVerification
from minervas_core.transactions import sign_transaction
from tests.support.builders import gateway_key, offer
from tests.support.evidence import MAPS, EvidenceWorld, frame_of, replaced, sample, stated, with_part
from tools.vectors.document_cases import changed, put


@pytest.fixture(scope="module")
def world() -> EvidenceWorld:
    """A chain with one bill of two lines, and one certificate."""
    return EvidenceWorld()


def verify(world: EvidenceWorld, parts: list[EvidencePart], *, whole: bool = False) -> list[Step]:
    def replay(bill: Bill) -> ReplayedMarket:
        return replay_for_bill(world.line.genesis, world.raws, bill, lambda _: None)

    return list(BillVerification(world.line.genesis, iter(parts), MAPS, replay if whole else None).run())


def failure(steps: list[Step]) -> tuple[str, str, str]:
    assert not all_hold(steps)
    return steps[-1].about, steps[-1].name, steps[-1].code


LINE_STEPS = ["line", "members", "block", "finality", "trade", "matching", "lots", "statement", "readings", "frames"]


def test_an_honest_bill_holds_down_to_the_wire(world: EvidenceWorld) -> None:
    steps = verify(world, world.parts(), whole=True)
    assert [step.name for step in steps] == ["bill", "chain", *LINE_STEPS, *LINE_STEPS]
    assert {step.status for step in steps} == {"ok"}
    assert "input dc" in steps[-1].text
    assert "1 samples without values" in steps[-1].text


def test_without_the_whole_chain_it_says_what_was_not_checked(world: EvidenceWorld) -> None:
    steps = verify(world, world.parts())
    assert [step.name for step in steps if step.status == "not_checked"] == ["chain", "matching", "matching"]
    assert all_hold(steps)


def test_readings_that_are_not_shown_are_not_passed_off_as_checked(world: EvidenceWorld) -> None:
    parts: list[EvidencePart] = [each for each in world.parts() if not isinstance(each, ShownReadings)]
    parts = [
        replaced(each, readings=0, reason="archived") if isinstance(each, ShownStatement) else each for each in parts
    ]
    steps = verify(world, parts)
    assert [step.name for step in steps if step.status == "not_checked"].count("readings") == 2
    assert "archived" in [step.text for step in steps]


Altered = Callable[[EvidenceWorld], list[EvidencePart]]


def _bill(world: EvidenceWorld, **fields: object) -> list[EvidencePart]:
    return with_part(world.parts(), ShownBill, lambda part: replaced(part, bill=replaced(part.bill, **fields)))


def _line(world: EvidenceWorld, **fields: object) -> list[EvidencePart]:
    def change(part: ShownLines) -> ShownLines:
        return replaced(part, lines=[replaced(part.lines[0], **fields), *part.lines[1:]])

    return with_part(world.parts(), ShownLines, change)


def _trade(world: EvidenceWorld, change: Callable[[ShownTrade], ShownTrade]) -> list[EvidencePart]:
    return with_part(world.parts(), ShownTrade, change)


def _reading(world: EvidenceWorld, place: int, **fields: object) -> list[EvidencePart]:
    def change(part: ShownReadings) -> ShownReadings:
        readings = list(part.readings)
        readings[place] = replaced(readings[place], **fields)
        return replaced(part, readings=readings)

    return with_part(world.parts(), ShownReadings, change)


def _block(world: EvidenceWorld) -> list[EvidencePart]:
    def change(part: ShownTrade) -> ShownTrade:
        block = json.loads(bytes(part.block))
        block["transactions"].pop()
        return replaced(part, block=Raw(json.dumps(block, separators=(",", ":"), sort_keys=True).encode()))

    return _trade(world, change)


def _nonce(world: EvidenceWorld) -> list[EvidencePart]:
    """Another nonce, in block and header alike: the work is gone."""

    def change(part: ShownTrade) -> ShownTrade:
        block = json.loads(bytes(part.block))
        headers = list(part.finality.headers)
        for nonce in range(10_000):
            headers[0] = replaced(headers[0], nonce=f"{nonce:016x}")
            if int(headers[0].hash(), 16) > 2**255:
                break
        block["header"] = json.loads(encode(headers[0]))
        raw = Raw(json.dumps(block, separators=(",", ":"), sort_keys=True).encode())
        return replaced(part, block=raw, finality=replaced(part.finality, headers=headers))

    return _trade(world, change)


def _votes(world: EvidenceWorld) -> list[EvidencePart]:
    return _trade(world, lambda p: replaced(p, finality=replaced(p.finality, votes=p.finality.votes[:2])))


def _foreign_offer(world: EvidenceWorld) -> list[EvidencePart]:
    other = offer("farm", [world.statement.id], 1)
    return _trade(world, lambda part: replaced(part, offer=Raw(other.raw)))


def _lot_energy(world: EvidenceWorld) -> list[EvidencePart]:
    def change(part: ShownTrade) -> ShownTrade:
        lot = part.lots[0]
        origin = replaced(lot.origins[0], energy_wh=12)
        return replaced(part, lots=[replaced(lot, energy_wh=12, origins=[origin])])

    return _trade(world, change)


def _statement(world: EvidenceWorld, raw: bytes) -> list[EvidencePart]:
    return with_part(world.parts(), ShownStatement, lambda part: replaced(part, statement=Raw(raw)))


def _more_stated(world: EvidenceWorld) -> list[EvidencePart]:
    return _statement(world, changed(world.statement.raw, put("body", "end", "register_wh", value=9_999)))


def _members(world: EvidenceWorld) -> list[EvidencePart]:
    def change(part: ShownTrade) -> ShownTrade:
        raw = changed(bytes(part.finality.members[0]), put("body", "change", "member", value="thief"))
        return replaced(part, finality=replaced(part.finality, members=[Raw(raw), *part.finality.members[1:]]))

    return _trade(world, change)


ALTERATIONS: dict[str, tuple[Altered, str, Code]] = {
    "the total": (lambda w: _bill(w, total_micro=1), "bill", Code.BILL_WRONG),
    "the buyer": (lambda w: _bill(w, buyer="school"), "line", Code.TRADE_WRONG),
    "the tax": (lambda w: _bill(w, tax_per_mille=100), "bill", Code.BILL_WRONG),
    "a line's price": (lambda w: _line(w, price_micro=1), "bill", Code.BILL_WRONG),
    "the lines' root": (lambda w: _line(w, missing=0), "bill", Code.BILL_WRONG),
    "an admission": (_members, "members", Code.BAD_SIGNATURE),
    "the block's transactions": (_block, "block", Code.BLOCK_TX_ROOT),
    "the block's work": (_nonce, "block", Code.BLOCK_WORK),
    "a vote too few": (_votes, "finality", Code.PROOF_NOT_FINAL),
    "the offer": (_foreign_offer, "trade", Code.TRADE_WRONG),
    "a lot's energy": (_lot_energy, "lots", Code.LOT_WRONG),
    "the statement's register": (_more_stated, "statement", Code.STATEMENT_WRONG),
    "a reading's energy": (lambda w: _reading(w, 1, energy_mwh=1), "readings", Code.READINGS_WRONG),
    "a reading's quality": (lambda w: _reading(w, 1, quality="substituted"), "readings", Code.READINGS_WRONG),
    "a byte on the wire": (lambda w: _reading(w, 1, reply="00"), "readings", Code.READINGS_WRONG),
}


@pytest.mark.parametrize("name", ALTERATIONS)
@pytest.mark.parametrize("whole", [False, True], ids=["parts", "whole chain"])
def test_an_alteration_is_found_at_its_step(world: EvidenceWorld, name: str, whole: bool) -> None:
    alter, step, code = ALTERATIONS[name]
    found = failure(verify(world, alter(world), whole=whole))
    if whole and name == "the buyer":
        assert found == ("bill", "chain", Code.BILL_WRONG)
    else:
        assert found[1:] == (step, code)


def test_a_line_that_is_left_out_is_found_by_the_whole_chain_only(world: EvidenceWorld) -> None:
    lines = world.lines()[:1]
    bill = make_bill(world.line.genesis, "farm", "house", world.bill().period, lines, place=1)
    parts: list[EvidencePart] = [ShownBill(bill=bill), ShownLines(lines=lines), *world.parts()[2:6]]
    assert all_hold(verify(world, parts))
    assert failure(verify(world, parts, whole=True)) == ("bill", "chain", Code.BILL_WRONG)


@pytest.mark.parametrize(
    ("reply", "energy_mwh", "code"),
    [
        (frame_of(1_003)[1][:-2] + "00", 1_003_000, Code.FRAME_WRONG),
        (frame_of(1_002)[1], 1_003_000, Code.FRAME_WRONG),
        (frame_of(1_003, power_tenths=1)[1], 1_003_000, Code.FRAME_WRONG),
        ("", 1_003_000, Code.FRAME_WRONG),
    ],
    ids=["checksum", "energy", "power", "nothing"],
)
def test_a_gateway_that_signs_values_of_other_frames_is_found_at_the_frames(
    reply: str, energy_mwh: int, code: Code
) -> None:
    """The statement's root covers values and bytes, so such a lie is signed by the gateway itself."""
    check = FrameCheck(MAPS["pzem-003"])
    check.add(sample(0, 1, 1_000))
    with pytest.raises(InvalidProof) as caught:
        check.add(replaced(sample(1, 2, 1_003), reply=reply, energy_mwh=energy_mwh))
    assert (caught.value.code, caught.value.values["sequence"]) == (code, 1)


def test_a_statement_by_another_key_is_refused(world: EvidenceWorld) -> None:
    body = replaced(world.statement.body, sender=gateway_key("school").public)
    forged = sign_transaction(body, gateway_key("school"))
    assert failure(verify(world, _statement(world, forged.raw)))[1:] == ("statement", Code.STATEMENT_WRONG)


def test_parts_out_of_place_or_missing_are_no_evidence(world: EvidenceWorld) -> None:
    parts = world.parts()
    for damaged in ([], parts[1:], parts[:2], [*parts[:3], *parts[6:]], [*parts, parts[0]]):
        assert failure(verify(world, damaged))[2] in (Code.PROOF_INCOMPLETE, Code.BILL_WRONG)


# certificates


def test_an_honest_certificate_holds_with_nothing_but_genesis(world: EvidenceWorld) -> None:
    steps = CertificateCheck(world.line.genesis, world.certificate()).run()
    assert [step.name for step in steps] == [
        "consortium",
        "members",
        "block",
        "retirement",
        "finality",
        "origins",
        "statements",
    ]
    assert {step.status for step in steps} == {"ok"}


def _changed_certificate(world: EvidenceWorld, name: str) -> Certificate:
    good = world.certificate()
    origin, shown = good.origins[0], good.finality
    other = stated([sample(50, 1_800_000_090_000, 5_000), sample(51, 1_800_000_091_000, 5_100)])
    changes: dict[str, dict[str, object]] = {
        "consortium": {"genesis": "00" * 32},
        "owner": {"owner": "school"},
        "energy": {"origins": [replaced(origin, energy_wh=origin.energy_wh + 1)]},
        "statement": {"statements": [Raw(other.raw)]},
        "path": {"retirement": replaced(good.retirement, index=good.retirement.index + 1, count=9)},
        "votes": {"finality": replaced(shown, votes=shown.votes[1:])},
        "miner": {"finality": replaced(shown, signature="00" * 64)},
    }
    return replaced(good, **changes[name])


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("consortium", "consortium"),
        ("owner", "retirement"),
        ("energy", "origins"),
        ("statement", "statements"),
        ("path", "retirement"),
        ("votes", "finality"),
        ("miner", "block"),
    ],
)
def test_an_altered_certificate_is_found_at_its_step(world: EvidenceWorld, name: str, step: str) -> None:
    steps = CertificateCheck(world.line.genesis, _changed_certificate(world, name)).run()
    assert (steps[-1].name, steps[-1].status) == (step, "failed")
