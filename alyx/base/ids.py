"""Makes identifiers: uuid version 7 (RFC 9562), 15-character record ids, request ids. Randomness comes from the system."""

from __future__ import annotations

import os
import secrets

from alyx.base import clock

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def uuid7() -> str:
    """A uuid version 7 in canonical lower case: 48 bits of Unix milliseconds, then 74 random bits (RFC 9562 §5.7)."""
    milliseconds = int(clock.seconds() * 1000) & 0xFFFF_FFFF_FFFF
    tail = int.from_bytes(os.urandom(10), "big")
    high = 0x7000 | (tail >> 64) & 0x0FFF
    low = 0x8000_0000_0000_0000 | tail & 0x3FFF_FFFF_FFFF_FFFF
    digits = f"{milliseconds:012x}{high:04x}{low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def random_id() -> str:
    """15 characters of a-z, A-Z, 0-9: 89 random bits, the form of the field type `id`."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(15))


def request_id() -> str:
    """A fresh id for a request that brought none."""
    return os.urandom(12).hex()
