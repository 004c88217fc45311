"""A service hands in its claim, waits, and takes only what was issued to its own name and key."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from minervas_core.box import SEED_BYTES, BoxKey
from minervas_core.encoding import decode, encode
from minervas_core.enrolment import ServiceEnrolment, check_enrolment
from minervas_core.errors import Code, LocalFault
from minervas_core.genesis import GenesisBody, Parameters, sign_genesis
from minervas_core.keys import SigningKey
from minervas_runtime.enrolment import load_issued, wait_for_issue, write_enrolment
from minervas_runtime.key_files import load_or_create_tls_key, write_atomic
from minervas_runtime.settings import BrokerSettings, NodePaths
from tests.support.pki import Authority
from tests.support.wait import HANG_S, wait_until_async

MEMBER = "mokpo-univ"
NODE_KEY = bytes(range(32))
GENESIS = sign_genesis(
    GenesisBody(
        format=1,
        network="ab" * 16,
        name="Test",
        authority=SigningKey(b"a" * 32).public,
        currency="KRW",
        time_zone="Asia/Seoul",
        created_ms=1,
        parameters=Parameters(),
    ),
    SigningKey(b"a" * 32),
)


def paths(tmp_path: Path) -> NodePaths:
    return NodePaths(
        data=tmp_path / "miner", enrol=tmp_path / "enrol", issued=tmp_path / "issued", secrets=tmp_path / "secrets"
    )


def claimed(file: Path) -> ServiceEnrolment:
    return decode(file.read_bytes(), ServiceEnrolment, max_bytes=65_536)


def issue(node: NodePaths, service: str = "miner", **changes: str) -> None:
    """Do what `minervas join` does after approval."""
    authority = Authority(node.issued.parent / "ca")
    key = load_or_create_tls_key(node.data / "tls.key")
    names = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, changes.get("name", f"{MEMBER}.{service}"))])
    request = x509.CertificateSigningRequestBuilder().subject_name(names)
    pem = authority.sign_server(request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    write_atomic(node.issued / "certs" / f"{service}.crt", pem, mode=0o644)
    write_atomic(node.issued / "ca.crt", authority.ca_pem, mode=0o644)
    write_atomic(node.issued / "genesis.json", GENESIS.raw, mode=0o644)
    write_atomic(node.issued / "membership.json", b'[{"body":1},{"body":2}]', mode=0o644)
    write_atomic(node.issued / "broker.json", json.dumps({"host": "broker.example", "port": 8883}).encode(), mode=0o644)
    write_atomic(node.secrets / "node.key", NODE_KEY.hex().encode())
    write_atomic(node.issued / "ready", b"", mode=0o644)


def test_the_claim_is_signed_and_only_public_halves_are_in_it(tmp_path: Path) -> None:
    node = paths(tmp_path)
    wallet, box = SigningKey(b"w" * 32), BoxKey(b"b" * SEED_BYTES)
    write_enrolment(node, MEMBER, "peer", wallet, box_public=box.public)
    file = node.enrol / "peer.json"
    enrolment = claimed(file)
    check_enrolment(enrolment)
    assert (enrolment.claim.member, enrolment.claim.service) == (MEMBER, "peer")
    assert (enrolment.claim.signing_key, enrolment.claim.box) == (wallet.public, box.public)
    request = x509.load_pem_x509_csr(enrolment.claim.csr.encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == f"CN={MEMBER}.peer"
    assert b"PRIVATE" not in file.read_bytes()
    assert (b"w" * 32).hex().encode() not in file.read_bytes()


def test_the_same_keys_do_not_make_a_new_claim_and_other_keys_do(tmp_path: Path) -> None:
    node = paths(tmp_path)
    write_enrolment(node, MEMBER, "miner", SigningKey(b"m" * 32))
    first = (node.enrol / "miner.json").read_bytes()
    write_enrolment(node, MEMBER, "miner", SigningKey(b"m" * 32))
    assert (node.enrol / "miner.json").read_bytes() == first
    write_enrolment(node, MEMBER, "miner", SigningKey(b"n" * 32))
    assert claimed(node.enrol / "miner.json").claim.signing_key == SigningKey(b"n" * 32).public
    (node.enrol / "miner.json").write_bytes(b"damaged")
    write_enrolment(node, MEMBER, "miner", SigningKey(b"m" * 32))
    assert claimed(node.enrol / "miner.json").claim.signing_key == SigningKey(b"m" * 32).public


async def test_the_service_waits_for_the_ready_mark_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    node = paths(tmp_path)
    waiting = asyncio.create_task(wait_for_issue(node, "miner", MEMBER))
    await wait_until_async(lambda: "waiting for approval" in caplog.messages, describe="the log line")
    issue(node)
    async with asyncio.timeout(HANG_S):
        issued = await waiting
    assert issued.genesis_hash == GENESIS.hash
    assert issued.network == "ab" * 16
    assert issued.membership == [b'{"body":1}', b'{"body":2}']
    assert (issued.broker.host, issued.broker.port) == ("broker.example", 8883)
    assert issued.node_key == NODE_KEY
    assert (issued.ca_file, issued.cert_file) == (node.issued / "ca.crt", node.data / "tls.pem")
    assert NODE_KEY.hex() not in repr(issued)


def test_settings_override_the_broker_that_was_issued(tmp_path: Path) -> None:
    node = paths(tmp_path)
    issue(node)
    issued = load_issued(node, "miner", MEMBER, broker=BrokerSettings(host="127.0.0.1", port=9))
    assert (issued.broker.host, issued.broker.port) == ("127.0.0.1", 9)


def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    node = paths(tmp_path)
    issue(node, name="somebody-else.miner")
    with pytest.raises(LocalFault, match="another name or key") as refused:
        load_issued(node, "miner", MEMBER)
    assert refused.value.values["certified"] == "somebody-else.miner"


def test_a_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    node = paths(tmp_path)
    issue(node)
    (node.data / "tls.key").unlink()
    with pytest.raises(LocalFault, match="another name or key"):
        load_issued(node, "miner", MEMBER)


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("certs/miner.crt", b"garbage", Code.BAD_ENROLMENT),
        ("genesis.json", b"{}", Code.BAD_GENESIS),
        ("membership.json", b"{", Code.BAD_ENROLMENT),
        ("broker.json", b'{"host":"a","port":0}', Code.BAD_ENROLMENT),
        ("broker.json", None, Code.BAD_ENROLMENT),
        ("../secrets/node.key", b"short", Code.BAD_KEY_FILE),
    ],
)
def test_a_damaged_or_missing_file_is_named(tmp_path: Path, file: str, content: bytes | None, code: Code) -> None:
    node = paths(tmp_path)
    issue(node)
    target = node.issued / file
    if content is None:
        target.unlink()
    else:
        target.write_bytes(content)
    with pytest.raises(LocalFault) as refused:
        load_issued(node, "miner", MEMBER)
    assert refused.value.code == code
    if code != Code.BAD_GENESIS:
        assert target.name in str(refused.value.values["file"])


def test_an_enrolment_round_trips_through_canonical_bytes(tmp_path: Path) -> None:
    node = paths(tmp_path)
    write_enrolment(node, MEMBER, "ledger", SigningKey(b"v" * 32))
    raw = (node.enrol / "ledger.json").read_bytes()
    assert encode(claimed(node.enrol / "ledger.json")) == raw
    assert isinstance(claimed(node.enrol / "ledger.json").claim.box, msgspec.UnsetType)
