"""What is typed: read from the terminal itself, so that nothing typed before a question can answer it.

Used by everything that asks, before the question is printed.
"""

from __future__ import annotations

import os
import sys

_LONGEST = 4096
"""Bytes of a line at a terminal; the kernel keeps no more."""


def forget_typed() -> None:
    """Drop what stands in the terminal's queue: it was meant for something else. Nothing is dropped where this is no terminal."""
    if sys.stdin.isatty():
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def read_line() -> str:
    """The line that waits; empty at the end of input. Past Python's own buffer, which would keep further lines for later."""
    return os.read(sys.stdin.fileno(), _LONGEST).decode(errors="replace")


def is_ours() -> bool:
    """Whether this process may read the terminal: a job in the background would be stopped for trying."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # no terminal, or not the one that controls this process
        return True
