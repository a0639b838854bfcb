"""What a client asks to see: the payload of `subscribe`, or a list's URL as an event stream -> Question (contract §5). Pure.

Called by the sessions of realtime. Two questions with the same key are the same: who asks them shares a class. `where` is only
carried here; the caller has it checked by `RuleBook.where`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alyx.base import json
from alyx.base.errors import AlyxError
from alyx.records import filters, query
from alyx.records.limits import PAGE_MOST, Limits
from alyx.records.query import Condition, Group, ListQuery
from alyx.schema import text
from alyx.schema.model import Collection, Schema

MEMBERS = ("collection", "filter", "where", "sort", "limit", "fields", "expand", "since", "as_admin")
_LISTED = ("sort", "fields", "expand")


@dataclass(frozen=True, slots=True)
class Question:
    """asked: as a list is asked for, with no offset and no count. limited: False if no limit was given; asked.limit is then 1000,
    the most that a set may hold. as_admin: an admin asked to bypass the rules. key: canonical, so that equal questions have equal
    keys, however they were written; `since` is no part of it."""

    collection: Collection
    asked: ListQuery
    limited: bool
    as_admin: bool
    key: str


def parse(schema: Schema, payload: Mapping[str, Any], limits: Limits) -> Question:
    """Read the payload of `subscribe`; an optional member that is null counts as not given. `since` is only checked to be a text.

    Raises AlyxError INVALID_PAYLOAD (unknown, missing or mistyped members), COLLECTION_NOT_FOUND, or INVALID_FILTER (what filter,
    sort, fields or expand say).
    """
    given = {name: value for name, value in payload.items() if value is not None}
    for name in payload:
        if name not in MEMBERS:
            raise _mistyped(f"unknown member {query.quote(name)}", f"Known: {', '.join(MEMBERS)}.")
    _check_types(given)
    collection = _collection(schema, given["collection"])
    conditions = filters.parse_filter_object(schema, collection, given.get("filter", {}), limits)
    texts = {name: _comma_text(name, given[name]) for name in _LISTED if name in given}
    if "where" in given:
        if not text.is_storable(given["where"]):
            raise filters.invalid("where must not hold NUL or lone surrogates")
        texts["where"] = given["where"]
    try:
        asked = query.live_query(schema, collection, conditions, given.get("limit", PAGE_MOST), texts)
    except AlyxError as error:
        raise AlyxError("INVALID_FILTER", error.message, hint=error.hint) from None
    return _question(collection, asked, limited="limit" in given, as_admin=given.get("as_admin", False))


def parse_url(schema: Schema, collection: str, source: str, limits: Limits, *, as_admin: bool = False) -> Question:
    """Read the URL of an event stream. collection: its name. source: the query string, without `ticket` and `since`.

    as_admin comes from a header. Raises AlyxError COLLECTION_NOT_FOUND, or INVALID_QUERY, also for the parameters of pages and
    searches and for a limit of 0.
    """
    found = _collection(schema, collection)
    asked, limited = query.parse_live(schema, found, source, limits)
    return _question(found, asked, limited=limited, as_admin=as_admin)


def _check_types(given: Mapping[str, Any]) -> None:
    """Raises AlyxError INVALID_PAYLOAD that names the member."""
    if not isinstance(given.get("collection"), str):
        raise _mistyped("collection must be a text, the name of a collection")
    for name in ("where", "since"):
        if name in given and not isinstance(given[name], str):
            raise _mistyped(f"{name} must be a text")
    if not isinstance(given.get("filter", {}), dict):
        raise _mistyped("filter must be an object")
    if not isinstance(given.get("as_admin", False), bool):
        raise _mistyped("as_admin must be true or false")
    limit = given.get("limit", 1)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise _mistyped(f"limit must be a whole number of 1 to {PAGE_MOST}")


def _comma_text(name: str, value: Any) -> str:
    """`["a", "b"]` as `a,b`; a text as it stands. Raises AlyxError INVALID_PAYLOAD."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    raise _mistyped(f"{name} must be a list of texts, or one text with commas")


def _mistyped(message: str, hint: str | None = None) -> AlyxError:
    return AlyxError("INVALID_PAYLOAD", f"subscribe: {message}.", hint=hint)


def _collection(schema: Schema, name: str) -> Collection:
    found = schema.collections.get(name)
    if found is None:
        raise AlyxError("COLLECTION_NOT_FOUND", "There is no such collection.")
    return found


# --- the key ------------------------------------------------------------------------------------------------------------------


def _question(collection: Collection, asked: ListQuery, *, limited: bool, as_admin: bool) -> Question:
    shown = [] if len(asked.fields) == len(collection.public) else [field.name for field in asked.fields]
    parts = [
        collection.name,
        _canonical_all("and", asked.filters),
        asked.where,
        [("-" if key.descending else "") + key.operand.text for key in asked.sort],
        asked.limit if limited else None,
        shown,
        sorted(each.name for each in asked.expand),
        as_admin,
    ]
    return Question(collection, asked, limited, as_admin, json.dumps(parts).decode())


def _canonical(condition: Condition) -> list[Any]:
    """A condition so that what only differs in the order of its parts or values is equal."""
    if isinstance(condition, Group):
        return _canonical_all(condition.kind, condition.parts)
    operator, value = condition.operator, condition.value
    if operator == "in":
        value = _in_order(value)
        if len(value) == 1:
            operator, value = "eq", value[0]
    return [condition.operand.text, operator, value]


def _canonical_all(kind: str, conditions: Sequence[Condition]) -> list[Any]:
    return [kind, _in_order([_canonical(each) for each in conditions])]


def _in_order(values: Sequence[Any]) -> list[Any]:
    """Each value once, ordered by its JSON."""
    by_json = {json.dumps(value): value for value in values}
    return [by_json[each] for each in sorted(by_json)]
