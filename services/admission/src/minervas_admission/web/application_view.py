"""An application as the operator reads it: everything that it says, whatever fields it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from minervas_admission.application_check import SIGNING_KEY_NAMES, decode_requested
from minervas_admission.certificate_request import describe_key, request_public_key
from minervas_admission.commands.output import degrees, tenths
from minervas_admission.key_identity import box_key_id, tls_key_id
from minervas_admission.rotations import decode_rotation
from minervas_admission.store.applications import ROTATE, ApplicationRow
from minervas_core.applicant import About
from minervas_core.enrolment import Application, BringsServices, ServiceClaim, declared_meters

GATEWAY_KEY = "gateway key"

_NEW_KEYS = {"wallet": "wallet", "box": "box", "block": "block key", "vote": "vote key", "gateway": GATEWAY_KEY}
"""Purpose of each key of a rotation, as in `KeyView`."""

_SHOWN_APART = ("kind", "member", "name", "contact", "salt", "sent_at_ms", "services", "about")
"""Fields of an application that have a place of their own in the page, or mean nothing to people."""

_IN_DEGREES = {
    "latitude_e6": ("latitude", degrees),
    "longitude_e6": ("longitude", degrees),
    "tilt_tenths": ("tilt", tenths),
    "azimuth_tenths": ("azimuth", tenths),
}
"""Fields of sites and panels that people read in degrees: under which name, and how they are written."""

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
    if row.kind == ROTATE:
        return _rotation_view(row)
    application = decode_requested(row)
    body = application if isinstance(application, Application) else application.body
    fields = msgspec.to_builtins(body)
    return ApplicationView(
        row=row,
        sent_at_ms=body.sent_at_ms,
        services=sorted((_service(item.claim) for item in application.services), key=lambda view: view.service),
        meters=_meters(application),
        more={name: value for name, value in fields.items() if name not in _SHOWN_APART} | _details(application.about),
    )


def _rotation_view(row: ApplicationRow) -> ApplicationView:
    request = decode_rotation(row.content).request
    services: dict[str, list[KeyView]] = {}
    for new in (claim.new for claim in request.keys):
        is_box = new.name == "box"
        kind, shown = ("X-Wing", box_key_id(new.key)) if is_box else ("Ed25519", new.key)
        services.setdefault(new.service, []).append(KeyView(_NEW_KEYS[new.name], kind, shown))
    views = [ServiceView(service, keys) for service, keys in sorted(services.items())]
    return ApplicationView(row=row, sent_at_ms=request.sent_at_ms, services=views, meters=[], more={})


def _details(about: About | msgspec.UnsetType) -> dict[str, Any]:
    """What an applicant says of itself, its sites and panels, as people read it."""
    if isinstance(about, msgspec.UnsetType):
        return {}
    said: dict[str, Any] = msgspec.to_builtins(about)
    return {
        name: [_in_degrees(each) for each in value] if isinstance(value, list) else value
        for name, value in said.items()
        if value
    }


def _in_degrees(fields: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in fields.items():
        known = _IN_DEGREES.get(name)
        shown |= {known[0]: f"{known[1](value)}°"} if known else {name: value}
    return shown


def _service(claim: ServiceClaim) -> ServiceView:
    tls = request_public_key(claim.csr, service=claim.service)
    keys = [
        KeyView("tls", describe_key(tls), tls_key_id(tls)),
        KeyView(SIGNING_KEY_NAMES.get(claim.service, GATEWAY_KEY), "Ed25519", claim.signing_key),
    ]
    if isinstance(claim.box, str):
        keys.append(KeyView("box", "X-Wing", box_key_id(claim.box)))
    return ServiceView(claim.service, keys)


def _meters(application: BringsServices) -> list[MeterView]:
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
