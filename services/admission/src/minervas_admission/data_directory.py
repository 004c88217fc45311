"""Where things are in admission's private directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CaFiles:
    """The files of one CA."""

    key: Path
    """Its private key, encrypted."""
    certificate: Path
    revocation_list: Path
    """Its newest revocation list; what the broker gets is a copy."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Admission's private directory."""

    root: Path

    def ca(self, name: str) -> CaFiles:
        """The files of a CA; the first is called ``ca``."""
        folder = self.root / "ca"
        return CaFiles(folder / f"{name}.key", folder / f"{name}.crt", folder / f"{name}.crl")

    @property
    def ca_state(self) -> Path:
        """Which CAs are in use; missing before the first rollover."""
        return self.root / "ca" / "state.json"

    @property
    def trusted_cas(self) -> Path:
        """Certificates of all CAs in use: whom admission's own client trusts."""
        return self.root / "ca" / "trusted.crt"

    @property
    def servers(self) -> Path:
        """Requests of servers whose certificates are renewed."""
        return self.root / "servers"

    @property
    def ca_key(self) -> Path:
        """The first CA's private key, encrypted."""
        return self.root / "ca" / "ca.key"

    @property
    def ca_certificate(self) -> Path:
        """The first CA's certificate."""
        return self.root / "ca" / "ca.crt"

    @property
    def revocation_list(self) -> Path:
        """The first CA's newest revocation list."""
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
    def restored(self) -> Path:
        """There is such a file after a restore, until the database was compared with the chain."""
        return self.root / "restored"

    @property
    def issued(self) -> Path:
        """Certificates that were issued while no database was at hand, until the service records them."""
        return self.root / "issued"
