"""`trade`: the order book, what the member sold and bought, prices and money. All of it stands on the chain."""

from __future__ import annotations

from tools.dashboards.board import Board, Query
from tools.dashboards.panels import (
    BLUE,
    GREEN,
    ORANGE,
    VERMILION,
    bars,
    matched,
    override,
    stat,
    table,
    timeseries,
    words,
)
from tools.dashboards.setting import Json, Setting
from tools.dashboards.spans import FROM_MS, HOUR_MS, NOW_MS, TO_MS, moment
from tools.dashboards.tiles import Tile, add_tiles

ME = "(SELECT current_member())"

HEIGHTS = f"""t.height >= (
        SELECT height FROM blocks WHERE best_chain AND time_ms >= {FROM_MS} ORDER BY time_ms LIMIT 1
    ) AND t.height <= (
        SELECT height FROM blocks WHERE best_chain AND time_ms < {TO_MS} ORDER BY time_ms DESC LIMIT 1
    )"""
"""Trades know their block, not their time: the range of time becomes one of heights."""

TRADES = f"""
    SELECT b.time_ms, t.height, t.position, t.seller, t.buyer, t.energy_wh, t.price_micro, t.amount_micro,
        t.offer, t.bid
    FROM trades AS t JOIN blocks AS b ON b.height = t.height AND b.best_chain
        AND b.time_ms >= {FROM_MS} AND b.time_ms < {TO_MS}
    WHERE {HEIGHTS}"""
MINE = f"{TRADES} AND (t.seller = {ME} OR t.buyer = {ME})"

SUMS = f"""
WITH mine AS ({MINE}
), sums AS (
    SELECT sum(energy_wh) FILTER (WHERE seller = {ME}) AS sold_wh,
        sum(amount_micro) FILTER (WHERE seller = {ME}) AS earned,
        sum(energy_wh) FILTER (WHERE buyer = {ME}) AS bought_wh,
        sum(amount_micro) FILTER (WHERE buyer = {ME}) AS spent
    FROM mine
)
SELECT sold_wh / 1000.0 AS sold, bought_wh / 1000.0 AS bought,
    earned / 1000.0 / nullif(sold_wh, 0) AS sold_price, spent / 1000.0 / nullif(bought_wh, 0) AS bought_price,
    earned / 1e6 AS earned, spent / 1e6 AS spent,
    CASE WHEN earned IS NOT NULL OR spent IS NOT NULL THEN (coalesce(earned, 0) - coalesce(spent, 0)) / 1e6 END AS net
FROM sums LIMIT 1
"""

MARKET = f"""
WITH traded AS ({TRADES}
)
SELECT {moment(f"(time_ms - time_ms % {HOUR_MS})")} AS "time", sum(energy_wh) / 1000.0 AS volume,
    sum(amount_micro) / 1000.0 / sum(energy_wh) AS price,
    sum(amount_micro) FILTER (WHERE seller = {ME}) / 1000.0
        / nullif(sum(energy_wh) FILTER (WHERE seller = {ME}), 0) AS own_price
FROM traded GROUP BY time_ms - time_ms % {HOUR_MS} ORDER BY 1
"""

NET = f"""
WITH mine AS ({MINE}
), hours AS (
    SELECT time_ms - time_ms % {HOUR_MS} AS hour_ms,
        sum(CASE WHEN seller = {ME} THEN amount_micro ELSE 0 END - CASE WHEN buyer = {ME} THEN amount_micro ELSE 0 END)
            AS micro
    FROM mine GROUP BY 1
)
SELECT {moment("hour_ms")} AS "time", sum(micro) OVER (ORDER BY hour_ms) / 1e6 AS net FROM hours ORDER BY 1
"""

OWN_TRADES = f"""
WITH mine AS ({MINE}
)
SELECT {moment("time_ms")} AS "time", CASE WHEN seller = {ME} THEN 'sold' ELSE 'bought' END AS side,
    CASE WHEN seller = {ME} THEN buyer ELSE seller END AS partner, energy_wh / 1000.0 AS energy,
    price_micro / 1000.0 AS price, amount_micro / 1e6 AS amount, height,
    encode(CASE WHEN seller = {ME} THEN offer ELSE bid END, 'hex') AS own_order
FROM mine ORDER BY height DESC, position DESC LIMIT 200
"""

OPEN = f"o.valid_until_ms > {NOW_MS} AND o.energy_wh > 0"
BOOK = f"""
SELECT o.side, o.price_micro / 1000.0 AS price, sum(o.energy_wh) / 1000.0 AS energy, count(*) AS orders,
    sum(o.energy_wh) FILTER (WHERE o.member = {ME}) / 1000.0 AS own
FROM orders AS o WHERE {OPEN} AND (o.buyer IS NULL OR o.buyer = {ME} OR o.member = {ME})
GROUP BY o.side, o.price_micro
ORDER BY o.side DESC, CASE WHEN o.side = 'bid' THEN -o.price_micro ELSE o.price_micro END LIMIT 200
"""

OWN_ORDERS = f"""
SELECT o.side, o.price_micro / 1000.0 AS price, o.energy_wh / 1000.0 AS energy, o.smallest_wh / 1000.0 AS smallest,
    nullif(o.repeat_wh, 0) / 1000.0 AS each_slot,
    {moment("o.valid_until_ms")} AS until, o.buyer AS only_for, o.height, encode(o.id, 'hex') AS own_order
FROM orders AS o WHERE o.member = {ME} AND {OPEN} ORDER BY o.height DESC, o.index DESC LIMIT 200
"""

AUCTIONS = f"""
SELECT {moment("slot_ends_ms")} AS slot, price_micro / 1000.0 AS price, lowest_micro / 1000.0 AS lowest,
    highest_micro / 1000.0 AS highest, energy_wh / 1000.0 AS energy, offered_wh / 1000.0 AS offered,
    wanted_wh / 1000.0 AS wanted, offers, bids, height
FROM clearings WHERE slot_ends_ms >= {FROM_MS} AND slot_ends_ms < {TO_MS} ORDER BY slot_ends_ms DESC LIMIT 200
"""

LOTS = f"""
SELECT sum(energy_wh) FILTER (WHERE offer IS NULL) / 1000.0 AS free,
    sum(energy_wh) FILTER (WHERE offer IS NOT NULL) / 1000.0 AS offered
FROM lots WHERE owner = {ME} AND spent_height IS NULL LIMIT 1
"""

OWED = f"""
SELECT CASE WHEN debtor = {ME} THEN 'owe' ELSE 'due' END AS side,
    CASE WHEN debtor = {ME} THEN creditor ELSE debtor END AS partner,
    amount_micro / 1e6 AS amount, energy_wh / 1000.0 AS energy
FROM obligations WHERE (debtor = {ME} OR creditor = {ME}) AND amount_micro > 0 ORDER BY amount_micro DESC LIMIT 200
"""


def build(setting: Setting) -> Json:
    """Write the dashboard."""
    say = setting.say
    board = Board(
        setting,
        "trade",
        say("거래", "Trade"),
        say(
            "호가창, 내 거래, 가격과 돈. 모두 블록체인에 있는 그대로입니다.",
            "Order book, own trades, prices and money, as they stand on the chain.",
        ),
        time=("now-6d/d", "now"),
        refresh="30s",
    )
    _sums(board)
    _prices(board)
    _book(board)
    _own(board)
    _auctions(board)
    return board.json()


def _sums(board: Board) -> None:
    say, money, price = board.setting.say, board.setting.money, board.setting.money_per_kwh()
    tiles = (
        Tile("sold", "kwatth", 3, ("판 전력량", "Energy sold"),
             ("기간 안에 판 양.", "What was sold in the time range.")),
        Tile("sold_price", price, 2, ("판 평균 가격", "Mean price sold"),
             ("판 양으로 가중한 평균.", "Weighted by the energy sold.")),
        Tile("bought", "kwatth", 3, ("산 전력량", "Energy bought"),
             ("기간 안에 산 양.", "What was bought in the time range.")),
        Tile("bought_price", price, 2, ("산 평균 가격", "Mean price bought"),
             ("산 양으로 가중한 평균.", "Weighted by the energy bought.")),
        Tile("net", money, 0, ("순금액", "Net money"),
             ("판 금액에서 산 금액을 뺀 것. 지불 여부와는 다릅니다.",
              "Money from sales less money for purchases; whether it was paid is another matter.")),
    )  # fmt: skip
    add_tiles(board, Query(SUMS), tiles, ("거래 없음", "No trades"))
    names = [
        override("free", displayName=say("팔 수 있음", "free")),
        override("offered", displayName=say("내놓음", "on offer")),
    ]
    board.add(
        say("가진 전력량", "Energy owned"),
        say("아직 팔거나 쓰지 않은 로트.", "Lots that were neither sold nor retired yet."),
        (4, 4),
        stat({"unit": "kwatth", "decimals": 3, "noValue": say("없음", "None")}, overrides=names),
        Query(LOTS),
    )


def _prices(board: Board) -> None:
    say = board.setting.say
    shown = [
        override("price", displayName=say("시장 가격", "Market price")),
        override(
            "own_price",
            displayName=say("내가 판 가격", "Own sales"),
            custom__lineStyle={"fill": "dash", "dash": [10, 6]},
        ),
        matched(
            "byName",
            "volume",
            displayName=say("거래량", "Volume"),
            unit="kwatth",
            custom__axisPlacement="right",
            **{f"custom__{name}": value for name, value in bars(HOUR_MS).items()},
        ),
    ]
    board.add(
        say("가격과 거래량", "Price and volume"),
        say(
            "1시간마다 모든 회원의 거래를 양으로 가중한 평균 가격, 그리고 거래량.",
            "Of each hour: mean price of all members' trades, weighted by energy, and their energy.",
        ),
        (14, 9),
        timeseries(
            {"unit": board.setting.money_per_kwh(), "decimals": 2},
            custom={"fillOpacity": 0, "showPoints": "auto"},
            overrides=shown,
        ),
        Query(MARKET, "time_series"),
    )
    _net(board)


def _net(board: Board) -> None:
    say = board.setting.say
    board.add(
        say("누적 순금액", "Net money, cumulated"),
        say("기간 처음부터 판 금액 빼기 산 금액.", "Sales less purchases since the beginning of the time range."),
        (10, 9),
        timeseries(
            {"unit": board.setting.money, "decimals": 0},
            custom={"lineInterpolation": "stepAfter", "showPoints": "auto"},
            overrides=[override("net", displayName=say("순금액", "Net money"))],
        ),
        Query(NET, "time_series"),
    )


def _side(setting: Setting) -> Json:
    say = setting.say
    sides = words({"offer": (say("매도", "offer"), ORANGE), "bid": (say("매수", "bid"), BLUE)})
    return override("side", displayName=say("구분", "Side"), mappings=sides)


def _book(board: Board) -> None:
    say, price = board.setting.say, board.setting.money_per_kwh()
    board.add(
        say("호가창", "Order book"),
        say(
            "지금 유효한 주문을 가격마다 합한 것. 싼 매도와 비싼 매수가 먼저.",
            "Orders that are valid now, summed by price; cheap offers and high bids first.",
        ),
        (12, 9),
        table(
            [
                _side(board.setting),
                override("price", displayName=say("가격", "Price"), unit=price, decimals=2),
                override("energy", displayName=say("전력량", "Energy"), unit="kwatth", decimals=3),
                override("orders", displayName=say("주문 수", "Orders")),
                override("own", displayName=say("그중 내 것", "Of these own"), unit="kwatth", decimals=3),
            ]
        ),
        Query(BOOK),
    )
    board.add(
        say("내 주문", "Own orders"),
        say("아직 열려 있는 내 주문.", "Own orders that are open."),
        (12, 9),
        table(
            [
                _side(board.setting),
                override("price", displayName=say("가격", "Price"), unit=price, decimals=2),
                override("energy", displayName=say("남은 양", "Open"), unit="kwatth", decimals=3),
                override("smallest", displayName=say("최소 양", "Smallest"), unit="kwatth", decimals=3),
                override("each_slot", displayName=say("슬롯마다", "Each slot"), unit="kwatth", decimals=3),
                override(
                    "until",
                    displayName=say("유효 기간", "Valid until"),
                    unit="time:YYYY-MM-DD HH:mm",
                    custom__width=150,
                ),
                override("only_for", displayName=say("상대 지정", "Only for")),
                override("height", displayName=say("블록", "Block")),
                override("own_order", displayName=say("주문", "Order")),
            ]
        ),
        Query(OWN_ORDERS),
    )


def _auctions(board: Board) -> None:
    say, price = board.setting.say, board.setting.money_per_kwh()
    board.add(
        say("경매", "Auctions"),
        say(
            "기간 안에 끝난 15분 경매, 최근 200개. 가격이 없으면 만난 주문이 없습니다. 연속 거래에서는 비어 있습니다.",
            "Auctions of slots that ended in the time range, the newest 200. No price: no offer met a bid. Empty while "
            "trading is continuous.",
        ),
        (24, 8),
        table(
            [
                override(
                    "slot", displayName=say("마감", "Slot ended"), unit="time:YYYY-MM-DD HH:mm:ss", custom__width=170
                ),
                override("price", displayName=say("가격", "Price"), unit=price, decimals=2),
                override("lowest", displayName=say("가능한 최저가", "Lowest possible"), unit=price, decimals=2),
                override("highest", displayName=say("가능한 최고가", "Highest possible"), unit=price, decimals=2),
                override("energy", displayName=say("거래량", "Sold"), unit="kwatth", decimals=3),
                override("offered", displayName=say("매도 주문", "Offered"), unit="kwatth", decimals=3),
                override("wanted", displayName=say("매수 주문", "Wanted"), unit="kwatth", decimals=3),
                override("offers", displayName=say("판 주문 수", "Offers that sold")),
                override("bids", displayName=say("산 주문 수", "Bids that bought")),
                override("height", displayName=say("블록", "Block")),
            ],
            rows=10,
        ),
        Query(AUCTIONS),
    )


def _own(board: Board) -> None:
    say, price, money = board.setting.say, board.setting.money_per_kwh(), board.setting.money
    sides = words({"sold": (say("판매", "sold"), GREEN), "bought": (say("구매", "bought"), BLUE)})
    board.add(
        say("내 거래", "Own trades"),
        say(
            "기간 안의 내 거래, 최근 200개. 블록 번호와 주문 번호로 찾을 수 있습니다.",
            "Own trades of the time range, the newest 200, with block and order to look them up.",
        ),
        (16, 10),
        table(
            [
                override("time", displayName=say("시각", "Time"), unit="time:YYYY-MM-DD HH:mm:ss", custom__width=170),
                override("side", displayName=say("구분", "Side"), mappings=sides),
                override("partner", displayName=say("상대", "With")),
                override("energy", displayName=say("전력량", "Energy"), unit="kwatth", decimals=3),
                override("price", displayName=say("가격", "Price"), unit=price, decimals=2),
                override("amount", displayName=say("금액", "Amount"), unit=money, decimals=2),
                override("height", displayName=say("블록", "Block")),
                override("own_order", displayName=say("내 주문", "Own order")),
            ],
            rows=20,
        ),
        Query(OWN_TRADES),
    )
    owed = words({"owe": (say("줄 돈", "to pay"), VERMILION), "due": (say("받을 돈", "to receive"), GREEN)})
    board.add(
        say("주고받을 돈", "Obligations"),
        say("체인에 있는 지금까지의 합계, 지불하기 전.", "What the chain says is owed in all, before payments."),
        (8, 10),
        table(
            [
                override("side", displayName=say("구분", "Side"), mappings=owed),
                override("partner", displayName=say("상대", "With")),
                override("amount", displayName=say("금액", "Amount"), unit=money, decimals=2),
                override("energy", displayName=say("전력량", "Energy"), unit="kwatth", decimals=3),
            ]
        ),
        Query(OWED),
    )
