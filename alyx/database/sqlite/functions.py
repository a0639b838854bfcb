"""The SQL functions that SQLite lacks and rules need; put on every connection by `connection.connect`.

They are for statements of ours only: SQLITE_DIRECTONLY keeps them out of triggers, indexes and constraints, which other tools
must be able to run without them (contract §7). A null or unusable argument gives NULL, which is how an error of a rule looks
in SQL (hard-parts §1.1).
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any, cast

import apsw
import re2

from alyx.base import calendar


def register(connection: apsw.Connection) -> None:
    """Put all functions on a connection."""
    for name, function, arguments in (("alyx_matches", matches, 2), ("alyx_base64", encode, 1), ("alyx_part", part, 3)):
        connection.create_scalar_function(
            name, cast("Any", function), arguments, deterministic=True, flags=apsw.SQLITE_DIRECTONLY
        )


def matches(text: object, pattern: object) -> int | None:
    """CEL's `matches`: RE2, unanchored. 1 or 0; None for a null, another type, or a pattern that RE2 refuses."""
    if not isinstance(text, str) or not isinstance(pattern, str):
        return None
    compiled = _compile(pattern)
    return None if compiled is None else int(compiled.search(text) is not None)


def encode(value: object) -> str | None:
    """A blob as base64 (RFC 4648 §4, padded, one line); None for anything else."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else None


def part(text: object, name: object, zone: object) -> int | None:
    """CEL's `getHours` and its like, of a timestamp's text in a time zone; None for a null or an unknown zone."""
    if not isinstance(text, str) or not isinstance(name, str) or not isinstance(zone, str):
        return None
    try:
        return calendar.part(text, name, zone)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> Any | None:
    """The compiled pattern, None if RE2 refuses it; re2's own cache is smaller and logs every fault to stderr."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None
