"""The CAs in use: usually one, two while the CA is being replaced. Which they are stands in a file of its own.

A CA is named by its files: ``ca`` is the first, ``ca-2`` the next. The file is replaced whole, so a crash leaves the
state before or after a step of a rollover, never one between.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from minervas_admission.ca import CertificateAuthority
from minervas_admission.data_directory import DataDirectory
from minervas_admission.sealed_keys import load_ca_key
from minervas_core.encoding import Count, Record, TimeMs, decode, encode
from minervas_core.errors import Code, InvalidEncoding, LocalFault
from minervas_runtime.key_files import PUBLIC_MODE, write_atomic

FIRST = "ca"
MAX_STATE_BYTES = 4_096


class CaState(Record, frozen=True, kw_only=True):
    """Which CAs are in use."""

    number: Count
    """Rises with every change; the number of the CA bundle."""
    signing: str
    """The CA that signs new certificates."""
    trusted: list[str]
    """All whose certificates are accepted, oldest first."""
    changed_ms: TimeMs
    """When the last step of a rollover was done; 0 before the first."""
    decision: Count
    """The decision that was carried out last; 0 before the first."""

    @property
    def newest(self) -> str:
        """The CA that was made last."""
        return self.trusted[-1]

    @property
    def next_name(self) -> str:
        """What the next CA will be called."""
        _, _, number = self.newest.partition("-")
        return f"{FIRST}-{int(number or 1) + 1}"


BEFORE_ANY = CaState(number=1, signing=FIRST, trusted=[FIRST], changed_ms=0, decision=0)


def read_ca_state(data: DataDirectory) -> CaState:
    """Read which CAs are in use.

    Raises:
        LocalFault: ``bad_key_file`` if the file is damaged.
    """
    if not data.ca_state.exists():
        return BEFORE_ANY
    try:
        return decode(data.ca_state.read_bytes(), CaState, max_bytes=MAX_STATE_BYTES)
    except InvalidEncoding as error:
        raise LocalFault(
            Code.BAD_KEY_FILE, "The file that says which CA is in use is damaged; restore it", file=str(data.ca_state)
        ) from error


def write_ca_state(data: DataDirectory, state: CaState) -> None:
    """Write which CAs are in use.

    Raises:
        LocalFault: ``bad_key_file``.
    """
    write_atomic(data.ca_state, encode(state), mode=PUBLIC_MODE)


def load_ca_certificate(data: DataDirectory, name: str) -> x509.Certificate:
    """Read a CA's certificate.

    Raises:
        LocalFault: ``not_ready`` before `init`, ``bad_key_file`` if it is damaged.
    """
    file = data.ca(name).certificate
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except FileNotFoundError as error:
        raise LocalFault(
            Code.NOT_READY, "The consortium is not made yet; run minervas-admission init", missing=str(file)
        ) from error
    except (OSError, ValueError) as error:
        raise LocalFault(
            Code.BAD_KEY_FILE, "The CA's certificate can not be read", file=str(file), reason=str(error)
        ) from error


@dataclass(frozen=True, slots=True)
class _Loaded:
    state: CaState
    authorities: dict[str, CertificateAuthority]


class CaSet:
    """The CAs in use, with their keys. What they are can change while the service runs."""

    def __init__(self, data: DataDirectory, passphrase: bytes, network: str) -> None:
        """Load them, and write down whom admission itself trusts.

        Raises:
            LocalFault: ``not_ready`` before `init`, ``bad_key_file``.
        """
        self._data = data
        self._passphrase = passphrase
        self._network = network
        self._loaded = self._load()

    def reload(self) -> None:
        """Take up what has changed.

        Raises:
            LocalFault: ``bad_key_file``.
        """
        self._loaded = self._load()

    @property
    def state(self) -> CaState:
        """Which they are."""
        return self._loaded.state

    @property
    def signing(self) -> CertificateAuthority:
        """The CA that signs new certificates."""
        return self._loaded.authorities[self.state.signing]

    @property
    def trusted(self) -> dict[str, CertificateAuthority]:
        """All by name, the signing one first."""
        others = {name: each for name, each in self._loaded.authorities.items() if name != self.state.signing}
        return {self.state.signing: self.signing, **others}

    @property
    def pem(self) -> str:
        """Certificates of all, the signing one's first."""
        return "".join(each.pem for each in self.trusted.values())

    @property
    def passphrase(self) -> bytes:
        """Under which the keys are encrypted."""
        return self._passphrase

    def _load(self) -> _Loaded:
        state = read_ca_state(self._data)
        authorities = {
            name: CertificateAuthority(
                load_ca_key(self._data.ca(name).key, self._passphrase),
                load_ca_certificate(self._data, name),
                self._network,
            )
            for name in state.trusted
        }
        trust = "".join(each.pem for each in authorities.values()).encode()
        if not self._data.trusted_cas.exists() or self._data.trusted_cas.read_bytes() != trust:
            write_atomic(self._data.trusted_cas, trust, mode=PUBLIC_MODE)
        return _Loaded(state, authorities)


def signing_ca_certificate(data: DataDirectory) -> x509.Certificate:
    """The certificate of the CA that signs.

    Raises:
        LocalFault: as `load_ca_certificate` and `read_ca_state`.
    """
    return load_ca_certificate(data, read_ca_state(data).signing)
