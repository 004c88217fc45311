"""How a node learns of a new CA: from whoever answers, and only if the consortium's authority has signed it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import Raw

from minervas_core.ca_bundle import CaBundle, sign_ca_bundle
from minervas_core.encoding import encode
from minervas_core.errors import Code, MinervasError, TransientFault
from minervas_core.keys import SigningKey
from minervas_peer.authority_keys import AuthorityKeys
from minervas_peer.join.ca_bundle import (
    CaBundleKeeper,
    install_ca_bundle,
    installed_bundle,
    refresh_ca_bundle,
    trusted_at_start,
)
from minervas_runtime.tls_diagnosis import client_context
from tests.support.applicant import Applicant
from tests.support.fake_admission import FakeAdmission
from tests.support.peer import Consortium, replace_authority, seed
from tests.support.pki import Authority
from tests.support.wait import wait_until_async

CONSORTIUM = Consortium()
GENESIS = CONSORTIUM.genesis
OLD = CONSORTIUM.authority
NEW = SigningKey(seed("the next authority"))
GRANTED = AuthorityKeys(GENESIS).trusted


@dataclass
class Setting:
    """A node's issued files, and two CAs."""

    issued: Path
    first: Authority
    second: Authority

    def bundle(
        self,
        number: int,
        *,
        by: SigningKey = OLD,
        network: str = GENESIS.network,
        changes: tuple[bytes, ...] = (),
        certificates: list[str] | None = None,
    ) -> bytes:
        """A bundle with both CAs."""
        both = [self.first.ca_pem.decode(), self.second.ca_pem.decode()]
        body = CaBundle(network=network, number=number, certificates=certificates or both)
        return encode(sign_ca_bundle(body, by, [Raw(raw) for raw in changes]))

    def install(self, raw: bytes, trusted: frozenset[str] = GRANTED) -> bool:
        return install_ca_bundle(raw, self.issued, GENESIS, trusted)

    def refused(self, raw: bytes, trusted: frozenset[str] = GRANTED) -> Code:
        """The code under which a bundle is refused, which has to leave everything as it was."""
        before = {file.name: file.read_bytes() for file in self.issued.iterdir()}
        with pytest.raises(MinervasError) as caught:
            self.install(raw, trusted)
        assert {file.name: file.read_bytes() for file in self.issued.iterdir()} == before
        return caught.value.code


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    first, second = Authority(tmp_path / "first", name="First CA"), Authority(tmp_path / "second", name="Second CA")
    issued = tmp_path / "issued"
    issued.mkdir()
    (issued / "ca.crt").write_bytes(first.ca_pem)
    return Setting(issued, first, second)


def test_a_bundle_becomes_what_services_trust(setting: Setting) -> None:
    assert setting.install(setting.bundle(2))
    assert (setting.issued / "ca.crt").read_bytes() == setting.first.ca_pem + setting.second.ca_pem
    assert len(client_context(setting.issued / "ca.crt", None, None).get_ca_certs()) == 2
    assert not setting.install(setting.bundle(2)), "the same again changes nothing"
    assert setting.install(setting.bundle(3, certificates=[setting.second.ca_pem.decode()]))
    assert (setting.issued / "ca.crt").read_bytes() == setting.second.ca_pem
    assert {file.name: file.stat().st_mode & 0o777 for file in setting.issued.iterdir()} == {
        "ca.crt": 0o644,
        "ca-bundle.json": 0o644,
    }


def test_a_crash_between_the_two_files_is_mended_by_the_next_question(setting: Setting) -> None:
    setting.install(setting.bundle(2))
    (setting.issued / "ca.crt").write_bytes(setting.first.ca_pem)
    assert setting.install(setting.bundle(2))
    (setting.issued / "ca-bundle.json").unlink()
    assert not setting.install(setting.bundle(2))
    assert installed_bundle(setting.issued) is not None


def test_what_the_authority_did_not_sign_for_us_or_has_replaced_is_refused(setting: Setting) -> None:
    setting.install(setting.bundle(5))
    assert setting.refused(setting.bundle(4)) == Code.CA_BUNDLE_OLD
    assert setting.refused(setting.bundle(6, by=NEW)) == Code.BAD_SIGNATURE
    assert setting.refused(setting.bundle(6, network="77" * 16)) == Code.WRONG_NETWORK
    assert setting.refused(b"<html>") == Code.NOT_JSON
    forged = json.loads(setting.bundle(6, by=NEW)) | {"signer": OLD.public}
    assert setting.refused(json.dumps(forged, sort_keys=True, separators=(",", ":")).encode()) == Code.BAD_SIGNATURE


def test_only_certificates_that_may_sign_others_are_installed(setting: Setting, tmp_path: Path) -> None:
    leaf = setting.first.issue("acme.peer").cert_file.read_text()
    for certificates in ([leaf], ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"], [
        (setting.first.ca_pem + setting.second.ca_pem).decode()
    ]):  # fmt: skip
        assert setting.refused(setting.bundle(2, certificates=certificates)) == Code.BAD_ENROLMENT


def test_a_replaced_authority_is_believed_if_the_old_key_agreed(setting: Setting) -> None:
    change = replace_authority(GENESIS, OLD, NEW)
    assert setting.install(setting.bundle(2, by=NEW, changes=(change,)))


def test_a_replacement_without_the_old_key_is_believed_only_when_the_chain_has_it(setting: Setting) -> None:
    recovery = replace_authority(GENESIS, OLD, NEW, approving=SigningKey(seed("a wallet")))
    raw = setting.bundle(2, by=NEW, changes=(recovery,))
    assert setting.refused(raw) == Code.BAD_SIGNATURE
    keys = AuthorityKeys(GENESIS)
    keys.tell_tip(NEW.public)
    assert setting.install(raw, keys.trusted)


def test_a_key_that_was_replaced_signs_no_bundle_any_more_even_before_the_chain_is_asked(setting: Setting) -> None:
    """The old key may have been replaced because it was stolen."""
    setting.install(setting.bundle(2, by=NEW, changes=(replace_authority(GENESIS, OLD, NEW),)))
    at_start = trusted_at_start(setting.issued, GRANTED)
    assert setting.refused(setting.bundle(9, by=OLD), at_start) == Code.BAD_SIGNATURE
    assert not setting.install(setting.bundle(3, by=NEW), at_start)
    (setting.issued / "ca-bundle.json").write_text("damaged")
    assert trusted_at_start(setting.issued, GRANTED) == GRANTED


def test_the_server_need_not_be_by_a_ca_that_we_know(
    setting: Setting, admission: FakeAdmission, tmp_path: Path
) -> None:
    """A node that was off during the whole rollover knows neither the new CA nor anybody who vouches for it."""
    admission.ca_bundle = setting.bundle(7)
    with admission.serve(authority=Authority(tmp_path / "unknown"), host="elsewhere.example") as url:
        assert refresh_ca_bundle(url, setting.issued, GENESIS, GRANTED)
    with pytest.raises(TransientFault):
        refresh_ca_bundle(url, setting.issued, GENESIS, GRANTED)


async def test_a_peer_asks_at_its_start_and_again_from_time_to_time(
    setting: Setting, admission: FakeAdmission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minervas_peer.join.ca_bundle.REFRESH_S", 0.01)
    monkeypatch.setattr("minervas_peer.join.ca_bundle.RETRY_S", 0.01)
    with admission.serve() as url:
        keeper = CaBundleKeeper(url, setting.issued, GENESIS)
        admission.ca_bundle = b"out of order"
        await keeper.refresh(GRANTED)
        assert installed_bundle(setting.issued) is None, "a failure does not keep the peer from starting"
        running = asyncio.create_task(keeper.run(lambda: GRANTED))
        for number in (2, 3):
            admission.ca_bundle = setting.bundle(number)
            await wait_until_async(lambda wanted=number: number_of(setting) == wanted)  # type: ignore[misc] # binds
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def number_of(setting: Setting) -> int:
    installed = installed_bundle(setting.issued)
    return installed.bundle.number if installed else 0


def test_who_joins_during_a_rollover_trusts_both_cas_whichever_fingerprint_was_told(
    applicant: Applicant, admission: FakeAdmission, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", name="The other CA")
    both = other.ca_pem + admission.authority.ca_pem
    admission.served_ca = both
    admission.state = "approved"
    admission.change_grant = lambda grant: type(grant)(
        **{name: getattr(grant, name) for name in grant.__struct_fields__} | {"ca_pem": both.decode()}
    )
    with admission.serve():
        applicant.join()
    assert (applicant.node / "issued" / "ca.crt").read_bytes() == both
