"""Schemas by hand, without the loader: rules need nothing but the model."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from alyx.database import tables
from alyx.rules.book import Rule, RuleBook, compile_rule
from alyx.schema.model import Collection, Field, Place, RuleText, Schema, Type


def collection(name: str, rules: dict[str, str] | None = None, **fields: Type | dict[str, Any]) -> Collection:
    """A collection with the key `id`; a field is a type, or keywords of Field."""
    made = {"id": Field("id", Type.UUID, primary=True)}
    for key, value in fields.items():
        made[key] = Field(key, value) if isinstance(value, Type) else Field(key, **value)
    texts = {key: RuleText(text, Place("schema.yaml", line, 7)) for line, (key, text) in enumerate((rules or {}).items(), 10)}
    return Collection(name, made, rules=texts, place=Place("schema.yaml", 3, 3))  # type: ignore[arg-type]


def schema(*collections: Collection) -> Schema:
    """A schema of these collections."""
    return Schema(1, {item.name: item for item in collections})


def load(*collections: Collection) -> RuleBook:
    """The checked rules of these collections."""
    made = schema(*collections)
    return RuleBook.load(made, tables.build(made))


def read_rule(made: Schema, metadata: sa.MetaData, text: str, of: str = "docs", operation: str = "read") -> Rule:
    """One rule of the collection `of`."""
    return compile_rule(made, metadata, made.collections[of], operation, RuleText(text))  # type: ignore[arg-type]
