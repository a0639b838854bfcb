"""alyx.yaml and the environment, checked, and joined into the settings of each package (contract §2).

`cli` and `app` call `load` and pass on what `Config` gives for each package. Never opens the database, never creates a file,
never prints.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from alyx.config.keys import BY_NAME, KEYS, OAUTH_KEYS
from alyx.config.reading import Reader
from alyx.config.settings import Config
from alyx.schema import yaml
from alyx.schema.yaml import Faults

__all__ = ["FILE", "KEYS", "MIN_SECRET", "OAUTH_KEYS", "Config", "load"]

FILE = "alyx.yaml"
MIN_SECRET = 32
"""Bytes that `auth.jwt.secret` must have to sign anything in production (contract §2; RFC 7518 §3.2 for HS256)."""


def load(path: str | Path | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Read alyx.yaml and the ALYX_ variables.

    path: None for `./alyx.yaml`, which may be missing; a path that is given must exist. env: the environment, the process's own
    if None. Raises SourceError with every fault of both.
    """
    env = os.environ if env is None else env
    file = Path(path) if path is not None else Path(FILE)
    reader = Reader(Faults(str(file)), env)
    exists = path is not None or file.exists()
    if exists:
        reader.take_file(yaml.parse(yaml.read_text(file), reader.faults))
    reader.take_environment()
    values = {key.name: None if key.default is None else key.kind.read(key.default) for key in KEYS} | reader.values
    reader.check_origins()
    values["database.path"] = reader.database_path(str(BY_NAME["database.url"].default))
    reader.faults.raise_any()
    return Config(
        file=file if exists else None,
        folder=file.parent,
        values=values,
        given=frozenset(reader.values),
        warnings=tuple(reader.warnings),
    )
