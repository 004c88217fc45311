"""`minervas-ledger prove` and `minervas check-proof`: what one writes the other believes, with the genesis alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from minervas_core.errors import Code, InvalidProof, LocalFault, MinervasError, TransientFault
from minervas_devnet.postgres import PostgresServer
from minervas_ledger.prove_command import run_prove
from minervas_ledger.settings import DatabaseSettings, LedgerSettings
from minervas_peer.commands.check_proof import show_proof
from minervas_peer.commands.output import Output
from minervas_runtime.settings import NodePaths
from tests.support.stored_voting import Twins


@dataclass
class Prover:
    """A ledger's database with a chain whose block 3 is final, and the file that a proof goes to."""

    settings: LedgerSettings
    twins: Twins
    genesis: Path
    file: Path
    said: list[str] = field(default_factory=list)

    def founding(self) -> str:
        """Id of a transaction of block 1."""
        node = self.twins.local.chain.tree.main_at(1)
        assert node is not None
        return self.twins.local.chain._stored(node).transactions[0].id

    def prove(self, tx_id: str) -> int:
        return run_prove(self.settings, tx_id, self.file, self.said.append, lambda _: None)

    def fault(self, tx_id: str) -> MinervasError:
        with pytest.raises(MinervasError) as caught:
            self.prove(tx_id)
        assert not self.file.exists()
        return caught.value


@pytest.fixture
def prover(ledger_database: DatabaseSettings, tmp_path: Path) -> Iterator[Prover]:
    twins = Twins(ledger_database)
    genesis = tmp_path / "genesis.json"
    genesis.write_bytes(twins.local.genesis.raw)
    paths = NodePaths(data=tmp_path, enrol=tmp_path, issued=tmp_path, secrets=tmp_path)
    made = Prover(
        LedgerSettings(member="m0", paths=paths, database=ledger_database), twins, genesis, tmp_path / "proof"
    )
    yield made
    twins.stored.now.close()


def test_what_is_proved_is_believed(prover: Prover, capsys: pytest.CaptureFixture[str]) -> None:
    prover.twins.justify(0, 3)
    prover.twins.justify(3, 6)
    assert prover.prove(prover.founding()) == 0
    assert "in block 1, final since block 3 is" in prover.said[0]
    show_proof(prover.file, prover.genesis, Output(as_json=True))
    shown = json.loads(capsys.readouterr().out)
    assert (shown["transaction"]["id"], shown["height"]) == (prover.founding(), 1)
    assert shown["final"] == {"height": 3, "hash": prover.twins.local.checkpoint(3).hash}


def test_a_proof_that_ends_too_early_is_refused(prover: Prover) -> None:
    prover.twins.justify(0, 3)
    prover.twins.justify(3, 6)
    prover.prove(prover.founding())
    prover.file.write_bytes(prover.file.read_bytes()[:-1])
    with pytest.raises(InvalidProof) as caught:
        show_proof(prover.file, prover.genesis, Output(as_json=True))
    assert caught.value.code == Code.PROOF_INCOMPLETE


def test_nothing_is_proved_before_its_block_is_final(prover: Prover) -> None:
    prover.twins.justify(0, 3)
    error = prover.fault(prover.founding())
    assert isinstance(error, TransientFault)
    assert (error.code, error.values["final_height"]) == (Code.NOT_READY, 0)


def test_nothing_is_proved_that_only_the_node_knows_as_final(prover: Prover, postgres_server: PostgresServer) -> None:
    """Its landmark came from another branch: the best chain lacks the votes, so nobody would believe it."""
    prover.twins.justify(0, 3)
    conninfo = postgres_server.superuser_conninfo(prover.settings.database.name)
    with psycopg.connect(conninfo, autocommit=True) as superuser:
        superuser.execute("UPDATE node_state SET final_height = 3")
    assert prover.fault(prover.founding()).code == Code.NOT_READY


def test_an_unknown_transaction_cannot_be_proved(prover: Prover) -> None:
    error = prover.fault("ab" * 32)
    assert isinstance(error, LocalFault)
    assert error.code == Code.NOT_FOUND
