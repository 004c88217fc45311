"""The member's HTTP API: for people, their scripts and the command line."""
