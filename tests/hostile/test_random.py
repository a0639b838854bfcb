"""Random requests, most of them nearly right: no answer is a fault of the server, and what was taken comes back the same."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from alyx.app import build
from alyx.auth import tokens
from tests.asgi import Answer, Client
from tests.hostile.driver import SECRET, program
from tests.hostile.words import THINGS, USER

FIELDS = (
    *(
        "id",
        "title",
        "slug",
        "count",
        "ratio",
        "price",
        "done",
        "at",
        "day",
        "meta",
        "meta.a",
        "meta.a.b",
        "data",
        "mail",
        "site",
    ),
    *("kind", "tags", "rich", "owner_id", "owner_id.name", "owner_id.pin", "secret", "created_at", "updated_at", "nope"),
)
OPERATORS = ["eq", "ne", "gt", "gte", "lt", "lte", "like", "in", "contains", "starts_with", "is_null", "not_null"]
TEXTS = (
    *(
        "",
        "a",
        "1",
        "-1",
        "0",
        "1.5",
        "true",
        "null",
        "2026-03-01",
        "2026-03-01T08:00:00Z",
        USER,
        "%",
        "_",
        "\\",
        "%\\",
        "a,b",
        ",",
    ),
    *(
        "é",
        "\U0001f600",
        "9223372036854775807",
        "1e308",
        "-0.0",
        "[]",
        '{"a":1}',
        "'",
        '"',
        "\u2028",
        "A" * 250,
        "00",
        " 1",
        "10.50",
    ),
)
GOOD: dict[str, tuple[Any, ...]] = {
    "title": ("a", "one", "frozen", "hidden", "é" * 50),
    "slug": (None, "s1", "s2", "s3"),
    "count": (0, 1, -5, 2**63 - 1),
    "price": (None, "1.50", "-0.01", "99999999999999.99"),
    "done": (True, False),
    "at": (None, "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"),
    "day": (None, "2026-03-01"),
    "data": (None, "", "AA=="),
    "kind": ("a", "b"),
    "tags": (None, [], ["x"], ["x", "y"]),
    "owner_id": (None, USER),
    "mail": (None, "a@b.example"),
}
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63 - 1, -(2**63), 1.5, -0.0, 5e-324, "", "a", "\x00", "\ud800", USER, "2026-03-01", "10.50", "x"),
    *(
        {"$inc": 1},
        {"$inc": 2**63 - 1},
        {"$inc": -(2**63)},
        {"$inc": 1e308},
        {"$inc": "1e3"},
        [],
        {},
        [None],
        {"": {"__proto__": []}},
    ),
)
ATOMS = (
    *(
        "doc.title",
        "doc.count",
        "doc.ratio",
        "doc.price",
        "doc.done",
        "doc.at",
        "doc.day",
        "doc.meta",
        "doc.meta.a",
        "doc.meta[0]",
    ),
    *(
        "doc.data",
        "doc.tags",
        "doc.owner_id",
        "auth.id",
        "auth.role",
        "auth.claims.x",
        "1",
        "0",
        "1.5",
        "'a'",
        "true",
        "null",
        "[1, 2]",
    ),
    *(
        "9223372036854775807",
        "b'a'",
        "timestamp('2026-03-01T00:00:00Z')",
        "duration('1h')",
        "size(doc.tags)",
        "doc.at.getFullYear()",
    ),
    *(
        "doc.title.matches('^a.*$')",
        "doc.tags.exists(t, t == 'x')",
        "doc.meta.a.all(t, t == 1)",
        "has(doc.meta.a)",
        "int(doc.title)",
    ),
    *(
        "doc.count / doc.count",
        "doc.count % 2",
        "-doc.count",
        "doc.count * doc.count",
        "doc.title.substring(1)",
        "doc.at - doc.created_at",
    ),
)


class Chance:
    """Everything random, from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.keys: list[str] = [USER]

    def request(self) -> tuple[str, str, Any]:
        """Method, URL and JSON body."""
        pick = self.random.choice
        one = f"{THINGS}/{pick(self.keys)}"
        kind = self.random.random()
        if kind < 0.55:
            return "GET", f"{THINGS}?{self.query()}", None
        if kind < 0.75:
            return "POST", THINGS, self.body() if self.random.random() < 0.9 else [self.body() for _ in range(3)]
        if kind < 0.87:
            return "PATCH", one, {name: self.value(name) for name in self.random.sample(list(GOOD), 3)}
        if kind < 0.93:
            return "PUT", one + pick(["", "?upsert=true"]), self.body()
        if kind < 0.96:
            return "DELETE", one, None
        methods = ["POST", "PATCH", "PUT", "DELETE"]
        operations = [
            {"method": pick(methods), "collection": "things", "id": pick(self.keys), "data": self.body()} for _ in range(3)
        ]
        return "POST", "/api/batch", {"operations": operations}

    def body(self) -> dict[str, Any]:
        names = self.random.sample(list(GOOD), self.random.randint(0, 6))
        found = {"title": "t"} | {name: self.value(name) for name in names}
        if self.random.random() < 0.3:
            found["meta"] = self.random.choice(ODD)
        return found

    def value(self, name: str) -> Any:
        return self.random.choice(GOOD[name] if self.random.random() < 0.85 else ODD)

    def query(self) -> str:
        return "&".join(
            f"{name}={quote(value, safe='')}" for name, value in (self.parameter() for _ in range(self.random.randint(1, 3)))
        )

    def parameter(self) -> tuple[str, str]:
        pick = self.random.choice
        kind = pick(["filter", "filter", "filter", "where", "where", "sort", "page", "fields", "search", "expand"])
        if kind == "filter":
            return kind, f"{pick(FIELDS)}:{pick(OPERATORS)}" + ("" if self.random.random() < 0.1 else f":{pick(TEXTS)}")
        if kind == "where":
            return kind, self.condition()
        if kind == "sort":
            return kind, ",".join(pick(["", "-"]) + pick(FIELDS) for _ in range(self.random.randint(1, 3)))
        if kind == "page":
            return pick([("limit", "0"), ("limit", "2"), ("offset", "1"), ("perPage", "3"), ("count", "none"), ("cursor", "x")])
        if kind == "search":
            return kind, pick(TEXTS)
        if kind == "fields":
            return kind, f"{pick(FIELDS)},{pick(FIELDS)}"
        return kind, pick(
            ["owner_id", "owner_id.things(owner_id)", "owner_id.things(owner_id).owner_id", "nope", "things(owner_id)"]
        )

    def condition(self, depth: int = 0) -> str:
        kind = self.random.random()
        if depth > 3 or kind < 0.35:
            return self.random.choice(ATOMS)
        left, right = self.condition(depth + 1), self.condition(depth + 1)
        if kind < 0.6:
            return f"{left} {self.random.choice(['==', '!=', '<', '<=', '>', '>=', 'in'])} {right}"
        if kind < 0.85:
            return f"({left} {self.random.choice(['&&', '||'])} {right})"
        return f"!({left})" if kind < 0.92 else f"({left} ? {right} : {self.condition(depth + 1)})"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_random_requests_never_meet_a_fault_of_the_server(seed: int, tmp_path: Path) -> None:
    config, source = program(tmp_path)
    token = tokens.issue(config.tokens(SECRET), USER, claims={"x": 1})
    seen: set[int] = set()

    async def run() -> None:
        chance = Chance(seed)
        async with build.database(config) as engine:
            client = Client(build.Program(config, source, engine, SECRET, observers=[], dev=False).edge)
            await client.send("POST", "/api/collections/users", json={"id": USER, "name": "Ada"})
            for _ in range(1500):
                method, url, body = chance.request()
                headers = {"authorization": f"Bearer {token}"} if chance.random.random() < 0.5 else {}
                answer = await client.send(method, url, json=body, headers=headers)
                assert answer.status < 500, (method, url, body, answer)
                seen.add(answer.status)
                if method == "POST" and url == THINGS and answer.status == 201:
                    _remember(chance, body, answer)

    asyncio.run(run())
    assert {200, 201, 204, 400, 404, 409} <= seen


def _remember(chance: Chance, body: Any, answer: Answer) -> None:
    """Keep the new ids for later requests; what was given must be what came back."""
    found = answer.json()
    for given, made in zip(body, found["docs"], strict=True) if isinstance(body, list) else [(body, found)]:
        chance.keys = [*chance.keys[-30:], made["id"]]
        if "title" in made:
            assert {name: made[name] for name in given if name != "price"} == {
                name: given[name] for name in given if name != "price"
            }
