"""The Minervas protocol as pure Python: encoding, keys, transactions, blocks, proof of work, chain rules."""

__version__ = "0.1.0"
