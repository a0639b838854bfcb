"""A client that does not read for a while: what waits for it is merged and true, or it is sent away; others feel nothing."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.realtime.follower import Follower
from tests.realtime.load import SCHEMA, Wish, arrive, faults, lines_of, wish
from tests.realtime.remote import Server, Socket, until

pytestmark = pytest.mark.slow
KERNEL = 8_000_000
"""Bytes that the sockets' buffers of a connection surely do not hold."""


class Sweeper:
    """Another program that changes all rows of `events` at once, again and again."""

    def __init__(self, server: Server, rows: int) -> None:
        self._connection = server.open()
        self._number = 0
        self.size = rows * 3_900
        """Bytes of a sweep's documents, about."""
        self._connection.execute("BEGIN")
        for row in range(rows):
            values = (f"r{row:014d}", row, "x", "published", None, "red")
            self._connection.execute(
                "INSERT INTO events (id, n, title, status, owner_id, team_id) VALUES (?, ?, ?, ?, ?, ?)", values
            )
        self._connection.execute("COMMIT")

    def sweep(self) -> None:
        self._number += 1
        title = f"{self._number} ".ljust(3_800, "x")
        self._connection.execute("UPDATE events SET title = ?, n = n + 1000", (title,))

    def close(self) -> None:
        self._connection.close()


async def follow(server: Server, name: str) -> tuple[Socket, Wish]:
    socket, each = Socket(server.port), wish(0, None, name)
    await socket.connect()
    await socket.subscribe(each.follower, each.payload)
    return socket, each


def sweeps(follower: Follower) -> int:
    """The last sweep that a follower has seen."""
    return max((int(doc["title"].split()[0]) for doc in follower.docs.values() if doc["title"] != "x"), default=0)


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path, SCHEMA)
    try:
        made.start()
        yield made
    finally:
        made.end()


def test_what_waits_for_a_client_that_pauses_is_merged_and_true(server):
    async def story() -> None:
        sweeper = Sweeper(server, rows=5)
        quick, healthy = await follow(server, "healthy")
        slow, paused = await follow(server, "paused")
        slow.stop_reading()
        count = KERNEL // sweeper.size
        for number in range(1, count + 1):
            sweeper.sweep()
            await until(lambda n=number: sweeps(healthy.follower) >= n, "a sweep at the client that reads")
        assert sweeps(paused.follower) < count
        slow.read_on()
        lines = lines_of(server)
        behind = await arrive([healthy, paused], lines)
        assert not behind, behind
        assert slow.open, slow.closed_with
        wrong = faults([healthy, paused], lines)
        assert not wrong, wrong[:3]
        assert paused.follower.counts["delta"] < healthy.follower.counts["delta"]
        sweeper.close()
        await quick.drop()
        await slow.drop()

    asyncio.run(story())
    assert not server.complaints()


def test_a_client_for_whom_too_much_waits_is_sent_away_and_resumes(server):
    async def story() -> None:
        sweeper = Sweeper(server, rows=50)
        quick, healthy = await follow(server, "healthy")
        slow, paused = await follow(server, "paused")
        slow.stop_reading()
        for number in range(1, 2 * KERNEL // sweeper.size + 1):
            sweeper.sweep()
            await until(lambda n=number: sweeps(healthy.follower) >= n, "a sweep at the client that reads")
        slow.read_on()
        await until(lambda: not slow.open, "the end of the slow client")
        assert slow.closed_with in (4408, None), "no other reason"  # None: it was cut off before it could read any
        await slow.drop()
        sweeper.sweep()
        await slow.connect()
        await slow.subscribe(paused.follower, paused.payload | {"since": paused.follower.cursor})
        lines = lines_of(server)
        behind = await arrive([healthy, paused], lines)
        assert not behind, behind
        assert paused.follower.counts["resumed"] == 1
        wrong = faults([healthy, paused], lines)
        assert not wrong, wrong[:3]
        sweeper.close()
        await quick.drop()
        with contextlib.suppress(ConnectionError):
            await slow.drop()

    asyncio.run(story())
    assert not server.complaints()
