"""The whole record stack in memory of one test: schema text -> tables, engine, rules, records, edge; called without a socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from alyx.auth import tokens
from alyx.base import clock
from alyx.database import tables
from alyx.database.migrations import Migrator
from alyx.database.sqlite.engine import Engine, Settings
from alyx.http import admin
from alyx.http import records as record_routes
from alyx.http import settings as http_settings
from alyx.http.edge import Edge
from alyx.http.routes import Routes
from alyx.records.limits import Limits
from alyx.records.records import Records
from alyx.rules.book import RuleBook
from alyx.schema import load
from alyx.schema.model import Schema
from tests.asgi import Answer, Client

SECRET = "a secret of the tests, 32 bytes or more"
PREFIX = "/api/collections"


def observed(schema: Schema) -> Any:
    """What the migrator asks: the columns of a collection that rules read."""
    return RuleBook.load(schema, tables.build(schema)).observed


class Backend:
    """A running backend. Paths are those below `/api/collections`; `as_user` signs in by a token."""

    def __init__(self, schema_text: str, folder: Path, limits: Limits | None = None) -> None:
        self.folder = folder
        self.path = folder / "alyx.db"
        self.schema = load.loads(schema_text)
        self.limits = limits or Limits()
        self._runner = asyncio.Runner()
        self._moment = 1_772_000_000.0
        clock.pin(lambda: self._moment)
        self._tokens = tokens.Settings(SECRET)
        self.start()

    def start(self) -> None:
        """Migrate, open and serve; also after `stop`."""
        Migrator(str(self.path), str(self.folder / "migrations"), observed).apply(self.schema, yes=True, accept_data_loss=True)
        metadata = tables.build(self.schema)
        self.engine = Engine.open(Settings(str(self.path)))
        self._runner.run(self.engine.start())
        book = RuleBook.load(self.schema, metadata)
        self.records = Records(self.schema, book, metadata, self.engine, self.limits, asyncio.to_thread)
        routes = Routes([*record_routes.routes(self.records), *admin.routes(self.records)])
        verifier = tokens.Verifier(self._tokens)
        self.edge = Edge(routes, http_settings.Edge(), identify=verifier.identify)
        self.client = Client(self.edge)

    def stop(self) -> None:
        """Close the database; the file stays."""
        self._runner.run(self.engine.stop())

    def close(self) -> None:
        """End everything."""
        self.stop()
        self._runner.close()
        clock.pin(None)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self._moment += seconds

    def token(self, user: str, role: str = "user", ttl: float = 3600, **claims: Any) -> str:
        """An access token."""
        return tokens.issue(self._tokens, user, role=role, ttl=ttl, **claims)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        as_user: str | None = None,
        role: str = "user",
        headers: dict[str, str] | None = None,
        absolute: bool = False,
    ) -> Answer:
        """One request with a JSON body (bytes are sent as they are)."""
        given = dict(headers or {})
        if as_user is not None:
            given["authorization"] = f"Bearer {self.token(as_user, role)}"
        raw = None
        if body is not None or method in ("POST", "PUT", "PATCH"):
            raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
            given.setdefault("content-type", "application/json")
        url = path if absolute else PREFIX + path
        return self._runner.run(self.client.send(method, url, headers=given, body=raw))

    def get(self, path: str, **options: Any) -> Answer:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any, **options: Any) -> Answer:
        return self.call("POST", path, body, **options)

    def patch(self, path: str, body: Any, **options: Any) -> Answer:
        return self.call("PATCH", path, body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Answer:
        return self.call("PUT", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.call("DELETE", path, **options)

    def batch(self, operations: list[dict[str, Any]], **options: Any) -> Answer:
        return self.call("POST", "/api/batch", {"operations": operations}, absolute=True, **options)

    def list(self, path: str, **options: Any) -> dict[str, Any]:
        """A list that must succeed."""
        answer = self.get(path, **options)
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.json()
        return found
