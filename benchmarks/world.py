"""Chains to measure with: members meter, offer and bid, and every bid is filled. The same sizes make the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minervas_core.blocks import Block
from minervas_core.chain import Chain
from minervas_core.genesis import Genesis, Parameters
from minervas_core.market.records import Channel, MeterDeclaration
from minervas_core.transactions import Transaction
from tests.support.builders import GENESIS_TIME_MS, LocalChain, admit, bid, offer, register_meter
from tests.support.builders import statement as make_statement

PARAMETERS = Parameters(initial_difficulty=2, min_difficulty=1, diversity_per_mille=0, market_mode="continuous")
"""The numbers of a real consortium, but for the work: it is not what is measured here."""

MEMBERS = 10
CHANNELS = 32
"""Of each member's meter: the most that a meter has."""
RATED_W = 100_000_000
LOT_WH = 40
PRICE_MICRO = 120
EXPIRES_AFTER = 100
"""Blocks until a transaction expires."""
SHARES = (3, 1, 1)
"""Statements, offers and bids among the transactions of a block. Lots are offered in the block after they were made."""


@dataclass(frozen=True, slots=True)
class World:
    """A genesis, the blocks that make members and meters, and blocks to measure with."""

    genesis: Genesis
    founding: tuple[Block, ...]
    blocks: tuple[Block, ...]

    @property
    def all_blocks(self) -> tuple[Block, ...]:
        """From block 1 to the head."""
        return self.founding + self.blocks

    @property
    def transactions(self) -> int:
        """How many transactions the blocks to measure with carry."""
        return sum(len(block.transactions) for block in self.blocks)


class WorldMaker:
    """Extends a chain in memory, block by block.

    Args:
        lots: how many there are to offer in the first block.
    """

    def __init__(self, lots: int) -> None:
        self._local = LocalChain(PARAMETERS)
        self._registers = {(member, channel): 0 for channel in range(CHANNELS) for member in range(MEMBERS)}
        self._turn = list(self._registers)
        self._channel_ms = dict.fromkeys(self._registers, 0)
        self._salts = 0
        self._blocks: list[Block] = []
        self._minted: list[tuple[int, Transaction]] = []
        """Statements whose lots were not offered yet, with who has them."""
        names = [f"m{member}" for member in range(MEMBERS)]
        self._extend([admit(name, expires=EXPIRES_AFTER) for name in names])
        self._extend([register_meter(name, _meter(), expires=EXPIRES_AFTER) for name in names])
        registered_ms = self._local.tip.time_ms - GENESIS_TIME_MS
        self._channel_ms = dict.fromkeys(self._registers, registered_ms)
        self._minted = self._statements(lots)
        self._extend([made for _, made in self._minted])
        self._founding = tuple(self._blocks)
        self._blocks.clear()

    @property
    def chain(self) -> Chain:
        """The chain as it is now."""
        return self._local.chain

    def add_block(self, transactions: int) -> None:
        """Append a block with so many transactions: three statements to an offer of a lot from before and a bid."""
        statements = -(-transactions * SHARES[0] // sum(SHARES))
        offers = (transactions - statements) // 2
        bids = transactions - statements - offers
        sold, self._minted = self._minted[:offers], self._minted[offers:]
        offered = [self._offer(seller, lot) for seller, lot in sold]
        sellers = [seller for seller, _ in sold] or [0]
        wanted = [self._bid(sellers[number % len(sellers)]) for number in range(bids)]
        minted = self._statements(statements)
        self._extend([*(made for _, made in minted), *offered, *wanted])
        self._minted += minted

    def world(self) -> World:
        """Everything so far."""
        return World(self._local.genesis, self._founding, tuple(self._blocks))

    def _extend(self, transactions: Sequence[Transaction]) -> None:
        self._blocks.append(self._local.extend("m0", transactions))

    @property
    def _expires(self) -> int:
        return self._local.tip.height + EXPIRES_AFTER

    def _salt(self) -> str:
        self._salts += 1
        return str(self._salts)

    def _statements(self, count: int) -> list[tuple[int, Transaction]]:
        """Statements of as many channels, in turns; a channel that comes up again goes on where it was."""
        end_ms = self._local.tip.time_ms - GENESIS_TIME_MS + PARAMETERS.block_interval_ms
        rounds = -(-count // len(self._turn))
        turns = [self._turn[number % len(self._turn)] for number in range(count)]
        self._turn = self._turn[count % len(self._turn) :] + self._turn[: count % len(self._turn)]
        made = []
        for number, (member, channel) in enumerate(turns):
            left = rounds - number // len(self._registers)
            made.append((member, self._statement((member, channel), left, end_ms)))
        return made

    def _statement(self, place: tuple[int, int], left: int, end_ms: int) -> Transaction:
        start_ms, start_wh = self._channel_ms[place], self._registers[place]
        stop_ms = start_ms + (end_ms - start_ms) // left
        self._channel_ms[place], self._registers[place] = stop_ms, start_wh + LOT_WH
        member, channel = place
        return make_statement(
            f"m{member}",
            (start_ms, start_wh),
            (stop_ms, start_wh + LOT_WH),
            channel=f"pv{channel}",
            expires=self._expires,
            salt=self._salt(),
        )

    def _offer(self, seller: int, minted: Transaction) -> Transaction:
        until_ms = self._local.tip.time_ms + 10**7
        return offer(
            f"m{seller}", [minted.id], PRICE_MICRO, until_ms=until_ms, expires=self._expires, salt=self._salt()
        )

    def _bid(self, seller: int) -> Transaction:
        buyer, until_ms = (seller + 1) % MEMBERS, self._local.tip.time_ms + 10**7
        return bid(f"m{buyer}", LOT_WH, PRICE_MICRO, until_ms=until_ms, expires=self._expires, salt=self._salt())


def make_world(blocks: int, transactions: int) -> World:
    """A chain with blocks of so many transactions each."""
    maker = WorldMaker(-(-transactions // 4))
    for _ in range(blocks):
        maker.add_block(transactions)
    return maker.world()


def _meter() -> MeterDeclaration:
    channels = [Channel(name=f"pv{number}", rated_w=RATED_W) for number in range(CHANNELS)]
    return MeterDeclaration(meter="roof", model="sdm630", channels=channels, register_step_wh=1)
