"""Live queries in the memory of one test: a backend, its Live, and connections that keep what they are told."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alyx.auth.tokens import Verifier
from alyx.base.identity import ANONYMOUS
from alyx.database import tables
from alyx.database.feed import read_position
from alyx.database.migrations import Migrator
from alyx.realtime import asking
from alyx.realtime.live import EventStream, Live
from alyx.realtime.outlet import Client
from alyx.realtime.session import Session
from alyx.realtime.settings import Settings
from alyx.records.records import Records
from alyx.rules.book import RuleBook
from alyx.schema import load
from tests.backend import Backend, observed


class Line:
    """A connection as the transport would hold it. taken: whether the client reads what it is sent."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.code: int | None = None
        self.taken = True
        self.unread = 0
        self._news = asyncio.Event()

    def send(self, data: bytes) -> None:
        text = data.decode()
        self.messages.append(_event(text) if text.startswith("event: ") else json.loads(text))
        if not self.taken:
            self.unread += len(data)
        self._news.set()

    def buffered(self) -> int:
        return self.unread

    def close(self, code: int, reason: str) -> None:
        self.code = code
        self._news.set()

    async def until(self, found: Callable[[], bool]) -> None:
        """Wait until something is so; at most three seconds."""
        async with asyncio.timeout(3.0):
            while not found():
                self._news.clear()
                await self._news.wait()


def _event(text: str) -> Any:
    lines = dict(line.split(": ", 1) for line in text.strip().split("\n"))
    return {"type": lines["event"], "cursor": lines.get("id"), "payload": json.loads(lines["data"])}


class Person:
    """A WebSocket client that applies what it is told, by the contract's letter."""

    def __init__(self, stage: Stage, user: str | None, role: str) -> None:
        self.line = Line()
        self._stage = stage
        identity, expires = stage.verifier.authenticate(stage.token(user, role)) if user else (ANONYMOUS, None)
        self.session: Session = stage.live.connect(self.line, Client(identity, expires, "192.0.2.1"))
        self._next = 0
        self.views: dict[str, dict[Any, Any]] = {}
        self.cursors: dict[str, str] = {}
        self._read = 0

    def say(self, kind: str, **payload: Any) -> str:
        self._next += 1
        self.session.receive(json.dumps({"id": str(self._next), "type": kind, "payload": payload}))
        return str(self._next)

    async def ask(self, kind: str, **payload: Any) -> Any:
        """Say something and wait for its answer."""
        message_id = self.say(kind, **payload)
        answers = lambda: [each for each in self.line.messages if each.get("id") == message_id]  # noqa: E731
        await self.line.until(lambda: bool(answers()) or self.line.code is not None)
        return answers()[0] if answers() else None

    async def subscribe(self, collection: str, **question: Any) -> str:
        """The id of a new subscription."""
        answer = await self.ask("subscribe", collection=collection, **question)
        assert answer["type"] in ("snapshot", "resumed"), answer
        return str(answer["payload"]["subscription_id"])

    def apply(self) -> None:
        """Take in what has come since the last call."""
        for message in self.line.messages[self._read :]:
            payload = message.get("payload", {})
            if message["type"] == "snapshot":
                self.views[payload["subscription_id"]] = {doc["id"]: doc for doc in payload["docs"]}
            elif message["type"] == "delta":
                view, changes = self.views[payload["subscription_id"]], payload["changes"]
                named = [
                    *changes.get("deletes", []),
                    *(doc["id"] for doc in changes.get("inserts", []) + changes.get("updates", [])),
                ]
                assert named, "an empty delta"
                assert len(named) == len(set(named)), "an id stands twice in a delta"
                for key in changes.get("deletes", []):
                    assert key in view, "a delete of what the client has not"
                    del view[key]
                for doc in changes.get("inserts", []):
                    assert doc["id"] not in view, "an insert of what the client has"
                    view[doc["id"]] = doc
                for doc in changes.get("updates", []):
                    assert doc["id"] in view, "an update of what the client has not"
                    view[doc["id"]] = doc
            if "cursor" in payload:
                self.cursors[payload["subscription_id"]] = payload["cursor"]
        self._read = len(self.line.messages)

    def shown(self, subscription: str) -> dict[Any, Any]:
        """What the view has now."""
        self.apply()
        return self.views[subscription]

    async def until(self, subscription: str, found: Callable[[dict[Any, Any]], bool]) -> None:
        await self.line.until(lambda: found(self.shown(subscription)))


def text(seconds: float) -> str:
    """A moment in the API's form."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Gate:
    """Stands before an engine's reads. hold: works whose answers wait for `release`. before: works that are not even begun until
    then. fail: work -> errors that it raises first. Works are named as the functions of `asking`.

    A story that names a work which is then never asked proves nothing: `Stage.run` refuses it.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        hold: Iterable[str] = (),
        before: Iterable[str] = (),
        fail: Mapping[str, Iterable[Exception]] | None = None,
    ) -> None:
        self._hold = set(hold)
        self._before = set(before)
        self._fail = {name: list(errors) for name, errors in (fail or {}).items()}
        self._named = self._hold | self._before | self._fail.keys()
        unknown = {name for name in self._named if not callable(getattr(asking, name, None))}
        assert self._named, "a gate for nothing"
        assert not unknown, f"no works of realtime: {unknown}"
        self._seen: set[str] = set()
        self._open = asyncio.Event()
        self.reached = asyncio.Event()
        self._read = stage.engine.read
        stage.engine.read = self.read  # type: ignore[method-assign]
        stage.gates.append(self)

    async def read(self, work: Any) -> Any:
        """In place of the engine's."""
        name = getattr(getattr(work, "func", None), "__name__", "")
        self._seen.add(name)
        if self._fail.get(name):
            raise self._fail[name].pop(0)
        if name in self._before:
            await self._stand()
        found = await self._read(work)
        if name in self._hold:
            await self._stand()
        return found

    async def _stand(self) -> None:
        self.reached.set()
        await self._open.wait()

    def release(self) -> None:
        """Let go of what waits, and of all that comes."""
        self._hold.clear()
        self._before.clear()
        self._open.set()

    def check(self) -> None:
        """Raises AssertionError where a work was named for nothing."""
        assert self._named <= self._seen, f"never asked: {self._named - self._seen}"
        assert not any(self._fail.values()), f"never raised: {self._fail}"


class Stage(Backend):
    """A backend with live queries."""

    def __init__(self, schema_text: str, folder: Path, settings: Settings | None = None) -> None:
        self.settings = settings or Settings(pause=0.001)
        self.gates: list[Gate] = []
        super().__init__(schema_text, folder)

    def start(self) -> None:
        super().start()
        self.verifier = Verifier(self._tokens)

        async def begin() -> None:
            self.live = Live(self.engine, self.settings, self.verifier.authenticate, self.records.planner, self.limits)
            await self.live.start()

        self._runner.run(begin())

    def stop(self) -> None:
        self._runner.run(self.live.stop())
        super().stop()

    def moment(self) -> float:
        """The time of now, in Unix seconds."""
        return self._moment

    def serve(self, schema_text: str) -> None:
        """Another schema, as a reload in dev mode would bring it."""
        self.schema = load.loads(schema_text)
        Migrator(str(self.path), str(self.folder / "migrations"), observed).apply(self.schema, yes=True)
        metadata = tables.build(self.schema)
        book = RuleBook.load(self.schema, metadata)
        self.records = Records(self.schema, book, metadata, self.engine, self.limits, asyncio.to_thread)
        self.engine.forget()
        self.live.serve(self.records.planner, self.limits)

    def token(self, user: str, role: str = "user", ttl: float = 3600, **claims: Any) -> str:
        return super().token(user, role, ttl, **claims)

    def person(self, user: str | None = None, role: str = "user") -> Person:
        return Person(self, user, role)

    def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Run a story on the backend's loop."""

        async def told() -> None:
            async with asyncio.timeout(20):
                await story()

        self._runner.run(told())
        for gate in self.gates:
            gate.check()
        self.gates.clear()

    async def write(self, method: str, path: str, body: Any = None, *, user: str | None = None, role: str = "user") -> Any:
        """A write that must succeed, from inside a story."""
        headers = {"authorization": f"Bearer {self.token(user, role)}"} if user else {}
        if body is not None:
            headers["content-type"] = "application/json"
        raw = json.dumps(body).encode() if body is not None else None
        answer = await self.client.send(method, "/api/collections" + path, headers=headers, body=raw)
        assert answer.status < 300, answer
        return answer.json() if answer.body else None

    async def seq(self) -> int:
        """The number of the last change."""
        return (await self.engine.read(read_position)).seq

    async def outside(self, sql: str, *values: Any) -> None:
        """A commit of another program."""

        # In a process of its own: to open and close the file in this one would drop the locks that it holds.
        script = (
            "import sqlite3,sys,json; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2], json.loads(sys.argv[3])); c.commit()"
        )
        arguments = [sys.executable, "-c", script, str(self.path), sql, json.dumps(values)]
        process = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, timeout=20)
        assert process.returncode == 0, process.stderr

    async def listed(self, path: str, *, user: str | None = None, role: str = "user") -> list[Any]:
        """The REST list."""
        return list((await self.write("GET", path, user=user, role=role))["docs"])

    async def stream(
        self, collection: str, query: str = "", *, user: str | None = None, since: str | None = None
    ) -> tuple[Line, EventStream]:
        line = Line()
        identity, expires = self.verifier.authenticate(self.token(user)) if user else (ANONYMOUS, None)
        client = Client(identity, expires, "192.0.2.1")
        return line, await self.live.stream(line, client, collection, query, since, False)
