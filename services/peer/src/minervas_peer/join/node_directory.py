"""The node directory as `minervas join` sees it: what services handed in, and what it keeps of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from minervas_core.encoding import Record, decode, encode
from minervas_core.enrolment import (
    GATEWAY,
    MAX_APPLICATION_BYTES,
    MEMBER_SERVICES,
    ApplicationReceipt,
    ServiceEnrolment,
    check_enrolment,
    is_gateway,
)
from minervas_core.errors import Code, InvalidEncoding, LocalFault, MinervasError
from minervas_runtime.enrolment import READY_FILE
from minervas_runtime.key_files import read_secret, write_atomic

APPLICATION_FILE = "application.json"
ADDITION_FILE = "addition.json"


class StoredApplication(Record, frozen=True, kw_only=True):
    """An application under way: written before it is sent, so that an interrupted run goes on with the same one."""

    url: str
    ca_fingerprint: str
    application: msgspec.Raw
    """Canonical bytes as they are (or were) sent."""
    receipt: ApplicationReceipt | msgspec.UnsetType = msgspec.UNSET
    """With the secret token; absent until the server has answered."""
    form_token: str | msgspec.UnsetType = msgspec.UNSET
    """One-time token of a form, which goes with the application."""


class NodeDirectory:
    """Files below one node's directory."""

    def __init__(self, path: Path, *, expects_gateway: bool = False) -> None:
        """Name a node's directory.

        Args:
            path: of the node.
            expects_gateway: wait for a meter-gateway; otherwise it is taken along if it has handed in its keys.
        """
        self.path = path
        self._expects_gateway = expects_gateway
        self.issued = path / "issued"
        self.secrets = path / "secrets"
        self.enrol = path / "enrol"

    @property
    def is_joined(self) -> bool:
        """Whether everything is installed."""
        return (self.issued / READY_FILE).exists()

    def missing_services(self) -> list[str]:
        """Services that have not handed in their requests yet."""
        return self.missing(list(self._wanted()))

    def enrolments(self, member: str) -> list[ServiceEnrolment]:
        """What the services handed in, checked.

        Raises:
            LocalFault: ``bad_enrolment`` naming the file, or the member that a service is set up for.
        """
        return self.enrolments_of(list(self._wanted()), member)

    def _wanted(self) -> tuple[str, ...]:
        """Services of the application: every gateway that has handed in its keys, and one if one is expected."""
        gateways = self.gateways() or ([GATEWAY] if self._expects_gateway else [])
        return (*MEMBER_SERVICES, *gateways)

    def gateways(self) -> list[str]:
        """Gateways that have handed in their keys."""
        return sorted(file.stem for file in self.enrol.glob(f"{GATEWAY}*.json") if is_gateway(file.stem))

    def missing(self, services: list[str]) -> list[str]:
        """Which of these services have not handed in their requests yet."""
        return [service for service in services if not self._enrolment_file(service).exists()]

    def enrolments_of(self, services: list[str], member: str) -> list[ServiceEnrolment]:
        """What these services handed in, checked.

        Raises:
            LocalFault: as `enrolments`.
        """
        return [self._enrolment(service, member) for service in services]

    def load_application(self, name: str = APPLICATION_FILE) -> StoredApplication | None:
        """The application (or addition) under way, if there is one.

        Raises:
            LocalFault: ``bad_key_file`` if its file is damaged or open to others.
        """
        file = self.secrets / name
        if not file.exists():
            return None
        try:
            return decode(read_secret(file), StoredApplication, max_bytes=2 * MAX_APPLICATION_BYTES)
        except InvalidEncoding as error:
            raise LocalFault(
                Code.BAD_KEY_FILE, "The file is damaged; delete it to apply anew", file=str(file)
            ) from error

    def store_application(self, application: StoredApplication, name: str = APPLICATION_FILE) -> None:
        """Write the application under way, readable by its owner only.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        write_atomic(self.secrets / name, encode(application))

    def forget_application(self, name: str = APPLICATION_FILE) -> None:
        """The application came to nothing (or the addition is installed): the next run makes a new one."""
        (self.secrets / name).unlink(missing_ok=True)

    def handed_in(self) -> dict[str, ServiceEnrolment]:
        """What each service handed in at its first start, by service; what cannot be read is left out."""
        found: dict[str, ServiceEnrolment] = {}
        for file in sorted(self.enrol.glob("*.json")):
            try:
                found[file.stem] = decode(file.read_bytes(), ServiceEnrolment, max_bytes=MAX_APPLICATION_BYTES)
            except (OSError, InvalidEncoding):
                continue  # a wish for new keys, or what another program left there
        return found

    def _enrolment_file(self, service: str) -> Path:
        return self.enrol / f"{service}.json"

    def _enrolment(self, service: str, member: str) -> ServiceEnrolment:
        file = self._enrolment_file(service)
        try:
            enrolment = decode(file.read_bytes(), ServiceEnrolment, max_bytes=MAX_APPLICATION_BYTES)
            check_enrolment(enrolment)
        except (OSError, MinervasError) as error:
            raise LocalFault(
                Code.BAD_ENROLMENT,
                "What the service handed in can not be used; delete the file and restart the service",
                file=str(file),
                reason=str(error),
            ) from error
        claim = enrolment.claim
        if (claim.member, claim.service) != (member, service):
            raise LocalFault(
                Code.BAD_ENROLMENT,
                "This service is set up for another member; correct `member` in its settings, or --member",
                file=str(file),
                found=f"{claim.member}.{claim.service}",
                wanted=f"{member}.{service}",
            )
        return enrolment
