"""Changing the shared numbers and the rule version at a height (design section 5, transactions).

The state after a block says by which parameters the next block is judged. Headers are judged before any state is known
(headers-first sync), so what they are judged by stays as genesis has it; see docs/adr/0027-parameters-that-stay.md.
"""

from __future__ import annotations

import msgspec

from minervas_core.errors import Code, InvalidTransaction, LocalFault
from minervas_core.genesis import Genesis, Parameters
from minervas_core.governance.records import ChangeParameters
from minervas_core.governance.state import ActiveParameters, Governance, ScheduledChange

RULE_VERSION = 1
"""The newest version of the rules that this code has."""

NOTICE_INTERVALS = 3
"""A change is announced this many vote intervals ahead. Then it can be final before it applies: its checkpoint is
less than one interval above it, the next checkpoint one interval further, and the votes for that stand in the second
block after it, if all members vote."""

MAX_SCHEDULED = 16
"""Heights at which changes may wait; each block looks at all of them."""

CHANGEABLE = frozenset(
    {
        "give_up_intervals",
        "diversity_per_mille",
        "idle_intervals",
        "max_block_bytes",
        "max_block_transactions",
        "slot_ms",
        "market_mode",
        "max_open_orders",
        "max_lots_per_offer",
        "max_fills_per_block",
        "smallest_order_wh",
        "credit_limit_micro",
    }
)
"""What only needs the state to be judged. The rest stays as genesis has it in this version of the rules."""


def check_change_alone(tx_id: str, change: ChangeParameters, genesis: Genesis) -> None:
    """Check names and values, which needs no state.

    Raises:
        InvalidTransaction: ``parameter_unknown``, ``parameter_fixed`` or ``parameter_value``.
    """
    for name in change.changes:
        if name not in Parameters.__struct_fields__:
            raise InvalidTransaction(Code.PARAMETER_UNKNOWN, "There is no such parameter", tx=tx_id, name=name)
        if name not in CHANGEABLE:
            raise InvalidTransaction(Code.PARAMETER_FIXED, "It stays as genesis has it", tx=tx_id, name=name)
    try:
        changed(genesis.parameters, change.changes)
    except msgspec.ValidationError as error:
        raise InvalidTransaction(
            Code.PARAMETER_VALUE, "A value out of bounds", tx=tx_id, reason=str(error)[:200]
        ) from error


def check_change(governance: Governance, change: ChangeParameters, height: int, genesis: Genesis) -> None:
    """Check a change for the block at `height` against the state before it; its sender is checked elsewhere.

    Raises:
        InvalidTransaction: ``parameters_notice`` (too late to apply then), ``parameters_empty`` (neither changes
            anything nor takes back what was to change then), ``parameters_limit`` (too many wait) or
            ``rule_version_order`` (versions only rise).
    """
    earliest = height + NOTICE_INTERVALS * genesis.parameters.vote_interval
    if change.activation_height < earliest:
        raise InvalidTransaction(
            Code.PARAMETERS_NOTICE,
            "Announced too late",
            activation_height=change.activation_height,
            earliest_height=earliest,
        )
    waiting = governance.scheduled()
    is_empty = not change.changes and not change.rule_version
    if is_empty and change.activation_height not in waiting:
        raise InvalidTransaction(
            Code.PARAMETERS_EMPTY, "Changes nothing, and nothing was to change then", height=change.activation_height
        )
    if change.activation_height not in waiting and len(waiting) >= MAX_SCHEDULED:
        raise InvalidTransaction(Code.PARAMETERS_LIMIT, "Too many changes wait already", limit=MAX_SCHEDULED)
    _check_versions(governance, change)


def _check_versions(governance: Governance, change: ChangeParameters) -> None:
    by_height = {height: row.rule_version for height, row in governance.scheduled().items()}
    by_height[change.activation_height] = change.rule_version
    version = governance.rule_version
    for height in sorted(by_height):
        if 0 < by_height[height] <= version:
            raise InvalidTransaction(
                Code.RULE_VERSION_ORDER, "Rule versions only rise", version=by_height[height], before=version
            )
        version = by_height[height] or version


def schedule_change(governance: Governance, tx_id: str, change: ChangeParameters) -> None:
    """Carry out a checked change: it waits for its height, in place of what waited for it before."""
    if change.changes or change.rule_version:
        row = ScheduledChange(changes=change.changes, rule_version=change.rule_version, transaction=tx_id)
        governance.schedule(change.activation_height, row)
    else:
        governance.unschedule(change.activation_height)


def activate_changes(governance: Governance, next_height: int, genesis: Genesis) -> None:
    """At the end of a block: what was to change at the height of the next one is in force from here on."""
    row = governance.scheduled().get(next_height)
    if row is None:
        return
    governance.put_active(
        ActiveParameters(
            values=changed(active_parameters(governance, genesis), row.changes),
            rule_version=row.rule_version or governance.rule_version,
            since_height=next_height,
        )
    )
    governance.unschedule(next_height)


def active_parameters(governance: Governance, genesis: Genesis) -> Parameters:
    """The parameters by which the block after this state is judged."""
    active = governance.active
    return active.values if active is not None else genesis.parameters


def check_rules_known(governance: Governance) -> None:
    """Check that this software has the rules by which the block after this state is judged.

    Raises:
        LocalFault: ``software_too_old``.
    """
    if governance.rule_version > RULE_VERSION:
        raise LocalFault(
            Code.SOFTWARE_TOO_OLD,
            "This software is too old: the consortium has moved on to rules that it does not have; install a newer one",
            rule_version=governance.rule_version,
            known=RULE_VERSION,
        )


def first_unknown_height(governance: Governance) -> int:
    """First height whose block this software cannot judge; 0 if no such is announced."""
    active = governance.active
    if active is not None and active.rule_version > RULE_VERSION:
        return active.since_height
    unknown = (height for height, row in governance.scheduled().items() if row.rule_version > RULE_VERSION)
    return min(unknown, default=0)


def changed(parameters: Parameters, changes: dict[str, int | str]) -> Parameters:
    """The parameters with other values.

    Raises:
        msgspec.ValidationError: for a value out of bounds.
    """
    return msgspec.convert(msgspec.to_builtins(parameters) | changes, Parameters)
