"""A Minervas consortium as local processes, for the demo and the network tests."""

__version__ = "0.1.0"
