"""Makes identifiers: uuid version 7 (RFC 9562), 15-character record ids, request ids. Randomness comes from the system."""

from __future__ import annotations

import itertools
import os

from alyx.base import clock

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FAIR = 256 - 256 % len(_ALPHABET)
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_UNFAIR = bytes(range(_FAIR, 256))
"""Bytes that would make some letters likelier than others; they are thrown away."""


def uuid7() -> str:
    """A uuid version 7 in canonical lower case: 48 bits of Unix milliseconds, then 74 random bits (RFC 9562 §5.7)."""
    milliseconds = int(clock.seconds() * 1000) & 0xFFFF_FFFF_FFFF
    tail = int.from_bytes(_random_bytes()[:10], "big")
    high = 0x7000 | (tail >> 64) & 0x0FFF
    low = 0x8000_0000_0000_0000 | tail & 0x3FFF_FFFF_FFFF_FFFF
    digits = f"{milliseconds:012x}{high:04x}{low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def random_id() -> str:
    """15 characters of a-z, A-Z, 0-9: 89 random bits, the form of the field type `id`."""
    letters = b""
    while len(letters) < 15:
        letters += _random_bytes().translate(_LETTERS, _UNFAIR)  # of 24 bytes hardly ever fewer than 15 are fair
    return letters[:15].decode()


def request_id() -> str:
    """A fresh id for a request that brought none: random per process, counted within it, so that it costs no system call."""
    return f"{_process}{next(_requests):08x}"


def _random_bytes() -> bytes:
    """24 bytes of the system's randomness, each given once. Taken in blocks: a system call costs more than the rest."""
    while True:
        try:
            return _pool.pop()  # one step for the interpreter, so that threads never get the same piece
        except IndexError:
            block = os.urandom(24 * 128)
            _pool.extend(block[start : start + 24] for start in range(0, len(block), 24))


def _begin() -> None:
    """At start and in a forked child, which must not give out what its parent holds."""
    global _process
    _process = os.urandom(8).hex()
    _pool.clear()


_process = ""
_pool: list[bytes] = []
_requests = itertools.count(1)
_begin()
os.register_at_fork(after_in_child=_begin)
