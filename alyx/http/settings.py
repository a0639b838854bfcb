"""What the edge can be told: the `server`, `limits`, `logging`, `metrics` and `docs` parts of alyx.yaml, as frozen values.

Filled by `config`, read by the edge and the server. Times are seconds, sizes bytes. Never reads a file or the environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from alyx.base.units import Rate

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REQUEST_HEADERS = (
    "authorization",
    "content-type",
    "if-match",
    "if-none-match",
    "idempotency-key",
    "alyx-as-admin",
    "x-request-id",
    "last-event-id",
)


@dataclass(frozen=True, slots=True)
class Cors:
    """Who may call from another origin (the Fetch standard's CORS protocol).

    allowed_origins: `https://app.example.com`, `https://*.example.com` (one or more labels), or `*`. allowed_headers may hold
    `*`: whatever the browser asks for. max_age: how long a browser may remember a preflight. localhost: dev mode, any port of
    localhost, 127.0.0.1 and [::1]. `config` has seen to it that `*` never stands together with allow_credentials.
    """

    allowed_origins: tuple[str, ...] = ()
    allowed_methods: tuple[str, ...] = METHODS
    allowed_headers: tuple[str, ...] = REQUEST_HEADERS
    allow_credentials: bool = False
    max_age: int = 600
    localhost: bool = False


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a client may take; without these uvicorn would wait for ever (hard-parts §7, design «HTTP»).

    head: from the connection or the first byte of a request to its complete head. keep_alive: idle between two requests.
    send: how long a client may take no byte of an answer. shutdown: for requests in flight when the server stops. That of a
    body is the edge's.
    """

    head: float = 10.0
    keep_alive: float = 75.0
    send: float = 60.0
    shutdown: float = 30.0


@dataclass(frozen=True, slots=True)
class Edge:
    """What the ASGI side needs: sizes, origins, proxies, rates.

    max_body_size: 413 above it. max_url: path and query, 414 above it. body_deadline: to the complete body, plus one second for
    every `body_rate` bytes that came. trusted_proxies: addresses or networks whose
    X-Forwarded-For is believed. requests: rate per client address, None = off.
    """

    max_body_size: int = 10 * 1024 * 1024
    max_url: int = 16 * 1024
    body_deadline: float = 20.0
    body_rate: int = 4096
    cors: Cors = field(default_factory=Cors)
    trusted_proxies: tuple[str, ...] = ()
    requests: Rate | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """What the socket side needs. max_header_size: request line and headers, 431 above it. max_connections: 503 above it."""

    max_header_size: int = 32 * 1024
    max_connections: int = 10_000
    backlog: int = 2048
    deadlines: Deadlines = field(default_factory=Deadlines)


@dataclass(frozen=True, slots=True)
class Logging:
    """level: debug, info, warning, error; requests are logged at info. slow: seconds above which a request is a warning."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"
    slow: float = 0.5
    color: bool | None = None


@dataclass(frozen=True, slots=True)
class Metrics:
    """enabled: whether GET /metrics exists. token: what `Authorization: Bearer` must carry there, None = open."""

    enabled: bool = True
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Docs:
    """enabled: whether the routes exist at all. title, version, description: of the document; the schema's version when None."""

    enabled: bool = True
    title: str = "Alyx"
    version: str | None = None
    description: str = ""
