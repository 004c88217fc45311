"""Builders for tests of the peer: a consortium, its members' keys, rosters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from minervas_core import box
from minervas_core.box import BoxKey, load_box_public
from minervas_core.encoding import sha256_hex
from minervas_core.frames import SenderKey
from minervas_core.genesis import Genesis, GenesisBody, Parameters, sign_genesis
from minervas_core.governance.authority import sign_statement
from minervas_core.governance.records import Approval, ChangeAuthority
from minervas_core.keys import SigningKey
from minervas_core.node_messages import Roster, RosterEntry
from minervas_core.transactions import (
    Admit,
    Change,
    Membership,
    NewKeys,
    Revoke,
    Rotate,
    ServiceKeys,
    Transaction,
    WalletConsent,
    sign_consent,
    sign_transaction,
)
from minervas_peer.key_exchange import Identity

NETWORK = "5a" * 16
NOW_MS = 1_800_000_000_000


def seed(name: str, size_bytes: int = 32) -> bytes:
    """Bytes that depend only on the name."""
    return hashlib.shake_256(name.encode()).digest(size_bytes)


def seal_to_box(public: str, plaintext: bytes, info: bytes) -> bytes:
    """Seal to a box key, as the runtime does."""
    return box.SUITE.encrypt(plaintext, load_box_public(public), info=info)


@dataclass(frozen=True)
class Member:
    """A member with its keys and its admission."""

    name: str
    wallet: SigningKey
    box: BoxKey
    keys: ServiceKeys
    admit: Transaction
    rotations: tuple[Transaction, ...] = ()

    @property
    def identity(self) -> Identity:
        """What its peer needs to know of itself."""
        return Identity(self.name, self.wallet, self.box, (self.admit.raw, *(each.raw for each in self.rotations)))

    def sender_key(self, epoch: int) -> SenderKey:
        """The sender key of an epoch."""
        name = f"{self.name}/{epoch}"
        return SenderKey(self.name, epoch, seed(f"id/{name}", 16).hex(), seed(f"secret/{name}"))


class Consortium:
    """A genesis and the authority that signs memberships."""

    def __init__(self, network: str = NETWORK) -> None:
        self.authority = SigningKey(seed(f"authority/{network}"))
        body = GenesisBody(
            format=1,
            network=network,
            name="Test consortium",
            authority=self.authority.public,
            currency="KRW",
            time_zone="Asia/Seoul",
            created_ms=NOW_MS,
            parameters=Parameters(),
        )
        self.genesis: Genesis = sign_genesis(body, self.authority)

    def member(self, name: str, *, authority: SigningKey | None = None) -> Member:
        """Make a member and its admission, signed by our authority unless another is given."""
        wallet, box_key = SigningKey(seed(f"wallet/{name}")), BoxKey(seed(f"box/{name}", box.SEED_BYTES))
        keys = ServiceKeys(
            wallet=wallet.public,
            box=box_key.public,
            block=SigningKey(seed(f"block/{name}")).public,
            vote=SigningKey(seed(f"vote/{name}")).public,
        )
        return Member(name, wallet, box_key, keys, self.sign(Admit(member=name, keys=keys), authority))

    def rotate(self, member: Member, name: str, *, signer: SigningKey | None = None) -> Member:
        """Give a member the wallet and box key of another name, with the consent of its old wallet or of another."""
        wallet, box_key = SigningKey(seed(f"wallet/{name}")), BoxKey(seed(f"box/{name}", box.SEED_BYTES))
        consent = WalletConsent(member=member.name, wallet=wallet.public, expires_height=5_000)
        change = Rotate(
            member=member.name,
            keys=NewKeys(wallet=wallet.public, box=box_key.public),
            meters=[],
            consent=sign_consent(consent, self.genesis.network, signer or member.wallet),
        )
        keys = msgspec.structs.replace(member.keys, wallet=wallet.public, box=box_key.public)
        rotations = (*member.rotations, self.sign(change))
        return Member(member.name, wallet, box_key, keys, member.admit, rotations)

    def revoke(self, name: str) -> Transaction:
        """Sign a revocation."""
        return self.sign(Revoke(member=name))

    def sign(self, change: Change, authority: SigningKey | None = None) -> Transaction:
        """Sign a change of the roster."""
        key = authority or self.authority
        body = Membership(
            network=self.genesis.network,
            sender=key.public,
            salt=seed(f"salt/{type(change).__name__}/{change.member}", 16).hex(),
            expires_height=5_000,
            change=change,
        )
        return sign_transaction(body, key)


def roster(active: Iterable[Member] = (), revoked: Iterable[Member] = (), *, height: int = 1) -> Roster:
    """The roster of some tip."""
    entries = [
        RosterEntry(member=member.name, keys=member.keys, status="active", admitted_height=1) for member in active
    ]
    entries += [
        RosterEntry(member=member.name, keys=member.keys, status="revoked", admitted_height=1, ended_height=height)
        for member in revoked
    ]
    digest = sha256_hex(",".join(f"{each.member}:{each.status}:{each.keys.wallet}" for each in entries).encode())
    return Roster(members=entries, height=height, roster_hash=digest)


def replace_authority(
    genesis: Genesis, previous: SigningKey, new: SigningKey, *, approving: SigningKey | None = None
) -> bytes:
    """A replacement of the authority's key, signed by the previous one, or else approved by a wallet."""
    body = ChangeAuthority(
        network=genesis.network,
        sender=(new if approving else previous).public,
        salt="00" * 16,
        expires_height=5_000,
        previous=previous.public,
        authority=new.public,
        proof="00" * 64,
        approvals=[],
    )
    body = msgspec.structs.replace(body, proof=sign_statement(body, new))
    if approving is not None:
        approval = Approval(wallet=approving.public, signature=sign_statement(body, approving))
        body = msgspec.structs.replace(body, approvals=[approval])
    return sign_transaction(body, new if approving else previous).raw
