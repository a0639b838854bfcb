"""The schema of the histories, its read rules a second time in Python, and random documents for it.

Every collection of records has the same fields and another read rule, so that one question can be asked under each of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

Doc = dict[str, Any]
Tables = Mapping[str, Mapping[str, Doc]]
Rule = Callable[["Who", Doc, Tables, str], bool]

USERS = [f"user{n:011d}" for n in range(1, 6)]
TEAMS = ["red", "blue", "green"]
FIELDS = ["title", "n", "x", "flag", "status", "owner_id", "team_id", "readers", "author_id", "at", "meta", "price", "body"]
STATUSES = ["draft", "published"]
TITLES = ["", "a", "ab", "abc", "b", "B\u00e9", "\U0001f600", "\uff46", "zz"]
PAST, FUTURE = "2020-01-01T00:00:00.000000Z", "2090-01-01T00:00:00.000000Z"


@dataclass(frozen=True)
class Who:
    """A caller. as_admin: asks with the admin's rights."""

    id: str | None = None
    role: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.id or 'anonymous'}/{self.role or '-'}/{json.dumps(dict(self.claims))}"


CALLERS = [
    Who(),
    Who(USERS[0], "user"),
    Who(USERS[0], "editor"),
    Who(USERS[1], "user", {"team": "red"}),
    Who(USERS[1], "user", {"team": "blue"}),
    Who(USERS[2], "user"),
    Who(USERS[3], "editor"),
    Who(USERS[4], "admin"),
]


def _mine(who: Who, doc: Doc) -> bool:
    return who.id is not None and doc["owner_id"] == who.id


def _memberships(who: Who, doc: Doc, tables: Tables) -> list[Doc]:
    """Rows of the caller in the document's team."""
    rows = tables.get("members", {}).values()
    return [m for m in rows if who.id is not None and m["team_id"] == doc["team_id"] and m["user_id"] == who.id]


def _kept(who: Who, doc: Doc, tables: Tables) -> bool:
    if who.id is None:  # `m.user_id == auth.id` is an error, which a false part of the conjunction absorbs
        return not any(m["team_id"] == doc["team_id"] and m["banned"] for m in tables.get("members", {}).values())
    return not any(m["banned"] for m in _memberships(who, doc, tables))


RULES: dict[str, tuple[str | None, Rule]] = {
    "open": ("true", lambda w, d, t, now: True),
    "mine": ("auth.id == doc.owner_id", lambda w, d, t, now: _mine(w, d)),
    "others": ("auth.id != doc.owner_id", lambda w, d, t, now: w.id is not None and d["owner_id"] != w.id),
    "shared": (
        "doc.status == 'published' || auth.id == doc.owner_id",
        lambda w, d, t, now: d["status"] == "published" or _mine(w, d),
    ),
    "roled": (
        "auth.role == 'editor' || doc.status == 'published'",
        lambda w, d, t, now: w.role == "editor" or d["status"] == "published",
    ),
    "signed": (
        "auth.id != null && (doc.n > 2 || doc.flag == true)",
        lambda w, d, t, now: w.id is not None and ((d["n"] is not None and d["n"] > 2) or d["flag"] is True),
    ),
    "team": (
        "collections.members.exists(m, m.team_id == doc.team_id && m.user_id == auth.id)",
        lambda w, d, t, now: bool(_memberships(w, d, t)),
    ),
    "lead": (
        "doc.status == 'published' || collections.members.exists(m, m.team_id == doc.team_id && m.user_id == auth.id"
        " && m.level >= 2)",
        lambda w, d, t, now: (
            d["status"] == "published" or any(m["level"] is not None and m["level"] >= 2 for m in _memberships(w, d, t))
        ),
    ),
    "kept": (
        "!collections.members.exists(m, m.team_id == doc.team_id && m.user_id == auth.id && m.banned)",
        lambda w, d, t, now: _kept(w, d, t),
    ),
    "timed": ("doc.at <= request.time", lambda w, d, t, now: d["at"] is not None and d["at"] <= now),
    "listed": ("auth.id in doc.readers", lambda w, d, t, now: w.id is not None and w.id in (d["readers"] or [])),
    "claimed": (
        "auth.claims.team == doc.team_id",
        lambda w, d, t, now: w.claims.get("team") is not None and d["team_id"] == w.claims["team"],
    ),
    "vault": (
        "doc.secret == 'open' || auth.id == doc.owner_id",
        lambda w, d, t, now: d.get("secret") == "open" or _mine(w, d),
    ),
    "closed": (None, lambda w, d, t, now: w.role == "admin"),
}
COLLECTIONS = list(RULES)
OTHER_RULES: dict[str, tuple[str, Rule]] = {
    "users": ("!doc.hidden || auth.id == doc.id", lambda w, d, t, now: not d["hidden"] or (w.id is not None and w.id == d["id"])),
    "members": ("auth.id == doc.user_id", lambda w, d, t, now: w.id is not None and w.id == d["user_id"]),
    "comments": (
        "!doc.hidden || auth.role == 'editor'",
        lambda w, d, t, now: not d["hidden"] or w.role == "editor",
    ),
    "markers": ("true", lambda w, d, t, now: True),
}
COMMENTED = ["open", "team", "shared"]
"""Collections that comments point to."""


def readable(who: Who, collection: str, doc: Doc, tables: Tables, now: str, *, as_admin: bool = False) -> bool:
    """Whether a caller may read a document."""
    if as_admin:
        return who.role == "admin"
    return (RULES.get(collection) or OTHER_RULES[collection])[1](who, doc, tables, now)


_FIELDS = """\
      id: {{ type: id, primary: true, default: auto }}
      title: {{ type: string, maxLength: 50, default: "" }}
      n: {{ type: int, nullable: true }}
      x: {{ type: float, default: 0 }}
      flag: {{ type: bool, nullable: true }}
      status: {{ type: select, select: {{ values: [draft, published] }}, default: draft }}
      owner_id: {{ type: string, nullable: true, index: true }}
      team_id: {{ type: string, nullable: true, index: true }}
      readers: {{ type: select, select: {{ values: [{users}], maxSelect: 5 }}, nullable: true }}
      author_id: {{ type: id, references: users.id, onDelete: set null, nullable: true }}
      at: {{ type: timestamp, nullable: true }}
      meta: {{ type: json, nullable: true }}
      price: {{ type: decimal, scale: 2, nullable: true }}
      body: {{ type: text, nullable: true }}
      secret: {{ type: string, default: "no", internal: true }}
"""


def schema() -> str:
    """schema.yaml of the histories."""
    lines = ["version: 1", "collections:"]
    for name, (read, _) in RULES.items():
        rules = 'create: "true", update: "true", delete: "true"' + (f', read: "{read}"' if read else "")
        lines += [f"  {name}:", "    fields:", _FIELDS.format(users=", ".join(USERS)).rstrip(), f"    rules: {{ {rules} }}"]
    lines += [
        "  users:",
        "    fields:",
        "      id: { type: id, primary: true, default: auto }",
        '      name: { type: string, default: "" }',
        "      hidden: { type: bool, default: false }",
        *_rules("users"),
        "  members:",
        "    fields:",
        "      id: { type: id, primary: true, default: auto }",
        "      team_id: { type: string, index: true }",
        "      user_id: { type: string, index: true }",
        "      level: { type: int, nullable: true }",
        "      banned: { type: bool, default: false }",
        *_rules("members"),
        "  comments:",
        "    fields:",
        "      id: { type: id, primary: true, default: auto }",
        *(
            f"      {name}_id: {{ type: id, references: {name}.id, onDelete: {action}, nullable: true, index: true }}"
            for name, action in zip(COMMENTED, ("cascade", "set null", "cascade"), strict=True)
        ),
        '      text: { type: string, default: "" }',
        "      hidden: { type: bool, default: false }",
        *_rules("comments"),
        "  markers:",
        "    fields:",
        "      id: { type: id, primary: true, default: auto }",
        "      n: { type: int }",
        *_rules("markers"),
    ]
    return "\n".join(lines) + "\n"


def _rules(name: str) -> list[str]:
    return [f'    rules: {{ create: "true", update: "true", delete: "true", read: "{OTHER_RULES[name][0]}" }}']


class Made:
    """Random documents. Large texts have a length of their own each, by which the log's `{"$big": length}` is known again."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.large: dict[int, str] = {}
        self._count = 0

    def key(self) -> str:
        """A new id."""
        self._count += 1
        return f"{self.rng.choice('aZ5')}{self._count:014d}"

    def value(self, name: str) -> Any:
        """A random value of a field of the record collections, often the same as elsewhere."""
        rng = self.rng
        match name:
            case "title":
                return rng.choice(TITLES)
            case "n":
                return rng.choice([None, None, -1, 0, 1, 2, 3, 4, 5, 2**53 + 1])
            case "x":
                return rng.choice([0.0, -1.5, 2.25, 1e21, 1.1])
            case "flag":
                return rng.choice([None, True, False])
            case "status":
                return rng.choice(STATUSES)
            case "owner_id":
                return rng.choice([None, *USERS[:3]])
            case "team_id":
                return rng.choice([None, *TEAMS])
            case "readers":
                return rng.choice([None, [], [USERS[0]], [USERS[1], USERS[2]], [USERS[0], USERS[1], USERS[3]]])
            case "author_id":
                return rng.choice([None, *USERS[:4]])
            case "at":
                return rng.choice([None, PAST, PAST, FUTURE, self.soon()])
            case "meta":
                return rng.choice([None, {"k": "a"}, {"k": "b", "l": [1, "x"]}, {"k": None}, [], "text"])
            case "price":
                return rng.choice([None, "1.50", "10.00", "9.99", "-3.25"])
            case "body":
                return rng.choice([None, "short", "", self.big()])
        raise AssertionError(name)

    def soon(self) -> str:
        """A moment that comes while the history runs."""
        moment = datetime.now(UTC) + timedelta(milliseconds=self.rng.randrange(20, 400))
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"

    def big(self) -> str:
        """A text that is too large for the log."""
        size = 4_200 + len(self.large)
        text = self.large[size] = f"big {size} ".ljust(size, "x")
        return text

    def document(self, collection: str) -> Doc:
        """The body of a create, its key included."""
        rng = self.rng
        match collection:
            case "users":
                return {"id": rng.choice(USERS), "name": rng.choice(TITLES), "hidden": rng.random() < 0.3}
            case "members":
                return {
                    "id": self.key(),
                    "team_id": rng.choice(TEAMS),
                    "user_id": rng.choice(USERS[:3]),
                    "level": rng.choice([None, 1, 2, 3]),
                    "banned": rng.random() < 0.3,
                }
            case "comments":
                return {"id": self.key(), "text": rng.choice(TITLES), "hidden": rng.random() < 0.3}
        chosen = [name for name in FIELDS if rng.random() < (0.15 if name == "body" else 0.6)]
        return {"id": self.key()} | {name: self.value(name) for name in chosen}

    def changes(self, collection: str) -> Doc:
        """The body of a patch."""
        if collection in ("users", "members", "comments"):
            made = self.document(collection)
            names = [name for name in made if name != "id" and name not in ("open_id", "team_id_")]
            return {name: made[name] for name in self.rng.sample(names, self.rng.randrange(1, len(names) + 1))}
        names = ["title", "n", "flag", "status", "owner_id", "team_id", "readers", "author_id", "at", "meta", "price", "x"]
        chosen = self.rng.sample(names, self.rng.choice([1, 1, 1, 2, 3]))
        if self.rng.random() < 0.08:
            chosen.append("body")
        return {name: self.value(name) for name in chosen}


def stored(name: str, value: Any) -> Any:
    """A value as other programs write it to the table."""
    if isinstance(value, bool):
        return int(value)
    if name in ("meta", "readers") and value is not None:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value
