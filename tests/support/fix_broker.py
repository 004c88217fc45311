"""Fixtures: a real Mosquitto with a throw-away CA, as production runs it.

A machine without Mosquitto is a failure, never a skip: `make setup` installs it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minervas_core.identifiers import Principal
from minervas_core.rights import ADMISSION, Rights, rights_for
from minervas_devnet.broker import BrokerServer
from minervas_runtime.bus import Message, Will
from minervas_runtime.mqtt_bus import BusSettings, MqttBus
from minervas_runtime.tls_diagnosis import Diagnosis, diagnose
from tests.support.pki import Authority, CertFiles, publish_crl
from tests.support.wait import HANG_S, wait_until

CONTROL_TOPIC = "$CONTROL/dynamic-security/v1"
OPERATOR_MEMBER = "operator-coop"
LATE_REFUSAL_S = 10.0
"""A busy broker refuses within this time, and waiting for a refusal ends with it."""
QUIET_S = 0.3
"""To see that there is none: every such look takes as long."""


def dynsec_acls(rights: Rights) -> list[dict[str, Any]]:
    """The rights as access rules of Mosquitto's dynamic-security plugin."""
    rules = [("publishClientSend", topic) for topic in rights.publish]
    for topic in rights.subscribe:
        rules += [("publishClientReceive", topic), ("subscribePattern", topic)]
    return [{"acltype": kind, "topic": topic, "priority": 0, "allow": True} for kind, topic in rules]


class Broker:
    """A running Mosquitto, its CA, and what admission does with them."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory / "ca")
        self.export_dir = directory / "export"
        publish_crl(self.export_dir, self.authority.crl_pem())
        self.server = BrokerServer(directory / "broker", self.export_dir)
        csr = self.server.prepare().read_bytes()
        self.server.install(self.authority.ca_pem, self.authority.sign_server(csr))
        self._admin = self.authority.issue(str(ADMISSION))

    def issue(self, principal: Principal | str) -> CertFiles:
        """Issue a good client certificate; it opens the connection and allows nothing."""
        return self.authority.issue(str(principal))

    def grant(self, principal: Principal | str, rights: Rights) -> None:
        """Let a principal do what `rights` say; blocks for about 50 ms."""
        role = f"p-{principal}"
        self.control(
            {"command": "createRole", "rolename": role, "acls": dynsec_acls(rights)},
            {"command": "createClient", "username": str(principal), "roles": [{"rolename": role}]},
        )

    def admit(self, principal: Principal, *, operator_member: str = OPERATOR_MEMBER) -> CertFiles:
        """Issue a certificate and grant what the rights table says."""
        self.grant(principal, rights_for(principal, operator_member=operator_member))
        return self.issue(principal)

    def kick(self, principal: Principal | str) -> None:
        """Take all rights away and end the session, as admission does first when it revokes."""
        self.control(
            {"command": "deleteClient", "username": str(principal)},
            {"command": "deleteRole", "rolename": f"p-{principal}"},
        )

    def revoke(self, files: CertFiles) -> None:
        """Put a certificate on the revocation list and publish it."""
        self.authority.revoke(files.certificate)
        publish_crl(self.export_dir, self.authority.crl_pem())

    def probe(self, files: CertFiles, *, quiet_s: float = LATE_REFUSAL_S) -> Diagnosis:
        """What this broker thinks of a certificate; it is said to accept it if it says nothing for `quiet_s`."""
        server = self.server
        return diagnose(
            server.host,
            server.port,
            files.ca_file,
            files.cert_file,
            files.key_file,
            timeout_s=HANG_S,
            quiet_s=quiet_s,
        )

    def accepts(self, files: CertFiles) -> bool:
        """Whether a handshake with a certificate that ought to be good is not refused."""
        return self.probe(files, quiet_s=QUIET_S).verdict == "accepted"

    def wait_until_refused(self, files: CertFiles) -> None:
        """Wait until the handshake with a certificate is refused."""
        wait_until(lambda: self.probe(files).verdict == "refused", describe="the refusal of a certificate")

    def wait_until_accepted(self, files: CertFiles) -> None:
        """Wait until the handshake with a certificate is accepted."""
        wait_until(lambda: self.probe(files).verdict == "accepted", describe="the acceptance of a certificate")

    def wait_for_count(self, text: str, count: int) -> None:
        """Wait until the broker has logged something so many times since its start."""
        wait_until(lambda: self.server.output().count(text) >= count, describe=f"{count} times {text!r} in the log")

    def settings(self, principal: Principal | str, files: CertFiles, **changes: Any) -> BusSettings:
        """Bus settings with short pauses."""
        values: dict[str, Any] = {
            "host": self.server.host,
            "port": self.server.port,
            "ca_file": files.ca_file,
            "cert_file": files.cert_file,
            "key_file": files.key_file,
            "principal": str(principal),
            "retry_min_s": 0.05,
            "retry_max_s": 0.2,
            **changes,
        }
        return BusSettings(**values)

    def bus(self, principal: Principal | str, files: CertFiles, *, will: Will | None = None, **changes: Any) -> MqttBus:
        """A bus that is not started yet; call it inside the event loop."""
        return MqttBus(self.settings(principal, files, will=will, **changes))

    def control(self, *commands: dict[str, Any]) -> list[dict[str, Any]]:
        """Send commands to the dynamic-security plugin as admission and return the answers; blocks."""
        answers: list[dict[str, Any]] = []
        failures: list[BaseException] = []

        def work() -> None:
            try:
                answers.extend(asyncio.run(self._control(list(commands))))
            except Exception as error:  # noqa: BLE001  # re-raised in the caller's thread
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        assert not [answer for answer in answers if "error" in answer], answers
        return answers

    async def _control(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        bus = self.bus(ADMISSION, self._admin)
        await bus.start()
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        await bus.subscribe("$CONTROL/dynamic-security/#", answer.set_result)
        await bus.publish(CONTROL_TOPIC, json.dumps({"commands": commands}).encode())
        async with asyncio.timeout(HANG_S):
            message = await answer
        await bus.stop()
        responses: list[dict[str, Any]] = json.loads(message.payload)["responses"]
        return responses


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def broker(session_work_dir: Path) -> Iterator[Broker]:
    """A broker shared by all tests: use member names of your own, and never stop it."""
    shared = Broker(session_work_dir / "shared-broker")
    with shared.server:
        yield shared


@pytest.fixture
def own_broker(work_dir: Path) -> Iterator[Broker]:
    """A broker for one test alone, which may stop, restart and revoke as it likes."""
    own = Broker(work_dir)
    with own.server:
        yield own


@pytest.fixture
def member() -> str:
    """A member id that no other test uses."""
    return f"member-{next(_numbers)}"
