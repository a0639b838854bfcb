"""The two servers under test, made alike: same fields, same indexes, same rules, same records, each with one signed-in user."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

AUTHORS = 100
POSTS = 10_000
BIN = Path(sys.executable).parent
TICK = os.sysconf("SC_CLK_TCK")

SCHEMA = """\
version: 1
collections:
  users:
    fields:
      id: { type: id, primary: true, default: auto }
      name: { type: string }
    rules: { create: "true", read: "true" }
  posts:
    fields:
      id: { type: id, primary: true, default: auto }
      title: { type: string, minLength: 1, maxLength: 200 }
      body: { type: text }
      status: { type: select, select: { values: [draft, published] }, default: draft }
      author: { type: id, references: users.id, onDelete: cascade }
      views: { type: int, default: 0 }
      created: { type: timestamp, default: now }
      updated: { type: timestamp, default: now, onUpdate: now }
    indexes:
      - { name: idx_posts_author_created, fields: [author, created] }
    rules:
      create: "auth.id == doc.author"
      read: "doc.status == 'published' || auth.id == doc.author"
      update: "auth.id == doc.author"
      delete: "auth.id == doc.author"
"""
POCKETBASE_RULE = "author = @request.auth.id"


@dataclass
class Peer:
    """A running server and what the load needs to know of it."""

    name: str
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    token: str = ""
    user: str = ""
    authors: list[str] = field(default_factory=list)
    posts: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def spawn(self, *command: str) -> None:
        """Start the server and wait until it answers."""
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit(f"{self.name} did not start; see {self.folder / 'server.log'}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            self.process = None

    def processes(self) -> list[int]:
        """The server's process and those that it started."""
        assert self.process is not None
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += [int(text) for text in (task / "children").read_text().split()]
        return found

    def cpu_seconds(self) -> float:
        """CPU that all processes of the server have used so far."""
        total = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK


def records(rng: random.Random, authors: list[str]) -> list[dict[str, object]]:
    """The posts that both servers get, in random order of authors."""
    words = ["lorem", "ipsum", "dolor", "sit", "amet", "elit", "sed", "magna", "aliqua", "minim"]
    return [
        {
            "title": " ".join(rng.choices(words, k=6)),
            "body": " ".join(rng.choices(words, k=60)),
            "status": rng.choice(["draft", "published", "published"]),
            "author": rng.choice(authors),
            "views": rng.randrange(10_000),
        }
        for _ in range(POSTS)
    ]


def start_alyx(folder: Path, port: int, synchronous: str = "full") -> Peer:
    """Alyx with rules on, its log at warning as PocketBase's request log is off."""
    peer = Peer(f"Alyx ({synchronous})", folder, port)
    (folder / "schema.yaml").write_text(SCHEMA)
    secret = "bench-" + "x" * 40
    (folder / "alyx.yaml").write_text(
        f"server: {{ port: {port} }}\nlogging: {{ level: warning, format: json }}\n"
        f"database: {{ url: 'sqlite:///data/alyx.db', synchronous: {synchronous} }}\n"
        f"auth: {{ jwt: {{ secret: '{secret}', access_ttl: 24h }} }}\n"
    )
    peer.spawn(str(BIN / "alyx"), "serve", "--migrate")
    user = "benchuser000000"
    made = subprocess.run(
        [BIN / "alyx", "auth", "token", "--id", user, "--role", "user"], cwd=folder, capture_output=True, check=True, text=True
    )
    peer.token, peer.user = made.stdout.split()[-1], user
    with httpx.Client(base_url=peer.url(), timeout=60, headers={"authorization": f"Bearer {peer.token}"}) as client:
        names: list[dict[str, object]] = [{"name": f"author {n}"} for n in range(AUTHORS)]
        names.append({"id": user, "name": "bench"})
        peer.authors = [doc["id"] for doc in _ok(client.post("/api/collections/users", json=names))["docs"]]
        _fill_alyx(peer)
        own = _ok(client.get(f"/api/collections/posts?limit=1000&filter=author:eq:{user}"))
        peer.own = [doc["id"] for doc in own["docs"]]
        published = _ok(client.get("/api/collections/posts?limit=1000&filter=status:eq:published"))
        peer.posts = [doc["id"] for doc in published["docs"]]
    return peer


def _fill_alyx(peer: Peer) -> None:
    """Bring the posts in as an operator would: the rules allow a user only posts of one's own."""
    import json

    rows = records(random.Random(7), peer.authors)
    path = peer.folder / "posts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    subprocess.run([BIN / "alyx", "db", "import", "posts", str(path)], cwd=peer.folder, check=True, capture_output=True)


def start_bare(folder: Path, port: int) -> Peer:
    """uvicorn with an application that does nothing."""
    peer = Peer("bare uvicorn", folder, port, posts=["x"])
    app = ["--app-dir", str(Path(__file__).parents[1]), "bench.bare:app"]
    peer.spawn(sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning", "--port", str(port), *app)
    return peer


def start_pocketbase(folder: Path, port: int) -> Peer:
    """PocketBase 0.40 with its request log off, as its own benchmark does."""
    peer = Peer("PocketBase", folder, port)
    binary = shutil.which("pocketbase", path=str(BIN)) or "pocketbase"
    admin = {"identity": "bench@example.com", "password": "bench-password-1"}
    subprocess.run([binary, "superuser", "upsert", *admin.values(), "--dir", str(folder / "pb")], check=True, capture_output=True)
    peer.spawn(binary, "serve", "--http", f"127.0.0.1:{port}", "--dir", str(folder / "pb"))
    with httpx.Client(base_url=peer.url(), timeout=60) as client:
        token = _ok(client.post("/api/collections/_superusers/auth-with-password", json=admin))["token"]
        client.headers["authorization"] = token
        batch = {"enabled": True, "maxRequests": 1000, "timeout": 60}
        _ok(client.patch("/api/settings", json={"logs": {"maxDays": 0}, "batch": batch}))
        _make_pocketbase_posts(client)
        _fill_pocketbase(client, peer)
    return peer


def _make_pocketbase_posts(client: httpx.Client) -> None:
    users = _ok(client.get("/api/collections/users"))["id"]
    fields = [
        {"name": "title", "type": "text", "min": 1, "max": 200, "required": True},
        {"name": "body", "type": "text", "required": True, "max": 1_000_000},
        {"name": "status", "type": "select", "values": ["draft", "published"], "maxSelect": 1},
        {"name": "author", "type": "relation", "collectionId": users, "maxSelect": 1, "cascadeDelete": True},
        {"name": "views", "type": "number", "onlyInt": True},
        {"name": "created", "type": "autodate", "onCreate": True},
        {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
    ]
    read = f"status = 'published' || {POCKETBASE_RULE}"
    rules = {"listRule": read, "viewRule": read, "createRule": POCKETBASE_RULE, "updateRule": POCKETBASE_RULE}
    index = "CREATE INDEX idx_posts_author_created ON posts (author, created, id)"
    made = {"name": "posts", "type": "base", "fields": fields, "indexes": [index], "deleteRule": POCKETBASE_RULE}
    _ok(client.post("/api/collections", json=made | rules))


def _fill_pocketbase(client: httpx.Client, peer: Peer) -> None:
    password = "bench-password-2"
    accounts = [f"author{n}@example.com" for n in range(AUTHORS)] + ["bench.user@example.com"]
    body = {"password": password, "passwordConfirm": password}
    requests = [{"method": "POST", "url": "/api/collections/users/records", "body": body | {"email": mail}} for mail in accounts]
    for start in range(0, len(requests), 10):
        made = _ok(client.post("/api/batch", json={"requests": requests[start : start + 10]}))
        peer.authors += [each["body"]["id"] for each in made]
    posts = [
        {"method": "POST", "url": "/api/collections/posts/records", "body": row}
        for row in records(random.Random(7), peer.authors)
    ]
    ids: list[tuple[str, str, str]] = []
    for start in range(0, len(posts), 500):
        made = _ok(client.post("/api/batch", json={"requests": posts[start : start + 500]}))
        ids += [(each["body"]["id"], each["body"]["status"], each["body"]["author"]) for each in made]
    peer.user = peer.authors[-1]
    peer.own = [key for key, _, author in ids if author == peer.user]
    peer.posts = [key for key, status, _ in ids if status == "published"][:1000]
    login = {"identity": accounts[-1], "password": password}
    peer.token = _ok(client.post("/api/collections/users/auth-with-password", json=login))["token"]


def _ok(response: httpx.Response):  # type: ignore[no-untyped-def]  # JSON of any shape
    if response.status_code >= 300:
        raise SystemExit(f"{response.request.method} {response.request.url}: {response.status_code} {response.text[:400]}")
    return response.json() if response.content else None
