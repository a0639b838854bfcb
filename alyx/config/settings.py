"""The checked settings, joined into those of each package.

Made by `load`, asked by `app` and `cli`. Each package owns its own settings type, and only this knows them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from alyx.auth import tokens
from alyx.config.keys import BY_NAME, KEYS
from alyx.database.sqlite import engine
from alyx.http import settings as http_settings
from alyx.realtime import settings as realtime_settings
from alyx.records.limits import Limits


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
            poll_interval=self.values["realtime.poll_interval"],
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
        """For the socket. Live connections have places of their own, so that they leave room for requests."""
        live: int = self.values["realtime.max_connections"] if self.values["realtime.enabled"] else 0
        return http_settings.Server(
            max_header_size=self.values["limits.headers"],
            max_connections=http_settings.Server().max_connections + live,
        )

    def realtime(self) -> realtime_settings.Settings | None:
        """For live queries; None where they are switched off."""
        if not self.values["realtime.enabled"]:
            return None
        return realtime_settings.Settings(
            max_connections=self.values["realtime.max_connections"],
            max_connections_per_user=self.values["realtime.max_connections_per_user"],
            max_connections_per_address=self.values["realtime.max_connections_per_address"],
            max_subscriptions=self.values["realtime.max_subscriptions_per_client"],
            messages=self.values["limits.realtime_messages"],
        )

    def logging(self, *, dev: bool) -> http_settings.Logging:
        """For the log: console in development, JSON in production unless the file says otherwise."""
        chosen: Literal["console", "json"] = self.values["logging.format"] or ("console" if dev else "json")
        return http_settings.Logging(level=self.values["logging.level"], format=chosen)

    def metrics(self) -> http_settings.Metrics:
        """For GET /metrics."""
        return http_settings.Metrics(self.values["metrics.enabled"], self.values["metrics.token"] or None)

    def docs(self) -> http_settings.Docs:
        """For the description of the API."""
        return http_settings.Docs(
            enabled=self.values["docs.enabled"],
            title=self.values["docs.title"] or "Alyx",
            version=self.values["docs.version"] or None,
            description=self.values["docs.description"] or "",
        )

    @property
    def later(self) -> list[str]:
        """The keys that are set and do nothing in this version."""
        fixed = [key.name for key in KEYS if key.later and key.name in self.given]
        return fixed + sorted(name for name in self.given if name not in BY_NAME)
