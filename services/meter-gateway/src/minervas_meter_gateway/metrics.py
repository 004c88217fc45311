"""Prometheus metrics of the meter-gateway."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

SAMPLES = Counter("minervas_gateway_samples", "Readings stored in the spool.", ["meter", "channel", "quality"])
FAULTS = Counter("minervas_gateway_faults", "Readings without values, by kind of fault.", ["meter", "fault"])
READ_FAULTS = Counter(
    "minervas_gateway_read_faults", "Block reads that failed, by kind; an exception with its code.", ["meter", "kind"]
)
MISSED_TICKS = Counter("minervas_gateway_missed_ticks", "Ticks at which a port was still busy.", ["port"])
REFUSED = Counter("minervas_gateway_readings_refused", "Readings that the full or failing spool did not take.")
PUT_ASIDE = Counter("minervas_gateway_readings_put_aside", "Readings whose times the ledger finds impossible.")
SPOOL_DEPTH = Gauge("minervas_gateway_spool_readings", "Readings that the ledger has not acknowledged.")
SPOOL_FILL = Gauge("minervas_gateway_spool_fill_per_cent", "How full the spool is.")
CLOCK_SYNCHRONISED = Gauge("minervas_gateway_clock_synchronised", "1 while statements may be made.")
BATCHES = Counter("minervas_gateway_batches", "Batches of readings published.", ["kind"])
STATEMENTS = Counter("minervas_gateway_statements", "Statements by what became of them.", ["outcome"])
