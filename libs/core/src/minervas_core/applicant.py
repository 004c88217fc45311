"""What an applicant says of itself besides its keys: organisation, sites and panels. It never goes on the chain."""

from __future__ import annotations

from typing import Annotated

import msgspec

from minervas_core.encoding import Record
from minervas_core.errors import Code, InvalidEnrolment
from minervas_core.identifiers import PRINTABLE
from minervas_core.market.records import RatedW
from minervas_core.metering import Name

MAX_SITES = 16
"""Places at which one member has panels."""

MAX_PANELS = 128
"""Panels (or strings of equal ones) of one member: with the longest texts an application stays below its limit."""

VISIBILITY = (
    "All members of the consortium see all trades: who sold how much energy to whom, when, and at what price. "
    "What is on the chain can not be deleted."
)
"""What an applicant has to accept."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=PRINTABLE)]
MicroLatitude = Annotated[int, msgspec.Meta(ge=-90_000_000, le=90_000_000)]
"""Millionths of a degree, north positive: about a tenth of a metre."""
MicroLongitude = Annotated[int, msgspec.Meta(ge=-180_000_000, le=180_000_000)]
"""Millionths of a degree, east positive."""
TenthsTilt = Annotated[int, msgspec.Meta(ge=0, le=900)]
"""Tenths of a degree: 0 lies flat, 900 stands upright."""
TenthsAzimuth = Annotated[int, msgspec.Meta(ge=0, le=3_599)]
"""Tenths of a degree from north over east: 1800 looks south."""


class Site(Record, frozen=True, kw_only=True):
    """A place with panels."""

    name: Name
    latitude_e6: MicroLatitude
    longitude_e6: MicroLongitude
    address: Text | msgspec.UnsetType = msgspec.UNSET


class Panel(Record, frozen=True, kw_only=True):
    """A panel, or a string of panels that look the same way."""

    site: Name
    """Name of its site."""
    rated_w: RatedW
    tilt_tenths: TenthsTilt
    azimuth_tenths: TenthsAzimuth
    meter: Name | msgspec.UnsetType = msgspec.UNSET
    """Meter that measures it, if that is known already."""
    channel: Name | msgspec.UnsetType = msgspec.UNSET
    """Channel of the meter."""


class About(Record, frozen=True, kw_only=True):
    """Details for the operator."""

    registration: Text | msgspec.UnsetType = msgspec.UNSET
    """Number in a register of companies or the like."""
    address: Text | msgspec.UnsetType = msgspec.UNSET
    """Postal address of the organisation."""
    sites: Annotated[list[Site], msgspec.Meta(max_length=MAX_SITES)] | msgspec.UnsetType = msgspec.UNSET
    panels: Annotated[list[Panel], msgspec.Meta(max_length=MAX_PANELS)] | msgspec.UnsetType = msgspec.UNSET


class ApplicationForm(Record, frozen=True, kw_only=True):
    """What was filled in on admission's web page; who holds its one-time token applies with it."""

    member: str
    name: Text
    contact: Text
    accepts_visibility: bool
    about: About


def sites_of(about: About | msgspec.UnsetType) -> list[Site]:
    """The sites; none if nothing was said."""
    sites = msgspec.UNSET if isinstance(about, msgspec.UnsetType) else about.sites
    return [] if isinstance(sites, msgspec.UnsetType) else sites


def panels_of(about: About | msgspec.UnsetType) -> list[Panel]:
    """The panels; none if nothing was said."""
    panels = msgspec.UNSET if isinstance(about, msgspec.UnsetType) else about.panels
    return [] if isinstance(panels, msgspec.UnsetType) else panels


def check_about(about: About | msgspec.UnsetType) -> None:
    """Check that sites and panels fit together.

    Raises:
        InvalidEnrolment: ``bad_enrolment`` if two sites share a name, a panel is at no site, or has a channel without
            a meter.
    """
    names = [site.name for site in sites_of(about)]
    if len(set(names)) != len(names):
        raise InvalidEnrolment(Code.BAD_ENROLMENT, "Two sites share a name", sites=",".join(names))
    for panel in panels_of(about):
        if panel.site not in names:
            raise InvalidEnrolment(Code.BAD_ENROLMENT, "A panel is at a site that is not described", site=panel.site)
        if isinstance(panel.meter, msgspec.UnsetType) != isinstance(panel.channel, msgspec.UnsetType):
            raise InvalidEnrolment(
                Code.BAD_ENROLMENT, "A panel has both a meter and its channel, or neither", site=panel.site
            )


def check_visibility(*, accepted: bool) -> None:
    """Check that the applicant accepted `VISIBILITY`.

    Raises:
        InvalidEnrolment: ``consent_missing``.
    """
    if not accepted:
        raise InvalidEnrolment(
            Code.CONSENT_MISSING, "Who applies accepts that all members see all trades; without that there is no market"
        )
