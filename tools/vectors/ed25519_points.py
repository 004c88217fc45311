"""Ed25519 by the book (RFC 8032 section 5.1), slow and not constant-time: only to craft signatures no library makes."""

from __future__ import annotations

import hashlib

P = 2**255 - 19
"""Prime of the field."""
L = 2**252 + 27742317777372353535851937790883648493
"""Order of the base point."""
_D = -121665 * pow(121666, P - 2, P) % P
_ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]
"""Affine x and y."""

NEUTRAL: Point = (0, 1)


def add(left: Point, right: Point) -> Point:
    """Sum of two points."""
    (x1, y1), (x2, y2) = left, right
    product = _D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P) % P
    return x, y


def multiply(scalar: int, point: Point) -> Point:
    """A multiple of a point."""
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def compress(point: Point) -> bytes:
    """Canonical encoding of a point."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decompress(data: bytes) -> Point:
    """Point of an encoding whose y may also be unreduced.

    Raises:
        ValueError: if there is no such point.
    """
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(_D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * _ROOT_OF_MINUS_ONE % P
    if x * x % P != square:
        raise ValueError("not on the curve")
    return (P - x if x & 1 != sign else x) % P, y % P


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
"""The base point B."""


def torsion_point() -> Point:
    """A point of order 8; its multiples are all points of small order."""
    for y in range(2, 1_000):
        try:
            candidate = multiply(L, decompress(y.to_bytes(32, "little")))
        except ValueError:
            continue
        if multiply(4, candidate) != NEUTRAL:
            return candidate
    raise AssertionError("unreachable: a random point has a component of order 8 half of the time")


def secret_scalar(seed: bytes) -> tuple[int, bytes]:
    """Scalar and prefix of a seed (RFC 8032 section 5.1.5)."""
    digest = hashlib.sha512(seed).digest()
    number = int.from_bytes(digest[:32], "little")
    return number & ((1 << 254) - 8) | 1 << 254, digest[32:]


def challenge(encoded_r: bytes, public: bytes, message: bytes) -> int:
    """The number k of a signature."""
    return int.from_bytes(hashlib.sha512(encoded_r + public + message).digest(), "little") % L


TORSION_POINTS = tuple(multiply(factor, torsion_point()) for factor in range(8))
"""All points of small order; number 1 has order 8."""
