"""The secret that signs tokens: the configured one, or one of this folder's own for development.

Called at start by dev mode, `serve` and `auth token`. Never prints it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import warnings
from pathlib import Path

from alyx.app.refusal import Refusal
from alyx.config import MIN_SECRET, Config

FILE = "jwt.secret"


def file_of(config: Config) -> Path:
    """Where the development secret lies: in the project's `data/`, wherever the database is (contract §2)."""
    return config.folder / "data" / FILE


def configured(config: Config) -> str | None:
    """`auth.jwt.secret`, or None when it is not set."""
    return config.values["auth.jwt.secret"] or None


def for_production(config: Config) -> str:
    """The configured secret. Raises Refusal if it is missing or shorter than 32 bytes (contract §2)."""
    secret = configured(config)
    if secret is None:
        raise Refusal(
            "auth.jwt.secret is not set, and nobody may guess what signs your users' tokens",
            "make one with `openssl rand -base64 32` and set ALYX_AUTH_JWT_SECRET; `alyx dev` needs none",
        )
    _check_length(secret)
    return secret


def for_development(config: Config) -> tuple[str, Path | None]:
    """The configured secret; else the one of this folder, which is made now if it is missing.

    Gives the secret, and the file if it was made by this call.
    """
    secret = configured(config)
    if secret is not None:
        # PyJWT warns of a short one at every token; `remarks` says it once.
        warnings.filterwarnings("ignore", message="The HMAC key is")
        return secret, None
    path = file_of(config)
    standing = _read(path)
    if standing is not None:
        return standing, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _make(path)
    except OSError as error:
        raise Refusal(f"the development secret {path} cannot be written: {error.strerror}", "set auth.jwt.secret") from error


def _make(path: Path) -> tuple[str, Path | None]:
    """The secret that this file now holds, and the file if it was written here.

    Whoever has the lock looks first: of processes that start together one writes, and the others take what it wrote. A file
    that holds nothing usable, such as an emptied one, is written anew.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
    with open(descriptor, "r+b") as file:
        _lock(descriptor)
        standing = _usable(file.read())
        if standing is not None:
            return standing, None
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        made = secrets.token_urlsafe(48)
        file.seek(0)
        file.truncate()
        file.write(made.encode() + b"\n")
    return made, path


def _lock(descriptor: int) -> None:
    """Wait until nobody else makes the secret; closing the file lets go."""
    try:
        import fcntl
    except ImportError:  # Windows, where a development machine starts one process at a time
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def remarks(config: Config) -> list[str]:
    """What dev mode should say about a configured secret that production would refuse."""
    secret = configured(config)
    if secret is None or len(secret.encode()) >= MIN_SECRET:
        return []
    return [f"auth.jwt.secret has {len(secret.encode())} bytes: `alyx serve` will refuse it, at least {MIN_SECRET} are needed"]


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return _usable(path.read_bytes())
    return None


def _usable(content: bytes) -> str | None:
    with contextlib.suppress(UnicodeDecodeError):
        secret = content.decode().strip()
        return secret if len(secret.encode()) >= MIN_SECRET else None
    return None


def _check_length(secret: str) -> None:
    if len(secret.encode()) < MIN_SECRET:
        raise Refusal(
            f"auth.jwt.secret has {len(secret.encode())} bytes; at least {MIN_SECRET} are needed",
            "make one with `openssl rand -base64 32`",
        )
