"""Real processes: dev follows edits, serve keeps its promises, both end when told to."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import statistics
import time
import urllib.request

import pytest

from tests.cli.conftest import SECRET, free_port

pytestmark = pytest.mark.slow
READY = r"ready in [0-9.]+ s"


def test_dev_serves_a_fresh_project_and_ends_with_0(start, alyx, folder):
    assert alyx("init").code == 0
    dev = start("dev")
    dev.wait_for(READY)
    dev.wait_for("Ctrl-C stops")
    assert f"http://127.0.0.1:{dev.port}/docs" in dev.output
    status, made = dev.call("/api/collections/tasks", "POST", {"title": "Try Alyx"})
    assert status == 201
    assert dev.call(f"/api/collections/tasks/{made['id']}") == (200, made)
    secret = folder / "data" / "jwt.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert "jwt.secret" in dev.output
    assert dev.stop(signal.SIGINT) == 0
    assert "Traceback" not in dev.output


def test_a_field_added_while_dev_runs_is_there_in_the_next_request(start, alyx, edit):
    alyx("init")
    dev = start("dev")
    dev.wait_for(READY)
    status, _ = dev.call("/api/collections/tasks", "POST", {"title": "a", "effort": 3})
    assert status == 400
    edit("schema.yaml", "      due: ", "      effort:     { type: int, default: 1 }\n      due: ")
    dev.wait_for("is in force")
    assert "add field" in dev.output
    status, made = dev.call("/api/collections/tasks", "POST", {"title": "a", "effort": 3})
    assert (status, made["effort"]) == (201, 3)


def test_rules_that_change_are_in_force_at_once(start, alyx, edit):
    alyx("init")
    dev = start("dev")
    dev.wait_for(READY)
    assert dev.call("/api/collections/tasks")[0] == 200
    edit("schema.yaml", 'read:   "true"', "read:   \"auth.role == 'admin'\"")
    dev.wait_for("is in force")
    status, body = dev.call("/api/collections/tasks")
    assert status == 403 or body["docs"] == []


def test_a_broken_file_is_shown_once_with_its_line_and_the_last_good_state_goes_on(start, alyx, edit, folder):
    alyx("init")
    dev = start("dev")
    end = dev.wait_for(READY)
    edit("schema.yaml", "type: bool", "typ: bool")
    end = dev.wait_for("Still serving the last good state", after=end)
    line = next(n for n, text in enumerate((folder / "schema.yaml").read_text().splitlines(), 1) if "typ: bool" in text)
    assert f"schema.yaml:{line}:" in dev.output
    assert "^" in dev.output
    assert "did you mean `type`" in dev.output
    assert dev.call("/api/collections/tasks")[0] == 200
    edit("schema.yaml", "typ: bool", "type: bool")
    end = dev.wait_for("is in force", after=end)
    edit("schema.yaml", 'read:   "true"', 'read:   "doc.nope"')
    end = dev.wait_for("Still serving the last good state", after=end)
    assert dev.call("/api/collections/tasks")[0] == 200


def test_a_destructive_change_is_never_made_without_a_yes(start, alyx, edit):
    alyx("init")
    dev = start("dev")
    end = dev.wait_for(READY)
    dev.call("/api/collections/tasks", "POST", {"title": "a", "due": "2026-12-24"})
    edit("schema.yaml", "      due:        { type: date, nullable: true }\n", "")
    end = dev.wait_for("--accept-data-loss", after=end)
    dev.wait_for("Still serving the last good state")
    (task,) = dev.call("/api/collections/tasks")[1]["docs"]
    assert task["due"] == "2026-12-24"


def test_dev_can_write_its_changes_as_migration_files(start, alyx, edit, folder):
    alyx("init")
    dev = start("dev", "--write-migrations")
    end = dev.wait_for(READY)
    assert "Wrote 001_add_collection_tasks.yaml" in dev.output
    edit("schema.yaml", "      due: ", "      effort:     { type: int, default: 1 }\n      due: ")
    dev.wait_for("is in force", after=end)
    assert len(list((folder / "migrations").glob("00[12]_*.yaml"))) == 2
    dev.stop()
    check = alyx("migrate", "check")
    assert check.code == 0, check.out


def test_a_changed_port_in_alyx_yaml_moves_the_server(start, alyx, edit):
    alyx("init")
    first, other = free_port(), free_port()
    edit("alyx.yaml", "port: 8090", f"port: {first}")
    dev = start("dev", env={"ALYX_SERVER_PORT": ""})
    dev.wait_for(f":{first}/docs")
    edit("alyx.yaml", f"port: {first}", f"port: {other}")
    end = dev.wait_for(f":{other}/docs")
    dev.port = other
    assert dev.call("/health/live")[0] == 200
    edit("alyx.yaml", f"port: {other}", "port: many")
    dev.wait_for("The former settings stay in force", after=end)
    assert dev.call("/health/live")[0] == 200


def test_settings_saved_while_the_schema_is_broken_or_waits_for_a_yes_end_nothing(start, alyx, edit):
    alyx("init")
    first, other, third = free_port(), free_port(), free_port()
    edit("alyx.yaml", "port: 8090", f"port: {first}")
    dev = start("dev", env={"ALYX_SERVER_PORT": ""})
    end = dev.wait_for(f":{first}/docs")
    edit("schema.yaml", "type: bool", "typ: bool")
    end = dev.wait_for("Still serving the last good state", after=end)
    edit("alyx.yaml", f"port: {first}", f"port: {other}")
    end = dev.wait_for(f":{other}/docs", after=end)
    dev.port = other
    assert dev.call("/api/collections/tasks", "POST", {"title": "a", "due": "2026-12-24"})[0] == 201
    edit("schema.yaml", "typ: bool", "type: bool")
    edit("schema.yaml", "      due:        { type: date, nullable: true }\n", "")
    end = dev.wait_for("--accept-data-loss", after=end)
    edit("alyx.yaml", f"port: {other}", f"port: {third}")
    end = dev.wait_for(f":{third}/docs", after=end)
    dev.port = third
    assert dev.call("/api/collections/tasks")[1]["docs"][0]["due"] == "2026-12-24"
    assert dev.stop() == 0


def test_dev_takes_up_what_another_process_has_migrated(start, alyx, edit):
    alyx("init")
    dev = start("dev", env={"ALYX_DEV_WATCH": "false"})
    end = dev.wait_for(READY)
    edit("schema.yaml", "      due:        { type: date", "      until:      { type: date")
    assert alyx("migrate", "apply", "--accept-data-loss").code == 0
    dev.wait_for("is in force", after=end)
    assert dev.call("/api/collections/tasks", "POST", {"title": "a", "until": "2026-12-24"})[0] == 201


def test_serve_takes_up_what_another_process_has_migrated_and_is_not_ready_if_it_cannot(start, alyx, edit, folder):
    alyx("init")
    serving = start("serve", "--migrate", env={"ALYX_AUTH_JWT_SECRET": SECRET})
    serving.wait_for(READY)
    former = (folder / "schema.yaml").read_text()
    edit("schema.yaml", "      due:        { type: date", "      until:      { type: date")
    assert alyx("migrate", "apply", "--accept-data-loss").code == 0
    end = serving.wait_for("its schema is in force")
    assert serving.call("/api/collections/tasks", "POST", {"title": "a", "until": "2026-12-24"})[0] == 201
    assert alyx("migrate", "rollback").code == 0
    end = serving.wait_for("schema.yaml is not at it", after=end)
    status, body = serving.call("/health/ready")
    assert (status, body["status"]) == (503, "not_ready")
    assert "another process has migrated" in body["reason"]
    (folder / "schema.yaml").write_text(former)
    serving.wait_for("its schema is in force", after=end)
    assert serving.call("/health/ready")[0] == 200
    assert serving.call("/api/collections/tasks")[0] == 200
    assert serving.output.count("schema.yaml is not at it") == 1


def test_a_taken_port_is_one_clear_message(start, alyx, folder):
    alyx("init")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = str(sock.getsockname()[1])
        dev = start("dev", env={"ALYX_SERVER_PORT": port})
        assert dev.ended() == 1
    assert f"port {port} on 127.0.0.1 is in use already" in dev.output
    assert "Traceback" not in dev.output


def test_serve_refuses_without_a_secret_and_without_migration_and_then_serves(start, alyx):
    alyx("init", "--template", "blog")
    refused = start("serve")
    assert refused.ended() == 1
    assert "auth.jwt.secret" in refused.output
    refused = start("serve", env={"ALYX_AUTH_JWT_SECRET": "short"})
    assert refused.ended() == 1
    assert "at least 32" in refused.output
    env = {"ALYX_AUTH_JWT_SECRET": SECRET}
    refused = start("serve", env=env)
    assert refused.ended() == 1
    assert "--migrate" in refused.output
    serving = start("serve", "--migrate", env=env)
    serving.wait_for(READY)
    assert serving.call("/api/collections/posts")[0] == 200
    assert serving.stop() == 0
    again = start("serve", "--port", str(free_port()), env=env)
    again.wait_for(READY)
    assert again.stop(signal.SIGINT) == 0


def test_sigterm_finishes_the_request_in_flight(start, alyx):
    alyx("init")
    serving = start("serve", "--migrate", env={"ALYX_AUTH_JWT_SECRET": SECRET})
    serving.wait_for(READY)
    body = b'{"title": "late"}'
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as sock:
        head = f"POST /api/collections/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body[:5])
        assert serving.call("/health/live")[0] == 200  # by now the server has read the head above
        serving.process.send_signal(signal.SIGTERM)
        wait_until_refused(serving.port)
        sock.sendall(body[5:])
        assert sock.recv(4096).startswith(b"HTTP/1.1 201")
    assert serving.ended() == 0


def wait_until_refused(port):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
    raise AssertionError("the port stays open")


def test_several_workers_share_the_port_and_stop_together(start, alyx):
    alyx("init")
    env = {"ALYX_AUTH_JWT_SECRET": SECRET, "ALYX_SERVER_WORKERS": "2"}
    serving = start("serve", "--migrate", env=env)
    serving.wait_for(READY)
    status, made = serving.call("/api/collections/tasks", "POST", {"title": "a"})
    assert status == 201
    for _ in range(20):
        assert serving.call(f"/api/collections/tasks/{made['id']}")[0] == 200
    assert serving.stop() == 0
    assert "Traceback" not in serving.output


def test_the_death_of_a_worker_ends_the_rest_with_an_error(start, alyx):
    alyx("init")
    serving = start("serve", "--migrate", env={"ALYX_AUTH_JWT_SECRET": SECRET, "ALYX_SERVER_WORKERS": "2"})
    serving.wait_for(READY)
    os.kill(worker_of(serving), signal.SIGKILL)
    assert serving.ended() == 1
    assert "ended (exit code -9)" in serving.output
    wait_until_refused(serving.port)


def test_workers_end_when_their_parent_is_killed(start, alyx):
    alyx("init")
    serving = start("serve", "--migrate", env={"ALYX_AUTH_JWT_SECRET": SECRET, "ALYX_SERVER_WORKERS": "2"})
    serving.wait_for(READY)
    serving.process.kill()
    wait_until_refused(serving.port)


def worker_of(serving):
    """The process that answers: it says so in its metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{serving.port}/metrics", timeout=10) as answer:
        return int(re.search(r'worker="(\d+)"', answer.read().decode())[1])


def test_dev_is_serving_within_a_second_and_a_half_of_work(start, alyx):
    """Measured in CPU time, since the machine may be busy with other tests: waiting is no part of a start."""
    alyx("init", "--template", "blog")
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        dev = start("dev")
        dev.wait_for(READY)
        dev.stop()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert statistics.median(times) < 1.5, times
