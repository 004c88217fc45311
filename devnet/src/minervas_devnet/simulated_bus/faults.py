"""What goes wrong between a slave and the gateway: applied to each reply as a whole frame."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal, get_args

Fault = Literal["drop", "bad_crc", "wrong_slave", "truncate", "noise", "echo"]

FAULTS: tuple[Fault, ...] = get_args(Fault)

NOISE_BYTES = 2
"""Length of a burst: a CRC of 16 bits notices all of these."""
CRC_POLYNOMIAL = 0xA001


class Faults:
    """Faults of one bus: now and then by chance, or the next few replies, or one slave that is silent.

    Args:
        per_mille: share of replies that suffer each kind of fault by chance.
        source: of the chance.
    """

    def __init__(self, per_mille: Mapping[Fault, int], source: random.Random) -> None:
        self.silent: set[int] = set()
        """Slaves that do not answer."""
        self.injected: dict[Fault, int] = dict.fromkeys(FAULTS, 0)
        """How many replies suffered each kind of fault so far."""
        self.answered: dict[int, int] = {}
        """Replies that went out unharmed, by slave address."""
        self._per_mille = dict(per_mille)
        self._source = source
        self._ordered: list[tuple[Fault, int | None]] = []

    def order(self, fault: Fault, count: int, address: int | None = None) -> None:
        """Let the next `count` replies (of one slave) suffer a fault."""
        self._ordered += [(fault, address)] * count

    def apply(self, reply: bytes, request: bytes = b"") -> bytes:
        """What the gateway gets instead of the reply to a request; empty if nothing."""
        address = reply[0]
        if address in self.silent:
            return b""
        fault = self._next(address)
        if fault is None:
            self.answered[address] = self.answered.get(address, 0) + 1
            return reply
        self.injected[fault] += 1
        return self._harm(reply, request, fault)

    def _next(self, address: int) -> Fault | None:
        for position, (fault, wanted) in enumerate(self._ordered):
            if wanted in (None, address):
                del self._ordered[position]
                return fault
        for fault, share in self._per_mille.items():
            if self._source.randrange(1000) < share:
                return fault
        return None

    def _harm(self, reply: bytes, request: bytes, fault: Fault) -> bytes:
        match fault:
            case "drop":
                return b""
            case "bad_crc":
                return reply[:-1] + bytes([reply[-1] ^ 0x55])
            case "truncate":
                return reply[: len(reply) // 2]
            case "wrong_slave":
                stranger = bytes([reply[0] % 247 + 1]) + reply[1:-2]
                return stranger + crc(stranger)
            case "noise":
                first = self._source.randrange(len(reply) - NOISE_BYTES + 1)
                burst = bytes(byte ^ self._source.randrange(1, 256) for byte in reply[first : first + NOISE_BYTES])
                return reply[:first] + burst + reply[first + NOISE_BYTES :]
            case "echo":
                return request


def crc(frame: bytes) -> bytes:
    """Checksum of a Modbus RTU frame, low byte first."""
    register = 0xFFFF
    for byte in frame:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (CRC_POLYNOMIAL if register & 1 else 0)
    return register.to_bytes(2, "little")
