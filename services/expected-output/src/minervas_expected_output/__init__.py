"""What a member's panels would give under a clear sky, as a file for its ledger."""

__version__ = "0.1.0"
