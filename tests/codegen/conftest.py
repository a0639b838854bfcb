"""A schema with every type and every key, made by hand, so that these tests need no other part."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from alyx.schema import model
from alyx.schema.model import Collection, Field, Index, Reference, RuleText, Schema, Type


def _collection(name: str, *fields: Field, **more: object) -> Collection:
    return Collection(name, MappingProxyType({field.name: field for field in fields}), **more)  # type: ignore[arg-type]


def _key() -> Field:
    return Field("id", Type.UUID, primary=True, default=model.AUTO)


@pytest.fixture(scope="session")
def schema() -> Schema:
    """Collections `users`, `posts` (points to users), `values` (one field of each type), `order` (an int key)."""
    users = _collection(
        "users", _key(), Field("name", Type.STRING, max_length=80), Field("password_hash", Type.STRING, internal=True)
    )
    posts = _collection(
        "posts",
        _key(),
        Field("title", Type.STRING, min_length=1, max_length=200, description="What it is about."),
        Field("body", Type.RICHTEXT, nullable=True, richtext=frozenset({"b", "i"})),
        Field("status", Type.SELECT, default="draft", select_values=("draft", "published")),
        Field("author_id", Type.UUID, reference=Reference("users", "id", "cascade"), index=True),
        Field("views", Type.INT, default=0, minimum=0),
        Field("created_at", Type.TIMESTAMP, default=model.NOW),
        Field("updated_at", Type.TIMESTAMP, default=model.NOW, on_update_now=True),
        indexes=(Index("idx_posts_author", ("author_id", "created_at"), order="desc"),),
        rules=MappingProxyType({"read": RuleText("true")}),
        description="What people write.",
    )
    values = _collection(
        "values",
        Field("id", Type.ID, primary=True, default=model.AUTO),
        Field("slug", Type.STRING, pattern="^[a-z0-9-]+$"),
        Field("odd", Type.STRING, nullable=True, pattern=r"(?i)^\pL+$"),
        Field("kind", Type.STRING, enum=("a", "b"), nullable=True),
        Field("link", Type.STRING, format="url", nullable=True),
        Field("small", Type.INT, minimum=-5, maximum=5, nullable=True),
        Field("ratio", Type.FLOAT, nullable=True),
        Field("price", Type.DECIMAL, scale=2, minimum="0", nullable=True),
        Field("done", Type.BOOL, default=False),
        Field("day", Type.DATE, nullable=True),
        Field("meta", Type.JSON, nullable=True),
        Field("data", Type.BLOB, nullable=True),
        Field("mail", Type.EMAIL, nullable=True),
        Field("site", Type.URL, nullable=True),
        Field("labels", Type.SELECT, select_values=("x", "y", "z"), max_select=2, nullable=True),
        Field("post", Type.RELATION, reference=Reference("posts", "id", "set null"), target_type=Type.UUID, nullable=True),
        Field("note", Type.TEXT, nullable=True, description="</script><img src=x onerror=alert(1)>"),
    )
    order = _collection("order", Field("id", Type.INT, primary=True, default=model.AUTO), Field("select", Type.STRING))
    return Schema(1, MappingProxyType({item.name: item for item in (users, posts, values, order)}))
