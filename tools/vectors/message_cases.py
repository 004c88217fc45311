"""One sample of every message, and of every document of the enrolment API, with its canonical bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import msgspec
from msgspec import UNSET

from minervas_core.encoding import Record, decode, encode, sha256_hex
from minervas_core.enrolment import (
    NO_NETWORK,
    Application,
    ServiceClaim,
    application_fingerprint,
    check_application,
    declared_meters,
    sign_claim,
)
from minervas_core.enrolment import PURPOSE as ENROLMENT_PURPOSE
from minervas_core.keys import SigningKey, signing_bytes
from minervas_core.market.records import MeterDeclaration
from minervas_core.messages import (
    MAX_HELLO_BYTES,
    GetBodies,
    GetHeaders,
    Headers,
    Hello,
    KeyRequest,
    Presence,
    Reply,
    SenderKeyMessage,
    TransactionBatch,
    check_signed,
    sender_key_info,
)
from tools.vectors.document_cases import changed, drop, put
from tools.vectors.enrolment_samples import ALL_SERVICES, application, detailed_application, service_enrolment
from tools.vectors.fixtures import HAENAM, KIM, MOKPO, NETWORK, OTHER_NETWORK, hello, seed, sender_key
from tools.vectors.format import Case, refused
from tools.vectors.market_fixtures import PANELS, gateway_key
from tools.vectors.samples import key_request, sender_key_message

MAX_BYTES = 65_536


def sample_cases(samples: Mapping[str, Record]) -> list[Case]:
    """Samples as cases."""
    cases: list[Case] = []
    for name, record in samples.items():
        data = encode(record)
        cases.append(
            {
                "name": name,
                "type": type(record).__name__,
                "value": json.loads(data),
                "canonical_hex": data.hex(),
                "sha256": sha256_hex(data),
            }
        )
    return cases


def refused_message_cases() -> list[Case]:
    """Messages that are refused by their form; each names the type that was expected."""
    cases: list[Case] = []
    for kind, of_kind in {**_request_faults(), **_other_faults()}.items():
        named = {f"{kind.__name__}: {name}": data for name, data in of_kind.items()}
        found = refused(named, _decoder(kind))
        cases += [case | {"type": kind.__name__, "max_bytes": MAX_BYTES} for case in found]
    return cases


def _request_faults() -> dict[type[Record], dict[str, bytes]]:
    hash_list = ["00" * 32]
    headers = encode(GetHeaders(locator=[], limit=1))
    return {
        GetHeaders: {
            "limit 0": changed(headers, put("limit", value=0)),
            "limit 501": changed(headers, put("limit", value=501)),
            "locator of 65 hashes": changed(headers, put("locator", value=hash_list * 65)),
            "hash in upper case": changed(headers, put("locator", value=["AB" * 32])),
            "limit missing": changed(headers, drop("limit")),
            "limit twice": b'{"limit":1,"limit":1,"locator":[]}',
            "keys not sorted": b'{"locator":[],"limit":1}',
            "limit is a float": b'{"limit":1.0,"locator":[]}',
            "limit is a string": b'{"limit":"1","locator":[]}',
            "limit is true": b'{"limit":true,"locator":[]}',
            "limit is null": b'{"limit":null,"locator":[]}',
            "message is a list": b"[]",
            "message is cut": b'{"limit":1',
        },
    }


def _other_faults() -> dict[type[Record], dict[str, bytes]]:
    hash_list = ["00" * 32]
    return {
        GetBodies: {
            "no hash": b'{"hashes":[]}',
            "129 hashes": changed(b'{"hashes":[]}', put("hashes", value=hash_list * 129)),
        },
        Headers: {"501 headers": changed(b'{"headers":[]}', put("headers", value=[0] * 501))},
        TransactionBatch: {
            "no transaction": b'{"transactions":[]}',
            "201 transactions": changed(b'{"transactions":[]}', put("transactions", value=[0] * 201)),
        },
        Reply: {
            "neither body nor failure": b"{}",
            "both body and failure": b'{"body":{},"failure":{"code":"not_ready","message":"x"}}',
        },
        Presence: {"unknown state": b'{"certificate_expires_ms":0,"sent_at_ms":0,"state":"away","version":"0.1.0"}'},
        Hello: {
            "17 membership transactions": changed(encode(hello(MOKPO)), put("body", "membership", value=[0] * 17)),
            "negative epoch": changed(encode(hello(MOKPO)), put("body", "epoch", value=-1)),
        },
        SenderKeyMessage: {
            "sealed key one byte short": changed(
                encode(sender_key_message()), put("body", "sealed", value="00" * 1_167)
            )
        },
    }


def _decoder(kind: type[Record]) -> Callable[[bytes], object]:
    return lambda data: decode(data, kind, max_bytes=MAX_BYTES)


# signed messages: Hello, sender key, key request


def signed_cases() -> list[Case]:
    """Signed messages with the bytes that were signed."""
    introduction, handed, asked = hello(MOKPO), sender_key_message(), key_request()
    return [
        _signed("Hello", introduction, "hello", introduction.body, MOKPO.wallet.public),
        _signed("SenderKeyMessage", handed, "sender_key", handed.body, MOKPO.wallet.public),
        _signed("KeyRequest", asked, "key_request", asked.body, HAENAM.wallet.public),
    ]


def _signed(name: str, message: Hello | SenderKeyMessage | KeyRequest, purpose: str, body: Record, wallet: str) -> Case:
    return {
        "name": name,
        "purpose": purpose,
        "canonical_hex": encode(message).hex(),
        "signed_bytes_hex": signing_bytes(purpose, NETWORK, encode(body)).hex(),
        "wallet": wallet,
        "signature": message.signature,
    }


def refused_signed_cases() -> list[Case]:
    """Hellos of a known wallet that are refused."""
    raw = encode(hello(MOKPO))
    faults = {
        "epoch changed": changed(raw, put("body", "epoch", value=2)),
        "key id changed": changed(raw, put("body", "key_id", value="00" * 16)),
        "member changed": changed(raw, put("body", "member", value="haenam-farm")),
        "membership dropped": changed(raw, put("body", "membership", value=[])),
        "made for another network": changed(raw, put("body", "network", value=OTHER_NETWORK)),
        "signed by another member": encode(hello(HAENAM)),
        "signature of a key request": changed(raw, put("signature", value=key_request().signature)),
        "larger than a Hello may be": raw + b" " * MAX_HELLO_BYTES,
    }
    return refused(faults, judge_hello)


def judge_hello(raw: bytes) -> None:
    """Check a Hello against Mokpo's wallet."""
    message = decode(raw, Hello, max_bytes=MAX_HELLO_BYTES)
    check_signed(message.body, message.signature, network=NETWORK, wallet=MOKPO.wallet.public)


def sender_key_cases() -> list[Case]:
    """A sealed sender key and what opens it."""
    message = sender_key_message()
    key = sender_key(MOKPO)
    return [
        {
            "name": "mokpo-univ to haenam-farm",
            "box_seed": seed("haenam-farm box", 96).hex(),
            "box_public": HAENAM.box.public,
            "info_hex": sender_key_info(message.body).hex(),
            "sealed_hex": message.body.sealed,
            "epoch": key.epoch,
            "key_id": key.key_id,
            "secret": key.secret.hex(),
        }
    ]


def refused_sender_key_cases() -> list[Case]:
    """Sealed sender keys that do not open."""
    body = sender_key_message().body
    sealed, info = bytes.fromhex(body.sealed), sender_key_info(body)
    other_info = {
        "other epoch": info.replace(b'"epoch":1', b'"epoch":2'),
        "other recipient": info.replace(b"haenam-farm", b"kim-house"),
        "other sender": info.replace(b"mokpo-univ", b"kim-house"),
        "other key id": info.replace(body.key_id.encode(), b"00" * 16),
        "other network": info.replace(NETWORK.encode(), OTHER_NETWORK.encode()),
    }
    changes = {
        "first byte changed": bytes([sealed[0] ^ 1]) + sealed[1:],
        "X25519 part changed": sealed[:1088] + bytes([sealed[1088] ^ 1]) + sealed[1089:],
        "X25519 part of small order": sealed[:1088] + bytes(32) + sealed[1120:],
        "tag changed": sealed[:-1] + bytes([sealed[-1] ^ 1]),
        "one byte short": sealed[:-1],
        "no bytes": b"",
    }
    opener, stranger = HAENAM.box, KIM.box
    cases = [
        case | {"info_hex": info.hex(), "box_seed": seed("haenam-farm box", 96).hex()}
        for case in refused(changes, lambda data: opener.open(data, info))
    ]
    for name, wrong in other_info.items():
        (case,) = refused({name: sealed}, lambda data, wrong=wrong: opener.open(data, wrong))  # type: ignore[misc]  # binds the loop's value
        cases.append(case | {"info_hex": wrong.hex(), "box_seed": seed("haenam-farm box", 96).hex()})
    (case,) = refused({"other box key": sealed}, lambda data: stranger.open(data, info))
    return [*cases, case | {"info_hex": info.hex(), "box_seed": seed("kim-house box", 96).hex()}]


# enrolment


def claim_cases() -> list[Case]:
    """Claims of a member's services, signed by the keys that they name."""
    cases: list[Case] = []
    for service in ALL_SERVICES:
        enrolled = service_enrolment(HAENAM, service)
        cases.append(
            {
                "name": f"{service} of {HAENAM.member}",
                "canonical_hex": encode(enrolled).hex(),
                "signed_bytes_hex": signing_bytes(ENROLMENT_PURPOSE, NO_NETWORK, encode(enrolled.claim)).hex(),
                "signing_key": enrolled.claim.signing_key,
                "signature": enrolled.signature,
            }
        )
    return cases


def application_cases() -> list[Case]:
    """An application with its fingerprint and the keys that it would register."""
    applications = {
        HAENAM.member: application(HAENAM),
        f"{HAENAM.member} with a meter-gateway": application(HAENAM, ALL_SERVICES),
        f"{HAENAM.member} with details": detailed_application(HAENAM),
    }
    return [
        {
            "name": name,
            "canonical_hex": encode(handed_in).hex(),
            "fingerprint": application_fingerprint(handed_in),
            "keys": json.loads(encode(check_application(handed_in))),
            "meters": [
                {"gateway": gateway, "meter": json.loads(encode(meter))}
                for gateway, meter in declared_meters(handed_in)
            ],
        }
        for name, handed_in in applications.items()
    ]


def judge_application(raw: bytes) -> None:
    """Check an application as admission does."""
    check_application(decode(raw, Application, max_bytes=MAX_BYTES))


def refused_application_cases() -> list[Case]:
    """Applications that are refused, each with one fault."""
    raw = encode(application(HAENAM))
    peer, miner = (json.loads(encode(service_enrolment(HAENAM, service))) for service in ("peer", "miner"))
    ledger = json.loads(encode(service_enrolment(HAENAM, "ledger")))
    foreign = json.loads(encode(service_enrolment(KIM, "ledger")))
    small_order = HAENAM.box.public[:-64] + "00" * 32
    second_form = HAENAM.box.public[:-2] + f"{int(HAENAM.box.public[-2:], 16) | 0x80:02x}"
    faults = {
        "reserved member id": changed(raw, put("member", value="consortium")),
        "no member id": changed(raw, put("member", value="Haenam")),
        "a service is missing": changed(raw, put("services", value=[ledger, miner])),
        "a service twice": changed(raw, put("services", value=[ledger, miner, peer, peer])),
        "a service of another member": changed(raw, put("services", value=[foreign, miner, peer])),
        "claim changed after signing": changed(raw, put("services", 0, "claim", "csr", value="x")),
        "unknown service": changed(raw, put("services", 0, "claim", "service", value="oracle")),
        "signing key of small order": changed(raw, put("services", 0, "claim", "signing_key", value="00" * 32)),
        "one key for two services": changed(raw, put("services", value=[_borrowed(), miner, peer])),
        "peer without a box key": changed(raw, put("services", 2, value=_resigned_peer(None))),
        "box key of small order": changed(raw, put("services", 2, value=_resigned_peer(small_order))),
        "box key in a second form": changed(raw, put("services", 2, value=_resigned_peer(second_form))),
        "box key that fails the modulus check": changed(
            raw, put("services", 2, value=_resigned_peer("ff" * 1_184 + HAENAM.box.public[-64:]))
        ),
        "name with an escape sequence": changed(raw, put("name", value="\x1b]0;x")),
        "name with a direction override": changed(raw, put("name", value="a\u202eb")),
        "name of 201 characters": changed(raw, put("name", value="a" * 201)),
        "unknown field": changed(raw, put("extra", value=1)),
        "visibility not accepted": changed(raw, put("accepts_visibility", value=False)),
        **_bad_details(encode(detailed_application(HAENAM))),
    }
    services = {
        "two meter-gateways": [ledger, _gateway(PANELS), _gateway(), miner, peer],
        "meter-gateway without a list of meters": [ledger, _gateway(None), miner, peer],
        "two meters of one id": [ledger, _gateway(PANELS, PANELS), miner, peer],
        "two channels of one name": [ledger, _gateway(_twins()), miner, peer],
        "65 meters": [ledger, _gateway(*[PANELS] * 65), miner, peer],
        "ledger with meters": [_metering_ledger(), miner, peer],
        "wallet as gateway key": [ledger, _gateway(PANELS, key=HAENAM.wallet), miner, peer],
    }
    faults |= {name: changed(raw, put("services", value=value)) for name, value in services.items()}
    return refused(faults, judge_application)


def _bad_details(raw: bytes) -> dict[str, bytes]:
    site, panel = ("about", "sites"), ("about", "panels", 0)
    one = json.loads(raw)["about"]["sites"][0]
    return {
        "two sites of one name": changed(raw, put(*site, value=[one, one])),
        "latitude beyond the pole": changed(raw, put(*site, 0, "latitude_e6", value=90_000_001)),
        "longitude as a fraction": changed(raw, put(*site, 0, "longitude_e6", value="126.5")),
        "a panel at no site": changed(raw, put(*panel, "site", value="elsewhere")),
        "a panel that hangs over": changed(raw, put(*panel, "tilt_tenths", value=901)),
        "azimuth of a full turn": changed(raw, put(*panel, "azimuth_tenths", value=3_600)),
        "17 sites": changed(raw, put(*site, value=[{**one, "name": f"s{number}"} for number in range(17)])),
    }


def _gateway(*meters: MeterDeclaration | None, key: SigningKey | None = None) -> object:
    """A meter-gateway's claim with these meters, properly signed; without a list for None."""
    signer = key or gateway_key(HAENAM)
    listed = [meter for meter in meters if meter is not None]
    claim = ServiceClaim(
        member=HAENAM.member,
        service="meter-gateway",
        csr="x",
        signing_key=signer.public,
        meters=UNSET if None in meters else listed,
    )
    return json.loads(encode(sign_claim(claim, signer)))


def _twins() -> MeterDeclaration:
    return msgspec.structs.replace(PANELS, channels=[PANELS.channels[0]] * 2)


def _metering_ledger() -> object:
    claim = msgspec.structs.replace(service_enrolment(HAENAM, "ledger").claim, meters=[PANELS])
    return json.loads(encode(sign_claim(claim, HAENAM.vote)))


def _borrowed() -> object:
    """The ledger's claim with the miner's key."""
    claim = ServiceClaim(member=HAENAM.member, service="ledger", csr="x", signing_key=HAENAM.block.public)
    return {
        "claim": json.loads(encode(claim)),
        "signature": HAENAM.block.sign(ENROLMENT_PURPOSE, NO_NETWORK, encode(claim)),
    }


def _resigned_peer(box: str | None) -> object:
    """The peer's claim with another box key, properly signed."""
    document = json.loads(encode(service_enrolment(HAENAM, "peer")))
    claim = dict(document["claim"])
    claim.pop("box")
    if box is not None:
        claim["box"] = box
    body = json.dumps(claim, sort_keys=True, separators=(",", ":")).encode()
    return {"claim": claim, "signature": HAENAM.wallet.sign(ENROLMENT_PURPOSE, NO_NETWORK, body)}
