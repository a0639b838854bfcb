"""The WebSocket: its handshake, its frames, and how it ends (contract §5, RFC 6455)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import logging
import os
import socket
import tracemalloc
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

from alyx.http import settings
from alyx.http.connection import Connection
from alyx.http.exchange import Exchange
from alyx.http.outbox import Round
from alyx.http.websocket import WebSocket
from alyx.realtime.outlet import Client
from tests.http.live import OPTIONS, PATIENCE, FakeLive, FakeSession, Place, bearer, close, hear, on_place, until

pytestmark = pytest.mark.slow
KEY = base64.b64encode(b"0123456789abcdef")
GET = b"GET /api/collections/posts HTTP/1.1\r\nHost: x\r\n\r\n"


def handshake(*more: bytes, path: bytes = b"/api/realtime", leave_out: bytes = b"") -> bytes:
    """The head of a handshake, with more lines and without one."""
    lines = {
        b"Host": b"x",
        b"Upgrade": b"websocket",
        b"Connection": b"Upgrade",
        b"Sec-WebSocket-Version": b"13",
        b"Sec-WebSocket-Key": KEY,
    }
    head = [b"GET %b HTTP/1.1" % path, *(b"%b: %b" % line for line in lines.items() if line[0] != leave_out), *more]
    return b"\r\n".join(head) + b"\r\n\r\n"


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


class Still(asyncio.Transport):
    """A transport whose client takes everything at once."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def write(self, data: Any) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False


async def open_raw(place: Place, behind: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket by hand, past its handshake."""
    reader, writer = await place.raw()
    writer.write(handshake() + behind)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"), head
    return reader, writer


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next frame of the server: its first byte, its payload."""
    first, size = await asyncio.wait_for(reader.readexactly(2), PATIENCE)
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    return first, await asyncio.wait_for(reader.readexactly(size), PATIENCE)


async def end_of(client: Any) -> tuple[int, str]:
    """The code and the reason with which the server closes."""
    try:
        while True:
            await asyncio.wait_for(client.recv(), PATIENCE)
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (1006, "")


def test_messages_go_both_ways_in_order_at_every_length_of_a_frame() -> None:
    async def work(place: Place) -> None:
        async with place.socket() as client:
            assert await hear(client) == '{"type":"connected"}'
            for size in (0, 1, 125, 126, 127, 60_000, 65_535, 65_536):
                text = "ä" * (size // 2) + "x" * (size % 2)
                await client.send(text)
                assert await hear(client) == text
            place.live.last.outlet.send(b"y" * 70_000)
            assert await hear(client) == "y" * 70_000
            for number in range(100):
                await client.send(str(number))
            assert [await hear(client) for _ in range(100)] == [str(number) for number in range(100)]
        assert ("/api/realtime", "/api/realtime", 101) in place.seen

    on_place(work, FakeLive(echo=True))


def test_the_answer_of_the_handshake_carries_what_every_answer_does_and_no_extension() -> None:
    async def work(place: Place) -> None:
        reader, writer = await place.raw()
        offers = (b"Sec-WebSocket-Extensions: permessage-deflate", b"Sec-WebSocket-Protocol: chat", b"X-Request-ID: mine")
        writer.write(handshake(*offers))
        sent = await reader.readuntil(b"\r\n\r\n")
        head = sent.lower()
        for line in (b"upgrade: websocket", b"connection: upgrade", b"x-request-id: mine", b"x-content-type-options: nosniff"):
            assert line + b"\r\n" in head
        assert b"sec-websocket-accept: " + accept_key(KEY.decode()).encode() + b"\r\n" in sent
        for absent in (b"extensions", b"sec-websocket-protocol", b"content-length", b"transfer-encoding", b"connection: close"):
            assert absent not in head
        await close(writer)

    on_place(work)


def test_the_heads_of_browsers_are_taken() -> None:
    async def work(place: Place) -> None:
        for connection, upgrade in ((b"keep-alive, Upgrade", b"websocket"), (b"upgrade", b"WebSocket")):
            reader, writer = await place.raw()
            head = handshake(leave_out=b"Connection").replace(b"Upgrade: websocket", b"Upgrade: " + upgrade)
            writer.write(head.replace(b"Host: x\r\n", b"Host: x\r\nConnection: " + connection + b"\r\n"))
            assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 101 ")
            await close(writer)

    on_place(work)


def test_a_request_without_an_offer_is_426_and_names_the_protocol() -> None:
    async def work(place: Place) -> None:
        for method in (b"GET", b"HEAD"):
            answer = await place.say(b"%b /api/realtime HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % method)
            assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
            assert b"\r\nupgrade: websocket\r\n" in answer
            assert (b'"UPGRADE_REQUIRED"' in answer) == (method == b"GET")
        old = await place.say(handshake().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert old.startswith(b"HTTP/1.1 426 ")
        odd = handshake(b"Sec-WebSocket-Version: 8", b"Connection: close", leave_out=b"Sec-WebSocket-Version")
        other = await place.say(odd)
        assert other.startswith(b"HTTP/1.1 426 ")
        assert b"\r\nsec-websocket-version: 13\r\n" in other
        body = await place.say(handshake(b"Content-Length: 2", b"Connection: close") + b"hi")
        assert body.startswith(b"HTTP/1.1 426 ")
        post = await place.say(b"POST /api/realtime HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert post.startswith(b"HTTP/1.1 405 ")

    on_place(work)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (handshake(leave_out=b"Sec-WebSocket-Key"), b"Sec-WebSocket-Key"),
        (handshake(b"Sec-WebSocket-Key: c2hvcnQ=", leave_out=b"Sec-WebSocket-Key"), b"Sec-WebSocket-Key"),
        (handshake(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), b"Sec-WebSocket-Key"),
        (handshake(leave_out=b"Sec-WebSocket-Version"), b"Sec-WebSocket-Version"),
    ],
)
def test_a_handshake_that_is_not_valid_is_400_that_says_why(head: bytes, told: bytes) -> None:
    async def work(place: Place) -> None:
        reader, writer = await place.raw()
        writer.write(head)
        answer = await asyncio.wait_for(reader.readuntil(b"}"), PATIENCE)
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b'"BAD_REQUEST"' in answer
        assert told in answer.partition(b"\r\n\r\n")[2]
        assert not place.live.sessions
        await close(writer)

    on_place(work)


def test_a_refused_handshake_leaves_an_ordinary_connection_with_all_that_came_behind_it() -> None:
    async def work(place: Place) -> None:
        last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        bad = handshake(b"Authorization: Bearer wrong")
        answer = await place.say(GET + bad + GET + bad + last)
        assert [answer.count(b"HTTP/1.1 %d " % status) for status in (200, 401, 101)] == [3, 2, 0]
        assert answer.count(b'"UNAUTHORIZED"') == 2
        elsewhere = handshake(path=b"/api/collections/posts")
        assert (await place.say(elsewhere * 3 + last)).count(b"HTTP/1.1 200 ") == 4

    on_place(work)


def test_a_handshake_behind_a_request_that_takes_long_waits_for_its_turn() -> None:
    async def work(place: Place) -> None:
        reader, writer = await place.raw()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + handshake() + frame(Opcode.TEXT, b"early"))
        await until(lambda: place.serving.connections == 1)
        place.release.set()
        said = await asyncio.wait_for(reader.readuntil(b"}HTTP/1.1 101 Switching Protocols\r\n"), PATIENCE)
        assert said.startswith(b"HTTP/1.1 200 ")
        await reader.readuntil(b"\r\n\r\n")
        assert await read_frame(reader) == (0x81, b'{"type":"connected"}')
        assert await read_frame(reader) == (0x81, b"early")
        await close(writer)

    on_place(work, FakeLive(echo=True))


def test_frames_that_come_with_the_handshake_are_read_after_the_session_began() -> None:
    async def work(place: Place) -> None:
        reader, writer = await open_raw(place, frame(Opcode.TEXT, b"one") + frame(Opcode.TEXT, b"two"))
        assert [(await read_frame(reader))[1] for _ in range(3)] == [b'{"type":"connected"}', b"one", b"two"]
        await close(writer)

    on_place(work, FakeLive(echo=True))


def test_the_token_of_the_handshake_says_who_connects_and_until_when() -> None:
    async def work(place: Place) -> None:
        async with place.socket() as client:
            await hear(client)
            assert place.live.last.client.identity.id is None
            assert place.live.last.client.expires is None
        headers = bearer("u7", role="admin", ttl=60) | {"X-Request-ID": "mine"}
        async with place.socket(additional_headers=headers) as client:
            await hear(client)
            who: Client = place.live.last.client
            assert (who.identity.id, who.identity.is_admin, who.ip, who.request_id) == ("u7", True, "127.0.0.1", "mine")
            assert who.expires is not None
        for headers, code in (({"Authorization": "Bearer no"}, "UNAUTHORIZED"), (bearer(ttl=-5), "TOKEN_EXPIRED")):
            with pytest.raises(InvalidStatus) as caught:
                await place.socket(additional_headers=headers)
            assert caught.value.response.status_code == 401
            assert code in (caught.value.response.body or b"").decode()

    on_place(work)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://x", "x", True),
        ("https://X:443", "x", True),
        ("https://x", "x:443", True),
        ("http://x:8090", "x:8090", True),
        ("http://x:8091", "x:8090", False),
        ("http://x.evil.example", "x", False),
        ("http://evil.example", "x", False),
        ("null", "x", False),
        ("http://", "x", False),
        ("https://app.example.com", "x", True),
        ("http://app.example.com", "x", False),
    ],
)
def test_a_page_connects_only_from_the_servers_own_origin_or_one_that_may_call(origin: str, host: str, allowed: bool) -> None:
    async def work(place: Place) -> None:
        reader, writer = await place.raw()
        writer.write(handshake(f"Origin: {origin}".encode(), f"Host: {host}".encode(), leave_out=b"Host"))
        line = await asyncio.wait_for(reader.readline(), PATIENCE)
        assert line.startswith(b"HTTP/1.1 101 " if allowed else b"HTTP/1.1 403 ")
        await close(writer)

    on_place(work, edge=settings.Edge(cors=settings.Cors(allowed_origins=("https://app.example.com",))))


@pytest.mark.parametrize(
    ("origin", "told", "allowed"),
    [
        ("https://x", b"https", True),
        ("http://x", b"https", False),
        ("http://x", b"HTTPS, http", False),
        ("http://x", b"http", True),
    ],
)
def test_a_page_that_came_unprotected_does_not_connect_where_a_proxy_tells_of_tls(
    origin: str, told: bytes, allowed: bool
) -> None:
    async def work(place: Place) -> None:
        reader, writer = await place.raw()
        writer.write(handshake(f"Origin: {origin}".encode(), b"X-Forwarded-Proto: " + told))
        line = await asyncio.wait_for(reader.readline(), PATIENCE)
        assert line.startswith(b"HTTP/1.1 101 " if allowed else b"HTTP/1.1 403 ")
        await close(writer)

    on_place(work)


def test_in_dev_mode_every_port_of_localhost_may_connect() -> None:
    async def work(place: Place) -> None:
        async with place.socket(origin="http://localhost:5173") as client:
            await hear(client)

    on_place(work, edge=settings.Edge(cors=settings.Cors(localhost=True)))


def test_a_message_in_fragments_is_one_message_with_control_frames_in_between() -> None:
    async def work(place: Place) -> None:
        reader, writer = await open_raw(place)
        await read_frame(reader)
        text = "grün 😀".encode()
        writer.write(frame(Opcode.TEXT, text[:3], fin=False))
        writer.write(frame(Opcode.PING, b"mid") + frame(Opcode.CONT, text[3:8], fin=False) + frame(Opcode.CONT, text[8:]))
        assert await read_frame(reader) == (0x8A, b"mid")
        assert await read_frame(reader) == (0x81, text)
        writer.write(frame(Opcode.TEXT, b"", fin=False) + frame(Opcode.CONT, b""))
        assert await read_frame(reader) == (0x81, b"")
        await close(writer)

    on_place(work, FakeLive(echo=True))


LARGE = b"x" * 30_000
REFUSED = [
    (1009, frame(Opcode.TEXT, b"x" * 65_537)),
    (1009, frame(Opcode.TEXT, LARGE, fin=False) + frame(Opcode.CONT, LARGE, fin=False) + frame(Opcode.CONT, LARGE)),
    (1007, frame(Opcode.TEXT, b"\xff\xfe")),
    (1007, frame(Opcode.TEXT, b"\xed\xa0\x80")),
    (1007, frame(Opcode.TEXT, "ä".encode()[:1])),
    (1007, frame(Opcode.TEXT, "ä".encode()[:1], fin=False) + frame(Opcode.CONT, b"x", fin=False)),
    (1007, frame(Opcode.CLOSE, b"\x03\xe8\xff")),
    (1003, frame(Opcode.BINARY, b"x")),
    (1003, frame(Opcode.BINARY, b"x", fin=False)),
    (1002, b"\x81\x01x"),
    (1002, frame(Opcode.CONT, b"x")),
    (1002, frame(Opcode.TEXT, b"x", fin=False) + frame(Opcode.TEXT, b"x")),
    (1002, b"\xc1" + frame(Opcode.TEXT, b"x")[1:]),
    (1002, b"\x83" + frame(Opcode.TEXT, b"x")[1:]),
    (1002, frame(Opcode.CLOSE, b"\x01")),
    (1002, frame(Opcode.CLOSE, b"\x00\x01")),
]


@pytest.mark.parametrize(("code", "data"), REFUSED, ids=range(len(REFUSED)))
def test_what_breaks_the_protocol_closes_with_its_code_and_nothing_behind_it_is_read(code: int, data: bytes) -> None:
    async def work(place: Place) -> None:
        reader, writer = await open_raw(place)
        await read_frame(reader)
        writer.write(data)
        first, payload = await read_frame(reader)
        assert (first, int.from_bytes(payload[:2], "big")) == (0x88, code)
        writer.write(frame(Opcode.TEXT, b"behind") * 3)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        await close(writer)
        await until(lambda: place.live.last.losses == 1)
        assert place.live.last.texts == []

    on_place(work)


@pytest.mark.parametrize("answered", [True, False])
def test_the_server_closes_with_a_code_and_a_reason_and_waits_a_moment_for_the_same(
    answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alyx.http.lasting.FAREWELL", 0.1)

    async def work(place: Place) -> None:
        reader, writer = await open_raw(place)
        await read_frame(reader)
        session = place.live.last
        session.outlet.close(4401, "ä" * 100)
        session.outlet.close(4429, "later")
        session.outlet.send(b"ignored")
        first, payload = await read_frame(reader)
        assert (first, payload[:2]) == (0x88, (4401).to_bytes(2, "big"))
        assert 100 < len(payload) <= 125
        payload[2:].decode()
        writer.write(frame(Opcode.TEXT, b"ignored too"))
        if answered:
            writer.write(frame(Opcode.CLOSE, payload[:2]))
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        await until(lambda: session.losses == 1)
        assert session.texts == []
        await close(writer)

    on_place(work)


def test_the_clients_farewell_is_answered_with_its_own_code() -> None:
    async def work(place: Place) -> None:
        for data in (b"", b"\x03\xe8", b"\x0f\xa0bye"):
            reader, writer = await open_raw(place)
            await read_frame(reader)
            writer.write(frame(Opcode.CLOSE, data))
            assert await read_frame(reader) == (0x88, data)
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
            await until(lambda: place.live.last.losses == 1)
            await close(writer)

    on_place(work)


@pytest.mark.parametrize("farewell", ["eof", "reset"])
def test_a_client_that_goes_without_a_word_is_lost_once(farewell: str) -> None:
    async def work(place: Place) -> None:
        reader, writer = await open_raw(place)
        await read_frame(reader)
        if farewell == "eof":
            writer.write_eof()
        else:
            writer.transport.abort()
        await until(lambda: place.live.last.losses == 1)
        await until(lambda: place.serving.connections == 0)
        place.live.last.outlet.send(b"to nobody")
        place.live.last.outlet.close(1000, "")
        assert place.live.last.outlet.buffered() == 0
        await close(writer)

    on_place(work)


def test_a_fault_of_a_session_ends_its_connection_alone_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work(place: Place) -> None:
        async with place.socket() as good, place.socket() as bad:
            await bad.send("fail")
            assert (await end_of(bad))[0] == 1011
            await good.send("still here")
            assert [await hear(good) for _ in range(2)][1] == "still here"

    on_place(work, FakeLive(echo=True))
    assert [record.message for record in caplog.records] == ["a live connection failed"]


def test_a_limit_that_live_reaches_closes_with_its_code() -> None:
    class Full(FakeLive):
        def connect(self, outlet: Any, client: Client) -> FakeSession:
            session = super().connect(outlet, client)
            outlet.close(4429, "too many connections")
            return session

    async def work(place: Place) -> None:
        async with place.socket() as client:
            assert await end_of(client) == (4429, "too many connections")

    on_place(work, Full())


def test_an_idle_socket_outlives_every_deadline_of_http() -> None:
    async def work(place: Place) -> None:
        async with place.socket(ping_interval=None) as client:
            await hear(client)
            assert await place.say(b"") == b""
            assert (await place.say(GET)).startswith(b"HTTP/1.1 200 ")
            await client.send("hello")
            assert await hear(client) == "hello"
            assert place.serving.connections == 1

    on_place(work, FakeLive(echo=True))


def test_sockets_count_among_the_servers_connections() -> None:
    async def work(place: Place) -> None:
        async with place.socket(), place.socket():
            assert place.serving.numbers()["http_connections"] == 2
            assert (await place.say(GET)).startswith(b"HTTP/1.1 503 ")
        await until(lambda: place.serving.connections == 0)

    on_place(work, options=settings.Server(max_connections=2, deadlines=OPTIONS.deadlines))


def test_nothing_of_http_is_kept_for_an_open_socket() -> None:
    async def work(place: Place) -> None:
        gc.collect()
        gc.disable()
        try:
            clients = [await place.socket() for _ in range(5)]
            await until(lambda: len(place.live.sessions) == 5)
            await until(lambda: not any(isinstance(found, Connection | Exchange) for found in gc.get_objects()))
        finally:
            gc.enable()
        for client in clients:
            await client.close()

    on_place(work)


def test_a_client_that_takes_nothing_is_noticed_and_hears_the_rest_once_it_does() -> None:
    async def work(place: Place) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", place.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        session = place.live.last
        count = 0
        while session.outlet.buffered() < 100_000:
            session.outlet.send(b"x" * 50_000)
            count += 1
            await asyncio.sleep(0)
        drains = session.drains
        assert (await read_frame(reader))[1] == b'{"type":"connected"}'
        for _ in range(count):
            assert (await read_frame(reader))[1] == b"x" * 50_000
        await until(lambda: session.outlet.buffered() == 0 and session.drains > drains)
        await close(writer)

    on_place(work)


def test_a_client_that_asks_without_taking_answers_is_not_listened_to() -> None:
    async def work(place: Place) -> None:
        reader, writer = await open_raw(place)
        session = place.live.last
        question = frame(Opcode.TEXT, b"y" * 60_000)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1_000:
                writer.write(question)
                sent += 1
                await asyncio.wait_for(writer.drain(), 0.3)
        assert sent < 1_000
        waiting = session.outlet.buffered()
        assert 32_768 < waiting < 200_000
        heard = 0
        await read_frame(reader)
        while heard < sent:
            assert (await read_frame(reader))[1] == b"y" * 60_000
            heard += 1
        await close(writer)

    on_place(work, FakeLive(echo=True))


def test_many_frames_in_one_piece_leave_room_for_others() -> None:
    async def work(place: Place) -> None:
        reader, writer = await open_raw(place)
        await read_frame(reader)
        writer.write(frame(Opcode.TEXT) * 20_000)
        async with place.socket() as other:
            await hear(other)
            await other.send("me too")
            assert await hear(other) == "me too"
        for _ in range(20_000):
            assert await read_frame(reader) == (0x81, b"")
        await close(writer)

    on_place(work, FakeLive(echo=True))


def test_frames_are_read_for_about_a_millisecond_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        socket = WebSocket(lambda outlet: FakeSession(outlet, Client()))
        socket.adopt(Still(), Round(asyncio.get_running_loop()), set(), b"", b"")
        session: Any = socket.session
        before = 0
        socket.data_received(frame(Opcode.TEXT) * 1_000)
        while len(session.texts) < 1_000:
            assert 0 < len(session.texts) - before <= 100
            before = len(session.texts)
            await asyncio.sleep(0)

    monkeypatch.setattr("alyx.http.websocket._SPAN", 0.0)
    asyncio.run(run())


MANY = 6_000


@pytest.mark.parametrize(
    "frames",
    [
        frame(Opcode.PING) * MANY,
        frame(Opcode.PONG) * MANY,
        frame(Opcode.TEXT, fin=False) + frame(Opcode.CONT, fin=False) * MANY,
        (frame(Opcode.TEXT, b"x", fin=False) + frame(Opcode.CONT)) * MANY,
    ],
    ids=["ping", "pong", "empty", "fragments"],
)
def test_frames_that_say_nothing_are_counted_and_too_many_close_with_4429(frames: bytes) -> None:
    async def work(place: Place) -> None:
        reader, writer = await open_raw(place)
        writer.write(frames)
        while True:
            first, payload = await read_frame(reader)
            if first == 0x88:
                break
        assert int.from_bytes(payload[:2], "big") == 4429
        await close(writer)

    on_place(work)


def test_an_unfinished_message_takes_no_more_memory_than_its_bytes() -> None:
    async def run() -> None:
        socket = WebSocket(lambda outlet: FakeSession(outlet, Client()))
        socket.adopt(Still(), Round(asyncio.get_running_loop()), set(), b"", b"")
        letter = "\u0434".encode()  # as an object of its own each would take 76 bytes
        tracemalloc.start()
        try:
            socket.data_received(frame(Opcode.TEXT, fin=False))
            start = tracemalloc.get_traced_memory()[0]
            for _ in range(900):
                socket.data_received(frame(Opcode.CONT, letter, fin=False) + frame(Opcode.CONT, fin=False))
            assert tracemalloc.get_traced_memory()[0] - start < 10_000
        finally:
            tracemalloc.stop()
        socket.data_received(frame(Opcode.CONT))
        session: Any = socket.session
        assert session.texts == ["\u0434" * 900]

    asyncio.run(run())


def test_stopping_closes_every_socket_with_1001_and_waits_for_none_that_is_silent() -> None:
    async def work(place: Place) -> None:
        reader, writer = await open_raw(place)
        await read_frame(reader)
        clients = [await place.socket() for _ in range(30)]
        place.stop.set()
        codes = [(await end_of(client))[0] for client in clients]
        assert codes == [1001] * 30
        assert (await read_frame(reader))[1][:2] == (1001).to_bytes(2, "big")
        assert place.task is not None
        await asyncio.wait_for(place.task, 4.5)
        assert all(session.losses == 1 for session in place.live.sessions)
        await close(writer)

    on_place(work)


def test_farewells_are_spread_over_a_second_for_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alyx.http.server._FAREWELLS", 100)

    async def work(place: Place) -> None:
        clients = [await place.socket() for _ in range(50)]
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def wait(client: Any) -> None:
            await end_of(client)
            times.append(loop.time())

        began = loop.time()
        place.stop.set()
        await asyncio.gather(*(wait(client) for client in clients))
        assert 0.4 < max(times) - began < 3
        assert min(times) - began < 0.4
        assert len({round(moment, 2) for moment in times}) > 5

    on_place(work)


def test_a_handshake_while_the_server_stops_gets_no_session() -> None:
    async def work(place: Place) -> None:
        reader, writer = await place.raw()
        idle, other = await place.raw()
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + handshake())
        await asyncio.wait_for(place.held.wait(), PATIENCE)
        await until(lambda: place.serving.connections == 2)
        place.stop.set()
        assert not await asyncio.wait_for(idle.read(), PATIENCE)  # so the server has come to taking leave
        place.release.set()
        await asyncio.wait_for(reader.read(), PATIENCE)
        assert not place.live.sessions
        await close(writer)
        await close(other)

    on_place(work)


def test_no_ticket_of_a_url_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def work(place: Place) -> None:
        secret = base64.urlsafe_b64encode(os.urandom(24)).decode()
        with pytest.raises(InvalidStatus):
            await place.socket(f"/api/realtime?ticket={secret}")
        assert place.seen == [("/api/realtime", "/api/realtime", 401)]
        ours = [record for record in caplog.records if record.name.startswith(("alyx", "websockets.server", "uvicorn"))]
        assert not any(secret in record.getMessage() for record in ours)

    on_place(work)
