"""A real server on loopback against clients that misbehave: no hang, no 500, everything has an end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from alyx.http import server, settings
from alyx.http.connection import Connection, Guard
from alyx.http.edge import Edge
from alyx.http.health import Health
from alyx.http.message import Request, Response, json_response
from alyx.http.routes import Route, Routes

pytestmark = pytest.mark.slow

DEADLINES = settings.Deadlines(head=0.3, keep_alive=0.4, send=0.5, shutdown=1.0)
OPTIONS = settings.Server(max_header_size=4096, max_connections=50, deadlines=DEADLINES)
PATIENCE = 5.0

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class Site:
    """A running server: where it is, what it holds, and what its routes saw."""

    def __init__(self) -> None:
        self.port = 0
        self.stop = asyncio.Event()
        self.release = asyncio.Event()
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.serving: Any = None
        self.health = Health("1", {})
        self.statuses: list[int] = []

    async def connect(self) -> tuple[Reader, Writer]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, data: bytes, *, eof: bool = False) -> bytes:
        """Send, and read until the server closes."""
        reader, writer = await self.connect()
        writer.write(data)
        if eof:
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        await close(writer)
        return answer


async def close(writer: Writer) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def until(reached: Callable[[], bool]) -> None:
    """Give the server its turns until something has happened that nothing else tells of."""
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.005)


def on_site(work: Callable[[Site], Awaitable[None]], options: settings.Server = OPTIONS) -> None:
    """Run `work` beside a server, then stop it; the whole must end."""

    async def run() -> None:
        site = Site()
        started = asyncio.Event()

        def tell(serving: server.Serving) -> None:
            site.serving = serving
            started.set()

        sock = server.bind("127.0.0.1", 0)
        site.port = sock.getsockname()[1]
        serving = server.serve(app(site), sock, options, started=tell, draining=site.health.drain, stop=site.stop, signals=False)
        task = asyncio.create_task(serving)
        await asyncio.wait_for(started.wait(), PATIENCE)
        try:
            await work(site)
        finally:
            site.stop.set()
            await asyncio.wait_for(task, PATIENCE)

    server.run(asyncio.wait_for(run(), 20))


def app(site: Site) -> Edge:
    async def show(request: Request, key: str) -> Response:
        return json_response({"id": key})

    async def take(request: Request) -> Response:
        return json_response({"bytes": len(await request.body())})

    async def ignore(request: Request) -> Response:
        return json_response({"read": False})

    async def wait(request: Request) -> Response:
        site.entered.set()
        await site.release.wait()
        return json_response({"done": True})

    async def search(request: Request) -> Response:
        site.entered.set()
        try:
            await site.release.wait()
        except asyncio.CancelledError:
            site.left.set()
            raise
        return json_response({"done": True})

    async def large(request: Request) -> Response:
        return Response(200, b"x" * 20_000_000)

    routes = [
        Route("GET", "/show/{id}", show),
        Route("POST", "/take", take),
        Route("POST", "/ignore", ignore),
        Route("GET", "/wait", wait),
        Route("GET", "/search", search),
        Route("POST", "/search", search),
        Route("GET", "/large", large),
        *site.health.routes(),
    ]
    options = settings.Edge(max_body_size=100_000, body_deadline=0.3, body_rate=1_000_000)
    return Edge(Routes(routes), options, observers=[lambda request, status, size, seconds: site.statuses.append(status)])


GET = b"GET /show/1 HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /show/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_requests_share_a_connection_and_every_answer_has_its_length_and_date() -> None:
    async def work(site: Site) -> None:
        answer = await site.say(GET + GET + LAST)
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
        assert answer.count(b"content-length: 10\r\n") == 3
        assert answer.count(b"\r\ndate: ") == 3
        assert answer.count(b'{"id":"1"}') == 3

    on_site(work)


def test_an_idle_connection_is_closed_without_a_word() -> None:
    async def work(site: Site) -> None:
        assert await site.say(b"") == b""
        answer = await site.say(GET)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert (await site.say(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")

    on_site(work)


def test_a_head_that_trickles_is_408() -> None:
    async def work(site: Site) -> None:
        reader, writer = await site.connect()
        started = asyncio.get_running_loop().time()
        reading = asyncio.create_task(reader.read())
        for byte in b"GET /show/1 HTTP/1.1\r\nX-Slow: " + b"x" * 200:
            writer.write(bytes([byte]))
            await asyncio.wait([reading], timeout=0.02)
            if reading.done():
                break
        answer = await asyncio.wait_for(reading, PATIENCE)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"REQUEST_TIMEOUT"' in answer
        assert asyncio.get_running_loop().time() - started < 3
        await close(writer)

    on_site(work)


def test_a_body_that_trickles_or_never_comes_is_408() -> None:
    async def work(site: Site) -> None:
        head = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        answer = await site.say(head)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
        assert (await site.say(head + b"x" * 10)).startswith(b"HTTP/1.1 408 ")
        chunked = b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        assert (await site.say(chunked)).startswith(b"HTTP/1.1 408 ")

    on_site(work)


def test_a_head_beyond_the_limit_is_431_whole_or_unfinished() -> None:
    async def work(site: Site) -> None:
        for size in (5_000, 100_000, 1_000_000):
            whole = b"GET /show/1 HTTP/1.1\r\nHost: x\r\nX: " + b"x" * size + b"\r\n\r\n"
            answer = await site.say(whole)
            assert answer.startswith(b"HTTP/1.1 431 "), (size, answer[:80])
            assert b'"REQUEST_HEADER_FIELDS_TOO_LARGE"' in answer
        assert (await site.say(b"GET /show/1 HTTP/1.1\r\nX: " + b"x" * 5000)).startswith(b"HTTP/1.1 431 ")
        assert (await site.say(b"GET /" + b"x" * 5000)).startswith(b"HTTP/1.1 431 ")
        behind = await site.say(GET + b"GET /show/1 HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 5000 + b"\r\n\r\n")
        assert behind.startswith(b"HTTP/1.1 200 ")
        assert behind.count(b"HTTP/1.1 200 ") == 1
        fits = b"GET /show/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + b"x" * 3000 + b"\r\n\r\n"
        assert (await site.say(fits)).startswith(b"HTTP/1.1 200 ")

    on_site(work)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"NONSENSE\r\n\r\n",
        b"GET /show/1 HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /show/1 HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /show/1 HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /take HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /show/1 HTTP/1.1\r\nBad Header\x00: x\r\n\r\n",
        b"GET /show/1 HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"\x00" * 1000,
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_envelope_and_never_500(garbage: bytes) -> None:
    async def work(site: Site) -> None:
        answer = await site.say(garbage)
        assert answer.startswith(b"HTTP/1.1 4"), answer[:100]
        assert b'"code":"' in answer
        assert b"x-content-type-options: nosniff" in answer
        assert (await site.say(LAST)).startswith(b"HTTP/1.1 200 ")

    on_site(work)


def test_garbage_behind_a_good_request_does_not_take_its_answer() -> None:
    async def work(site: Site) -> None:
        answer = await site.say(GET + b"\x00\x01garbage\r\n\r\n" + GET)
        assert answer.count(b"HTTP/1.1 200 ") == 1
        half = b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"
        for good in (1, 2):
            answer = await site.say(GET * good + half)
            assert answer.count(b"HTTP/1.1 ") == answer.count(b"HTTP/1.1 200 ") == good
            assert b"connection: close" in answer

    on_site(work)


def test_pipelined_requests_without_end_are_answered_up_to_a_bound() -> None:
    async def work(site: Site) -> None:
        answer = await site.say(GET * 5_000)
        assert 50 <= answer.count(b"HTTP/1.1 200 ") <= 300
        assert b"HTTP/1.1 5" not in answer

    on_site(work)


def test_a_client_that_takes_no_answers_has_at_most_one_large_one_waiting_and_gets_all_once_it_does() -> None:
    async def work(site: Site) -> None:
        large = GET.replace(b"/show/1", b"/large")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", site.port))
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
        writer.write(large + GET)
        await until(lambda: len(site.statuses) == 1)
        writer.write(large * 3 + LAST)
        await asyncio.sleep(0.05)
        assert site.statuses == [200]
        answer = bytearray()
        while piece := await asyncio.wait_for(reader.read(1_000_000), PATIENCE):
            answer += piece
        assert site.statuses == [200] * 6
        assert answer.count(b"HTTP/1.1 200 ") == 6
        assert answer.count(b"x" * 20_000_000) == 4
        await close(writer)

    on_site(work, settings.Server(deadlines=settings.Deadlines(head=0.3, keep_alive=0.1, send=5.0, shutdown=1.0)))


def test_garbage_behind_a_request_that_waits_for_the_client_to_read_does_not_take_its_answer() -> None:
    async def work(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(GET.replace(b"/show/1", b"/large") + GET + b"garbage\r\n\r\n")
        await until(lambda: len(site.statuses) == 1)
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert answer.endswith(b'{"id":"1"}')
        await close(writer)

    on_site(work)


def test_a_client_that_closes_its_sending_half_still_gets_its_answer() -> None:
    async def work(site: Site) -> None:
        assert (await site.say(LAST, eof=True)).startswith(b"HTTP/1.1 200 ")
        reader, writer = await site.connect()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write_eof()
        await asyncio.wait_for(site.entered.wait(), PATIENCE)
        site.release.set()
        assert b'{"done":true}' in await asyncio.wait_for(reader.read(), PATIENCE)
        await close(writer)
        assert await site.say(b"GET /sh", eof=True) == b""

    on_site(work)


def test_a_refused_upload_reads_its_answer_although_it_goes_on_sending() -> None:
    async def work(site: Site) -> None:
        body = b"x" * 3_000_000
        head = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        for _ in range(5):
            assert (await site.say(head + body)).startswith(b"HTTP/1.1 413 ")
        ignored = await site.say(head.replace(b"/take", b"/ignore") + body)
        assert ignored.startswith(b"HTTP/1.1 200 ")

    on_site(work)


def test_a_body_is_asked_for_only_when_it_will_be_read() -> None:
    async def work(site: Site) -> None:
        head = b"POST /take HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        reader, writer = await site.connect()
        writer.write(head % 5)
        assert await asyncio.wait_for(reader.readline(), PATIENCE) == b"HTTP/1.1 100 Continue\r\n"
        writer.write(b"hello")
        assert b'{"bytes":5}' in await asyncio.wait_for(reader.read(), PATIENCE)
        await close(writer)
        assert (await site.say(head % 200_000)).startswith(b"HTTP/1.1 413 ")

    on_site(work)


def test_trailers_cannot_add_headers_and_endless_chunk_noise_is_cut() -> None:
    async def work(site: Site) -> None:
        head = b"POST /take HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await site.say(head + b"5\r\nhello\r\n0\r\nX-Request-ID: forged\r\n\r\n")
        assert b'{"bytes":5}' in answer
        assert b"forged" not in answer
        noise = await site.say(head + b"1;" + b"x" * 2_000_000)
        assert noise.startswith(b"HTTP/1.1 4"), noise[:80]

    on_site(work)


def test_a_client_that_reads_nothing_is_cut() -> None:
    async def work(site: Site) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", site.port))
        await loop.sock_sendall(sock, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            while not site.serving.refused.get("SEND_TIMEOUT"):  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.02)
        assert site.serving.connections == 0
        sock.close()

    on_site(work)


@pytest.mark.parametrize("closing", [False, True])
def test_a_client_that_takes_a_large_answer_slowly_gets_all_of_it(closing: bool) -> None:
    async def work(site: Site) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", site.port))
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
        writer.write((LAST if closing else GET).replace(b"/show/1", b"/large"))
        size = 0
        due = asyncio.get_running_loop().time() + 3.5
        while asyncio.get_running_loop().time() < due:
            size += len(await reader.read(65_536))
            await asyncio.sleep(0.01)
        while piece := await asyncio.wait_for(reader.read(1_000_000), PATIENCE):
            size += len(piece)
        assert 20_000_000 < size < 20_001_000
        await close(writer)

    on_site(work, settings.Server(deadlines=settings.Deadlines(head=0.3, keep_alive=0.1, send=5.0, shutdown=1.0)))


def test_a_refusal_to_a_client_that_has_gone_raises_nothing() -> None:
    class Gone(asyncio.Transport):
        written = b""

        def write(self, data: Any) -> None:
            self.written += data

        def write_eof(self) -> None:
            raise OSError("Transport endpoint is not connected")  # asyncio's does; uvloop's passes it over

        def is_closing(self) -> bool:
            return False

        def resume_reading(self) -> None:
            pass

    async def work() -> None:
        config = uvicorn.Config(Edge(Routes([]), settings.Edge()), lifespan="off", log_config=None)
        connection = Connection(config, ServerState(), {}, asyncio.get_running_loop(), guard=Guard(settings.Server()))
        transport = Gone()
        connection.connection_made(transport)
        connection.data_received(b"\x00garbage\r\n\r\n")
        assert transport.written.startswith(b"HTTP/1.1 400 ")

    asyncio.run(work())


def test_connections_beyond_the_limit_are_503() -> None:
    async def work(site: Site) -> None:
        held = [await site.connect() for _ in range(3)]
        answer = await site.say(b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert site.serving.numbers()["http_refused_overloaded_total"] == 1
        assert site.serving.numbers()["http_connections"] >= 3
        assert b"retry-after: 1" in answer
        for _, writer in held:
            await close(writer)

    on_site(work, settings.Server(max_connections=3, deadlines=settings.Deadlines(head=2.0)))


def test_connect_is_refused_once_and_ends_the_connection() -> None:
    async def work(site: Site) -> None:
        answer = await site.say(b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1

    on_site(work)


def test_an_upgrade_that_nobody_offers_is_an_ordinary_request() -> None:
    async def work(site: Site) -> None:
        for name in (b"websocket", b"h2c"):
            upgrade = b"GET /show/1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n" % name
            answer = await site.say(upgrade + upgrade + LAST)
            assert answer.count(b"HTTP/1.1 200 ") == 3

    on_site(work)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
def test_a_request_that_offers_an_upgrade_keeps_its_body(body: bytes, whole: bool) -> None:
    async def work(site: Site) -> None:
        reader, writer = await site.connect()
        head = b"POST /take HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"
        request = head + body
        for part in [request] if whole else [request[:40], request[40 : len(head) + 20], request[len(head) + 20 :]]:
            writer.write(part)
            await asyncio.sleep(0.01)
        writer.write(LAST)
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        assert b'{"bytes":5}' in answer
        assert answer.count(b"HTTP/1.1 200 ") == 2
        await close(writer)

    on_site(work)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /show/1 HTTP/1.1\r\n",
        b"GET /show/1 HTTP/1.1\r\nHost: x\r\nHost: y\r\n",
        b"GET /show/1 HTTP/1.0\r\nHost: x\r\nHost: y\r\n",
        b"POST /take HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
        b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n",
        b"POST /take HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_a_head_that_leaves_its_host_or_its_end_in_doubt_is_400(head: bytes) -> None:
    async def work(site: Site) -> None:
        answer = await site.say(head + b"\r\n" + (b"5\r\nhello\r\n0\r\n\r\n" if head.startswith(b"POST") else b""))
        assert answer.startswith(b"HTTP/1.1 400 "), answer[:100]
        assert b'"code":"BAD_REQUEST"' in answer
        assert b"connection: close" in answer

    on_site(work)


def test_a_host_is_not_asked_of_http_1_0_and_chunked_may_be_written_in_capitals() -> None:
    async def work(site: Site) -> None:
        assert (await site.say(b"GET /show/1 HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        head = b"POST /take HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: Chunked \r\n\r\n"
        assert b'{"bytes":5}' in await site.say(head + b"5\r\nhello\r\n0\r\n\r\n")

    on_site(work)


@pytest.mark.parametrize("farewell", ["reset", "close"])
def test_a_read_whose_client_has_gone_is_ended(farewell: str) -> None:
    async def work(site: Site) -> None:
        _, writer = await site.connect()
        writer.write(b"GET /search HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(site.entered.wait(), PATIENCE)
        if farewell == "reset":
            sock: Any = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await close(writer)
        await asyncio.wait_for(site.left.wait(), PATIENCE)
        assert site.statuses == [499]

    on_site(work, settings.Server(deadlines=settings.Deadlines(shutdown=1.0)))


def test_a_write_whose_client_has_gone_is_finished() -> None:
    async def work(site: Site) -> None:
        _, writer = await site.connect()
        writer.write(b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await asyncio.wait_for(site.entered.wait(), PATIENCE)
        writer.transport.abort()
        await until(lambda: not site.serving.numbers()["http_connections"])
        site.release.set()
        await until(lambda: bool(site.statuses))
        assert not site.left.is_set()
        assert site.statuses == [200]

    on_site(work)


def test_a_client_that_only_closed_its_sending_half_is_asked_and_waits_for_a_slow_answer() -> None:
    async def work(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(b"GET /search HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write_eof()
        first = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
        site.release.set()
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        assert b"HTTP/1.1 200 OK" in answer
        assert answer.endswith(b'{"done":true}')
        await close(writer)

    on_site(work, settings.Server(deadlines=settings.Deadlines(shutdown=1.0)))


def test_stopping_finishes_what_is_in_flight_and_takes_nothing_new() -> None:
    async def work(site: Site) -> None:
        reader, writer = await site.connect()
        idle_reader, idle_writer = await site.connect()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(site.entered.wait(), PATIENCE)
        site.stop.set()
        assert await asyncio.wait_for(idle_reader.read(), PATIENCE) == b""
        with pytest.raises(ConnectionRefusedError):
            await site.connect()
        site.release.set()
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b'{"done":true}')
        await close(writer)
        await close(idle_writer)

    on_site(work)


def test_whoever_asks_while_the_server_drains_hears_that_it_is_not_ready() -> None:
    async def work(site: Site) -> None:
        idle_reader, idle_writer = await site.connect()
        reader, writer = await site.connect()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\nGET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(site.entered.wait(), PATIENCE)
        site.stop.set()
        assert await asyncio.wait_for(idle_reader.read(), PATIENCE) == b""
        site.release.set()
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        assert answer.count(b"HTTP/1.1 200 ") == 1
        assert b"HTTP/1.1 503 " in answer
        assert answer.endswith(b'{"status":"not_ready"}')
        await close(writer)
        await close(idle_writer)

    on_site(work)


def test_stopping_has_a_hard_limit() -> None:
    async def work(site: Site) -> None:
        reader, writer = await site.connect()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(site.entered.wait(), PATIENCE)
        started = asyncio.get_running_loop().time()
        site.stop.set()
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        assert asyncio.get_running_loop().time() - started < 3
        await close(writer)

    on_site(work)


def test_a_client_that_leaves_while_it_waits_harms_nobody() -> None:
    async def work(site: Site) -> None:
        _, writer = await site.connect()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + GET * 3)
        await asyncio.wait_for(site.entered.wait(), PATIENCE)
        writer.transport.abort()
        site.release.set()
        assert (await site.say(LAST)).startswith(b"HTTP/1.1 200 ")
        assert set(site.statuses) == {200}

    on_site(work)


PROGRAM = """
import asyncio, sys
from alyx.http import server, settings
from alyx.http.edge import Edge
from alyx.http.message import json_response
from alyx.http.routes import Route, Routes

async def wait(request):
    print("entered", flush=True)
    await asyncio.sleep(0.3)
    return json_response({"done": True})

async def main():
    sock = server.bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    edge = Edge(Routes([Route("GET", "/wait", wait)]), settings.Edge())
    await server.serve(edge, sock, started=lambda serving: print(port, flush=True))
    print("closed", flush=True)

server.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_process_gently(number: signal.Signals) -> None:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            port = int(process.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
                sock.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
                assert process.stdout.readline() == "entered\n"
                process.send_signal(number)
                answer = b""
                while piece := sock.recv(4096):
                    answer += piece
            assert answer.endswith(b'{"done":true}')
            assert process.stdout.readline() == "closed\n"
            assert process.wait(PATIENCE) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


SEEDS = [
    GET,
    LAST,
    b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /show/%41%zz?a=b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /show/1 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nabc",
]
MARKS = [b"\r\n", b"\r\n\r\n", b"\0", b":", b" ", b"%ff", b"\xff"]


def damage(dice: random.Random) -> bytes:
    """A few requests in a row with a few bytes changed, lost or added."""
    data = bytearray(b"".join(dice.choice(SEEDS) for _ in range(dice.randint(1, 4))))
    for _ in range(dice.randint(0, 6)):
        place = dice.randrange(len(data))
        end = place + dice.choice((0, 1, dice.randint(1, 20)))
        data[place:end] = dice.choice((b"", dice.choice(MARKS), dice.randbytes(dice.randint(1, 10))))
        data = data or bytearray(b"x")
    return bytes(data)


def test_damaged_requests_never_hang_and_are_never_a_fault_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(7)

    async def one(site: Site) -> None:
        data = damage(dice)
        cut = dice.randint(0, len(data))
        reader, writer = await site.connect()
        with contextlib.suppress(ConnectionError):
            writer.write(data[:cut])
            await asyncio.sleep(0)
            writer.write(data[cut:])
            if dice.random() < 0.3:
                writer.write_eof()
            if dice.random() < 0.1:
                writer.transport.abort()
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            assert b"HTTP/1.1 5" not in answer, data
        await close(writer)

    async def work(site: Site) -> None:
        for _ in range(10):
            await asyncio.gather(*(one(site) for _ in range(40)))
        assert max(site.statuses) < 500

    short = settings.Deadlines(head=0.1, keep_alive=0.1, send=0.5, shutdown=1.0)
    on_site(work, settings.Server(max_header_size=4096, deadlines=short))
    assert not caplog.records
