"""The member's HTTP API: read-only, for people, their scripts and the command line."""
