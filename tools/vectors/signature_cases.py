"""Signatures and signing keys: what is valid, and the edges where libraries differ."""

from __future__ import annotations

from dataclasses import dataclass

from minervas_core.errors import PeerFault
from minervas_core.keys import SigningKey, check_public_key, node_id, signing_bytes, verify
from tools.vectors.ed25519_points import (
    BASE,
    NEUTRAL,
    TORSION_POINTS,
    L,
    P,
    Point,
    add,
    challenge,
    compress,
    multiply,
    secret_scalar,
)
from tools.vectors.fixtures import AUTHORITY, MEMBERS, MOKPO, NETWORK, OTHER_NETWORK, seed
from tools.vectors.format import Case

PURPOSE = "transaction"
BODY = b'{"value":1}'
MESSAGE = signing_bytes(PURPOSE, NETWORK, BODY)
TORSION = TORSION_POINTS[1]


@dataclass(frozen=True)
class Crafted:
    """A signature put together from its parts."""

    public: bytes
    r: bytes
    s: int
    body: bytes = BODY

    @property
    def signature(self) -> str:
        """The 64 bytes in hex."""
        return (self.r + self.s.to_bytes(32, "little")).hex()


def _case(name: str, public: str, signature: str, *, body: bytes = BODY, network: str = NETWORK) -> Case:
    message = signing_bytes(PURPOSE, network, body)
    return {
        "name": name,
        "purpose": PURPOSE,
        "network": network,
        "body_hex": body.hex(),
        "signed_bytes_hex": message.hex(),
        "public": public,
        "signature": signature,
        "valid": verify(public, PURPOSE, network, body, signature),
    }


def signature_cases() -> list[Case]:
    """Valid signatures of every purpose, then single differences, then crafted edge cases."""
    return [*_made(), *_differences(), *_crafted()]


def _made() -> list[Case]:
    purposes = ("genesis", "transaction", "block", "frame", "hello", "sender_key", "key_request", "enrolment")
    cases: list[Case] = []
    for purpose in purposes:
        signature = MOKPO.wallet.sign(purpose, NETWORK, BODY)
        cases.append(
            _case(f"purpose {purpose}", MOKPO.wallet.public, signature)
            | {
                "purpose": purpose,
                "seed": seed("mokpo-univ wallet").hex(),
                "signed_bytes_hex": signing_bytes(purpose, NETWORK, BODY).hex(),
                "valid": verify(MOKPO.wallet.public, purpose, NETWORK, BODY, signature),
            }
        )
    return cases


def _differences() -> list[Case]:
    public = MOKPO.wallet.public
    good = MOKPO.wallet.sign(PURPOSE, NETWORK, BODY)
    flipped = f"{int(good[0], 16) ^ 1:x}" + good[1:]
    return [
        _case("made for another purpose", public, MOKPO.wallet.sign("hello", NETWORK, BODY)),
        _case("made for another network", public, good, network=OTHER_NETWORK),
        _case("of another body", public, good, body=b'{"value":2}'),
        _case("of another key", AUTHORITY.public, good),
        _case("one bit of R flipped", public, flipped),
        _case("one byte short", public, good[:-2]),
        _case("one byte too long", public, good + "00"),
        _case("upper-case hex", public, good.upper()),
        _case("blank in the hex", public, good[:64] + " " + good[64:]),
        _case("empty", public, ""),
        _case("all zero", public, "00" * 64),
    ]


def _challenge(public: bytes, r: bytes, body: bytes = BODY) -> int:
    return challenge(r, public, signing_bytes(PURPOSE, NETWORK, body))


def _crafted() -> list[Case]:
    secret, prefix = secret_scalar(seed("mokpo-univ wallet"))
    public = bytes.fromhex(MOKPO.wallet.public)
    nonce = int.from_bytes(prefix, "little") % L
    r = compress(multiply(nonce, BASE))
    s = (nonce + _challenge(public, r) * secret) % L
    neutral = compress(NEUTRAL)
    crafted = {
        "crafted like a library does": Crafted(public, r, s),
        "S + L: second encoding of S": Crafted(public, r, s + L),
        "S + 8 L: S above 2^255": Crafted(public, r, s + 8 * L),
        "S = L": Crafted(public, neutral, L),
        "R neutral, canonical": _with_neutral_r(public, secret, neutral),
        "R neutral with the sign bit set": _with_neutral_r(public, secret, _with_sign(neutral)),
        "R neutral as y = p + 1": _with_neutral_r(public, secret, (P + 1).to_bytes(32, "little")),
        "R with a component of order 8": _with_mixed_r(public, secret, nonce),
        "key with a component of order 8, challenge no multiple of 8": _with_mixed_key(secret, nonce, cancels=False),
        "key with a component of order 8, challenge a multiple of 8": _with_mixed_key(secret, nonce, cancels=True),
        **_with_small_order_keys(),
    }
    return [_case(name, one.public.hex(), one.signature, body=one.body) for name, one in crafted.items()]


def _with_sign(encoded: bytes) -> bytes:
    return encoded[:-1] + bytes([encoded[-1] | 0x80])


def _with_neutral_r(public: bytes, secret: int, r: bytes) -> Crafted:
    """A signature with the nonce zero: valid by the equation, though no library makes it."""
    return Crafted(public, r, _challenge(public, r) * secret % L)


def _with_mixed_r(public: bytes, secret: int, nonce: int) -> Crafted:
    """Only the equation multiplied by 8 holds, which is not ours."""
    r = compress(add(multiply(nonce, BASE), TORSION))
    return Crafted(public, r, (nonce + _challenge(public, r) * secret) % L)


def _with_mixed_key(secret: int, nonce: int, *, cancels: bool) -> Crafted:
    """A key outside the prime-order group; whether our equation holds depends on the challenge."""
    public = compress(add(multiply(secret, BASE), TORSION))
    r = compress(multiply(nonce, BASE))
    for count in range(1_000):
        body = f'{{"value":{count}}}'.encode()
        k = _challenge(public, r, body)
        if (k % 8 == 0) == cancels:
            return Crafted(public, r, (nonce + k * secret) % L, body)
    raise AssertionError("unreachable: one challenge in eight is a multiple of 8")


def _with_small_order_keys() -> dict[str, Crafted]:
    """R = key, S = 0: holds for one body in eight or so; such keys are refused before any signature is looked at."""
    cases: dict[str, Crafted] = {}
    for order, factor in ((1, 0), (2, 4), (4, 2), (8, 1)):
        point: Point = multiply(factor, TORSION)
        public = compress(point)
        bodies = (f'{{"value":{count}}}'.encode() for count in range(1_000))
        body = next(body for body in bodies if (_challenge(public, public, body) + 1) % order == 0)
        cases[f"key of order {order}, any S"] = Crafted(public, public, 0, body)
    return cases


def key_cases() -> list[Case]:
    """Public keys that may and may not be registered."""
    cases = [_key_case(f"wallet of {who.member}", who.wallet.public) for who in MEMBERS]
    cases += [_key_case(f"point of small order, number {i}", compress(multiply(i, TORSION)).hex()) for i in range(8)]
    unreduced = {0: "0", 1: "1", 2: "2", 18: "18"}
    secret, _ = secret_scalar(seed("mokpo-univ wallet"))
    cases += [_key_case(f"y = p + {name}", (P + y).to_bytes(32, "little").hex()) for y, name in unreduced.items()]
    return [
        *cases,
        _key_case("x = 0 with the sign bit set", _with_sign(compress(NEUTRAL)).hex()),
        _key_case("not on the curve", _off_curve().hex()),
        _key_case("component of order 8", compress(add(multiply(secret, BASE), TORSION)).hex()),
        _key_case("all ones", "ff" * 32),
        _key_case("upper-case hex", MOKPO.wallet.public.upper()),
        _key_case("31 bytes", MOKPO.wallet.public[:-2]),
        _key_case("33 bytes", MOKPO.wallet.public + "00"),
        _key_case("blanks around", f" {MOKPO.wallet.public}"),
        _key_case("not hex", "zz" * 32),
        _key_case("empty", ""),
    ]


def _off_curve() -> bytes:
    """The smallest y that belongs to no point."""
    for y in range(2, 100):
        encoded = y.to_bytes(32, "little")
        try:
            check_public_key(encoded.hex())
        except PeerFault:
            return encoded
    raise AssertionError("unreachable: half of all y belong to no point")


def _key_case(name: str, public: str) -> Case:
    try:
        check_public_key(public)
    except PeerFault as error:
        return {"name": name, "public": public, "code": str(error.code)}
    return {"name": name, "public": public, "code": None, "node_id": node_id(public)}


def seed_cases() -> list[Case]:
    """Public keys of seeds (the seeds of RFC 8032 section 7.1 first)."""
    seeds = {
        "RFC 8032 test 1": "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "RFC 8032 test 2": "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "RFC 8032 test 3": "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "wallet of mokpo-univ": seed("mokpo-univ wallet").hex(),
    }
    return [
        {"name": name, "seed": value, "public": SigningKey(bytes.fromhex(value)).public}
        for name, value in seeds.items()
    ]
