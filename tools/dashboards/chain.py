"""`chain`: blocks, who mines them, searches that were given up, branches, and how far finality is."""

from __future__ import annotations

from tools.dashboards.board import Board, Query, Shared
from tools.dashboards.panels import (
    BLUE,
    ORANGE,
    VERMILION,
    barchart,
    histogram,
    keep,
    override,
    table,
    timeseries,
    words,
)
from tools.dashboards.setting import Json, Setting
from tools.dashboards.spans import FROM_MS, TO_MS, moment
from tools.dashboards.tiles import Tile, add_tiles

MOST_POINTS = 2_000
STEP_MS = f"greatest(1, ({TO_MS} - {FROM_MS}) / {MOST_POINTS})"
"""Blocks that are closer are shown as one point, so that a long range stays small."""

IN_RANGE = f"time_ms >= {FROM_MS} AND time_ms < {TO_MS}"
NEWEST_CHECKPOINT = "(SELECT max(target_height) FROM votes)"

HEAD = """
SELECT n.tip_height AS height, extract(epoch FROM now())::float8 - b.time_ms / 1000.0 AS age, n.final_height AS final,
    n.tip_height - n.final_height AS behind, n.reorganisations AS reorganisations,
    (SELECT count(*) FROM mempool) AS queue
FROM node_state AS n LEFT JOIN blocks AS b ON b.hash = n.tip_hash LIMIT 1
"""

INTERVALS = f"""
WITH spans AS (
    SELECT time_ms, difficulty, transactions, (time_ms - lag(time_ms) OVER (ORDER BY time_ms)) / 1000.0 AS seconds
    FROM blocks WHERE best_chain AND {IN_RANGE}
), points AS (
    SELECT time_ms - time_ms % {STEP_MS} AS point_ms, avg(seconds) AS mean, max(seconds) AS longest,
        avg(difficulty) AS difficulty, sum(transactions) AS transactions
    FROM spans GROUP BY 1
)
SELECT {moment("point_ms")} AS "time", mean::float8 AS mean, longest::float8 AS longest,
    difficulty::float8 AS difficulty, transactions
FROM points ORDER BY 1
"""

SPREAD = f"""
SELECT (time_ms - lag(time_ms) OVER (ORDER BY time_ms)) / 1000.0 AS seconds
FROM (SELECT time_ms FROM blocks WHERE best_chain AND {IN_RANGE} ORDER BY time_ms DESC LIMIT 5000) AS newest
ORDER BY time_ms LIMIT 5000
"""

MINERS = f"""
SELECT miner, count(*) AS blocks FROM blocks WHERE best_chain AND {IN_RANGE} GROUP BY miner ORDER BY 2 DESC, 1 LIMIT 50
"""

SEARCHES = f"""
SELECT {moment("stored_at_ms")} AS "time", height, difficulty, tries, elapsed_ms / 1000.0 AS seconds,
    encode(lowest_hash, 'hex') AS lowest
FROM abandoned_searches WHERE stored_at_ms >= {FROM_MS} AND stored_at_ms < {TO_MS} ORDER BY stored_at_ms DESC LIMIT 200
"""

SIDE = f"""
SELECT {moment("time_ms")} AS "time", height, miner, invalid::text AS invalid, encode(hash, 'hex') AS hash
FROM blocks WHERE NOT best_chain AND {IN_RANGE} ORDER BY time_ms DESC LIMIT 200
"""

VOTERS = f"""
SELECT r.member, v.height AS voted, {NEWEST_CHECKPOINT} - v.height AS behind,
    CASE WHEN r.suspended_height > 0 THEN 'suspended' WHEN v.height IS NULL THEN 'never'
        WHEN v.height = {NEWEST_CHECKPOINT} THEN 'voted' ELSE 'behind' END AS state,
    {moment("v.seen_at_ms")} AS seen, (SELECT count(*) FROM equivocations AS e
        WHERE e.voter = r.member) AS contradictions
FROM roster AS r LEFT JOIN LATERAL (
    SELECT target_height AS height, seen_at_ms FROM votes WHERE voter = r.member ORDER BY target_height DESC LIMIT 1
) AS v ON true
WHERE r.status = 'active' ORDER BY v.height NULLS FIRST, r.member LIMIT 1000
"""


HEAD_TILES = (
    Tile("height", "none", 0, ("높이", "Height"),
         ("가장 좋은 체인의 마지막 블록.", "Last block of the best chain.")),
    Tile("age", "s", 0, ("마지막 블록 후", "Age of the last block"),
         ("마지막 블록의 시각부터 지금까지.", "From the last block's time to now.")),
    Tile("final", "none", 0, ("확정 높이", "Final height"),
         ("이 블록까지는 결코 되돌려지지 않습니다.", "Nothing up to this block is ever undone.")),
    Tile("behind", "none", 0, ("확정까지", "Blocks not final"),
         ("마지막 블록과 확정 블록의 차이.", "Blocks above the last final one.")),
    Tile("reorganisations", "none", 0, ("재편", "Reorganisations"),
         ("이 노드가 다른 가지로 옮긴 횟수, 처음부터.", "How often this node changed to another branch, ever.")),
    Tile("queue", "none", 0, ("대기 거래", "Waiting"),
         ("아직 블록에 없는 거래.", "Transactions that no block carries yet.")),
)  # fmt: skip
"""Numbers at the head."""


def build(setting: Setting) -> Json:
    """Write the dashboard."""
    say = setting.say
    board = Board(
        setting,
        "chain",
        say("블록체인", "Chain"),
        say(
            "운영자 노드가 가진 블록체인: 블록, 채굴자, 확정.",
            "The chain as the operator's node has it: blocks, miners, finality.",
        ),
        time=("now-6h", "now"),
        refresh="30s",
    )
    add_tiles(board, Query(HEAD), HEAD_TILES, ("없음", "None"))
    _blocks(board)
    _miners(board)
    _votes(board)
    _side_blocks(board)
    return board.json()


def _blocks(board: Board) -> None:
    say = board.setting.say
    shared = board.reserve()
    board.add(
        say("블록 간격", "Block intervals"),
        say(
            "한 블록에서 다음 블록까지. 긴 기간에서는 평균과 최댓값.",
            "From one block to the next; mean and longest where the time range is long.",
        ),
        (16, 8),
        timeseries(
            {"unit": "s", "decimals": 1},
            custom={"fillOpacity": 0},
            overrides=[
                override("mean", displayName=say("평균", "Mean")),
                override(
                    "longest",
                    displayName=say("가장 긴 간격", "Longest"),
                    custom__lineStyle={"fill": "dash", "dash": [4, 6]},
                ),
            ],
            transformations=[keep("^([Tt]ime|mean|longest)$")],
        ),
        Query(INTERVALS, "time_series"),
        number=shared,
    )
    _more_of_blocks(board, shared)


def _more_of_blocks(board: Board, shared: int) -> None:
    say = board.setting.say
    board.add(
        say("간격의 분포", "Spread of intervals"),
        say(
            "기간 안의 블록 간격, 5초 단위, 최근 5,000개.",
            "Intervals of the time range in steps of 5 s, the newest 5,000.",
        ),
        (8, 8),
        histogram({"unit": "s", "displayName": say("간격", "Interval")}, 5),
        Query(SPREAD),
    )
    for name, unit, korean, english, korean_more, english_more in (
        (
            "difficulty",
            "short",
            "난이도",
            "Difficulty",
            "블록 하나에 평균 몇 번 시도해야 하는지.",
            "How many tries a block takes on average.",
        ),
        ("transactions", "short", "거래 수", "Transactions", "블록에 든 거래 수.", "Transactions in blocks."),
    ):
        board.add(
            say(korean, english),
            say(korean_more, english_more),
            (12, 6),
            timeseries(
                {"unit": unit},
                custom={"lineInterpolation": "stepAfter"},
                overrides=[override(name, displayName=say(korean, english))],
                transformations=[keep(f"^([Tt]ime|{name})$")],
            ),
            Shared(shared),
        )


def _miners(board: Board) -> None:
    say = board.setting.say
    board.add(
        say("채굴자", "Miners"),
        say("기간 안에 회원마다 찾은 블록 수.", "Blocks that each member found in the time range."),
        (8, 9),
        barchart(
            {"unit": "none"},
            overrides=[override("blocks", displayName=say("블록", "Blocks"))],
            stacked=False,
            level=True,
        ),
        Query(MINERS),
    )
    board.add(
        say("포기한 탐색", "Abandoned searches"),
        say(
            "운영자 노드가 제한 시간 안에 블록을 찾지 못해 버린 탐색.",
            "Searches of the operator's node that found nothing in time and were thrown away.",
        ),
        (16, 9),
        table(
            [
                override("time", displayName=say("시각", "Time"), unit="time:YYYY-MM-DD HH:mm:ss", custom__width=170),
                override("height", displayName=say("높이", "Height")),
                override("difficulty", displayName=say("난이도", "Difficulty")),
                override("tries", displayName=say("시도", "Tries"), unit="short"),
                override("seconds", displayName=say("걸린 시간", "Took"), unit="s", decimals=1),
                override("lowest", displayName=say("가장 낮은 해시", "Lowest hash")),
            ],
            rows=10,
        ),
        Query(SEARCHES),
    )


def _votes(board: Board) -> None:
    say = board.setting.say
    states = words(
        {
            "voted": (say("투표함", "voted"), BLUE),
            "behind": (say("뒤처짐", "behind"), ORANGE),
            "never": (say("투표 없음", "no vote seen"), VERMILION),
            "suspended": (say("정지", "suspended"), ORANGE),
        }
    )
    board.add(
        say("누가 투표하나", "Who votes"),
        say(
            "회원마다 마지막으로 투표한 검사점. 투표가 3분의 2에 못 미치면 확정이 멈춥니다.",
            "The last checkpoint that each member voted for. Finality pauses below two thirds.",
        ),
        (12, 9),
        table(
            [
                override("member", displayName=say("회원", "Member")),
                override("voted", displayName=say("투표한 높이", "Voted for")),
                override("behind", displayName=say("뒤처진 블록", "Blocks behind")),
                override("state", displayName=say("상태", "State"), mappings=states),
                override(
                    "seen", displayName=say("받은 시각", "Seen"), unit="time:YYYY-MM-DD HH:mm:ss", custom__width=170
                ),
                override("contradictions", displayName=say("모순된 투표", "Contradictions")),
            ]
        ),
        Query(VOTERS),
    )


def _side_blocks(board: Board) -> None:
    say = board.setting.say
    invalid = words(
        {"true": (say("규칙 위반", "invalid"), VERMILION), "false": (say("다른 가지", "side branch"), ORANGE)}
    )
    board.add(
        say("체인 밖 블록", "Blocks beside the chain"),
        say("받았지만 가장 좋은 체인에 없는 블록.", "Blocks that came but are not on the best chain."),
        (12, 9),
        table(
            [
                override("time", displayName=say("시각", "Time"), unit="time:YYYY-MM-DD HH:mm:ss", custom__width=170),
                override("height", displayName=say("높이", "Height")),
                override("miner", displayName=say("채굴자", "Miner")),
                override("invalid", displayName=say("종류", "Kind"), mappings=invalid),
                override("hash", displayName=say("해시", "Hash")),
            ],
            rows=10,
        ),
        Query(SIDE),
    )
