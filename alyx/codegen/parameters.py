"""The query parameters and headers of the record routes, told with the names of one collection's fields.

Pure; called by `describe`. Only what the caller may use is named: internal fields never appear.
"""

from __future__ import annotations

from collections.abc import Iterable

from alyx.codegen import codes, values
from alyx.codegen.shapes import Many, Parameter, Scalar
from alyx.records.limits import NEEDLE, PAGE_DEFAULT, PAGE_MOST
from alyx.records.query import EXPAND_DEPTH
from alyx.rules.parser import WHERE
from alyx.schema.model import SEARCHED, Collection, Field, Schema, Type

_TEXT = Scalar("string")
_UNSORTED = (Type.JSON, Type.BLOB, Type.FILE)


def listing(schema: Schema, collection: Collection) -> tuple[Parameter, ...]:
    """Every parameter of a collection's list, in the order of contract §3."""
    return (
        _filter(collection),
        Parameter("where", "query", Scalar("string", max_length=WHERE.length), _WHERE),
        _sort(collection),
        *_paging(),
        Parameter(
            "count", "query", Scalar("string", values=("exact", "none")), "`none` leaves `total` out, which saves counting."
        ),
        fields(collection),
        *_search(collection),
        *expand(schema, collection),
    )


def key(collection: Collection) -> Parameter:
    """The id in the path."""
    shape = Scalar("string")
    return Parameter("id", "path", shape, f"The record's `{collection.key.name}`.", required=True)


def fields(collection: Collection) -> Parameter:
    """Which members a document of the answer has."""
    names = [field.name for field in collection.public]
    return Parameter(
        "fields",
        "query",
        Scalar("string"),
        f"Only these members, separated by commas (`{collection.key.name}` is always there; what the schema calls required may"
        f" then be absent). Fields: {_names(names)}.",
        example=names[0],
    )


def expand(schema: Schema, collection: Collection) -> tuple[Parameter, ...]:
    """Which related records come along; nothing when the collection has no relation."""
    names = [*forward(collection), *reverse(schema, collection)]
    if not names:
        return ()
    text = (
        "Related records, put under `expand` and keyed as written; separated by commas, nested with dots, at most"
        f" {EXPAND_DEPTH} deep. The target's own rules apply. Possible: {_names(names)}."
    )
    return (Parameter("expand", "query", Scalar("string"), text, example=names[0]),)


def forward(collection: Collection) -> dict[str, Field]:
    """Fields that point to another collection."""
    return {field.name: field for field in collection.public if field.reference}


def reverse(schema: Schema, collection: Collection) -> dict[str, Collection]:
    """`comments(post_id)` -> the collection whose records point here."""
    return {
        f"{other.name}({field.name})": other
        for other in schema.collections.values()
        for field in other.public
        if field.reference and field.reference.collection == collection.name
    }


AS_ADMIN = Parameter(
    "Alyx-As-Admin",
    "header",
    Scalar("string", values=("true",)),
    "`true` from an `admin` sets the rules aside for this request; without it admins are judged as everybody.",
)
IDEMPOTENCY = Parameter(
    "Idempotency-Key",
    "header",
    Scalar("string", min_length=1, max_length=255),
    "The same key with the same request gives the first answer again for 24 hours; with another request 409.",
)
IF_MATCH = Parameter(
    "If-Match", "header", Scalar("string"), "An `ETag`; when the record has changed since, nothing is done and the answer is 412."
)
IF_NONE_MATCH = Parameter("If-None-Match", "header", Scalar("string"), "An `ETag`; while it still fits, the answer is 304.")
TICKET = Parameter("ticket", "query", Scalar("string"), "A ticket in place of `Authorization`, which browsers cannot send here.")
UPSERT = Parameter(
    "upsert", "query", Scalar("boolean"), "`true` creates the record when the id is free and the create rule allows it."
)

_WHERE = (
    "A condition in CEL over `doc` and `auth`, for what `filter` cannot say, such as"
    " `doc.a == 1 || (doc.b != null && doc.b.startsWith('x'))`. At most"
    f" {WHERE.length} bytes and {WHERE.nodes} nodes; no `collections`."
)


def _filter(collection: Collection) -> Parameter:
    by_operators: dict[tuple[str, ...], list[str]] = {}
    for field in collection.public:
        by_operators.setdefault(codes.operators(field), []).append(field.name)
    lines = [f"- {_names(names)}: {', '.join(operators)}" for operators, names in by_operators.items()]
    text = (
        "`field:operator:value`; may stand several times, all must hold. The value is everything after the second colon and is"
        " read by the field's type; `in` takes several, separated by commas; `is_null` and `not_null` take none. Into JSON with"
        " `field.key:...`, through a relation with `field.target_field:...`.\n\n" + "\n".join(lines)
    )
    return Parameter("filter", "query", Many(_TEXT), text, repeatable=True, example=(_filter_example(collection),))


def _filter_example(collection: Collection) -> str:
    for field in collection.public:
        if field.value_type is Type.SELECT and not field.is_list:
            return f"{field.name}:eq:{field.select_values[0]}"
        if field.value_type in (Type.INT, Type.EMAIL, Type.UUID) and not field.primary:
            return f"{field.name}:eq:{values.example(field)}"
    return f"{collection.key.name}:not_null"


def _sort(collection: Collection) -> Parameter:
    names = [field.name for field in collection.public if field.type not in _UNSORTED and not field.is_list]
    text = (
        "Fields separated by commas, `-` before one for descending; the primary key is always the last, so paging is stable."
        f" Nulls come first ascending. Fields: {_names(names)}; JSON members and fields of a relation with a dot."
    )
    last = next((name for name in reversed(names)), collection.key.name)
    return Parameter("sort", "query", _TEXT, text, example=f"-{last}")


def _paging() -> Iterable[Parameter]:
    count = Scalar("integer", minimum=0)
    yield Parameter(
        "limit",
        "query",
        count,
        f"How many records, {PAGE_DEFAULT} when absent; more than {PAGE_MOST} is capped, 0 gives `total` only.",
    )
    yield Parameter(
        "offset", "query", count, "How many to leave out first. For long lists `cursor` is faster and does not shift."
    )
    yield Parameter(
        "page", "query", Scalar("integer", minimum=1), "The page, counting from 1; with `perPage`, instead of `offset`."
    )
    yield Parameter("perPage", "query", Scalar("integer", minimum=1), "Records per page; as `limit`.")
    yield Parameter("cursor", "query", _TEXT, "`next_cursor` of the page before, with the same sort.")


def _search(collection: Collection) -> tuple[Parameter, ...]:
    names = [field.name for field in collection.public if field.type in SEARCHED]
    if not names:
        return ()
    return (
        Parameter(
            "search",
            "query",
            Scalar("string", max_length=NEEDLE),
            f"Text to find, without regard to the case of a-z, in {_names(names)}.",
        ),
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
