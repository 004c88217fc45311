"""The broker's wrapper script: signals, the child's death, its own faults, and the configuration of either version."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_core.rights import Rights
from minervas_devnet.broker import INFRASTRUCTURE
from minervas_devnet.server_account import server_account
from tests.support.fix_broker import Broker
from tests.support.pki import Authority, publish_crl
from tests.support.promises import kept_within
from tests.support.wait import HANG_S, wait_until

KEY = ec.generate_private_key(ec.SECP256R1())
SCRIPT = INFRASTRUCTURE / "entrypoint.sh"


def mosquitto_pid(broker: Broker) -> int:
    """Process id of the wrapper's Mosquitto."""
    children = Path(f"/proc/{broker.server.pid}/task/{broker.server.pid}/children").read_text().split()
    named = {
        int(pid): Path(f"/proc/{pid}/comm").read_text().strip() for pid in children if Path(f"/proc/{pid}").exists()
    }
    return next(pid for pid, name in named.items() if name == "mosquitto")


def running_as(broker: Broker, name: str) -> bool:
    """Whether a child of the wrapper runs under this name."""
    children = Path(f"/proc/{broker.server.pid}/task/{broker.server.pid}/children").read_text().split()
    return any(Path(f"/proc/{pid}/comm").read_text().strip() == name for pid in children)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_sigterm_ends_mosquitto_and_then_the_script_with_status_0_within_two_seconds(own_broker: Broker) -> None:
    async def stop(_: int) -> float:
        own_broker.server.start()
        child = mosquitto_pid(own_broker)
        start = time.monotonic()
        own_broker.server.stop()
        took_s = time.monotonic() - start
        assert own_broker.server.exit_status == 0
        assert is_gone(child)
        assert "mosquitto version" in own_broker.server.output()
        return took_s

    await kept_within(2.0, stop)


def test_a_mosquitto_that_dies_takes_the_script_with_it_and_its_status(own_broker: Broker) -> None:
    os.kill(mosquitto_pid(own_broker), signal.SIGKILL)
    wait_until(lambda: own_broker.server.pid is None, describe="the end of the script")
    assert own_broker.server.exit_status == 128 + signal.SIGKILL
    assert "mosquitto ended with status 137" in own_broker.server.output()


def test_sighup_to_the_script_changes_nothing(own_broker: Broker) -> None:
    child, script = mosquitto_pid(own_broker), own_broker.server.pid
    assert script is not None
    os.kill(script, signal.SIGHUP)
    own_broker.revoke(own_broker.issue("somebody.peer"))
    own_broker.server.wait_for_log("revocation list reloaded")
    assert own_broker.server.pid == script
    assert mosquitto_pid(own_broker) == child


SLOW = """\
#!/bin/sh
# Mosquitto on a busy machine: it takes a while from its first instruction to its signal handlers.
if [ "$1" = -c ]; then until [ -e "{go}" ]; do sleep 0.05; done; fi
exec {mosquitto} "$@"
"""


def test_a_list_published_while_mosquitto_starts_does_not_end_it_and_is_in_use(
    own_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = own_broker.server.directory
    slow, go = directory / "slow-mosquitto", directory / "go"
    mosquitto = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    slow.write_text(SLOW.format(go=go, mosquitto=mosquitto))
    slow.chmod(0o755)
    own_broker.server.stop()
    monkeypatch.setenv("MOSQUITTO_BIN", str(slow))
    in_use = directory / "live" / "ca.crl"
    own_broker.server.start(wait=False)
    wait_until(lambda: running_as(own_broker, "slow-mosquitto"), describe="the start of Mosquitto")
    before = in_use.read_bytes()
    revoked = own_broker.issue("somebody.peer")
    own_broker.revoke(revoked)
    wait_until(lambda: in_use.read_bytes() != before, describe="the new list beside the broker")
    go.touch()
    own_broker.server.wait_for_log("revocation list reloaded")
    own_broker.wait_until_refused(revoked)


def test_rights_and_revocations_survive_a_restart_and_a_crash(own_broker: Broker) -> None:
    own_broker.grant("acme.peer", Rights((), ()))
    for end in (own_broker.server.stop, own_broker.server.kill):
        before = own_broker.server.rights_file.read_text()
        end()
        own_broker.server.start()
        assert own_broker.server.rights_file.read_text() == before
        clients = own_broker.control({"command": "listClients"})[0]["data"]["clients"]
        assert sorted(clients) == ["acme.peer", "consortium.admission"]


def run_script(work_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script, which must end by itself, as the account that servers run as."""
    account = server_account("mosquitto")
    program = work_dir / "program"
    if not program.exists():
        program.mkdir(mode=0o755)
        for file in INFRASTRUCTURE.iterdir():
            copy = program / file.name
            copy.write_bytes(file.read_bytes())
            copy.chmod(0o755)
    for name in ("live", "data", "pki", "crl"):
        if not (work_dir / name).exists():
            account.make_dir(work_dir / name)
    return subprocess.run(
        [str(program / "entrypoint.sh")],
        env={
            "PATH": os.environ["PATH"],
            **{f"MINERVAS_BROKER_{name.upper()}": str(work_dir / name) for name in ("live", "data", "pki", "crl")},
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        **account.run_as(),
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        pytest.param(
            {"MOSQUITTO_BIN": "/nowhere/mosquitto"}, "no mosquitto program (/nowhere/mosquitto)", id="program"
        ),
        pytest.param(
            {"MINERVAS_DYNSEC_PLUGIN": "/nowhere.so"}, "no dynamic-security plugin (/nowhere.so)", id="plugin"
        ),
        pytest.param({"MINERVAS_BROKER_PORT": "no"}, "MINERVAS_BROKER_PORT is not a number: 'no'", id="port"),
        pytest.param({"MINERVAS_BROKER_PKI": "/a|b"}, "paths must not contain", id="path"),
        pytest.param({"MOSQUITTO_BIN": "/bin/true"}, "/bin/true is not Mosquitto 2", id="other program"),
    ],
)
def test_a_wrong_setting_ends_with_one_line_and_status_2(
    work_dir: Path, environment: dict[str, str], said: str
) -> None:
    ended = run_script(work_dir, **environment)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_it_refuses_to_run_as_root(work_dir: Path) -> None:
    pretended = work_dir / "bin"
    pretended.mkdir(mode=0o755)
    (pretended / "id").write_text("#!/bin/sh\necho 0\n")
    (pretended / "id").chmod(0o755)
    ended = run_script(work_dir, PATH=f"{pretended}:{os.environ['PATH']}")
    assert ended.returncode == 2
    assert "do not run as root" in ended.stderr


FAKE = """\
#!/bin/sh
# Stands for Mosquitto {version}: shows its version, else prints its configuration and ends.
case $1 in -h) echo "mosquitto version {version}" ;; -c) cat "$2" ;; esac
"""

INDISPENSABLE = (
    "use_username_as_clientid true",
    "check_retain_source true",
    "set_tcp_nodelay true",
    "tls_version tlsv1.3",
    "require_certificate true",
    "allow_anonymous false",
)


@pytest.mark.parametrize("version", ["2.0.22", "2.1.2"])
def test_each_version_gets_its_own_lines_and_no_placeholder_is_left(work_dir: Path, version: str) -> None:
    fake = work_dir / "mosquitto"
    fake.write_text(FAKE.format(version=version))
    fake.chmod(0o755)
    plugin = work_dir / "mosquitto_dynamic_security.so"
    plugin.touch()
    run_ready(work_dir)
    ended = run_script(
        work_dir, MOSQUITTO_BIN=str(fake), MINERVAS_DYNSEC_PLUGIN=str(plugin), MINERVAS_BROKER_BIND="::1"
    )
    lines = [line for line in ended.stdout.splitlines() if line and not line.startswith("#")]
    assert ended.returncode == 0
    assert "@" not in "\n".join(lines)
    assert "listener 8883 ::1" in lines
    assert f"plugin {plugin}" in lines
    is_newer = version.startswith("2.1")
    assert ("accept_protocol_versions 5" in lines) == is_newer
    assert (f"plugin {work_dir}/mosquitto_persist_sqlite.so" in lines) == is_newer
    assert ("persistence true" in lines) == (not is_newer)
    for needed in (
        "use_username_as_clientid true",
        "check_retain_source true",
        "set_tcp_nodelay true",
        "tls_version tlsv1.3",
    ):
        assert needed in lines
    assert not [line for line in lines if line.startswith("message_size_limit")]


def run_ready(work_dir: Path) -> None:
    """Lay out everything that the script waits for."""
    account = server_account("mosquitto")
    authority = Authority(work_dir / "ca")
    for name in ("pki", "crl"):
        account.make_dir(work_dir / name)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(KEY, hashes.SHA256())
    server = authority.sign_server(request.public_bytes(serialization.Encoding.PEM))
    for name, content in (("ca.crt", authority.ca_pem.decode()), ("server.crt", server.decode()), ("server.key", "x")):
        account.write_file(work_dir / "pki" / name, content)
    publish_crl(work_dir / "crl", authority.crl_pem())
