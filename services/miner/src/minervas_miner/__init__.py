"""Minervas miner: the proof-of-work search."""

__version__ = "0.1.0"
