"""Frames as nobody should send them: 5,000 damaged sequences on real sockets leave no exception and no open file behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random

import pytest
from websockets.frames import Opcode
from websockets.utils import apply_mask

from alyx.http import settings
from tests.http.live import PATIENCE, FakeLive, Place, close, on_place, until
from tests.http.test_websocket import handshake

pytestmark = pytest.mark.slow
SEQUENCES = 5_000
AT_ONCE = 50
TEXTS = [b"", b"{}", b'{"type":"ping"}', "ä😀".encode(), b"\xff", b"x" * 126, b"x" * 70_000, b"\x03\xe8", b"\x00"]
OPCODES = [Opcode.TEXT, Opcode.TEXT, Opcode.TEXT, Opcode.CONT, Opcode.BINARY, Opcode.PING, Opcode.PONG, Opcode.CLOSE]


def frame(first: int, payload: bytes, mask: bytes | None) -> bytes:
    """A frame with any first byte, also one that the library would refuse to make. mask: four bytes, or none."""
    size = len(payload)
    form, more = (
        (size, b"") if size < 126 else (126, size.to_bytes(2, "big")) if size < 65_536 else (127, size.to_bytes(8, "big"))
    )
    head = bytes((first, form | (mask is not None) << 7)) + more
    if mask is None:
        return head + payload
    return head + mask + bytes(apply_mask(payload, mask))


def sequence(dice: random.Random) -> bytes:
    """A few frames, some in order and some not, with a few bytes changed, lost or added."""
    data = bytearray()
    for _ in range(dice.randint(1, 6)):
        opcode = dice.choice(OPCODES)
        payload = dice.choice(TEXTS) if dice.random() < 0.9 else dice.randbytes(dice.randint(0, 300))
        first = opcode | (dice.random() < 0.8) << 7 | (dice.random() < 0.02) << 6
        data += frame(first, payload, dice.randbytes(4) if dice.random() < 0.97 else None)
    for _ in range(dice.choice((0, 0, 1, 2, 5))):
        place = dice.randrange(len(data) + 1)
        data[place : place + dice.choice((0, 1, dice.randint(1, 20)))] = dice.randbytes(dice.choice((0, 1, 8)))
    return bytes(data)


def files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only Linux tells the open files")
def test_damaged_frames_leave_no_exception_and_no_open_file(caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(2026)

    async def one(place: Place) -> None:
        data = sequence(dice)
        cut, early, farewell = dice.randint(0, len(data)), dice.random() < 0.3, dice.random()
        reader, writer = await place.raw()
        with contextlib.suppress(ConnectionError):
            writer.write(handshake() + (data[:cut] if early else b""))
            await asyncio.sleep(0)
            writer.write(data[cut if early else 0 :])
            if farewell < 0.3:
                writer.transport.abort()
            elif farewell < 0.5:
                writer.close()
            else:
                writer.write_eof()
                answer = await asyncio.wait_for(reader.read(), PATIENCE)
                assert not answer or answer.startswith(b"HTTP/1.1 101 "), answer[:100]
        await close(writer)

    async def work(place: Place) -> None:
        await asyncio.gather(*(one(place) for _ in range(AT_ONCE)))
        await until(lambda: place.serving.connections == 0)
        before = files()
        for _ in range(SEQUENCES // AT_ONCE):
            await asyncio.gather(*(one(place) for _ in range(AT_ONCE)))
        await until(lambda: place.serving.connections == 0)
        assert files() == before
        assert len(place.live.sessions) > SEQUENCES // 2
        assert all(session.losses == 1 for session in place.live.sessions)

    on_place(work, FakeLive(echo=True), options=settings.Server(deadlines=settings.Deadlines(head=5.0)))
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
