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


def order_of(collection: str, keys: tuple[SortKey, ...]) -> str:
    """What a cursor is bound to: a short hash of the collection and its order."""
    text = f"{collection}:" + ",".join(("-" if key.descending else "") + key.operand.text for key in keys)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def encode(order: str, values: tuple[Any, ...]) -> str:
    """The cursor after a row with these sort values (stored form)."""
    return base64.urlsafe_b64encode(json.dumps([order, *values])).rstrip(b"=").decode()


def decode(order: str, keys: int, text: str) -> tuple[Any, ...]:
    """The sort values of a cursor. Raises AlyxError INVALID_QUERY if it is none of this order with so many keys."""
    try:
        given, *values = json.loads(base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (ValueError, TypeError):
        raise invalid("The cursor is not one that this server gave out") from None
    if given != order:
        raise invalid("The cursor belongs to another collection or sort order", "Start again without it")
    if len(values) != keys or not all(_is_stored(value) for value in values):
        raise invalid("The cursor is not one that this server gave out")
    return tuple(values)


def _is_stored(value: Any) -> bool:
    """Whether a column could hold the value; a forged cursor may bring anything."""
    if isinstance(value, int):
        return json.INT_MIN <= value <= json.INT_MAX
    return value is None or isinstance(value, str | float)
