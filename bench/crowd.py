"""What the cases of bench/fanout.py are made of: the two servers with the same collections, who writes, who listens, and what a
server has used.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from alyx.auth import tokens
from bench.peers import BIN, Peer

TEXT = "lorem ipsum dolor sit amet elit sed magna aliqua minim " * 6
SECRET = "bench-" + "x" * 40

_FIELDS = """\
    fields:
      id: { type: id, primary: true, default: auto }
      title: { type: string, maxLength: 200 }
      body: { type: text }
      status: { type: select, select: { values: [draft, published] }, default: published }
      author: { type: string, default: "" }
      slot: { type: int, default: 0, index: true }
      created: { type: timestamp, default: now }
"""
SCHEMA = f"""\
version: 1
collections:
  messages:
{_FIELDS}    rules: {{ create: "true", read: "true", update: "true", delete: "true" }}
  ruled:
{_FIELDS}    rules:
      create: "true"
      read: "doc.status == 'published' || auth.id == doc.author"
      update: "true"
      delete: "true"
"""


# --- the servers ----------------------------------------------------------------------------------------------------------------


def start_alyx(folder: Path, port: int, workers: int = 1) -> Peer:
    """Alyx with its defaults but for the log and the limit on messages, which 10,000 subscriptions of one client would meet."""
    peer = Peer("Alyx", folder, port)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.yaml").write_text(SCHEMA)
    (folder / "alyx.yaml").write_text(
        f"server: {{ port: {port}, workers: {workers} }}\nlogging: {{ level: warning, format: json }}\n"
        f"limits: {{ realtime_messages: 'off' }}\nauth: {{ jwt: {{ secret: '{SECRET}', access_ttl: 24h }} }}\n"
    )
    peer.spawn(str(BIN / "alyx"), "serve", "--migrate")
    _wait(peer, "/health/ready")
    return peer


def start_pocketbase(folder: Path, port: int) -> Peer:
    """PocketBase with the same two collections, and its request log off."""
    peer = Peer("PocketBase", folder, port)
    folder.mkdir(parents=True, exist_ok=True)
    binary = shutil.which("pocketbase", path=str(BIN)) or "pocketbase"
    admin = {"identity": "bench@example.com", "password": "bench-password-1"}
    subprocess.run([binary, "superuser", "upsert", *admin.values(), "--dir", str(folder / "pb")], check=True, capture_output=True)
    peer.spawn(binary, "serve", "--http", f"127.0.0.1:{port}", "--dir", str(folder / "pb"))
    _wait(peer, "/api/health")
    with httpx.Client(base_url=peer.url(), timeout=60) as client:
        login = client.post("/api/collections/_superusers/auth-with-password", json=admin)
        peer.token = client.headers["authorization"] = login.json()["token"]
        client.patch("/api/settings", json={"logs": {"maxDays": 0}}).raise_for_status()
        fields = [
            {"name": "title", "type": "text", "max": 200},
            {"name": "body", "type": "text", "max": 1_000_000},
            {"name": "status", "type": "select", "values": ["draft", "published"], "maxSelect": 1},
            {"name": "author", "type": "text"},
            {"name": "slot", "type": "number", "onlyInt": True},
            {"name": "created", "type": "autodate", "onCreate": True},
        ]
        for name, read in (("messages", ""), ("ruled", "status = 'published' || author = @request.auth.id")):
            rules = {"listRule": read, "viewRule": read, "createRule": "", "updateRule": "", "deleteRule": ""}
            made = {"name": name, "type": "base", "fields": fields, "indexes": [f"CREATE INDEX idx_{name}_slot ON {name} (slot)"]}
            client.post("/api/collections", json=made | rules).raise_for_status()
    return peer


def callers(peer: Peer, count: int) -> list[str]:
    """Tokens of so many different users."""
    if peer.name.startswith("Alyx"):
        settings = tokens.Settings(SECRET)
        return [tokens.issue(settings, f"user{number:011d}", role="user", ttl=7_200) for number in range(count)]
    found = []
    with httpx.Client(base_url=peer.url(), timeout=60, headers={"authorization": peer.token}) as client:
        users = client.get("/api/collections/users").raise_for_status().json()
        fields = [field | ({"cost": 4} if field["name"] == "password" else {}) for field in users["fields"]]
        client.patch("/api/collections/users", json={"fields": fields}).raise_for_status()  # hashing is not what is measured
        for number in range(count):
            body = {"email": f"user{number}@example.com", "password": "bench-password-2", "passwordConfirm": "bench-password-2"}
            user = client.post("/api/collections/users/records", json=body).raise_for_status().json()
            signed = client.post(f"/api/collections/users/impersonate/{user['id']}", json={}).raise_for_status().json()
            found.append(signed["token"])
    return found


def _wait(peer: Peer, path: str) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(peer.url(path), timeout=2).status_code == 200:
                return
        time.sleep(0.05)
    raise SystemExit(f"{peer.name} is not ready; see {peer.folder / 'server.log'}")


def memory(peer: Peer) -> int:
    """Resident kB of all processes of a server."""
    total = 0
    for pid in peer.processes():
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def sockets(peer: Peer) -> int:
    """Open sockets of all processes of a server."""
    total = 0
    for pid in peer.processes():
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                total += os.readlink(file).startswith("socket:")
    return total


# --- who writes, who listens ----------------------------------------------------------------------------------------------------


class Writer:
    """Requests on one kept connection, one after another."""

    def __init__(self, peer: Peer) -> None:
        self.alyx = peer.name.startswith("Alyx")
        self._sock = socket.create_connection(("127.0.0.1", peer.port), timeout=30)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._turn = 0

    def close(self) -> None:
        self._sock.close()

    def send(self, method: str, path: str, body: Any = None) -> bytes:
        """The body of the answer."""
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: localhost", "content-type: application/json", f"content-length: {len(data)}"]
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode() + data)
        text = b""
        while b"\r\n\r\n" not in text:
            text += self._more()
        top, _, rest = text.partition(b"\r\n\r\n")
        lower = top.lower()
        place = lower.find(b"content-length: ")
        size = int(lower[place + 16 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        while len(rest) < size:
            rest += self._more()
        status = int(top.split(b" ", 2)[1])
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {rest[:300]!r}")
        return rest

    def _more(self) -> bytes:
        piece = self._sock.recv(65_536)
        if not piece:
            raise SystemExit("the server closed the writer's connection")
        return piece

    def url(self, collection: str, key: str = "") -> str:
        middle = "" if self.alyx else "/records"
        return f"/api/collections/{collection}{middle}" + (f"/{key}" if key else "")

    def create(self, collection: str) -> str:
        """A record whose title carries the moment; its id."""
        doc = {"title": f"@@{time.monotonic_ns():019d}", "body": TEXT, "status": "published", "slot": 0, "author": "somebody"}
        key: str = json.loads(self.send("POST", self.url(collection), doc))["id"]
        return key

    def update(self, collection: str, key: str, **more: Any) -> float:
        """A new title, and what else is given; seconds that it took."""
        began = time.monotonic_ns()
        self.send("PATCH", self.url(collection, key), {"title": f"@@{began:019d}"} | more)
        return (time.monotonic_ns() - began) / 1e9

    def delete(self, collection: str, key: str) -> None:
        self.send("DELETE", self.url(collection, key))


def paced(rate: float, seconds: float, act: Callable[[int], Any]) -> tuple[int, float]:
    """Do something at a rate; how often, and how long it took in all. What was held up is not made up for."""
    began = due = time.monotonic()
    count = 0
    while due - began < seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        act(count)
        count += 1
        due = max(due + 1 / rate, time.monotonic() - 1 / rate)
    return count, time.monotonic() - began


class Crowd:
    """The listeners' process."""

    def __init__(self, peer: Peer, kind: str, count: int, **config: Any) -> None:
        command = [sys.executable, "-m", "bench.listeners"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"kind": kind, "port": peer.port, "count": count} | config) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline().strip() != "ready":
            raise SystemExit(f"the listeners of {peer.name} did not get ready")

    def ask(self, word: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def settle(self, expected: int, patience: float = 5.0) -> dict[str, Any]:
        """Its counts, once all that is expected has come or nothing more comes."""
        end = time.monotonic() + patience
        while (counts := self.ask("counts"))["documents"] < expected and time.monotonic() < end:
            time.sleep(0.01)
        found: dict[str, Any] = counts
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextlib.contextmanager
def crowd(peer: Peer, kind: str, count: int, **config: Any) -> Iterator[Crowd]:
    """Listeners for as long as the block runs."""
    made = Crowd(peer, kind, count, **config)
    try:
        yield made
    finally:
        made.close()
        time.sleep(0.2)  # the server takes leave of them


def to(kind: str, collection: str) -> dict[str, Any]:
    """What listeners of a kind ask to have all of a collection."""
    if kind == "websocket":
        return {"payloads": [{"collection": collection}]}
    if kind == "stream":
        return {"paths": [f"/api/collections/{collection}"]}
    return {"payloads": [f"{collection}/*"]}
