"""Minervas ledger: validation, fork choice, mempool and the chain in PostgreSQL."""

__version__ = "0.1.0"
