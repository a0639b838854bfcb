"""A chat that is really served, and a real browser; both are skipped with a reason where there is no Chromium."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from alyx.auth import tokens
from alyx.cli.init import read_template

PATIENCE = 30.0
USER = "018f2b6e-7c1a-7c52-9d0e-000000000001"
SECRET = "a secret of the tests, 32 bytes or more"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium with a profile of its own, which is gone afterwards."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no Chromium is installed ({', '.join(_NAMES)}); Debian has it as the package chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield chromium
        chromium.close()


class Chat:
    """The template's project in a folder of its own: `alyx serve` on a port that stays, and its page on another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.server = f"http://127.0.0.1:{self.port}"
        for name, data in read_template("chat").items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data.replace(b"127.0.0.1:8090", b"127.0.0.1:%d" % self.port))
        pages = functools.partial(_Silent, directory=str(folder / "web"))
        self._pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages)
        self._thread = threading.Thread(target=self._pages.serve_forever)
        self._thread.start()
        self.page = f"http://127.0.0.1:{self._pages.server_port}/"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Serve, and return when requests are answered."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ALYX_")} | {
            "ALYX_SERVER_PORT": str(self.port),
            "ALYX_AUTH_JWT_SECRET": SECRET,
            "ALYX_SERVER_CORS_ALLOWED_ORIGINS": self.page.rstrip("/"),
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "alyx", "serve", "--migrate"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            try:
                self.call("GET", "/health/ready")
                return
            except urllib.error.URLError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def token(self, role: str = "user", ttl: float = 3600) -> str:
        """An access token of a user who has no record. ttl: seconds."""
        return tokens.issue(tokens.Settings(SECRET), USER, role=role, ttl=ttl)

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def call(self, method: str, path: str, data: Any = None, **headers: str) -> Any:
        """One request; raises URLError where nobody answers."""
        body = None if data is None else json.dumps(data).encode()
        given = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.server + path, body, given, method=method)
        with self._opener.open(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def post(self, room: str, name: str, text: str) -> None:
        """Write a message, once, however often the server is away meanwhile."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                message = {"room_id": room, "name": name, "text": text}
                self.call("POST", "/api/collections/messages", message, idempotency_key=f"{name} {text}")
                return
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def close(self) -> None:
        """End everything."""
        self.kill()
        self._pages.shutdown()
        self._thread.join()
        self._pages.server_close()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def chat(tmp_path: Path, browser: Browser) -> Iterator[Chat]:
    """A chat that is being served."""
    served = Chat(tmp_path)
    try:
        served.start()
        yield served
    finally:
        served.close()
