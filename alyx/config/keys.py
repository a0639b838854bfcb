"""Every key of alyx.yaml with the kind of value that it takes (contract §2).

`reading` checks the file and the environment by this table, docs/configuration.md is held to it by a test. Never reads either.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from alyx.base import units
from alyx.http.settings import METHODS, REQUEST_HEADERS


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of value: its name in the documentation, and `read`, which takes what YAML gives and returns what the program uses.

    `read` raises ValueError with a sentence that ends "... is needed" in sense. textual: `8090` from the environment stays text.
    """

    name: str
    read: Callable[[Any], Any]
    textual: bool = False
    is_list: bool = False


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("text is needed; put it in quotes")


def _path(value: Any) -> str:
    if not _text(value):
        raise ValueError("a path is needed")
    return str(value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("`true` or `false` is needed")


def _whole(low: int, high: int | None = None) -> Kind:
    span = f"from {low} to {high}" if high is not None else f"of at least {low}"

    def read(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value and (high is None or value <= high):
            return value
        raise ValueError(f"a whole number {span} is needed")

    return Kind("int", read)


def _workers(value: Any) -> int:
    if value == "auto":
        return os.cpu_count() or 1
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 256:
        return value
    raise ValueError("a whole number from 1 to 256 or `auto` is needed")


def _rate(value: Any) -> units.Rate | None:
    if value is False:  # YAML 1.1 writers turn `off` into false
        return None
    return units.rate(value if isinstance(value, str) else str(value))


def _choice(*words: str) -> Kind:
    def read(value: Any) -> str:
        if value in words:
            return str(value)
        near = get_close_matches(value, words, n=1) if isinstance(value, str) else []
        raise ValueError(f"one of {', '.join(words)} is needed" + (f"; did you mean `{near[0]}`?" if near else ""))

    return Kind(" or ".join(words), read)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError("a list of texts is needed")


def _origins(value: Any) -> tuple[str, ...]:
    for origin in _texts(value):
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin):
            raise ValueError(f"`{origin}` is not an origin such as `https://app.example.com`, without a path")
    return tuple(value)


def _networks(value: Any) -> tuple[str, ...]:
    for address in _texts(value):
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError:
            raise ValueError(f"`{address}` is not an address or a network such as `10.0.0.0/8`") from None
    return tuple(value)


def _span(value: Any) -> float:
    seconds = units.duration(value)
    if seconds <= 0:
        raise ValueError("a duration longer than 0 is needed")
    return seconds


def _url_path(value: Any) -> str:
    if re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)+", _text(value)):
        return str(value)
    raise ValueError("a path that starts with `/`, such as `/_admin`, is needed")


TEXT = Kind("text", _text, textual=True)
PATH = Kind("path", _path, textual=True)
FLAG = Kind("bool", _flag)
DURATION = Kind("duration", units.duration)
SPAN = Kind("duration", _span)
"""A duration that cannot be 0."""
SIZE = Kind("size", units.size)
RATE = Kind("rate or off", _rate)
TEXTS = Kind("list of text", _texts, is_list=True)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of alyx.yaml. default: as written in the file, None for "not set". later: checked, but does nothing yet."""

    name: str
    kind: Kind
    default: Any = None
    later: bool = False

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return "ALYX_" + self.name.replace(".", "_").upper()


def _rate_limit(name: str, maximum: int, window: str) -> tuple[Key, Key]:
    prefix = f"auth.rate_limit.{name}"
    return Key(f"{prefix}.max", _whole(1), maximum, later=True), Key(f"{prefix}.window", SPAN, window, later=True)


KEYS: tuple[Key, ...] = (
    Key("schema", PATH, "schema.yaml"),
    Key("migrations", PATH, "migrations"),
    Key("functions", PATH, "functions", later=True),
    Key("server.host", TEXT, "127.0.0.1"),
    Key("server.port", _whole(0, 65535), 8090),
    Key("server.workers", Kind("int or auto", _workers), 1),
    Key("server.max_body_size", SIZE, "10MB"),
    Key("server.cors.allowed_origins", Kind("list of origins", _origins, is_list=True), []),
    Key("server.cors.allowed_methods", TEXTS, list(METHODS)),
    Key("server.cors.allowed_headers", TEXTS, list(REQUEST_HEADERS)),
    Key("server.cors.allow_credentials", FLAG, False),
    Key("server.cors.max_age", DURATION, "10m"),
    Key("server.trusted_proxies", Kind("list of networks", _networks, is_list=True), []),
    Key("database.url", TEXT, "sqlite:///data/alyx.db"),
    Key("database.path", PATH),
    Key("database.synchronous", _choice("full", "normal"), "full"),
    Key("auth.jwt.secret", TEXT),
    Key("auth.jwt.access_ttl", SPAN, "15m"),
    Key("auth.jwt.refresh_ttl", SPAN, "7d", later=True),
    Key("auth.jwt.issuer", TEXT, "alyx"),
    Key("auth.jwt.audience", TEXT),
    Key("auth.password.min_length", _whole(1, 1024), 8, later=True),
    Key("auth.allow_registration", FLAG, True, later=True),
    Key("auth.require_verification", FLAG, False, later=True),
    Key("auth.hide_accounts", FLAG, False, later=True),
    *_rate_limit("login", 5, "1m"),
    *_rate_limit("register", 3, "1m"),
    *_rate_limit("password_reset", 3, "1h"),
    Key("realtime.enabled", FLAG, True),
    Key("realtime.poll_interval", SPAN, "20ms"),
    Key("realtime.max_connections", _whole(0), 10000),
    Key("realtime.max_connections_per_user", _whole(0), 1000),
    Key("realtime.max_connections_per_address", _whole(0), 1000),
    Key("realtime.max_subscriptions_per_client", _whole(1), 100),
    Key("realtime.retention", DURATION, "24h"),
    Key("logging.level", _choice("debug", "info", "warning", "error"), "info"),
    Key("logging.format", _choice("console", "json")),
    Key("docs.enabled", FLAG, True),
    Key("docs.title", TEXT),
    Key("docs.version", TEXT),
    Key("docs.description", TEXT),
    Key("metrics.enabled", FLAG, True),
    Key("metrics.token", TEXT),
    Key("mail.host", TEXT, None, later=True),
    Key("mail.port", _whole(1, 65535), 587, later=True),
    Key("mail.tls", FLAG, True, later=True),
    Key("mail.user", TEXT, None, later=True),
    Key("mail.password", TEXT, None, later=True),
    Key("mail.from", TEXT, None, later=True),
    Key("mail.base_url", TEXT, None, later=True),
    Key("admin_ui.enabled", FLAG, True, later=True),
    Key("admin_ui.path", Kind("text", _url_path, textual=True), "/_admin", later=True),
    Key("dev.watch", FLAG, True),
    Key("dev.auto_migrate", FLAG, True),
    Key("dev.auto_generate", FLAG, False, later=True),
    Key("dev.generate_languages", TEXTS, [], later=True),
    Key("dev.generate_output", PATH, None, later=True),
    Key("limits.headers", SIZE, "32KB"),
    Key("limits.json_depth", _whole(1, 256), 32),
    Key("limits.filter", SIZE, "2KB"),
    Key("limits.expand_rows", _whole(1), 1000),
    Key("limits.statement", SPAN, "5s"),
    Key("limits.batch", _whole(1), 100),
    Key("limits.create_many", _whole(1), 1000),
    Key("limits.requests", RATE, "off"),
    Key("limits.realtime_messages", RATE, "200/s"),
)
"""Every fixed key of contract §2."""

OAUTH = "auth.oauth"
OAUTH_KEYS: dict[str, Kind] = {
    "client_id": TEXT,
    "client_secret": TEXT,
    "scopes": TEXTS,
    "issuer": TEXT,
    "auth_url": TEXT,
    "token_url": TEXT,
    "userinfo_url": TEXT,
}
"""Below `auth.oauth.<name>`, for any name; all of a later version."""

BY_NAME = {key.name: key for key in KEYS}
"""The fixed keys by their name."""
