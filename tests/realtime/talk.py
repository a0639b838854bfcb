"""Clients of channels in one process, without sockets: a clock that tests move, parties that follow what they are told."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from alyx.base.errors import AlyxError
from alyx.base.identity import ANONYMOUS, Identity
from alyx.realtime.channels import Channels, Kind


class Clock:
    """A loop's timers in virtual time."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def now(self) -> float:
        return self.time

    def call_later(self, delay: float, call: Callable[[], None]) -> object:
        heapq.heappush(self._timers, (self.time + delay, next(self._number), call))
        return None

    async def pass_(self, seconds: float) -> None:
        """Let time pass; tasks that timers start get their turns."""
        until = self.time + seconds
        while self._timers and self._timers[0][0] <= until:
            self.time, _, call = heapq.heappop(self._timers)
            call()
            await turns()
        self.time = until
        await turns()


async def turns() -> None:
    """Give every task of the loop some turns."""
    for _ in range(50):
        await asyncio.sleep(0)


class Client:
    """A connection and what it shows: channel -> id -> state."""

    def __init__(self, channels: Channels, client_id: str, identity: Identity = ANONYMOUS) -> None:
        self.client_id = client_id
        self.identity = identity
        self.ip = "192.0.2.7"
        self.channels = channels
        self.messages: list[dict[str, Any]] = []
        self.shown: dict[str, dict[str, Any]] = {}

    def send(self, message: bytes) -> None:
        told = json.loads(message)
        self.messages.append(told)
        payload = told["payload"]
        channel = payload["channel"]
        match told["type"]:
            case "presence":
                self.shown[channel] = {member["id"]: member["state"] for member in payload["members"]}
            case "left":
                self.shown.pop(channel, None)
            case "presence_diff" if channel in self.shown:
                for gone in payload["leaves"]:
                    self.shown[channel].pop(gone, None)
                self.shown[channel].update({member["id"]: member["state"] for member in payload["joins"]})

    def fail(self, id: str | None, error: AlyxError) -> None:
        raise error

    async def say(self, kind: str, channel: Any, **rest: Any) -> None:
        await self.channels.receive(self, kind, rest.pop("message_id", None), {"channel": channel, **rest})

    async def refused(self, kind: str, channel: Any, **rest: Any) -> str:
        """The code of the error that answers."""
        try:
            await self.say(kind, channel, **rest)
        except AlyxError as error:
            return error.code
        raise AssertionError(f"{kind} was not refused")

    def take(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The messages since the last call; with a kind, the payloads of those."""
        found, self.messages = self.messages, []
        return found if kind is None else [told["payload"] for told in found if told["type"] == kind]


class Rules:
    """A judge whose verdicts tests set. asked: what it was asked."""

    def __init__(self) -> None:
        self.refused: set[tuple[str | None, str, str]] = set()
        self.asked: list[tuple[str | None, str, str, str]] = []
        self.trouble: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def judge(self, identity: Identity, ip: str, kind: str, name: str, rule: Literal["join", "send"]) -> bool:
        self.asked.append((identity.id, kind, name, rule))
        verdict = (identity.id, name, rule) not in self.refused
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return verdict

    def refuse(self, user: str | None, name: str, rule: str = "join") -> None:
        self.refused.add((user, name, rule))


KINDS = {"room": Kind(), "team": Kind(frozenset({"members"}), timed=True, keep_send=True)}


class World:
    """Channels of one process with virtual time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.rules = Rules()
        self.channels = Channels(KINDS, self.rules.judge, call_later=self.clock.call_later, now=self.clock.now)

    def client(self, name: str, user: str | None = None) -> Client:
        return Client(self.channels, name, Identity({"id": user}) if user else ANONYMOUS)

    async def settle(self) -> None:
        await self.clock.pass_(0.06)


def run(body: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Run a test's body over a fresh world."""

    async def whole() -> None:
        world = World()
        await world.channels.start()
        await body(world)
        await world.channels.stop()

    asyncio.run(whole())
