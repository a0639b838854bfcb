"""`like` in Python, letter for letter as SQLite's LIKE with the escape `\\`. Pure; called by `judging`.

ASCII letters match in either case, `%` any text, `_` one code point, `\\x` the character x; a `\\` at the very end fits nothing.
Linear in the length of the text for every pattern: pieces are looked for one after the other, and those with `_` by RE2, never by
an engine that goes back.
"""

from __future__ import annotations

from collections.abc import Callable

import re2

_ANY = "%"
_ONE = "_"
_NONCHARACTERS = {0xFFFE: "\ufffd", 0xFFFF: "\ufffd"}
"""SQLite's LIKE reads these two as the replacement character."""


def like(pattern: str) -> Callable[[str], bool]:
    """A test for one pattern of at most a few hundred bytes."""
    pieces = _pieces(_folded(pattern))
    if pieces is None:
        return lambda text: False
    if any(_ONE_MARK in piece for piece in pieces):
        return _by_re2(pieces)
    return _by_search(["".join(piece) for piece in pieces])


def _folded(text: str) -> str:
    """ASCII letters small, and what SQLite cannot tell apart made equal."""
    if text.isascii():
        return text.lower()
    if "\ufffe" in text or "\uffff" in text:
        text = text.translate(_NONCHARACTERS)
    return text.encode().lower().decode()  # of bytes, `lower` knows ASCII only


_ONE_MARK = ""
"""Stands in a piece for `_`; every other member is one character."""


def _pieces(pattern: str) -> list[list[str]] | None:
    """What stands between the `%`, character by character; None for a pattern that ends inside an escape."""
    pieces: list[list[str]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                return None
            pieces[-1].append(escaped)
        elif character == _ANY:
            pieces.append([])
        else:
            pieces[-1].append(_ONE_MARK if character == _ONE else character)
    return pieces


def _by_search(pieces: list[str]) -> Callable[[str], bool]:
    """The first piece begins the text, the last ends it, the others follow each other as early as they can."""
    if len(pieces) == 1:
        whole = pieces[0]
        return lambda text: _folded(text) == whole
    first, *between, last = pieces
    between = [piece for piece in between if piece]

    def fits(text: str) -> bool:
        text = _folded(text)
        end = len(text) - len(last)
        if not (text.startswith(first) and text.endswith(last)):
            return False
        at = len(first)
        for piece in between:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return at <= end

    return fits


def _by_re2(pieces: list[list[str]]) -> Callable[[str], bool]:
    text = ".*".join("".join("." if each == _ONE_MARK else re2.escape(each) for each in piece) for piece in pieces)
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    fullmatch = re2.compile(text, options).fullmatch
    return lambda text: fullmatch(_folded(text)) is not None
