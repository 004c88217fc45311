"""What a backup says of itself, first of all: whose it is and what is in it."""

from __future__ import annotations

from minervas_core.encoding import Count, Record, TimeMs

MAX_MANIFEST_BYTES = 1 << 20
MANIFEST = "manifest.json"
END = "end.json"
FILES = "files"
DATABASES = "databases"
ROLES = "roles.json"
DUMP = "dump"


class Manifest(Record, frozen=True, kw_only=True):
    """The first entry of a backup."""

    kind: str
    owner: str
    made_ms: TimeMs
    version: str
    """Of the program that made it."""
    directories: list[str]
    databases: list[str]


class End(Record, frozen=True, kw_only=True):
    """The last entry of a backup."""

    files: Count
    file_bytes: Count
    dump_bytes: Count
    left_out: list[str]
    """What is neither a file nor a directory (links, sockets), and so is not kept."""
