"""Writes log lines: gathers them for a moment and lets a thread write, so that a slow terminal or pipe delays no request.

Used by `log` only. Lines are made where they are gathered, many at once: in between requests the same work costs three times as
much, since every cache is cold then. Bounded: what cannot be written in time is dropped and counted, never kept without end.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import IO, Any, Final

_GATHER: Final = 200
_PENDING_BYTES: Final = 8 * 1024 * 1024


class Lines:
    """Lines on their way to a stream.

    stream: text or binary, None = nowhere. delay: seconds for which lines are gathered while a loop runs; 0 writes at once.
    dropped: lines given up because the stream took nothing for too long, or because they could not be made.
    """

    def __init__(self, stream: IO[Any] | None, *, delay: float = 0.1) -> None:
        self._stream = stream
        self._delay = delay
        self._gathered: list[tuple[Callable[[Any], bytes], Any]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._pending: deque[bytes] = deque()
        self._pending_size = 0
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self.dropped = 0
        atexit.register(self.close)

    def add(self, make: Callable[[Any], bytes], entry: Any, *, urgent: bool = False) -> None:
        """Take an entry; `make(entry)` will give its line (without the end of line). urgent: do not wait for others."""
        self._gathered.append((make, entry))
        if urgent or len(self._gathered) >= _GATHER or not self._delay:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(self._delay, self.flush)
            except RuntimeError:  # no loop: a command line, or a thread
                self.flush()

    def flush(self) -> None:
        """Hand what was gathered to the writing thread."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        gathered, self._gathered = self._gathered, []
        if not gathered or self._stream is None:
            return
        try:
            made = [make(entry) for make, entry in gathered]
        except Exception:
            made = self._make_each(gathered)
        block = b"\n".join([*made, b""])
        with self._wake:
            if self._closing:
                self._write(block)
            elif self._pending_size + len(block) > _PENDING_BYTES:
                self.dropped += len(gathered)
            else:
                self._pending.append(block)
                self._pending_size += len(block)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="alyx-log", daemon=True)
                    self._thread.start()
                self._wake.notify()

    def _make_each(self, gathered: list[tuple[Callable[[Any], bytes], Any]]) -> list[bytes]:
        """The lines that can be made: one that cannot is dropped by itself, and harms neither its neighbours nor the request."""
        made = []
        for make, entry in gathered:
            try:
                made.append(make(entry))
            except Exception:
                self.dropped += 1
        return made

    def close(self) -> None:
        """Write what is left, for at most two seconds; later lines are written at once."""
        atexit.unregister(self.close)
        self.flush()
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._pending and not self._closing:
                    self._wake.wait()
                if not self._pending:
                    return
                block = b"".join(self._pending)
                self._pending.clear()
            self._write(block)
            with self._wake:
                self._pending_size -= len(block)

    def _write(self, block: bytes) -> None:
        stream = self._stream
        # A log that cannot be written (a closed pipe, a full disk) must not stop the server.
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                binary = getattr(stream, "buffer", None)
                if binary is not None:
                    binary.write(block)
                    binary.flush()
                else:
                    stream.write(block.decode("utf-8", "replace"))
                    stream.flush()
