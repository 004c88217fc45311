"""Admission's PostgreSQL database: everything that is written or read there goes through this package."""
