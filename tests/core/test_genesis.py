"""Genesis: signed by the key that it names, complete, and one byte string for one content."""

from __future__ import annotations

import hashlib
import json

import pytest

from minervas_core.encoding import encode
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import MAX_GENESIS_BYTES, Parameters, load_genesis, sign_genesis
from minervas_core.keys import signing_bytes
from tools.vectors.document_cases import changed, put
from tools.vectors.fixtures import AUTHORITY, GENESIS, GENESIS_BODY, MOKPO, NETWORK


def test_a_genesis_loads_as_it_was_signed() -> None:
    again = load_genesis(GENESIS.raw)
    assert again == GENESIS
    assert again.body == GENESIS_BODY
    assert again.network == NETWORK
    assert again.parameters == GENESIS_BODY.parameters


def test_the_hash_is_that_of_the_signed_bytes() -> None:
    """Block 1 names it as predecessor; the signature itself is not in it."""
    assert GENESIS.hash == hashlib.sha256(signing_bytes("genesis", NETWORK, encode(GENESIS_BODY))).hexdigest()


def test_signing_with_a_key_that_it_does_not_name_is_refused() -> None:
    with pytest.raises(LocalFault) as refused:
        sign_genesis(GENESIS_BODY, MOKPO.wallet)
    assert refused.value.code is Code.BAD_GENESIS


@pytest.mark.parametrize("name", Parameters.__struct_fields__)
def test_every_parameter_is_signed_and_required(name: str) -> None:
    value = getattr(GENESIS_BODY.parameters, name)
    with pytest.raises(LocalFault):
        load_genesis(
            changed(
                GENESIS.raw, put("body", "parameters", name, value=value - 1 if isinstance(value, int) else "auction")
            )
        )
    without = json.loads(GENESIS.raw)
    del without["body"]["parameters"][name]
    body = json.dumps(without["body"], sort_keys=True, separators=(",", ":")).encode()
    without["signature"] = AUTHORITY.sign("genesis", NETWORK, body)
    with pytest.raises(LocalFault):
        load_genesis(json.dumps(without, sort_keys=True, separators=(",", ":")).encode())


def test_an_overlong_file_is_refused() -> None:
    with pytest.raises(LocalFault) as refused:
        load_genesis(GENESIS.raw + b" " * MAX_GENESIS_BYTES)
    assert refused.value.code is Code.BAD_GENESIS


def test_a_search_is_given_up_after_four_intervals() -> None:
    assert Parameters().give_up_ms == 60_000


@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul", "America/Argentina/Buenos_Aires", "Etc/GMT+9"])
def test_time_zones_are_iana_names(zone: str) -> None:
    body = json.loads(encode(GENESIS_BODY)) | {"time_zone": zone}
    assert load_genesis(_signed(body)).body.time_zone == zone


@pytest.mark.parametrize("zone", ["", "/etc/localtime", "../x", "Asia//Seoul", "Asia/", "a b", "x" * 65])
def test_a_time_zone_is_no_path(zone: str) -> None:
    body = json.loads(encode(GENESIS_BODY)) | {"time_zone": zone}
    with pytest.raises(LocalFault):
        load_genesis(_signed(body))


def _signed(body: dict[str, object]) -> bytes:
    raw = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    document = {"body": body, "signature": AUTHORITY.sign("genesis", NETWORK, raw)}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
