"""`python -m bench.cpu [--profile get|list|create|update]`: CPU of one request inside the server, without sockets.

Time of the process, writer's thread included, so it holds on a busy machine. It shows where a request's own cost goes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import random
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any

from bench import peers
from tests.asgi import run
from tests.backend import Backend

USER = "benchuser000000"
BASE = "/api/collections/posts"


class Load:
    """A backend with the benchmark's records, and the requests of each case."""

    def __init__(self, folder: Path) -> None:
        self.backend = Backend(peers.SCHEMA, folder)
        self.backend.post("/users", [{"id": USER, "name": "bench"}, *({"name": f"author {n}"} for n in range(peers.AUTHORS))])
        self.authors = [doc["id"] for doc in self.backend.list("/users?limit=1000")["docs"]]
        rows = peers.records(random.Random(7), self.authors)
        admin = {"as_user": USER, "role": "admin", "headers": {"alyx-as-admin": "true"}}
        for start in range(0, len(rows), 1000):
            assert self.backend.post("/posts", rows[start : start + 1000], **admin).status == 201
        self.posts = [d["id"] for d in self.backend.list("/posts?limit=1000&filter=status:eq:published")["docs"]]
        self.own = [d["id"] for d in self.backend.list(f"/posts?limit=1000&filter=author:eq:{USER}", as_user=USER)["docs"]]
        self.token = self.backend.token(USER, ttl=86_400)

    def requests(self, case: str) -> list[tuple[str, str, bytes]]:
        """Method, URL and body of the requests, to be repeated."""
        post = {
            "title": "lorem ipsum dolor sit amet",
            "body": "lorem ipsum " * 30,
            "status": "published",
            "author": USER,
            "views": 5,
        }
        match case:
            case "get":
                return [("GET", f"{BASE}/{key}", b"") for key in self.posts]
            case "list":
                return [("GET", f"{BASE}?limit=20&sort=-created&filter=author:eq:{author}", b"") for author in self.authors]
            case "create":
                return [("POST", BASE, json.dumps(post).encode())]
            case _:
                body = json.dumps({"title": "another title", "views": 7}).encode()
                return [("PATCH", f"{BASE}/{key}", body) for key in self.own]

    async def drive(self, case: str, count: int) -> float:
        """Microseconds of CPU a request, 32 at a time."""
        requests, left = cycle(self.requests(case)), iter(range(count))

        async def client() -> None:
            for _ in left:
                method, url, body = next(requests)
                answer = await run(self.backend.edge, self._scope(method, url, body), [body])
                assert answer.status < 300, answer

        started = time.process_time()
        await asyncio.gather(*(client() for _ in range(32)))
        return (time.process_time() - started) / count * 1e6

    def _scope(self, method: str, url: str, body: bytes) -> dict[str, Any]:
        path, _, query = url.partition("?")
        headers = [(b"host", b"localhost"), (b"user-agent", b"bench"), (b"accept", b"*/*")]
        if method != "GET":
            signed = b"Bearer " + self.token.encode()
            headers += [
                (b"content-type", b"application/json"),
                (b"authorization", signed),
                (b"content-length", b"%d" % len(body)),
            ]
        return {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": headers,
            "client": ("127.0.0.1", 50_000),
        }


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.cpu", description=__doc__)
    options.add_argument("--profile", choices=["get", "list", "create", "update"])
    options.add_argument("--count", type=int, default=5000)
    args = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        load = Load(Path(folder))
        loop = load.backend._runner
        for case in ("get", "list", "create", "update"):
            figures = sorted(loop.run(load.drive(case, args.count)) for _ in range(5))
            print(f"{case:8} {figures[0]:6.1f} us least, {figures[2]:6.1f} median of five")
        if args.profile:
            with cProfile.Profile() as profile:
                loop.run(load.drive(args.profile, args.count))
            pstats.Stats(profile).sort_stats("tottime").print_stats(32)
        load.backend.close()


if __name__ == "__main__":
    main()
