"""Finality: votes on checkpoints, after Casper FFG (Buterin, Griffith, arXiv 1710.09437; design section 5)."""
