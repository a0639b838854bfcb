"""The words of an API description: shapes of values, parameters, answers, operations.

Owned by `codegen`; `describe` fills them from a schema, `openapi` renders them, typed clients will do the same. Plain frozen
values, no behaviour, nothing of OpenAPI's own vocabulary beyond the names of value formats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["string", "integer", "number", "boolean"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One plain value. Limits are None where there is none; lengths count code points.

    format: `uuid`, `int64`, `date-time`, ... of the JSON Schema and OpenAPI registries. pattern: a regular expression that
    means the same in ECMA-262 (with the u flag), unanchored. media and encoding: of text that holds something else.
    """

    kind: Kind
    format: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    pattern: str | None = None
    values: tuple[Any, ...] = ()
    encoding: str | None = None
    media: str | None = None


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON value."""


@dataclass(frozen=True, slots=True)
class Null:
    """The value null, alone."""


@dataclass(frozen=True, slots=True)
class Many:
    """A list; counts are None where there is no limit."""

    item: Shape
    most: int | None = None
    distinct: bool = False
    least: int | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """An object that stands in `Api.objects` under this name."""

    name: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any of several shapes."""

    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object. always: in an answer it is always there, in a body it must be given."""

    name: str
    shape: Shape
    always: bool = False
    nullable: bool = False
    description: str = ""
    default: Any = None


@dataclass(frozen=True, slots=True)
class Object:
    """An object with known members. closed: any other member is refused. fits: an example, empty when there is none."""

    members: tuple[Member, ...]
    description: str = ""
    closed: bool = False
    example: Any = None


Shape = Scalar | Anything | Null | Many | Named | OneOf | Object


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a request. repeatable: may stand several times in the query string."""

    name: str
    place: Literal["path", "query", "header"]
    shape: Shape
    description: str
    required: bool = False
    repeatable: bool = False
    example: Any = None


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request or an answer; `application/json` unless said otherwise."""

    shape: Shape
    media: str = "application/json"
    example: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One status that an operation answers with. error: the body is the error envelope, `codes` are those it may carry.

    instead: another body, for those who ask for its media type.
    """

    status: int
    description: str
    body: Body | None = None
    headers: tuple[str, ...] = ()
    error: bool = False
    codes: tuple[str, ...] = ()
    instead: Body | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path. name: unique, an identifier in most languages. token: whether a bearer token may matter."""

    name: str
    method: Literal["get", "post", "patch", "put", "delete"]
    path: str
    group: str
    summary: str
    description: str
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    token: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """What belongs together for a reader: one collection, or the server's own routes."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Api:
    """The whole description, in the order of schema.yaml. headers: answers' headers by name, with their description."""

    title: str
    version: str
    description: str
    groups: tuple[Group, ...]
    operations: tuple[Operation, ...]
    objects: dict[str, Object] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
