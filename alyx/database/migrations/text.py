"""Values as YAML text that the strict reader reads back alike. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(?: [A-Za-z0-9_.]+)*")
_KEYWORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def flow(value: Any) -> str:
    """A value on one line: `{type: string, maxLength: 20}`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """A plain value; text is quoted unless it is a plain word or two."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _KEYWORDS:
        return str(value)
    return _quoted(value)


def block(value: str, indent: str) -> str:
    """A text of several lines as a literal block, if it can be one; else quoted."""
    lines = value.rstrip("\n").split("\n")
    fits = all(line.isprintable() and line == line.rstrip() for line in lines) and lines[0][:1].strip() and len(lines) > 1
    if not fits or value.rstrip("\n") + "\n" != value:
        return scalar(value)
    return "|\n" + "\n".join(f"{indent}{line}" if line else "" for line in lines)


def _quoted(value: str) -> str:
    """JSON's quoting, with whatever YAML does not take raw written as an escape (8 digits beyond the first plane)."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() and c != "\ufeff" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
