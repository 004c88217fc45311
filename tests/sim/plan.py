"""What a simulation is: everything else follows from these numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """A simulation."""

    seed: int
    nodes: int = 5
    """Founders; members that join later come on top."""
    steps: int = 5_000
    """Events under upheaval; then the network heals and must come to rest."""
    upheavals: bool = True
    """Partitions, crashes, bad links, wrong clocks, admissions and revocations."""
    diversity_per_mille: int = 0

    @property
    def command(self) -> str:
        """How to run it again."""
        options = f"--seed {self.seed} --nodes {self.nodes} --steps {self.steps}"
        if not self.upheavals:
            options += " --calm"
        if self.diversity_per_mille:
            options += f" --diversity {self.diversity_per_mille}"
        return f"python -m tests.sim {options}"
