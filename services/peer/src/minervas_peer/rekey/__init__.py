"""Other keys for this member: the peer's own, and the requests that its wallet signs for all services."""
