"""The encrypted form of a backup.

::

    "minervas-backup 1", newline    what it is, and the version of this form
    length                          4 bytes, big-endian: of what follows
    head                            canonical JSON: how the key is made from the passphrase
    chunks                          1 MiB each, the last one shorter or as long, each 16 bytes longer than its content

The key is made with scrypt (RFC 7914). Each chunk is sealed with XChaCha20-Poly1305 under a nonce of 15 random bytes of
the file, the chunk's number, and a byte that says whether it is the last (STREAM of Hoang, Reyhanitabar, Rogaway and
Vizar, 2015); what stands before the chunks is additional data. So chunks that are changed, exchanged, left out or cut
off are noticed, and nothing of a chunk is given out before it was checked.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import BinaryIO

from Crypto.Cipher import ChaCha20_Poly1305

from minervas_core.encoding import Count, Record, decode, encode
from minervas_core.errors import Code, InvalidEncoding, LocalFault

MAGIC = b"minervas-backup 1\n"
CHUNK_BYTES = 1 << 20
TAG_BYTES = 16
LENGTH_BYTES = 4
MAX_HEAD_BYTES = 1_024
KEY_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = 15
COUNTER_BYTES = 8

COST_LOG2 = 17
"""scrypt's N is 2 to this: 128 MiB and about half a second for each guess (OWASP asks for this at least)."""
MAX_COST_LOG2 = 20
"""A file may not ask for more than 1 GiB."""
BLOCK_SIZE = 8


class Head(Record, frozen=True, kw_only=True):
    """How the key is made."""

    cost_log2: Count
    salt: str
    nonce: str
    """What the nonces of all chunks begin with."""
    check: str
    """Tells a wrong passphrase from a damaged file."""


def _keys(passphrase: bytes, salt: bytes, cost_log2: int) -> tuple[bytes, str]:
    """The key, and what is shown of it to recognise a wrong passphrase."""
    cost = 1 << cost_log2
    made = hashlib.scrypt(
        passphrase, salt=salt, n=cost, r=BLOCK_SIZE, p=1, dklen=2 * KEY_BYTES, maxmem=256 * BLOCK_SIZE * cost
    )
    return made[:KEY_BYTES], hashlib.sha256(b"minervas-backup check" + made[KEY_BYTES:]).hexdigest()[:32]


class _Sealing:
    """What writer and reader have in common: a key, and the nonce of each chunk."""

    def __init__(self, key: bytes, nonce: bytes, before: bytes) -> None:
        self._key = key
        self._nonce = nonce
        self._before = before
        self.number = 0

    def cipher(self, *, is_last: bool) -> ChaCha20_Poly1305.ChaCha20Poly1305Cipher:
        """The cipher of the next chunk."""
        nonce = self._nonce + self.number.to_bytes(COUNTER_BYTES, "big") + bytes([is_last])
        self.number += 1
        cipher = ChaCha20_Poly1305.new(key=self._key, nonce=nonce)
        cipher.update(self._before)
        return cipher


class SealedWriter:
    """Seals what is written into a file. `close` writes the end, without which nothing of it is accepted."""

    def __init__(self, file: BinaryIO, passphrase: bytes, *, cost_log2: int = COST_LOG2) -> None:
        salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
        key, check = _keys(passphrase, salt, cost_log2)
        head = encode(Head(cost_log2=cost_log2, salt=salt.hex(), nonce=nonce.hex(), check=check))
        before = MAGIC + len(head).to_bytes(LENGTH_BYTES, "big") + head
        file.write(before)
        self._file = file
        self._sealing = _Sealing(key, nonce, before)
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        """Take bytes; they are in the file once there is more than a chunk of them, or at the end."""
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:
            self._put(bytes(self._waiting[:CHUNK_BYTES]), is_last=False)
            del self._waiting[:CHUNK_BYTES]
        return len(data)

    def close(self) -> None:
        """Write the last chunk."""
        self._put(bytes(self._waiting), is_last=True)
        self._waiting.clear()

    def _put(self, data: bytes, *, is_last: bool) -> None:
        sealed, tag = self._sealing.cipher(is_last=is_last).encrypt_and_digest(data)
        self._file.write(sealed + tag)


class SealedReader:
    """Opens a sealed file from its beginning.

    Raises:
        LocalFault: ``bad_backup`` if it is something else, or the passphrase another.
    """

    def __init__(self, file: BinaryIO, passphrase: bytes, name: str) -> None:
        self._file = file
        self._name = name
        head, before = self._read_head()
        key, check = _keys(passphrase, bytes.fromhex(head.salt), head.cost_log2)
        if not hmac.compare_digest(check, head.check):
            raise LocalFault(Code.BAD_BACKUP, "The passphrase is another one than the backup's", file=name)
        self._sealing = _Sealing(key, bytes.fromhex(head.nonce), before)
        self._next = self._file.read(CHUNK_BYTES + TAG_BYTES)
        self._opened = memoryview(b"")
        self._is_over = False

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or fewer at the end; all that is left if `size` is negative.

        Raises:
            LocalFault: ``bad_backup`` if the file was changed or cut off.
        """
        parts: list[bytes] = []
        wanted = size
        while wanted != 0 and (self._opened or self._open_next()):
            part = self._opened[:wanted] if wanted > 0 else self._opened
            self._opened = self._opened[len(part) :]
            wanted -= len(part) if wanted > 0 else 0
            parts.append(bytes(part))
        return b"".join(parts)

    def _open_next(self) -> bool:
        """Open the next chunk that has content; False at the end."""
        while not self._is_over:
            sealed, self._next = self._next, self._file.read(CHUNK_BYTES + TAG_BYTES)
            self._is_over = not self._next
            try:
                data = self._sealing.cipher(is_last=self._is_over).decrypt_and_verify(
                    sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
                )
            except ValueError as error:
                raise self._damaged(chunk=self._sealing.number) from error
            if data:
                self._opened = memoryview(data)
                return True
        return False

    def _read_head(self) -> tuple[Head, bytes]:
        magic = self._file.read(len(MAGIC))
        if magic != MAGIC:
            raise LocalFault(Code.BAD_BACKUP, "Not a backup of a version that we know", file=self._name)
        length = self._file.read(LENGTH_BYTES)
        raw = self._file.read(min(int.from_bytes(length, "big"), MAX_HEAD_BYTES))
        try:
            head = decode(raw, Head, max_bytes=MAX_HEAD_BYTES)
            sizes = (len(bytes.fromhex(head.salt)), len(bytes.fromhex(head.nonce)))
        except (InvalidEncoding, ValueError) as error:
            raise self._damaged() from error
        if sizes != (SALT_BYTES, NONCE_BYTES) or not 1 <= head.cost_log2 <= MAX_COST_LOG2:
            raise self._damaged()
        return head, magic + length + raw

    def _damaged(self, **values: int) -> LocalFault:
        return LocalFault(
            Code.BAD_BACKUP, "The file is damaged: it was changed or cut off; take another copy of it",
            file=self._name, **values,
        )  # fmt: skip
