"""Where one channel stands between two statements, and what a statement says. Pure: states are values.

A statement spans samples from `start` (the end of the one before, on chain or on its way) to `end`, the last good
sample at or before the end of a slot. Only samples under a synchronised clock can begin or end one. The state keeps
Merkle trees up to `end` and from `end` on, so that readings may leave the spool whenever the ledger has them. After a
loss of the state a tree lacks what was sampled before; the energy does not, for it is the difference of registers.
"""

from __future__ import annotations

import msgspec

from minervas_core.encoding import encode
from minervas_core.metering import Reading
from minervas_meter_gateway.merkle_frontier import Frontier

QUIET_MS = 3_600_000
"""Nothing is stated for slots without energy, but at least once an hour, so that a lot's time stays exact."""


class Point(msgspec.Struct, frozen=True):
    """An energy register at a sampled time."""

    time_ms: int
    register_wh: int
    """Rounded down, as statements carry it."""
    sequence: int = -1
    """Number of the reading in our spool; -1 if it is known from the chain only."""


class Draft(msgspec.Struct, frozen=True):
    """What a statement says, before it has an expiry and a signature."""

    start: Point
    end: Point
    measured: int
    substituted: int
    missing: int
    root: str
    reset: bool

    @property
    def energy_wh(self) -> int:
        """What it mints."""
        return self.end.register_wh - self.start.register_wh


class ChannelState(msgspec.Struct, frozen=True):
    """One channel since its last statement."""

    start: Point | None = None
    """None while the channel is not registered, or its baseline has not been sampled yet."""
    waiting: bool = False
    """Whether the next good sample becomes the start."""
    not_before_ms: int = 0
    """Earliest time of a first start: the registration is not later."""
    reset: bool = False
    """Whether the next statement declares a new baseline."""
    end: Point | None = None
    """Last good sample after the start."""
    measured: int = 0
    """Measured readings after the start, up to the end."""
    substituted: int = 0
    missing: int = 0
    later_measured: int = 0
    """Measured readings after the end (or the start): taken while the clock was not synchronised."""
    later_substituted: int = 0
    later_missing: int = 0
    tree: Frontier = Frontier()
    """Readings from start to end."""
    whole: Frontier = Frontier()
    """Readings from the start on."""
    rest: Frontier = Frontier()
    """Readings from the end (or start) on."""
    last_energy_mwh: int = -1
    """Newest good register, for the register watch after a restart; -1 if there was none."""
    last_time_ms: int = 0


def awaiting_baseline(state: ChannelState, not_before_ms: int) -> ChannelState:
    """The channel is registered and has nothing on chain: its first good sample from then on is the start.

    Args:
        state: of the channel.
        not_before_ms: time of the ledger's tip, which may be ahead of our clock; the registration is not later.
    """
    return msgspec.structs.replace(_fresh(state, start=None, reset=False), not_before_ms=not_before_ms)


def continued_from(state: ChannelState, point: Point) -> ChannelState:
    """Our own knowledge is lost or superseded: the next statement starts where the chain says."""
    return _fresh(state, start=point, reset=False)


def with_new_baseline(state: ChannelState) -> ChannelState:
    """The register starts anew: its next good sample is a baseline, declared as such."""
    return _fresh(state, start=None, reset=True)


def slot_of(time_ms: int, slot_ms: int) -> int:
    """Number of the slot that a sample counts for; one at the very end of a slot still does."""
    return (time_ms - 1) // slot_ms


def advance(
    state: ChannelState, reading: Reading, *, usable: bool, new_baseline: bool, slot_ms: int
) -> tuple[ChannelState, list[Draft]]:
    """Take in the next reading of the channel.

    Args:
        state: before it.
        reading: the reading.
        usable: whether the clock is synchronised.
        new_baseline: whether the register starts anew with it.
        slot_ms: length of a slot; 0 while it is not known.

    Returns:
        The state after it, and statements that became complete by it.
    """
    drafts: list[Draft] = []
    point = _point_of(reading)
    if point is not None:
        state = msgspec.structs.replace(state, last_energy_mwh=reading.energy_mwh, last_time_ms=reading.time_ms)
    if point is not None and _must_begin_anew(state, point, new_baseline=new_baseline):
        state, drafts = close(state)
        state = with_new_baseline(state)
    elif point is not None and usable and _is_over(state, point.time_ms, slot_ms):
        state, drafts = close(state)
    if state.start is None:
        return _maybe_begun(state, reading, point if usable else None), drafts
    return _noted(state, reading, point if usable else None), drafts


def close_if_over(state: ChannelState, *, now_ms: int, slot_ms: int) -> tuple[ChannelState, list[Draft]]:
    """Complete the statement if the slot of its end has passed, also while no reading comes any more."""
    return close(state) if _is_over(state, now_ms, slot_ms) else (state, [])


def close(state: ChannelState) -> tuple[ChannelState, list[Draft]]:
    """Complete the statement if there is anything to state."""
    start, end = state.start, state.end
    if start is None or end is None:
        return state, []
    if end.register_wh == start.register_wh and end.time_ms - start.time_ms < QUIET_MS:
        return state, []
    draft = Draft(
        start=start,
        end=end,
        measured=state.measured,
        substituted=state.substituted,
        missing=state.missing,
        root=state.tree.root(),
        reset=state.reset,
    )
    following = msgspec.structs.replace(
        state,
        start=end,
        end=None,
        reset=False,
        measured=0,
        substituted=0,
        missing=0,
        tree=Frontier(),
        whole=state.rest,
    )
    return following, [draft]


def _fresh(state: ChannelState, *, start: Point | None, reset: bool) -> ChannelState:
    return ChannelState(
        start=start,
        waiting=start is None,
        reset=reset,
        last_energy_mwh=state.last_energy_mwh,
        last_time_ms=state.last_time_ms,
    )


def _point_of(reading: Reading) -> Point | None:
    if isinstance(reading.energy_mwh, msgspec.UnsetType):
        return None
    return Point(reading.time_ms, reading.energy_mwh // 1000, reading.sequence)


def _must_begin_anew(state: ChannelState, point: Point, *, new_baseline: bool) -> bool:
    """Whether the register cannot be continued: the watch says so, or it is below what the chain has."""
    return state.start is not None and (new_baseline or point.register_wh < state.start.register_wh)


def _is_over(state: ChannelState, time_ms: int, slot_ms: int) -> bool:
    if state.end is None or slot_ms == 0:
        return False
    return slot_of(time_ms, slot_ms) > slot_of(state.end.time_ms, slot_ms)


def _maybe_begun(state: ChannelState, reading: Reading, point: Point | None) -> ChannelState:
    if not state.waiting or point is None or point.time_ms < state.not_before_ms:
        return state
    tree = Frontier().with_leaf(encode(reading))
    return msgspec.structs.replace(state, start=point, waiting=False, whole=tree, rest=tree)


def _noted(state: ChannelState, reading: Reading, point: Point | None) -> ChannelState:
    """Count a reading in; a good one that is later than the end before becomes the end."""
    leaf = encode(reading)
    state = msgspec.structs.replace(
        state,
        whole=state.whole.with_leaf(leaf),
        rest=state.rest.with_leaf(leaf),
        later_measured=state.later_measured + (reading.quality == "measured"),
        later_substituted=state.later_substituted + (reading.quality == "substituted"),
        later_missing=state.later_missing + (reading.quality == "missing"),
    )
    before = state.end or state.start
    if point is None or before is None or point.time_ms <= before.time_ms:
        return state
    return msgspec.structs.replace(
        state,
        end=point,
        measured=state.measured + state.later_measured,
        substituted=state.substituted + state.later_substituted,
        missing=state.missing + state.later_missing,
        later_measured=0,
        later_substituted=0,
        later_missing=0,
        tree=state.whole,
        rest=Frontier().with_leaf(leaf),
    )
