"""What the edge can be told: the `server`, `limits`, `logging` and `metrics` parts of alyx.yaml, as frozen values.

Filled by `config`, read by the edge and the server. Times are seconds, sizes bytes. Never reads a file or the environment.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Literal

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
class Rate:
    """At most `count` requests in `seconds`, as in `200/s` or `1000/m`."""

    count: int
    seconds: float


def read_rate(text: str) -> Rate | None:
    """`off` -> None, `200/s`, `1000/m`, `5/10s` -> Rate. Raises ValueError with a sentence for anything else."""
    if text.strip().lower() == "off":
        return None
    count, slash, period = text.replace(" ", "").partition("/")
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number = period[:-1] or "1"
    known = slash == "/" and count.isascii() and count.isdigit() and period[-1:] in units
    if not known or not (number.isascii() and number.isdigit()) or int(count) < 1 or int(number) < 1:
        raise ValueError(f"{text!r} is not a rate; write `off`, `200/s`, `1000/m` or `5/10s`")
    return Rate(int(count), int(number) * units[period[-1]])


@dataclass(frozen=True, slots=True)
class Cors:
    """Who may call from another origin (the Fetch standard's CORS protocol).

    allowed_origins: `https://app.example.com`, `https://*.example.com` (one or more labels), or `*`. allowed_headers may hold
    `*`: whatever the browser asks for. max_age: how long a browser may remember a preflight. localhost: dev mode, any port of
    localhost, 127.0.0.1 and [::1]. Raises ValueError where `*` stands together with allow_credentials, which browsers refuse.
    """

    allowed_origins: tuple[str, ...] = ()
    allowed_methods: tuple[str, ...] = METHODS
    allowed_headers: tuple[str, ...] = REQUEST_HEADERS
    allow_credentials: bool = False
    max_age: int = 600
    localhost: bool = False

    def __post_init__(self) -> None:
        if self.allow_credentials and "*" in self.allowed_origins:
            raise ValueError("allow_credentials needs the origins by name; browsers refuse it together with `*`")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a client may take; without these uvicorn would wait for ever (hard-parts §7, design «HTTP»).

    head: from the connection or the first byte of a request to its complete head. keep_alive: idle between two requests.
    body: to the complete body, plus one second for every `body_rate` bytes that came. send: how long a client may take no byte
    of an answer. shutdown: for requests in flight when the server stops.
    """

    head: float = 10.0
    keep_alive: float = 75.0
    body: float = 20.0
    body_rate: int = 4096
    send: float = 60.0
    shutdown: float = 30.0


@dataclass(frozen=True, slots=True)
class Edge:
    """What the ASGI side needs: sizes, origins, proxies, rates.

    max_body_size: 413 above it. max_url: path and query, 414 above it. trusted_proxies: addresses or networks whose
    X-Forwarded-For is believed. requests: rate per client address, None = off.
    Raises ValueError naming an entry of trusted_proxies that is neither an address nor a network.
    """

    max_body_size: int = 10 * 1024 * 1024
    max_url: int = 16 * 1024
    body_deadline: float = 20.0
    body_rate: int = 4096
    cors: Cors = field(default_factory=Cors)
    trusted_proxies: tuple[str, ...] = ()
    requests: Rate | None = None

    def __post_init__(self) -> None:
        for entry in self.trusted_proxies:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                raise ValueError(f"{entry!r} is neither an address nor a network such as 10.0.0.0/8") from None


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
