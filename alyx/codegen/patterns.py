"""RE2 patterns of schema.yaml -> ECMA-262, where they mean the same (which is what JSON Schema takes).

Pure. A pattern is told to clients only when it can be told exactly: a client that checks more, or less, than the server does
is worse than one that leaves the check to the server.
"""

from __future__ import annotations

_SYNTAX = frozenset("^$\\.*+?()[]{}|/")
_SAME_ESCAPES = frozenset("dDwWnrtfv")
"""Escapes with one meaning in both. `\\s` is not: ECMA-262 counts Unicode spaces and VT, RE2 does not; `\\b` is ASCII in both."""


def ecma(pattern: str) -> str | None:
    """The same pattern for ECMA-262 with the u flag, unanchored; None when it cannot be said there.

    `.` becomes `[^\\n]`, since ECMA's dot leaves out three more line ends than RE2's.
    """
    out: list[str] = []
    position, end, depth, atom = 0, len(pattern), 0, False
    while position < end:
        letter = pattern[position]
        if letter == "[":
            close = _class_end(pattern, position)
            if close is None:
                return None
            out.append(pattern[position:close])
            position, atom = close, True
            continue
        step = _step(pattern, position, atom, depth)
        if step is None:
            return None
        text, length, atom, depth = step
        out.append(text)
        position += length
    return "".join(out) if depth == 0 else None


def _step(pattern: str, position: int, atom: bool, depth: int) -> tuple[str, int, bool, int] | None:
    """One token outside a class: what to write, how long it is, whether it can be repeated, the depth of groups after it."""
    letter = pattern[position]
    if letter == "\\":
        escaped = pattern[position + 1 : position + 2]
        if escaped in _SAME_ESCAPES or escaped in _SYNTAX:
            return (letter + escaped, 2, True, depth) if escaped else None
        return (letter + escaped, 2, False, depth) if escaped and escaped in "bB" else None
    if letter == "(":
        length = 3 if pattern.startswith("(?:", position) else 1
        if length == 1 and pattern.startswith("(?", position):
            return None
        return pattern[position : position + length], length, False, depth + 1
    if letter == ")":
        return (")", 1, True, depth - 1) if depth > 0 else None
    if letter in "*+?{":
        return _repeat(pattern, position, depth) if atom else None
    if letter in "]}":
        return None
    if letter == ".":
        return "[^\\n]", 1, True, depth
    return letter, 1, letter not in "^$|", depth


def _repeat(pattern: str, position: int, depth: int) -> tuple[str, int, bool, int] | None:
    end = position + 1
    if pattern[position] == "{":
        close = pattern.find("}", position)
        parts = pattern[position + 1 : close].split(",") if close > 0 else []
        if not 1 <= len(parts) <= 2 or not parts[0].isascii() or not parts[0].isdigit():
            return None
        if len(parts) == 2 and parts[1] and not (parts[1].isascii() and parts[1].isdigit()):
            return None
        end = close + 1
    if pattern[end : end + 1] == "?":
        end += 1
    return pattern[position:end], end - position, False, depth


def _class_end(pattern: str, start: int) -> int | None:
    """Where the class that begins at `start` ends; None when the two dialects read it differently."""
    position = start + 1
    if pattern[position : position + 1] == "^":
        position += 1
    if pattern[position : position + 1] == "]":
        return None
    while position < len(pattern):
        letter = pattern[position]
        if letter == "]":
            return position + 1
        if letter == "[":
            return None
        if letter == "\\":
            escaped = pattern[position + 1 : position + 2]
            if not escaped or escaped not in _SAME_ESCAPES | _SYNTAX | {"-"}:
                return None
            position += 1
        position += 1
    return None
