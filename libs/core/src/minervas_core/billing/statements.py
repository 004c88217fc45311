"""A member's month at a glance: sums over final blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minervas_core.billing.bills import FORMAT
from minervas_core.billing.records import BillPeriod, MemberStatement, RewardShare
from minervas_core.genesis import Genesis
from minervas_core.money import minor_unit_micro, rounded_half_even


@dataclass(frozen=True, slots=True)
class MonthOfMember:
    """What the blocks of a month say of a member."""

    produced_wh: int
    sold_wh: int
    revenue_micro: int
    bought_wh: int
    cost_micro: int
    retired_wh: int
    own_use_wh: int
    unsold_wh: int
    measured: int
    substituted: int
    missing: int


def make_statement(
    genesis: Genesis,
    member: str,
    period: BillPeriod,
    found: MonthOfMember,
    *,
    mined: Mapping[str, int],
    members: Sequence[str],
) -> MemberStatement:
    """A member's statement.

    Args:
        genesis: says currency, fee and reward.
        member: whose.
        period: the month.
        found: sums over its blocks.
        mined: blocks of the month by miner.
        members: who shares the rewards: everybody who was a member at the month's end.
    """
    rewards = share_of_rewards(genesis.parameters.reward_micro, member, mined, members)
    fee_micro = found.bought_wh * genesis.parameters.fee_micro_per_wh
    owed_micro = fee_micro + rewards.share_micro - rewards.earned_micro
    return MemberStatement(
        format=FORMAT,
        network=genesis.network,
        member=member,
        period=period,
        currency=genesis.body.currency,
        produced_wh=found.produced_wh,
        sold_wh=found.sold_wh,
        revenue_micro=found.revenue_micro,
        bought_wh=found.bought_wh,
        cost_micro=found.cost_micro,
        retired_wh=found.retired_wh,
        own_use_wh=found.own_use_wh,
        unsold_wh=found.unsold_wh,
        fee_micro=fee_micro,
        rewards=rewards,
        consortium_micro=rounded_half_even(owed_micro, minor_unit_micro(genesis.body.currency)),
        measured=found.measured,
        substituted=found.substituted,
        missing=found.missing,
    )


def share_of_rewards(reward_micro: int, member: str, mined: Mapping[str, int], members: Sequence[str]) -> RewardShare:
    """What a member earned by mining, and its part of what all earned.

    All members pay the same; what cannot be divided is paid in millionths by the first ones by id.
    """
    blocks = mined.get(member, 0)
    total_micro = reward_micro * sum(mined.values())
    sharing = sorted(set(members))
    share_micro = 0
    if member in sharing:
        each, rest = divmod(total_micro, len(sharing))
        share_micro = each + (sharing.index(member) < rest)
    return RewardShare(blocks=blocks, earned_micro=reward_micro * blocks, share_micro=share_micro)
