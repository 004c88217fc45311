"""Backup and restore of a host's keys, files and databases in one encrypted file (ADR 0043)."""
