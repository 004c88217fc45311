"""The steps of joining, each of which can be interrupted and is found again by the next run.

1. Get the CA, compare its fingerprint; then everything goes over verified HTTPS.
2. Wait for the requests and public keys of the node's services.
3. Write the application to the node's secrets, send it, write the receipt beside it.
4. Ask until it is decided.
5. Check what is granted, install it, and mark it as ready.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from minervas_core.applicant import VISIBILITY, About, ApplicationForm
from minervas_core.encoding import decode, encode
from minervas_core.enrolment import (
    MAX_APPLICATION_BYTES,
    Application,
    ApplicationReceipt,
    ApplicationState,
    ConsortiumInfo,
    ServiceEnrolment,
    application_fingerprint,
    check_application,
)
from minervas_core.errors import Code, LocalFault, PeerFault
from minervas_core.genesis import load_genesis
from minervas_core.identifiers import check_member_id
from minervas_peer.join.admission_client import AdmissionClient, fetch_ca
from minervas_peer.join.advice import advised
from minervas_peer.join.decision import greet, say_fingerprint, wait_for_decision
from minervas_peer.join.fingerprint import as_pem, read_cas
from minervas_peer.join.grant_check import check_grant
from minervas_peer.join.http_exchange import Refused
from minervas_peer.join.install import install
from minervas_peer.join.node_directory import NodeDirectory, StoredApplication
from minervas_peer.join.patience import FIRST_TRIES, Patience
from minervas_runtime.clock import Clock
from minervas_runtime.randomness import new_salt

ENROLMENT_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """What the applicant said."""

    url: str
    ca_fingerprint: str
    """``sha256:`` and 64 hex digits."""
    member: str
    name: str = ""
    """Not needed with a form's token, and not again when an application is under way."""
    contact: str = ""
    about: About | msgspec.UnsetType = msgspec.UNSET
    """Details for the operator."""
    accepts_visibility: bool = False
    """Whether the applicant has accepted `VISIBILITY` already and need not be asked."""
    form_token: str = ""
    """One-time token of a form that was filled in on admission's web page."""
    system_ca: bool = False
    """Whether the server's certificate is by a CA that this machine trusts, and not by the consortium's."""
    timeout_s: float | None = None
    """How long to wait in all; for ever if not given."""
    replace: bool = False
    """Whether this node takes the place of the member's, which was lost."""


class Join:
    """One run of `minervas join`."""

    def __init__(
        self,
        options: JoinOptions,
        node: NodeDirectory,
        *,
        say: Callable[[str], None],
        clock: Clock,
        ask: Callable[[str], bool] = lambda _question: False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._options = options
        self._node = node
        self._say = say
        self._clock = clock
        self._ask = ask
        self._patience = Patience(options.timeout_s, say, sleep)

    def run(self) -> None:
        """Apply (or go on with an application), wait for the decision, install.

        Raises:
            MinervasError: one clear line for everything that can go wrong; the next run goes on where this one ended.
        """
        options = self._options
        check_member_id(options.member)
        if self._node.is_joined:
            self._say(f"{self._node.path} has joined already; there is nothing to do.")
            return
        is_new = self._node.load_application() is None
        if is_new and not options.form_token:
            self._accept_visibility()
        ca_pem = self._patience.insist(
            lambda: fetch_ca(options.url, options.ca_fingerprint, self._clock.now_ms()),
            tries=FIRST_TRIES if is_new else None,
        )
        with AdmissionClient(options.url, ca_pem, system_ca=options.system_ca) as client:
            info = greet(client, self._patience, self._clock, self._say)
            self._wait_for_services()
            enrolments = self._node.enrolments(options.member)
            stored, receipt = self._apply(client, enrolments)
            application = decode(bytes(stored.application), Application, max_bytes=MAX_APPLICATION_BYTES)
            say_fingerprint(application_fingerprint(application), receipt, self._say)
            state = wait_for_decision(client, receipt, self._patience, self._say)
        self._finish(state, application, info)

    def _accept_visibility(self) -> None:
        self._say(VISIBILITY)
        if not self._options.accepts_visibility and not self._ask("Do you accept that?"):
            raise LocalFault(
                Code.CONSENT_MISSING, "Nothing was sent. Who applies accepts this; a script gives --accept-visibility"
            )

    def _wait_for_services(self) -> None:
        said: list[str] = []
        while missing := self._node.missing_services():
            if missing != said:
                self._say(f"Waiting for the services to hand in their public keys: {', '.join(missing)} (start them)")
                said = missing
            self._patience.pause(ENROLMENT_POLL_S, f"services have not handed in their keys: {', '.join(missing)}")

    def _apply(
        self, client: AdmissionClient, enrolments: list[ServiceEnrolment]
    ) -> tuple[StoredApplication, ApplicationReceipt]:
        """Send the application, or the one of an earlier run; its receipt is on disk when this returns."""
        stored = self._resumed(enrolments)
        if stored is not None and isinstance(stored.receipt, ApplicationReceipt):
            return stored, stored.receipt
        if stored is not None:
            try:
                return self._send(client, stored)
            except Refused as refusal:
                if refusal.code is not Code.CLOCK_OFFSET:
                    raise
                # it was made long ago and had never arrived: a new one is due
        return self._send(client, self._new_application(enrolments, self._form(client)))

    def _form(self, client: AdmissionClient) -> ApplicationForm | None:
        """What was filled in on the web page, if there is a token for it."""
        token = self._options.form_token
        if not token:
            return None
        form = self._patience.insist(lambda: client.form(token))
        if form.member != self._options.member:
            raise LocalFault(
                Code.TOKEN_UNKNOWN,
                "The one-time token is for another member id; apply with that one",
                found=form.member,
            )
        return form

    def _resumed(self, enrolments: list[ServiceEnrolment]) -> StoredApplication | None:
        """The application of an earlier run.

        Raises:
            LocalFault: ``bad_enrolment`` if it is for something else than what is asked for now.
        """
        stored = self._node.load_application()
        if stored is None:
            return None
        application = decode(bytes(stored.application), Application, max_bytes=MAX_APPLICATION_BYTES)
        options = self._options
        before = (stored.url, stored.ca_fingerprint, application.member, application.kind == "replace")
        if before != (options.url, options.ca_fingerprint, options.member, options.replace):
            raise LocalFault(
                Code.BAD_ENROLMENT,
                "Another application of this node is under way; go on with it, or delete secrets/application.json",
                url=stored.url,
                member=application.member,
            )
        if application.services != enrolments:
            raise LocalFault(
                Code.BAD_ENROLMENT,
                "The services have other keys than when you applied; restore them, or delete secrets/application.json "
                "and tell the operator",
                member=application.member,
            )
        return stored

    def _new_application(self, enrolments: list[ServiceEnrolment], form: ApplicationForm | None) -> StoredApplication:
        options = self._options
        fields = {"name": options.name, "contact": options.contact}
        about = options.about
        if form is not None:
            fields = {"name": options.name or form.name, "contact": options.contact or form.contact}
            about = form.about if isinstance(about, msgspec.UnsetType) else about
        try:
            application = msgspec.convert(
                {
                    "member": options.member,
                    "salt": new_salt(),
                    "sent_at_ms": self._clock.now_ms(),
                    "services": [msgspec.to_builtins(enrolment) for enrolment in enrolments],
                    **({"kind": "replace"} if options.replace else {}),
                    "accepts_visibility": True,
                    **({} if isinstance(about, msgspec.UnsetType) else {"about": msgspec.to_builtins(about)}),
                    **fields,
                },
                Application,
            )
        except msgspec.ValidationError as error:
            raise LocalFault(
                Code.BAD_ENROLMENT, "Name and contact have 1 to 200 printable characters each", **fields
            ) from error
        check_application(application)
        return StoredApplication(
            url=options.url,
            ca_fingerprint=options.ca_fingerprint,
            application=msgspec.Raw(encode(application)),
            form_token=options.form_token or msgspec.UNSET,
        )

    def _send(self, client: AdmissionClient, stored: StoredApplication) -> tuple[StoredApplication, ApplicationReceipt]:
        self._node.store_application(stored)
        token = "" if isinstance(stored.form_token, msgspec.UnsetType) else stored.form_token
        try:
            receipt = self._patience.insist(lambda: client.apply(bytes(stored.application), token))
        except Refused as refusal:
            self._node.forget_application()
            raise advised(refusal) from refusal
        stored = msgspec.structs.replace(stored, receipt=receipt)
        self._node.store_application(stored)
        self._say("The application was received.")
        return stored, receipt

    def _finish(self, state: ApplicationState, application: Application, info: ConsortiumInfo) -> None:
        if state.state == "rejected":
            self._node.forget_application()
            reason = "" if isinstance(state.reason, msgspec.UnsetType) else state.reason
            raise Refused(Code.BAD_ENROLMENT, "The application was rejected", reason=reason)
        if isinstance(state.grant, msgspec.UnsetType):
            raise PeerFault(Code.BAD_ENROLMENT, "The application is approved, but the server gave no certificates")
        check_grant(state.grant, application, info, self._options.ca_fingerprint)
        install(state.grant, as_pem(read_cas(state.grant.ca_pem.encode())), self._node, self._options.url)
        if application.kind == "replace":
            self._say_replaced(bytes(state.grant.genesis))
            return
        self._say(f"Approved. {application.member} is a member of {info.name}; the services start by themselves.")

    def _say_replaced(self, genesis: bytes) -> None:
        wait_s = load_genesis(genesis).parameters.recovery_wait_ms / 1000
        self._say(
            f"Approved. This node is {self._options.member}'s from now on; the services start by themselves. Lots and "
            f"orders are kept. It can trade when its new wallet takes effect, {_duration(wait_s)} after the block that "
            "announces it (unless the parameters were changed); `minervas members` shows when."
        )


def _duration(seconds: float) -> str:
    """A time in words: hours if it is some, else seconds."""
    return f"{seconds / 3600:.0f} hours" if seconds >= 7_200 else f"{seconds:.0f} seconds"
