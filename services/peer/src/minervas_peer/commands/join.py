"""`minervas join`: apply for membership and install what is granted."""

from __future__ import annotations

from minervas_peer.commands.output import Output
from minervas_peer.join.flow import Join, JoinOptions
from minervas_peer.join.node_directory import NodeDirectory
from minervas_runtime.clock import SystemClock


def run_join(options: JoinOptions, node: NodeDirectory, output: Output) -> None:
    """Join, or go on with an application.

    Raises:
        MinervasError: one clear line for whatever went wrong.
    """
    Join(options, node, say=output.say, clock=SystemClock()).run()
