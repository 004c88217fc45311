"""Settings of backup and restore: what there is to keep on this host, and where (docs/operating.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

PartName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9_-]{0,40}[a-z0-9])?\Z")]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: an unknown key is an error."""


class KeptDirectory(_Section, frozen=True, kw_only=True):
    """A directory."""

    path: Path
    leave_out: tuple[str, ...] = ()
    """Patterns of paths inside that are not kept; such files do not count as content when restoring either."""
    optional: bool = False
    """Whether it may be missing."""


class KeptDatabase(_Section, frozen=True, kw_only=True):
    """A database with its roles, and who may read all of it: a superuser of the server."""

    host: str
    """Name, address, or directory of a Unix socket (then it starts with a slash)."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5432
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    user: Annotated[str, msgspec.Meta(min_length=1, max_length=63)] = "postgres"
    password_file: Path | None = None
    """Not needed where the server knows the system user who comes by its socket."""
    run_as: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None
    """Number of the system user as whom PostgreSQL's programs run; needs root."""


class BackupSettings(_Section, frozen=True, kw_only=True):
    """Everything that belongs into a backup of this host."""

    kind: Literal["node", "operator"]
    """A member's node; or the operator's host with admission, and usually a node, too."""
    owner: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    """The member, or the name of the consortium: a backup is not restored as somebody else's."""
    passphrase_file: Path | None = None
    """Mode 0600; typed if not given."""
    programs: Path | None = None
    """Directory of pg_dump, pg_restore and psql; searched if not given."""
    directories: dict[PartName, KeptDirectory] = {}
    databases: dict[PartName, KeptDatabase] = {}
