"""Random histories with changes of parameters, rule versions and the authority's key on every branch.

They obey the same invariants as other histories (`test_chain_histories`): above all, the state equals a replay.
"""

from __future__ import annotations

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from minervas_core.governance.parameters import NOTICE_INTERVALS
from minervas_core.governance.state import AuthorityRecord
from minervas_core.keys import SigningKey
from minervas_core.record_tables import StateRow
from minervas_core.transactions import Transaction
from minervas_core.tree import HeaderNode
from tests.core.test_chain_histories import Histories, members
from tests.support.builders import AUTHORITY, signing_key
from tests.support.examples import examples
from tests.support.governance import change_authority, change_parameters, recover_authority, wallet

NOTICE = NOTICE_INTERVALS * Histories.PARAMETERS.vote_interval
KEYS = {key.public: key for key in [AUTHORITY, *(signing_key(f"authority {number}") for number in range(3))]}

changes = st.fixed_dictionaries(
    {},
    optional={
        "max_block_transactions": st.sampled_from([0, 1, 2, 20]),  # 0 is out of bounds
        "diversity_per_mille": st.sampled_from([0, 300, 1_000]),
        "idle_intervals": st.sampled_from([1, 10]),
        "max_block_bytes": st.sampled_from([10_000, 200_000]),
    },
)


class GovernanceHistories(Histories):
    """As `Histories`, with a consortium that governs itself."""

    @rule(data=st.data(), wanted=changes, late=st.integers(-1, 3), version=st.sampled_from([0, 0, 0, 0, 0, 0, 0, 2]))
    def change_parameters(self, data: st.DataObject, wanted: dict[str, int], late: int, version: int) -> None:
        """Mostly valid; `late` is how many blocks more than needed it is announced ahead."""
        parent = data.draw(st.sampled_from(self.newest(6, valid=True)))
        height = parent.height + 1
        transaction = change_parameters(
            height + NOTICE + late, wanted, rule_version=version, expires=height + 2, key=self.authority(parent)
        )
        self.mine_upon(parent, transaction)

    @rule(data=st.data(), number=st.integers(0, 2), lost=st.booleans(), silent=members)
    def replace_the_authority(self, data: st.DataObject, number: int, lost: bool, silent: str) -> None:
        """By the old key, or by all members but one."""
        parent = data.draw(st.sampled_from(self.newest(6, valid=True)))
        old, new, expires = self.authority(parent), signing_key(f"authority {number}"), parent.height + 3
        if lost:
            active = [each.member for each in self.snapshots[parent.hash].members if each.status == "active"]
            wallets = [wallet(member) for member in active if member != silent]
            self.mine_upon(parent, recover_authority(new, wallets, previous=old, expires=expires))
        else:
            self.mine_upon(parent, change_authority(new, previous=old, expires=expires))

    @rule(data=st.data(), length=st.integers(1, 8))
    def grow_into_a_change(self, data: st.DataObject, length: int) -> None:
        """Empty blocks by whoever may, up to where changes apply."""
        parent = data.draw(st.sampled_from(self.newest(4, valid=True)))
        for _ in range(length):
            parent = self.mine(parent, self.fitting_miner(parent), [], [], 10_000)

    def mine_upon(self, parent: HeaderNode, transaction: Transaction) -> None:
        self.mine(parent, self.fitting_miner(parent), [transaction], [], 10_000)

    def authority(self, node: HeaderNode) -> SigningKey:
        """The authority's key after a block."""
        for row in self.snapshots[node.hash].governance:
            if row.table == "authority":
                return KEYS[authority_of(row)]
        return AUTHORITY


def authority_of(row: StateRow) -> str:
    assert not isinstance(row.row, msgspec.UnsetType)
    return msgspec.json.decode(row.row, type=AuthorityRecord).key


GovernanceHistories.TestCase.settings = settings(max_examples=examples(40), stateful_step_count=30, deadline=None)
TestGovernanceHistories = GovernanceHistories.TestCase
