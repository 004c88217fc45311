"""Run a simulation from its plan to the checks of its end."""

from __future__ import annotations

from tests.sim.checks import check_end
from tests.sim.network import Log, Network
from tests.sim.plan import Plan
from tests.sim.upheavals import Upheavals
from tests.sim.watch import Violation


def simulate(plan: Plan, log: Log | None = None) -> Network:
    """Found a network, throw it about, heal it, and check what must hold.

    Raises:
        Violation: if something does not, with the command that runs the simulation again.
    """
    network = Network(plan, log)
    try:
        if not plan.unfounded:
            network.found()
        if plan.upheavals:
            Upheavals(network)
        network.run(plan.steps)
        network.come_to_rest()
        check_end(network)
    except Exception as error:
        told = f"{type(error).__name__}: {error}\n{network.describe()}\nrun it again with: {plan.command}"
        raise Violation(told) from error
    return network
