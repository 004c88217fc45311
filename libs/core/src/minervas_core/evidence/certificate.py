"""Certificates of origin: what a retirement used up, checked with nothing but the genesis file (spec/certificates.md).

A retirement names in its own bytes the Merkle root of what is in its lots, and no block may carry a wrong one. So it is
enough to show that transaction in a final block, and the statements that its origins name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec

from minervas_core.encoding import Hash, NetworkId, Record
from minervas_core.errors import Code, InvalidProof
from minervas_core.evidence.finality import ShownFinality, check_block_shown, check_final, shown_members
from minervas_core.evidence.known_keys import KnownKeys
from minervas_core.evidence.statements import check_stated
from minervas_core.evidence.steps import Check, Step, run_steps
from minervas_core.genesis import Genesis
from minervas_core.identifiers import MemberId
from minervas_core.market.lots import origins_root
from minervas_core.market.records import Origin, Retire
from minervas_core.proof import CarriedTransaction, shown_transaction
from minervas_core.transactions import Transaction, check_signature

T = TypeVar("T")

FORMAT = 1
MAX_CERTIFIED_ORIGINS = 1_000
"""Statements behind one certificate: lots of ten days of a channel, or a day of ten channels."""
MAX_CERTIFICATE_BYTES = 32_000_000
"""A thousand statements have about 700 kB, 20,000 membership transactions up to 30 MB."""


class Certificate(Record, frozen=True, kw_only=True):
    """A certificate of origin for the lots of one retirement."""

    format: Annotated[int, msgspec.Meta(ge=1, le=1)]
    network: NetworkId
    genesis: Hash
    owner: MemberId
    """Who used the energy."""
    retirement: CarriedTransaction
    origins: Annotated[list[Origin], msgspec.Meta(min_length=1, max_length=MAX_CERTIFIED_ORIGINS)]
    """What was used up, of all lots together, by statement id."""
    statements: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_CERTIFIED_ORIGINS)]
    """The metering statements, in the order of the origins: meter, channel and time."""
    finality: ShownFinality
    """Of the block that carries the retirement."""


class CertificateCheck:
    """Checks a certificate step by step."""

    def __init__(self, genesis: Genesis, certificate: Certificate) -> None:
        self._genesis = genesis
        self._shown = certificate
        self._keys: KnownKeys | None = None
        self._retirement: Transaction | None = None

    def run(self) -> list[Step]:
        """All steps up to the first that fails."""
        return list(run_steps("certificate", self._checks()))

    def _checks(self) -> Iterator[tuple[str, Check]]:
        yield "consortium", self._consortium
        yield "members", self._members
        yield "block", self._block
        yield "retirement", self._in_block
        yield "finality", self._final
        yield "origins", self._origins
        yield "statements", self._statements

    def _consortium(self) -> str:
        shown = self._shown
        if (shown.network, shown.genesis) != (self._genesis.network, self._genesis.hash):
            raise InvalidProof(Code.WRONG_NETWORK, "Of another consortium", genesis=shown.genesis)
        return f"{self._genesis.body.name}, genesis {self._genesis.hash}"

    def _members(self) -> str:
        self._keys = KnownKeys(self._genesis, shown_members(self._shown.finality))
        return f"members with a vote, admitted by the authority: {', '.join(sorted(self._keys.voters))}"

    def _block(self) -> str:
        header = self._shown.finality.headers[0]
        block_hash = check_block_shown(self._genesis, self._shown.finality, _known(self._keys))
        return f"block {header.height}, {block_hash}, mined and signed by {header.miner}"

    def _in_block(self) -> str:
        transaction = shown_transaction(self._shown.retirement, self._shown.finality.headers[0])
        check_signature(transaction, self._genesis.network)
        if not isinstance(transaction.body, Retire):
            raise InvalidProof(Code.LOT_WRONG, "The transaction retires nothing", kind=transaction.kind)
        if not _known(self._keys).is_key_of("wallet", transaction.body.sender, self._shown.owner):
            raise InvalidProof(Code.LOT_WRONG, "Not signed by the owner's wallet", owner=self._shown.owner)
        self._retirement = transaction
        return f"retired by {self._shown.owner} with transaction {transaction.id}, which stands in the block"

    def _final(self) -> str:
        checkpoint, voted = check_final(self._genesis, self._shown.finality, _known(self._keys))
        return f"final since checkpoint {checkpoint.height}, {checkpoint.hash()}; votes of {', '.join(voted)}"

    def _origins(self) -> str:
        body = _known(self._retirement).body
        claimed = body.origins_root if isinstance(body, Retire) else ""
        if origins_root(self._shown.origins) != claimed:
            raise InvalidProof(Code.LOT_WRONG, "The chain says that something else was retired")
        total_wh = sum(origin.energy_wh for origin in self._shown.origins)
        return f"{total_wh} Wh of {len(self._shown.origins)} statements, as the retirement itself says"

    def _statements(self) -> str:
        shown = self._shown
        if len(shown.statements) != len(shown.origins):
            raise InvalidProof(Code.STATEMENT_WRONG, "Not as many statements as origins", shown=len(shown.statements))
        meters = set()
        for origin, raw in zip(shown.origins, shown.statements, strict=True):
            stated = check_stated(self._genesis, bytes(raw), origin, _known(self._keys))
            meters.add(f"{stated.member}/{stated.meter}/{stated.channel}")
        return f"signed by the gateways of {', '.join(sorted(meters))}"


def _known(value: T | None) -> T:
    if value is None:
        raise InvalidProof(Code.PROOF_INCOMPLETE, "An earlier step is missing")
    return value
