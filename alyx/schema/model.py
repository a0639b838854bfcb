"""The model of schema.yaml (contract §1): what `load` makes and every other layer reads.

Frozen; holds no behaviour beyond look-ups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

DEFAULT_MAX_LENGTH = {"string": 65_536, "text": 1_000_000, "richtext": 1_000_000, "email": 320, "url": 8_192}
"""Code points a text field takes when it sets no `maxLength` itself. E-mail: RFC 5321 §4.5.3.1."""

FORBIDDEN_RULE = "auth.role == 'admin'"
"""What a missing rule means (contract §1)."""


class Type(StrEnum):
    """The field types."""

    ID = "id"
    UUID = "uuid"
    STRING = "string"
    TEXT = "text"
    RICHTEXT = "richtext"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    DATE = "date"
    JSON = "json"
    BLOB = "blob"
    EMAIL = "email"
    URL = "url"
    SELECT = "select"
    RELATION = "relation"
    FILE = "file"
    DECIMAL = "decimal"


OnDelete = Literal["restrict", "cascade", "set null"]
SEARCHED = frozenset({Type.STRING, Type.TEXT, Type.RICHTEXT, Type.EMAIL, Type.URL})
"""Types that `search=` looks into."""


class _Missing:
    """The default of a field that has none; unlike None, which is the literal null."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in its file; lines and columns count from 1, 0 is unknown. Never part of a comparison."""

    file: str = ""
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: of `references: users.id` or of `type: relation`. on_delete `restrict` is the default."""

    collection: str
    field: str
    on_delete: OnDelete = "restrict"


@dataclass(frozen=True)
class Field:
    """One field. Limits are None where none is set; `max_length` of text types is then DEFAULT_MAX_LENGTH.

    default: MISSING, the string marks AUTO or NOW of this module, or a literal in the API's form.
    select_values is empty but for `select`; max_select 1 means a plain string, more means a list.
    richtext: the allowed tags (already resolved from preset, allow and deny), None for other types.
    """

    name: str
    type: Type
    primary: bool = False
    unique: bool = False
    nullable: bool = False
    index: bool = False
    default: Any = MISSING
    reference: Reference | None = None
    on_update_now: bool = False
    internal: bool = False
    min_length: int | None = None
    max_length: int | None = None
    minimum: int | float | str | None = None
    maximum: int | float | str | None = None
    format: Literal["email", "url", "uuid"] | None = None
    pattern: str | None = None
    enum: tuple[Any, ...] = ()
    select_values: tuple[str, ...] = ()
    max_select: int = 1
    richtext: frozenset[str] | None = None
    display_name: str | None = None
    scale: int | None = None
    unchecked: bool = False
    description: str | None = None
    renamed_from: str | None = None
    target_type: Type | None = None
    """Of a `relation`: the type of the field that it points to, which is how its values look."""
    place: Place = field(default=Place(), compare=False)

    @property
    def value_type(self) -> Type:
        """How values look: the target's type for a relation, else the type itself."""
        return self.target_type or self.type

    @property
    def is_list(self) -> bool:
        """Whether a value is a list of strings (a select that takes several)."""
        return self.type is Type.SELECT and self.max_select > 1

    @property
    def required(self) -> bool:
        """Whether a create must bring it."""
        return not self.nullable and self.default is MISSING and not self.on_update_now


class _Mark(str):
    """A default that is made by the server, told apart from the string literal of the same letters by identity."""

    __slots__ = ()


AUTO = _Mark("auto")
NOW = _Mark("now")


@dataclass(frozen=True)
class Index:
    """An index as declared: over `fields`, all ascending or all descending."""

    name: str
    fields: tuple[str, ...]
    unique: bool = False
    order: Literal["asc", "desc"] = "asc"
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True)
class RuleText:
    """A rule as written, with where it stands."""

    text: str
    place: Place = field(default=Place(), compare=False)


Operation = Literal["create", "read", "update", "update_check", "delete"]
OPERATIONS: tuple[Operation, ...] = ("create", "read", "update", "update_check", "delete")
JUDGED: tuple[Operation, ...] = ("create", "read", "update", "delete")
"""What can be asked for; `update_check` is a part of `update`."""


@dataclass(frozen=True)
class Collection:
    """One collection; fields and indexes in the order of the file."""

    name: str
    fields: Mapping[str, Field]
    indexes: tuple[Index, ...] = ()
    rules: Mapping[Operation, RuleText] = field(default_factory=lambda: MappingProxyType({}))
    renamed_from: str | None = None
    description: str | None = None
    auth: bool = False
    mode: Literal["table", "document"] = "table"
    strict: bool = False
    managed: bool = True
    place: Place = field(default=Place(), compare=False)

    @cached_property
    def key(self) -> Field:
        """The primary key."""
        return next(item for item in self.fields.values() if item.primary)

    @cached_property
    def public(self) -> tuple[Field, ...]:
        """The fields that answers show: all but the internal ones."""
        return tuple(item for item in self.fields.values() if not item.internal)


ChannelOperation = Literal["join", "send"]
CHANNEL_OPERATIONS: tuple[ChannelOperation, ...] = ("join", "send")


@dataclass(frozen=True)
class Channel:
    """One kind of channel: who may be in it, and who may speak there. A rule that is None is FORBIDDEN_RULE."""

    name: str
    join: RuleText | None = None
    send: RuleText | None = None
    place: Place = field(default=Place(), compare=False)


@dataclass(frozen=True)
class Schema:
    """The whole of schema.yaml. `buckets` and `functions` are kept as written; they do nothing yet."""

    version: int
    collections: Mapping[str, Collection]
    channels: Mapping[str, Channel] = field(default_factory=lambda: MappingProxyType({}))
    buckets: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    functions: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    place: Place = field(default=Place(), compare=False)
