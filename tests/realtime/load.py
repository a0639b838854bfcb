"""Steady writes to a server, and clients that come and go meanwhile; then the change log says whether they were told the truth.

Rows are created, changed and deleted so that few stand at any time; every write carries a number of its own, so that an
acknowledged one can be looked for in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from tests.realtime.follower import Doc, Follower
from tests.realtime.ledger import Line, Tables, View, end, judge, read_lines
from tests.realtime.remote import PATIENCE, Gone, Http, Server, Socket, Stream, token, until

T = TypeVar("T")
USERS = [f"user{n:011d}" for n in range(5)]
TEAMS = ["red", "blue", "green", "grey"]
ADMIN = token("harness00000000", "admin")
_FIELDS = """\
    fields:
      id: { type: id, primary: true, default: auto }
      n: { type: int }
      title: { type: string, default: "" }
      status: { type: select, select: { values: [draft, published] }, default: draft }
      owner_id: { type: string, nullable: true, index: true }
      team_id: { type: string, index: true }
"""
SCHEMA = f"""\
version: 1
collections:
  events:
{_FIELDS}    rules: {{ read: "doc.status == 'published' || auth.id == doc.owner_id" }}
  shared:
{_FIELDS}    rules:
      read: "collections.members.exists(m, m.team_id == doc.team_id && m.user_id == auth.id)"
  members:
    fields:
      id: {{ type: id, primary: true, default: auto }}
      team_id: {{ type: string, index: true }}
      user_id: {{ type: string, index: true }}
    rules: {{ read: "auth.id == doc.user_id" }}
"""


class Load:
    """Writes at a rate until it is stopped. Each of its hands has records of its own, so that none meets another's."""

    def __init__(self, server: Server, rate: float, seed: int, hands: int = 8) -> None:
        self._http = Http(server.port)
        self._rate, self._hands, self._seed = rate, hands, seed
        self._tasks: list[asyncio.Task[None]] = []
        self._count = 0
        self._stopping = False
        self.acknowledged: set[int] = set()
        """Numbers of the writes that were answered with 2xx, deletes aside."""
        self.writes = 0
        self.failed = 0
        self.began = 0.0

    def start(self) -> None:
        self.began = time.monotonic()
        self._tasks = [asyncio.create_task(self._write(Random(self._seed * 100 + hand))) for hand in range(self._hands)]

    async def stop(self) -> None:
        """Let every hand finish its write: one that is only given up may still be made after the log was read."""
        self._stopping = True
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._tasks)
        self._http.close()

    async def _write(self, rng: Random) -> None:
        alive: dict[str, list[str]] = {"events": [], "shared": [], "members": []}
        due = time.monotonic()
        while not self._stopping:
            due += self._hands / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() - due > 1:  # it was kept waiting: what was missed is not made up for
                due = time.monotonic()
            try:
                await self._one(rng, alive)
            except Gone:
                self.failed += 1
                self._http.close()
                await asyncio.sleep(0.05)

    async def _one(self, rng: Random, alive: dict[str, list[str]]) -> None:
        name = rng.choices(["events", "shared", "members"], [70, 28, 2])[0]
        keys, most = alive[name], {"events": 24, "shared": 16, "members": 2}[name]
        kind = rng.choice(["create", "delete"] if name == "members" else ["create", "create", "patch", "patch", "delete"])
        self._count += 1
        number = self._count
        base = f"/api/collections/{name}"
        if (kind == "create" and len(keys) < most) or not keys:
            doc = {"id": f"{number:015d}"} | self._content(rng, name, number)
            status, answer = await self._http.call("POST", base, doc, token=ADMIN, admin=True)
            keys.append(doc["id"])
        elif kind == "patch":
            changes = self._content(rng, name, number)
            for left_out in rng.sample(["title", "status", "owner_id", "team_id"], rng.randrange(4)):
                del changes[left_out]
            status, answer = await self._http.call("PATCH", f"{base}/{rng.choice(keys)}", changes, token=ADMIN, admin=True)
        else:
            key = keys.pop(rng.randrange(len(keys)))
            status, answer = await self._http.call("DELETE", f"{base}/{key}", token=ADMIN, admin=True)
            number = 0
        # A write that was cut off may have been made or not; its record is then missing or there already.
        assert status < 300 or (self.failed and status in (404, 409)), (status, answer)
        self.writes += 1
        if number and name != "members" and status < 300:
            self.acknowledged.add(number)

    def _content(self, rng: Random, name: str, number: int) -> Doc:
        if name == "members":
            return {"team_id": rng.choice(TEAMS), "user_id": rng.choice(USERS)}
        return {
            "n": number,
            "title": rng.choice(["a", "b", "c"]),
            "status": rng.choices(["draft", "published"], [85, 15])[0],
            "owner_id": rng.choice([None, *USERS]),
            "team_id": rng.choice(TEAMS),
        }

    @property
    def rate(self) -> float:
        """Writes a second so far."""
        return self.writes / (time.monotonic() - self.began)


@dataclass
class Wish:
    """A question under load: what to subscribe to, and what must come of it."""

    payload: dict[str, Any]
    view: View
    follower: Follower
    query: list[tuple[str, str]] = field(default_factory=list)
    """The same as parameters of a stream."""


def public_or_own(user: str | None) -> Callable[[Doc, Tables], bool]:
    return lambda doc, _: doc["status"] == "published" or (user is not None and doc["owner_id"] == user)


def in_team(user: str | None) -> Callable[[Doc, Tables], bool]:
    def sees(doc: Doc, tables: Tables) -> bool:
        members = tables.get("members", {}).values()
        return any(m["team_id"] == doc["team_id"] and m["user_id"] == user for m in members)

    return sees


def wish(kind: int, user: str | None, name: str) -> Wish:
    """One of four kinds: all that may be seen; with a filter; the latest ten; by membership in another collection."""
    own = public_or_own(user)
    if kind == 0:
        return Wish({"collection": "events"}, View("events", own), Follower(name))
    if kind == 1:
        view = View("events", lambda doc, tables: own(doc, tables) and doc["team_id"] == "red")
        payload = {"collection": "events", "filter": {"team_id": "red"}}
        return Wish(payload, view, Follower(name), [("filter", "team_id:eq:red")])
    if kind == 2:
        payload = {"collection": "events", "sort": "-n", "limit": 10}
        return Wish(payload, View("events", own), Follower(name, sort=("-n",), limit=10), [("sort", "-n"), ("limit", "10")])
    return Wish({"collection": "shared"}, View("shared", in_team(user), also=("members",)), Follower(name))


class Roamer:
    """A client that connects, stays a while, is cut off, and comes back with the last cursors; `stay` keeps it at last."""

    def __init__(self, server: Server, seed: int, kinds: Iterable[int] = (), between: tuple[float, float] = (0.2, 2.0)) -> None:
        self._server = server
        self._rng = Random(seed)
        self._between = between
        self.user = self._rng.choice([None, *USERS])
        chosen = tuple(kinds) or (0, self._rng.choice([1, 2, 3]))
        self.wishes = [wish(kind, self.user, f"client {seed}, question {kind}") for kind in chosen]
        self.socket = Socket(server.port)
        self.returns = 0
        self.closings: list[int | None] = []
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._roam())

    async def _roam(self) -> None:
        while not self._leaving.is_set():
            with contextlib.suppress(*Gone):
                await self._come()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), self._rng.uniform(*self._between))
                if self._leaving.is_set():
                    return
            await self._go()

    async def _come(self) -> None:
        try:
            await self.socket.connect(token(self.user) if self.user else None)
        except Gone:
            await asyncio.sleep(0.03)
            raise
        self.returns += 1
        for each in self.wishes:
            since = {"since": each.follower.cursor} if each.follower.cursor else {}
            await self.socket.subscribe(each.follower, each.payload | since, wait=False)

    async def _go(self) -> None:
        await self.socket.drop()
        self.closings.append(self.socket.closed_with)
        assert not self.socket.stray, self.socket.stray

    async def stay(self) -> None:
        """Remain connected from now on, and come back if that fails."""
        self._leaving.set()
        assert self._task is not None
        await self._task
        while not (self.socket.open and all(each.follower.answered for each in self.wishes)):
            with contextlib.suppress(*Gone):
                if not self.socket.open:
                    await self._go()
                    await self._come()
            await asyncio.sleep(0.01)

    async def leave(self) -> None:
        await self._go()


class StreamRoamer:
    """The same by an event stream of one question, resumed by Last-Event-ID as a browser does."""

    def __init__(self, server: Server, seed: int, kind: int, between: tuple[float, float] = (0.2, 2.0)) -> None:
        self._server = server
        self._rng = Random(seed)
        self._between = between
        self.user = self._rng.choice([None, *USERS])
        self.wishes = [wish(kind, self.user, f"stream {seed}, question {kind}")]
        self.stream = Stream(server.port, self.wishes[0].follower)
        self.returns = 0
        self.closings: list[int | None] = []
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._roam())

    async def _roam(self) -> None:
        while True:
            with contextlib.suppress(*Gone):
                await self._come()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), self._rng.uniform(*self._between))
                if self._leaving.is_set() and self.stream.open:
                    return
            await self.stream.drop()
            await asyncio.sleep(0.01)

    async def _come(self) -> None:
        each = self.wishes[0]
        since = self.stream.last_event or None
        signed = token(self.user) if self.user else None
        await self.stream.connect(each.view.collection, each.query, token=signed, since=since)
        assert self.stream.refused is None, self.stream.refused
        self.returns += 1

    async def stay(self) -> None:
        """Remain connected from now on."""
        self._leaving.set()
        assert self._task is not None
        await self._task

    async def leave(self) -> None:
        await self.stream.drop()


def with_server(folder: Path, story: Callable[[Server], Awaitable[T]], workers: int) -> T:
    """Run a story with a server of its own."""
    server = Server(folder, SCHEMA, workers=workers)
    try:
        server.start()
        return asyncio.run(story(server))
    finally:
        server.end()


def crew(server: Server, clients: int, streams: int, between: tuple[float, float] = (0.2, 2.0)) -> list[Roamer | StreamRoamer]:
    """So many clients by WebSocket and by event streams. between: seconds that they stay."""
    by_socket = [Roamer(server, seed, between=between) for seed in range(clients)]
    return [*by_socket, *(StreamRoamer(server, 500 + n, n % 4, between) for n in range(streams))]


async def finish(server: Server, load: Load, roamers: Sequence[Roamer | StreamRoamer]) -> tuple[list[Wish], list[Line]]:
    """End the writes, keep everybody connected until all that was written has arrived, and compare what they were told with the
    log. Gives what they asked for, and the log."""
    await load.stop()
    await asyncio.gather(*(each.stay() for each in roamers))
    lines = lines_of(server)
    wishes = [wish for each in roamers for wish in each.wishes]
    behind = await arrive(wishes, lines)
    for each in roamers:
        await each.leave()
    wrong = faults(wishes, lines)
    assert not behind + wrong, "\n".join([f"{len(behind)} and {len(wrong)} of {len(wishes)}", *behind[:5], *wrong[:8]])
    return wishes, lines


def resumed(wishes: Iterable[Wish]) -> int:
    """How often a token was good."""
    return sum(each.follower.counts.get("resumed", 0) for each in wishes)


def lines_of(server: Server) -> list[Line]:
    """The whole log."""
    connection = server.open()
    with contextlib.closing(connection):
        return read_lines(connection)


async def arrive(wishes: Iterable[Wish], lines: list[Line]) -> list[str]:
    """Wait until every follower shows what its view has in the end; what is wrong with those that do not."""
    behind = []
    deadline = time.monotonic() + PATIENCE
    for each in wishes:
        rows = end(lines, {}, each.view)
        probe = Follower(sort=each.follower.sort, docs=rows)
        wanted = probe.list()[: each.follower.limit]
        with contextlib.suppress(AssertionError):
            patience = max(0.1, deadline - time.monotonic())
            await until(lambda each=each, wanted=wanted: each.follower.list() == wanted, "", patience)
            continue
        shown = each.follower.list()
        lacks = [doc["id"] for doc in wanted if doc not in shown]
        extra = [doc["id"] for doc in shown if doc not in wanted]
        behind.append(f"{each.follower.name} at {each.follower.cursor} of {lines[-1].seq}: lacks {lacks}, has too much {extra}")
    return behind


def faults(wishes: Iterable[Wish], lines: list[Line]) -> list[str]:
    """Everything that the followers were told wrongly."""
    found = []
    for each in wishes:
        found += each.follower.faults[:3]
        found += [f"{each.follower.name}: {text}" for text in each.follower.tolerated[:3]]
        if each.follower.ended is not None:
            found.append(f"{each.follower.name} was ended with {each.follower.ended}")
        found += judge(lines, {}, each.view, each.follower)
    return found


def lost(load: Load, lines: list[Line]) -> set[int]:
    """Acknowledged writes that the log does not have."""
    return load.acknowledged - {line.after["n"] for line in lines if line.after is not None and "n" in line.after}
