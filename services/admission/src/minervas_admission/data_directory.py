"""Where things are in admission's private directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Admission's private directory."""

    root: Path

    @property
    def ca_key(self) -> Path:
        """The CA's private key, encrypted."""
        return self.root / "ca" / "ca.key"

    @property
    def ca_certificate(self) -> Path:
        """The CA's certificate."""
        return self.root / "ca" / "ca.crt"

    @property
    def revocation_list(self) -> Path:
        """The newest revocation list; what the broker gets is a copy."""
        return self.root / "ca" / "ca.crl"

    @property
    def authority_key(self) -> Path:
        """The key that signs genesis and membership transactions, encrypted."""
        return self.root / "authority.key"

    @property
    def genesis(self) -> Path:
        """The genesis file."""
        return self.root / "genesis.json"

    @property
    def token_key(self) -> Path:
        """Secret from which the applicants' tokens are derived."""
        return self.root / "token.key"

    @property
    def bus_key(self) -> Path:
        """Private key of the certificate for the broker."""
        return self.root / "tls" / "admission.key"

    @property
    def bus_certificate(self) -> Path:
        """Certificate for the broker (client)."""
        return self.root / "tls" / "admission.crt"

    @property
    def https_key(self) -> Path:
        """Private key of the HTTPS server."""
        return self.root / "tls" / "https.key"

    @property
    def https_certificate(self) -> Path:
        """Certificate of the HTTPS server."""
        return self.root / "tls" / "https.crt"

    @property
    def issued(self) -> Path:
        """Certificates that were issued while no database was at hand, until the service records them."""
        return self.root / "issued"
