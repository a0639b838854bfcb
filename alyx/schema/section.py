"""A map of a YAML file, read key by key: each getter gives a value of the right kind, or notes a fault and gives None.

Used by `load`, `channels` and `fields`; carries the path, so that a fault can name it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from alyx.schema.model import Place, RuleText
from alyx.schema.yaml import Faults, Node, did_you_mean, join, kind

MAX_NAME = 63
"""Bytes of a name: PostgreSQL's limit."""

_NAME = re.compile(r"[a-z][a-z0-9_]*").fullmatch


class Section:
    """One map with its path. `ok` is false if the value is no map; getters then find nothing."""

    def __init__(self, node: Node, path: str, faults: Faults, known: Sequence[str] | None = None) -> None:
        """known: the keys that may stand here; every other one is a fault."""
        self.node = node
        self.path = path
        self.faults = faults
        self.ok = node.is_map
        if known is not None and self.ok:
            faults.unknown_keys(node, path, known)

    def __contains__(self, key: str) -> bool:
        return key in self.node.children

    @property
    def place(self) -> Place:
        """Where the key of this section stands."""
        node = self.node
        return Place(self.faults.file, node.key_line or node.line, node.key_column or node.column)

    def entries(self) -> Iterator[tuple[str, Node]]:
        """Keys and nodes in file order."""
        return self.node.entries()

    def fault(self, message: str, hint: str | None = None, *, key: str | None = None, at_key: bool = False) -> None:
        """Note a fault at a key's value (or at the key itself), or at the section's own key."""
        node = self.node.get(key) if key is not None else None
        if node is None:
            self.faults.add(self.node, self.path if key is None else join(self.path, key), message, hint, at_key=True)
        else:
            self.faults.add(node, join(self.path, str(key)), message, hint, at_key=at_key)

    def text(self, key: str) -> str | None:
        """A text that is not empty."""
        value = self._of(key, str, "text")
        if value == "":
            self.fault("must not be empty", key=key)
            return None
        return value if value is None else str(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """true or false."""
        value = self._of(key, bool, "true or false")
        return default if value is None else bool(value)

    def whole(self, key: str, low: int, high: int) -> int | None:
        """A whole number from low to high."""
        value = self._of(key, int, "a whole number")
        if value is not None and not low <= value <= high:
            self.fault(f"must be from {low} to {high}", key=key)
            return None
        return value if value is None else int(value)

    def choice(self, key: str, options: Sequence[str]) -> str | None:
        """One of some words."""
        value = self._of(key, str, "text")
        if value is not None and value not in options:
            self.fault(f"`{value}` is not one of {', '.join(options)}", did_you_mean(value, options), key=key)
            return None
        return value if value is None else str(value)

    def rule(self, key: str) -> RuleText | None:
        """A rule: text, or true or false without quotes. It is checked by the rules layer; here it only has to be there."""
        node = self.node.get(key)
        if node is None:
            return None
        place = Place(self.faults.file, node.line, node.column)
        if isinstance(node.value, bool):
            return RuleText("true" if node.value else "false", place)
        if isinstance(node.value, str) and node.value.strip():
            return RuleText(node.value, place)
        hint = "leave it out to allow admins only" if node.value in (None, "") else 'a rule is text, such as "auth.id != null"'
        self.fault(f"must be a rule, not {kind(node.value)}", hint, key=key, at_key=node.value is None)
        return None

    def section(self, key: str, known: Sequence[str]) -> Section | None:
        """The map under a key."""
        node = self.node.get(key)
        if node is None:
            return None
        if not node.is_map:
            self.fault(f"must be a map, not {kind(node.value)}", "known: " + ", ".join(known), key=key)
            return None
        return Section(node, join(self.path, key), self.faults, known)

    def texts(self, key: str) -> list[tuple[str, Node]]:
        """A list of texts, each with its node; entries of another kind are faults and left out."""
        node = self.node.get(key)
        if node is None:
            return []
        if not node.is_list:
            self.fault(f"must be a list, not {kind(node.value)}", key=key)
            return []
        found: list[tuple[str, Node]] = []
        for number, item in enumerate(node.items):
            path = join(join(self.path, key), number)
            if not isinstance(item.value, str):
                self.faults.add(item, path, f"must be text, not {kind(item.value)}", "put it in quotes")
            elif item.value in [name for name, _ in found]:
                self.faults.add(item, path, f"`{item.value}` stands twice")
            else:
                found.append((item.value, item))
        return found

    def _of(self, key: str, wanted: type, word: str) -> Any:
        node = self.node.get(key)
        if node is None:
            return None
        value = node.value
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            self.fault(f"must be {word}, not {kind(value)}", key=key)
            return None
        return value


def check_name(node: Node, path: str, name: str, faults: Faults) -> None:
    """Note a fault at a key that cannot be the name of a collection, field, index or channel."""
    if not _NAME(name):
        better = re.sub(r"[^a-z0-9_]", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:MAX_NAME]).lower()).lstrip("_0123456789")
        hint = f"for example `{better}`" if better else None
        faults.add(node, path, "a name has only a-z, 0-9 and _, and starts with a letter", hint, at_key=True)
    elif len(name) > MAX_NAME:
        faults.add(node, path, f"a name has at most {MAX_NAME} characters", at_key=True)
