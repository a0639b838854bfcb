"""Event streams on the URL of a list (contract §5)."""

from __future__ import annotations

import asyncio

import pytest

from alyx.base.errors import AlyxError
from tests.http.live import PATIENCE, FakeLive, Place, bearer, close, on_place, until

pytestmark = pytest.mark.slow
EVENT = b"event: snapshot\nid: e.1\ndata: {}\n\n"
LIST = b"/api/collections/posts"


def ask(path: bytes = LIST, *more: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    lines = [method + b" " + path + b" HTTP/" + version, b"Host: x", b"Accept: text/event-stream", *more]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def events(*given: bytes) -> FakeLive:
    live = FakeLive()
    live.events = list(given)
    return live


async def begin(place: Place, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Ask, and read the head of the answer."""
    reader, writer = await place.raw()
    writer.write(request)
    return reader, writer, await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)


async def chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await asyncio.wait_for(reader.readline(), PATIENCE), 16)
    data = await asyncio.wait_for(reader.readexactly(size + 2), PATIENCE)
    assert data.endswith(b"\r\n")
    return data[:-2]


def test_a_list_asked_for_events_answers_with_a_stream_that_goes_on() -> None:
    async def work(place: Place) -> None:
        reader, writer, head = await begin(place, ask())
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        for line in (
            b"content-type: text/event-stream",
            b"cache-control: no-store",
            b"x-accel-buffering: no",
            b"transfer-encoding: chunked",
            b"connection: close",
            b"x-content-type-options: nosniff",
        ):
            assert b"\r\n" + line + b"\r\n" in head
        assert b"content-length" not in head
        assert await chunk(reader) == EVENT
        place.live.last.outlet.send(b"data: 2\n\n")
        assert await chunk(reader) == b"data: 2\n\n"
        assert place.serving.numbers()["http_connections"] == 1
        place.live.last.outlet.close(4401, "the token ended")
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b"0\r\n\r\n"
        await until(lambda: place.live.last.losses == 1)
        assert place.seen == [("/api/collections/{collection}", "/api/collections/posts", 200)]
        await close(writer)

    on_place(work, events(EVENT))


def test_in_http_1_0_the_end_of_the_connection_ends_the_stream() -> None:
    async def work(place: Place) -> None:
        reader, writer, head = await begin(place, ask(version=b"1.0"))
        assert b"transfer-encoding" not in head
        await asyncio.wait_for(reader.readexactly(len(EVENT)), PATIENCE)
        place.live.last.outlet.close(1001, "")
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        await close(writer)

    on_place(work, events(EVENT))


def test_what_is_wrong_with_the_question_is_a_plain_answer_and_the_connection_goes_on() -> None:
    live = FakeLive()
    live.refusal = AlyxError("INVALID_QUERY", "A live list takes no cursor.")

    async def work(place: Place) -> None:
        answer = await place.say(ask() + ask(LIST, b"Connection: close"))
        assert answer.count(b"HTTP/1.1 400 ") == 2
        assert answer.count(b'"INVALID_QUERY"') == 2
        assert b"content-type: application/json" in answer

    on_place(work, live)


@pytest.mark.parametrize(
    ("path", "headers", "query", "since"),
    [
        (b"?filter=a:eq:b%26c&sort=-x", (), "filter=a:eq:b%26c&sort=-x", None),
        (b"?since=e.1.n.h&limit=5", (), "limit=5", "e.1.n.h"),
        (b"?limit=5&since=e.1", (b"Last-Event-ID: e.2",), "limit=5", "e.2"),
        (b"?since=", (b"Last-Event-ID: ",), "", None),
        (b"", (b"Last-Event-ID: e.3",), "", "e.3"),
        (b"?s%69nce=e%2E1&&a=b", (), "&a=b", "e.1"),
    ],
)
def test_the_cursor_is_taken_off_the_query_and_the_header_wins(
    path: bytes, headers: tuple[bytes, ...], query: str, since: str | None
) -> None:
    async def work(place: Place) -> None:
        _, writer, head = await begin(place, ask(LIST + path, *headers))
        assert b" 200 " in head
        assert place.live.asked == [("posts", query, since, False)]
        await close(writer)

    on_place(work)


def test_a_parameter_of_the_stream_that_stands_twice_is_refused() -> None:
    async def work(place: Place) -> None:
        for query in (b"?since=a&since=b", b"?ticket=a&ticket=b", b"?as_admin=yes"):
            _, writer, head = await begin(place, ask(LIST + query))
            assert head.startswith(b"HTTP/1.1 400 ")
            await close(writer)
        assert not place.live.asked

    on_place(work)


def test_an_admin_may_set_the_rules_aside_by_header_or_query_and_it_is_audited(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="alyx.audit")
    token = next(iter(bearer("boss", role="admin").values())).encode()

    async def work(place: Place) -> None:
        for request in (
            ask(LIST + b"?as_admin=true", b"Authorization: " + token),
            ask(LIST, b"Authorization: " + token, b"Alyx-As-Admin: true"),
        ):
            _, writer, _ = await begin(place, request)
            assert place.live.asked[-1] == ("posts", "", None, True)
            assert place.live.last.client.identity.is_admin
            await close(writer)

    on_place(work)
    assert [record.message for record in caplog.records] == ["rules bypassed by an admin"] * 2


@pytest.mark.parametrize(
    ("accept", "streamed"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b"text/event-stream, application/json", True),
        (b"application/json, text/event-stream", False),
        (b"application/json;q=0.5, text/event-stream;q=0.9", True),
        (b"text/event-stream;q=0.1, */*", False),
        (b"text/event-stream;q=0", False),
        (b"text/event-stream;q=nonsense", False),
        (b"*/*", False),
        (b"text/*", False),
    ],
)
def test_a_stream_is_given_to_those_who_like_it_best(accept: bytes, streamed: bool) -> None:
    async def work(place: Place) -> None:
        request = b"GET %b HTTP/1.1\r\nHost: x\r\nAccept: %b\r\n\r\n" % (LIST, accept)
        _, writer, head = await begin(place, request)
        assert (b"content-type: text/event-stream" in head) == streamed
        assert b" 200 " in head
        await close(writer)

    on_place(work)


def test_head_is_answered_as_the_list_is() -> None:
    async def work(place: Place) -> None:
        _, writer, head = await begin(place, ask(method=b"HEAD"))
        assert b"content-type: application/json" in head
        assert not place.live.asked
        await close(writer)

    on_place(work)


@pytest.mark.parametrize("farewell", ["eof", "reset"])
def test_a_client_that_goes_is_lost_once(farewell: str) -> None:
    async def work(place: Place) -> None:
        _, writer, _ = await begin(place, ask())
        if farewell == "eof":
            await close(writer)
        else:
            writer.transport.abort()
        await until(lambda: place.live.last.losses == 1)
        await until(lambda: place.serving.connections == 0)

    on_place(work)


def test_a_client_that_goes_while_its_question_is_being_answered_ends_the_question() -> None:
    class Slow(FakeLive):
        async def stream(self, *arguments: object) -> object:  # type: ignore[override]  # passes them on as they are
            session = await super().stream(*arguments)  # type: ignore[arg-type]
            started.set()
            # A read that is cancelled with its client could not show what happens to a session that was made in time.
            await asyncio.shield(release.wait())
            return session

    started, release = asyncio.Event(), asyncio.Event()

    async def work(place: Place) -> None:
        _, writer = await place.raw()
        writer.write(ask())
        await asyncio.wait_for(started.wait(), PATIENCE)
        await close(writer)
        await until(lambda: place.serving.connections == 0)
        release.set()
        await until(lambda: bool(place.seen))
        assert place.seen[0][2] == 499

    on_place(work, Slow())


def test_a_request_behind_one_for_a_stream_is_not_answered() -> None:
    async def work(place: Place) -> None:
        reader, writer, _ = await begin(place, ask() + b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await chunk(reader) == EVENT
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        place.live.last.outlet.send(b"more")
        assert await chunk(reader) == b"more"
        await close(writer)

    on_place(work, events(EVENT))


def test_stopping_ends_streams_promptly() -> None:
    async def work(place: Place) -> None:
        found = [await begin(place, ask()) for _ in range(20)]
        began = asyncio.get_running_loop().time()
        place.stop.set()
        for reader, writer, _ in found:
            assert (await asyncio.wait_for(reader.read(), PATIENCE)).endswith(b"0\r\n\r\n")
            await close(writer)
        assert place.task is not None
        await asyncio.wait_for(place.task, PATIENCE)
        assert asyncio.get_running_loop().time() - began < 1.5
        assert all(session.losses == 1 for session in place.live.sessions)

    on_place(work, events(EVENT))
