"""A restored admission: whoever was revoked after the backup stays out, whoever was approved since stays in."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from minervas_admission.authority import load_consortium
from minervas_admission.bootstrap import initialise
from minervas_admission.cli import run
from minervas_admission.restored import mark_restored
from minervas_admission.service import run_admission
from minervas_core.blocks import VERSION, Draft, transactions_root
from minervas_core.errors import Code, LocalFault
from minervas_core.merkle import EMPTY_ROOT
from minervas_core.transactions import block_order, decode_transaction
from minervas_devnet.broker import RUNNING, BrokerServer
from minervas_devnet.ports import free_port
from minervas_devnet.postgres import PostgresServer
from minervas_devnet.postgres_roles import NodeDatabase
from minervas_runtime.backup import sealed_file
from minervas_runtime.chain_file import write_chain
from minervas_runtime.clock import SystemClock
from minervas_runtime.service import ServiceContext
from minervas_runtime.tls_diagnosis import diagnose
from tests.support.admission import SERVICES, AdmissionHome, Applicant, grant_of
from tests.support.backups import CHEAP, PASSPHRASE, drop_database
from tests.support.builders import find_nonce, sign_block
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.fix_broker import QUIET_S
from tests.support.renewal import certificates_of, new_key, renewal_of, renewed
from tests.support.wait import wait_until_async

WAITING = "waiting"
EASY = {"initial_difficulty": 2, "min_difficulty": 1}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file.SealedWriter.__init__, "__kwdefaults__", {"cost_log2": CHEAP})


@pytest.fixture
def setting(work_dir: Path, admission_database: NodeDatabase) -> Iterator[AdmissionWithBroker]:
    """An admission whose blocks are easily found, and its running broker."""
    home = AdmissionHome(work_dir, admission_database, broker_port=free_port(), migrate=False, genesis=EASY)
    broker = BrokerServer(work_dir / "broker", home.export_dir, port=home.settings.broker.port)
    home.sign_broker(broker)
    with broker:
        yield AdmissionWithBroker(home, broker)


def write_backup_settings(home: AdmissionHome, server: PostgresServer) -> list[str]:
    """Settings and passphrase of backups; returns the arguments that name them."""
    passphrase = home.root / "backup.passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_bytes(PASSPHRASE)
    config = home.root / "backup.toml"
    config.write_text(
        f"""
        kind = "operator"
        owner = "Mokpo"
        passphrase_file = "backup.passphrase"
        [directories]
        admission = {{ path = "data" }}
        [databases.admission]
        host = "{home.database.host}"
        port = {home.database.port}
        name = "{home.database.name}"
        password_file = "{server.password_file}"
        """
    )
    return ["--backup-config", str(config)]


def write_chain_of(home: AdmissionHome, path: Path) -> int:
    """A chain with everything that the authority has signed, two transactions in a block; returns its height."""
    genesis = load_consortium(home.settings).genesis
    signed = [
        decode_transaction(bytes(raw))
        for (raw,) in home.as_owner("SELECT raw FROM membership_transactions ORDER BY number")
    ]
    blocks: list[bytes] = []
    prev = genesis.hash
    for start in range(0, len(signed), 2):
        transactions = sorted(signed[start : start + 2], key=block_order)
        draft = Draft(
            version=VERSION, network=genesis.network, height=len(blocks) + 1, prev=prev,
            tx_root=transactions_root(transactions), votes_root=EMPTY_ROOT,
            time_ms=SystemClock().now_ms() + len(blocks), difficulty=2, miner="beta",
        )  # fmt: skip
        block = sign_block(find_nonce(draft), transactions)
        prev = block.hash
        blocks.append(block.raw)
    with path.open("wb") as file:
        write_chain(file, genesis.hash, blocks)
    return len(blocks)


def crl_number(home: AdmissionHome) -> int:
    crl = x509.load_pem_x509_crl((home.export_dir / "ca.crl").read_bytes())
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def listed(home: AdmissionHome) -> set[int]:
    return {entry.serial_number for entry in x509.load_pem_x509_crl((home.export_dir / "ca.crl").read_bytes())}


def states(home: AdmissionHome) -> list[tuple[object, ...]]:
    return home.as_owner("SELECT member, state, suspended_ms IS NOT NULL FROM members ORDER BY member")


def lose_host(setting: AdmissionWithBroker, server: PostgresServer) -> None:
    """Everything is gone but the settings and the passphrase of the CA, and the broker's own key and certificate."""
    home = setting.home
    setting.broker.stop()
    shutil.rmtree(home.settings.paths.data)
    shutil.rmtree(home.export_dir)
    for kept in ("data", "live"):
        for path in (home.root / "broker" / kept).iterdir():
            path.unlink()
    drop_database(server, home.database, with_roles=False)  # others are copies of one that they own


def verdict(setting: AdmissionWithBroker, member: str) -> tuple[str, str]:
    """What the broker says to a new handshake of a member's peer."""
    folder = setting.home.root / "members" / member
    files = (folder / "ca.crt", folder / "peer.crt", folder / "peer.key")
    found = diagnose(setting.broker.host, setting.broker.port, *files, quiet_s=QUIET_S)
    return found.verdict, found.alert


async def test_revocations_and_admissions_after_the_backup_are_honoured_before_anybody_connects(
    setting: AdmissionWithBroker, postgres_server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    home, broker = setting.home, setting.broker
    arguments = write_backup_settings(home, postgres_server)
    gamma = Applicant("gamma")
    backup, chain = home.root / "minervas.backup", home.root / "chain"
    async with home.running():
        for name in ("alpha", "beta", "delta"):
            applicant = Applicant(name)
            home.install(applicant, await home.admit(applicant))
        epsilon = await home.apply(Applicant("epsilon").application())
        assert await asyncio.to_thread(run, ["backup", str(backup), *arguments]) == 0
        await home.admit(gamma)
        await home.decisions().approve("epsilon", confirmed=True)
        await home.decisions().revoke("alpha", "did not pay", confirmed=True)
        await home.decisions().suspend("beta", "", confirmed=True)
        await home.decisions().leave("delta", "", confirmed=True)
        wanted, number = states(home), crl_number(home)
        serials = home.as_owner("SELECT serial FROM certificates WHERE member = 'alpha'")
    height = write_chain_of(home, chain)
    lose_host(setting, postgres_server)
    broker.start(wait=False)
    broker.wait_for_log(WAITING)
    assert verdict(setting, "beta")[0] == "unreachable"
    restore = ["restore", str(backup), "--chain", str(chain), "--config", str(home.config), *arguments]
    capsys.readouterr()
    assert await asyncio.to_thread(run, restore) == 0, capsys.readouterr().err
    assert f"the file ends with block {height}" in capsys.readouterr().out
    now = states(home)
    assert [row for row in now if row[0] != "epsilon"] == [row for row in wanted if row[0] != "epsilon"]
    assert crl_number(home) > number
    assert {int(serial, 16) for (serial,) in serials} <= listed(home)
    broker.wait_for_log(RUNNING)
    assert verdict(setting, "alpha") == ("refused", "SSLV3_ALERT_CERTIFICATE_REVOKED")
    async with home.running():
        await wait_until_async(lambda: "beta.peer" in broker.rights_file.read_text(), describe="reconciliation")
        beta = home.bus(broker, "beta", "peer")
        await beta.start()
        await beta.publish("mesh/v1/beta/peer/hello", b"still here")
        await beta.stop()
        await wait_until_async(lambda: states(home) == wanted, describe="the approval to be carried out again")
        assert grant_of(await home.state(epsilon)).certificates.keys() == {"peer", "miner", "ledger"}
        adopted = renewal_of(home, gamma, {service: new_key() for service in SERVICES})
        assert set(certificates_of(await renewed(home, adopted))) == set(SERVICES)
        assert "gamma.peer" in broker.rights_file.read_text()
    assert await asyncio.to_thread(run, ["audit", "--config", str(home.config)]) == 0


async def test_a_restored_admission_does_not_start_before_it_has_caught_up(admission_home: AdmissionHome) -> None:
    home = admission_home
    mark_restored(home.data)
    with pytest.raises(LocalFault) as refused:
        initialise(home.settings, SystemClock())
    assert refused.value.code == Code.NOT_READY
    context = ServiceContext("admission", "consortium", home.settings, SystemClock())
    with pytest.raises(LocalFault) as refused:
        await run_admission(context)
    assert refused.value.code == Code.NOT_READY
    assert await asyncio.to_thread(run, ["catch-up", "--without-chain", "--config", str(home.config)]) == 0
    initialise(home.settings, SystemClock())
