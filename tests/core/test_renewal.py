"""A renewal is asked for by the member's current wallet, for this network, and for nothing else."""

from __future__ import annotations

import msgspec
import pytest

from minervas_core.encoding import decode, encode
from minervas_core.errors import Code, InvalidEncoding, InvalidEnrolment
from minervas_core.renewal import (
    MAX_RENEWAL_BYTES,
    MAX_RENEWED_SERVICES,
    Renewal,
    ServiceRequest,
    check_renewal,
    sign_renewal,
)
from tools.vectors.enrolment_samples import CSR, renewal_request
from tools.vectors.fixtures import HAENAM, KIM, NETWORK, OTHER_NETWORK

GOOD = renewal_request(HAENAM)
HAENAMS = frozenset({HAENAM.wallet.public})


def refusal(renewal: Renewal, network: str = NETWORK, wallets: frozenset[str] = HAENAMS) -> Code:
    with pytest.raises(InvalidEnrolment) as refused:
        check_renewal(renewal, network, wallets)
    return refused.value.code


def test_the_wallet_asks_for_all_services() -> None:
    check_renewal(GOOD, NETWORK, HAENAMS)
    assert [each.service for each in GOOD.body.requests] == ["ledger", "meter-gateway", "miner", "peer"]


def test_while_a_wallet_is_rotated_either_may_sign() -> None:
    both = frozenset({HAENAM.wallet.public, KIM.wallet.public})
    check_renewal(GOOD, NETWORK, both)
    check_renewal(sign_renewal(GOOD.body, KIM.wallet), NETWORK, both)


def test_nobody_else_asks_for_a_member() -> None:
    assert refusal(GOOD, wallets=frozenset({KIM.wallet.public})) is Code.BAD_SIGNATURE
    assert refusal(GOOD, wallets=frozenset()) is Code.BAD_SIGNATURE
    assert refusal(msgspec.structs.replace(GOOD, signature="00" * 64)) is Code.BAD_SIGNATURE


@pytest.mark.parametrize("change", [{"salt": "ff" * 16}, {"sent_at_ms": 1}, {"requests": GOOD.body.requests[:1]}])
def test_every_field_is_signed(change: dict[str, object]) -> None:
    changed = msgspec.structs.replace(GOOD, body=msgspec.structs.replace(GOOD.body, **change))
    assert refusal(changed) is Code.BAD_SIGNATURE


def test_a_renewal_is_for_one_network() -> None:
    assert refusal(GOOD, network=OTHER_NETWORK) is Code.WRONG_NETWORK


@pytest.mark.parametrize("purpose", ["enrolment", "hello", "transaction"])
def test_a_signature_for_another_purpose_renews_nothing(purpose: str) -> None:
    signature = HAENAM.wallet.sign(purpose, NETWORK, encode(GOOD.body))
    assert refusal(msgspec.structs.replace(GOOD, signature=signature)) is Code.BAD_SIGNATURE


def test_each_service_stands_once_and_in_order() -> None:
    first, second, *_ = GOOD.body.requests
    for requests in ([first, first], [second, first]):
        body = msgspec.structs.replace(GOOD.body, requests=requests)
        assert refusal(sign_renewal(body, HAENAM.wallet)) is Code.BAD_ENROLMENT


@pytest.mark.parametrize("count", [0, MAX_RENEWED_SERVICES + 1])
def test_a_renewal_has_at_least_one_service_and_not_too_many(count: int) -> None:
    requests = [ServiceRequest(service=f"meter-gateway-{number}", csr=CSR) for number in range(1, count + 1)]
    raw = encode(sign_renewal(msgspec.structs.replace(GOOD.body, requests=requests), HAENAM.wallet))
    with pytest.raises(InvalidEncoding) as refused:
        decode(raw, Renewal, max_bytes=MAX_RENEWAL_BYTES)
    assert refused.value.code is Code.WRONG_SHAPE
