"""One renewal with admission: made, kept, sent, checked, installed. An interrupted one is sent again as it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, InvalidEncoding, PeerFault
from minervas_core.genesis import Genesis
from minervas_core.keys import SigningKey
from minervas_core.renewal import (
    MAX_RENEWAL_BYTES,
    MAX_RENEWED_SERVICES,
    Renewal,
    RenewalAnswer,
    RenewalBody,
    ServiceRequest,
    sign_renewal,
)
from minervas_peer.join.admission_client import AdmissionClient
from minervas_peer.join.http_exchange import Refused
from minervas_peer.renewal.answer import check_answer, install_answer, install_membership, names_unknown_ca
from minervas_peer.renewal.node_files import read_address, read_authorities
from minervas_runtime.clock import Clock
from minervas_runtime.daemon_thread import run_in_daemon_thread
from minervas_runtime.key_files import write_atomic
from minervas_runtime.randomness import new_salt
from minervas_runtime.settings import NodePaths

RENEWAL_FILE = "renewal.json"
"""In the peer's private directory: the renewal under way."""


@dataclass(frozen=True, slots=True)
class RenewalExchange:
    """What a renewal is made with."""

    paths: NodePaths
    member: str
    genesis: Genesis
    wallet: Callable[[], SigningKey]
    """Ours, at the moment."""
    clock: Clock
    url: str = ""
    """Of admission; empty: as `minervas join` installed it."""
    ca_file: Path | None = None
    """By which admission's HTTPS certificate is judged; the consortium's CA if not given."""
    refresh_cas: Callable[[], Awaitable[None]] | None = None
    """Looks whether the consortium has other CAs than we know."""

    async def renew(self, requests: Mapping[str, str]) -> list[str]:
        """Get and install certificates.

        Args:
            requests: certificate requests (PEM) by service; of more than fit into a renewal, the first.

        Returns:
            The services that have new certificates.

        Raises:
            MinervasError: why it came to nothing; `Refused` if admission does not want to.
        """
        wanted = dict(sorted(requests.items())[:MAX_RENEWED_SERVICES])
        stored = self._stored(wanted)
        try:
            answer = await self._send(stored or self._new(wanted))
        except Refused as refusal:
            if refusal.code is Code.CLOCK_OFFSET and stored is not None:  # made long ago, and it never arrived
                answer = await self._send(self._new(wanted))
            else:
                self.forget()
                raise
        except PeerFault:  # perhaps its HTTPS certificate is by a CA that we do not know yet: better luck next time
            await self._refresh_cas()
            raise
        if names_unknown_ca(answer, read_authorities(self.paths.issued)):
            await self._refresh_cas()
        check_answer(answer, self.member, wanted, read_authorities(self.paths.issued))
        install_membership(answer, self.member, self.genesis, self.wallet(), self.paths.issued)
        install_answer(answer, self.paths.issued)
        self.forget()
        return sorted(wanted)

    async def _refresh_cas(self) -> None:
        if self.refresh_cas is not None:
            await self.refresh_cas()

    @property
    def is_under_way(self) -> bool:
        """Whether a renewal was begun and its answer has not been installed."""
        return self._file.exists()

    def forget(self) -> None:
        """The renewal under way is over."""
        self._file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return self.paths.data / RENEWAL_FILE

    def _stored(self, wanted: Mapping[str, str]) -> bytes | None:
        """The renewal under way, if it asks for just this."""
        try:
            raw = self._file.read_bytes()
            body = decode(raw, Renewal, max_bytes=MAX_RENEWAL_BYTES).body
        except (OSError, InvalidEncoding):
            return None
        return raw if {each.service: each.csr for each in body.requests} == wanted else None

    def _new(self, wanted: Mapping[str, str]) -> bytes:
        body = RenewalBody(
            network=self.genesis.network,
            member=self.member,
            requests=[ServiceRequest(service=service, csr=csr) for service, csr in wanted.items()],
            salt=new_salt(),
            sent_at_ms=self.clock.now_ms(),
        )
        raw = encode(sign_renewal(body, self.wallet()))
        write_atomic(self._file, raw)
        return raw

    async def _send(self, raw: bytes) -> RenewalAnswer:
        url = self.url or read_address(self.paths.issued)
        ca_pem = self.ca_file.read_bytes() if self.ca_file else read_authorities(self.paths.issued)

        def exchange() -> RenewalAnswer:
            with AdmissionClient(url, ca_pem) as client:
                return client.renew(raw)

        return await run_in_daemon_thread(exchange, "renewal")
