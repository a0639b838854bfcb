"""What WebSockets and event streams have in common, at a time that the test sets: pings, clients that lag, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest

from alyx.http.lasting import FAREWELL, QUIET, STALL, Lasting
from alyx.http.outbox import Outbox, Round
from alyx.http.stream import Stream
from alyx.http.websocket import PONG, WebSocket
from alyx.realtime.outlet import Client
from tests.http.live import FakeSession

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport whose client takes as many bytes as the test says."""

    def __init__(self, room: int = 10**9) -> None:
        super().__init__()
        self.room = room
        self.taken = b""
        self.held = b""
        self.protocol: Any = None
        self.paused = False
        self.reading = True
        self.closing = False
        self.aborted = False
        self.ended = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (0, 0)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        assert not self.ended
        self.held += data
        self._move()
        if self.held and not self.paused:
            self.paused = True
            self.protocol.pause_writing()

    def take(self, count: int) -> None:
        """The client takes some bytes."""
        self.room += count
        self._move()
        if not self.held and self.paused:
            self.paused = False
            self.protocol.resume_writing()

    def _move(self) -> None:
        moved, self.held = self.held[: self.room], self.held[self.room :]
        self.taken += moved
        self.room -= len(moved)

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True


class Scene:
    """A connection on a wire. now: the loop's time when it began."""

    def __init__(self, lasting: Lasting, wire: Wire, connections: set[Any]) -> None:
        self.lasting = lasting
        self.wire = wire
        self.connections = connections
        self.now = asyncio.get_running_loop().time()

    @property
    def session(self) -> Any:
        return self.lasting.session

    @property
    def outlet(self) -> Any:
        return self.lasting

    def check(self, after: float) -> None:
        """The sweep comes by so many seconds after the beginning."""
        self.lasting.check(self.now + after)


async def turn() -> None:
    """The end of the loop's pass."""
    await asyncio.sleep(0)


def socket() -> WebSocket:
    return WebSocket(lambda outlet: FakeSession(outlet, Client()))


def stream() -> Stream:
    made = Stream(chunked=False)
    made.session = FakeSession(made, Client())
    return made


def play(work: Callable[[Scene], Any], make: Callable[[], Lasting] = socket, room: int = 10**9) -> None:
    """Run `work` with a connection that has just been taken over."""

    async def run() -> None:
        wire, connections = Wire(room), set[Any]()
        lasting = make()
        lasting.adopt(wire, Round(asyncio.get_running_loop()), connections, HEAD, b"")
        scene = Scene(lasting, wire, connections)
        await turn()
        await work(scene)

    asyncio.run(run())


both = pytest.mark.parametrize("make", [socket, stream])


@both
def test_the_head_leaves_first_and_all_of_a_pass_in_one_piece(make: Callable[[], Lasting]) -> None:
    async def work(scene: Scene) -> None:
        assert scene.wire.taken == HEAD
        scene.outlet.send(b"one")
        scene.outlet.send(b"two")
        assert scene.wire.taken == HEAD
        assert scene.outlet.buffered() > 0
        await turn()
        assert scene.wire.taken.index(b"one") < scene.wire.taken.index(b"two")
        assert scene.outlet.buffered() == 0
        assert scene.connections == {scene.lasting}

    play(work, make)


def test_telling_thousands_lets_others_in_every_few_milliseconds_and_answers_go_first() -> None:
    told: list[str] = []

    class Slow:
        def flush(self) -> None:
            told.append("live")
            end = perf_counter() + 0.0001
            while perf_counter() < end:
                pass

    async def run() -> None:
        around = Round(asyncio.get_running_loop())
        for _ in range(1_000):
            around.add_lasting(Slow())
        turns = 0
        while len(told) < 1_000:
            await turn()
            turns += 1
            outbox = Outbox(Wire(), around)
            outbox.write(b"answer")
            await turn()
            assert outbox.get_write_buffer_size() == 0
        assert turns > 20

    asyncio.run(run())


@both
def test_a_session_that_saw_something_wait_hears_when_nothing_does(make: Callable[[], Lasting]) -> None:
    async def work(scene: Scene) -> None:
        session = scene.session
        scene.outlet.send(b"x")
        await turn()
        assert session.drains == 0
        scene.outlet.send(b"x")
        assert scene.outlet.buffered() > 0
        await turn()
        assert session.drains == 1

    play(work, make)


@both
def test_a_session_hears_when_a_client_that_lagged_has_taken_everything(make: Callable[[], Lasting]) -> None:
    async def work(scene: Scene) -> None:
        scene.wire.room = 10
        scene.outlet.send(b"x" * 100)
        await turn()
        assert 90 <= scene.outlet.buffered() <= 92
        scene.outlet.send(b"y")
        scene.wire.take(50)
        assert scene.session.drains == 0
        await turn()
        scene.wire.take(1000)
        assert scene.session.drains == 1
        assert scene.outlet.buffered() == 0

    play(work, make)


@both
def test_what_http_left_unsent_counts_as_waiting_and_its_end_is_told(make: Callable[[], Lasting]) -> None:
    async def run() -> None:
        wire = Wire(room=0)
        wire.protocol = make()  # whoever had the connection before: it was told that the client does not keep up
        wire.write(b"x" * 100)
        lasting = make()
        lasting.adopt(wire, Round(asyncio.get_running_loop()), set(), HEAD, b"")
        assert lasting.buffered() == 100 + len(HEAD)
        await turn()
        assert lasting.buffered() == 100 + len(HEAD)
        session: Any = lasting.session
        wire.take(1_000)
        assert (session.drains, lasting.buffered()) == (1, 0)

    asyncio.run(run())


@both
def test_a_client_that_takes_nothing_is_closed_with_4408_and_then_cut(make: Callable[[], Lasting]) -> None:
    async def work(scene: Scene) -> None:
        scene.wire.room = 10
        scene.outlet.send(b"x" * 1000)
        await turn()
        scene.check(1)
        scene.check(1 + STALL)
        scene.wire.take(1)
        scene.check(2 + STALL)
        scene.outlet.send(b"more bytes than it has taken")
        await turn()
        scene.check(2 + 2 * STALL)
        assert not scene.outlet._ending
        scene.check(2.1 + 2 * STALL)
        assert scene.outlet._ending
        assert ((4408).to_bytes(2, "big") in scene.wire.held) == (make is socket)
        scene.outlet.send(b"ignored")
        assert not scene.wire.aborted
        scene.check(FAREWELL + 0.5)
        assert scene.wire.aborted
        session = scene.session
        scene.lasting.connection_lost(None)
        assert session.losses == 1
        assert scene.connections == set()

    play(work, make)


@both
def test_bytes_that_a_client_takes_count_also_while_more_is_sent_than_it_takes(make: Callable[[], Lasting]) -> None:
    async def work(scene: Scene) -> None:
        scene.wire.room = 10
        for second in range(0, 200, 10):
            scene.outlet.send(b"x" * 100)
            await turn()
            scene.check(second)
            scene.wire.take(5)
        assert not scene.outlet._ending

    play(work, make)


@both
@pytest.mark.parametrize(
    ("bytes_a_second", "waiting", "kept"), [(500, 200_000, False), (2_000, 500_000, True), (500, 60_000, True)]
)
def test_a_client_for_which_much_waits_has_to_take_a_kilobyte_a_second(
    make: Callable[[], Lasting], bytes_a_second: int, waiting: int, kept: bool
) -> None:
    async def work(scene: Scene) -> None:
        scene.wire.room = 0
        scene.outlet.send(b"x" * waiting)
        await turn()
        for second in range(100):
            scene.check(second)
            scene.wire.take(bytes_a_second)
        assert scene.outlet._ending != kept

    play(work, make)


def test_a_silent_client_is_sent_a_ping_and_any_word_of_it_is_an_answer() -> None:
    async def work(scene: Scene) -> None:
        scene.check(1)
        scene.check(QUIET)
        await turn()
        assert scene.wire.taken == HEAD
        scene.check(1 + QUIET)
        await turn()
        assert scene.wire.taken == HEAD + b"\x89\x00"
        scene.check(QUIET + PONG)
        scene.lasting.data_received(b"\x8a\x80abcd")
        scene.check(2 + QUIET + PONG)
        scene.check(2 + 2 * QUIET + PONG - 0.1)
        await turn()
        assert scene.wire.taken == HEAD + b"\x89\x00"
        scene.check(2 + 2 * QUIET + PONG)
        await turn()
        assert scene.wire.taken == HEAD + b"\x89\x00" * 2

    play(work)


def test_a_client_that_answers_no_ping_is_closed_and_cut() -> None:
    async def work(scene: Scene) -> None:
        scene.check(1)
        scene.check(1 + QUIET)
        scene.check(1 + QUIET + PONG)
        assert not scene.outlet._ending
        scene.check(1.1 + QUIET + PONG)
        assert b"\x88" in scene.wire.taken
        assert (1011).to_bytes(2, "big") in scene.wire.taken
        scene.check(FAREWELL + 0.5)
        assert scene.wire.aborted

    play(work)


def test_a_client_that_talks_is_never_pinged() -> None:
    async def work(scene: Scene) -> None:
        for second in range(0, 200, 20):
            scene.lasting.data_received(b"\x8a\x80abcd")
            scene.check(second)
        await turn()
        assert scene.wire.taken == HEAD

    play(work)


def test_a_stream_says_a_comment_every_25_seconds() -> None:
    async def work(scene: Scene) -> None:
        for second in range(101):
            scene.check(second + 1)
            await turn()
        assert scene.wire.taken == HEAD + b": ping\n\n" * 4

    play(work, stream)


def test_what_a_stream_was_sent_before_its_head_comes_behind_it() -> None:
    async def run() -> None:
        made = stream()
        made.send(b"x" * 100_000)
        made.send(b"end")
        assert made.buffered() == 100_003
        wire = Wire()
        made.adopt(wire, Round(asyncio.get_running_loop()), set(), HEAD, b"")
        await turn()
        assert wire.taken == HEAD + b"x" * 100_000 + b"end"

    asyncio.run(run())


def test_a_stream_that_was_closed_before_its_head_ends_behind_it() -> None:
    async def run() -> None:
        made = Stream(chunked=True)
        session = FakeSession(made, Client())
        made.session = session
        made.send(b"only")
        made.close(4401, "the token ended")
        wire = Wire()
        made.adopt(wire, Round(asyncio.get_running_loop()), set(), HEAD, b"")
        assert wire.taken == HEAD + b"4\r\nonly\r\n0\r\n\r\n"
        assert wire.closing
        made.connection_lost(None)
        assert session.losses == 1

    asyncio.run(run())


def test_a_client_that_left_before_the_head_is_lost_once() -> None:
    made = stream()
    session: Any = made.session
    made.drop()
    made.drop()
    made.send(b"ignored")
    assert session.losses == 1
    assert made.buffered() == 0


@both
def test_a_fault_of_a_session_when_it_drains_or_is_lost_stays_with_it(
    make: Callable[[], Lasting], caplog: pytest.LogCaptureFixture
) -> None:
    async def work(scene: Scene) -> None:
        def fail() -> None:
            raise RuntimeError("a slip")

        scene.session.drained = scene.session.lost = fail
        scene.outlet.send(b"x")
        assert scene.outlet.buffered()
        await turn()
        assert scene.outlet._ending
        scene.lasting.connection_lost(None)
        assert scene.connections == set()

    play(work, make)
    assert len(caplog.records) == 2
