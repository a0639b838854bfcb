"""The WebSocket: its handshake, its frames, and how it ends (contract §5, RFC 6455)."""

from __future__ import annotations

import pytest

from tests.http.live import FakeLive, Place, hear, on_place

pytestmark = pytest.mark.slow


def test_messages_go_both_ways_in_order() -> None:
    live = FakeLive(echo=True)

    async def work(place: Place) -> None:
        async with place.socket() as client:
            assert await hear(client) == '{"type":"connected"}'
            for size in (0, 1, 125, 126, 60_000):
                text = "ä" * (size // 2) + "x" * (size % 2)
                await client.send(text)
                assert await hear(client) == text
        assert ("/api/realtime", "/api/realtime", 101) in place.seen

    on_place(work, live)
