"""A server for the documents' shell blocks, and how what they print is compared with what is printed there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(sh|json|)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "-----8<-----"


@dataclass
class Step:
    """One shell block and what the document says that it prints: lines, one for each answer."""

    script: str
    printed: list[str]


def steps(text: str) -> list[Step]:
    """The shell blocks of a text, each with the blocks of output that follow it directly."""
    found: list[Step] = []
    end = -1
    for match in _BLOCK.finditer(text):
        if match[1] == "sh":
            found.append(Step(match[2], []))
        elif found and not text[end : match.start()].strip():
            found[-1].printed += match[2].strip().splitlines()
        else:
            continue
        end = match.end()
    return found


def fits(shown: Any, real: Any) -> bool:
    """Whether a real answer is what the document shows; "…" stands for any text."""
    if shown == "…":
        return isinstance(real, str)
    if isinstance(shown, dict):
        return isinstance(real, dict) and list(shown) == list(real) and all(fits(shown[key], real[key]) for key in shown)
    if isinstance(shown, list):
        return isinstance(real, list) and len(shown) == len(real) and all(map(fits, shown, real))
    return bool(shown == real)


@dataclass
class Project:
    """A project's folder that is being served, with the environment of its shell."""

    folder: Path
    environment: dict[str, str]

    def run(self, wanted: list[Step]) -> None:
        """Run the blocks in one shell, one after the other, and compare what each prints, line by line."""
        script = f"\necho; echo '{_MARK}'\n".join(step.script.replace("curl -s ", "curl -sw '\\n' ") for step in wanted)
        script = script.replace("localhost:8090", f"127.0.0.1:{self.environment['ALYX_SERVER_PORT']}")
        done = subprocess.run(
            ["bash", "-eu", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        outputs = done.stdout.split(_MARK)
        assert len(outputs) == len(wanted), done.stdout
        for step, output in zip(wanted, outputs, strict=True):
            lines = [line for line in output.splitlines() if line]
            assert len(lines) == len(step.printed), (step.script, lines)
            for shown, real in zip(step.printed, lines, strict=True):
                whole = shown.startswith("{") and shown.endswith("}")
                same = fits(json.loads(shown), json.loads(real)) if whole else shown == real
                assert same, f"{step.script}\nshown: {shown}\nreal:  {real}"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """The project's own files in a folder of their own, served by `alyx dev` on a free port."""
    for name in ("schema.yaml", "alyx.yaml", "migrations"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name)
        elif source.exists():
            shutil.copy(source, tmp_path / name)
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    (commands / "alyx").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m alyx "$@"\n')
    (commands / "alyx").chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ALYX_")}
    environment |= {"ALYX_SERVER_PORT": str(port), "PYTHONPATH": str(ROOT), "NO_PROXY": "*", "no_proxy": "*"}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(commands / "alyx"), "dev"],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(port, server, tmp_path / "log")
        yield Project(tmp_path, environment)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            with opener.open(f"http://127.0.0.1:{port}/health/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())
