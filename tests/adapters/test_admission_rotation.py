"""Rotation of keys in admission: what a member may ask for, what the operator sees, and what the authority signs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import msgspec
import pytest

from minervas_admission.commands.show import show_pending
from minervas_core import box
from minervas_core.box import BoxKey
from minervas_core.encoding import decode, encode
from minervas_core.enrolment import ApplicationReceipt
from minervas_core.errors import Code, LocalFault, TransientFault
from minervas_core.genesis import load_genesis
from minervas_core.keys import SigningKey
from minervas_core.membership import apply_membership, check_membership, check_membership_alone, membership_of
from minervas_core.rekeying import (
    NewKey,
    NewKeyClaim,
    RotationRequest,
    SignedRotation,
    claim_key,
    rotation_fingerprint,
    sign_rotation,
)
from minervas_core.state import ChainState
from minervas_core.transactions import Rotate, WalletConsent, decode_transaction, sign_consent
from minervas_runtime.clock import SystemClock
from tests.support.admission import AdmissionHome, Applicant, grant_of
from tests.support.admission_crashes import crash_in, finish, transactions
from tests.support.fix_admission import AdmissionWithBroker

WISH = "ab" * 16
EXPIRES = 60


@dataclass
class Asker:
    """A member with new keys at hand."""

    home: AdmissionHome
    applicant: Applicant

    def __post_init__(self) -> None:
        self.wallet = SigningKey(os.urandom(32))
        self.vote = SigningKey(os.urandom(32))
        self.box = BoxKey(os.urandom(box.SEED_BYTES))
        self.network = load_genesis(self.home.data.genesis.read_bytes()).network

    def claim(self, name: str, **changes: str) -> NewKeyClaim:
        """The claim of a new key."""
        service = {"wallet": "peer", "box": "peer", "vote": "ledger"}[name]
        made = {"wallet": self.wallet, "vote": self.vote, "box": None}[name]
        old = {"box": self.applicant.box.public}.get(name) or self.applicant.signing[service].public
        fields = {
            "wish": WISH,
            "member": self.applicant.member,
            "service": service,
            "name": name,
            "key": made.public if made else self.box.public,
            "replaces": old,
            **changes,
        }
        return claim_key(msgspec.convert(fields, NewKey), made)

    def request(self, *names: str, **changes: object) -> SignedRotation:
        """A request for some keys; single fields can be changed."""
        signer = self.applicant.signing["peer"]
        consent = WalletConsent(member=self.applicant.member, wallet=self.wallet.public, expires_height=EXPIRES)
        given = {"expires_height": EXPIRES, "consent": sign_consent(consent, self.network, signer)}
        fields = {
            "network": self.network,
            "member": self.applicant.member,
            "salt": WISH,
            "sent_at_ms": SystemClock().now_ms(),
            "wallet": signer.public,
            "keys": [msgspec.to_builtins(self.claim(name)) for name in names],
            **(given if "wallet" in names else {}),
            **changes,
        }
        return sign_rotation(msgspec.convert(fields, RotationRequest), signer)

    async def ask(self, signed: SignedRotation) -> httpx.Response:
        async with self.home.http() as client:
            return await client.post("/v1/rotations", content=encode(signed))

    async def accepted(self, signed: SignedRotation) -> ApplicationReceipt:
        answer = await self.ask(signed)
        assert answer.status_code == 201, answer.text
        return decode(answer.content, ApplicationReceipt, max_bytes=4_096)


@pytest.fixture
async def asker(admission_and_broker: AdmissionWithBroker) -> AsyncIterator[Asker]:
    """A member of a running admission."""
    home, applicant = admission_and_broker.home, Applicant("alpha")
    async with home.running():
        await home.admit(applicant)
        yield Asker(home, applicant)


async def test_what_is_signed_replaces_exactly_the_keys_that_were_asked_for(
    asker: Asker, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = asker.request("wallet", "box", "vote")
    receipt = await asker.accepted(signed)
    assert (await asker.ask(signed)).status_code == 200
    capsys.readouterr()
    await show_pending(asker.home.settings, as_json=True)
    [shown] = msgspec.json.decode(capsys.readouterr().out)
    assert (shown["kind"], shown["member"], shown["fingerprint"]) == ("rotate", "alpha", rotation_fingerprint(signed))
    await asker.home.decisions().approve("alpha", confirmed=True)
    grant = grant_of(await asker.home.state(receipt))
    genesis = load_genesis(bytes(grant.genesis))
    state = ChainState.fresh(genesis)
    for height, raw in enumerate(grant.membership, 1):
        transaction = decode_transaction(bytes(raw))
        check_membership_alone(transaction, genesis)
        check_membership(state, transaction)
        apply_membership(state, transaction, height)
    record = state.roster.active("alpha")
    assert record is not None
    assert (record.keys.wallet, record.keys.vote) == (asker.wallet.public, asker.vote.public)
    assert (record.keys.box, record.keys.block) == (asker.box.public, asker.applicant.signing["miner"].public)
    last = decode_transaction(bytes(grant.membership[-1]))
    assert isinstance(membership_of(last).change, Rotate)
    assert last.body.expires_height == EXPIRES


async def test_a_request_that_is_not_the_members_own_is_refused(asker: Asker) -> None:
    async def code(signed: SignedRotation) -> str:
        return str((await asker.ask(signed)).json()["code"])

    stranger = Asker(asker.home, Applicant("alpha"))
    other = asker.claim("vote", replaces=asker.vote.public)
    assert await code(stranger.request("vote")) == Code.BAD_SIGNATURE
    assert await code(Asker(asker.home, Applicant("nobody")).request("vote")) == Code.MEMBER_UNKNOWN
    assert await code(asker.request("vote", keys=[msgspec.to_builtins(other)])) == Code.BAD_ENROLMENT
    assert await code(asker.request("vote", network="77" * 16)) == Code.WRONG_NETWORK
    assert await code(asker.request("vote", sent_at_ms=1)) == Code.CLOCK_OFFSET
    assert await code(asker.request("wallet", consent="ab" * 64)) == Code.BAD_CONSENT
    unproven = msgspec.structs.replace(asker.claim("vote"), proof="ab" * 64)
    assert await code(asker.request("vote", keys=[msgspec.to_builtins(unproven)])) == Code.BAD_SIGNATURE
    stolen = asker.claim("vote", key=asker.applicant.signing["miner"].public)
    assert await code(asker.request("vote", keys=[msgspec.to_builtins(stolen)])) == Code.BAD_SIGNATURE
    assert transactions(asker.home) == [(0, "admit")]


async def test_one_request_of_a_member_waits_at_a_time_and_a_rejected_one_frees_its_keys(asker: Asker) -> None:
    receipt = await asker.accepted(asker.request("vote"))
    answer = await asker.ask(asker.request("box"))
    assert answer.json()["code"] == Code.MEMBER_EXISTS
    await asker.home.decisions().reject("alpha", "not now")
    assert (await asker.home.state(receipt)).state == "rejected"
    await asker.accepted(asker.request("vote", sent_at_ms=SystemClock().now_ms() + 1))


async def test_a_consent_that_has_expired_meanwhile_is_not_used(asker: Asker) -> None:
    receipt = await asker.accepted(asker.request("wallet"))
    asker.home.as_owner("UPDATE operator_tip SET height = %s", EXPIRES)
    with pytest.raises(LocalFault) as refused:
        await asker.home.decisions().approve("alpha", confirmed=True)
    assert refused.value.code == Code.BAD_CONSENT
    state = await asker.home.state(receipt)
    assert state.state == "rejected"
    assert "consent" in str(state.reason)
    assert transactions(asker.home) == [(0, "admit")]


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
async def test_a_rotation_is_finished_after_a_crash(
    admission_and_broker: AdmissionWithBroker, after_effect: bool
) -> None:
    home, applicant = admission_and_broker.home, Applicant("alpha")
    async with home.running():
        await home.admit(applicant)
        asker = Asker(home, applicant)
        await asker.accepted(asker.request("vote"))
    with pytest.raises(TransientFault):
        await home.decisions().approve("alpha", confirmed=True)
    await crash_in(admission_and_broker, "rotate", "transaction", after_effect=after_effect)
    await finish(home)
    assert transactions(home) == [(0, "admit"), (1, "rotate")]
    assert home.as_owner("SELECT state FROM applications WHERE kind = 'rotate'") == [("approved",)]
