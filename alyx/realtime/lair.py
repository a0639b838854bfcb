"""Where the relay of a database lives: a Unix socket and a lock file beside the database file.

Whoever holds the lock may replace the socket. The kernel frees the lock when its process ends, however it ends, so a socket file
that was left behind is never mistaken for one that is in use. The lock file stays: to remove it would open a gap between two
processes that lock it. Used by `relay` alone; the database itself is never opened here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_MOST_BYTES = 107 if sys.platform == "linux" else 103
"""Of a socket's address (`sun_path`), without the NUL at its end."""
_FOLDERS = "/proc/self/fd"


class Lair:
    """The files of one relay. They are in the folder where the database really is, so that links lead to the same place."""

    def __init__(self, database: str | Path) -> None:
        """database: its file, which need not exist yet."""
        self._path = os.path.realpath(database) + ".relay"
        self._folder = -1
        self._lock = -1
        self._identity: tuple[int, int] | None = None
        self.address = self._path

    def unusable(self) -> str | None:
        """Make ready; what keeps this system from having a relay, None if nothing does."""
        if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
            return "this system has no Unix sockets"
        if len(os.fsencode(self._path)) <= _MOST_BYTES:
            return None
        name = os.path.basename(self._path)
        if os.path.isdir(_FOLDERS):
            try:
                self._folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                return f"the folder of the database cannot be opened: {error.strerror}"
            self.address = f"{_FOLDERS}/{self._folder}/{name}"
            if len(os.fsencode(self.address)) <= _MOST_BYTES:
                return None
        return f"the path of the database is too long for a socket beside it, at most {_MOST_BYTES} bytes"

    def seize(self) -> bool:
        """Take the lock; False if another process has it. Raises OSError if there can be no lock."""
        lock = os.open(self._path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
        return True

    def listen(self) -> socket.socket:
        """Put a socket in the place of one that was left behind. Only with the lock. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(found.fileno(), 0o600)  # on Linux the file is born with this mode
            found.bind(self.address)
            os.chmod(self._path, 0o600)
            found.listen(64)
            found.setblocking(False)
            self._identity = self._now()
        except OSError:
            found.close()
            raise
        return found

    def is_vacant(self) -> bool:
        """Whether the socket in this place is no longer the one that `listen` made."""
        return self._now() != self._identity

    def leave(self) -> None:
        """Remove the socket, if it is still ours, and free the lock."""
        if self._identity is not None and not self.is_vacant():
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        self._identity = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def close(self) -> None:
        """Let go of the folder."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _now(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


def is_own(connection: socket.socket) -> bool:
    """Whether the process at the other end is the same user's. Where the system does not say, the file's mode has to do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == os.geteuid())
