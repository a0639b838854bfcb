"""docs/realtime.md names every operator, key, metric and code; its transcript is what a server really says."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from alyx import config
from alyx.cli.init import read_template
from alyx.records import filters
from tests.cli.conftest import Running
from tests.docs.conftest import ROOT, fits

TEXT = (ROOT / "docs" / "realtime.md").read_text()
ADA = "018f2b6e-7c1a-7c52-9d0e-000000000001"
PATIENCE = 20.0


def section(title: str) -> str:
    """The text under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def first_cells(text: str) -> set[str]:
    """The words in backticks of the first column of a section's tables."""
    cells = [row.split("|")[1] for row in text.splitlines() if row.startswith("|")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_every_operator_of_the_filter_language_is_in_the_tables_and_no_other() -> None:
    assert first_cells(section("Filters")) == {*filters.OPERATORS, *filters.GROUPS}


def test_every_key_that_limits_realtime_is_named() -> None:
    known = {key.name for key in config.KEYS}
    named = set(re.findall(r"`((?:realtime|limits|server)\.[a-z_.]+)", TEXT))
    assert named <= known
    assert {key for key in known if key.startswith("realtime.")} <= named


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((#[^)]+)\)", TEXT))))
def test_every_link_inside_the_page_leads_somewhere(target: str) -> None:
    headings = {"#" + title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    assert target in headings


def test_every_link_to_a_heading_of_another_page_leads_there() -> None:
    for page, target in re.findall(r"\]\(([a-z]+\.md)#([^)]+)\)", TEXT):
        titles = re.findall(r"^#+ (.+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
        assert target in {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}, (page, target)


def test_the_filter_that_the_page_shows_is_json() -> None:
    for text in re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        json.loads(text)


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Running]:
    """The project of `alyx init --template chat`, served."""
    for name, data in read_template("chat").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    served = Running(tmp_path, "dev")
    try:
        served.wait_for(r"ready in [0-9.]+ s")
        yield served
    finally:
        served.stop()
        served.process.stdout.close()


class Play:
    """Plays the transcript: sends what the client says, compares what the server says, does what a remark tells."""

    def __init__(self, server: Running, token: str) -> None:
        self._server = server
        self._token = token
        self._known = {"cursor": "", "subscription_id": ""}
        self._socket: ClientConnection | None = None
        self._actions: dict[str, Callable[[], None]] = {
            "Somebody makes the room general.": lambda: self._make("general"),
            "An admin calls it lobby.": lambda: self._rename("general", "lobby"),
            "The connection is lost. Meanwhile somebody makes engines, and an admin calls lobby secret.": self._meanwhile,
        }

    async def run(self, lines: list[str]) -> None:
        """Raises AssertionError at the first line that is not so."""
        for line in lines:
            if line[0] == "#":
                if line.startswith("# The connection is lost."):
                    await self._leave()
                self._actions[line[2:]]()
            elif line[0] == ">":
                assert self._socket is not None
                await self._socket.send(json.dumps(self._filled(json.loads(line[2:]))))
            else:
                said = json.loads(await self._hear())
                assert fits(json.loads(line[2:]), said), f"shown: {line}\nreal:  {said}"
                payload = said.get("payload", {})
                self._known |= {name: payload[name] for name in ("subscription_id", "cursor") if name in payload}
        await self._leave()

    async def _hear(self) -> str | bytes:
        if self._socket is None:
            self._socket = await connect(f"ws://127.0.0.1:{self._server.port}/api/realtime", proxy=None)
        return await asyncio.wait_for(self._socket.recv(), PATIENCE)

    async def _leave(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        self._socket = None

    def _filled(self, message: dict[str, Any]) -> dict[str, Any]:
        payload = message.get("payload", {})
        values = {"token": self._token, "since": self._known["cursor"], "subscription_id": self._known["subscription_id"]}
        for name, value in values.items():
            if payload.get(name) == "…":
                payload[name] = value
        return message

    def _meanwhile(self) -> None:
        self._make("engines")
        self._rename("lobby", "secret")

    def _make(self, name: str) -> None:
        assert self._server.call("/api/collections/rooms", "POST", {"name": name})[0] == 201

    def _rename(self, name: str, to: str) -> None:
        room = self._server.call(f"/api/collections/rooms?filter=name:eq:{name}")[1]["docs"][0]["id"]
        headers = {"Authorization": f"Bearer {self._token}"}
        assert self._server.call(f"/api/collections/rooms/{room}", "PATCH", {"name": to}, headers)[0] == 200


@pytest.mark.slow
def test_the_transcript_is_what_a_server_says_and_every_metric_is_there(chat: Running, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "alyx", "auth", "token", "--id", ADA, "--role", "admin"]
    token = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    lines = re.search(r"^```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[1]  # type: ignore[index]
    asyncio.run(Play(chat, token).run(lines.splitlines()))
    with urllib.request.urlopen(f"http://127.0.0.1:{chat.port}/metrics", timeout=10) as answer:
        metrics = set(re.findall(r"^alyx_([a-z_]+)", answer.read().decode(), re.MULTILINE))
    told = first_cells(section("For operators"))
    assert told <= metrics
    assert {name for name in metrics if name.startswith(("realtime_", "channel", "relay_"))} <= told
