"""What the pictures show: an operator's ledger database with three made-up members, a month of sun and a week of trade.

Readings of today go through the ledger's own staging and roll-ups, once a second for the member who looks. Earlier days
are written as roll-ups. Nothing here is a measurement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import psycopg

from minervas_devnet.postgres import PostgresServer
from minervas_ledger.store.readings_rollup import CONTENT, INSERT_NEW, KEY
from minervas_ledger.store.readings_writes import COUNT
from tests.support.dashboard_world import DashboardWorld, Span
from tools.dashboard_pictures.weather import DAY_MS, clear_mw, day_of, midnight_ms, power_mw, voltage_mv

MEMBERS = ("jindo-coop", "haenam-farm", "yeongam-school")
LOOKING = MEMBERS[0]
PEAKS_W = {"ch2": 113.0, "ch3": 104.0}
DAYS = 29
FIRST_REGISTER_MWH = 1_204_000_000
MINUTE_MS = 60_000

_STAGED = f"COPY staging (place, {KEY}, {CONTENT}, stored_ms) FROM STDIN"
_MINUTE_COLUMNS = """member, meter, channel, minute_ms, measured, substituted, missing, powers, power_sum_mw,
    power_min_mw, power_max_mw, first_ms, first_mwh, last_ms, last_mwh"""
_MAKE_EARLIER = "CREATE TEMPORARY TABLE earlier (LIKE readings_minute) ON COMMIT DROP"
_COPY_EARLIER = f"COPY earlier ({_MINUTE_COLUMNS}) FROM STDIN"
_MINUTES = f"INSERT INTO readings_minute ({_MINUTE_COLUMNS}) SELECT {_MINUTE_COLUMNS} FROM earlier"  # noqa: S608 - constants
_HOURS = """
INSERT INTO readings_hour (member, meter, channel, hour_ms, measured, substituted, missing, powers, power_sum_mw,
    power_min_mw, power_max_mw, first_ms, first_mwh, last_ms, last_mwh)
SELECT member, meter, channel, minute_ms - minute_ms % 3600000, sum(measured), 0, 0, sum(powers), sum(power_sum_mw),
    min(power_min_mw), max(power_max_mw), min(first_ms), min(first_mwh), max(last_ms), max(last_mwh)
FROM readings_minute GROUP BY 1, 2, 3, 4
"""
_LIVELIER = """
UPDATE blocks SET time_ms = time_ms + abs(hashint8(height)::bigint) % 11000,
    difficulty = round(100000 * (1 + 0.08 * sin(height / 300.0) + 0.02 * sin(height / 41.0)));
UPDATE trades AS t SET energy_wh = n.energy, price_micro = n.price, amount_micro = n.energy * n.price
    FROM (SELECT height, 40 + abs(hashint8(height + 7)::bigint) % 160 AS energy, round(121000
        + 9000 * sin(height / 1900.0) + abs(hashint8(height)::bigint) % 2500)::bigint AS price FROM trades) AS n
    WHERE t.height = n.height;
UPDATE clearings AS c SET price_micro = n.price, lowest_micro = n.price - 900, highest_micro = n.price + 700,
    energy_wh = 2000 + abs(hashint8(height)::bigint) % 9000
    FROM (SELECT height AS at, round(121000 + 9000 * sin(height / 1900.0))::bigint AS price FROM clearings) AS n
    WHERE c.height = n.at AND c.price_micro IS NOT NULL;
UPDATE orders SET energy_wh = 200 + 130 * (index % 7),
    price_micro = CASE side WHEN 'offer' THEN 123000 + 500 * (index % 10) ELSE 121500 - 500 * (index % 10) END;
UPDATE obligations SET amount_micro = 1000000 * (2000 + abs(hashtext(debtor || creditor)::bigint) % 9000),
    energy_wh = 10000 + abs(hashtext(creditor)::bigint) % 70000;
UPDATE fleet SET state = 'offline', last_seen_ms = last_seen_ms - 2820000
    WHERE member = 'yeongam-school' AND service = 'meter-gateway';
UPDATE fleet SET disk_use_per_mille = 180 + abs(hashtext(member || service)::bigint) % 420,
    spool_use_per_mille = CASE WHEN service = 'meter-gateway' THEN abs(hashtext(member)::bigint) % 60 END;
DELETE FROM expected_output;
"""


class PictureWorld:
    """The database, filled; `now_ms` is the moment at which the pictures are taken."""

    def __init__(self, server: PostgresServer, now_ms: int) -> None:
        self.now_ms = now_ms
        self.database = server.create_database("pictures")
        self.world = DashboardWorld(server, self.database, MEMBERS)
        self._registers = {(member, channel): float(FIRST_REGISTER_MWH) for member in MEMBERS for channel in PEAKS_W}

    def fill(self) -> None:
        """Write everything."""
        began = midnight_ms(self.now_ms)
        self._earlier(began - DAYS * DAY_MS, began)
        for day in range(began // DAY_MS, self.now_ms // DAY_MS + 1):
            first, after = max(began, day * DAY_MS), min(self.now_ms, (day + 1) * DAY_MS)
            self._today(day, first, after)
        self.world.chain(Span(self.now_ms - 7 * DAY_MS, self.now_ms))
        with psycopg.connect(self.database.conninfo(self.database.owner), autocommit=True) as owner:
            owner.execute(_LIVELIER.encode())
            with owner.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO expected_output (member, meter, channel, time_ms, step_ms, power_mw, rated_w, model,"
                    " made_ms) VALUES (%s, 'roof', %s, %s, 900000, %s, 120, 'clear sky', 1)",
                    list(self._expected(began)),
                )
            owner.execute("ANALYZE")

    def close(self) -> None:
        """Close the connections."""
        self.world.close()

    def _expected(self, began: int) -> Iterator[tuple[str, str, int, int]]:
        for member in MEMBERS:
            for channel, peak in PEAKS_W.items():
                for at_ms in range(began, began + DAY_MS, 900_000):
                    yield member, channel, at_ms, round(clear_mw(peak, at_ms) * 0.92)

    def _earlier(self, first: int, after: int) -> None:
        """Whole days, as roll-ups; one afternoon is missing."""
        lost = range(after - 9 * DAY_MS + 50_000_000, after - 9 * DAY_MS + 56_000_000)
        today = day_of(self.now_ms)
        with self.world.writer.transaction(), self.world.writer.cursor() as cursor:
            cursor.execute(_MAKE_EARLIER.encode())
            with cursor.copy(_COPY_EARLIER.encode()) as copy:
                for channel, peak in PEAKS_W.items():
                    for at_ms in range(first, after, MINUTE_MS):
                        mean = power_mw(peak, at_ms + MINUTE_MS // 2, today)
                        before = self._advance(LOOKING, channel, mean, MINUTE_MS)
                        if at_ms in lost:
                            continue
                        last = round(self._registers[LOOKING, channel])
                        moments = (at_ms, before, at_ms + 59_000, last)
                        powers = (60, 60 * mean, round(mean * 0.97), round(mean * 1.03))
                        copy.write_row((LOOKING, "roof", channel, at_ms, 60, 0, 0, *powers, *moments))
            cursor.execute(_MINUTES.encode())
            cursor.execute(_HOURS.encode())

    def _today(self, day: int, first: int, after: int) -> None:
        writer = self.world.writer
        writer.execute("SELECT make_readings_day(%s)", (day,))
        with writer.transaction():
            with writer.cursor() as cursor, cursor.copy(_STAGED.encode()) as copy:
                for place, row in enumerate(self._samples(first, after)):
                    copy.write_row((place, *row))
            for member, meter, channel, count, newest_ms in writer.execute(INSERT_NEW.encode()).fetchall():
                writer.execute(COUNT.encode(), (member, meter, channel, count, 0, newest_ms))

    def _samples(self, first: int, after: int) -> Iterator[tuple[object, ...]]:
        today = day_of(self.now_ms)
        missed = range(midnight_ms(self.now_ms) + 33_120_000, midnight_ms(self.now_ms) + 34_260_000)
        for number, member in enumerate(MEMBERS):
            step = 1_000 if member == LOOKING else 10_000
            for channel, peak in PEAKS_W.items():
                spool = hashlib.sha256(f"{member} {channel}".encode()).digest()[:16]
                for at_ms in range(first, after, step):
                    power = power_mw(peak * (1 - 0.07 * number), at_ms + 40_000 * number, today)
                    self._advance(member, channel, power, step)
                    if member == LOOKING and channel == "ch3" and at_ms in missed:
                        continue
                    volts = voltage_mv(power)
                    register = round(self._registers[member, channel])
                    key = (member, "roof", channel, at_ms, spool, at_ms // 1_000)
                    content = ("measured", power, volts, round(power * 1_000 / volts), register, None, b"\x01", b"\x01")
                    yield (*key, *content, at_ms + 500)

    def _advance(self, member: str, channel: str, power: int, step_ms: int) -> int:
        before = self._registers[member, channel]
        self._registers[member, channel] = before + power * step_ms / 3_600_000
        return round(before)
