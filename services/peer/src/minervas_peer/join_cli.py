"""Arguments of `minervas join`, and which of its ways they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path

from minervas_core.encoding import decode
from minervas_core.enrolment import MAX_APPLICATION_BYTES, Application
from minervas_peer import arguments
from minervas_peer.commands.join import run_add, run_join, run_status
from minervas_peer.commands.output import Output
from minervas_peer.join.adding import AddOptions
from minervas_peer.join.details import Details, read_details
from minervas_peer.join.flow import JoinOptions
from minervas_peer.join.node_directory import NodeDirectory

MAX_SECONDS = 10**9

EPILOG = """\
Interrupted, the same command goes on where it was. `--about FILE` is TOML with name, contact, registration, address,
[[sites]] (name, latitude, longitude, address) and [[panels]] (site, rated_w, tilt, azimuth, meter, channel), all
optional; none of it goes on the chain."""


def add_join_arguments(command: argparse.ArgumentParser) -> None:
    """Give the command its arguments."""
    command.epilog = EPILOG
    command.set_defaults(usage_error=command.error)
    add = command.add_argument
    add("url", nargs="?", type=arguments.https_url, metavar="URL", help="of the consortium's admission, https://...")
    add("--ca-fingerprint", type=arguments.fingerprint, metavar="sha256:...", help="as the operator told you")
    add("--member", metavar="ID", help="id to apply for, e.g. mokpo-univ")
    add("--name", default="", metavar="NAME", help="your organisation; never on the chain")
    add("--contact", default="", metavar="CONTACT", help="how the operator reaches you")
    add("--node", type=Path, default=Path(), metavar="DIR", help="the node's directory; here if not given")
    add("--gateway", action="store_true", help="wait for the meter-gateway's keys and meters too")
    add("--token", default="", metavar="TOKEN", help="one-time token of the form on the web page")
    add("--about", type=Path, metavar="FILE", help="details for the operator: see below")
    add("--site", action="append", default=[], metavar="NAME,LAT,LON[,ADDRESS]", help="a place with panels; repeatable")
    add(
        "--panel",
        action="append",
        default=[],
        metavar="SITE,W,TILT,AZIMUTH[,METER/CHANNEL]",
        help="a panel, or a string of panels; repeatable",
    )
    add("--accept-visibility", action="store_true", help="accept without a question that all members see all trades")
    add("--system-ca", action="store_true", help="the server has a certificate of a public CA (the operator says so)")
    add("--timeout", type=arguments.number(1, MAX_SECONDS), metavar="SECONDS", help="give up waiting after this time")
    add("--api", type=arguments.http_url, default=argparse.SUPPRESS, metavar="URL", help="the peer's API, for --add")
    add("--token-file", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="the peer's api.token, for --add")
    ways = command.add_mutually_exclusive_group()
    ways.add_argument(
        "--add",
        nargs="*",
        metavar="GATEWAY",
        help="add gateways (meter-gateway, meter-gateway-2, ...) or their new meters to a member; needs --token-file",
    )
    text = "this node takes the place of the member's, which was lost with its keys"
    ways.add_argument("--replace", action="store_true", help=text)
    ways.add_argument("--status", action="store_true", help="show where it stands, without waiting")


def carry_out_join(given: argparse.Namespace, output: Output) -> None:
    """Join, add, or show where it stands.

    Raises:
        MinervasError: one clear line for whatever went wrong.
    """
    node = NodeDirectory(given.node, expects_gateway=given.gateway)
    if given.status:
        run_status(node, output, system_ca=given.system_ca)
        return
    details = read_details(given.about, given.site, given.panel)
    _fill_in(given, node)
    if given.add is not None:
        run_add(_add_options(given, details), node, output, api=given.api, token_file=given.token_file)
        return
    run_join(_join_options(given, node, details), node, output)


def _fill_in(given: argparse.Namespace, node: NodeDirectory) -> None:
    """Take what was not said from the node's own application, if there is one."""
    stored = node.load_application()
    if stored is not None:
        application = decode(bytes(stored.application), Application, max_bytes=MAX_APPLICATION_BYTES)
        given.url = given.url or stored.url
        given.ca_fingerprint = given.ca_fingerprint or stored.ca_fingerprint
        given.member = given.member or application.member
    wanted = {"URL": given.url, "--ca-fingerprint": given.ca_fingerprint, "--member": given.member}
    if lacking := [name for name, value in wanted.items() if not value]:
        given.usage_error(f"the following arguments are required: {', '.join(lacking)}")


def _join_options(given: argparse.Namespace, node: NodeDirectory, details: Details) -> JoinOptions:
    name, contact = given.name or details.name, given.contact or details.contact
    is_new = not node.is_joined and node.load_application() is None
    if is_new and not given.token and not (name and contact):
        given.usage_error("--name and --contact are required, here or in the file of --about")
    return JoinOptions(
        url=given.url,
        ca_fingerprint=given.ca_fingerprint,
        member=given.member,
        name=name,
        contact=contact,
        about=details.about,
        accepts_visibility=given.accept_visibility,
        form_token=given.token,
        system_ca=given.system_ca,
        timeout_s=given.timeout,
        replace=given.replace,
    )


def _add_options(given: argparse.Namespace, details: Details) -> AddOptions:
    return AddOptions(
        url=given.url,
        ca_fingerprint=given.ca_fingerprint,
        member=given.member,
        services=tuple(given.add),
        about=details.about,
        system_ca=given.system_ca,
        timeout_s=given.timeout,
    )
