"""The steps of `minervas keys rotate`, each of which can be interrupted and is found again by the next run.

1. Tell the services which keys to make (a file in the enrol directory), and wait for what they hand in.
2. Let the peer make its own, put the request together and sign it with the wallet; write it to the node's secrets.
3. Send it to admission, write the receipt beside it, and wait for the operator's decision.
4. Install the membership transactions. Each service takes its new key when the chain has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from minervas_core.encoding import Record, Salt, decode, encode
from minervas_core.enrolment import ApplicationReceipt, ApplicationState
from minervas_core.errors import Code, InvalidEncoding, LocalFault, PeerFault, TransientFault
from minervas_core.genesis import load_genesis
from minervas_core.rekeying import (
    MAX_ROTATION_BYTES,
    OWNERS,
    KeyWish,
    NewKeyClaim,
    SignedRotation,
    new_keys,
    rotation_fingerprint,
)
from minervas_core.transactions import ServiceKeys
from minervas_peer.api_client import ApiClient
from minervas_peer.join.admission_client import AdmissionClient, check_clock
from minervas_peer.join.http_exchange import Refused
from minervas_peer.join.install import install_membership
from minervas_peer.join.node_directory import NodeDirectory
from minervas_peer.membership_proof import prove_membership
from minervas_peer.renewal.node_files import read_address, read_authorities
from minervas_runtime.clock import Clock
from minervas_runtime.key_files import read_secret, write_atomic
from minervas_runtime.key_ring import WISH, RotationFiles
from minervas_runtime.randomness import new_salt

ROTATION_FILE = "rotation.json"
POLL_S = 1.0


class StoredRotation(Record, frozen=True, kw_only=True):
    """A rotation under way."""

    wish: Salt
    keys: list[str]
    signed: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Canonical bytes as they are (or were) sent."""
    receipt: ApplicationReceipt | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class RotateOptions:
    """What the node's operator said."""

    keys: tuple[str, ...]
    """``<service>.<name>`` of each key."""
    timeout_s: float | None = None
    """How long to wait in all; for ever if not given."""


class RotateKeys:
    """One run of `minervas keys rotate`."""

    def __init__(
        self,
        options: RotateOptions,
        node: NodeDirectory,
        api: ApiClient,
        *,
        say: Callable[[str], None],
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._options = options
        self._node = node
        self._api = api
        self._files = RotationFiles(node.enrol)
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._deadline_s = None if options.timeout_s is None else time.monotonic() + options.timeout_s

    def run(self) -> None:
        """Ask for new keys (or go on with that), wait for the decision, install.

        Raises:
            MinervasError: one clear line for everything that can go wrong; the next run goes on where this one ended.
        """
        if not self._node.is_joined:
            raise LocalFault(
                Code.NOT_READY, "This node has not joined a consortium; run `minervas join`", node=str(self._node.path)
            )
        stored = self._resumed() or self._begun()
        with AdmissionClient(read_address(self._node.issued), read_authorities(self._node.issued)) as client:
            check_clock(self._clock.now_ms(), client.consortium().time_ms)
            receipt = self._sent(client, stored)
            self._say(f"Fingerprint to compare with the operator by phone: {receipt.fingerprint}")
            state = self._wait_for_decision(client, receipt)
        self._finish(state)

    def _begun(self) -> StoredRotation:
        stored = StoredRotation(wish=new_salt(), keys=list(self._options.keys))
        self._store(stored)
        return stored

    def _resumed(self) -> StoredRotation | None:
        """The rotation of an earlier run.

        Raises:
            LocalFault: ``bad_enrolment`` if it is of other keys; ``bad_key_file``.
        """
        file = self._node.secrets / ROTATION_FILE
        if not file.exists():
            return None
        try:
            stored = decode(read_secret(file), StoredRotation, max_bytes=2 * MAX_ROTATION_BYTES)
        except InvalidEncoding as error:
            raise LocalFault(
                Code.BAD_KEY_FILE, "The file is damaged; delete it to begin anew", file=str(file)
            ) from error
        if sorted(stored.keys) != sorted(self._options.keys):
            raise LocalFault(
                Code.BAD_ENROLMENT,
                "A rotation of other keys is under way; go on with it, or delete secrets/rotation.json",
                keys=", ".join(stored.keys),
            )
        return stored

    def _store(self, stored: StoredRotation) -> None:
        write_atomic(self._node.secrets / ROTATION_FILE, encode(stored))

    def _forget(self) -> None:
        self._files.forget()
        (self._node.secrets / ROTATION_FILE).unlink(missing_ok=True)

    def _sent(self, client: AdmissionClient, stored: StoredRotation) -> ApplicationReceipt:
        """Send the request, unless that was done; its receipt is on disk when this returns."""
        if isinstance(stored.receipt, ApplicationReceipt):
            return stored.receipt
        signed = self._signed(stored)  # anew in every run: admission wants it fresh
        stored = msgspec.structs.replace(stored, signed=msgspec.Raw(signed))
        self._store(stored)
        try:
            receipt = client.rotate(signed)
        except Refused:
            self._forget()
            raise
        if receipt.fingerprint != rotation_fingerprint(decode(signed, SignedRotation, max_bytes=MAX_ROTATION_BYTES)):
            raise PeerFault(Code.BAD_ENROLMENT, "The server received another request than ours; tell the operator")
        self._store(msgspec.structs.replace(stored, receipt=receipt))
        self._say("The request was received.")
        return receipt

    def _signed(self, stored: StoredRotation) -> bytes:
        """The request with everything that the services hand in, signed by the peer."""
        names = {key: key.rpartition(".")[2] for key in stored.keys}
        own = [name for name in names.values() if OWNERS.get(name) == "peer"]
        others = [key for key, name in names.items() if OWNERS.get(name) != "peer"]
        claims = self._claims(stored.wish, others) if others else []
        body = {"wish": stored.wish, "own": own, "claims": [encode(claim).decode() for claim in claims]}
        return str(self._api.post("/v1/rotations", body)["signed"]).encode()

    def _claims(self, wish: str, keys: Sequence[str]) -> list[NewKeyClaim]:
        self._files.write(WISH, KeyWish(wish=wish, keys=list(keys)))
        said: list[str] = []
        while missing := [key for key in keys if self._files.claim(key, wish) is None]:
            if missing != said:
                self._say(f"Waiting for the services to make their keys: {', '.join(missing)}")
                said = missing
            self._pause(f"services have not made their keys: {', '.join(missing)}")
        return [claim for key in keys if (claim := self._files.claim(key, wish)) is not None]

    def _wait_for_decision(self, client: AdmissionClient, receipt: ApplicationReceipt) -> ApplicationState:
        said = ""
        while True:
            try:
                state = client.state(receipt)
                if state.state in ("approved", "rejected"):
                    return state
                now: str = state.state
            except TransientFault as error:
                now = f"unknown ({error.message}; trying on)"
            if now != said:
                self._say(f"State: {now}")
                said = now
            self._pause(f"the request is not decided yet: {now}")

    def _finish(self, state: ApplicationState) -> None:
        if state.state == "rejected" or isinstance(state.grant, msgspec.UnsetType):
            self._forget()
            reason = "" if isinstance(state.reason, msgspec.UnsetType) else state.reason
            raise Refused(Code.BAD_ENROLMENT, "The request was rejected", reason=reason)
        genesis = load_genesis((self._node.issued / "genesis.json").read_bytes())
        try:
            keys = prove_membership(state.member, [bytes(raw) for raw in state.grant.membership], genesis)
        except PeerFault as error:
            raise PeerFault(
                Code.BAD_ENROLMENT,
                "The granted membership is not signed by the consortium's authority; nothing was installed",
                reason=str(error),
            ) from error
        self._check_ours(keys)
        install_membership(state.grant, self._node)
        self._forget()
        self._say("Approved. Each service takes its new key when the chain has it; `minervas keys` shows that.")

    def _check_ours(self, granted: ServiceKeys) -> None:
        """Check that the authority signed for the keys that we asked for.

        Raises:
            PeerFault: ``bad_enrolment``.
        """
        stored = self._resumed()
        if stored is None or isinstance(stored.signed, msgspec.UnsetType):
            return
        asked = decode(bytes(stored.signed), SignedRotation, max_bytes=MAX_ROTATION_BYTES).request
        for name, key in new_keys(asked).given().items():
            if getattr(granted, name) != key:
                raise PeerFault(
                    Code.BAD_ENROLMENT,
                    "The granted membership has other keys than those that we asked for; tell the operator",
                    key=name,
                )

    def _pause(self, waiting_for: str) -> None:
        """Sleep a little.

        Raises:
            TransientFault: ``timeout`` if the time given with --timeout is over.
        """
        if self._deadline_s is not None and time.monotonic() + POLL_S > self._deadline_s:
            raise TransientFault(
                Code.TIMEOUT, "Stopped waiting; run the same command again to go on", waiting_for=waiting_for
            )
        self._sleep(POLL_S)
