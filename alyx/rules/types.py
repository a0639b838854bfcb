"""The static types of rules, and the types of schema fields (contract §4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from alyx.schema.model import Collection, Field
from alyx.schema.model import Type as FieldType


@dataclass(frozen=True, slots=True)
class Type:
    """kind: null, bool, int, uint, double, string, bytes, timestamp, duration, decimal, list, map, type or dyn.

    nullable: may also be null. item: of lists, and of maps the value's type. scale: decimals after the point of a decimal.
    """

    kind: str
    nullable: bool = False
    item: Type | None = None
    scale: int = 0

    def __str__(self) -> str:
        inner = f"({self.item})" if self.item and self.item.kind != "dyn" else ""
        return f"{self.kind}{inner}" + (" or null" if self.nullable and self.kind != "null" else "")

    def required(self) -> Type:
        """The same without null."""
        return replace(self, nullable=False) if self.nullable else self


NULL, BOOL, INT, UINT, DOUBLE = Type("null", nullable=True), Type("bool"), Type("int"), Type("uint"), Type("double")
STRING, BYTES, TIMESTAMP, DURATION, TYPE = Type("string"), Type("bytes"), Type("timestamp"), Type("duration"), Type("type")
DYN = Type("dyn", nullable=True)
LIST, MAP = Type("list", item=DYN), Type("map", item=DYN)
STRINGS = Type("list", item=STRING)
NUMBERS = frozenset({"int", "uint", "double"})
ORDERED = NUMBERS | {"bool", "string", "bytes", "timestamp", "duration", "decimal"}

BY_NAME = {
    item.kind: item for item in (NULL, BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION, TYPE, DYN, LIST, MAP)
} | {"strings": STRINGS}

_FIELDS = {
    FieldType.INT: INT,
    FieldType.FLOAT: DOUBLE,
    FieldType.BOOL: BOOL,
    FieldType.TIMESTAMP: TIMESTAMP,
    FieldType.BLOB: BYTES,
    FieldType.JSON: DYN,
}

AUTH = {"id": STRING, "email": STRING, "role": STRING, "verified": BOOL, "claims": Type("map", item=DYN)}
"""What `auth` holds. Reading one that is null is an error, so the types themselves are never null (hard-parts §1.2)."""

REQUEST = {"method": STRING, "ip": STRING, "time": TIMESTAMP, "body": DYN}

CHANNEL = Collection("channel", {name: Field(name, FieldType.STRING) for name in ("name", "topic")})
"""What `channel` holds in the rules of channels, as if it were a record: the whole name, and what follows its first colon."""


def of_field(field: Field) -> Type:
    """The type of a field's value in rules."""
    nullable = field.nullable and not field.primary
    if field.is_list:
        return Type("list", nullable, STRING)
    if field.value_type is FieldType.DECIMAL:
        return Type("decimal", nullable, scale=field.scale or 0)
    found = _FIELDS.get(field.value_type, STRING)
    return replace(found, nullable=nullable or found.kind == "dyn")


def join(left: Type, right: Type) -> Type | None:
    """The one type that both sides have, dyn if either is dyn, None if they do not go together."""
    if left.kind == "null" and right.kind == "null":
        return NULL
    if left.kind == "null":
        return replace(right, nullable=True)
    if right.kind == "null":
        return replace(left, nullable=True)
    nullable = left.nullable or right.nullable
    if "dyn" in (left.kind, right.kind):
        return DYN
    if left.kind != right.kind:
        return None
    if left.item and right.item:
        return Type(left.kind, nullable, join(left.item, right.item) or DYN)
    if left.scale != right.scale:
        return None
    return replace(left, nullable=nullable)
