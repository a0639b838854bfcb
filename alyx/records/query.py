"""The text of a list's URL -> a typed request (contract §3). Pure; knows the schema, never SQL or rules.

Called by `records.records`, and by `realtime.question` for the URL of an event stream. Whatever it refuses is `INVALID_QUERY` and
names the parameter, field or operator. The filter language of subscriptions is read by `filters`, into the same conditions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from alyx.base.errors import AlyxError
from alyx.records.limits import NEEDLE, PAGE_DEFAULT, PAGE_MOST, Limits
from alyx.schema import readers
from alyx.schema.model import SEARCHED, Collection, Field, Schema, Type

EXPAND_DEPTH = 3
PARAMETERS = ("filter", "where", "sort", "limit", "offset", "page", "perPage", "cursor", "count", "fields", "search", "expand")
LIVE_PARAMETERS = ("filter", "where", "sort", "limit", "fields", "expand")
"""Those that a list has as an event stream too; the others name a page or a search, and neither can be kept up to date."""
COMPARISONS = frozenset({"eq", "ne", "gt", "gte", "lt", "lte", "in"})
TEXT_OPERATORS = frozenset({"like", "contains", "starts_with"})
NULL_OPERATORS = frozenset({"is_null", "not_null"})
OPERATORS = COMPARISONS | TEXT_OPERATORS | NULL_OPERATORS

TEXTS = SEARCHED | {Type.ID, Type.UUID, Type.SELECT}
_JSON_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_REVERSE = re.compile(r"([a-z][a-z0-9_]*)\(([a-z][a-z0-9_]*)\)")
_MOST_OFFSET = 2**53
MOST_CONDITIONS = 50
"""Conditions of one request."""
_MOST_KEYS = 8


@dataclass(frozen=True, slots=True)
class Operand:
    """What a filter or sort key reads: a field, a path below a json field, or one step through a relation."""

    text: str
    field: Field
    path: tuple[str, ...] = ()
    through: Field | None = None
    """The relation that leads to `field`, which then belongs to the target collection."""

    @property
    def is_json(self) -> bool:
        """Whether the value has no static type."""
        return bool(self.path)


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition; value is in the API's form (a list for `in`, None for the null operators)."""

    operand: Operand
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions joined: all of `and`, one of `or`, and of `not` (a single part) the complement, records included for which the
    part has no answer because a value is null. An `and` without parts is always true, an `or` without parts never."""

    kind: Literal["and", "or", "not"]
    parts: tuple[Condition, ...]


Condition: TypeAlias = Filter | Group


def leaves(conditions: Iterable[Condition]) -> Iterator[Filter]:
    """The single conditions inside these, from left to right."""
    for each in conditions:
        if isinstance(each, Group):
            yield from leaves(each.parts)
        else:
            yield each


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of the order."""

    operand: Operand
    descending: bool


@dataclass(frozen=True, slots=True)
class Expansion:
    """One relation to follow: forward by a field of the record, or back by a field of another collection that points here."""

    name: str
    collection: str
    field: Field
    reverse: bool
    nested: tuple[Expansion, ...]


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A list as asked for. `filters` are ANDed. `sort` always ends with the primary key. `fields` is empty for all."""

    filters: tuple[Condition, ...]
    where: str | None
    sort: tuple[SortKey, ...]
    limit: int
    offset: int
    cursor: str | None
    count: bool
    fields: tuple[Field, ...]
    search: str | None
    expand: tuple[Expansion, ...]


def invalid(message: str, hint: str | None = None) -> AlyxError:
    """INVALID_QUERY. message and hint: sentences without their full stop, which may begin with the name of a parameter."""
    return AlyxError("INVALID_QUERY", f"{message}.", hint=f"{hint}." if hint else None)


def parse_list(schema: Schema, collection: Collection, query: str, limits: Limits) -> ListQuery:
    """Read a list's query string. Raises AlyxError INVALID_QUERY."""
    single, filters = _collect(query, PARAMETERS)
    limit, offset = _page(single)
    count = single.get("count", "exact")
    if count not in ("exact", "none"):
        raise invalid("count must be exact or none")
    search = single.get("search") or None
    if search is not None:
        check_needle("search", search)
    return ListQuery(
        filters=tuple(_filter(schema, collection, text, limits) for text in filters),
        where=single.get("where") or None,
        sort=_sort(schema, collection, single.get("sort", "")),
        limit=limit,
        offset=offset,
        cursor=single.get("cursor") or None,
        count=count == "exact",
        fields=parse_fields(collection, single.get("fields")),
        search=search,
        expand=parse_expand(schema, collection, single.get("expand")),
    )


def parse_live(schema: Schema, collection: Collection, query: str, limits: Limits) -> tuple[ListQuery, bool]:
    """Read the query string of a list that is asked for as an event stream, and whether it names a limit.

    Without one the limit is PAGE_MOST. Raises AlyxError INVALID_QUERY, also for the parameters of pages and searches.
    """
    for name, _ in _pairs(query):
        if name in PARAMETERS and name not in LIVE_PARAMETERS:
            raise invalid(f"{name} does not go with an event stream", f"Known: {', '.join(LIVE_PARAMETERS)}")
    single, filters = _collect(query, LIVE_PARAMETERS)
    limit = _number("limit", single.get("limit"), PAGE_MOST, least=1)
    read = tuple(_filter(schema, collection, text, limits) for text in filters)
    return live_query(schema, collection, read, limit, single), "limit" in single


def live_query(
    schema: Schema, collection: Collection, filters: tuple[Condition, ...], limit: int, texts: Mapping[str, str]
) -> ListQuery:
    """What a live query asks of the database: the first page, without a count.

    limit: at least 1; more than PAGE_MOST is capped. texts: of `where`, `sort`, `fields` and `expand`, as far as they are given.
    `fields` of the result hold the sort keys too, so that a client can sort by them. Raises AlyxError INVALID_QUERY: for what a
    list refuses, and for what nobody could follow the changes of: paths through relations, an expand of more than one level.
    """
    keys = _sort(schema, collection, texts.get("sort", ""))
    for subject in (*(each.operand for each in leaves(filters)), *(key.operand for key in keys)):
        if subject.through is not None:
            raise invalid(
                f"{quote(subject.text)} goes through a relation, which a live query cannot", "Use a field of the record"
            )
    expansions = parse_expand(schema, collection, texts.get("expand"))
    if any(each.nested for each in expansions):
        raise invalid("expand goes deeper than one level, which a live query cannot")
    shown = parse_fields(collection, texts.get("fields"))
    if shown:
        wanted = {field.name for field in shown} | {key.operand.field.name for key in keys}
        shown = tuple(field for field in collection.public if field.name in wanted)
    return ListQuery(
        filters=filters,
        where=texts.get("where") or None,
        sort=keys,
        limit=min(limit, PAGE_MOST),
        offset=0,
        cursor=None,
        count=False,
        fields=shown,
        search=None,
        expand=expansions,
    )


def parse_single(schema: Schema, collection: Collection, query: str) -> tuple[tuple[Field, ...], tuple[Expansion, ...]]:
    """Read the query string of one record: `fields` and `expand`. Raises AlyxError INVALID_QUERY."""
    single, _ = _collect(query, ("fields", "expand"))
    return parse_fields(collection, single.get("fields")), parse_expand(schema, collection, single.get("expand"))


def parse_flags(query: str, known: tuple[str, ...]) -> dict[str, bool]:
    """Read a write's query string, where each parameter is `true` or `false`. Raises AlyxError INVALID_QUERY."""
    single, _ = _collect(query, known)
    for name, text in single.items():
        if text not in ("true", "false"):
            raise invalid(f"{name} must be true or false")
    return {name: text == "true" for name, text in single.items()}


def _collect(query: str, known: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """The parameters by name, and the repeatable `filter` apart."""
    single: dict[str, str] = {}
    filters: list[str] = []
    for name, text in _pairs(query):
        if name not in known:
            raise invalid(f"Unknown parameter {quote(name)}", f"Known: {', '.join(known)}" if known else None)
        if name == "filter":
            filters.append(text)
            if len(filters) > MOST_CONDITIONS:
                raise invalid(f"More than {MOST_CONDITIONS} filters", "Use in for a list of values")
        elif name in single:
            raise invalid(f"The parameter {name} stands twice")
        else:
            single[name] = text
    return single, filters


def _pairs(query: str) -> Iterable[tuple[str, str]]:
    if not query:
        return
    for part in query.split("&"):
        if not part:
            continue
        name, _, text = part.partition("=")
        yield _decode(name), _decode(text)


def _decode(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    try:
        decoded = unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise invalid("A parameter is not valid UTF-8") from None
    if "\x00" in decoded:
        raise invalid("A parameter holds a NUL character")
    return decoded


def quote(text: str) -> str:
    """A word of the caller inside a message: shortened, and without control characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


# --- paging -------------------------------------------------------------------------------------------------------------------


def _page(single: dict[str, str]) -> tuple[int, int]:
    """limit and offset, from whichever of the three ways of paging is used."""
    by_page = "page" in single or "perPage" in single
    if by_page and ("limit" in single or "offset" in single or "cursor" in single):
        raise invalid("page and perPage do not go with limit, offset or cursor")
    if "cursor" in single and "offset" in single:
        raise invalid("cursor does not go with offset")
    if by_page:
        limit = _number("perPage", single.get("perPage"), PAGE_DEFAULT, least=1)
        page = _number("page", single.get("page"), 1, least=1)
        limit = min(limit, PAGE_MOST)
        return limit, min((page - 1) * limit, _MOST_OFFSET)
    limit = _number("limit", single.get("limit"), PAGE_DEFAULT, least=0)
    return min(limit, PAGE_MOST), _number("offset", single.get("offset"), 0, least=0)


def _number(name: str, text: str | None, default: int, *, least: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16) or int(text) < least:
        raise invalid(f"{name} must be a whole number of at least {least}")
    return min(int(text), _MOST_OFFSET)


# --- fields and operands ------------------------------------------------------------------------------------------------------


def field_of(collection: Collection, name: str, parameter: str) -> Field:
    """A field that the caller may name. An internal field counts as unknown."""
    field = collection.fields.get(name)
    if field is None or field.internal:
        raise invalid(f"{parameter}: unknown field {quote(name)} in {collection.name}")
    return field


def parse_fields(collection: Collection, text: str | None) -> tuple[Field, ...]:
    """`fields=a,b`: these and always the key, in the order of the schema; empty for all."""
    if text is None:
        return ()
    names = {field_of(collection, name.strip(), "fields").name for name in text.split(",")}
    return tuple(field for field in collection.public if field.name in names or field.primary)


def operand(schema: Schema, collection: Collection, text: str, parameter: str) -> Operand:
    """`field`, `json.path` or `relation.field`."""
    name, *path = text.split(".")
    field = field_of(collection, name, parameter)
    if not path:
        return Operand(text, field)
    if field.type is Type.JSON:
        return Operand(text, field, path=_json_path(text, path, parameter))
    if field.reference is None:
        raise invalid(f"{parameter}: {quote(text)}: {name} is neither a relation nor json")
    target = field_of(schema.collections[field.reference.collection], path[0], parameter)
    if len(path) > 1 and target.type is not Type.JSON:
        raise invalid(f"{parameter}: {quote(text)} goes more than one step through relations")
    return Operand(text, target, path=_json_path(text, path[1:], parameter), through=field)


def _json_path(text: str, path: list[str], parameter: str) -> tuple[str, ...]:
    if not all(_JSON_KEY.fullmatch(key) for key in path):
        raise invalid(f"{parameter}: {quote(text)} is not a path of JSON keys", "Keys hold letters, digits, _ and -")
    return tuple(path)


# --- filter -------------------------------------------------------------------------------------------------------------------


def _filter(schema: Schema, collection: Collection, text: str, limits: Limits) -> Filter:
    if len(text.encode()) > limits.filter:
        raise invalid(f"A filter is longer than {limits.filter} bytes")
    name, colon, rest = text.partition(":")
    operator, has_value, value = rest.partition(":")
    if not colon:
        raise invalid(f"filter {quote(text)} is not of the form field:operator:value")
    subject = operand(schema, collection, name, "filter")
    if operator not in OPERATORS:
        raise invalid(f"filter: unknown operator {quote(operator)}", f"Known: {', '.join(sorted(OPERATORS))}")
    if operator in NULL_OPERATORS:
        if has_value:
            raise invalid(f"filter: {operator} takes no value")
        return Filter(subject, operator, None)
    if not has_value:
        raise invalid(f"filter: {operator} needs a value")
    return Filter(subject, operator, _filter_value(subject, operator, value))


def _filter_value(subject: Operand, operator: str, text: str) -> Any:
    check_applies(subject, operator)
    field = subject.field
    if operator in TEXT_OPERATORS:
        return selected(subject, text) if field.is_list else check_needle(operator, text)
    if subject.is_json:
        return text.split(",") if operator == "in" else text
    if operator == "in":
        return [_typed(subject, part) for part in text.split(",")]
    return _typed(subject, text)


def check_applies(subject: Operand, operator: str) -> None:
    """Raises AlyxError INVALID_QUERY where an operator that takes a value has no meaning for the operand's type."""
    field = subject.field
    if operator in TEXT_OPERATORS:
        if not (subject.is_json or field.value_type in TEXTS or (field.is_list and operator == "contains")):
            raise invalid(f"filter: {operator} does not apply to {subject.text}, which is {field.type}")
        if field.is_list and operator != "contains":
            raise invalid(f"filter: {operator} does not apply to {subject.text}, which holds a list")
    elif subject.is_json:
        return
    elif field.is_list:
        raise invalid(f"filter: {operator} does not apply to {subject.text}, which holds a list", "Use contains")
    elif field.type is Type.JSON:
        raise invalid(f"filter: {operator} does not apply to {subject.text} as a whole", "Name a path, such as meta.key")
    elif field.value_type is Type.BLOB and operator not in ("eq", "ne"):
        raise invalid(f"filter: {operator} does not apply to {subject.text}, which is blob")


def _typed(subject: Operand, text: str) -> Any:
    if subject.field.type is Type.SELECT:
        return selected(subject, text)
    try:
        return readers.from_text(subject.field, text)
    except ValueError as error:
        raise invalid(f"filter: {subject.text}: {error}") from None


def selected(subject: Operand, text: str) -> str:
    """A text that is one of a select's values. Raises AlyxError INVALID_QUERY."""
    if text not in subject.field.select_values:
        raise invalid(
            f"filter: {quote(text)} is not a value of {subject.text}", f"It has {', '.join(subject.field.select_values)}"
        )
    return text


def check_needle(name: str, text: str) -> str:
    """A text to be looked for, of at most NEEDLE bytes. Raises AlyxError INVALID_QUERY that names `name`."""
    if len(text.encode()) > NEEDLE:
        raise invalid(f"{name}: the text is longer than {NEEDLE} bytes")
    return text


# --- sort ---------------------------------------------------------------------------------------------------------------------


def _sort(schema: Schema, collection: Collection, text: str) -> tuple[SortKey, ...]:
    """The keys as asked, and the primary key in the direction of the last of them, so that the order is total."""
    keys: list[SortKey] = []
    for part in text.split(",") if text else ():
        name = part.strip()
        descending = name.startswith("-")
        subject = operand(schema, collection, name.removeprefix("-").removeprefix("+"), "sort")
        if not subject.is_json and (subject.field.type is Type.JSON or subject.field.value_type is Type.BLOB):
            raise invalid(f"sort: {subject.text} has no order, as it is {subject.field.type}")
        if any(subject.text == key.operand.text for key in keys):
            raise invalid(f"sort: {subject.text} stands twice")
        keys.append(SortKey(subject, descending))
        if len(keys) > _MOST_KEYS:
            raise invalid(f"sort: more than {_MOST_KEYS} keys")
    for position, key in enumerate(keys):
        if key.operand.field.primary and key.operand.through is None:
            return tuple(keys[: position + 1])  # nothing is left to order behind the key
    last = keys[-1].descending if keys else False
    return (*keys, SortKey(Operand(collection.key.name, collection.key), last))


# --- expand -------------------------------------------------------------------------------------------------------------------


def parse_expand(schema: Schema, collection: Collection, text: str | None) -> tuple[Expansion, ...]:
    """`author_id,comments(post_id).author_id` -> the tree of relations to follow, at most EXPAND_DEPTH deep."""
    if not text:
        return ()
    paths = [part.strip().split(".") for part in text.split(",")]
    if any(len(path) > EXPAND_DEPTH for path in paths):
        raise invalid(f"expand goes deeper than {EXPAND_DEPTH} levels")
    if len(paths) > 20:
        raise invalid("expand: more than 20 paths")
    return _expansions(schema, collection, paths)


def _expansions(schema: Schema, collection: Collection, paths: list[list[str]]) -> tuple[Expansion, ...]:
    below: dict[str, list[list[str]]] = {}
    if paths and "expand" in collection.fields:
        raise invalid(f"expand: {collection.name} has a field of that name, where the result would stand")
    for name, *rest in paths:
        below.setdefault(name, [])
        if rest:
            below[name].append(rest)
    return tuple(_expansion(schema, collection, name, rest) for name, rest in below.items())


def _expansion(schema: Schema, collection: Collection, name: str, rest: list[list[str]]) -> Expansion:
    if match := _REVERSE.fullmatch(name):
        other = schema.collections.get(match[1])
        field = other.fields.get(match[2]) if other else None
        if (
            other is None
            or field is None
            or field.internal
            or not field.reference
            or field.reference.collection != collection.name
        ):
            raise invalid(f"expand: {quote(name)} is not a relation that points to {collection.name}")
        return Expansion(name, other.name, field, True, _expansions(schema, other, rest))
    field = field_of(collection, name, "expand")
    if field.reference is None:
        raise invalid(f"expand: {name} is not a relation")
    target = schema.collections[field.reference.collection]
    return Expansion(name, target.name, field, False, _expansions(schema, target, rest))
