"""`python -m bench.listeners`: many subscribers in one process that count what they receive and look at nothing else.

Started by bench/fanout.py. Raw sockets and one epoll, so that it costs little beside the server under test; what it costs it
says, so that it can be shown not to be the limit. A document counts where its marker `@@` and 19 digits (the nanoseconds at which
its writer began) come by.

The first line of its input is JSON: kind (websocket, stream, pocketbase), port, count (connections), payloads (one list of
subscribe payloads for each connection, or one list for all), paths (of the stream), tokens (one for each connection; without any
the callers are nobody), stuck (never read), timing. It says `ready` and then answers each further line with one line of JSON:
`counts`, `latencies`; `zero` starts over.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from typing import Any

MARK = b"@@"
DIGITS = 19
_READ = 262_144
_PATIENCE = 90.0


def main() -> None:
    config: dict[str, Any] = json.loads(sys.stdin.buffer.raw.readline())  # unbuffered: what follows is for the epoll
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Listeners(config).run()


class Listeners:
    """All connections of one run."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.documents = 0
        self.latencies: list[int] = []
        self.sockets: dict[int, socket.socket] = {}
        self.halves: dict[int, bytes] = {}
        self.awaited = 0
        self.timing = bool(config.get("timing"))
        self.epoll = select.epoll()

    def run(self) -> None:
        """Connect, wait for the first answers, then listen until the input ends."""
        open_one = {"websocket": self._websocket, "stream": self._stream, "pocketbase": self._pocketbase}[self.config["kind"]]
        for number in range(self.config["count"]):
            sock = open_one(number)
            self.sockets[sock.fileno()] = sock
        if not self.config.get("stuck"):
            for number, sock in self.sockets.items():
                sock.setblocking(False)
                self.epoll.register(number, select.EPOLLIN)
            self._await_answers()
        self._zero()
        print("ready", flush=True)
        self._listen()

    # --- connections ------------------------------------------------------------------------------------------------------------

    def _connect(self) -> socket.socket:
        sock = socket.socket()
        if self.config.get("stuck"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", self.config["port"]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(_PATIENCE)
        return sock

    def _authorization(self, number: int, scheme: str = "Bearer ") -> dict[str, str]:
        tokens = self.config.get("tokens")
        return {"authorization": scheme + tokens[number % len(tokens)]} if tokens else {}

    def _websocket(self, number: int) -> socket.socket:
        sock = self._connect()
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET /api/realtime HTTP/1.1", "host: localhost", "upgrade: websocket", "connection: Upgrade"]
        lines += [f"sec-websocket-key: {key}", "sec-websocket-version: 13"]
        lines += [f"{name}: {value}" for name, value in self._authorization(number).items()]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        _expect(sock, b" 101 ")
        payloads = self.config["payloads"]
        mine = payloads[number % len(payloads)] if payloads and isinstance(payloads[0], list) else payloads
        for index, payload in enumerate(mine):
            sock.sendall(frame(json.dumps({"id": str(index), "type": "subscribe", "payload": payload}).encode()))
        self.awaited += len(mine)
        return sock

    def _stream(self, number: int) -> socket.socket:
        sock = self._connect()
        path = self.config["paths"][number % len(self.config["paths"])]
        lines = [f"GET {path} HTTP/1.1", "host: localhost", "accept: text/event-stream"]
        lines += [f"{name}: {value}" for name, value in self._authorization(number).items()]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        self.awaited += 1
        return sock

    def _pocketbase(self, number: int) -> socket.socket:
        sock = self._connect()
        sock.sendall(b"GET /api/realtime HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
        text = b""
        while b"clientId" not in text or not text.rstrip().endswith(b"}"):
            text += sock.recv(4096)
        client = json.loads(text[text.index(b'{"clientId"') : text.rindex(b"}") + 1])["clientId"]
        if number == 0:
            self._poster = http.client.HTTPConnection("127.0.0.1", self.config["port"], timeout=_PATIENCE)
        body = json.dumps({"clientId": client, "subscriptions": self.config["payloads"]})
        headers = {"content-type": "application/json"} | self._authorization(number, scheme="")
        self._poster.request("POST", "/api/realtime", body, headers)
        answer = self._poster.getresponse()
        answer.read()
        if answer.status >= 300:
            raise SystemExit(f"PocketBase refused a subscription: {answer.status}")
        return sock

    def _await_answers(self) -> None:
        """Until every subscription has its snapshot."""
        end = time.monotonic() + _PATIENCE
        seen = 0
        while seen < self.awaited:
            if time.monotonic() > end:
                raise SystemExit(f"{seen} of {self.awaited} subscriptions were answered")
            for number, _ in self.epoll.poll(1.0):
                data = self._receive(number)
                seen += data.count(b'"total":') if self.config["kind"] != "pocketbase" else 0
                if b'"type":"error"' in data or b" 40" in data[:20] or b"event: error" in data:
                    raise SystemExit(f"refused: {data[:500]!r}")

    # --- listening --------------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        stdin = sys.stdin.fileno()
        os.set_blocking(stdin, False)
        self.epoll.register(stdin, select.EPOLLIN)
        waiting = b""
        while True:
            for number, _ in self.epoll.poll():
                if number != stdin:
                    self._count(number, self._receive(number))
                    continue
                text = os.read(stdin, 65_536)
                if not text:
                    return
                *lines, waiting = (waiting + text).split(b"\n")
                for line in lines:
                    print(json.dumps(self._answer(line.decode())), flush=True)

    def _receive(self, number: int) -> bytes:
        try:
            data = self.sockets[number].recv(_READ)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.epoll.unregister(number)
        elif data[0] == 0x89 and self.config["kind"] == "websocket":
            self.sockets[number].send(b"\x8a" + bytes([0x80 | data[1]]) + b"\0\0\0\0" + data[2 : 2 + data[1]])
        return data

    def _count(self, number: int, data: bytes) -> None:
        if number in self.halves:
            data = self.halves.pop(number) + data
        found = data.count(MARK)
        if found:
            self.documents += found
            if self.timing:
                self._time(data)
        if data.endswith(b"@") and not data.endswith(MARK):
            self.halves[number] = b"@"

    def _time(self, data: bytes) -> None:
        now = time.monotonic_ns()
        place = data.find(MARK)
        while place >= 0:
            digits = data[place + 2 : place + 2 + DIGITS]
            if len(digits) == DIGITS:
                self.latencies.append(now - int(digits))
            place = data.find(MARK, place + 2)

    def _zero(self) -> None:
        self.documents = 0
        self.latencies = []

    def _answer(self, line: str) -> Any:
        if line == "zero":
            self._zero()
        elif line == "latencies":
            found, self.latencies = self.latencies, []
            return found
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {"documents": self.documents, "cpu": used.ru_utime + used.ru_stime}


def frame(text: bytes) -> bytes:
    """A text frame of a client, masked with zeros so that masking costs nothing."""
    size = len(text)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0x80 | 126, size)
    return head + b"\0\0\0\0" + text


def _expect(sock: socket.socket, word: bytes) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(1)  # not a byte beyond the head, which may be followed by frames
        if not piece:
            break
        head += piece
    if word not in head:
        raise SystemExit(f"no {word.decode()} in {head[:300]!r}")


if __name__ == "__main__":
    main()
