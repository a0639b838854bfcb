"""CEL text -> tokens, after the lexis of the CEL language definition."""

from __future__ import annotations

import re
from typing import NamedTuple

from alyx.rules.syntax import CelSyntaxError, UInt

RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace"}
    | {"return", "var", "void", "while"}
)
KEYWORDS = frozenset({"true", "false", "null", "in"})

_TOKEN = re.compile(
    r"""
    (?P<space>(?:[\t\n\f\r ]|//[^\n]*)+)
  | (?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"\"\"|'''|"|'))
  | (?P<float>(?:[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?))
  | (?P<int>0x[0-9a-fA-F]+[uU]?|[0-9]+[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<quoted>`[A-Za-z0-9_./\ -]+`)
  | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "?": 63, '"': 34, "'": 39, "`": 96}
_HEX = {"x": 2, "X": 2, "u": 4, "U": 8}


class Token(NamedTuple):
    """kind: `sign`, `name`, `quoted`, `int`, `float`, `string`, `bytes` or `end`; value: of literals, ready."""

    kind: str
    text: str
    start: int
    end: int
    value: int | float | str | bytes | None = None


def tokens(text: str) -> list[Token]:
    """All tokens of a text, the last of kind `end`. Raises CelSyntaxError."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise CelSyntaxError(f"unexpected character {text[at]!r}", at, text, _hint(text[at : at + 2]))
        kind, end = str(match.lastgroup), match.end()
        if kind == "string":
            token = _string(text, at, match.group())
            found.append(token)
            end = token.end
        elif kind == "float":
            found.append(_float(match.group(), text, at))
        elif kind == "int":
            found.append(Token("int", match.group(), at, end, _integer(match.group())))
        elif kind != "space":
            found.append(Token(kind, match.group(), at, end))
        at = end
    found.append(Token("end", "", at, at))
    return found


def _hint(characters: str) -> str | None:
    if characters[0] == "=":
        return "equality is =="
    return {"&": "and is &&", "|": "or is ||"}.get(characters[0])


def _float(text: str, whole: str, start: int) -> Token:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise CelSyntaxError("a number is beyond the range of a double", start, whole)
    return Token("float", text, start, start + len(text), value)


def _integer(text: str) -> int:
    unsigned = text[-1] in "uU"
    digits = text[:-1] if unsigned else text
    value = int(digits, 16 if digits[:2] == "0x" else 10)
    return UInt(value) if unsigned else value


def _string(text: str, start: int, opening: str) -> Token:
    quote = opening.lstrip("rRbB")
    prefix = opening[: len(opening) - len(quote)].lower()
    raw, binary = "r" in prefix, "b" in prefix
    pieces: list[str] = []
    octets = bytearray()
    at = start + len(opening)
    while True:
        if text.startswith(quote, at):
            break
        if at >= len(text) or (text[at] in "\r\n" and len(quote) == 1):
            raise CelSyntaxError("a string is not closed", start, text)
        if text[at] == "\\" and not raw:
            code, at, is_octet = _escape(text, at, binary)
            if is_octet:
                octets.append(code)
            else:
                octets += chr(code).encode() if binary else b""
                pieces.append(chr(code))
            continue
        if raw and text[at] == "\\" and at + 1 < len(text):
            piece = text[at : at + 2]
            # In a raw string a backslash stays; only outside is a quote after it the end.
            piece = piece if piece[1] not in "'\"" else piece[0]
        else:
            piece = text[at]
        pieces.append(piece)
        octets += piece.encode() if binary else b""
        at += len(piece)
    end = at + len(quote)
    if binary:
        return Token("bytes", text[start:end], start, end, bytes(octets))
    return Token("string", text[start:end], start, end, "".join(pieces))


def _escape(text: str, at: int, binary: bool) -> tuple[int, int, bool]:
    """The escape at a backslash: its code, where the text goes on, and whether it is one octet of a bytes literal."""
    mark = text[at + 1 : at + 2]
    if mark in _SIMPLE and mark:
        return _SIMPLE[mark], at + 2, False
    if mark in _HEX and mark:
        digits = text[at + 2 : at + 2 + _HEX[mark]]
        if len(digits) == _HEX[mark] and re.fullmatch("[0-9a-fA-F]+", digits) and not (binary and mark in "uU"):
            return _point(int(digits, 16), at, text), at + 2 + len(digits), binary
    elif re.fullmatch("[0-3][0-7]{2}", digits := text[at + 1 : at + 4]):
        return int(digits, 8), at + 4, binary
    raise CelSyntaxError(f"unknown escape \\{mark}", at, text)


def _point(code: int, at: int, text: str) -> int:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise CelSyntaxError("an escape names no Unicode character", at, text)
    return code
