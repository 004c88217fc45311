"""`doctor` names what is wrong and what to do; `support-bundle` carries no secret, wherever one stands."""

from __future__ import annotations

import base64
import datetime as dt
import json
import secrets
import zipfile
from pathlib import Path

import pytest

from minervas_admission.cli import run as run_admission
from minervas_core.errors import Code, LocalFault
from minervas_peer.cli import run as run_minervas
from minervas_runtime.support.bundle import LEFT_OUT, Bundle, harmless_log_line, harmless_metrics, harmless_value
from minervas_runtime.support.findings import Finding, exit_status, failure, good, warning
from minervas_runtime.support.host_checks import (
    check_broker,
    check_certificate,
    check_disk,
    check_listening,
    check_secrets,
    offset_finding,
)
from tests.support.admission import AdmissionHome
from tests.support.fix_broker import Broker
from tests.support.pki import Authority

NOW = dt.datetime.now(dt.UTC)


def test_a_revoked_certificate_is_told_by_the_alert_of_the_broker(broker: Broker, member: str) -> None:
    files = broker.issue(f"{member}.peer")
    host, port = broker.server.host, broker.server.port
    assert check_broker(host, port, files.ca_file, files.cert_file, files.key_file).level == "ok"
    broker.revoke(files)
    broker.wait_until_refused(files)
    found = check_broker(host, port, files.ca_file, files.cert_file, files.key_file)
    assert found.level == "failure"
    assert "SSLV3_ALERT_CERTIFICATE_REVOKED" in found.detail
    assert "revoked" in found.advice


def test_a_broker_that_is_away_and_a_missing_key_are_told_apart(broker: Broker, member: str, tmp_path: Path) -> None:
    files = broker.issue(f"{member}.peer")
    away = check_broker("127.0.0.1", 1, files.ca_file, files.cert_file, files.key_file)
    assert (away.level, "unreachable" in away.detail) == ("failure", True)
    missing = check_broker("127.0.0.1", 1, files.ca_file, files.cert_file, tmp_path / "nowhere.key")
    assert "nowhere.key" in missing.detail
    assert check_listening("admission", "127.0.0.1", 1).level == "failure"


@pytest.mark.parametrize(
    ("days", "level"), [(20, "ok"), (5, "warning"), (-1, "failure")], ids=["fresh", "late", "expired"]
)
def test_certificates_are_judged_by_what_is_left_of_them(tmp_path: Path, days: int, level: str) -> None:
    authority = Authority(tmp_path / "ca")
    files = authority.issue("alpha.peer", valid_to=dt.timedelta(days=30))
    end = files.certificate.not_valid_after_utc
    found = check_certificate("peer", files.cert_file, files.ca_file, end - dt.timedelta(days=days))
    assert found.level == level


def test_a_certificate_of_another_ca_is_named(tmp_path: Path) -> None:
    files = Authority(tmp_path / "one").issue("alpha.peer")
    other = Authority(tmp_path / "two").issue("alpha.peer")
    assert "none of the CAs" in check_certificate("peer", files.cert_file, other.ca_file, NOW).detail


@pytest.mark.parametrize(
    ("offset_ms", "level"), [(0, "ok"), (-499, "ok"), (700, "warning"), (-130_000, "failure"), (130_000, "failure")]
)
def test_a_clock_that_is_off_is_a_warning_first_and_then_a_failure(offset_ms: int, level: str) -> None:
    assert offset_finding("clock", offset_ms, "admission").level == level


def test_keys_that_are_open_to_others_are_found(tmp_path: Path) -> None:
    key = tmp_path / "deep" / "wallet.key"
    key.parent.mkdir()
    key.write_bytes(b"x")
    key.chmod(0o600)
    assert check_secrets("peer", tmp_path).level == "ok"
    key.chmod(0o640)
    assert check_secrets("peer", tmp_path).level == "failure"
    assert check_disk("data", tmp_path / "nowhere").level == "failure"


def test_only_a_failure_changes_the_exit_status() -> None:
    fine: list[Finding] = [good("a", ""), warning("b", "", "do")]
    assert exit_status(fine) == 0
    assert exit_status([*fine, failure("c", "", "do")]) == 1


def test_the_doctor_of_a_node_that_has_not_joined_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["doctor", "--node", str(tmp_path), "--api", "http://127.0.0.1:1"]
    assert run_minervas(arguments) == 1
    assert "minervas join" in capsys.readouterr().out
    assert run_minervas([*arguments, "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert {"check": "membership", "level": "failure"}.items() <= findings[-1].items()


def test_the_doctor_of_an_admission_that_does_not_run_names_what_is_missing(
    admission_home: AdmissionHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_admission(["doctor", "--json", "--config", str(admission_home.config)]) == 1
    found = {each["check"]: each["level"] for each in json.loads(capsys.readouterr().out)}
    assert found["database"] == found["keys of the consortium"] == found["certificate for the broker"] == "ok"
    assert found["broker"] == found["port of admission"] == "failure"


# ---- support bundle --------------------------------------------------------------------------------------------------

FIELDS = ("event", "reason", "code", "level", "logger", "service", "state", "status", "version", "time", "detail")


def forms(secret: bytes) -> list[str]:
    """A secret as hex, base64, and as the passphrase that somebody might take."""
    return [secret.hex(), base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode()]


def content_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return "\n".join(archive.namelist()) + "\n".join(archive.read(name).decode() for name in archive.namelist())


def plant(root: Path, planted: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Secrets in files, in their names, in the environment, and in every field of a log; returns the log."""
    log = root / "service.log"
    lines: list[str] = []
    for number, secret in enumerate(planted):
        monkeypatch.setenv(f"PLANTED_{number}", secret)
        for name in ("wallet.key", "api.token", "notes.txt", f"{secret.replace('/', '_')[:40]}.key"):
            (root / name).write_text(secret)
        lines += [json.dumps({field: secret}) for field in FIELDS]
        lines += [
            json.dumps({"event": "renewed", secret: 1, "nested": {"list": [secret, {"code": secret}]}}),
            json.dumps(
                {"event": "failed", "traceback": f'Traceback:\n  File "/{secret}/x.py", line 1, in f\n{secret}'}
            ),
            f"peer-1 | password={secret}",
            f'peer-1 | {{"event": "connected", "password": "{secret}"}}',
            f"{secret} {{not json}}",
        ]
    log.write_text("\n".join(lines))
    return log


def test_no_planted_secret_gets_into_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = [*forms(secrets.token_bytes(32)), "correct horse battery staple", "hunter2-hunter2", "0x" + "ab" * 32]
    root = tmp_path / "node"
    root.mkdir()
    log = plant(root, planted, monkeypatch)
    bundle = Bundle()
    bundle.findings([failure(planted[0], planted[1], planted[2]), *(good(each, each) for each in planted)])
    bundle.directory("node", root)
    for each in planted:
        bundle.state("healthz", dict.fromkeys(FIELDS, each) | {each: [each, {"status": each}]})
        bundle.metrics(
            "peer", f'minervas_x{{code="{each}",le="{each}",state="{each}"}} 1\n{each} 1\nminervas_y {each}\n'
        )
    bundle.log("peer", log)
    path = tmp_path / "bundle.zip"
    bundle.write(path)
    text = content_of(path)
    assert [each for each in planted if each in text or each[:20] in text] == []
    assert "connected" in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_bundle_keeps_what_helps() -> None:
    line = '{"time":"2026-11-23T01:02:03.004Z","level":"warning","event":"bus_lost","code":"bus_offline","height":7}'
    kept = json.loads(harmless_log_line(f"ledger-1  | {line}") or "")
    assert kept == json.loads(line)
    metrics = 'minervas_refusals_total{code="tx_expired",kind="offer"} 3.0\nminervas_chain_height 12\n# HELP x y\n'
    assert harmless_metrics(metrics) == 'minervas_refusals_total{code="tx_expired"} 3.0\nminervas_chain_height 12\n'
    status = {"status": "ok", "tip": {"height": 3, "hash": "ab" * 32}}
    assert harmless_value(status) == {"status": "ok", "tip": {"height": 3, "hash": LEFT_OUT}}


def test_the_commands_write_bundles_without_secrets_and_overwrite_nothing(
    admission_home: AdmissionHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = admission_home
    log = plant(home.settings.paths.data, forms(secrets.token_bytes(32)), monkeypatch)
    own = [home.settings.ca_passphrase_file.read_text().strip(), home.data.token_key.read_text().strip()]
    own += [home.database.writer.password(), home.data.bus_key.read_text().splitlines()[1]]
    path = tmp_path / "bundle.zip"
    arguments = ["support-bundle", str(path), "--log", str(log), "--config", str(home.config)]
    assert run_admission(arguments) == 0
    node = ["support-bundle", str(tmp_path / "node.zip"), "--log", str(log), "--node", str(home.settings.paths.data)]
    assert run_minervas([*node, "--api", "http://127.0.0.1:1"]) == 0
    for text in (content_of(path), content_of(tmp_path / "node.zip")):
        assert [each for each in own if each in text] == []
        assert "PRIVATE KEY" not in text
    assert run_admission(arguments) == 1
    with pytest.raises(LocalFault) as refused:
        Bundle().write(path)
    assert refused.value.code == Code.NOT_EMPTY
