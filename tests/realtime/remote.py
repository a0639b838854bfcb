"""A real server in a process of its own, and clients of it: plain HTTP, WebSocket, event stream; for tests of live queries."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from alyx.auth import tokens
from tests.realtime.follower import Follower

SECRET = "0123456789abcdef0123456789abcdef"
PATIENCE = 30.0
"""Seconds until a condition that must become true counts as failed; nothing waits that long unless something is wrong."""
Gone = (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, EOFError, asyncio.IncompleteReadError, asyncio.TimeoutError)


def token(user: str, role: str = "user", **claims: Any) -> str:
    """An access token that lasts for the test."""
    return tokens.issue(tokens.Settings(SECRET), user, role=role, ttl=7200, claims=claims or None)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    """Wait until it holds. what: told if it does not."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {patience:.0f} s")
        await asyncio.sleep(0.004)


class Server:
    """`alyx serve` in a folder. The port stays the same over restarts."""

    def __init__(self, folder: Path, schema: str, *, workers: int = 1, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "server.log"
        self.database = folder / "data" / "alyx.db"
        self._environment = {
            "ALYX_SERVER_PORT": str(self.port),
            "ALYX_SERVER_WORKERS": str(workers),
            "ALYX_AUTH_JWT_SECRET": SECRET,
            "ALYX_LOGGING_LEVEL": "warning",
            "ALYX_LIMITS_REALTIME_MESSAGES": "off",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        } | (settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.write_schema(schema)

    def write_schema(self, text: str) -> None:
        """Replace schema.yaml, as an editor does."""
        swap = self.folder / "schema.swp"
        swap.write_text(text)
        swap.rename(self.folder / "schema.yaml")

    def start(self, *words: str) -> None:
        """Start it, and wait until it serves. words: instead of `serve --migrate`."""
        before = self.log.stat().st_size if self.log.exists() else 0
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ALYX_")}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "alyx", *(words or ("serve", "--migrate"))],
                cwd=self.folder,
                env=inherited | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_for_line(r"ready in [0-9.]+ s", before)

    def wait_for_line(self, pattern: str, after: int = 0, patience: float = PATIENCE) -> None:
        """Wait until the log, from a position on, matches."""
        end = time.monotonic() + patience
        while not re.search(pattern, self.text(after)):
            assert self.process is not None
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"{pattern!r} did not come; the log was:\n{self.text(after)}")
            time.sleep(0.01)

    def text(self, after: int = 0) -> str:
        """What the server has said since a position of its log."""
        with open(self.log, "rb") as log:
            log.seek(after)
            return log.read().decode(errors="replace")

    def complaints(self) -> list[str]:
        """Lines of the log that speak of an error of the server's own."""
        signs = re.compile(r"Traceback|\bERROR\b|never retrieved|never awaited")
        return [line for line in self.text().splitlines() if signs.search(line)]

    def pids(self) -> list[int]:
        """The process and its workers."""
        assert self.process is not None
        return [self.process.pid, *children(self.process.pid)]

    def freeze(self) -> None:
        """Stop every process of it where it is, as a machine under load might."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, and wait until nobody listens."""
        assert self.process is not None
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process = None
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                    return
            time.sleep(0.01)
        raise AssertionError("the port stays open")

    def stop(self) -> int:
        """End it gently; gives the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE + 15)
        self.process = None
        return code

    def end(self) -> None:
        """Leave nothing behind."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.kill()

    def open(self) -> sqlite3.Connection:
        """The database as another program has it, each statement its own transaction unless BEGIN says otherwise. It never
        checkpoints: with this SQLite's age that is the server's alone."""
        connection = sqlite3.connect(self.database, timeout=10, isolation_level=None)
        for pragma in ("foreign_keys=ON", "recursive_triggers=ON", "wal_autocheckpoint=0", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")
        return connection


def children(pid: int) -> list[int]:
    """Processes that a process has started, theirs included."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(text) for text in (task / "children").read_text().split()]
    return [each for child in found for each in (child, *children(child))]


class Http:
    """Requests over kept connections; as many at once as are asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, admin: bool = False
    ) -> tuple[int, Any]:
        """(status, parsed body). admin: ask with the admin's rights."""
        lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
        if token is not None:
            lines.append(f"authorization: Bearer {token}")
        if admin:
            lines.append("alyx-as-admin: true")
        data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        if body is not None or method in ("POST", "PUT", "PATCH"):
            lines += ["content-type: application/json", f"content-length: {len(data)}"]
        raw = "\r\n".join([*lines, "", ""]).encode() + data
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)
        try:
            writer.write(raw)
            status, text, keeps = await _answer(reader)
        except BaseException:
            writer.transport.abort()
            raise
        if keeps:
            self._idle.append((reader, writer))
        else:
            writer.close()
        return status, json.loads(text) if text else None

    def close(self) -> None:
        """Drop the kept connections."""
        for _, writer in self._idle:
            writer.transport.abort()
        self._idle = []


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    length = re.search(r"content-length: (\d+)", head)
    text = await reader.readexactly(int(length[1])) if length and status not in (204, 304) else b""
    return status, text, "connection: close" not in head


_numbers = itertools.count(1)


class Socket:
    """A WebSocket with any number of followers on it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._asked: dict[str, Follower] = {}
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self.followers: dict[str, Follower] = {}
        self.stray: list[dict[str, Any]] = []
        """Messages that nobody waits for: errors without an id, deltas of unknown subscriptions."""
        self.closed_with: int | None = None

    @property
    def open(self) -> bool:
        return self._reader is not None and not self._reader.done()

    async def connect(self, token: str | None = None) -> None:
        """Open it; returns when the server has said `connected`. Raises one of Gone."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._socket = await connect(
            f"ws://127.0.0.1:{self._port}/api/realtime",
            additional_headers=headers,
            compression=None,
            max_size=None,
            max_queue=None,
            ping_interval=None,
            open_timeout=PATIENCE,
            proxy=None,
        )
        first = json.loads(await self._socket.recv())
        assert first["type"] == "connected", first
        assert set(first["payload"]) >= {"client_id", "protocol"}, first
        self.closed_with = None
        self._reader = asyncio.create_task(self._read(self._socket))

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                self._take(json.loads(text))
        except ConnectionClosed as closed:
            self.closed_with = closed.rcvd.code if closed.rcvd else None
        else:
            self.closed_with = socket.close_code
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the connection is gone"))
                    answer.exception()
            self._answers.clear()

    def _take(self, message: dict[str, Any]) -> None:
        kind, number, payload = message["type"], message.get("id"), message.get("payload") or {}
        if kind in ("snapshot", "resumed", "delta"):
            sub = payload["subscription_id"]
            assert next(iter(payload)) == "subscription_id", message
            follower = self.followers.get(sub)
            if follower is None and number in self._asked:
                follower = self.followers[sub] = self._asked.pop(number)
                follower.subscription = sub
            if follower is None:
                self.stray.append(message)
            else:
                follower.take(kind, payload)
            return
        if kind == "error" and number in self._asked:
            self._asked.pop(number).take("error", payload)
        elif kind == "error" and payload.get("subscription_id") in self.followers:
            self.followers.pop(payload["subscription_id"]).take("error", payload)
        elif number in self._answers:
            answer = self._answers.pop(number)
            if not answer.done():
                answer.set_result(message)
        else:
            self.stray.append(message)

    async def say(self, kind: str, payload: dict[str, Any] | None = None, number: str | None = None) -> None:
        """Send one message."""
        assert self._socket is not None
        message: dict[str, Any] = {"type": kind} if number is None else {"id": number, "type": kind}
        if payload is not None:
            message["payload"] = payload
        await self._socket.send(json.dumps(message, ensure_ascii=False))

    async def ask(self, kind: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send one message and wait for its answer (not for a subscription's)."""
        number = str(next(_numbers))
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self.say(kind, payload, number)
        return await asyncio.wait_for(answer, PATIENCE)

    async def subscribe(self, follower: Follower, payload: dict[str, Any], *, wait: bool = True) -> None:
        """Subscribe for a follower; `since` in the payload is what it resumes from. wait: until the answer is there."""
        number = str(next(_numbers))
        self._asked[number] = follower
        follower.begin(since=payload.get("since"))
        await self.say("subscribe", payload, number)
        if wait:
            await until(lambda: follower.answered or not self.open, f"an answer to subscribe {payload}")

    async def unsubscribe(self, follower: Follower) -> None:
        """End one subscription; what still comes for it is a fault."""
        answer = await self.ask("unsubscribe", {"subscription_id": follower.subscription})
        assert answer["type"] == "unsubscribed", answer
        del self.followers[follower.subscription]

    def stop_reading(self) -> None:
        """Take nothing more from the server, until `read_on`."""
        assert self._socket is not None
        self._socket.transport.pause_reading()

    def read_on(self) -> None:
        """Take what has come meanwhile, and go on."""
        assert self._socket is not None
        self._socket.transport.resume_reading()

    async def drop(self) -> None:
        """Cut the connection without a word, as a lost network does."""
        if self._socket is not None:
            self._socket.transport.abort()
        await self._ended()

    async def close(self) -> None:
        """Close it as the protocol asks."""
        if self._socket is not None:
            await self._socket.close()
        await self._ended()

    async def _ended(self) -> None:
        if self._reader is not None:
            await self._reader
        self.followers.clear()
        self._asked.clear()
        self._socket = self._reader = None


class Stream:
    """An event stream with one follower."""

    def __init__(self, port: int, follower: Follower) -> None:
        self._port = port
        self.follower = follower
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self.last_event = ""
        self.refused: tuple[int, Any] | None = None

    @property
    def open(self) -> bool:
        return self._reading is not None and not self._reading.done()

    async def connect(
        self, collection: str, query: list[tuple[str, str]], *, token: str | None = None, since: str | None = None
    ) -> None:
        """Ask; returns when the first event is there, or `refused` says what was answered instead. since: as Last-Event-ID."""
        url = f"/api/collections/{collection}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        lines = [f"GET {url} HTTP/1.1", "host: localhost", "accept: text/event-stream"]
        if token is not None:
            lines.append(f"authorization: Bearer {token}")
        if since is not None:
            lines.append(f"last-event-id: {since}")
        self.refused = None
        self.follower.begin(since=since)
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        if status != 200:
            length = re.search(r"content-length: (\d+)", head)
            self.refused = status, json.loads(await reader.readexactly(int(length[1]))) if length else None
            self._writer.transport.abort()
            return
        assert "content-type: text/event-stream" in head, head
        self._reading = asyncio.create_task(self._read(reader, "transfer-encoding: chunked" in head))
        await until(lambda: self.follower.answered or not self.open, f"an answer to {url}")

    async def _read(self, reader: asyncio.StreamReader, chunked: bool) -> None:
        text = b""
        with contextlib.suppress(*Gone):
            while piece := await (_chunk(reader) if chunked else reader.read(65_536)):
                text += piece
                *events, text = text.split(b"\n\n")
                for event in events:
                    self._take(event.decode())

    def _take(self, event: str) -> None:
        fields: dict[str, str] = {}
        for line in event.split("\n"):
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        if "data" not in fields:
            return  # a comment that keeps the connection alive
        payload = json.loads(fields["data"])
        if fields["event"] != "error":
            assert fields["id"] == payload["cursor"], event
            self.last_event = fields["id"]
        self.follower.take(fields["event"], payload)

    async def drop(self) -> None:
        """Cut the connection without a word."""
        if self._writer is not None:
            self._writer.transport.abort()
        if self._reading is not None:
            await self._reading
        self._writer = self._reading = None


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    size = int((await reader.readline()).strip() or b"0", 16)
    data = await reader.readexactly(size)
    await reader.readexactly(2)
    return data
