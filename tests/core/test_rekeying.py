"""Asking for new keys: every key is proved to be held, the wallet signs for all, and what is replaced must be there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from minervas_core.errors import Code, MinervasError
from minervas_core.rekeying import (
    NewKey,
    NewKeyClaim,
    SignedRotation,
    check_key_claim,
    check_rotation_request,
    claim_key,
    rotation_fingerprint,
    rotation_of,
    sign_rotation,
)
from minervas_core.transactions import MeterKey
from tools.vectors.fixtures import HAENAM, KIM, NETWORK, member_keys
from tools.vectors.market_fixtures import gateway_key
from tools.vectors.rekeying_samples import WISH, signed_rotation

NEW = member_keys("haenam-farm-2")
GOOD = signed_rotation(HAENAM, 1_000)


def changed(**fields: Any) -> SignedRotation:
    """The request with other fields, signed by the wallet again."""
    return sign_rotation(msgspec.structs.replace(GOOD.request, **fields), HAENAM.wallet)


def claim(service: str = "ledger", name: str = "vote", **fields: Any) -> NewKeyClaim:
    values = {
        "wish": WISH,
        "member": HAENAM.member,
        "service": service,
        "name": name,
        "key": NEW.public.vote,
        "replaces": HAENAM.public.vote,
        **fields,
    }
    return claim_key(msgspec.convert(values, NewKey), NEW.vote)


def refusal(signed: SignedRotation, network: str = NETWORK) -> Code:
    with pytest.raises(MinervasError) as caught:
        check_rotation_request(signed, network)
    return caught.value.code


def test_a_request_asks_for_exactly_the_rotation_of_its_keys() -> None:
    check_rotation_request(GOOD, NETWORK)
    rotation = rotation_of(GOOD.request, HAENAM.public, {})
    assert rotation.keys.given() == {"wallet": NEW.public.wallet, "box": NEW.public.box, "vote": NEW.public.vote}
    assert (rotation.meters, rotation.consent) == ([], GOOD.request.consent)


def test_a_gateway_key_replaces_that_of_all_meters_which_have_it() -> None:
    old, new = gateway_key(HAENAM), gateway_key(KIM)
    given = {"service": "meter-gateway", "name": "gateway", "key": new.public, "replaces": old.public}
    claimed = claim_key(msgspec.structs.replace(claim().new, **given), new)
    asked = changed(keys=[claimed], expires_height=0, consent=msgspec.UNSET)
    check_rotation_request(asked, NETWORK)
    meters = {"roof": old.public, "shed": old.public, "barn": new.public}
    rotation = rotation_of(asked.request, HAENAM.public, meters)
    assert rotation.meters == [MeterKey(meter=name, gateway=new.public) for name in ("roof", "shed")]
    with pytest.raises(MinervasError) as caught:
        rotation_of(asked.request, HAENAM.public, {"barn": new.public})
    assert caught.value.code is Code.BAD_ENROLMENT


@pytest.mark.parametrize(
    ("signed", "code"),
    [
        (changed(network="77" * 16), Code.WRONG_NETWORK),
        (msgspec.structs.replace(GOOD, request=changed(sent_at_ms=1).request), Code.BAD_SIGNATURE),
        (changed(consent="ab" * 64), Code.BAD_CONSENT),
        (changed(expires_height=401), Code.BAD_CONSENT),
        (changed(keys=[claim()]), Code.BAD_CONSENT),
        (changed(salt="ab" * 16), Code.BAD_ENROLMENT),
        (changed(keys=[*GOOD.request.keys, claim()]), Code.BAD_ENROLMENT),
        (changed(keys=[claim(member="kim")], expires_height=0, consent=msgspec.UNSET), Code.BAD_ENROLMENT),
        (changed(keys=[claim(), claim("miner", "block")], expires_height=0, consent=msgspec.UNSET), Code.KEY_REUSED),
    ],
    ids=[
        "another network", "not signed", "no consent", "for another height", "a consent to nothing", "another wish",
        "one twice", "another member's", "one key twice",
    ],
)  # fmt: skip
def test_a_request_that_does_not_fit_together_is_refused(signed: SignedRotation, code: Code) -> None:
    assert refusal(signed) == code


def test_a_key_that_is_not_registered_is_not_replaced() -> None:
    asked = changed(keys=[claim(replaces=KIM.public.vote)], expires_height=0, consent=msgspec.UNSET)
    check_rotation_request(asked, NETWORK)
    with pytest.raises(MinervasError) as caught:
        rotation_of(asked.request, HAENAM.public, {})
    assert caught.value.code is Code.BAD_ENROLMENT


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (claim("miner", "vote"), Code.BAD_ENROLMENT),
        (claim("ledger", "gateway"), Code.BAD_ENROLMENT),
        (claim(key=KIM.public.vote), Code.BAD_SIGNATURE),
        (NewKeyClaim(new=claim().new), Code.BAD_SIGNATURE),
        (claim("peer", "box"), Code.BAD_KEY),
    ],
    ids=["another service's", "no gateway", "another's key", "no proof", "no box key"],
)
def test_a_key_is_made_by_its_service_and_proved_to_be_held(wrong: NewKeyClaim, code: Code) -> None:
    check_key_claim(claim())
    with pytest.raises(MinervasError) as caught:
        check_key_claim(wrong)
    assert caught.value.code is code


def test_the_fingerprint_changes_with_every_key() -> None:
    assert len(rotation_fingerprint(GOOD).split()) == 6
    assert rotation_fingerprint(GOOD) != rotation_fingerprint(changed(sent_at_ms=1))
