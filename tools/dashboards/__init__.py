"""Grafana's dashboards and alert rules, written from plain dictionaries (`make dashboards`; docs/dashboards.md)."""
