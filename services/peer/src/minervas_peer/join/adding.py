"""`minervas join --add`: gateways, and meters of gateways, added to a member.

Each step can be interrupted and is found again by the next run, as with `flow.Join`. The wallet signs in the peer,
through its API: its key never leaves the peer's own directory. A gateway on a host of its own has a node directory
there, with a copy of the node's secrets/node.key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from minervas_core.addition import Addition, AdditionBody, addition_fingerprint, check_addition_body
from minervas_core.applicant import About
from minervas_core.encoding import decode, encode
from minervas_core.enrolment import (
    MAX_APPLICATION_BYTES,
    ApplicationReceipt,
    ConsortiumInfo,
    Grant,
    ServiceEnrolment,
    is_gateway,
)
from minervas_core.errors import Code, LocalFault, PeerFault
from minervas_peer.join.admission_client import AdmissionClient, fetch_ca
from minervas_peer.join.advice import advised
from minervas_peer.join.decision import greet, say_fingerprint, wait_for_decision
from minervas_peer.join.fingerprint import as_pem, read_cas
from minervas_peer.join.grant_check import check_addition_grant
from minervas_peer.join.http_exchange import Refused
from minervas_peer.join.install import install_addition
from minervas_peer.join.node_directory import ADDITION_FILE, NodeDirectory, StoredApplication
from minervas_peer.join.patience import FIRST_TRIES, Patience
from minervas_runtime.clock import Clock
from minervas_runtime.enrolment import NODE_KEY_FILE
from minervas_runtime.randomness import new_salt

ENROLMENT_POLL_S = 0.5

Sign = Callable[[AdditionBody], str]
"""Has the member's wallet sign an addition; returns the signature."""


@dataclass(frozen=True, slots=True)
class AddOptions:
    """What the member said."""

    url: str
    ca_fingerprint: str
    member: str
    services: tuple[str, ...] = ()
    """Gateways; all that have handed in their keys if none is named."""
    about: About | msgspec.UnsetType = msgspec.UNSET
    system_ca: bool = False
    timeout_s: float | None = None


class Adding:
    """One run of `minervas join --add`."""

    def __init__(
        self,
        options: AddOptions,
        node: NodeDirectory,
        sign: Sign,
        *,
        say: Callable[[str], None],
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._options = options
        self._node = node
        self._sign = sign
        self._say = say
        self._clock = clock
        self._patience = Patience(options.timeout_s, say, sleep)

    def run(self) -> None:
        """Ask for the addition (or go on with one), wait for the decision, install.

        Raises:
            MinervasError: one clear line for everything that can go wrong.
        """
        options = self._options
        self._check_node()
        enrolments = self._enrolments()
        stored = self._resumed(enrolments)
        ca_pem = self._patience.insist(
            lambda: fetch_ca(options.url, options.ca_fingerprint, self._clock.now_ms()),
            tries=FIRST_TRIES if stored is None else None,
        )
        with AdmissionClient(options.url, ca_pem, system_ca=options.system_ca) as client:
            info = greet(client, self._patience, self._clock, self._say)
            stored, receipt = self._send(client, stored, enrolments)
            addition = decode(bytes(stored.application), Addition, max_bytes=MAX_APPLICATION_BYTES)
            say_fingerprint(addition_fingerprint(addition), receipt, self._say)
            state = wait_for_decision(client, receipt, self._patience, self._say)
        if state.state == "rejected":
            self._node.forget_application(ADDITION_FILE)
            reason = "" if isinstance(state.reason, msgspec.UnsetType) else state.reason
            raise Refused(Code.BAD_ENROLMENT, "The addition was rejected", reason=reason)
        if isinstance(state.grant, msgspec.UnsetType):
            raise PeerFault(Code.BAD_ENROLMENT, "The addition is approved, but the server gave no certificates")
        self._install(state.grant, addition, info)

    def _check_node(self) -> None:
        """Check that gateways here can talk to the ledger: they share the node's key."""
        key_file = self._node.secrets / NODE_KEY_FILE
        if not key_file.exists():
            raise LocalFault(
                Code.BAD_KEY_FILE,
                "This directory has no key of the node: join first, or copy secrets/node.key from the node's directory "
                "to a gateway on another host",
                file=str(key_file),
            )

    def _enrolments(self) -> list[ServiceEnrolment]:
        """What the gateways handed in; waits for those that are named."""
        names = list(self._options.services)
        if wrong := [name for name in names if not is_gateway(name)]:
            raise LocalFault(Code.BAD_ENROLMENT, "Only meter-gateways can be added", service=wrong[0])
        said: list[str] = []
        while missing := self._node.missing(names):
            if missing != said:
                self._say(
                    f"Waiting for the gateways to hand in their keys and meters: {', '.join(missing)} (start them)"
                )
                said = missing
            self._patience.pause(ENROLMENT_POLL_S, f"gateways have not handed in their keys: {', '.join(missing)}")
        names = sorted(names) or self._node.gateways()
        if not names:
            raise LocalFault(Code.BAD_ENROLMENT, "No gateway has handed in its keys here; start it, or name it")
        return self._node.enrolments_of(names, self._options.member)

    def _resumed(self, enrolments: list[ServiceEnrolment]) -> StoredApplication | None:
        """The addition of an earlier run.

        Raises:
            LocalFault: ``bad_enrolment`` if it waits and is for something else than what is asked for now.
        """
        stored = self._node.load_application(ADDITION_FILE)
        if stored is None:
            return None
        before = decode(bytes(stored.application), Addition, max_bytes=MAX_APPLICATION_BYTES)
        if stored.url == self._options.url and before.services == enrolments:
            return stored
        if isinstance(stored.receipt, msgspec.UnsetType):
            return None  # it never arrived, so there is nothing to go on with
        raise LocalFault(
            Code.BAD_ENROLMENT,
            "Another addition of this node is under way; go on with it, or delete secrets/addition.json and tell the "
            "operator to reject it",
            services=",".join(item.claim.service for item in before.services),
        )

    def _send(
        self, client: AdmissionClient, stored: StoredApplication | None, enrolments: list[ServiceEnrolment]
    ) -> tuple[StoredApplication, ApplicationReceipt]:
        """Send the addition, or that of an earlier run; its receipt is on disk when this returns."""
        if stored is not None and isinstance(stored.receipt, ApplicationReceipt):
            return stored, stored.receipt
        if stored is not None:
            try:
                return self._sent(client, stored)
            except Refused as refusal:
                if refusal.code is not Code.CLOCK_OFFSET:
                    raise
                # it was made long ago and had never arrived: a new one is due
        return self._sent(client, self._new(enrolments))

    def _new(self, enrolments: list[ServiceEnrolment]) -> StoredApplication:
        options = self._options
        body = AdditionBody(
            member=options.member,
            salt=new_salt(),
            sent_at_ms=self._clock.now_ms(),
            services=enrolments,
            about=options.about,
        )
        check_addition_body(body)
        addition = Addition(body=body, signature=self._sign(body))
        return StoredApplication(
            url=options.url, ca_fingerprint=options.ca_fingerprint, application=msgspec.Raw(encode(addition))
        )

    def _sent(self, client: AdmissionClient, stored: StoredApplication) -> tuple[StoredApplication, ApplicationReceipt]:
        self._node.store_application(stored, ADDITION_FILE)
        try:
            receipt = self._patience.insist(lambda: client.add(bytes(stored.application)))
        except Refused as refusal:
            self._node.forget_application(ADDITION_FILE)
            raise advised(refusal) from refusal
        stored = msgspec.structs.replace(stored, receipt=receipt)
        self._node.store_application(stored, ADDITION_FILE)
        self._say("The addition was received.")
        return stored, receipt

    def _install(self, grant: Grant, addition: Addition, info: ConsortiumInfo) -> None:
        check_addition_grant(grant, addition, info, self._options.ca_fingerprint)
        install_addition(grant, as_pem(read_cas(grant.ca_pem.encode())), self._node)
        self._node.forget_application(ADDITION_FILE)
        names = ", ".join(item.claim.service for item in addition.services)
        self._say(f"Approved: {names}. Energy is stated as soon as the chain has registered the meters.")
