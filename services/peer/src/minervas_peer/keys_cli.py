"""The arguments of `minervas keys`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from minervas_core.enrolment import GATEWAY
from minervas_core.errors import Code, LocalFault
from minervas_core.rekeying import OWNERS
from minervas_peer import arguments
from minervas_peer.api_client import ApiClient
from minervas_peer.commands.keys import show_keys
from minervas_peer.commands.output import Output
from minervas_peer.join.node_directory import NodeDirectory
from minervas_peer.rekey.flow import RotateKeys, RotateOptions
from minervas_runtime.clock import SystemClock

MAX_SECONDS = 10**9


def add_keys_command(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add the command; without an action it shows the keys."""
    command = add("keys", "the member's public keys on the chain; `keys rotate` replaces some")
    actions = command.add_subparsers(dest="action", metavar="ACTION")
    rotate = actions.add_parser("rotate", help="let services make new keys, and have them registered")
    rotate.add_argument("--node", type=Path, required=True, metavar="DIR", help="the node's directory")
    for name in (*OWNERS, "gateway"):
        rotate.add_argument(f"--{name}", action="append_const", const=name, dest="names", help=f"the {name} key")
    rotate.add_argument(
        "--timeout", type=arguments.number(1, MAX_SECONDS), metavar="SECONDS", help="give up waiting after this time"
    )


def run_keys(given: argparse.Namespace, client: ApiClient, output: Output) -> None:
    """Show the keys, or rotate some.

    Raises:
        MinervasError: one clear line for whatever went wrong.
    """
    if given.action is None:
        show_keys(client, output)
        return
    node = NodeDirectory(given.node)
    options = RotateOptions(keys=_wanted(given.names or [], node), timeout_s=given.timeout)
    RotateKeys(options, node, client, say=output.say, clock=SystemClock()).run()


def _wanted(names: list[str], node: NodeDirectory) -> tuple[str, ...]:
    """The keys by service; for gateways those of all that handed in theirs.

    Raises:
        LocalFault: ``bad_settings`` if no key is named; ``not_found`` for gateways if there is none.
    """
    if not names:
        flags = ", ".join(f"--{name}" for name in (*OWNERS, "gateway"))
        raise LocalFault(Code.BAD_SETTINGS, f"Name at least one key: {flags}")
    keys = [f"{OWNERS[name]}.{name}" for name in dict.fromkeys(names) if name in OWNERS]
    if "gateway" in names:
        gateways = [service for service in node.handed_in() if service.startswith(GATEWAY)]
        if not gateways:
            raise LocalFault(Code.NOT_FOUND, "This node has no meter-gateway", node=str(node.path))
        keys += [f"{service}.gateway" for service in gateways]
    return tuple(keys)
