"""The market: metered energy as lots, the order book, and trades (design section 5)."""
