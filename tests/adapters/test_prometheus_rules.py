"""Rules for Prometheus speak only of metrics that a service exports, and every alert says where help stands."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY

INFRA = Path(__file__).parents[2] / "infra" / "prometheus"
WITH_METRICS = (
    "minervas_runtime.metrics",
    "minervas_ledger.metrics",
    "minervas_miner.miner",
    "minervas_miner.search_worker",
    "minervas_meter_gateway.metrics",
    "minervas_admission.metrics",
)
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def rules() -> list[dict[str, Any]]:
    content = yaml.safe_load((INFRA / "rules.yml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def exported() -> dict[str, set[str]]:
    """Names of the samples of all services, with the labels that they have besides those of Prometheus."""
    for module in WITH_METRICS:
        importlib.import_module(module)
    collectors = {id(each): each for each in REGISTRY._names_to_collectors.values()}.values()
    found: dict[str, set[str]] = {}
    for collector in collectors:
        for family in collector.describe() if hasattr(collector, "describe") else []:
            labels = set(getattr(collector, "_labelnames", ()))
            found |= {family.name + suffix: labels for suffix in SUFFIXES.get(family.type, ("",))}
    return found


def test_every_metric_of_a_rule_is_exported_by_a_service_with_the_labels_that_it_uses() -> None:
    known = exported()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        expression = rule["expr"]
        names = set(re.findall(r"\bminervas[a-z_:]+\b", expression.replace('job="minervas"', "")))
        assert names or "up{" in expression, rule
        assert names <= known.keys() | recorded, rule
        for name, selected in re.findall(r"(minervas_[a-z_]+)\{([a-z_]+)=", expression):
            assert selected in known[name], rule


def test_every_alert_has_a_severity_a_summary_and_a_place_in_the_handbook() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"] == f"docs/operating.md#{rule['alert'].lower()}"


def test_labels_that_summaries_show_exist() -> None:
    known = exported()
    for rule in rules():
        shown = set(re.findall(r"\$labels\.([a-z_]+)", rule.get("annotations", {}).get("summary", "")))
        metrics = re.findall(r"minervas_[a-z_]+", rule["expr"])
        available = {"service", "instance", "job"}.union(*(known.get(name, set()) for name in metrics))
        assert shown <= available, rule


def test_prometheus_asks_all_services_that_have_metrics() -> None:
    content = yaml.safe_load((INFRA / "prometheus.yml").read_text(encoding="utf-8"))
    (scraped,) = content["scrape_configs"]
    (discovered,) = scraped["dns_sd_configs"]
    assert set(discovered["names"]) == {"peer", "ledger", "miner", "meter-gateway", "admission"}
