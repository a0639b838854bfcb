"""alyx.yaml and the ALYX_ variables -> values, and everything that is wrong with them, with its place.

Called by `load` alone. Knows the keys of `keys`, never what they are good for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from alyx.base.errors import SourceFault
from alyx.config.keys import BY_NAME, KEYS, OAUTH, OAUTH_KEYS, TEXT, Kind
from alyx.schema import yaml
from alyx.schema.yaml import Faults, Node

_VARIABLE = re.compile(r"\$\$(?=\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
"""A variable; `$${`, which stands for `${`; or a `${` that begins neither."""


class Reader:
    """Collects values and faults: first those of the file, then those of the environment, which win."""

    def __init__(self, faults: Faults, env: Mapping[str, str]) -> None:
        self.faults = faults
        self.values: dict[str, Any] = {}
        self.warnings: list[str] = []
        self._env = env
        self._nodes: dict[str, Node] = {}
        self._from_env: set[str] = set()

    def take_file(self, root: Node) -> None:
        """Every setting of the file."""
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
            if below in BY_NAME:
                self._setting(below, BY_NAME[below].kind, child)
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
        if match[0] == "${":
            hint = "write `${NAME}` or `${NAME:-default}`; for the characters themselves, `$${`"
            self.faults.add(node, path, "`${` begins the name of an environment variable, and there is none", hint)
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
            self.faults.found.append(SourceFault("environment", 0, 0, BY_NAME[name].env, message))
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
