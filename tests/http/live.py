"""A server on loopback whose live queries are played by the test, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket

from alyx.auth.tickets import Tickets
from alyx.auth.tokens import Settings as TokenSettings
from alyx.auth.tokens import Verifier, issue
from alyx.base.errors import AlyxError
from alyx.database.work import Statement, Work, drive
from alyx.http import server, settings
from alyx.http.edge import Edge
from alyx.http.message import Request, Response, json_response
from alyx.http.origin import Origins
from alyx.http.realtime import Realtime
from alyx.http.records import asks_for_events
from alyx.http.routes import Route, Routes
from alyx.realtime.outlet import Client, Outlet

PATIENCE = 5.0
TOKENS = TokenSettings("a secret that is long enough for the tests")
DEADLINES = settings.Deadlines(head=0.5, keep_alive=0.4, send=0.5, shutdown=3.0)
OPTIONS = settings.Server(max_header_size=4096, max_connections=5_000, deadlines=DEADLINES)


class FakeSession:
    """Notes what the transport tells it, and echoes texts where the test wants that."""

    def __init__(self, outlet: Outlet, client: Client, *, echo: bool = False) -> None:
        self.outlet = outlet
        self.client = client
        self.echo = echo
        self.texts: list[str] = []
        self.drains = 0
        self.losses = 0

    def receive(self, text: str) -> None:
        assert not self.losses
        self.texts.append(text)
        if text == "fail":
            raise RuntimeError("a fault of the session")
        if self.echo:
            self.outlet.send(text.encode())

    def drained(self) -> None:
        assert not self.losses
        assert self.outlet.buffered() == 0
        self.drains += 1

    def lost(self) -> None:
        self.losses += 1


class FakeLive:
    """In place of realtime.live.Live: keeps its sessions, and streams what `events` says."""

    def __init__(self, *, echo: bool = False) -> None:
        self.echo = echo
        self.sessions: list[FakeSession] = []
        self.asked: list[tuple[str, str, str | None, bool]] = []
        self.events: list[bytes] = []
        self.refusal: AlyxError | None = None
        self.greeting = b'{"type":"connected"}'

    @property
    def last(self) -> FakeSession:
        return self.sessions[-1]

    def connect(self, outlet: Outlet, client: Client) -> FakeSession:
        session = FakeSession(outlet, client, echo=self.echo)
        self.sessions.append(session)
        outlet.send(self.greeting)
        return session

    async def stream(
        self, outlet: Outlet, client: Client, collection: str, query: str, since: str | None, as_admin: bool
    ) -> FakeSession:
        self.asked.append((collection, query, since, as_admin))
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        session = FakeSession(outlet, client)
        self.sessions.append(session)
        for event in self.events:
            outlet.send(event)
        return session


class Memory:
    """The table of tickets in a dictionary, behind the face of an engine."""

    def __init__(self) -> None:
        self.rows: dict[bytes, tuple[str, float]] = {}

    async def write(self, work: Callable[[], Work[Any]]) -> Any:
        def execute(statement: Statement) -> list[tuple[Any, ...]]:
            if statement.sql.startswith("INSERT"):
                key, identity, expires = statement.params
                self.rows[key] = (identity, expires)
                return []
            found = self.rows.pop(statement.params[0], None)
            return [found] if found is not None else []

        return drive(work(), execute)


class Place:
    """A running server and what its routes saw."""

    def __init__(self, live: FakeLive, edge: settings.Edge) -> None:
        self.live = live
        self.tickets = Memory()
        self.port = 0
        self.stop = asyncio.Event()
        self.release = asyncio.Event()
        self.held = asyncio.Event()
        self.serving: Any = None
        self.task: asyncio.Task[None] | None = None
        self.seen: list[tuple[str, str, int]] = []
        verifier = Verifier(TOKENS)
        realtime = Realtime(live, Tickets(self.tickets), verifier.credentials, Origins(edge.cors))
        routes = [
            *realtime.routes(),
            Route("GET", "/api/collections/{collection}", self._list(realtime)),
            Route("GET", "/wait", self._wait),
        ]
        self.edge = Edge(Routes(routes), edge, identify=verifier.identify, observers=[self._observe])

    def _list(self, realtime: Realtime) -> Callable[[Request, str], Awaitable[Response]]:
        async def answer(request: Request, collection: str) -> Response:
            if asks_for_events(request):
                return await realtime.stream(request, collection)
            return json_response({"docs": []})

        return answer

    async def _wait(self, request: Request) -> Response:
        self.held.set()
        await self.release.wait()
        return json_response({"done": True})

    def _observe(self, request: Request, status: int, size: int, seconds: float) -> None:
        self.seen.append((request.route, request.path, status))

    def socket(self, path: str = "/api/realtime", **options: Any) -> websocket:
        """A WebSocket client of the library, that offers compression as browsers do."""
        return websocket(f"ws://127.0.0.1:{self.port}{path}", open_timeout=PATIENCE, **options)

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, data: bytes) -> bytes:
        """Send, and read until the server closes."""
        reader, writer = await self.raw()
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        await close(writer)
        return answer


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def until(reached: Callable[[], bool]) -> None:
    """Give the server its turns until something has happened that nothing else tells of."""
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.002)


async def hear(client: ClientConnection) -> str:
    """The next message."""
    text = await asyncio.wait_for(client.recv(), PATIENCE)
    assert isinstance(text, str)
    return text


def token(user: str = "u1", *, role: str = "user", ttl: float = 900) -> str:
    """An access token."""
    return issue(TOKENS, user, role=role, ttl=ttl)


def bearer(user: str = "u1", **options: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user, **options)}"}


@contextlib.asynccontextmanager
async def running(
    live: FakeLive | None = None, *, edge: settings.Edge | None = None, options: settings.Server = OPTIONS
) -> AsyncIterator[Place]:
    """A server for as long as the block runs."""
    place = Place(live or FakeLive(), edge or settings.Edge())
    started = asyncio.Event()

    def tell(serving: server.Serving) -> None:
        place.serving = serving
        started.set()

    sock = server.bind("127.0.0.1", 0)
    place.port = sock.getsockname()[1]
    task = asyncio.create_task(server.serve(place.edge, sock, options, started=tell, stop=place.stop, signals=False))
    place.task = task
    await asyncio.wait_for(started.wait(), PATIENCE)
    try:
        yield place
    finally:
        place.stop.set()
        await asyncio.wait_for(task, 20)


def on_place(
    work: Callable[[Place], Awaitable[None]],
    live: FakeLive | None = None,
    *,
    edge: settings.Edge | None = None,
    options: settings.Server = OPTIONS,
) -> None:
    """Run `work` beside a server, then stop it; the whole must end."""

    async def run() -> None:
        async with running(live, edge=edge, options=options) as place:
            await work(place)

    server.run(asyncio.wait_for(run(), 60))
