"""An application as the operator reads it: everything that it says, whatever fields it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from minervas_admission.application_check import SIGNING_KEY_NAMES, decode_application
from minervas_admission.certificate_request import describe_key, request_public_key
from minervas_admission.key_identity import box_key_id, tls_key_id
from minervas_admission.store.applications import ApplicationRow
from minervas_core.enrolment import Application, ServiceClaim, declared_meters

_SHOWN_APART = ("member", "name", "contact", "salt", "sent_at_ms", "services")
"""Fields of an application that have a place of their own in the page, or mean nothing to people."""

_METER_SHOWN_APART = ("meter", "channels")


@dataclass(frozen=True, slots=True)
class KeyView:
    """A public key."""

    purpose: str
    """What it is for: tls, box, or as in `SIGNING_KEY_NAMES`."""
    kind: str
    fingerprint: str
    """SHA-256 of a TLS or box key; an Ed25519 key itself, which is as short."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service with its keys."""

    service: str
    keys: list[KeyView]


@dataclass(frozen=True, slots=True)
class MeterView:
    """A declared meter."""

    name: str
    channels: list[dict[str, Any]]
    rated_w: int
    """Of all channels."""
    more: dict[str, Any]
    """Its other fields, by their names."""


@dataclass(frozen=True, slots=True)
class ApplicationView:
    """Everything that a decision needs."""

    row: ApplicationRow
    sent_at_ms: int
    services: list[ServiceView]
    meters: list[MeterView]
    more: dict[str, Any]
    """Other fields of the application, by their names, as plain values, lists and objects."""

    @property
    def rated_w(self) -> int:
        """Rated power of all meters."""
        return sum(meter.rated_w for meter in self.meters)


def application_view(row: ApplicationRow) -> ApplicationView:
    """Read an application for the operator.

    Raises:
        PeerFault: if what is stored is not an application.
    """
    application = decode_application(row.content)
    fields = msgspec.to_builtins(application)
    return ApplicationView(
        row=row,
        sent_at_ms=application.sent_at_ms,
        services=sorted((_service(item.claim) for item in application.services), key=lambda view: view.service),
        meters=_meters(application),
        more={name: value for name, value in fields.items() if name not in _SHOWN_APART},
    )


def _service(claim: ServiceClaim) -> ServiceView:
    tls = request_public_key(claim.csr, service=claim.service)
    keys = [
        KeyView("tls", describe_key(tls), tls_key_id(tls)),
        KeyView(SIGNING_KEY_NAMES[claim.service], "Ed25519", claim.signing_key),
    ]
    if isinstance(claim.box, str):
        keys.append(KeyView("box", "X-Wing", box_key_id(claim.box)))
    return ServiceView(claim.service, keys)


def _meters(application: Application) -> list[MeterView]:
    found: list[MeterView] = []
    for _, meter in declared_meters(application):
        fields = msgspec.to_builtins(meter)
        found.append(
            MeterView(
                name=meter.meter,
                channels=fields["channels"],
                rated_w=sum(channel.rated_w for channel in meter.channels),
                more={name: value for name, value in fields.items() if name not in _METER_SHOWN_APART},
            )
        )
    return found
