"""Changes of the consortium's parameters: what is in force, what waits, and what may be signed.

The rules are those of the chain (spec/governance.md), applied to the changes that admission signed: nobody else can.
How high the chain is, the operator member's peer has reported last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import msgspec

from minervas_admission.store.database import Connection
from minervas_admission.store.transactions import operator_tip, parameter_transactions
from minervas_core.encoding import FieldName, Record, decode, encode
from minervas_core.errors import Code, InvalidTransaction, LocalFault
from minervas_core.genesis import Genesis, Positive
from minervas_core.governance.parameters import (
    CHANGEABLE,
    NOTICE_INTERVALS,
    activate_changes,
    active_parameters,
    changed,
    check_change,
    check_change_alone,
    schedule_change,
)
from minervas_core.governance.records import ChangeParameters, ParameterValue
from minervas_core.governance.state import Governance
from minervas_core.transactions import decode_transaction

MAX_CONTENT_BYTES = 4_096
"""32 names of 64 characters with values of 32 fit."""


class WantedChange(Record, frozen=True, kw_only=True):
    """What the operator wants."""

    activation_height: Positive
    """First block that is judged by it."""
    changes: dict[FieldName, ParameterValue]
    """New value by name; empty to take back what waits for this height."""

    @property
    def content(self) -> str:
        """As a decision stores it."""
        return encode(self).decode()


@dataclass(frozen=True, slots=True)
class Difference:
    """What becomes of one parameter."""

    name: str
    before: int | str
    """In force just below the height."""
    after: int | str


def read_wanted(content: str) -> WantedChange:
    """Read what a decision stores."""
    return decode(content.encode(), WantedChange, max_bytes=MAX_CONTENT_BYTES)


def last_carrying_height(activation_height: int, genesis: Genesis) -> int:
    """Height of the last block that may carry a change for this height."""
    return activation_height - NOTICE_INTERVALS * genesis.parameters.vote_interval


@dataclass(frozen=True, slots=True)
class ParameterView:
    """The changes of parameters that are or may come on chain, and how high the chain is."""

    genesis: Genesis
    tip_height: int
    """As the operator's peer last reported it; 0 if it never did."""
    signed: tuple[tuple[str, ChangeParameters], ...]
    """Ids and bodies in the order of the chain."""
    unsettled: frozenset[int]
    """Heights for which there is a change that is not final yet."""

    @classmethod
    async def read(cls, connection: Connection, genesis: Genesis) -> Self:
        """Read it from the database."""
        tip_height = await operator_tip(connection)
        signed: list[tuple[str, ChangeParameters]] = []
        unsettled: set[int] = set()
        for row in await parameter_transactions(connection):
            body = decode_transaction(row.raw).body
            if isinstance(body, ChangeParameters):
                carried = row.height or last_carrying_height(body.activation_height, genesis) > tip_height
                signed += [(row.id, body)] if carried else []
                unsettled |= {body.activation_height} if row.state == "open" else set()
        return cls(genesis, tip_height, tuple(signed), frozenset(unsettled))

    def check(self, wanted: WantedChange) -> None:
        """Check that the next block could carry the change.

        Two changes for one height must not wait for a block together: the chain, not we, would say which comes last.

        Raises:
            LocalFault: ``parameter_unknown``, ``parameter_fixed``, ``parameter_value``, ``parameters_notice``,
                ``parameters_empty`` or ``parameters_limit``; ``not_ready`` while another change for this height is not
                final.
        """
        body = unsigned_change(wanted, self.genesis)
        try:
            check_change_alone("", body, self.genesis)
            check_change(self._governance(self.tip_height + 1), body, self.tip_height + 1, self.genesis)
        except InvalidTransaction as error:
            values = {name: value for name, value in error.values.items() if name != "tx"}
            raise LocalFault(error.code, error.message, **values, **self._hint(error.code)) from error
        if wanted.activation_height in self.unsettled:
            raise LocalFault(
                Code.NOT_READY,
                "Another change for this height is not final yet; decide again when it is",
                activation_height=wanted.activation_height,
            )

    def differences(self, wanted: WantedChange) -> list[Difference]:
        """What a checked change does to the parameters in force just below its height, by name."""
        before = active_parameters(self._governance(wanted.activation_height - 1), self.genesis)
        after = changed(before, wanted.changes)
        return [Difference(name, getattr(before, name), getattr(after, name)) for name in sorted(wanted.changes)]

    def current(self) -> dict[str, int | str]:
        """What the next block is judged by, by name."""
        return msgspec.structs.asdict(active_parameters(self._governance(self.tip_height + 1), self.genesis))

    def waiting(self) -> list[tuple[int, dict[str, int | str]]]:
        """The changes that wait, by their height."""
        scheduled = self._governance(self.tip_height + 1).scheduled()
        return [(height, scheduled[height].changes) for height in sorted(scheduled)]

    def waiting_at(self, height: int) -> dict[str, int | str] | None:
        """The change that waits for this height already, which another one replaces; None if none does."""
        row = self._governance(self.tip_height + 1).scheduled().get(height)
        return None if row is None else row.changes

    def _governance(self, next_height: int) -> Governance:
        """The state by which the block of this height is judged, if everything signed gets on chain."""
        governance = Governance()
        for tx_id, body in self.signed:
            schedule_change(governance, tx_id, body)
        for height in sorted(height for height in governance.scheduled() if height <= next_height):
            activate_changes(governance, height, self.genesis)
        return governance

    def _hint(self, code: Code) -> dict[str, int | str]:
        if code in (Code.PARAMETER_UNKNOWN, Code.PARAMETER_FIXED):
            return {"changeable": ", ".join(sorted(CHANGEABLE))}
        return {"chain_height": self.tip_height} if code == Code.PARAMETERS_NOTICE else {}


def unsigned_change(wanted: WantedChange, genesis: Genesis) -> ChangeParameters:
    """The body of the transaction, but for salt and expiry."""
    return ChangeParameters(
        network=genesis.network,
        sender=genesis.body.authority,
        salt="0" * 32,
        expires_height=0,
        activation_height=wanted.activation_height,
        changes=wanted.changes,
        rule_version=0,
    )


def wanted_of(body: ChangeParameters) -> WantedChange:
    """What a signed change is about, to sign it anew."""
    return WantedChange(activation_height=body.activation_height, changes=body.changes)


def wanted_change(activation_height: int, assignments: Sequence[str]) -> WantedChange:
    """What the operator typed: ``name=value`` each, where digits are a number.

    Raises:
        LocalFault: ``parameter_value`` for what is no assignment, a name twice, or a height, name or value that no
            parameter can have.
    """
    changes: dict[str, int | str] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or name in changes:
            problem = "A parameter stands twice" if equals else "A change is written name=value"
            raise LocalFault(Code.PARAMETER_VALUE, problem, given=text)
        changes[name] = int(value) if value.isascii() and value.isdigit() else value
    try:
        return msgspec.convert({"activation_height": activation_height, "changes": changes}, WantedChange)
    except msgspec.ValidationError as error:
        raise LocalFault(Code.PARAMETER_VALUE, "No such change can be made", reason=str(error)) from error
