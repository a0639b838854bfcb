"""A project folder, the command line in this process, and real `alyx` processes whose output can be waited for."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from alyx.cli.root import cli

SECRET = "0123456789abcdef0123456789abcdef"
PATIENCE = 20.0


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("ALYX_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def alyx():
    """Run a command in this process: `alyx("db", "seed", "x.yaml")` -> result with .code, .out, .err, .json."""

    class Result:
        def __init__(self, result):
            self.code = result.exit_code
            self.out = result.stdout
            self.err = result.stderr
            self.exception = result.exception

        @property
        def json(self):
            return json.loads(self.out)

    def run(*words, stdin=None):
        result = CliRunner().invoke(cli, [str(word) for word in words], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result)

    return run


@pytest.fixture
def blog(folder, alyx):
    """A blog project whose database is migrated."""
    assert alyx("init", ".", "--template", "blog").code == 0
    assert alyx("migrate", "apply").code == 0
    return folder


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Running:
    """An `alyx` process. Its output, both streams, is collected line by line; conditions are waited for with a deadline."""

    def __init__(self, folder, *words, env=None):
        self.port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ALYX_")}
        environment |= {"ALYX_SERVER_PORT": str(self.port), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"} | (env or {})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "alyx", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.output += line
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, pattern, *, after=0, patience=PATIENCE):
        """Wait until the output after a position matches; gives the position of its end."""
        end = time.monotonic() + patience
        with self._changed:
            while True:
                if match := re.search(pattern, self.output[after:]):
                    return after + match.end()
                left = end - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    pytest.fail(f"{pattern!r} did not come; the output was:\n{self.output}")
                self._changed.wait(min(left, 0.2))

    def call(self, path, method="GET", body=None, headers=None):
        """(status, parsed body)"""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers or {}, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@pytest.fixture
def start(folder):
    running = []

    def start(*words, env=None):
        running.append(Running(folder, *words, env=env))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait(PATIENCE)
        each._reader.join(PATIENCE)
        each.process.stdout.close()


@pytest.fixture
def edit(folder):
    """Replace text in a file of the project, as an editor does: write a new file, rename it over the old one."""

    def edit(name, old, new):
        path = Path(folder / name)
        text = path.read_text()
        assert old in text
        swap = path.with_suffix(".swp")
        swap.write_text(text.replace(old, new))
        swap.rename(path)

    return edit
