"""A snapshot and what follows it have no gap between them, however many writes are on their way."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.realtime.load import SCHEMA, USERS, Load, Wish, faults, lines_of, wish
from tests.realtime.remote import PATIENCE, Gone, Server, Socket, Stream, token, until

STAY = 0.03
"""Seconds that a subscription lasts at least."""


async def _heard(each: Wish) -> None:
    """Until something has come after the snapshot, or long enough."""
    with contextlib.suppress(AssertionError):
        await until(lambda: len(each.follower.received) > 2, "", STAY)


async def by_socket(server: Server, number: int, count: int) -> list[Wish]:
    user = [None, *USERS][number % 6]
    socket = Socket(server.port)
    await socket.connect(token(user) if user else None)
    wishes = []
    for index in range(count):
        each = wish(index % 4, user, f"socket {number}, subscription {index}")
        wishes.append(each)
        await socket.subscribe(each.follower, each.payload)
        await _heard(each)
        await socket.unsubscribe(each.follower)
        assert not socket.stray, socket.stray
    await socket.close()
    return wishes


async def by_stream(server: Server, number: int, count: int) -> list[Wish]:
    user = [None, *USERS][number % 6]
    wishes = []
    for index in range(count):
        each = wish(index % 4, user, f"stream {number}, {index}")
        wishes.append(each)
        stream = Stream(server.port, each.follower)
        with contextlib.suppress(*Gone):
            await stream.connect(each.view.collection, each.query, token=token(user) if user else None)
            await _heard(each)
        assert each.follower.answered, stream.refused
        await stream.drop()
    return wishes


async def subscribe_all(server: Server, sockets: int, streams: int, each: int, rate: float) -> None:
    load = Load(server, rate, seed=2)
    load.start()
    await until(lambda: load.writes > 100, "a hundred writes", PATIENCE)
    before = load.writes
    followers = [by_socket(server, n, each) for n in range(sockets)] + [by_stream(server, n, each) for n in range(streams)]
    wishes = [wish for wishes in await asyncio.gather(*followers) for wish in wishes]
    during = load.writes - before
    await load.stop()
    lines = lines_of(server)
    wrong = faults(wishes, lines)
    deltas = sum(wish.follower.counts.get("delta", 0) for wish in wishes)
    assert not wrong, "\n".join([f"{len(wrong)} faults in {len(wishes)} subscriptions", *wrong[:8]])
    assert during > 100
    assert deltas > len(wishes) / 4
    assert not server.complaints()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_thousand_subscribes_while_somebody_writes_have_no_gap(tmp_path, workers):
    server = Server(tmp_path, SCHEMA, workers=workers)
    try:
        server.start()
        asyncio.run(subscribe_all(server, sockets=16, streams=4, each=50, rate=400))
    finally:
        server.end()
