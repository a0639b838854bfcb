"""Resume tokens: a place in one history, and the question and rights that it was given for (hard-parts §2.4). Pure.

`epoch.seq.nonce.mark`: the first three name a line of the change log beyond doubt, also against a restored copy that has gone
another way since; mark is a hash of all that decides what its holder may see. A token proves nothing and grants nothing: whoever
makes one up is answered as if anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

_UNSIGNED = 2**64 - 1
_LONGEST = 128


class Token(NamedTuple):
    """A token as read. nonce: as it stands in the log, signed."""

    epoch: str
    seq: int
    nonce: int
    mark: str


def place(epoch: str, seq: int, nonce: int) -> str:
    """All of a token but its mark, which follows the last point."""
    return f"{epoch}.{seq}.{nonce & _UNSIGNED:x}."


def parse(text: str) -> Token | None:
    """A token of ours, or None for any other text."""
    parts = text.split(".") if len(text) <= _LONGEST and text.isascii() else []
    if len(parts) != 4 or not parts[1].isdigit() or len(parts[1]) > 18:
        return None
    try:
        nonce = int(parts[2], 16)
    except ValueError:
        return None
    if not 0 <= nonce <= _UNSIGNED:
        return None
    return Token(parts[0], int(parts[1]), nonce - 2**64 if nonce >= 2**63 else nonce, parts[3])


def mark(parts: Iterable[object]) -> str:
    """16 hex digits over the representations of these values."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(repr(part).encode("utf-8", "backslashreplace"))
        digest.update(b"\0")
    return digest.hexdigest()
