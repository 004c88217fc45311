"""What admission holds about somebody is handed out in one document, and deleted once it is not needed any more."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from minervas_admission import audit_log
from minervas_admission.commands.members import show_member, show_members
from minervas_admission.commands.personal import run_export, run_forget
from minervas_admission.commands.show import show_audit
from minervas_admission.store.applications import FORGOTTEN
from minervas_admission.store.certificates import DAY_MS
from minervas_admission.store.transactions import open_transactions
from minervas_core.encoding import encode
from minervas_core.enrolment import Application, ApplicationReceipt
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.messages import TransactionStatus, TransactionStatuses
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.clock import ManualClock, SystemClock
from tests.support.admission import AdmissionHome, Applicant, SagaBench
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

PERSONAL = ("Kim Minsu", "010-1234-5678", "her roof is leaking", "127.0.0.1")
"""Name, contact, what the operator wrote, and where from."""
TABLES = (
    *("applications", "claimed_keys", "members", "certificates", "decisions", "saga_steps", "membership_transactions"),
    *("presence", "audit_log", "application_forms", "renewals"),
)


def application(applicant: Applicant) -> Application:
    return applicant.application(name=PERSONAL[0], contact=PERSONAL[1])


def everything(home: AdmissionHome) -> str:
    """All rows of all tables, with what bytes say."""
    texts = []
    for name in TABLES:
        for (row,) in home.as_owner(f"SELECT to_jsonb(t)::text FROM {name} t"):  # noqa: S608 - one of TABLES
            values: dict[str, Any] = json.loads(row)
            raws = [values.get(column, "") for column in ("content", "raw")]
            texts += [row, *(bytes.fromhex(raw[2:]).decode() for raw in raws if str(raw).startswith("\\x"))]
    return "\n".join(texts)


def all_that_stays(home: AdmissionHome) -> list[list[tuple[Any, ...]]]:
    """Keys, certificates and transactions."""
    return [
        home.as_owner("SELECT * FROM claimed_keys ORDER BY key_id"),
        home.as_owner("SELECT * FROM certificates ORDER BY serial"),
        home.as_owner("SELECT * FROM membership_transactions ORDER BY number"),
    ]


def holds(home: AdmissionHome) -> list[str]:
    """Which personal data is anywhere in the database."""
    text = everything(home)
    return [item for item in PERSONAL if item in text]


async def refused(home: AdmissionHome, wanted: str, code: str) -> None:
    with pytest.raises((LocalFault, TransientFault)) as refusal:
        await run_forget(home.settings, wanted, confirmed=True)
    assert refusal.value.code == code


async def rejected(home: AdmissionHome, applicant: Applicant) -> ApplicationReceipt:
    """An application that was handed in and rejected."""
    receipt = await home.apply(application(applicant))
    await home.decisions().reject(applicant.member, PERSONAL[2])
    return receipt


async def test_the_export_has_everything_and_only_its_owner_reads_it(
    admission_and_broker: AdmissionWithBroker, tmp_path: Path
) -> None:
    home, out = admission_and_broker.home, tmp_path / "alpha.json"
    async with home.running():
        other = Applicant("alpha")
        await home.apply(other.application(name="Somebody else who was rejected"))
        await home.decisions().reject("alpha", "an other")
        alpha = Applicant("alpha")
        receipt = await home.apply(application(alpha))
        await home.decisions().approve("alpha", confirmed=True)
        await home.decisions().suspend("alpha", PERSONAL[2], confirmed=True)
        await run_export(home.settings, "alpha", out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    text = out.read_text("utf-8")
    document = json.loads(text)
    for item in PERSONAL:
        assert item in text
    assert "Somebody else" not in text
    assert "an other" not in text
    assert "token_hash" not in text
    [row] = document["applications"]
    assert (row["id"], row["content"]["name"]) == (receipt.application_id, PERSONAL[0])
    assert document["member"]["state"] == "active"
    assert [item["principal"] for item in document["certificates"]] == ["alpha.ledger", "alpha.miner", "alpha.peer"]
    assert [item["kind"] for item in document["decisions"]] == ["approve", "suspend"]
    assert [step["step"] for step in document["decisions"][0]["steps"]] == [
        "certificates",
        "broker",
        "transaction",
        "grafana",
    ]
    assert [item["raw"]["body"]["change"]["action"] for item in document["transactions"]] == ["admit", "suspend"]
    assert len(document["keys"]) == 7
    actions = [item["action"] for item in document["audit"]]
    assert actions[0] == "apply"
    assert actions[-1] == "export"
    assert "reject" not in actions
    with pytest.raises(LocalFault, match="can not be made"):
        await run_export(home.settings, "alpha", out)
    with pytest.raises(LocalFault) as refusal:
        await run_export(home.settings, "nobody", tmp_path / "nobody.json")
    assert refusal.value.code == Code.NOT_FOUND


async def test_a_rejected_application_is_exported_and_forgotten_by_its_id(
    admission_home: AdmissionHome, tmp_path: Path
) -> None:
    home, out = admission_home, tmp_path / "out.json"
    async with home.running():
        receipt = await rejected(home, Applicant("alpha"))
        waiting = await home.apply(application(Applicant("alpha")))
        await run_export(home.settings, receipt.application_id, out)
        document = json.loads(out.read_text("utf-8"))
        assert [row["id"] for row in document["applications"]] == [receipt.application_id]
        assert [item["action"] for item in document["audit"]] == ["apply", "reject", "export"]
        assert [item["kind"] for item in document["decisions"]] == ["reject"]
        await refused(home, waiting.application_id, Code.NOT_READY)
        await run_forget(home.settings, receipt.application_id, confirmed=True)
        assert PERSONAL[2] not in everything(home)
        assert home.as_owner("SELECT count(*) FROM applications WHERE name = ''") == [(1,)]
        assert (await home.state(receipt)).reason == FORGOTTEN


async def test_forgetting_needs_the_end_of_the_membership_and_leaves_what_the_chain_needs(
    admission_and_broker: AdmissionWithBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    home = admission_and_broker.home
    alpha = Applicant("alpha")
    applied = application(alpha)
    async with home.running():
        receipt = await home.apply(applied)
        await refused(home, "alpha", Code.NOT_READY)
        await home.decisions().approve("alpha", confirmed=True)
        await refused(home, "alpha", Code.MEMBER_ACTIVE)
        assert holds(home) == list(PERSONAL[:2] + PERSONAL[3:])
        await home.decisions().revoke("alpha", PERSONAL[2], confirmed=True)
        assert holds(home) == list(PERSONAL)
        home.as_owner(
            "INSERT INTO applications SELECT repeat('f', 32), member, name, contact, content, fingerprint, token_hash,"
            " remote_address, received_ms, 'rejected', %s, decided_ms, NULL, 'add' FROM applications", PERSONAL[2],
        )  # fmt: skip
        kept = all_that_stays(home)
        await run_forget(home.settings, "alpha", confirmed=True)
        assert holds(home) == []
        assert all_that_stays(home) == kept
        capsys.readouterr()
        await run_forget(home.settings, "alpha", confirmed=True)
        assert "deleted already" in capsys.readouterr().out

        assert await home.apply(applied) == receipt  # the same bytes are the same application, and bring nothing back
        assert (await home.state(receipt)).state == "rejected"
        assert holds(home) == []
        async with home.http() as client:
            again = await client.post("/v1/applications", content=encode(Applicant("alpha").application()))
            assert (again.status_code, again.json()["code"]) == (409, "member_exists")
            reused = encode(Applicant("beta", signing=alpha.signing).application())
            assert (await client.post("/v1/applications", content=reused)).json()["code"] == "key_reused"
        await home.decisions().reconcile()
    await show_audit(home.settings, as_json=False)
    await show_members(home.settings, as_json=False)
    await show_member(home.settings, "alpha", as_json=False)
    assert "personal     deleted" in capsys.readouterr().out


async def test_an_end_that_the_chain_has_not_seen_is_signed_anew_after_forgetting(
    admission_and_broker: AdmissionWithBroker,
) -> None:
    home = admission_and_broker.home
    async with home.running():
        await home.admit(Applicant("alpha"))
    async with SagaBench(home) as bench:
        await settle(bench, tip=10, known="admit")
    with pytest.raises(TransientFault):
        await home.decisions().leave("alpha", PERSONAL[2], confirmed=True)
    await refused(home, "alpha", Code.MEMBER_ACTIVE)
    async with home.running():
        await wait_until_async(lambda: not home.as_owner("SELECT 1 FROM decisions WHERE state = 'queued'"))
        await run_forget(home.settings, "alpha", confirmed=True)
    async with SagaBench(home) as bench:
        await settle(bench, tip=500)
        await settle(bench, tip=501, known="leave")
    assert home.as_owner("SELECT action, state FROM membership_transactions ORDER BY number") == [
        *(("admit", "settled"), ("leave", "expired"), ("leave", "settled")),
    ]
    assert holds(home) == []


async def settle(bench: SagaBench, *, tip: int, known: str = "") -> None:
    """Let the operator's peer report what is open: final if it is of this action, unknown otherwise."""
    async with bench.database.transaction() as connection:
        rows = await open_transactions(connection)
    statuses = [
        TransactionStatus(id=row.id, state="final", height=tip, depth=6)
        if row.action == known
        else TransactionStatus(id=row.id, state="unknown")
        for row in rows
    ]
    await bench.follower.apply(rows, TransactionStatuses(statuses=statuses, tip_height=tip, final_height=tip))


async def test_rejected_applications_are_forgotten_by_themselves_after_a_while(
    work_dir: Path, node_database: NodeDatabase
) -> None:
    home = AdmissionHome(work_dir, node_database, personal_data={"rejected_days": 2})
    async with home.running():
        await rejected(home, Applicant("alpha"))
        await home.apply(application(Applicant("beta")))
    clock = ManualClock(SystemClock().now_ms() + DAY_MS)
    async with home.running(clock):
        await home.apply(Applicant("gamma").application(now_ms=clock.now_ms()))
    assert PERSONAL[2] in holds(home)
    clock.advance(2 * DAY_MS)
    async with home.running(clock):
        await wait_until_async(
            lambda: home.as_owner("SELECT 1 FROM applications WHERE forgotten_ms IS NOT NULL"), describe="forgetting"
        )
    assert PERSONAL[2] not in holds(home)
    assert home.as_owner("SELECT member FROM applications WHERE forgotten_ms IS NULL ORDER BY 1") == [
        *(("beta",), ("gamma",)),
    ]
    last = home.as_owner("SELECT who, action, subject FROM audit_log ORDER BY number DESC LIMIT 1")
    assert last == [(audit_log.SERVICE, "forget", "alpha")]
