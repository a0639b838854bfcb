"""The client of alyx/http/static, run by Node; tests that need it are skipped where there is none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backend import Backend

CLIENT = Path(__file__).parents[2] / "alyx" / "http" / "static" / "client.js"
_OLDEST = 20


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., str]:
    """Run Node on a script, with the path of the client in ALYX_CLIENT: `node("--test", file)` -> what it printed."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("Node is not installed: what runs the client is a browser or Node")
    found = re.match(r"v(\d+)", subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20).stdout)
    if found is None or int(found[1]) < _OLDEST:
        pytest.skip(f"Node is older than {_OLDEST}")
    module = tmp_path / "client.mjs"  # Node takes a .js file outside of a package as something else than a module
    shutil.copy(CLIENT, module)

    def run(*words: str | Path, stdin: str = "") -> str:
        environment = os.environ | {"ALYX_CLIENT": str(module), "NO_COLOR": "1"}
        done = subprocess.run(
            [program, "--no-warnings", *map(str, words)], input=stdin, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Callable[[str], Backend]]:
    """Makes a backend from the text of a schema; ends it with the test."""
    made: list[Backend] = []

    def make(schema: str) -> Backend:
        folder = tmp_path / f"backend{len(made)}"
        folder.mkdir()
        made.append(Backend(schema, folder))
        return made[-1]

    yield make
    for each in made:
        each.close()
