"""Minervas meter-gateway: RS-485 meters to signed readings and metering statements."""

__version__ = "0.1.0"
