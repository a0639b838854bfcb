"""Cursors: the sort values of the last row shown, as URL-safe text. A keyset, so rows that come and go do not shift pages.

A cursor is bound to the order it was made for. It is not signed: it names only a place in an order, and every page is judged by
the rules again.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from alyx.base import json
from alyx.records.query import SortKey, invalid


def encode(collection: str, keys: tuple[SortKey, ...], values: tuple[Any, ...]) -> str:
    """The cursor after a row with these sort values (stored form)."""
    return base64.urlsafe_b64encode(json.dumps([_order(collection, keys), *values])).rstrip(b"=").decode()


def decode(collection: str, keys: tuple[SortKey, ...], text: str) -> tuple[Any, ...]:
    """The sort values of a cursor. Raises AlyxError INVALID_QUERY if it is none of this collection and order."""
    try:
        order, *values = json.loads(base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (ValueError, TypeError):
        raise invalid("cursor is not one that this server gave out") from None
    if order != _order(collection, keys):
        raise invalid("cursor belongs to another collection or sort order", "start again without it")
    if len(values) != len(keys) or not all(value is None or isinstance(value, str | int | float) for value in values):
        raise invalid("cursor is not one that this server gave out")
    return tuple(values)


def _order(collection: str, keys: tuple[SortKey, ...]) -> str:
    text = f"{collection}:" + ",".join(("-" if key.descending else "") + key.operand.text for key in keys)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
