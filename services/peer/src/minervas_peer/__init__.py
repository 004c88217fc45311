"""Minervas peer: wallet, gossip with other members, HTTP API and the command line."""

__version__ = "0.1.0"
