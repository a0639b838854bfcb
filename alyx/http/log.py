"""The log: one line per request and the lines of Python's logging, for a person (console) or for a collector (JSON).

`setup` is called once by `app`; `AccessLog.record` is an observer of the edge. Query strings are never logged, since they may
hold tickets; what a client wrote is escaped, so that it can never forge a line or move a terminal's cursor.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import IO, Any, Final, TypeAlias

from alyx.base import clock, json
from alyx.http import settings
from alyx.http.lines import Lines
from alyx.http.message import Request

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_NAMES: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}
_QUIET: Final = frozenset(("/health", "/health/live", "/health/ready", "/metrics"))
_SLOW_LIST: Final = "an index on the fields of its filter and sort may help; count=none leaves out the total"
_SLOW: Final = "slower than the limit for slow requests"
_DIM, _RED, _GREEN, _YELLOW, _CYAN, _BOLD, _PLAIN = (f"\x1b[{code}m" for code in ("2", "31", "32", "33", "36", "1", "0"))
_SHADES: Final = {1: _CYAN, 2: _GREEN, 3: _CYAN, 4: _YELLOW, 5: _RED}

_AUDIT: Final = "alyx.audit"
_EXTRAS: Final = {"user_id": "user", "request_id": "request_id", "method": "method", "route": "route", "path": "path"}
"""What a record of Python's logging may carry as `extra`, and how a line names it (as the lines of requests do)."""

_Entry: TypeAlias = tuple[float, int, str, str, str, int, float, int, str, str, str | None, str | None]
"""Moment, level, method, route, path, status, seconds, bytes, request id, address, user, hint."""


class AccessLog:
    """One line per finished request.

    Answers of 500 and above are errors, requests slower than `options.slow` seconds warnings with a hint, all others info;
    successful probes (/health, /metrics) are debug. lines: where they go, None for standard error.
    """

    def __init__(self, options: settings.Logging, lines: Lines) -> None:
        self._threshold = LEVELS[options.level]
        self._slow = options.slow
        self._json = options.format == "json"
        self._color = bool(options.color)
        self._lines = lines
        self._second = -1
        self._moment = ""

    def record(self, request: Request, status: int, size: int, seconds: float) -> None:
        """Log one request; returns at once when its level is not wanted."""
        if status >= 500:
            level = logging.ERROR
        elif seconds > self._slow:
            level = logging.WARNING
        elif request.route in _QUIET and status < 400:
            level = logging.DEBUG
        else:
            level = logging.INFO
        if level < self._threshold:
            return
        hint = None
        if seconds > self._slow:
            hint = request.hint or (_SLOW_LIST if request.route.startswith("/api/collections") else _SLOW)
        # Only what the line needs is kept, not the request with its body.
        entry = (
            clock.seconds(),
            level,
            request.method,
            request.route,
            request.path,
            status,
            seconds,
            size,
            request.request_id,
            request.client_ip,
            request.identity.values.get("id"),
            hint,
        )
        self._lines.add(self._as_json if self._json else self._as_text, entry, urgent=level >= logging.ERROR)

    def _as_json(self, entry: _Entry) -> bytes:
        moment, level, method, route, path, status, seconds, size, request_id, address, user, hint = entry
        line: dict[str, Any] = {
            "ts": self._text(moment),
            "level": _NAMES[level],
            "msg": "request",
            "method": escape(method),
            "route": route,
            "path": escape(path),
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "bytes": size,
            "request_id": request_id,
            "ip": escape(address),
            "user": None if user is None else escape(str(user)),
        }
        if hint is not None:
            line["hint"] = escape(hint)
        return json.dumps(line)

    def _as_text(self, entry: _Entry) -> bytes:
        moment, _, method, _, path, status, seconds, _, request_id, _, _, hint = entry
        color = self._color
        shade = _SHADES.get(status // 100, "") if color else ""
        dim, plain = (_DIM, _PLAIN) if color else ("", "")
        parts = [
            f"{dim}{time.strftime('%H:%M:%S', time.localtime(moment))}{plain}",
            f"{escape(method):<7} {escape(path)}",
            f"{shade}{status}{plain}",
            f"{dim}{_milliseconds(seconds)}{plain}",
        ]
        if status >= 400:
            parts.append(f"{dim}{request_id}{plain}")
        if hint is not None:
            parts.append(f"{_YELLOW if color else ''}slow: {escape(hint)}{plain}")
        return "  ".join(parts).encode("utf-8", "replace")

    def _text(self, moment: float) -> str:
        """The time to the millisecond; the text of a second is made once for all of its lines."""
        second = int(moment)
        if second != self._second:
            self._second = second
            self._moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._moment}.{int((moment - second) * 1000):03d}Z"


def setup(options: settings.Logging, stream: IO[Any] | None = None) -> tuple[AccessLog, Lines]:
    """Send Python's logging and the access log to `stream` (standard error by default); call once per process.

    Returns the access log, to be given to the edge, and the lines, to be closed last. Loggers of libraries speak from warning
    on, `alyx` from the chosen level; the audit is always written.
    """
    target = stream if stream is not None else sys.stderr
    chosen = with_color(options, target)
    lines = Lines(target, delay=0.1 if chosen.format == "json" else 0.02)
    handler = _Forward(lines, _JsonFormat() if chosen.format == "json" else _TextFormat(bool(chosen.color)))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Forward)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("alyx").setLevel(LEVELS[chosen.level])
    logging.getLogger(_AUDIT).setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(logging.WARNING, LEVELS[chosen.level]))
    logging.captureWarnings(True)
    return AccessLog(chosen, lines), lines


def with_color(options: settings.Logging, stream: IO[Any]) -> settings.Logging:
    """Decide about color where the settings leave it open: only for a terminal, and never against NO_COLOR."""
    if options.color is not None:
        return options
    color = options.format == "console" and not os.environ.get("NO_COLOR") and stream.isatty()
    return settings.Logging(options.level, options.format, options.slow, color)


def escape(text: str) -> str:
    """Text with all that is not printable as `\\xNN`, `\\uNNNN`: no line ends, no terminal codes, no changes of direction."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"


def _extras(record: logging.LogRecord) -> dict[str, str]:
    found = {shown: getattr(record, name, None) for name, shown in _EXTRAS.items()}
    return {shown: escape(str(value)) for shown, value in found.items() if value is not None}


class _Forward(logging.Handler):
    """Hands the records of Python's logging to our lines, so that both stand in the order in which they happened."""

    def __init__(self, lines: Lines, formatter: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.add(bytes, self.format(record).encode("utf-8", "replace"), urgent=True)
        except Exception:
            self.handleError(record)


class _JsonFormat(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "ts": clock.now(),
            "level": record.levelname.lower(),
            "msg": escape(record.getMessage()),
            "logger": record.name,
            **_extras(record),
        }
        if record.exc_info:
            entry["exception"] = "\n".join(escape(part) for part in self.formatException(record.exc_info).splitlines())
        return json.dumps(entry).decode()


class _TextFormat(logging.Formatter):
    def __init__(self, color: bool) -> None:
        super().__init__()
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        shade = ""
        if self._color:
            shade = _RED + _BOLD if record.levelno >= logging.ERROR else _YELLOW if record.levelno >= logging.WARNING else ""
        moment = time.strftime("%H:%M:%S", time.localtime(clock.seconds()))
        plain = _PLAIN if shade else ""
        line = f"{moment}  {shade}{record.levelname.lower()}{plain}  {escape(record.getMessage())}"
        if extras := _extras(record):
            line += "  " + " ".join(f"{name}={value}" for name, value in extras.items())
        if record.exc_info:
            line += "".join(f"\n{escape(part)}" for part in self.formatException(record.exc_info).splitlines())
        return line
