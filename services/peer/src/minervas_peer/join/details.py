"""What an applicant says of organisation, sites and panels: from a TOML file or from options.

A file, all of which is optional::

    name = "Mokpo National University"
    contact = "energy@mokpo.example, +82 61 000 0000"
    registration = "123-45-67890"        # number in a register of companies or the like
    address = "1666 Yeongsan-ro, Muan"

    [[sites]]
    name = "library"                     # a-z, 0-9 and inner hyphens
    latitude = 34.912300                 # degrees, north positive, at most six decimals
    longitude = 126.437200               # degrees, east positive
    address = "roof of the library"

    [[panels]]
    site = "library"
    rated_w = 120
    tilt = 30                            # degrees: 0 lies flat, 90 stands upright; at most one decimal
    azimuth = 180                        # degrees from north over east: 180 looks south
    meter = "balcony"                    # what measures it, if that is known
    channel = "ch2"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from minervas_core.applicant import About, check_about
from minervas_core.errors import Code, InvalidEnrolment, LocalFault

MICRO = 1_000_000
TENTHS = 10

_TOP = ("name", "contact", "registration", "address", "sites", "panels")
_SITE = ("name", "latitude", "longitude", "address")
_PANEL = ("site", "rated_w", "tilt", "azimuth", "meter", "channel")


@dataclass(frozen=True, slots=True)
class Details:
    """What was said; empty or unset what was not."""

    name: str
    contact: str
    about: About | msgspec.UnsetType


def read_details(file: Path | None, sites: Sequence[str], panels: Sequence[str]) -> Details:
    """Read the file, and add what options say.

    Args:
        file: TOML as above, if there is one.
        sites: each ``name,latitude,longitude[,address]``.
        panels: each ``site,rated_w,tilt,azimuth[,meter/channel]``.

    Raises:
        LocalFault: ``bad_settings`` naming what is wrong and where.
    """
    content = {} if file is None else _load(file)
    _known(content, _TOP, file, "the file")
    listed_sites = [_table(each, _SITE, file, "sites") for each in _tables(content, "sites", file)]
    listed_panels = [_table(each, _PANEL, file, "panels") for each in _tables(content, "panels", file)]
    listed_sites += [_site_option(text) for text in sites]
    listed_panels += [_panel_option(text) for text in panels]
    fields: dict[str, Any] = {key: content[key] for key in ("registration", "address") if key in content}
    if listed_sites:
        fields["sites"] = [_site(each, file) for each in listed_sites]
    if listed_panels:
        fields["panels"] = [_panel(each, file) for each in listed_panels]
    return Details(
        name=_text(content, "name", file),
        contact=_text(content, "contact", file),
        about=_about(fields, file) if fields else msgspec.UNSET,
    )


def scaled(value: object, factor: int, what: str, file: Path | None = None) -> int:
    """A decimal number as a whole one of smaller units.

    Raises:
        LocalFault: ``bad_settings`` if it is no number, or has more decimals than count.
    """
    try:
        exact = Decimal(str(value)) * factor if not isinstance(value, bool) else Decimal("nan")
    except InvalidOperation:
        exact = Decimal("nan")
    if not exact.is_finite() or abs(exact) >= 10**12 or exact != exact.to_integral_value():
        decimals = len(str(factor)) - 1
        _fail(f"{what} is a number of degrees with at most {decimals} decimals, not {value!r}", file)
    return int(exact)


def _load(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"it can not be read ({error})", file)
    except tomllib.TOMLDecodeError as error:
        _fail(f"not TOML: {error}", file)


def _tables(content: dict[str, Any], key: str, file: Path | None) -> Iterable[Any]:
    value = content.get(key, [])
    if not isinstance(value, list):
        _fail(f"{key} are written as [[{key}]]", file)
    return value


def _table(value: object, known: Sequence[str], file: Path | None, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _fail(f"{where} are written as [[{where}]]", file)
    _known(value, known, file, where)
    return value


def _known(content: dict[str, Any], known: Sequence[str], file: Path | None, where: str) -> None:
    if unknown := sorted(set(content) - set(known)):
        _fail(f"there is no {unknown[0]!r} in {where}; known are {', '.join(known)}", file)


def _text(content: dict[str, Any], key: str, file: Path | None) -> str:
    value = content.get(key, "")
    if not isinstance(value, str):
        _fail(f"{key} is a text", file)
    return value


def _site_option(text: str) -> dict[str, Any]:
    parts = [part.strip() for part in text.split(",", 3)]
    if len(parts) < 3:
        _fail(f"--site is name,latitude,longitude[,address], not {text!r}")
    return dict(zip(_SITE, parts, strict=False))


def _panel_option(text: str) -> dict[str, Any]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (4, 5) or not parts[1].isdecimal() or (len(parts) == 5 and parts[4].count("/") != 1):
        _fail(f"--panel is site,rated_w,tilt,azimuth[,meter/channel], not {text!r}")
    fields: dict[str, Any] = dict(zip(_PANEL, parts[:4], strict=False))
    fields["rated_w"] = int(parts[1])
    if len(parts) == 5:
        fields["meter"], fields["channel"] = parts[4].split("/")
    return fields


def _site(fields: dict[str, Any], file: Path | None) -> dict[str, Any]:
    rest = {key: value for key, value in fields.items() if key not in ("latitude", "longitude")}
    return {
        **rest,
        "latitude_e6": scaled(fields.get("latitude", ""), MICRO, "latitude", file),
        "longitude_e6": scaled(fields.get("longitude", ""), MICRO, "longitude", file),
    }


def _panel(fields: dict[str, Any], file: Path | None) -> dict[str, Any]:
    rest = {key: value for key, value in fields.items() if key not in ("tilt", "azimuth")}
    return {
        **rest,
        "tilt_tenths": scaled(fields.get("tilt", ""), TENTHS, "tilt", file),
        "azimuth_tenths": scaled(fields.get("azimuth", ""), TENTHS, "azimuth", file),
    }


def _about(fields: dict[str, Any], file: Path | None) -> About:
    try:
        about = msgspec.convert(fields, About)
        check_about(about)
    except msgspec.ValidationError as error:
        _fail(str(error), file)
    except InvalidEnrolment as error:
        _fail(str(error), file)
    return about


def _fail(problem: str, file: Path | None = None) -> NoReturn:
    raise LocalFault(Code.BAD_SETTINGS, f"The details can not be used: {problem}", file=str(file or "options"))
