"""Who the members are, for who prints a document: names and registration numbers, which never go on chain.

They stand in a TOML file that the member keeps for itself::

    [haenam-farm]
    name = "해남태양광 농업회사법인"
    registration = "123-45-67890"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from minervas_core.errors import Code, LocalFault
from minervas_core.identifiers import PRINTABLE

Text = Annotated[str, msgspec.Meta(max_length=100, pattern=PRINTABLE)]


class Party(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member; what is not known is empty."""

    name: Text = ""
    registration: Text = ""


def load_parties(path: Path | None) -> Mapping[str, Party]:
    """The file's parties by member id; none without a file.

    Raises:
        LocalFault: ``bad_settings`` if it cannot be used.
    """
    if path is None:
        return {}
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), dict[str, Party])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise LocalFault(
            Code.BAD_SETTINGS, "The file of parties cannot be used", file=str(path), reason=str(error)
        ) from error
