"""What is logged, what never is, and that nothing a client writes can forge a line."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from alyx.base.identity import Identity
from alyx.http import log, settings
from alyx.http.lines import Lines
from alyx.http.log import AccessLog
from alyx.http.message import Request
from tests.asgi import Client
from tests.http.conftest import make_edge


def request(
    path: str = "/api/collections/posts/1", route: str = "/api/collections/{collection}/{id}", method: str = "GET"
) -> Request:
    made = Request(
        {"type": "http", "method": method, "headers": []},
        asyncio.Queue[Any]().get,
        max_body=1,
        deadline=1.0,
        rate=1,
    )
    made.path, made.route, made.request_id, made.client_ip = path, route, "r1", "192.0.2.1"
    return made


def lines_of(options: settings.Logging, *calls: tuple[Request, int, float]) -> list[str]:
    stream = io.StringIO()
    lines = Lines(stream, delay=0)
    access = AccessLog(options, lines)
    for made, status, seconds in calls:
        access.record(made, status, 12, seconds)
    lines.close()
    return stream.getvalue().splitlines()


JSON = settings.Logging(format="json")
TEXT = settings.Logging(format="console")


def test_a_json_line_holds_what_a_collector_needs() -> None:
    (line,) = lines_of(JSON, (request(), 200, 0.00123))
    entry = json.loads(line)
    assert entry["ts"].endswith("Z")
    del entry["ts"]
    assert entry == {
        "level": "info",
        "msg": "request",
        "method": "GET",
        "route": "/api/collections/{collection}/{id}",
        "path": "/api/collections/posts/1",
        "status": 200,
        "duration_ms": 1.23,
        "bytes": 12,
        "request_id": "r1",
        "ip": "192.0.2.1",
        "user": None,
    }


@pytest.mark.parametrize("options", [JSON, TEXT])
@pytest.mark.parametrize("path", ["/a\r\nb", "/a\x1b[2Jb", "/a\u202eb", "/a\u2028b", "/a\x85b", "/a\x00b", "/\ud800"])
def test_a_path_can_neither_forge_a_line_nor_move_the_cursor(options: settings.Logging, path: str) -> None:
    (line,) = lines_of(options, (request(path), 404, 0.001))
    assert line.isprintable()
    assert (json.loads(line)["path"] if options is JSON else line).isprintable()


@pytest.mark.parametrize("options", [JSON, TEXT])
def test_a_user_id_that_is_no_text_costs_no_line(options: settings.Logging) -> None:
    odd = request()
    odd.identity = Identity({"id": "u\ud800\n1", "role": "user"})
    odd.client_ip, odd.hint = "\ud800", "\ud800"
    stream = io.StringIO()
    lines = Lines(stream, delay=3600)
    access = AccessLog(options, lines)

    async def work() -> None:
        for made in (request(), odd, request()):
            access.record(made, 200, 12, 0.7)

    asyncio.run(work())
    lines.close()
    written = stream.getvalue().splitlines()
    assert len(written) == 3
    if options is JSON:
        assert json.loads(written[1])["user"] == "u\\ud800\\n1"


def test_a_line_that_cannot_be_made_takes_no_other_with_it() -> None:
    def broken(entry: Any) -> bytes:
        raise ValueError

    stream = io.StringIO()
    lines = Lines(stream, delay=3600)

    async def work() -> None:
        lines.add(bytes, b"before")
        lines.add(broken, None)
        lines.add(bytes, b"after")

    asyncio.run(work())
    lines.close()
    assert stream.getvalue() == "before\nafter\n"
    assert lines.dropped == 1


def test_query_strings_are_never_logged() -> None:
    stream = io.StringIO()
    lines = Lines(stream, delay=0)
    client = Client(make_edge(observers=[AccessLog(JSON, lines).record]))
    client.get("/whoami?ticket=s3cret")
    client.get("/nowhere?ticket=s3cret")
    lines.close()
    assert stream.getvalue().count("\n") == 2
    assert "s3cret" not in stream.getvalue()


def test_levels_follow_the_status_and_the_time() -> None:
    calls = [(request(), 200, 0.001), (request(), 404, 0.001), (request(), 200, 0.6), (request(), 503, 0.001)]
    levels = [json.loads(line)["level"] for line in lines_of(JSON, *calls)]
    assert levels == ["info", "info", "warning", "error"]
    quiet = settings.Logging(level="warning", format="json")
    assert [json.loads(line)["status"] for line in lines_of(quiet, *calls)] == [200, 503]


def test_a_slow_request_is_told_with_a_hint() -> None:
    knowing = request()
    knowing.hint = "posts is scanned: add an index on status"
    first, second = (json.loads(line) for line in lines_of(JSON, (knowing, 200, 0.7), (request(), 200, 0.7)))
    assert first["hint"] == "posts is scanned: add an index on status"
    assert "index" in second["hint"]
    (line,) = lines_of(TEXT, (knowing, 200, 0.7))
    assert "slow: posts is scanned" in line


def test_successful_probes_are_not_logged_and_failing_ones_are() -> None:
    probe = request("/health", "/health")
    assert lines_of(JSON, (probe, 200, 0.001)) == []
    assert len(lines_of(JSON, (probe, 503, 0.001))) == 1


def test_the_console_shows_one_calm_line_and_the_request_id_of_errors() -> None:
    good, bad = lines_of(TEXT, (request(), 200, 0.0012), (request(), 404, 0.0012))
    assert good.split()[1:] == ["GET", "/api/collections/posts/1", "200", "1.2", "ms"]
    assert bad.split()[-1] == "r1"
    (colored,) = lines_of(settings.Logging(color=True), (request(), 200, 0.001))
    assert "\x1b[32m200" in colored


def test_lines_are_gathered_while_a_loop_runs_and_none_is_lost() -> None:
    stream = io.StringIO()
    lines = Lines(stream, delay=0.01)
    access = AccessLog(JSON, lines)

    async def work() -> None:
        for _ in range(1000):
            access.record(request(), 200, 1, 0.001)
        await asyncio.sleep(0.03)

    asyncio.run(work())
    access.record(request(), 200, 1, 0.001)
    lines.close()
    assert len(stream.getvalue().splitlines()) == 1001
    assert lines.dropped == 0


def test_a_stream_that_cannot_be_written_stops_nothing() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    lines = Lines(Broken(), delay=0)
    AccessLog(JSON, lines).record(request(), 200, 1, 0.001)
    lines.close()


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    kept = list(root.handlers), root.level, logging.getLogger("alyx").level
    audit = logging.getLogger("alyx.audit").level
    yield
    root.handlers[:], level, alyx_level = kept[0], kept[1], kept[2]
    root.setLevel(level)
    logging.getLogger("alyx").setLevel(alyx_level)
    logging.getLogger("alyx.audit").setLevel(audit)
    logging.captureWarnings(False)


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("form", ["json", "console"])
def test_the_lines_of_the_program_go_the_same_way(form: Any) -> None:
    stream = io.StringIO()
    _, lines = log.setup(settings.Logging(format=form, level="info"), stream)
    logging.getLogger("alyx.app").info("started\r\nforged")
    logging.getLogger("uvicorn.error").info("Started server process")
    try:
        raise ValueError("inner\x1b[2J")
    except ValueError:
        logging.getLogger("alyx.http").exception("failed")
    lines.close()
    written = stream.getvalue().splitlines()
    assert "started\\r\\nforged" in written[0] if form == "console" else json.loads(written[0])["msg"] == "started\\r\\nforged"
    assert not any("server process" in line for line in written)
    assert all(line.isprintable() for line in written)
    if form == "json":
        assert len(written) == 2
        assert "ValueError" in json.loads(written[1])["exception"]


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_line_of_the_audit_tells_who_did_what_at_every_level(form: Any) -> None:
    stream = io.StringIO()
    _, lines = log.setup(settings.Logging(format=form, level="error"), stream)
    who = {"user_id": "u\ud800", "request_id": "r1", "method": "GET", "path": "/api/collections/posts\r\nforged"}
    logging.getLogger("alyx.audit").info("rules bypassed by an admin", extra=who)
    logging.getLogger("alyx.app").info("not wanted")
    lines.close()
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    if form == "console":
        assert line.endswith(
            "rules bypassed by an admin  user=u\\ud800 request_id=r1 method=GET path=/api/collections/posts\\r\\nforged"
        )
        return
    entry = json.loads(line)
    assert (entry["msg"], entry["logger"]) == ("rules bypassed by an admin", "alyx.audit")
    assert (entry["user"], entry["request_id"], entry["method"]) == ("u\\ud800", "r1", "GET")
    assert entry["path"] == "/api/collections/posts\\r\\nforged"


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_with_text_that_is_no_utf8_is_logged(form: Any) -> None:
    stream = io.StringIO()
    _, lines = log.setup(settings.Logging(format=form), stream)
    # A report of pytest cannot carry such a text between processes.
    logging.getLogger().handlers[:] = [handler for handler in logging.getLogger().handlers if isinstance(handler, log._Forward)]
    try:
        raise ValueError("odd \ud800 \u202e text")
    except ValueError:
        logging.getLogger("alyx.http").exception("failed")
    lines.close()
    assert "ValueError: odd \\" in stream.getvalue()
    assert all(line.isprintable() for line in stream.getvalue().splitlines())


def test_color_is_for_terminals_and_never_against_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert log.with_color(TEXT, Terminal()).color is True
    assert log.with_color(TEXT, io.StringIO()).color is False
    assert log.with_color(JSON, Terminal()).color is False
    monkeypatch.setenv("NO_COLOR", "1")
    assert log.with_color(TEXT, Terminal()).color is False
