"""The whole table against the real application, in memory: the contract's code for each, no 5xx, nothing lost, nobody waits."""

from __future__ import annotations

import asyncio
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import unquote

import pytest

from alyx import config as settings
from alyx.app import build
from alyx.auth import tokens
from tests.asgi import Answer, Client
from tests.hostile import bodies, paths, queries
from tests.hostile.words import FROZEN, HIDDEN, THING, THINGS, USER, Hostile

TABLE: list[Hostile] = [*bodies.TABLE, *queries.TABLE, *paths.TABLE]
SECRET = "a secret of the tests, long enough for HS256"
_ALSO_TYPE = {"invalid_timestamp", "invalid_date", "invalid_uuid", "invalid_email", "invalid_url", "invalid_id", "invalid_select"}
"""Codes beside which `invalid_type` says the same of a value of another JSON type."""

_INSIDE = ("traceback", "select ", "insert ", "where ", "sqlite", "apsw", "site-packages", '.py"', "_alyx", "/tmp/")
"""Words that would tell of SQL, files or stacks."""


@dataclass
class Outcome:
    """What came back for the table: an answer and the milliseconds for each, the data before and after."""

    answers: dict[str, Answer] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    before: list[Any] = field(default_factory=list)
    after: list[Any] = field(default_factory=list)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "schema.yaml").write_bytes((Path(__file__).parent / "schema.yaml").read_bytes())
    (folder / "alyx.yaml").write_text(f"auth: {{ jwt: {{ secret: {SECRET!r} }} }}\n")
    config = settings.load(folder / "alyx.yaml", env={})
    source = build.read_source(config)
    build.migrator(config).apply(source.schema, yes=True)
    return asyncio.run(_run(config, source))


async def _run(config: settings.Config, source: build.Source) -> Outcome:
    found = Outcome()
    async with build.database(config) as engine:
        program = build.Program(config, source, engine, SECRET, observers=[], dev=False)
        client = Client(program.edge)
        await _seed(client)
        found.before = await _everything(client, config)
        for hostile in TABLE:
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


def _rows() -> list[Any]:
    return [pytest.param(hostile, id=hostile.name[:80].encode("ascii", "replace").decode()) for hostile in TABLE]


@pytest.mark.parametrize("hostile", _rows())
def test_a_hostile_request_gets_the_contracts_answer(hostile: Hostile, outcome: Outcome) -> None:
    answer = outcome.answers[hostile.name]
    code = answer.json().get("code") if answer.body and answer.status >= 400 else None
    assert (answer.status, code) in {(hostile.status, hostile.code), *((_status(more), more) for more in hostile.more)}, answer
    if hostile.fault:
        name, wanted = hostile.fault
        faults = {(detail["field"].rsplit("data.", 1)[-1], detail["code"]) for detail in answer.json().get("details", [])}
        allowed = {(name, wanted)} | ({(name, "invalid_type")} if wanted in _ALSO_TYPE else set())
        assert faults & allowed, answer.json()


def _status(code: str) -> int:
    from alyx.http import status

    return status.of(code)


def test_no_hostile_request_is_answered_with_a_fault_of_the_server(outcome: Outcome) -> None:
    assert [name for name, answer in outcome.answers.items() if answer.status >= 500] == []


def test_every_refusal_has_the_envelope_and_tells_nothing_of_the_inside(outcome: Outcome) -> None:
    for hostile in TABLE:
        answer = outcome.answers[hostile.name]
        if answer.status < 400:
            continue
        envelope = answer.json()
        assert {"error", "code", "request_id", "timestamp"} <= set(envelope), hostile.name
        assert set(envelope) <= {"error", "code", "details", "hint", "operation", "request_id", "timestamp"}, hostile.name
        assert len(envelope.get("details", [])) <= 100, hostile.name
        assert len(answer.body) < 20_000, hostile.name
        sent = unquote(hostile.url).lower() + (hostile.body or b"").decode("latin-1").lower()
        told = [word for word in _INSIDE if word in answer.text.lower() and word not in sent]
        assert told == [], (hostile.name, answer.text)


def test_no_header_of_a_hostile_request_comes_back_as_a_header_of_its_own(outcome: Outcome) -> None:
    for name, answer in outcome.answers.items():
        assert "set-cookie" not in answer.headers, name
        assert all(b"\r" not in value and b"\n" not in value for _, value in answer.raw), name


def test_hostile_requests_change_nothing(outcome: Outcome) -> None:
    assert outcome.after == outcome.before


def test_hostile_requests_cost_little_time(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    """The goal is a median under 5 ms and none over 500; asserted with room for a machine that others use, too."""
    times = sorted(outcome.times.items(), key=lambda item: item[1])
    median = statistics.median(value for _, value in times)
    with capsys.disabled():
        print(f"\n{len(times)} hostile requests: median {median:.2f} ms, slowest", end=" ")
        print(", ".join(f"{value:.0f} ms ({name})" for name, value in times[-4:]))
    assert len(times) >= 200
    assert median < 50
    assert times[-1][1] < 5000


def test_texts_that_look_like_attacks_are_kept_as_they_are(tmp_path: Path) -> None:
    """What a field takes comes back letter by letter, whatever it looks like."""
    texts = [
        "'; DROP TABLE things; --",
        '"',
        "\\",
        "%_",
        "<script>",
        "\u202e\u2066",
        "e\u0301",
        "\u00e9",
        "\U0001f600",
        "${x}",
        "{0}%s",
    ]
    (tmp_path / "schema.yaml").write_bytes((Path(__file__).parent / "schema.yaml").read_bytes())
    config = settings.load(env={"ALYX_SCHEMA": str(tmp_path / "schema.yaml"), "ALYX_DATABASE_PATH": str(tmp_path / "a.db")})
    source = build.read_source(config)
    build.migrator(config).apply(source.schema, yes=True)

    async def write_and_read() -> None:
        async with build.database(config) as engine:
            client = Client(build.Program(config, source, engine, SECRET, observers=[], dev=False).edge)
            for text in texts:
                body = {"title": text, "meta": {text: [text]}}
                created = (await client.send("POST", THINGS, json=body)).json()
                read = (await client.send("GET", f"{THINGS}/{created['id']}")).json()
                assert (read["title"], read["meta"]) == (text, {text: [text]}), json.dumps(text)

    asyncio.run(write_and_read())
