"""alyx.yaml and the environment, checked, and joined into the settings of each package (contract §2).

`cli` and `app` call `load`. Owns every key of alyx.yaml (`KEYS`); each package owns its own settings type, and only `Config`
knows them all. Never opens the database, never creates a file, never prints.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from alyx.auth import tokens
from alyx.base import units
from alyx.base.errors import SourceFault
from alyx.database.sqlite import engine
from alyx.http import docs
from alyx.http import settings as http_settings
from alyx.records.limits import Limits
from alyx.schema import yaml
from alyx.schema.yaml import Faults, Node

FILE = "alyx.yaml"
MIN_SECRET = 32
"""Bytes that `auth.jwt.secret` must have to sign anything in production (contract §2; RFC 7518 §3.2 for HS256)."""

_VARIABLE = re.compile(r"\$\$(?=\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


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


def _rate(value: Any) -> http_settings.Rate | None:
    if value is False:  # YAML 1.1 writers turn `off` into false
        return None
    return http_settings.read_rate(value if isinstance(value, str) else str(value))


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


TEXT = Kind("text", _text, textual=True)
PATH = Kind("path", _path, textual=True)
FLAG = Kind("bool", _flag)
DURATION = Kind("duration", units.duration)
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
    return Key(f"{prefix}.max", _whole(1), maximum, later=True), Key(f"{prefix}.window", DURATION, window, later=True)


KEYS: tuple[Key, ...] = (
    Key("schema", PATH, "schema.yaml"),
    Key("migrations", PATH, "migrations"),
    Key("functions", PATH, "functions", later=True),
    Key("server.host", TEXT, "127.0.0.1"),
    Key("server.port", _whole(0, 65535), 8090),
    Key("server.workers", Kind("int or auto", _workers), 1),
    Key("server.max_body_size", SIZE, "10MB"),
    Key("server.cors.allowed_origins", Kind("list of origins", _origins, is_list=True), []),
    Key("server.cors.allowed_methods", TEXTS, list(http_settings.METHODS)),
    Key("server.cors.allowed_headers", TEXTS, list(http_settings.REQUEST_HEADERS)),
    Key("server.cors.allow_credentials", FLAG, False),
    Key("server.cors.max_age", DURATION, "10m"),
    Key("server.trusted_proxies", Kind("list of networks", _networks, is_list=True), []),
    Key("database.url", TEXT, "sqlite:///data/alyx.db"),
    Key("database.path", PATH),
    Key("database.synchronous", _choice("full", "normal"), "full"),
    Key("auth.jwt.secret", TEXT),
    Key("auth.jwt.access_ttl", DURATION, "15m"),
    Key("auth.jwt.refresh_ttl", DURATION, "7d", later=True),
    Key("auth.jwt.issuer", TEXT, "alyx"),
    Key("auth.jwt.audience", TEXT),
    Key("auth.password.min_length", _whole(1, 1024), 8, later=True),
    Key("auth.allow_registration", FLAG, True, later=True),
    Key("auth.require_verification", FLAG, False, later=True),
    Key("auth.hide_accounts", FLAG, False, later=True),
    *_rate_limit("login", 5, "1m"),
    *_rate_limit("register", 3, "1m"),
    *_rate_limit("password_reset", 3, "1h"),
    Key("realtime.enabled", FLAG, True, later=True),
    Key("realtime.poll_interval", DURATION, "20ms"),
    Key("realtime.max_connections", _whole(0), 10000, later=True),
    Key("realtime.max_subscriptions_per_client", _whole(1), 100, later=True),
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
    Key("admin_ui.path", TEXT, "/_admin", later=True),
    Key("dev.watch", FLAG, True),
    Key("dev.auto_migrate", FLAG, True),
    Key("dev.auto_generate", FLAG, False, later=True),
    Key("dev.generate_languages", TEXTS, [], later=True),
    Key("dev.generate_output", PATH, None, later=True),
    Key("limits.headers", SIZE, "32KB"),
    Key("limits.json_depth", _whole(1, 256), 32),
    Key("limits.filter", SIZE, "2KB"),
    Key("limits.expand_rows", _whole(1), 1000),
    Key("limits.statement", DURATION, "5s"),
    Key("limits.batch", _whole(1), 100),
    Key("limits.create_many", _whole(1), 1000),
    Key("limits.requests", RATE, "off"),
    Key("limits.realtime_messages", RATE, "200/s", later=True),
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

_BY_NAME = {key.name: key for key in KEYS}


@dataclass(frozen=True)
class Config:
    """The checked settings of one alyx.yaml with its environment.

    folder: where relative paths start. values: every key of `KEYS` -> its value as the program uses it (seconds, bytes, tuples;
    None for not set). given: the keys that the file or the environment sets. warnings: sentences to show at start.
    """

    file: Path | None
    folder: Path
    values: Mapping[str, Any]
    given: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = field(default=())

    @property
    def schema_file(self) -> Path:
        """Where schema.yaml is."""
        return self.folder / str(self.values["schema"])

    @property
    def migrations_folder(self) -> Path:
        """Where the migration files are; the folder may be missing."""
        return self.folder / str(self.values["migrations"])

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return self.folder / str(self.values["database.path"])

    def engine(self) -> engine.Settings:
        """For the database."""
        return engine.Settings(
            path=str(self.database_path),
            synchronous=self.values["database.synchronous"],
            statement_timeout=self.values["limits.statement"],
            retention=self.values["realtime.retention"],
        )

    def tokens(self, secret: str) -> tokens.Settings:
        """For signing and verifying with this secret."""
        return tokens.Settings(
            secret=secret,
            issuer=self.values["auth.jwt.issuer"],
            audience=self.values["auth.jwt.audience"] or None,
            access_ttl=self.values["auth.jwt.access_ttl"],
        )

    def limits(self) -> Limits:
        """For the record API."""
        names = ("filter", "expand_rows", "batch", "create_many", "json_depth")
        return Limits(**{name: self.values[f"limits.{name}"] for name in names})

    def edge(self, *, dev: bool) -> http_settings.Edge:
        """For the ASGI application. dev: pages on localhost may call."""
        cors = "server.cors."
        return http_settings.Edge(
            max_body_size=self.values["server.max_body_size"],
            cors=http_settings.Cors(
                allowed_origins=self.values[cors + "allowed_origins"],
                allowed_methods=self.values[cors + "allowed_methods"],
                allowed_headers=self.values[cors + "allowed_headers"],
                allow_credentials=self.values[cors + "allow_credentials"],
                max_age=int(self.values[cors + "max_age"]),
                localhost=dev,
            ),
            trusted_proxies=self.values["server.trusted_proxies"],
            requests=self.values["limits.requests"],
        )

    def server(self) -> http_settings.Server:
        """For the socket."""
        return http_settings.Server(max_header_size=self.values["limits.headers"])

    def logging(self, *, dev: bool) -> http_settings.Logging:
        """For the log: console in development, JSON in production unless the file says otherwise."""
        chosen: Literal["console", "json"] = self.values["logging.format"] or ("console" if dev else "json")
        return http_settings.Logging(level=self.values["logging.level"], format=chosen)

    def metrics(self) -> http_settings.Metrics:
        """For GET /metrics."""
        return http_settings.Metrics(self.values["metrics.enabled"], self.values["metrics.token"] or None)

    def docs(self) -> docs.Docs:
        """For the description of the API."""
        return docs.Docs(
            enabled=self.values["docs.enabled"],
            title=self.values["docs.title"] or "Alyx",
            version=self.values["docs.version"] or None,
            description=self.values["docs.description"] or "",
        )

    @property
    def later(self) -> list[str]:
        """The keys that are set and do nothing in this version."""
        fixed = [key.name for key in KEYS if key.later and key.name in self.given]
        return fixed + sorted(name for name in self.given if name not in _BY_NAME)


def load(path: str | Path | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Read alyx.yaml and the ALYX_ variables.

    path: None for `./alyx.yaml`, which may be missing; a path that is given must exist. env: the environment, the process's own
    if None. Raises SourceError with every fault of both.
    """
    env = os.environ if env is None else env
    file = Path(path) if path is not None else Path(FILE)
    reader = _Reader(Faults(str(file)), env)
    exists = path is not None or file.exists()
    if exists:
        reader.take_file(yaml.parse(yaml.read_text(file), reader.faults))
    reader.take_environment()
    values = {key.name: None if key.default is None else key.kind.read(key.default) for key in KEYS} | reader.values
    reader.check_origins()
    values["database.path"] = reader.database_path(str(_BY_NAME["database.url"].default))
    reader.faults.raise_any()
    return Config(
        file=file if exists else None,
        folder=file.parent,
        values=values,
        given=frozenset(reader.values),
        warnings=tuple(reader.warnings),
    )


class _Reader:
    """Collects values and faults: first those of the file, then those of the environment, which win."""

    def __init__(self, faults: Faults, env: Mapping[str, str]) -> None:
        self.faults = faults
        self.values: dict[str, Any] = {}
        self.warnings: list[str] = []
        self._env = env
        self._nodes: dict[str, Node] = {}
        self._from_env: set[str] = set()

    def take_file(self, root: Node) -> None:
        if root.value is None:
            return
        if not root.is_map:
            self.faults.add(root, "", f"alyx.yaml must be a map of settings, not {yaml.kind(root.value)}")
            return
        self._group(root, "")

    def _group(self, node: Node, path: str) -> None:
        """Every key of a map: a setting, or a map of further ones."""
        known = _children(path)
        self.faults.unknown_keys(node, path, known)
        for name, child in node.entries():
            below = yaml.join(path, name)
            if name not in known or child.value is None:
                continue
            if below in _BY_NAME:
                self._setting(below, _BY_NAME[below].kind, child)
            elif not child.is_map:
                self.faults.add(child, below, f"a map is needed here, not {yaml.kind(child.value)}")
            elif below == OAUTH:
                self._providers(child)
            else:
                self._group(child, below)

    def _providers(self, node: Node) -> None:
        for name, child in node.entries():
            path = f"{OAUTH}.{name}"
            if not child.is_map:
                self.faults.add(child, path, f"a map is needed here, not {yaml.kind(child.value)}")
                continue
            self.faults.unknown_keys(child, path, OAUTH_KEYS)
            for key, value in child.entries():
                if key in OAUTH_KEYS and value.value is not None:
                    self._setting(f"{path}.{key}", OAUTH_KEYS[key], value)

    def _setting(self, name: str, kind: Kind, node: Node) -> None:
        before = len(self.faults.found)
        value = self._filled(node, name, kind)
        if len(self.faults.found) > before:
            return
        try:
            self.values[name] = kind.read(value)
            self._nodes[name] = node
        except ValueError as error:
            self.faults.add(node, name, str(error))

    def _filled(self, node: Node, path: str, kind: Kind) -> Any:
        """The value with `${VAR}` replaced; the text is then read by what the key takes, so `port: "${PORT}"` is a number."""
        if node.is_list:
            return [self._filled(item, yaml.join(path, index), TEXT) for index, item in enumerate(node.items)]
        if not isinstance(node.value, str) or "${" not in node.value:
            return node.value
        text = _VARIABLE.sub(lambda match: self._variable(match, node, path), node.value)
        return _from_text(text, kind)

    def _variable(self, match: re.Match[str], node: Node, path: str) -> str:
        name, default = match[1], match[2]
        if name is None:
            return "$"
        if value := self._env.get(name) or default:
            return value
        if name not in self._env and default is None:
            hint = f"set it, or write `${{{name}:-default}}`"
            self.faults.add(node, path, f"the environment variable {name} is not set", hint)
        return ""

    def take_environment(self) -> None:
        """Every ALYX_ variable: a setting, or a warning. An empty one counts as not set."""
        names = {key.env: key for key in KEYS}
        for variable in sorted(name for name in self._env if name.startswith("ALYX_")):
            if variable in names:
                self._from_variable(variable, names[variable].name, names[variable].kind)
            elif provider := _provider_key(variable):
                self._from_variable(variable, *provider)
            else:
                near = yaml.nearest(variable, names)
                hint = f"; did you mean {near}?" if near else ""
                self.warnings.append(f"the environment variable {variable} is no setting of Alyx and does nothing{hint}")

    def _from_variable(self, variable: str, name: str, kind: Kind) -> None:
        text = self._env[variable]
        if not text:
            return
        try:
            self.values[name] = kind.read(_from_text(text, kind))
            self._from_env.add(name)
        except ValueError as error:
            self.faults.found.append(SourceFault("environment", 0, 0, variable, str(error)))

    def check_origins(self) -> None:
        """`*` together with credentials is what no browser takes."""
        if self.values.get("server.cors.allow_credentials") and "*" in self.values.get("server.cors.allowed_origins", ()):
            self._fault("server.cors.allow_credentials", "it needs the origins by name; browsers refuse it together with `*`")

    def database_path(self, default_url: str) -> str:
        """The SQLite file that `database.path` or `database.url` names; the environment's one wins over the file's."""
        path, url = self.values.get("database.path"), self.values.get("database.url")
        if path is not None and url is not None:
            sources = [name in self._from_env for name in ("database.path", "database.url")]
            if sources[0] == sources[1]:
                self._fault("database.path", "`database.path` and `database.url` both say where the database is; keep one")
            if sources[0]:
                url = None
            else:
                path = None
        if path is not None:
            return str(path)
        try:
            return sqlite_file(url or default_url)
        except ValueError as error:
            self._fault("database.url", str(error))
            return ""

    def _fault(self, name: str, message: str) -> None:
        if name in self._from_env:
            self.faults.found.append(SourceFault("environment", 0, 0, _BY_NAME[name].env, message))
        else:
            self.faults.add(self._nodes.get(name), name, message)


def sqlite_file(url: str) -> str:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`. Raises ValueError for any other URL."""
    if url.startswith(("postgresql:", "postgres:")):
        raise ValueError("PostgreSQL comes with a later version; this one has only SQLite: `sqlite:///data/alyx.db`")
    file = unquote(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not file:
        raise ValueError("a URL such as `sqlite:///data/alyx.db` (or `sqlite:////absolute/path.db`) is needed")
    if file == ":memory:":
        raise ValueError("a database in memory is gone at every restart and cannot be shared by workers; name a file")
    if "?" in file:
        raise ValueError("a SQLite URL takes no parameters")
    return file


def _children(path: str) -> list[str]:
    """The names that may stand directly below a path of the file."""
    prefix = f"{path}." if path else ""
    names = [key.name for key in KEYS] + [f"{OAUTH}."]
    return list(dict.fromkeys(name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)))


def _from_text(text: str, kind: Kind) -> Any:
    """A text of the environment as YAML would have read it; a list is split at commas."""
    if kind.is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text if kind.textual else yaml.scalar(text)


def _provider_key(variable: str) -> tuple[str, Kind] | None:
    """`ALYX_AUTH_OAUTH_GOOGLE_CLIENT_ID` -> (`auth.oauth.google.client_id`, its kind)."""
    prefix = "ALYX_AUTH_OAUTH_"
    for key, kind in OAUTH_KEYS.items():
        suffix = f"_{key.upper()}"
        if variable.startswith(prefix) and variable.endswith(suffix) and len(variable) > len(prefix + suffix):
            return f"{OAUTH}.{variable[len(prefix) : -len(suffix)].lower()}.{key}", kind
    return None
