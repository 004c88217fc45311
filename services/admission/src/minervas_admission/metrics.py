"""Prometheus metrics of admission."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

APPLICATIONS = Counter("minervas_admission_applications", "Applications received.", ["outcome"])
STEPS = Histogram(
    "minervas_admission_step_seconds",
    "Duration of the steps of approvals and revocations.",
    ["kind", "step"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600),
)
STEP_FAILURES = Counter("minervas_admission_step_failures", "Attempts at a step that failed.", ["kind", "step", "code"])
CRL_ISSUED_AT = Gauge("minervas_admission_crl_issued_at_seconds", "When the newest revocation list was issued.")
CRL_ENTRIES = Gauge("minervas_admission_crl_entries", "Certificates in the newest revocation list.")
RECONCILED = Counter("minervas_admission_reconciled", "What a reconciliation changed on the broker.", ["action"])
OPEN_TRANSACTIONS = Gauge("minervas_admission_open_transactions", "Membership transactions that are not settled yet.")
RENEWALS = Counter("minervas_admission_renewals", "Renewals of certificates carried out.", ["outcome"])
SWEPT = Counter("minervas_admission_swept", "Processes that lost their session because their certificate expired.")
PRESENCE_KEPT = Counter("minervas_admission_presence", "Presences of members' processes that were kept.")
PRESENCE_REFUSED = Counter("minervas_admission_presence_refused", "Presences that were none, or nobody's.", ["code"])
