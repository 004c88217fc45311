"""Asking the operator before something is decided."""

from __future__ import annotations

import sys

from minervas_core.errors import Code, LocalFault


class Unconfirmed(LocalFault):
    """The operator did not confirm."""


def confirm(question: str) -> None:
    """Ask, and go on only after a yes.

    Raises:
        Unconfirmed: after anything else, or if there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise Unconfirmed(Code.BAD_SETTINGS, "There is nobody to ask here; add --yes to decide without a question")
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Unconfirmed(Code.BAD_SETTINGS, "Nothing was decided")
