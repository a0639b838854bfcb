"""Runs a table of hostile requests against the real application, in memory, and says how each answer is judged."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from alyx import config as settings
from alyx.app import build
from alyx.auth import tokens
from alyx.codegen import codes
from tests.asgi import Answer, Client
from tests.hostile.words import FROZEN, HIDDEN, THING, USER, Hostile

SECRET = "a secret of the tests, long enough for HS256"
_ALSO_TYPE = {"invalid_timestamp", "invalid_date", "invalid_uuid", "invalid_email", "invalid_url", "invalid_id", "invalid_select"}
"""Codes beside which `invalid_type` says the same of a value of another JSON type."""


def program(folder: Path) -> tuple[settings.Config, build.Source]:
    """A project with the schema of this folder, migrated."""
    (folder / "schema.yaml").write_bytes((Path(__file__).parent / "schema.yaml").read_bytes())
    (folder / "alyx.yaml").write_text(f"auth: {{ jwt: {{ secret: {SECRET!r} }} }}\ndatabase: {{ synchronous: normal }}\n")
    config = settings.load(folder / "alyx.yaml", env={})
    source = build.read_source(config)
    build.migrator(config).apply(source.schema, yes=True)
    return config, source


@dataclass
class Outcome:
    """What came back for the table: an answer and the milliseconds for each, the data before and after."""

    answers: dict[str, Answer] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    before: list[Any] = field(default_factory=list)
    after: list[Any] = field(default_factory=list)


def run(folder: Path, table: list[Hostile]) -> Outcome:
    """Send every request of the table, one after the other."""
    config, source = program(folder)
    return asyncio.run(_run(config, source, table))


async def _run(config: settings.Config, source: build.Source, table: list[Hostile]) -> Outcome:
    found = Outcome()
    async with build.database(config) as engine:
        program = build.Program(config, source, engine, SECRET, observers=[], dev=False)
        client = Client(program.edge)
        await _seed(client)
        found.before = await _everything(client, config)
        for hostile in table:
            started = perf_counter()
            found.answers[hostile.name] = await client.send(
                hostile.method, hostile.url, headers=list(hostile.headers), body=hostile.body
            )
            found.times[hostile.name] = (perf_counter() - started) * 1000
        found.after = await _everything(client, config)
    return found


async def _seed(client: Client) -> None:
    records: list[tuple[str, dict[str, Any]]] = [
        ("users", {"id": USER, "name": "Ada"}),
        (
            "things",
            {"id": THING, "title": "one", "slug": "taken", "count": 1, "meta": {"a": 1}, "owner_id": USER, "price": "10.50"},
        ),
        ("things", {"id": HIDDEN, "title": "hidden"}),
        ("things", {"id": FROZEN, "title": "frozen"}),
        ("select", {"order": "first"}),
    ]
    for collection, record in records:
        answer = await client.send("POST", f"/api/collections/{collection}", json=record)
        assert answer.status == 201, answer


async def _everything(client: Client, config: settings.Config) -> list[Any]:
    """Every record of every collection, as an admin sees it who sets the rules aside."""
    token = tokens.issue(config.tokens(SECRET), USER, role="admin")
    headers = {"authorization": f"Bearer {token}", "alyx-as-admin": "true"}
    found = []
    for name in ("users", "things", "select", "closed"):
        answer = await client.send("GET", f"/api/collections/{name}?limit=1000", headers=headers)
        assert answer.status == 200, answer
        found.append(answer.json())
    return found


def judge(hostile: Hostile, answer: Answer) -> None:
    """Status, code and fault are the contract's; nothing of the inside is told."""
    code = answer.json().get("code") if answer.body and answer.status >= 400 else None
    allowed = {(hostile.status, hostile.code), *((codes.status(more), more) for more in hostile.more)}
    assert (answer.status, code) in allowed, answer
    if hostile.fault:
        name, wanted = hostile.fault
        faults = {(detail["field"].rsplit("data.", 1)[-1], detail["code"]) for detail in answer.json().get("details", [])}
        assert faults & ({(name, wanted)} | ({(name, "invalid_type")} if wanted in _ALSO_TYPE else set())), answer.json()
