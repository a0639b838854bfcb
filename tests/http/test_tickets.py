"""Tickets for browsers (contract §5): once, for half a minute, for the caller who asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from alyx.auth.tickets import LIFETIME, Tickets
from alyx.base import clock
from alyx.base.errors import AlyxError
from alyx.base.identity import Identity
from alyx.database.sqlite.engine import Engine, Settings
from tests.database import made
from tests.http.live import PATIENCE, Memory, Place, bearer, close, hear, on_place

ADA = Identity({"id": "u1", "role": "admin", "email": None, "verified": True, "claims": {"team": 7}})


@pytest.fixture
def now() -> Iterator[list[float]]:
    """The time, in a list that the test may change."""
    moment = [1_800_000_000.0]
    clock.pin(lambda: moment[0])
    yield moment
    clock.pin(None)


def refused(tickets: Tickets, ticket: str) -> str:
    with pytest.raises(AlyxError) as caught:
        asyncio.run(tickets.redeem(ticket))
    return caught.value.code


def test_a_ticket_stands_for_its_caller_once(now: list[float]) -> None:
    memory = Memory()
    ticket = asyncio.run(Tickets(memory).issue(ADA, now[0] + 900))
    other = Tickets(memory)
    identity, expires = asyncio.run(other.redeem(ticket))
    assert identity.values == ADA.values
    assert expires == now[0] + 900
    assert refused(other, ticket) == "UNAUTHORIZED"


def test_a_ticket_is_good_for_half_a_minute(now: list[float]) -> None:
    tickets = Tickets(Memory())
    first, second = (asyncio.run(tickets.issue(ADA, None)) for _ in range(2))
    now[0] += LIFETIME - 0.1
    assert asyncio.run(tickets.redeem(first))[1] is None
    now[0] += 0.1
    assert refused(tickets, second) == "UNAUTHORIZED"


def test_a_ticket_outlives_no_token(now: list[float]) -> None:
    tickets = Tickets(Memory())
    ticket = asyncio.run(tickets.issue(ADA, now[0] + 10))
    now[0] += 10
    assert refused(tickets, ticket) == "TOKEN_EXPIRED"


@pytest.mark.parametrize("ticket", ["", "unknown", "x" * 101, "ä\0'\"", "\ud800"])
def test_what_is_no_ticket_is_refused(ticket: str) -> None:
    assert refused(Tickets(Memory()), ticket) == "UNAUTHORIZED"


def test_only_a_hash_is_kept() -> None:
    memory = Memory()
    tickets = Tickets(memory)
    kept = [asyncio.run(tickets.issue(ADA, None)) for _ in range(3)]
    assert len(set(kept)) == 3
    assert set(memory.rows) == {hashlib.sha256(ticket.encode()).digest() for ticket in kept}
    assert not any(ticket in str(memory.rows) for ticket in kept)


def test_any_process_takes_from_the_database_what_another_gave(tmp_path: Path) -> None:
    path = tmp_path / "alyx.db"
    made.create(path).close()

    async def run() -> None:
        engines = [Engine.open(Settings(str(path))) for _ in range(2)]
        for engine in engines:
            await engine.start()
        giver, taker = (Tickets(engine) for engine in engines)
        ticket = await giver.issue(ADA, 2e9)
        found = await asyncio.gather(*(each.redeem(ticket) for each in (giver, taker) * 5), return_exceptions=True)
        good = [each for each in found if not isinstance(each, BaseException)]
        assert [identity.values for identity, _ in good] == [ADA.values]
        await giver.issue(ADA, None)
        for engine in engines:
            await engine.stop()

    asyncio.run(run())
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM _alyx_tickets").fetchone() == (1,)
    connection.close()


async def new_ticket(place: Place, authorization: str | None) -> tuple[int, dict[str, object], bytes]:
    """Ask for a ticket: the status, the body, the whole answer."""
    lines = ["POST /api/realtime/ticket HTTP/1.1", "Host: x", "Connection: close", "Content-Length: 0"]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    answer = await place.say("\r\n".join([*lines, "", ""]).encode())
    return int(answer[9:12]), json.loads(answer.partition(b"\r\n\r\n")[2]), answer


@pytest.mark.slow
def test_a_ticket_opens_a_socket_and_a_stream_once_each() -> None:
    async def work(place: Place) -> None:
        for path in ("/api/realtime?ticket={}", "/api/realtime?v=1&ticket={}"):
            status, body, head = await new_ticket(place, bearer("u9")["Authorization"])
            assert (status, set(body), body["expires_in"]) == (200, {"ticket", "expires_in"}, LIFETIME)
            assert b"\r\ncache-control: no-store\r\n" in head
            url = path.format(body["ticket"])
            async with place.socket(url) as client:
                await hear(client)
                assert place.live.last.client.identity.id == "u9"
                assert place.live.last.client.expires is not None
            with pytest.raises(InvalidStatus) as caught:
                await place.socket(url)
            assert caught.value.response.status_code == 401
        _, body, _ = await new_ticket(place, bearer("u9")["Authorization"])
        request = (
            f"GET /api/collections/posts?limit=1&ticket={body['ticket']} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
        )
        for status in (200, 401):
            reader, writer = await place.raw()
            writer.write(request.encode())
            assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 %d " % status)
            await close(writer)
        assert place.live.asked == [("posts", "limit=1", None, False)]
        assert not any("ticket=" in path for _, path, _ in place.seen)

    on_place(work)


@pytest.mark.slow
def test_a_ticket_is_for_a_caller_with_a_token() -> None:
    async def work(place: Place) -> None:
        for authorization in (None, "Bearer wrong", "Basic abc", bearer(ttl=-5)["Authorization"]):
            status, body, head = await new_ticket(place, authorization)
            assert status == 401
            assert body["code"] == ("TOKEN_EXPIRED" if authorization and len(authorization) > 50 else "UNAUTHORIZED")
            assert b"www-authenticate: Bearer" in head
        assert not place.tickets.rows

    on_place(work)
