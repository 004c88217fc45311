"""The devnet's Mosquitto: run by the very script that runs it in production (infra/mosquitto/entrypoint.sh).

The broker makes its own key, which never leaves its directory; somebody has its CSR signed and installs the result.
It runs as the system user `mosquitto` (else `nobody`) when root starts it, as ourselves otherwise.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minervas_core.errors import Code, LocalFault
from minervas_devnet.ports import LOOPBACK, free_port
from minervas_devnet.server_account import server_account
from minervas_devnet.waiting import stretched, wait_until

INFRASTRUCTURE = Path(__file__).parents[3] / "infra" / "mosquitto"
"""The script and its templates in the repository."""

RUNNING = " running\n"
"""End of the line that says so; 2.1 has said 'running mosquitto as user' before, when it does not listen yet."""

PASSED_ON = ("MOSQUITTO_BIN", "MINERVAS_DYNSEC_PLUGIN")
"""Environment variables with which a user names another Mosquitto."""

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0


class BrokerFailed(LocalFault):
    """The broker ended by itself, or could not be started; the message has the end of its log."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INTERNAL, message)


class BrokerServer:
    """One Mosquitto below a directory. Also a context manager: started inside, stopped at the end.

    `prepare` makes key and CSR; `install` takes the signed certificate; then it can be started. In `export_dir` there
    has to be a revocation list (``ca.crl`` and ``ca.crl.sha256``), or it waits for one.

    Args:
        directory: where everything of it goes; made if missing. Its system user must be able to pass through.
        export_dir: where admission writes the revocation list.
        port: TCP port on loopback; a free one if not given.
    """

    def __init__(self, directory: Path, export_dir: Path, *, port: int | None = None) -> None:
        self.directory = directory.resolve()
        self.export_dir = export_dir.resolve()
        self.host = LOOPBACK
        self.port = port or free_port()
        self.name = "broker"
        self.log_file = self.directory / "broker.log"
        self.csr_file = self.directory / "pki" / "server.csr"
        """What is to be signed as a server certificate for 127.0.0.1 and localhost."""
        self.rights_file = self.directory / "data" / "dynsec.json"
        """Clients and roles, as Mosquitto keeps them."""
        self._program = self.directory / "program"
        self._account = server_account("mosquitto")
        self._process: subprocess.Popen[bytes] | None = None
        self._log_offset = 0

    @property
    def pid(self) -> int | None:
        """Process id of the wrapper script while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_status(self) -> int | None:
        """Exit status of the last run; None while it runs or before it ran."""
        return None if self._process is None else self._process.poll()

    def prepare(self) -> Path:
        """Make the directories, the broker's key and its CSR, unless they exist; returns the CSR file."""
        if self.csr_file.exists():
            return self.csr_file
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._account.check_can_reach(self.directory)
        for name in ("data", "live", "pki"):
            self._account.make_dir(self.directory / name)
        # A copy, because the repository may be closed to the broker's system user.
        shutil.copytree(INFRASTRUCTURE, self._program)
        self._program.chmod(0o755)
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._account.write_file(self.directory / "pki" / "server.key", pem.decode())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "consortium.broker")])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        self.csr_file.write_bytes(request.public_bytes(serialization.Encoding.PEM))
        return self.csr_file

    def install(self, ca_pem: bytes, certificate_pem: bytes) -> None:
        """Put the consortium's CA certificate and the broker's own in place."""
        pki = self.directory / "pki"
        for name, pem in (("ca.crt", ca_pem), ("server.crt", certificate_pem)):
            new = pki / f"{name}.new"
            self._account.write_file(new, pem.decode(), mode=0o644)
            new.replace(pki / name)

    def start(self, *, wait: bool = True) -> None:
        """Start it, and return when it listens unless `wait` is off; nothing happens if it runs already.

        Raises:
            BrokerFailed: if it ends instead.
            WaitTimeout: if it does not listen in time.
        """
        if self.pid is not None:
            return
        self._log_offset = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own script
                [str(self._program / "entrypoint.sh")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=self._environment(),
                start_new_session=True,
                **self._account.run_as(),
            )
        if wait:
            self.wait_for_log(RUNNING)

    def wait_for_log(self, text: str, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until it has logged `text` since its last start.

        Raises:
            BrokerFailed: if it ends before.
            WaitTimeout: if the time is up.
        """
        wait_until(
            lambda: text in self.output() or self.pid is None,
            timeout_s=timeout_s,
            awaited=f"the broker's log to say {text!r}",
            describe=self.output,
        )
        if text not in self.output():
            raise BrokerFailed(f"the broker ended with exit status {self.exit_status}; it said:\n{self.output()}")

    def output(self) -> str:
        """Return what it wrote since its last start."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM to the script); nothing happens if it does not run."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(stretched(STOP_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End script and Mosquitto as a crash of the machine would (SIGKILL to their own process group)."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def restart(self) -> None:
        """Stop and start it again."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            **{
                name: value for name, value in os.environ.items() if name in ("MOSQUITTO_BIN", "MINERVAS_DYNSEC_PLUGIN")
            },
            "MINERVAS_BROKER_LIVE": str(self.directory / "live"),
            "MINERVAS_BROKER_PKI": str(self.directory / "pki"),
            "MINERVAS_BROKER_DATA": str(self.directory / "data"),
            "MINERVAS_BROKER_CRL": str(self.export_dir),
            "MINERVAS_BROKER_PORT": str(self.port),
            "MINERVAS_BROKER_BIND": self.host,
        }
