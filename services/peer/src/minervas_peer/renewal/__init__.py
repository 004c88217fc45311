"""Renewing the certificates of all services of the node: the peer holds the wallet that admission believes."""
