"""What every Minervas service shares: bus adapter, settings, logging, health, clock, key files."""

__version__ = "0.1.0"
