"""Governance: what the consortium decides about itself, beyond who is a member (design section 5, transactions)."""
