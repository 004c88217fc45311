"""Approval and revocation as sagas: steps that are each found or made, so that any of them can be repeated."""
