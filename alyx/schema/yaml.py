"""Strict YAML with places: schema.yaml, alyx.yaml and migration files are all read here.

Called by `schema.load`, by the configuration and by migrations; knows nothing of what the keys mean.

The scalars are those of YAML 1.2's core schema, so `on`, `no`, `12:30:45`, `2026-01-01` and `1_000` are the strings that they
look like; `010`, which readers disagree about, is a string too, as are infinities and NaN. Duplicate keys, anchors, tags, merge
keys and second documents are refused: each of them makes a file mean something else than it shows. PyYAML's C parser supplies
events only; the tree is built here, without recursion.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from alyx.base.errors import SourceError, SourceFault

MAX_BYTES = 1_048_576
"""The largest file that is read: 1 MiB, far beyond a schema written by hand."""
MAX_DEPTH = 64
"""The deepest nesting of maps and lists."""

Scalar: TypeAlias = str | int | float | bool | None

_CONSTANTS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Plain patterns of our own with bounded lengths, so that the standard library's engine is safe here.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})")
_BASED = re.compile(r"0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,400}|(?:0|[1-9][0-9]{0,399})(?:\.[0-9]{0,400}|(?=[eE])))(?:[eE][-+]?[0-9]{1,5})?")


@dataclass(slots=True)
class Node:
    """One value of a file with its place.

    value: the plain Python value of the whole subtree (dict, list, str, int, float, bool or None). children: of a map, key ->
    node, in file order; items: of a list. line and column count from 1; key_line and key_column are those of the key that the
    value stands under (0 where there is none). quoted: a scalar written in quotes or as a block, always a string.
    """

    value: Any
    line: int
    column: int
    children: dict[str, Node] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key_line: int = 0
    key_column: int = 0
    quoted: bool = False

    def __getitem__(self, key: str) -> Node:
        """The node under a key of a map; KeyError if it is not there."""
        return self.children[key]

    def get(self, key: str) -> Node | None:
        """The node under a key of a map, or None; also None when this is not a map."""
        return self.children.get(key)

    def entries(self) -> Iterator[tuple[str, Node]]:
        """Keys and nodes of a map in file order."""
        return iter(self.children.items())

    @property
    def is_map(self) -> bool:
        """Whether this is a map (`{}` included)."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether this is a list."""
        return isinstance(self.value, list)


@dataclass(slots=True)
class Faults:
    """Collects the faults of one file, so that all are reported together."""

    file: str
    found: list[SourceFault] = field(default_factory=list)

    def add(self, node: Node | None, path: str, message: str, hint: str | None = None, *, at_key: bool = False) -> None:
        """Note a fault at a node's value, or at its key with `at_key`; without a node the place is unknown."""
        line = column = 0
        if node is not None:
            key = at_key and node.key_line
            line, column = (node.key_line, node.key_column) if key else (node.line, node.column)
        self.found.append(SourceFault(self.file, line, column, path, message, hint, at_key))

    def unknown_keys(self, node: Node, path: str, known: Iterable[str]) -> None:
        """Note every key of a map that is not known, with the nearest one that is."""
        names = list(known)
        for key, child in node.entries():
            if key not in names:
                self.add(child, join(path, key), f"unknown key `{key}`", did_you_mean(key, names), at_key=True)

    def raise_any(self) -> None:
        """Raise SourceError with all faults in file order, if there are any."""
        if self.found:
            raise SourceError(sorted(self.found, key=lambda fault: (fault.line, fault.column)))


def read(text: str, file: str) -> Node:
    """The tree of a YAML text. An empty text is a node with value None.

    Raises SourceError with every duplicate key, or with what makes the text unreadable.
    """
    faults = Faults(file)
    node = parse(text, faults)
    faults.raise_any()
    return node


def parse(text: str, faults: Faults) -> Node:
    """As `read`, but duplicate keys are added to `faults` (the first value stands), so that a caller can go on and add its own.

    Raises SourceError, with what was found so far, for anything that leaves no tree to go on with.
    """
    builder = _Builder(faults)
    try:
        if len(text.encode("utf-8")) > MAX_BYTES:
            faults.add(None, "", f"the file is larger than {MAX_BYTES} bytes")
            faults.raise_any()
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        faults.found.append(SourceFault(faults.file, line, column, "", _problem(error, text)))
        faults.raise_any()
    except yaml.reader.ReaderError as error:
        line = text.encode("utf-8", "replace")[: error.position].count(b"\n") + 1
        faults.found.append(SourceFault(faults.file, line, 0, "", f"not YAML: {error.reason}"))
        faults.raise_any()
    except UnicodeEncodeError:
        faults.add(None, "", "not valid UTF-8")
        faults.raise_any()
    return builder.root or Node(None, 1, 1)


def read_text(path: str | Path) -> str:
    """The text of a file. Raises SourceError when it is missing, unreadable, too large or not UTF-8."""
    file = str(path)
    try:
        with Path(path).open("rb") as source:
            data = source.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise SourceError([SourceFault(file, 0, 0, "", f"the file is larger than {MAX_BYTES} bytes")])
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SourceError([SourceFault(file, line, 0, "", "not valid UTF-8")]) from None
    except OSError as error:
        raise SourceError([SourceFault(file, 0, 0, "", f"cannot be read: {error.strerror or error}")]) from None


def scalar(text: str) -> Scalar:
    """What an unquoted scalar of these letters means (also used after `${VAR}` has been filled in)."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like this one, or None if none comes near. `max_length` finds `maxLength`."""
    if len(word) > 64:
        return None
    plain = {_plain(name): name for name in known}
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known word, or lists them all if they are few and none is near."""
    names = list(known)
    near = nearest(word, names)
    if near:
        return f"did you mean `{near}`?"
    return "known: " + ", ".join(names) if 0 < len(names) <= 12 else None


def join(path: str, key: str | int) -> str:
    """The dotted path of a key below a path."""
    return f"{path}.{key}" if path else str(key)


def kind(value: Any) -> str:
    """What a value is, in a user's words."""
    if value is None:
        return "nothing"
    for types, word in ((bool, "true or false"), (int, "a whole number"), (float, "a number"), (str, "text"), (Mapping, "a map")):
        if isinstance(value, types):
            return word
    return "a list"


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _problem(error: yaml.MarkedYAMLError, text: str) -> str:
    """The parser's complaint, in a user's words where the parser's are obscure."""
    mark, problem = error.problem_mark, error.problem or "cannot be read"
    if mark and "cannot start any token" in problem:
        lines = text.split("\n")
        character = lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
        if character == "\t":
            return "not YAML: a tab cannot indent; use spaces"
        return f"not YAML: a value cannot start with `{character}`; put it in quotes"
    return f"not YAML: {error.context + ', ' if error.context else ''}{problem}"


class _Builder:
    """Turns parser events into nodes. Each open map or list is one frame; `key` is the key that waits for its value."""

    def __init__(self, faults: Faults) -> None:
        self.root: Node | None = None
        self._faults = faults
        self._open: list[Node] = []
        self._keys: list[tuple[str, int, int] | None] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_extras(event)
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._refuse_extras(event)
            self._start(event, {} if isinstance(event, yaml.MappingStartEvent) else [])
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._keys.pop()
            self._add(self._open.pop())
        elif isinstance(event, yaml.AliasEvent):
            self._fail(event, "aliases (`*name`) are not supported; write the value out")
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._fail(event, "a file holds one document; this `---` starts a second")

    def _scalar(self, event: Any) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if self._awaits_key():
            if event.implicit[0] and event.value in ("<<", "", "~", "null"):
                self._fail(event, "merge keys (`<<`) are not supported" if event.value == "<<" else "a key is missing")
            self._keys[-1] = (event.value, line, column)
            return
        quoted = not event.implicit[0]
        self._add(Node(event.value if quoted else scalar(event.value), line, column, quoted=quoted))

    def _start(self, event: Any, value: Any) -> None:
        if self._awaits_key():
            self._fail(event, "a key must be text (put `{...}` and `[...]` in quotes)")
        if len(self._open) >= MAX_DEPTH:
            self._fail(event, f"nested deeper than {MAX_DEPTH} levels")
        self._open.append(Node(value, event.start_mark.line + 1, event.start_mark.column + 1))
        self._keys.append(None)

    def _awaits_key(self) -> bool:
        return bool(self._open) and self._open[-1].is_map and self._keys[-1] is None

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if parent.is_list:
            parent.items.append(node)
            parent.value.append(node.value)
            return
        key, node.key_line, node.key_column = self._keys[-1] or ("", 0, 0)
        if key in parent.children:
            message = f"the key `{key}` stands twice, first in line {parent.children[key].key_line}"
            self._faults.add(node, self._path(), message, at_key=True)
        else:
            parent.children[key] = node
            parent.value[key] = node.value
        self._keys[-1] = None

    def _refuse_extras(self, event: Any) -> None:
        if event.anchor is not None:
            self._fail(event, f"anchors (`&{event.anchor}`) are not supported; write the value out")
        if event.tag is not None:
            self._fail(event, "tags (`!name`) are not supported")

    def _path(self) -> str:
        parts = [key[0] if key else str(len(node.items)) for node, key in zip(self._open, self._keys, strict=True)]
        return ".".join(parts)

    def _fail(self, event: Any, message: str) -> None:
        mark = event.start_mark
        path = self._path() if self._open and not self._awaits_key() else ""
        self._faults.found.append(SourceFault(self._faults.file, mark.line + 1, mark.column + 1, path, message))
        self._faults.raise_any()
