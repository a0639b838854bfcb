"""Random questions, each as the payload of a subscribe, the URL of a stream, and the URL of the list that says the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.realtime.histories.world import COLLECTIONS, COMMENTED, FIELDS, PAST, STATUSES, TEAMS, TITLES, USERS

NULLABLE = {"n", "flag", "owner_id", "team_id", "at", "price"}
VALUES: dict[str, list[Any]] = {
    "title": TITLES[1:],
    "n": [0, 1, 2, 3, 4],
    "x": [0.0, 1.1, 2.25],
    "flag": [True, False],
    "status": STATUSES,
    "owner_id": USERS[:3],
    "team_id": TEAMS,
    "at": [PAST, "2050-01-01T00:00:00.000000Z"],
    "price": ["1.50", "9.99"],
}
ORDERED = {"title", "n", "x", "at", "price"}
COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
SORTS = ["title", "n", "x", "status", "owner_id", "at", "price", "flag"]
SIMPLE: list[tuple[str, Any, str]] = [
    ("title", {"$like": "A%"}, "title:like:A%"),
    ("title", {"$contains": "b"}, "title:contains:b"),
    ("title", {"$starts_with": "a"}, "title:starts_with:a"),
    ("n", {"$in": [1, 3, 5]}, "n:in:1,3,5"),
    ("n", {"$null": True}, "n:is_null"),
    ("n", {"$null": False}, "n:not_null"),
    ("n", {"$ne": 3}, "n:ne:3"),
    ("owner_id", {"$ne": USERS[0]}, f"owner_id:ne:{USERS[0]}"),
    ("at", {"$lte": PAST}, f"at:lte:{PAST}"),
    ("price", {"$gt": "1.50"}, "price:gt:1.50"),
    ("meta.k", {"$eq": "a"}, "meta.k:eq:a"),
    ("readers", {"$contains": USERS[1]}, f"readers:contains:{USERS[1]}"),
    ("flag", {"$eq": True}, "flag:eq:true"),
    ("body", {"$contains": "big"}, "body:contains:big"),
]
"""Conditions that the list's `filter` can say as well, some of which CEL cannot."""


@dataclass
class Question:
    """payload: of the subscribe, without since. listed: parameters of the list that says the same. asked: of the stream."""

    collection: str
    payload: dict[str, Any]
    listed: list[tuple[str, str]]
    asked: list[tuple[str, str]]
    sort: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    limit: int | None = None
    expand: tuple[str, ...] = ()
    as_admin: bool = False
    plain: bool = field(default=False)
    """Whether it asks for all documents as they are."""


def make(rng: Random, *, admin: bool = False, collection: str | None = None) -> Question:
    """A random question."""
    collection = collection or rng.choice(COLLECTIONS)
    payload: dict[str, Any] = {"collection": collection}
    both: list[tuple[str, str]] = []
    parts: list[dict[str, Any]] = []
    wheres: list[str] = []
    kind = rng.choice(["all", "equal", "simple", "tree", "where", "several"])
    if kind in ("equal", "several"):
        name = rng.choice(["status", "owner_id", "team_id", "n"])
        value = rng.choice(VALUES[name])
        parts.append({name: value})
        both.append(("filter", f"{name}:eq:{value}"))
    if kind in ("simple", "several"):
        name, condition, text = rng.choice(SIMPLE)
        parts.append({name: condition})
        both.append(("filter", text))
    if kind in ("tree", "several"):
        tree, cel = _tree(rng, rng.choice([1, 2]))
        parts.append(tree)
        wheres.append(cel)
    if parts:
        apart = len({name for part in parts for name in part}) == len(parts)
        payload["filter"] = {name: value for part in parts for name, value in part.items()} if apart else {"$and": parts}
    if kind in ("where", "several") and rng.random() < 0.7:
        where = rng.choice(
            [
                "doc.n > 1 || doc.title.startsWith('a')",
                "auth.id == doc.owner_id",
                "doc.status == 'draft' && !(doc.flag == true)",
                "auth.role == 'editor' || doc.n == 3",
                "size(doc.title) < 2",
            ]
        )
        payload["where"] = where
        wheres.append(where)
    if wheres:
        both.append(("where", " && ".join(f"({text})" for text in wheres)))
    sort = _sort(rng, payload)
    limit = rng.choice([1, 2, 3, 5, 8]) if rng.random() < (0.6 if sort else 0.15) else None
    if limit is not None:
        payload["limit"] = limit
    fields, named = _fields(rng, payload, sort)
    expand = _expand(rng, collection, payload)
    as_admin = admin and rng.random() < 0.5
    if as_admin:
        payload["as_admin"] = True
    tail = [("sort", ",".join(sort))] if sort else []
    tail += [("expand", ",".join(expand))] if expand else []
    return Question(
        collection,
        payload,
        listed=[*both, *tail, *([("fields", ",".join(fields))] if fields else []), ("limit", str(limit or 1000))],
        asked=[
            *both,
            *tail,
            *([("fields", ",".join(named))] if named else []),
            *([("limit", str(limit))] if limit is not None else []),
        ],
        sort=sort,
        fields=fields,
        limit=limit,
        expand=expand,
        as_admin=as_admin,
        plain=set(payload) <= {"collection", "as_admin"},
    )


def _tree(rng: Random, depth: int) -> tuple[dict[str, Any], str]:
    """A nested condition as JSON and as CEL; two-valued in both."""
    kind = rng.choice(["leaf", "and", "or", "not"]) if depth else "leaf"
    if kind == "leaf":
        return _leaf(rng)
    if kind == "not":
        inner, cel = _tree(rng, depth - 1)
        return {"$not": inner}, f"!({cel})"
    parts = [_tree(rng, depth - 1) for _ in range(2)]
    joined = (" && " if kind == "and" else " || ").join(f"({cel})" for _, cel in parts)
    return {f"${kind}": [tree for tree, _ in parts]}, joined


def _leaf(rng: Random) -> tuple[dict[str, Any], str]:
    name = rng.choice(list(VALUES))
    value = rng.choice(VALUES[name])
    said = _literal(name, value)
    operators = ["$eq", "$ne", "$in", "$nin"]
    if name in ("at", "price"):
        operators = ["$eq", "$ne"]
    if name == "flag":
        operators = ["$eq", "$ne"]
    operators += list(COMPARISONS) if name in ORDERED else []
    operators += ["$null"] if name in NULLABLE else []
    operator = rng.choice(operators)
    if operator == "$null":
        null = rng.random() < 0.5
        return {name: {"$null": null}}, f"doc.{name} {'==' if null else '!='} null"
    if operator in ("$in", "$nin"):
        other = rng.choice(VALUES[name])
        cel = f"doc.{name} in [{said}, {_literal(name, other)}]"
        return {name: {operator: [value, other]}}, cel if operator == "$in" else f"!({cel})"
    if operator == "$eq":
        return {name: value if rng.random() < 0.5 else {"$eq": value}}, f"doc.{name} == {said}"
    if operator == "$ne":
        return {name: {"$ne": value}}, f"doc.{name} != {said}"
    cel = f"doc.{name} {COMPARISONS[operator]} {said}"
    return {name: {operator: value}}, f"doc.{name} != null && {cel}" if name in NULLABLE else cel


def _literal(name: str, value: Any) -> str:
    if name == "at":
        return f"timestamp('{value}')"
    if name == "price":
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _sort(rng: Random, payload: dict[str, Any]) -> tuple[str, ...]:
    if rng.random() < 0.5:
        return ()
    keys = tuple(rng.choice(["", "-"]) + name for name in rng.sample(SORTS, rng.choice([1, 1, 2])))
    payload["sort"] = ",".join(keys) if rng.random() < 0.5 else list(keys)
    return keys


def _fields(rng: Random, payload: dict[str, Any], sort: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what documents then have, what was asked for)"""
    if rng.random() < 0.75:
        return (), ()
    named = rng.sample(FIELDS, rng.choice([1, 2, 3]))
    payload["fields"] = list(named) if rng.random() < 0.5 else ",".join(named)
    return tuple(dict.fromkeys(["id", *named, *(key.lstrip("-") for key in sort)])), tuple(named)


def _expand(rng: Random, collection: str, payload: dict[str, Any]) -> tuple[str, ...]:
    if rng.random() < 0.75 or "fields" in payload:
        return ()
    possible = ["author_id"] + ([f"comments({collection}_id)"] if collection in COMMENTED else [])
    chosen = tuple(rng.sample(possible, rng.randrange(1, len(possible) + 1)))
    payload["expand"] = list(chosen) if rng.random() < 0.5 else ",".join(chosen)
    return chosen
