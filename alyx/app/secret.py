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


def _make(path: Path) -> tuple[str, Path]:
    made = secrets.token_urlsafe(48)
    # A second process may be making one at this moment: the first file wins.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError:
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        path.write_text(made + "\n")
        return made, path
    with open(descriptor, "w") as file:
        file.write(made + "\n")
    return made, path


def remarks(config: Config) -> list[str]:
    """What dev mode should say about a configured secret that production would refuse."""
    secret = configured(config)
    if secret is None or len(secret.encode()) >= MIN_SECRET:
        return []
    return [f"auth.jwt.secret has {len(secret.encode())} bytes: `alyx serve` will refuse it, at least {MIN_SECRET} are needed"]


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = path.read_text().strip()
        if len(text.encode()) >= MIN_SECRET:
            return text
    return None


def _check_length(secret: str) -> None:
    if len(secret.encode()) < MIN_SECRET:
        raise Refusal(
            f"auth.jwt.secret has {len(secret.encode())} bytes; at least {MIN_SECRET} are needed",
            "make one with `openssl rand -base64 32`",
        )
