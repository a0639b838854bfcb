"""One random history: callers subscribe, records and memberships change in every way, connections drop, callers sign in and out.

At each quiet point every follower must show what the REST list gives the same caller, must have been sent nothing that the caller
could not read since the last quiet point, and must have met no broken promise of the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from tests.realtime.follower import Doc, Follower
from tests.realtime.histories import questions, world
from tests.realtime.histories.questions import Question
from tests.realtime.histories.world import CALLERS, COLLECTIONS, COMMENTED, USERS, Who
from tests.realtime.ledger import last_seq
from tests.realtime.remote import PATIENCE, Http, Server, Socket, Stream, token, until

ADMIN = token("harness00000000", "admin")
MARKER = "marker000000000"
SETTLE = 0.15
"""Seconds in which a query that is put off (50 ms) would show, at the end of a history."""

Tables = dict[str, dict[str, Doc]]


@dataclass
class Watch:
    """A question that somebody follows. callers: those it was asked for since the last quiet point."""

    question: Question
    follower: Follower
    callers: list[Who]
    socket: Link | None = None
    stream: Stream | None = None

    @property
    def who(self) -> Who:
        return self.callers[-1]


@dataclass
class Link:
    """A WebSocket, who is signed in on it, and what it follows."""

    socket: Socket
    who: Who
    marker: Follower
    watches: list[Watch] = field(default_factory=list)


class History:
    """seed: of all choices. server: runs with `world.schema()`; everything in it is deleted first."""

    def __init__(self, server: Server, connection: sqlite3.Connection, seed: int) -> None:
        self.server, self.connection = server, connection
        self.rng = Random(seed)
        self.made = world.Made(self.rng)
        self.http = Http(server.port)
        self.links: list[Link] = []
        self.streams: list[Watch] = []
        self.told: list[str] = []
        """What was done, for the report of a failure."""
        self.states: list[Tables] = []
        """All tables at the last quiet point and after each commit since."""
        self.former: list[Tables] = []
        """The same of the round before."""
        self.tables: Tables = {}
        self.seq = 0
        self.marked = 0
        self.checked = 0

    async def run(self) -> None:
        """Raises AssertionError with what was done if a promise is broken."""
        try:
            await self._begin()
            for _ in range(self.rng.randrange(3, 7)):
                await self._round()
                await self._quiet()
            await asyncio.sleep(SETTLE)
            await self._quiet()
        except Exception as error:
            raise AssertionError("\n".join([str(error) or repr(error), "after:", *self.told])) from error
        finally:
            for link in self.links:
                with contextlib.suppress(Exception):
                    await link.socket.drop()
            for watch in self.streams:
                assert watch.stream is not None
                await watch.stream.drop()
            self.http.close()

    # --- the course of events -------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        with self._transaction():
            for name in ("comments", *COLLECTIONS, "members", "users", "markers"):
                self.connection.execute(f'DELETE FROM "{name}"')
            for user in USERS:
                self._insert("users", {"id": user, "name": user[-1], "hidden": self.rng.random() < 0.3})
            for _ in range(self.rng.randrange(6)):
                self._insert("members", self.made.document("members"))
        self.seq = last_seq(self.connection)
        self.tables = {name: {} for name in ("users", "members", "comments", "markers", *COLLECTIONS)}
        for name in ("users", "members"):
            rows = self.connection.execute(f'SELECT * FROM "{name}"')
            names = [column[0] for column in rows.description]
            for row in rows:
                doc = dict(zip(names, row, strict=True))
                for flag in {"hidden", "banned"} & doc.keys():
                    doc[flag] = bool(doc[flag])
                self.tables[name][doc["id"]] = doc
        self.states = [self._copy()]
        self.focus = self.rng.sample(COLLECTIONS, self.rng.randrange(1, 4))
        """The collections of this history, few enough that something happens in each."""
        for _ in range(self.rng.randrange(16)):
            await self._write()
        for _ in range(self.rng.randrange(1, 4)):
            await self._connect()
        for _ in range(self.rng.randrange(3)):
            await self._open_stream()
        self.told.append("-- all are connected")

    async def _round(self) -> None:
        for _ in range(self.rng.randrange(3, 14)):
            writes, weights = [self._write, self._burst, self._crowd], [12, 4, 3]
            moves = [self._sign_in, self._subscribe, self._unsubscribe, self._drop, self._drop_stream]
            await self.rng.choices([*writes, *moves], [*weights, 3, 2, 1, 2, 1])[0]()
        for link in self.links:
            if not link.socket.open:
                await self._reconnect(link)

    async def _connect(self) -> None:
        who = self.rng.choice(CALLERS)
        link = Link(Socket(self.server.port), who, Follower("markers"))
        self.links.append(link)
        await self._dial(link)
        await link.socket.subscribe(link.marker, {"collection": "markers"})
        for _ in range(self.rng.randrange(2, 6)):
            await self._follow(link)

    async def _dial(self, link: Link) -> None:
        """Open the connection, signed in by header or by message."""
        if link.who.id is None or self.rng.random() < 0.5:
            await link.socket.connect(_token(link.who))
        else:
            await link.socket.connect()
            await self._authenticate(link, link.who)

    async def _follow(self, link: Link) -> None:
        question = questions.make(self.rng, admin=link.who.role == "admin", collection=self.rng.choice(self.focus))
        follower = _follower(question)
        watch = Watch(question, follower, [link.who], socket=link)
        link.watches.append(watch)
        self.told.append(f"{link.who.name} subscribes {json.dumps(question.payload, ensure_ascii=False)}")
        await link.socket.subscribe(follower, question.payload, wait=self.rng.random() < 0.5)

    async def _open_stream(self) -> None:
        who = self.rng.choice(CALLERS)
        question = questions.make(self.rng, collection=self.rng.choice(self.focus))
        watch = Watch(question, _follower(question), [who])
        watch.stream = Stream(self.server.port, watch.follower)
        self.told.append(f"{who.name} streams {question.collection} {question.asked}")
        await watch.stream.connect(question.collection, question.asked, token=_token(who))
        if watch.stream.refused is not None:
            assert watch.stream.refused[0] == 403, (watch.stream.refused, question)
            watch.follower.answered, watch.follower.ended = True, "FORBIDDEN"
        self.streams.append(watch)

    async def _sign_in(self) -> None:
        """Somebody else, or nobody, on an open connection."""
        open_links = [link for link in self.links if link.socket.open]
        if not open_links:
            return
        link = self.rng.choice(open_links)
        who = self.rng.choice(CALLERS)
        self.told.append(f"{link.who.name} becomes {who.name}")
        if self.rng.random() < 0.1:
            answer = await link.socket.ask("auth", {"token": "no token"})
            assert (answer["type"], answer["payload"]["code"]) == ("error", "UNAUTHORIZED"), answer
        for watch in link.watches:
            watch.callers.append(who)
        await self._authenticate(link, who)

    async def _authenticate(self, link: Link, who: Who) -> None:
        link.who = who
        answer = await link.socket.ask("auth", {"token": _token(who)})
        assert answer["type"] == "authenticated", answer
        assert answer["payload"] == {"user_id": who.id}, answer

    async def _subscribe(self) -> None:
        links = [link for link in self.links if link.socket.open and len(link.watches) < 8]
        if links:
            await self._follow(self.rng.choice(links))

    async def _unsubscribe(self) -> None:
        links = [link for link in self.links if link.socket.open and link.watches]
        if not links:
            return
        link = self.rng.choice(links)
        watch = self.rng.choice(link.watches)
        await until(lambda: watch.follower.answered or not link.socket.open, "an answer to a subscribe")
        if watch.follower.ended is None:
            self.told.append(f"{link.who.name} unsubscribes {watch.question.payload}")
            await link.socket.unsubscribe(watch.follower)
            self._judge(watch)
            link.watches.remove(watch)

    async def _drop(self) -> None:
        links = [link for link in self.links if link.socket.open]
        if links:
            link = self.rng.choice(links)
            self.told.append(f"{link.who.name} drops")
            await link.socket.drop()
            if self.rng.random() < 0.4:
                await self._reconnect(link)

    async def _reconnect(self, link: Link) -> None:
        """Come back, as the same caller or as another, and resume everything."""
        if self.rng.random() < 0.15:
            link.who = self.rng.choice(CALLERS)
            for watch in link.watches:
                watch.callers.append(link.who)
        self.told.append(f"{link.who.name} comes back")
        await self._dial(link)
        await link.socket.subscribe(link.marker, {"collection": "markers", "since": link.marker.cursor})
        for watch in link.watches:
            if watch.follower.ended is None:
                payload = watch.question.payload | ({"since": watch.follower.cursor} if watch.follower.cursor else {})
                await link.socket.subscribe(watch.follower, payload, wait=self.rng.random() < 0.5)

    async def _drop_stream(self) -> None:
        watches = [watch for watch in self.streams if watch.stream is not None and watch.stream.open]
        if watches:
            watch = self.rng.choice(watches)
            assert watch.stream is not None
            self.told.append(f"the stream of {watch.who.name} drops and comes back")
            await watch.stream.drop()
            if self.rng.random() < 0.5:
                await self._write()
            since = watch.follower.cursor
            await watch.stream.connect(watch.question.collection, watch.question.asked, token=_token(watch.who), since=since)
            assert watch.stream.refused is None, watch.stream.refused

    # --- writes ---------------------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """One commit: by the API, or by another program."""
        await self.rng.choice([self._write_by_api, self._write_by_api, self._write_outside, self._write_batch])()
        self._observe()

    async def _burst(self) -> None:
        """Several commits of another program before the server can look, since it is stopped in the meantime."""
        self.told.append("-- while the server is stopped")
        self.server.freeze()
        try:
            for _ in range(self.rng.randrange(2, 9)):
                with contextlib.suppress(sqlite3.OperationalError):  # it was stopped while it held the lock
                    await self._write_outside()
                    self._observe()
        finally:
            self.server.thaw()
        self.told.append("-- it goes on")

    async def _crowd(self) -> None:
        """Several requests at once: which commits first is not known."""
        requests = [request for _ in range(self.rng.randrange(2, 6)) for request in self._requests()]
        self.told.append(f"at once: {requests}")
        await asyncio.gather(*(self._send(*request) for request in requests))
        self._observe(each_line=True)

    async def _write_by_api(self) -> None:
        for request in self._requests():
            self.told.append(" ".join(map(str, request)))
            await self._send(*request)

    async def _write_batch(self) -> None:
        operations = []
        for _ in range(self.rng.randrange(1, 5)):
            for method, path, body in self._requests():
                _, _, _, collection, *rest = path.split("/")
                operation = {"method": method, "collection": collection}
                operations.append(operation | ({"id": rest[0]} if rest else {}) | ({"data": body} if body is not None else {}))
        self.told.append(f"batch {operations}")
        await self._send("POST", "/api/batch", {"operations": operations})

    async def _send(self, method: str, path: str, body: Any) -> None:
        status, answer = await self.http.call(method, path, body, token=ADMIN, admin=True)
        assert status < 300 or status in (404, 409), (method, path, body, status, answer)

    def _target(self) -> str:
        return self.rng.choices([*self.focus, "members", "users", "comments"], [*[4] * len(self.focus), 4, 1, 2])[0]

    def _some(self, collection: str) -> str | None:
        keys = list(self.tables[collection])
        return self.rng.choice(keys) if keys else None

    def _requests(self) -> list[tuple[str, str, Any]]:
        """One write by the API."""
        collection = self._target()
        base = f"/api/collections/{collection}"
        key = self._some(collection)
        if collection == "users":
            return [("PATCH", f"{base}/{key}", {"hidden": self.rng.random() < 0.4})] if key else []
        kind = self.rng.choices(["create", "patch", "put", "delete"], [5, 8, 1, 2])[0]
        if kind == "create" or key is None:
            return [("POST", base, self._referring(collection, self.made.document(collection)))]
        if kind == "patch":
            return [("PATCH", f"{base}/{key}", self.made.changes(collection))]
        if kind == "put":
            body = self._referring(collection, self.made.document(collection))
            del body["id"]
            return [("PUT", f"{base}/{key}", body)]
        return [("DELETE", f"{base}/{key}", None)]

    def _referring(self, collection: str, doc: Doc) -> Doc:
        """With references that exist."""
        if collection == "comments":
            for name in COMMENTED:
                key = self._some(name)
                if key is not None and self.rng.random() < 0.6:
                    doc[f"{name}_id"] = key
        return doc

    async def _write_outside(self) -> None:
        """One transaction of another program, of one statement or several."""
        with self._transaction():
            for _ in range(self.rng.choice([1, 1, 1, 2, 4])):
                self._statement()

    def _statement(self) -> None:
        collection = self._target()
        key = self._some(collection)
        kind = self.rng.choices(["insert", "update", "delete", "sweep", "rekey", "replace", "secret"], [5, 8, 2, 1, 1, 1, 2])[0]
        if collection == "users" or key is None:
            kind = "insert" if collection != "users" else "update"
        if kind == "insert":
            self._insert(collection, self._referring(collection, self.made.document(collection)))
        elif kind == "replace" and collection in COLLECTIONS:
            self._insert(collection, self.made.document(collection) | {"id": key}, "INSERT OR REPLACE")
        elif kind == "delete":
            self._execute(f'DELETE FROM "{collection}" WHERE id = ?', [key])
        elif kind == "sweep" and collection in COLLECTIONS:
            self._execute(f'UPDATE "{collection}" SET status = ?', [self.made.value("status")])
        elif kind == "rekey":
            self._execute(f'UPDATE "{collection}" SET id = ? WHERE id = ?', [self.made.key(), key])
        elif kind == "secret" and collection in COLLECTIONS:
            self._execute(f'UPDATE "{collection}" SET secret = ? WHERE id = ?', [self.rng.choice(["no", "open"]), key])
        else:
            changes = {"hidden": self.rng.random() < 0.4} if collection == "users" else self.made.changes(collection)
            changes.pop("price", None)
            if changes:
                columns = ", ".join(f'"{name}" = ?' for name in changes)
                values = [world.stored(name, value) for name, value in changes.items()]
                self._execute(f'UPDATE "{collection}" SET {columns} WHERE id = ?', [*values, key])

    def _insert(self, collection: str, doc: Doc, verb: str = "INSERT") -> None:
        doc.pop("price", None)
        columns, marks = ", ".join(f'"{name}"' for name in doc), ", ".join("?" * len(doc))
        values = [world.stored(name, value) for name, value in doc.items()]
        self._execute(f'{verb} INTO "{collection}" ({columns}) VALUES ({marks})', values)

    def _execute(self, sql: str, values: list[Any]) -> None:
        self.told.append(f"outside: {sql} {[v if len(str(v)) < 60 else str(v)[:20] + '...' for v in values]}")
        with contextlib.suppress(sqlite3.IntegrityError):
            self.connection.execute(sql, values)

    @contextlib.contextmanager
    def _transaction(self) -> Any:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        self.told.append("outside: commit")

    # --- what is true -----------------------------------------------------------------------------------------------------------

    def _observe(self, *, each_line: bool = False) -> None:
        """Take up what was committed. each_line: a state after each line, where the commits are not known."""
        rows = self.connection.execute(
            "SELECT seq, collection, doc_id, after, hidden_after FROM _alyx_changes WHERE seq > ? ORDER BY seq", (self.seq,)
        ).fetchall()
        for seq, collection, key, after, hidden in rows:
            assert seq == self.seq + 1, f"the log goes from {self.seq} to {seq}"
            self.seq = seq
            if after is None:
                self.tables[collection].pop(key, None)
            else:
                doc = json.loads(after)
                for name, value in doc.items():
                    if isinstance(value, dict) and "$big" in value:
                        doc[name] = self.made.large[value["$big"]]
                self.tables[collection][key] = doc | (json.loads(hidden) if hidden else {})
            if each_line:
                self.states.append(self._copy())
        if rows and not each_line:
            self.states.append(self._copy())

    def _copy(self) -> Tables:
        return {name: dict(docs) for name, docs in self.tables.items()}

    # --- quiet points -----------------------------------------------------------------------------------------------------------

    def _watches(self) -> list[Watch]:
        return [*(watch for link in self.links for watch in link.watches), *self.streams]

    async def _quiet(self) -> None:
        """Wait until everything has arrived, then compare."""
        self.marked += 1
        status, answer = await self.http.call(
            "PUT", f"/api/collections/markers/{MARKER}?upsert=true", {"n": self.marked}, token=ADMIN, admin=True
        )
        assert status in (200, 201), answer
        self._observe()
        for link in self.links:
            assert link.socket.open, f"the connection of {link.who.name} was closed with {link.socket.closed_with}"
            await until(
                lambda link=link: link.marker.docs.get(MARKER, {}).get("n") == self.marked, f"the marker for {link.who.name}"
            )
            assert not link.socket.stray, link.socket.stray
            assert not link.marker.faults + link.marker.tolerated, link.marker.faults + link.marker.tolerated
        for watch in self._watches():
            await self._agree(watch)
        for watch in self._watches():
            self._judge(watch)
            watch.callers = watch.callers[-1:]
        for link in self.links:
            link.watches = [watch for watch in link.watches if watch.follower.ended is None]
        self.streams = [watch for watch in self.streams if watch.follower.ended is None]
        self.former, self.states = self.states, [self._copy()]
        self.told.append("-- quiet")
        complaints = self.server.complaints()
        assert not complaints, complaints

    async def _list(self, watch: Watch, who: Who | None = None) -> list[Doc] | None:
        """What the list gives the same caller; None if it is closed to it. who: instead of who is signed in now."""
        question = watch.question
        url = f"/api/collections/{question.collection}?{urlencode(question.listed, quote_via=quote)}"
        status, answer = await self.http.call("GET", url, token=_token(who or watch.who), admin=question.as_admin)
        assert status in (200, 403), (url, status, answer)
        return answer["docs"] if status == 200 else None

    async def _agree(self, watch: Watch) -> None:
        follower, question = watch.follower, watch.question
        await until(lambda: follower.answered, f"an answer to {question.payload}")
        if follower.ended is not None:
            refused = [who.name for who in watch.callers if await self._list(watch, who) is None]
            assert follower.ended == "FORBIDDEN", f"{question.payload} was ended with {follower.ended}"
            assert refused, f"{question.payload} was refused, but the list is open to {[who.name for who in watch.callers]}"
            return
        listed = await self._list(watch)
        if question.plain and question.collection != "timed" and listed is not None:
            true = [doc for doc in self.tables[question.collection].values() if self._may(watch.who, question, doc, self.tables)]
            ids = sorted(doc["id"] for doc in true)
            assert ids == sorted(doc["id"] for doc in listed), f"the list of {watch.who.name} is not what its rule says: {ids}"
        end = time.monotonic() + PATIENCE / 3
        while not self._same(follower, listed):
            await asyncio.sleep(0.005)
            if question.collection == "timed":
                listed = await self._list(watch)
            if time.monotonic() > end:
                raise AssertionError(self._difference(watch, listed))
        self.checked += 1

    def _same(self, follower: Follower, listed: list[Doc] | None) -> bool:
        if listed is None:
            return follower.ended == "FORBIDDEN" or not follower.docs
        return follower.ended is None and follower.list() == listed

    def _difference(self, watch: Watch, listed: list[Doc] | None) -> str:
        follower = watch.follower
        shown, wanted = [_short(doc) for doc in follower.list()], [_short(doc) for doc in listed or []]
        return "\n".join(
            [
                f"{watch.who.name} ({'stream' if watch.stream else 'socket'}) {watch.question.payload}",
                f"answered {follower.answered}, ended {follower.ended}, cursor {follower.cursor}, last change {self.seq}",
                f"shows {len(shown)}, the list gives {'403' if listed is None else len(wanted)}",
                *(f"  only shown: {doc}" for doc in shown if doc not in wanted),
                *(f"  only listed: {doc}" for doc in wanted if doc not in shown),
                "the last messages:",
                *(f"  {each.kind} {_short(each.payload)}" for each in follower.received[-4:]),
            ]
        )

    def _may(self, who: Who, question: Question, doc: Doc, tables: Tables, collection: str | None = None) -> bool:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
        as_admin = question.as_admin and who.role == "admin"
        return world.readable(who, collection or question.collection, doc, tables, now, as_admin=as_admin)

    def _judge(self, watch: Watch) -> None:
        """Nothing broken, nothing leaked since the last quiet point."""
        follower = watch.follower
        # A stream has no marker, so that what is on its way at a quiet point is not known.
        states = [*self.former, *self.states] if watch.stream is not None else self.states
        hidden = [key for key in follower.unasked if not self._could_be_read(watch, watch.question.collection, key, states)]
        wrong = [
            *follower.faults,
            *(text for text in follower.tolerated if not text.startswith("delete")),
            *(f"leak: a delete names {key}, which was never shown and could never be read" for key in hidden),
        ]
        if wrong:
            messages = "".join(f"\n  {each.kind} {_short(each.payload)}" for each in follower.received)
            carrier = "stream" if watch.stream else "socket"
            told = f"{watch.who.name} ({carrier}) {watch.question.payload}: {wrong}"
            raise AssertionError(f"{told}\nwhat was sent since the last quiet point:{messages}")
        for doc in follower.fresh:
            self._must_have_seen(watch, watch.question.collection, doc, states)
            for name, value in doc.get("expand", {}).items():
                target = "users" if name == "author_id" else "comments"
                for each in value if isinstance(value, list) else [value] if value else []:
                    self._must_have_seen(watch, target, each, states)
        for taken in (follower.fresh, follower.received, follower.unasked, follower.tolerated):
            taken.clear()

    def _could_be_read(self, watch: Watch, collection: str, key: str, states: list[Tables]) -> bool:
        """Whether one of the callers could read a record in one of the states."""
        for tables in states:
            stored = tables[collection].get(key)
            if stored is not None and any(self._may(who, watch.question, stored, tables, collection) for who in watch.callers):
                return True
        return False

    def _must_have_seen(self, watch: Watch, collection: str, doc: Doc, states: list[Tables]) -> None:
        body = {name: value for name, value in doc.items() if name != "expand"}
        for tables in states:
            stored = tables[collection].get(body["id"])
            if stored is not None and all(stored.get(name, ...) == value for name, value in body.items()):
                for who in watch.callers:
                    if self._may(who, watch.question, stored, tables, collection):
                        return
        callers = [who.name for who in watch.callers]
        raise AssertionError(f"leak: {callers} {watch.question.payload} got {_short(body)} of {collection}")


def _follower(question: Question) -> Follower:
    name = json.dumps(question.payload)
    return Follower(name, sort=question.sort, fields=question.fields, limit=question.limit, as_number=frozenset({"price"}))


_tokens: dict[str, str] = {}


def _token(who: Who) -> str | None:
    if who.id is None:
        return None
    if who.name not in _tokens:
        _tokens[who.name] = token(who.id, who.role or "user", **who.claims)
    return _tokens[who.name]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 600 else text[:600] + "..."
