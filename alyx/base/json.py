"""JSON at the door: strict reading, fast writing.

Strict means what contract §3 and hard-parts call for: duplicate keys, NaN and Infinity, integers beyond 64 bit, NUL and lone
surrogates, and nesting beyond a limit are refused, so that both engines store the same value.
"""

from __future__ import annotations

import json as _json
import re
from typing import Any, NoReturn

import orjson

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string, possessive, so linear; one that nobody closed goes to the end."""
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class InvalidJSON(ValueError):
    """The text is not JSON as Alyx takes it; the message says why in one sentence, without quoting the input."""


def dumps(value: object) -> bytes:
    """Compact UTF-8 JSON. Keys keep their order."""
    return orjson.dumps(value)


def loads(text: bytes | str) -> Any:
    """Read JSON that we wrote ourselves; no checks beyond the syntax."""
    return orjson.loads(text)


def parse(text: bytes, *, max_depth: int = 32, big_integers: bool = False) -> Any:
    """Read JSON that came from outside.

    Raises InvalidJSON for bad syntax or UTF-8, duplicate keys, NaN or Infinity, integers beyond 64 bit, and nesting beyond
    max_depth. NUL and lone surrogates are left to the validation of values, which can name the field; with big_integers so are
    integers beyond 64 bit (up to 400 digits).
    """
    if text.count(b"[") + text.count(b"{") > max_depth and _is_deeper(text, max_depth):
        raise InvalidJSON(f"nested deeper than {max_depth} levels")
    try:
        return _json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_constant=_constant,
            parse_int=_big_integer if big_integers else _integer,
            parse_float=_float,
        )
    except UnicodeDecodeError:
        raise InvalidJSON("not valid UTF-8") from None
    except InvalidJSON:
        raise
    except ValueError as error:
        position = f" at character {error.pos}" if isinstance(error, _json.JSONDecodeError) else ""
        raise InvalidJSON(f"not valid JSON{position}") from None


def _is_deeper(text: bytes, most: int) -> bool:
    """Whether the nesting goes beyond `most`, found without recursion and without a step of Python for each bracket.

    What remains outside strings are brackets; taking out every `[]` takes one level away. A text whose brackets do not match is
    left to the parser, unless it opens more than `most` of them: it meets the fault before it can recurse any deeper.
    """
    brackets = _STRING.sub(b"", text).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(most):
        if b"[]" not in brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets or brackets.count(b"[") > most


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidJSON("an object has the same key twice")
    return value


def _constant(name: str) -> NoReturn:
    raise InvalidJSON(f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    if len(digits) > 20 or not INT_MIN <= (value := int(digits)) <= INT_MAX:
        raise InvalidJSON("an integer is beyond 64 bit")
    return value


def _big_integer(digits: str) -> int:
    if len(digits) > 400:
        raise InvalidJSON("an integer has more than 400 digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise InvalidJSON("a number is beyond the range of a double")
    return value
