"""Live queries as part of a program: switched on and off, and taken over a reload."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alyx import config as settings
from alyx.app import build
from alyx.http import server
from tests.asgi import Client
from tests.http.live import PATIENCE

SECRET = "a secret of at least thirty-two bytes"
SCHEMA = """
version: 1
collections:
  things:
    fields:
      id:   { type: id, primary: true, default: auto }
      name: { type: string }
    rules: { read: "true", create: "true" }
"""


@contextlib.asynccontextmanager
async def program(folder: Path, more: str = "") -> AsyncIterator[build.Program]:
    """A program over a database of its own."""
    (folder / "schema.yaml").write_text(SCHEMA)
    (folder / "alyx.yaml").write_text(more)
    config = settings.load(folder / "alyx.yaml", env={})
    source = build.read_source(config)
    build.migrator(config).apply(source.schema, yes=True)
    async with build.database(config) as engine:
        yield build.Program(config, source, engine, SECRET, observers=[], dev=False)


def test_switched_off_its_routes_are_not_there_and_lists_answer_with_pages(tmp_path: Path) -> None:
    async def run() -> None:
        async with program(tmp_path, "realtime: { enabled: false }\n") as made, made.running():
            client = Client(made.edge)
            assert (await client.send("GET", "/api/realtime")).status == 404
            assert (await client.send("POST", "/api/realtime/ticket")).status == 404
            found = await client.send("GET", "/api/collections/things", headers={"Accept": "text/event-stream"})
            assert found.json()["docs"] == []
            health = (await client.send("GET", "/health")).json()
            assert "realtime" not in health["components"]
            made.drain()

    asyncio.run(run())


def test_switched_on_health_and_metrics_tell_of_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with program(tmp_path) as made, made.running():
            client = Client(made.edge)
            assert (await client.send("GET", "/api/realtime")).status == 426
            assert (await client.send("POST", "/api/realtime/ticket")).status == 401
            assert "Accept" in (await client.send("GET", "/api/collections/things")).headers["vary"]
            assert (await client.send("GET", "/health")).json()["components"]["realtime"]["status"] == "healthy"
            metrics = (await client.send("GET", "/metrics")).text
            for name in ("alyx_realtime_connections", "alyx_realtime_subscriptions", "alyx_changes_lag_seconds"):
                assert f"\n{name} 0.0\n" in metrics

    asyncio.run(run())


@pytest.mark.slow
def test_a_stream_goes_on_over_a_reload_and_ends_when_the_program_stops(tmp_path: Path) -> None:
    async def run() -> None:
        async with program(tmp_path) as made, made.running():
            sock = server.bind("127.0.0.1", 0)
            started, stop = asyncio.Event(), asyncio.Event()
            serving = asyncio.create_task(
                server.serve(made.edge, sock, started=lambda _: started.set(), draining=made.drain, stop=stop, signals=False)
            )
            await started.wait()
            reader, writer = await asyncio.open_connection(*sock.getsockname()[:2])
            writer.write(b"GET /api/collections/things HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")

            async def event(*wanted: bytes) -> bytes:
                text = await asyncio.wait_for(reader.readuntil(b"\n\n\r\n"), PATIENCE)
                assert all(word in text for word in wanted), text
                return text

            client = Client(made.edge)
            await event(b"\r\nvary: Accept\r\n", b"event: snapshot", b'"docs":[]')
            await client.send("POST", "/api/collections/things", json={"name": "one"})
            await event(b"event: delta", b'"name":"one"')
            (tmp_path / "schema.yaml").write_text(SCHEMA.replace('read: "true"', "read: \"doc.name != 'one'\""))
            made.swap(build.read_source(settings.load(tmp_path / "alyx.yaml", env={})))
            await event(b"event: snapshot", b'"docs":[]', b'"reset":true')
            stop.set()
            rest: Any = await asyncio.wait_for(reader.read(), PATIENCE)
            assert rest.endswith(b"0\r\n\r\n")
            await asyncio.wait_for(serving, PATIENCE)
            writer.close()

    asyncio.run(run())
