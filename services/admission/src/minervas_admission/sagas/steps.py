"""What a saga consists of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from minervas_admission.store.decisions import Decision


class Superseded(Exception):
    """A later decision has made this one pointless; the message says which."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga.

    It finds what it is to make, or makes it: it may be interrupted at any point and is then run again.
    """

    name: str
    run: Callable[[Decision], Awaitable[str]]
    """Carries the step out and returns what was done, for people."""
    gates: bool = True
    """Whether the next steps have to wait until this one has succeeded."""


@dataclass(frozen=True, slots=True)
class Saga:
    """The steps of one kind of decision, in order."""

    kind: str
    steps: tuple[Step, ...]
