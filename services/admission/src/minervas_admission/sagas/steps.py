"""What a saga consists of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from minervas_admission.store.decisions import Decision


class Abandoned(Exception):
    """A decision that will never be carried out; the message says why."""

    state: ClassVar[str]
    """How the decision ends."""


class Superseded(Abandoned):
    """A later decision has made this one pointless; the message says which."""

    state = "superseded"


class Refused(Abandoned):
    """The rules no longer allow it, now that its turn has come; the message is the error's ``code: text``."""

    state = "refused"


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
    apart: bool = False
    """Whether it comes after the others and outside of the member's turn: it may take long, and a revocation must not
    wait for it. It sees to itself that it does not meet another about the same member."""


@dataclass(frozen=True, slots=True)
class Saga:
    """The steps of one kind of decision, in order."""

    kind: str
    steps: tuple[Step, ...]
