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
)
from minervas_core.errors import Code, InvalidEncoding, LocalFault, MinervasError
from minervas_runtime.enrolment import READY_FILE
from minervas_runtime.key_files import read_secret, write_atomic

APPLICATION_FILE = "application.json"


class StoredApplication(Record, frozen=True, kw_only=True):
    """An application under way: written before it is sent, so that an interrupted run goes on with the same one."""

    url: str
    ca_fingerprint: str
    application: msgspec.Raw
    """Canonical bytes as they are (or were) sent."""
    receipt: ApplicationReceipt | msgspec.UnsetType = msgspec.UNSET
    """With the secret token; absent until the server has answered."""


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
        return [service for service in self._wanted() if not self._enrolment_file(service).exists()]

    def enrolments(self, member: str) -> list[ServiceEnrolment]:
        """What the services handed in, checked.

        Raises:
            LocalFault: ``bad_enrolment`` naming the file, or the member that a service is set up for.
        """
        return [self._enrolment(service, member) for service in self._wanted()]

    def _wanted(self) -> tuple[str, ...]:
        """Services of the application: a meter-gateway too if one is expected or has handed in its keys."""
        with_gateway = self._expects_gateway or self._enrolment_file(GATEWAY).exists()
        return (*MEMBER_SERVICES, GATEWAY) if with_gateway else MEMBER_SERVICES

    def load_application(self) -> StoredApplication | None:
        """The application under way, if there is one.

        Raises:
            LocalFault: ``bad_key_file`` if its file is damaged or open to others.
        """
        file = self.secrets / APPLICATION_FILE
        if not file.exists():
            return None
        try:
            return decode(read_secret(file), StoredApplication, max_bytes=2 * MAX_APPLICATION_BYTES)
        except InvalidEncoding as error:
            raise LocalFault(
                Code.BAD_KEY_FILE, "The file is damaged; delete it to apply anew", file=str(file)
            ) from error

    def store_application(self, application: StoredApplication) -> None:
        """Write the application under way, readable by its owner only.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        write_atomic(self.secrets / APPLICATION_FILE, encode(application))

    def forget_application(self) -> None:
        """The application came to nothing: the next run makes a new one."""
        (self.secrets / APPLICATION_FILE).unlink(missing_ok=True)

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
