"""A field of schema.yaml -> the shape of its values in answers and in bodies.

Pure; called by `describe`. Answers promise the type alone (a limit may be younger than the record); bodies state every limit
that the server checks, as far as JSON Schema can say it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from alyx.codegen import patterns
from alyx.codegen.shapes import Anything, Many, Member, Object, OneOf, Scalar, Shape
from alyx.schema import model
from alyx.schema.model import DEFAULT_MAX_LENGTH, Field, Type

_EXAMPLES: dict[Type, Any] = {
    Type.ID: "a1B2c3D4e5F6g7H",
    Type.UUID: "018f2b6e-7c1a-7c52-9d0e-3f5b8a1c4d2e",
    Type.INT: 1,
    Type.FLOAT: 1.5,
    Type.BOOL: True,
    Type.TIMESTAMP: "2026-03-01T08:00:00.123456Z",
    Type.DATE: "2026-03-01",
    Type.JSON: {"key": "value"},
    Type.BLOB: "aGVsbG8=",
    Type.EMAIL: "ada@example.com",
    Type.URL: "https://example.com/",
    Type.RICHTEXT: "<p>Text</p>",
}
_FORMATS: dict[Type, str] = {
    Type.UUID: "uuid",
    Type.TIMESTAMP: "date-time",
    Type.DATE: "date",
    Type.EMAIL: "email",
    Type.URL: "uri",
}
NUMBERS = frozenset({Type.INT, Type.FLOAT, Type.DECIMAL})


def answered(field: Field) -> Shape:
    """How a value looks in an answer, null aside."""
    kind = field.value_type
    if kind is Type.JSON:
        return Anything()
    if kind is Type.SELECT:
        choice = Scalar("string", values=field.select_values)
        return Many(choice) if field.is_list else choice
    if kind is Type.INT:
        return Scalar("integer", "int64")
    if kind is Type.FLOAT:
        return Scalar("number", "double")
    if kind is Type.BOOL:
        return Scalar("boolean")
    if kind is Type.DECIMAL:
        return Scalar("string", "decimal", pattern=_decimal_pattern(field.scale or 0))
    if kind is Type.ID:
        return Scalar("string", pattern="^[a-zA-Z0-9]{15}$")
    if kind is Type.BLOB:
        return Scalar("string", encoding="base64")
    return Scalar("string", _FORMATS.get(kind), media="text/html" if kind is Type.RICHTEXT else None)


def taken(field: Field) -> Shape:
    """How a value must look in a body, null aside, with every limit that can be said."""
    shape = answered(field)
    kind = field.value_type
    if isinstance(shape, Many):
        return Many(shape.item, most=field.max_select, distinct=True)
    if not isinstance(shape, Scalar) or kind is Type.SELECT:
        return shape
    numeric = kind in (Type.INT, Type.FLOAT)
    limited = Scalar(
        shape.kind,
        shape.format or (field.format and {"url": "uri"}.get(field.format, field.format)),
        min_length=field.min_length,
        max_length=field.max_length if field.max_length is not None else DEFAULT_MAX_LENGTH.get(kind),
        minimum=_number(field.minimum) if numeric else None,
        maximum=_number(field.maximum) if numeric else None,
        pattern=patterns.ecma(field.pattern) if field.pattern else (shape.pattern if kind is Type.ID else None),
        values=field.enum,
        encoding=shape.encoding,
        media=shape.media,
    )
    # Answers always hold the exact text; a body may bring a number that a double holds exactly.
    return OneOf((limited, Scalar("number"))) if kind is Type.DECIMAL else limited


def patched(field: Field) -> Shape:
    """How a value must look in a PATCH: a number may also be changed by `{"$inc": n}`."""
    shape = taken(field)
    if field.value_type not in NUMBERS:
        return shape
    amount = OneOf((Scalar("string", "decimal"), Scalar("number"))) if field.value_type is Type.DECIMAL else _bare(shape)
    shapes = shape.shapes if isinstance(shape, OneOf) else (shape,)
    step = Object((Member("$inc", amount, always=True, description="What to add; null counts as 0."),), closed=True)
    return OneOf((*shapes, step))


def describe(field: Field, *, body: bool, fresh: bool = False) -> str:
    """The field's own description, then what its type does not say.

    body: of a request, not of an answer. fresh: of a request that makes a record, where defaults matter.
    """
    notes = [field.description] if field.description else []
    if field.reference:
        notes.append(f"References `{field.reference.collection}.{field.reference.field}`.")
    if field.value_type is Type.DECIMAL:
        notes.append(f"Exact, {field.scale} decimals.")
        if body and (field.minimum is not None or field.maximum is not None):
            notes.append(f"From {_bound(field.minimum)} to {_bound(field.maximum)}.")
    if field.value_type is Type.INT and not body:
        notes.append("64 bit: JavaScript rounds beyond 2^53.")
    if body and field.pattern and patterns.ecma(field.pattern) is None:
        notes.append(f"Must match the RE2 pattern `{field.pattern}`.")
    if field.richtext is not None and body:
        notes.append(f"Tags kept: {', '.join(sorted(field.richtext)) or 'none'}; others go, their text stays.")
    if field.primary and fresh:
        notes.append("Made by the server when absent." if not field.required else "Chosen by the client.")
    elif field.primary and body:
        notes.append("Cannot change: only the stored value is taken.")
    elif field.on_update_now:
        notes.append("Set by the server on every change." + ("" if fresh or not body else " Only the stored value is taken."))
    elif field.default is model.NOW and fresh:
        notes.append("The time of the request when absent.")
    return " ".join(notes)


def default(field: Field) -> Any:
    """The literal default, None when there is none or the server makes it."""
    return None if field.default in (model.MISSING, model.AUTO, model.NOW) else field.default


def example(field: Field) -> Any:
    """A value that the field takes, as far as its type tells; None when its limits leave that open."""
    if field.enum:
        return field.enum[0]
    if field.pattern:
        return default(field)
    if field.value_type is Type.SELECT:
        return [field.select_values[0]] if field.is_list else field.select_values[0]
    if field.value_type is Type.DECIMAL:
        return "0" if not field.scale else f"0.{'0' * field.scale}"
    if field.value_type in (Type.STRING, Type.TEXT):
        return _text(field)
    if field.value_type in (Type.INT, Type.FLOAT) and isinstance(field.minimum, int | float) and field.minimum > 1:
        return field.minimum
    return _EXAMPLES.get(field.value_type, "text")


def _text(field: Field) -> str:
    text = field.name.replace("_", " ").capitalize()
    if field.format:
        return str(_EXAMPLES[Type(field.format)])
    if field.min_length and len(text) < field.min_length:
        text = (text + " ") * (field.min_length // (len(text) + 1) + 1)
    return text[: field.max_length] if field.max_length else text


def _bare(shape: Shape) -> Shape:
    return Scalar(shape.kind, shape.format) if isinstance(shape, Scalar) else shape


def _decimal_pattern(scale: int) -> str:
    return f"^-?[0-9]+\\.[0-9]{{{scale}}}$" if scale else "^-?[0-9]+$"


def _number(value: int | float | str | None) -> int | float | None:
    if value is None or isinstance(value, int | float):
        return value
    return float(Decimal(value))


def _bound(value: int | float | str | None) -> str:
    return "any" if value is None else str(value)
