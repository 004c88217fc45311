"""`minervas join`: apply for membership and install what is granted; add gateways; show where it stands."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from minervas_core.addition import AdditionBody
from minervas_peer.api_client import ApiClient
from minervas_peer.commands.output import Output
from minervas_peer.join.adding import Adding, AddOptions
from minervas_peer.join.flow import Join, JoinOptions
from minervas_peer.join.node_directory import NodeDirectory
from minervas_peer.join.status import show_join_status
from minervas_runtime.clock import SystemClock


def run_join(options: JoinOptions, node: NodeDirectory, output: Output) -> None:
    """Join, or go on with an application.

    Raises:
        MinervasError: one clear line for whatever went wrong.
    """
    Join(options, node, say=output.say, clock=SystemClock(), ask=ask_on_terminal).run()


def run_add(options: AddOptions, node: NodeDirectory, output: Output, *, api: str, token_file: Path | None) -> None:
    """Add gateways or meters, signed by the wallet of the peer whose API this is.

    Raises:
        MinervasError: one clear line for whatever went wrong.
    """

    def sign(body: AdditionBody) -> str:
        with ApiClient(api, token_file) as client:
            return str(client.post("/v1/additions", {"addition": msgspec.to_builtins(body)})["signature"])

    Adding(options, node, sign, say=output.say, clock=SystemClock()).run()


def run_status(node: NodeDirectory, output: Output, *, system_ca: bool) -> None:
    """Show where joining stands.

    Raises:
        LocalFault: ``bad_key_file`` if a stored application is damaged.
    """
    show_join_status(node, SystemClock(), output.say, system_ca=system_ca)


def ask_on_terminal(question: str) -> bool:
    """Ask a person; no if there is nobody."""
    if not sys.stdin.isatty():
        return False
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
