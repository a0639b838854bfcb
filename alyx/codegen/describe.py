"""schema -> the description of its whole REST API, as plain values (`shapes`).

Pure and deterministic: the same schema gives the same description, in the order of schema.yaml. Called once per schema by
`http.docs` through `openapi`, later by typed clients. Internal fields are left out here, so that no renderer can show them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alyx.codegen import objects, operations, parameters, values
from alyx.codegen.shapes import Api, Group, Many, Member, Named, Object, OneOf, Operation, Scalar
from alyx.records.limits import PAGE_DEFAULT, Limits
from alyx.schema import model
from alyx.schema.model import Collection, Field, Schema

_TEXT = Scalar("string")
_HEADERS = {
    "ETag": "A hash of the full document, for `If-Match` and `If-None-Match`; absent with `fields` or `expand`.",
    "Location": "The path of the new record.",
    "X-Request-ID": "The id of the request, as given or made.",
    "Retry-After": "Seconds after which it is worth trying again.",
    "Allow": "The methods that the route takes.",
    "Upgrade": "The protocol that the route speaks.",
}
_ABOUT = (
    "Records over REST. Errors always have the same envelope with a `code`. Integers are 64 bit, timestamps are UTC with six"
    " decimals, decimals and blobs (base64) are strings. A record that the caller may not read does not exist for the caller."
)


def api(schema: Schema, limits: Limits, *, title: str = "Alyx", version: str | None = None, description: str = "") -> Api:
    """The description of everything that a running server of this schema answers.

    limits: those that the record API keeps. version: the schema's when None.
    """
    collections = schema.collections.values()
    named = objects.shared(schema, limits)
    found: list[Operation] = []
    for collection in collections:
        named.update(_objects(schema, collection))
        found += operations.records(schema, collection, limits)
    return Api(
        title=title,
        version=version or str(schema.version),
        description=description or _ABOUT,
        groups=(
            *(Group(item.name, item.description or f"Records of `{item.name}`.") for item in collections),
            Group(operations.SERVER, "Several writes at once, live queries, health, metrics and this description."),
        ),
        operations=(*found, *operations.server(limits)),
        objects=named,
        headers=_HEADERS,
    )


def _objects(schema: Schema, collection: Collection) -> dict[str, Object]:
    name, about = collection.name, collection.description or f"One record of `{collection.name}`."
    example = _example(collection.public)
    document = [
        Member(item.name, values.answered(item), True, item.nullable, values.describe(item, body=False))
        for item in collection.public
    ]
    related = _related(schema, collection)
    if related and "expand" not in collection.fields:
        document.append(Member("expand", Object(related), description="Related records, when `expand` asks for them."))
    wanted = _example(field for field in collection.public if _asked(field))
    return {
        name: Object(tuple(document), about, example=example),
        f"{name}.create": Object(tuple(map(_given, collection.public)), closed=True, example=wanted),
        f"{name}.replace": Object(tuple(map(_replaced, collection.public)), closed=True, example=wanted),
        f"{name}.patch": Object(
            tuple(map(_changed, collection.public)),
            "Only the members to change.",
            closed=True,
            example=dict(list(wanted.items())[:1]),
        ),
        f"{name}.list": Object(
            (
                Member("docs", Many(Named(name)), True),
                Member("total", Scalar("integer", "int64"), description="How many records fit; absent with `count=none`."),
                Member("limit", Scalar("integer"), True),
                Member("offset", Scalar("integer"), True),
                Member("next_cursor", _TEXT, description="For the next page; absent on the last."),
            ),
            f"A page of `{name}`.",
            example={"docs": [example], "total": 1, "limit": PAGE_DEFAULT, "offset": 0},
        ),
        f"{name}.created": Object(
            (Member("docs", Many(OneOf((Named(name), Named(f"{name}.key")))), True),), "New records, in the order given."
        ),
        f"{name}.key": Object(
            (Member("id", values.answered(collection.key), True),),
            "All that a caller sees of a new record that the caller may not read.",
            closed=True,
        ),
    }


def _given(field: Field) -> Member:
    """A member of a body that makes a record."""
    about = values.describe(field, body=True, fresh=True)
    return Member(field.name, values.taken(field), field.required, field.nullable, about, values.default(field))


def _replaced(field: Field) -> Member:
    """A member of a PUT, whose key stands in the path."""
    about = values.describe(field, body=True)
    required = field.required and not field.primary
    return Member(field.name, values.taken(field), required, field.nullable, about, values.default(field))


def _changed(field: Field) -> Member:
    """A member of a PATCH, where absent means unchanged."""
    return Member(field.name, values.patched(field), False, field.nullable, values.describe(field, body=True))


def _example(fields: Iterable[Field]) -> dict[str, Any]:
    """A document with these fields; where no example is known to fit a pattern, null or nothing stands for it."""
    found = [(field, values.example(field)) for field in fields]
    return {field.name: value for field, value in found if value is not None or field.nullable}


def _asked(field: Field) -> bool:
    """Whether an example body names the field: whatever the server would not fill in by itself."""
    return field.default in (model.MISSING, None) and not field.on_update_now


def _related(schema: Schema, collection: Collection) -> tuple[Member, ...]:
    members = []
    for name, field in parameters.forward(collection).items():
        target = field.reference.collection if field.reference else ""
        members.append(Member(name, Named(target), description="Absent where there is none that the caller may read."))
    for name, other in parameters.reverse(schema, collection).items():
        members.append(Member(name, Many(Named(other.name))))
    return tuple(members)
