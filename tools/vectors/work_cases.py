"""Proof of work and difficulty."""

from __future__ import annotations

from itertools import accumulate

import msgspec

from minervas_core.difficulty import next_difficulty
from minervas_core.encoding import MAX_INTEGER
from minervas_core.genesis import Parameters
from minervas_core.proof_of_work import MAX_HASH, NONCE_COUNT, attempt, is_good, target
from tools.vectors.fixtures import BLOCK_1, INTERVAL_MS, PARAMETERS, START_MS, seed
from tools.vectors.format import Case, Plain


def target_cases() -> list[Case]:
    """Targets of difficulties."""
    difficulties = (1, 2, 3, 16, 1_000, 20_000_000, MAX_INTEGER)
    return [
        {"name": f"difficulty {number}", "difficulty": number, "target_hex": f"{target(number):064x}"}
        for number in difficulties
    ]


def try_cases() -> list[Case]:
    """Tries: seal and nonce, the hash, and whether it fulfils a difficulty."""
    seal, nonce = BLOCK_1.header.seal(), int(BLOCK_1.header.nonce, 16)
    return [
        _try("block 1", seal, nonce, 16),
        _try("block 1 at the highest difficulty", seal, nonce, MAX_INTEGER),
        _try("first nonce", seal, 0, 16),
        _try("last nonce", seal, NONCE_COUNT - 1, 16),
        _try("another seal", seed("seal"), nonce, 16),
    ]


def _try(name: str, seal: bytes, nonce: int, difficulty: int) -> Case:
    digest = attempt(seal, nonce)
    return {
        "name": name,
        "seal": seal.hex(),
        "nonce": f"{nonce:016x}",
        "hash": digest.hex(),
        "difficulty": difficulty,
        "good": is_good(digest, difficulty),
    }


def boundary_cases() -> list[Case]:
    """Hashes at the target: it is exclusive."""
    cases: list[Case] = []
    for difficulty in (1, 3, 16):
        for name, number in (
            ("just below", target(difficulty) - 1),
            ("equal", target(difficulty)),
            ("above", min(target(difficulty) + 1, MAX_HASH)),
        ):
            digest = number.to_bytes(32, "big")
            cases.append(
                {
                    "name": f"{name} the target of difficulty {difficulty}",
                    "hash": digest.hex(),
                    "difficulty": difficulty,
                    "good": is_good(digest, difficulty),
                }
            )
    return cases


def difficulty_cases() -> list[Case]:
    """Histories and the difficulty of the block that follows."""
    steady = [INTERVAL_MS] * 25
    return [
        _history("no block yet", []),
        _history("one block", steady[:1]),
        _history("one block before the first retarget", steady[:19]),
        _history("first retarget, on time", steady[:20]),
        _history("21 blocks on time", steady[:21]),
        _history("on time", steady),
        _history("twice as fast", [INTERVAL_MS // 2] * 25),
        _history("half as fast", [INTERVAL_MS * 2] * 25),
        _history("one slow block, the last", [*steady[:-1], 20 * INTERVAL_MS]),
        _history("one slow block, ten blocks ago", [*steady[:14], 20 * INTERVAL_MS, *steady[15:]]),
        _history("one fast block, the last", [*steady[:-1], 1]),
        _history("times one ms apart", [1] * 25),
        _history("a pause of a day: down to the floor", [*steady[:-1], 86_400_000]),
        _history("rounds down", [*steady[:-1], INTERVAL_MS + 1], difficulty=1_000),
        _history("difficulties that differ", steady, difficulties=[10 + 3 * n for n in range(25)]),
        _history("never above 2^53 - 1", [1] * 25, difficulty=MAX_INTEGER),
        _history("short window", steady[:3], parameters=msgspec.structs.replace(PARAMETERS, lwma_window=2)),
    ]


def _history(
    name: str,
    solve_times: list[int],
    *,
    difficulty: int = 100,
    difficulties: list[int] | None = None,
    parameters: Parameters = PARAMETERS,
) -> Case:
    times = list(accumulate(solve_times, initial=START_MS))[1:]
    past = difficulties or [difficulty] * len(times)
    history = list(zip(times, past, strict=True))
    listed: list[Plain] = [[time_ms, number] for time_ms, number in history]
    return {
        "name": name,
        "block_interval_ms": parameters.block_interval_ms,
        "initial_difficulty": parameters.initial_difficulty,
        "min_difficulty": parameters.min_difficulty,
        "lwma_window": parameters.lwma_window,
        "history": listed,
        "next_difficulty": next_difficulty(history, parameters),
    }


def sequence_cases() -> list[Case]:
    """A chain of 60 blocks whose solve times come from a table: the difficulty of every block."""
    solve_times = [INTERVAL_MS * (number * 7 % 13) // 6 + 1 for number in range(60)]
    history: list[tuple[int, int]] = []
    time_ms = START_MS
    for solve_time in solve_times:
        time_ms += solve_time
        history.append((time_ms, next_difficulty(history, PARAMETERS)))
    return [
        {
            "name": "60 blocks",
            "block_interval_ms": PARAMETERS.block_interval_ms,
            "initial_difficulty": PARAMETERS.initial_difficulty,
            "min_difficulty": PARAMETERS.min_difficulty,
            "lwma_window": PARAMETERS.lwma_window,
            "times_ms": [one for one, _ in history],
            "difficulties": [number for _, number in history],
        }
    ]
