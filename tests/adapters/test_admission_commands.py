"""The command line as operators use it: real processes, their output and exit status."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from minervas_admission import __version__
from minervas_admission.commands.output import harmless
from minervas_devnet.ports import free_port
from tests.support.admission import AdmissionHome, Applicant
from tests.support.fix_admission import AdmissionWithBroker
from tests.support.wait import wait_until_async

PROGRAM = Path(sys.executable).with_name("minervas-admission")


async def command(home: AdmissionHome, *arguments: str, config: Path | None = None) -> tuple[int, str, str]:
    """Run a command; returns exit status, output and error output."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *arguments,
        "--config",
        str(config or home.config),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_operators_walk_through(admission_and_broker: AdmissionWithBroker) -> None:
    """From an empty queue to a revoked member, with every number that the operator is shown."""
    home = admission_and_broker.home
    applicant = Applicant("alpha")
    async with home.running_process() as service:
        assert await command(home, "pending") == (0, "No application waits.\n", "")
        receipt = await home.apply(applicant.application(name="목포 협동조합"))
        _, pending, _ = await command(home, "pending")
        assert receipt.fingerprint in pending
        assert "목포 협동조합" in pending

        status, _, error = await command(home, "approve", "alpha")
        assert (status, "--yes" in error) == (1, True)
        status, out, error = await command(home, "approve", receipt.application_id, "--yes")
        assert status == 0, error
        for step in ("certificates", "broker", "transaction"):
            assert any(line.split()[0] == step and line.split()[2] == "ms" for line in out.splitlines()[1:-1]), out
        assert out.splitlines()[-1].startswith("Done in ")

        _, members, _ = await command(home, "members")
        assert members.splitlines()[1].split()[0] == "alpha"
        assert "admit waits for a block" in members
        [member] = json.loads((await command(home, "members", "--json"))[1])
        assert (member["member"], member["state"], member["chain_state"]) == ("alpha", "active", "open")

        status, out, error = await command(home, "revoke", "alpha", "--reason", "test", "--yes")
        assert status == 0, error
        assert [line.split()[0] for line in out.splitlines()[1:-1]] == [
            *("database", "broker", "revocation_list", "transaction", "readers", "grafana"),
        ]
        status, _, error = await command(home, "revoke", "alpha", "--reason", "test", "--yes")
        assert (status, "revoked already" in error) == (1, True)

        status, audit, _ = await command(home, "audit")
        assert status == 0
        for action in (
            "applicant  apply  alpha",
            "approve  alpha",
            "service  approve carried_out  alpha",
            "revoke  alpha",
        ):
            assert action in audit
        assert "none missing or changed" in audit.splitlines()[-1]

        service.terminate()
        assert await service.wait() == 0


async def test_reject_needs_a_reason_and_no_running_service(admission_home: AdmissionHome) -> None:
    async with admission_home.running():
        await admission_home.apply(Applicant("alpha").application())
    assert (await command(admission_home, "reject", "alpha"))[0] == 2
    assert await command(admission_home, "reject", "alpha", "--reason", "unknown here") == (0, "Rejected alpha.\n", "")


async def test_without_a_service_the_operator_is_told_so(admission_home: AdmissionHome) -> None:
    async with admission_home.running():
        await admission_home.apply(Applicant("alpha").application())
    status, _, error = await command(admission_home, "approve", "alpha", "--yes")
    assert status == 1
    assert error.count("\n") == 1
    assert "not running" in error


async def test_fingerprint_is_what_applicants_are_told(admission_home: AdmissionHome) -> None:
    certificate = x509.load_pem_x509_certificate(admission_home.data.ca_certificate.read_bytes())
    expected = "sha256:" + certificate.fingerprint(hashes.SHA256()).hex()
    assert await command(admission_home, "fingerprint") == (0, expected + "\n", "")


async def test_init_and_migrate_say_what_they_did(admission_home: AdmissionHome) -> None:
    _, out, _ = await command(admission_home, "init")
    assert out.startswith("Everything is there already.\nconsortium      목포 태양광\n")
    assert await command(admission_home, "migrate") == (0, "The database is up to date.\n", "")
    assert await command(admission_home, "version") == (0, f"minervas-admission {__version__}\n", "")
    status, out, _ = await command(admission_home, "check-config")
    assert (status, out) == (0, f"{admission_home.config}: settings are good\n")


async def test_before_init_every_command_says_to_run_it(admission_home: AdmissionHome) -> None:
    admission_home.data.genesis.unlink()
    for arguments in (("run",), ("sign-server", "--csr", "x", "--dns", "localhost", "--out", "y")):
        status, _, error = await command(admission_home, *arguments)
        assert status == 1
        assert "run minervas-admission init" in error or "can not be read" in error
        assert error.splitlines()[-1].count("error:") == 1


SETTINGS_ERRORS = [
    ("[http]", "[htttp]", "htttp"),
    ("port =", "prot =", "prot"),
    ('operator_member = "operator-coop"', 'operator_member = "consortium"', "consortium.operator_member"),
    ('names = ["localhost"', 'names = ["no name"', "http.names"),
    ("block_interval_ms = 2000", "block_interval_ms = 0", "genesis"),
    ("[consortium]", '[consortium]\ntime_zone = "Asia/Atlantis"', "consortium.time_zone"),
    ('ca_passphrase_file = "ca.passphrase"', "", "ca_passphrase_file"),
]


@pytest.mark.parametrize(("old", "new", "key"), SETTINGS_ERRORS)
async def test_a_wrong_setting_is_one_line_with_file_and_key(
    admission_home: AdmissionHome, old: str, new: str, key: str
) -> None:
    wrong = admission_home.root / "wrong.toml"
    text = admission_home.config.read_text("utf-8")
    assert old in text
    wrong.write_text(text.replace(old, new, 1), "utf-8")
    status, out, error = await command(admission_home, "check-config", config=wrong)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert str(wrong) in error
    assert key in error


async def test_secrets_are_checked_before_the_service_needs_them(admission_home: AdmissionHome) -> None:
    shared = admission_home.settings.database.password_file  # other tests use the same role
    shared.chmod(0o644)
    try:
        status, _, error = await command(admission_home, "check-config")
    finally:
        shared.chmod(0o600)
    assert (status, "chmod 600" in error) == (1, True)


async def test_a_server_certificate_from_the_command_line_is_recorded(admission_home: AdmissionHome) -> None:
    csr, out = admission_home.root / "other.csr", admission_home.root / "other.crt"
    csr.write_text(Applicant("x").csr("peer"))
    status, said, error = await command(
        admission_home, "sign-server", "--csr", str(csr), "--name", "consortium.broker-2", "--dns", "b.example.org",
        "--ip", "192.0.2.7", "--out", str(out),
    )  # fmt: skip
    assert status == 0, error
    assert "consortium.broker-2" in said
    serial = f"{x509.load_pem_x509_certificate(out.read_bytes()).serial_number:x}"
    async with admission_home.running():
        assert admission_home.as_owner("SELECT principal FROM certificates WHERE serial = %s", serial) == [
            ("consortium.broker-2",)
        ]
    assert list(admission_home.data.issued.glob("*")) == []


@pytest.mark.parametrize("name", ["alpha.broker", "consortium.peer", "broker"])
async def test_server_certificates_are_for_the_consortiums_servers(admission_home: AdmissionHome, name: str) -> None:
    csr = admission_home.root / "other.csr"
    csr.write_text(Applicant("x").csr("peer"))
    out = admission_home.root / "other.crt"
    arguments = ("--csr", str(csr), "--name", name, "--dns", "localhost", "--out", str(out))
    assert (await command(admission_home, "sign-server", *arguments))[0] == 1
    assert not out.exists()


async def test_health_says_what_is_away(admission_and_broker: AdmissionWithBroker) -> None:
    home, broker = admission_and_broker.home, admission_and_broker.broker
    port = free_port()
    home.config.write_text(home.config.read_text("utf-8") + f"[health]\nport = {port}\n", "utf-8")

    async def health() -> dict[str, object]:
        async with httpx.AsyncClient() as client:
            body: dict[str, object] = (await client.get(f"http://127.0.0.1:{port}/healthz")).json()
            return body

    async def says(**wanted: object) -> bool:
        found = await health()
        return all(found.get(key) == value for key, value in wanted.items())

    async with home.running_process():
        await wait_until_async(lambda: says(status="ok", broker="connected", database="ok"))
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        assert "minervas_admission_crl_issued_at_seconds" in metrics
        broker.stop()
        await wait_until_async(lambda: says(status="waiting", broker="away", database="ok"))
        broker.start()
        await wait_until_async(lambda: says(status="ok"))


@pytest.mark.parametrize(
    ("text", "shown"), [("a\x1b[31mb", "a?[31mb"), ("목포", "목포"), ("a\nb\tc\r", "a?b?c?"), ("a\u202eb", "a?b")]
)
def test_texts_of_applicants_can_not_steer_the_terminal(text: str, shown: str) -> None:
    assert harmless(text) == shown
