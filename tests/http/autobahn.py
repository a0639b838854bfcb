"""Autobahn's WebSocket test suite, cases 1-7 and 10, against an echo server made of `alyx.http.websocket`: `make autobahn`.

The suite runs on Python 2.7 only: one is looked for in AUTOBAHN_PYTHON, on the path and among pyenv's; the suite is installed
below build/, where the reports end up too. Exit code: 0 no case failed, 1 some did, 2 there is no Python 2.7 or no suite.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from websockets.frames import Frame, Opcode

from alyx.http import server, settings
from alyx.http.edge import Edge
from alyx.http.message import OFFER, Request, Response, Takeover
from alyx.http.realtime import shake_hands
from alyx.http.routes import Route, Routes
from alyx.http.websocket import WebSocket

FOLDER = Path(__file__).parents[2] / "build" / "autobahn"
CASES = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)]
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
KNOWN = {"7.1.5": "the websockets library answers a farewell amid a message in fragments with 1002, by its own choice"}
"""Cases that fail by the library's doing, with the reason."""
LIMIT = 900
"""Seconds that the suite may take."""


class Echo(WebSocket):
    """Says what it hears. The suite asks for binary messages too, which live queries refuse."""

    __slots__ = ("_binary",)

    def __init__(self) -> None:
        super().__init__(lambda outlet: self)
        self._binary: bytearray | None = None

    def receive(self, text: str) -> None:
        self.send(text.encode())

    def drained(self) -> None:
        pass

    def lost(self) -> None:
        pass

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self._binary = bytearray()
        elif frame.opcode is not Opcode.CONT or self._binary is None:
            super()._take(frame)
            return
        self._binary += frame.data
        if frame.fin:
            self.say(Frame(Opcode.BINARY, bytes(self._binary)).serialize(mask=False))
            self._binary = None


async def echo(request: Request) -> Response:
    assert OFFER in request.scope
    accepted = shake_hands(request).encode()
    return Takeover(101, Echo(), [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", accepted)])


def find_python() -> str | None:
    """A Python 2.7, if there is one."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    named = [os.environ.get("AUTOBAHN_PYTHON"), shutil.which("python2.7"), *sorted(map(str, pyenv.glob("2.7*/bin/python")))]
    return next((name for name in named if name and _is_python_2_7(name)), None)


def _is_python_2_7(name: str) -> bool:
    command = [name, "-c", "import sys; assert sys.version_info[:2] == (2, 7)"]
    # A shim may stand in the path for a Python that is not there, and says so at length.
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def install(python: str) -> bool:
    """Have the suite below build/."""
    if (FOLDER / "lib" / "autobahntestsuite").exists():
        return True
    command = [python, "-m", "pip", "install", "--quiet", "--target", str(FOLDER / "lib"), "autobahntestsuite"]
    return subprocess.run(command, check=False, stdout=sys.stderr).returncode == 0


async def run(python: str) -> None:
    """Serve, and let the suite ask."""
    sock = server.bind("127.0.0.1", 0)
    started, stop = asyncio.Event(), asyncio.Event()
    edge = Edge(Routes([Route("GET", "/", echo)]), settings.Edge())
    serving = asyncio.create_task(server.serve(edge, sock, started=lambda serving: started.set(), stop=stop, signals=False))
    await started.wait()
    asked = {
        "outdir": str(FOLDER / "reports"),
        "servers": [{"agent": "alyx", "url": f"ws://127.0.0.1:{sock.getsockname()[1]}"}],
        "cases": CASES,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (FOLDER / "spec.json").write_text(json.dumps(asked))
    # As a folder of packages and not by PYTHONPATH, so that the `.pth` files in it count.
    start = f"import site; site.addsitedir({str(FOLDER / 'lib')!r}); from autobahntestsuite.wstest import run; run()"
    with (FOLDER / "log.txt").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            python, "-c", start, "-m", "fuzzingclient", "-s", str(FOLDER / "spec.json"), stdout=log, stderr=log
        )
        try:
            await asyncio.wait_for(process.wait(), LIMIT)
        finally:
            if process.returncode is None:
                process.kill()
    stop.set()
    await serving


def report() -> int:
    """Say how the cases went; gives the exit code."""
    try:
        found: dict[str, dict[str, Any]] = json.loads((FOLDER / "reports" / "index.json").read_text())["alyx"]
    except (OSError, KeyError):
        print(f"the suite left no report; {FOLDER / 'log.txt'} says why")
        return 2
    failed = False
    for case, told in found.items():
        for what in ("behavior", "behaviorClose"):
            if told[what] not in PASSED or told[what] == "NON-STRICT":
                print(f"{case}: {what} {told[what]}" + (f" ({KNOWN[case]})" if case in KNOWN else ""))
                failed = failed or (told[what] not in PASSED and case not in KNOWN)
    for what in ("behavior", "behaviorClose"):
        print(what, dict(Counter(told[what] for told in found.values())))
    return int(failed)


def main() -> int:
    """Install, run, report."""
    python = find_python()
    if python is None:
        print("there is no Python 2.7 here, which Autobahn's suite needs; AUTOBAHN_PYTHON may name one")
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(FOLDER / "reports", ignore_errors=True)
    if not install(python):
        print("autobahntestsuite could not be installed for Python 2.7")
        return 2
    server.run(run(python))
    return report()


if __name__ == "__main__":
    sys.exit(main())
