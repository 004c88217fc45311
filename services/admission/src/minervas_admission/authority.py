"""What the service holds to act for the consortium: CA, authority key, genesis."""

from __future__ import annotations

from dataclasses import dataclass

from minervas_admission.ca import CertificateAuthority
from minervas_admission.ca_set import CaSet, read_ca_state
from minervas_admission.data_directory import DataDirectory
from minervas_admission.key_identity import signing_key_id, tls_key_id
from minervas_admission.sealed_keys import load_authority_key, load_passphrase
from minervas_admission.settings import AdmissionSettings
from minervas_admission.store.applications import KeyClaim
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import Genesis, load_genesis
from minervas_core.keys import SigningKey


@dataclass(frozen=True, slots=True)
class Consortium:
    """The consortium's keys and genesis."""

    cas: CaSet
    """The CAs in use."""
    signer: SigningKey
    """Signs membership transactions; its public half stands in the genesis."""
    genesis: Genesis

    @property
    def authority(self) -> CertificateAuthority:
        """Signs certificates."""
        return self.cas.signing

    @property
    def network(self) -> str:
        """Network id."""
        return self.genesis.network

    def key_claims(self) -> list[KeyClaim]:
        """The consortium's own keys, which no member may use."""
        return [
            *(KeyClaim(tls_key_id(each.certificate.public_key()), "ca") for each in self.cas.trusted.values()),
            KeyClaim(signing_key_id(self.signer.public), "authority"),
        ]


def load_consortium(settings: AdmissionSettings) -> Consortium:
    """Load what `init` made.

    Raises:
        LocalFault: ``not_ready`` before `init`, ``bad_key_file``, ``bad_genesis``, or ``bad_settings`` if the settings
            contradict the genesis, which can not be changed.
    """
    data = DataDirectory(settings.paths.data)
    signing = data.ca(read_ca_state(data).signing)
    if data.ca_state.exists() and not (signing.key.exists() and signing.certificate.exists()):
        raise LocalFault(
            Code.BAD_KEY_FILE, "Key or certificate of the CA that signs is gone; restore them", file=str(signing.key)
        )
    for file in (signing.key, signing.certificate, data.authority_key, data.genesis, data.token_key):
        if not file.exists():
            raise LocalFault(
                Code.NOT_READY, "The consortium is not made yet; run minervas-admission init", missing=str(file)
            )
    passphrase = load_passphrase(settings.ca_passphrase_file)
    genesis = load_genesis(data.genesis.read_bytes())
    check_genesis_settings(settings, genesis)
    signer = load_authority_key(data.authority_key, passphrase)
    if signer.public != genesis.body.authority:
        raise LocalFault(Code.BAD_GENESIS, "The genesis was signed by another authority key", file=str(data.genesis))
    return Consortium(CaSet(data, passphrase, genesis.network), signer, genesis)


def check_genesis_settings(settings: AdmissionSettings, genesis: Genesis) -> None:
    """Check that the settings still say what the genesis says.

    Raises:
        LocalFault: ``bad_settings`` naming the first difference.
    """
    body = genesis.body
    pairs = [
        ("consortium.name", settings.consortium.name, body.name),
        ("consortium.currency", settings.consortium.currency, body.currency),
        ("consortium.time_zone", settings.consortium.time_zone, body.time_zone),
        *(
            (f"genesis.{name}", getattr(settings.genesis, name), getattr(body.parameters, name))
            for name in body.parameters.__struct_fields__
        ),
    ]
    for key, wanted, fixed in pairs:
        if wanted != fixed:
            raise LocalFault(
                Code.BAD_SETTINGS,
                "The genesis is made and can not be changed; put this setting back",
                key=key,
                settings=wanted,
                genesis=fixed,
            )
