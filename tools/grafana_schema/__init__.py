"""Grafana's own JSON schemas, made from its npm package (see make.sh)."""
