"""What a simulation is: everything else follows from these numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """A simulation."""

    seed: int
    nodes: int = 5
    """Founders; members that join later come on top."""
    liars: int = 0
    """How many of the founders lie: with twins and echoes."""
    steps: int = 5_000
    """Events under upheaval; then the network heals and must come to rest."""
    upheavals: bool = True
    """Partitions, crashes, bad links, wrong clocks, admissions and revocations."""
    diversity_per_mille: int = 0
    newcomers: int = 4
    """Most members that join later."""
    reckless: bool = False
    """The authority revokes members without regard to how many lie."""
    unfounded: bool = False
    """Upheavals from the first moment on, and one voter may found: breaks what the safety of votes assumes."""

    @property
    def bearable(self) -> int:
        """How many founders may lie or be revoked at once: fewer than a third."""
        return (self.nodes - 1) // 3

    @property
    def command(self) -> str:
        """How to run it again."""
        options = f"--seed {self.seed} --nodes {self.nodes} --steps {self.steps}"
        if not self.upheavals:
            options += " --calm"
        if self.diversity_per_mille:
            options += f" --diversity {self.diversity_per_mille}"
        if self.liars:
            options += f" --liars {self.liars}"
        if self.newcomers != Plan.newcomers:
            options += f" --newcomers {self.newcomers}"
        if self.reckless:
            options += " --reckless"
        if self.unfounded:
            options += " --unfounded"
        return f"python -m tests.sim {options}"
