"""What a record gets in a field that has no value: the one definition for new records and for those that a migration fills.

Pure: the moment comes with each call, new ids from functions that the caller hands in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alyx.base import json
from alyx.schema import model
from alyx.schema.model import Field, Type


def maker(field: Field, uuid: Callable[[], str], random_id: Callable[[], str]) -> Callable[[str], Any]:
    """A function from the moment of the write (in the API's form) to the field's value in the API's form.

    None is the answer for a field without default, and for a number that the database counts itself. Each call gives a value of
    its own, also of a default that is a list or a map.
    """
    if field.default is model.NOW or (field.default is model.MISSING and field.on_update_now and not field.nullable):
        return _today if field.value_type is Type.DATE else _moment
    if field.default is model.AUTO:
        make = {Type.UUID: uuid, Type.INT: _nothing}.get(field.value_type, random_id)
        return lambda _now: make()
    literal = None if field.default is model.MISSING else field.default
    if isinstance(literal, list | dict | tuple):
        text = json.dumps(literal)
        return lambda _now: json.loads(text)
    return lambda _now: literal


def is_made(field: Field) -> bool:
    """Whether each record gets a value of its own (`default: auto`)."""
    return field.default is model.AUTO


def _moment(now: str) -> str:
    return now


def _today(now: str) -> str:
    return now[:10]


def _nothing() -> None:
    return None
