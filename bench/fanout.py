"""Live queries: what a delivery costs the server, how soon it comes, and what subscribers cost those who write.

Run by `python -m bench --only fanout,...`; each case runs by itself in under two minutes. Where PocketBase can do the same, it
runs beside, in alternating rounds. Writes come at a fixed rate that both keep easily, so that neither server is measured at its
limit and the load generator never is one; the listeners are a process of their own whose CPU is told.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from bench.crowd import Writer, callers, crowd, memory, paced, sockets, start_alyx, start_pocketbase, to
from bench.peers import TICK, Peer

ROWS = 20


@dataclass
class Stage:
    """Where a case runs: servers are started when they are first needed and end with it."""

    folder: Path
    port: int
    rounds: int
    seconds: float
    started: dict[str, Peer]

    def alyx(self, workers: int = 1) -> Peer:
        name = f"alyx{workers}"
        if name not in self.started:
            self.started[name] = start_alyx(self.folder / name, self.port + len(self.started), workers)
        return self.started[name]

    def pocketbase(self) -> Peer:
        if "pocketbase" not in self.started:
            self.started["pocketbase"] = start_pocketbase(self.folder / "pocketbase", self.port + len(self.started))
        return self.started["pocketbase"]

    def stop(self) -> None:
        for peer in self.started.values():
            peer.stop()
        self.started.clear()


def rows(peer: Peer, collection: str, count: int = ROWS) -> list[str]:
    """Exactly so many records in a collection; their ids."""
    writer = Writer(peer)
    answer = httpx.get(peer.url(writer.url(collection)) + ("?limit=1000" if writer.alyx else "?perPage=1000"), timeout=30)
    keys = [doc["id"] for doc in answer.json()["docs" if writer.alyx else "items"]]
    for key in keys[count:]:
        writer.delete(collection, key)
    while len(keys) < count:
        keys.append(writer.create(collection))
    writer.close()
    return keys[:count]


def _deliveries(
    peer: Peer, kind: str, collection: str, count: int, rate: float, seconds: float, tokens: list[str]
) -> dict[str, float]:
    """One round: updates at a rate to so many subscribers. tokens: theirs; nobody's if there are none."""
    keys = rows(peer, collection)
    with crowd(peer, kind, count, tokens=tokens, **to(kind, collection)) as listeners:
        writer = Writer(peer)
        for key in keys:
            writer.update(collection, key)
        listeners.settle(count * len(keys))
        before, load = peer.cpu_seconds(), listeners.ask("zero")["cpu"]
        written, took = paced(rate, seconds, lambda n: writer.update(collection, keys[n % len(keys)]))
        counts = listeners.settle(written * count)
        used = peer.cpu_seconds() - before
        writer.close()
    return {
        "per_cpu": counts["documents"] / max(used, 1 / TICK),
        "documents": counts["documents"],
        "expected": written * count,
        "server_cpu": used,
        "server_share": used / took,
        "load_share": (counts["cpu"] - load) / took,
        "rate": written / took,
    }


def _fanout(stage: Stage, collection: str, count: int = 500, rate: float = 20, *, signed: bool = False) -> dict[str, Any]:
    """signed: whether each subscriber is another user; else all are nobody."""
    alyx, pocketbase = stage.alyx(), stage.pocketbase()
    sides = [("websocket", alyx), ("stream", alyx), ("pocketbase", pocketbase)]
    tokens = {peer.name: callers(peer, count) if signed else [] for peer in (alyx, pocketbase)}
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind, _ in sides}
    for number in range(stage.rounds):
        for kind, peer in sides if number % 2 == 0 else reversed(sides):
            found[kind].append(_deliveries(peer, kind, collection, count, rate, stage.seconds, tokens[peer.name]))
    ratios = {
        kind: median(a["per_cpu"] / b["per_cpu"] for a, b in zip(found[kind], found["pocketbase"], strict=True))
        for kind in ("websocket", "stream")
    }
    print(f"\nfan-out of {collection} to {count} at {rate:.0f} writes/s: deliveries per CPU second of the server (at least 2x)")
    for kind, each in found.items():
        middle = {name: median(run[name] for run in each) for name in each[0]}
        ratio = f"{ratios[kind]:.2f}x" if kind in ratios else "1"
        print(
            f"  {kind:11} {middle['per_cpu']:9.0f}   {ratio:6}  server {middle['server_share']:.0%} of a core,"
            f" listeners {middle['load_share']:.0%}, {middle['documents'] / middle['expected']:.1%} arrived"
        )
    return {"ratios": ratios, "subscribers": count, "runs": found}


def fanout(stage: Stage) -> dict[str, Any]:
    """Deliveries per CPU second, a collection that all may read."""
    return _fanout(stage, "messages")


def fanout_rule(stage: Stage) -> dict[str, Any]:
    """The same where a rule compares the record with the caller, and each subscriber is another user."""
    return _fanout(stage, "ruled", signed=True)


def _percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95, p99 in ms of seconds."""
    ordered = sorted(values)
    return {f"p{p}": ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))] * 1000 for p in (50, 95, 99)} if ordered else {}


def latency(stage: Stage, count: int = 500, rate: float = 10) -> dict[str, Any]:
    """From POST to receipt at 500 subscribers and 10 writes a second."""
    sides = [("websocket", stage.alyx()), ("stream", stage.alyx()), ("pocketbase", stage.pocketbase())]
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind, _ in sides}
    for number in range(stage.rounds):
        for kind, peer in sides if number % 2 == 0 else reversed(sides):
            rows(peer, "messages", 0)
            with crowd(peer, kind, count, timing=True, **to(kind, "messages")) as listeners:
                writer = Writer(peer)
                for _ in range(5):
                    writer.create("messages")
                listeners.settle(5 * count)
                listeners.ask("zero")
                written, _ = paced(rate, stage.seconds, lambda _, w=writer: w.create("messages"))
                listeners.settle(written * count)
                found[kind].append(_percentiles([ns / 1e9 for ns in listeners.ask("latencies")]))
                writer.close()
    print(f"\nfrom POST to receipt, {count} subscribers, {rate:.0f} writes/s (p95 no worse than PocketBase's)")
    kept = {}
    for kind, each in found.items():
        kept[kind] = {name: median(run[name] for run in each) for name in each[0]}
        print(f"  {kind:11} " + "  ".join(f"{name} {value:7.2f} ms" for name, value in kept[kind].items()))
    return {"median": kept, "runs": found}


def writes(stage: Stage, rate: float = 200) -> dict[str, Any]:
    """What subscribers that do not match cost those who write."""
    peer = stage.alyx()
    key = rows(peer, "ruled", 1)[0]
    sides: list[tuple[str, int, dict[str, Any]]] = [
        ("none", 0, {}),
        ("1,000 of another collection", 1000, to("websocket", "messages")),
        ("5,000 of another collection", 5000, to("websocket", "messages")),
        ("5,000 with another filter", 5000, {"payloads": [{"collection": "ruled", "filter": {"slot": -1}}]}),
        ("none, again", 0, {}),
    ]
    rows(peer, "messages", 0)
    found = {}
    print(f"\nlatency of a write at {rate:.0f}/s beside subscribers that do not match (p99 within 10 % of none)")
    for title, count, config in sides:
        with crowd(peer, "websocket", count, **config) if count else contextlib.nullcontext():
            writer = Writer(peer)
            taken: list[float] = []
            paced(rate, 1, lambda _, w=writer: w.update("ruled", key))
            paced(rate, stage.seconds * 2, lambda _, w=writer, t=taken: t.append(w.update("ruled", key)))
            writer.close()
        found[title] = _percentiles(taken)
        print(f"  {title:28} " + "  ".join(f"{name} {value:6.2f} ms" for name, value in found[title].items()))
    return found


def matching(stage: Stage, count: int = 5000, rate: float = 5, beside: float = 100) -> dict[str, Any]:
    """5,000 subscribers that all match 5 writes a second: what these writes take, and what others take meanwhile."""
    peer = stage.alyx()
    key, other = rows(peer, "messages", 1)[0], rows(peer, "ruled", 1)[0]
    found: dict[str, Any] = {}
    print(f"\nlatency of writes where {count} subscribers match {rate:.0f} a second (p99 at most 5 ms more)")
    for title, listening in (("none", 0), (f"{count} match", count), ("none, again", 0)):
        with (
            crowd(peer, "websocket", listening, **to("websocket", "messages")) if listening else contextlib.nullcontext() as hall
        ):
            writer = Writer(peer)
            taken: dict[str, list[float]] = {"matching": [], "others": []}
            every = round(beside / rate)

            def act(number: int, w: Writer = writer, t: dict[str, list[float]] = taken, n: int = every) -> None:
                if number % n == 0:
                    t["matching"].append(w.update("messages", key))
                else:
                    t["others"].append(w.update("ruled", other))

            before = peer.cpu_seconds()
            _, took = paced(beside, max(10.0, stage.seconds * 3), act)
            found[title] = {name: _percentiles(values) for name, values in taken.items()}
            if hall is not None:
                expected = len(taken["matching"]) * listening
                found[title]["arrived"] = hall.settle(expected)["documents"] / expected
            found[title]["server_share"] = (peer.cpu_seconds() - before) / took
            writer.close()
        for name in ("matching", "others"):
            print(f"  {title:12} {name:9} " + "  ".join(f"{p} {v:6.2f} ms" for p, v in found[title][name].items()))
    return found


def filters(stage: Stage, rate: float = 200, each: int = 100) -> dict[str, Any]:
    """CPU of a change beside so many subscriptions, each with another equality filter; one of them matches."""
    peer = stage.alyx()
    key = rows(peer, "messages", 1)[0]
    found = {}
    print(f"\nCPU of the server for one change at {rate:.0f}/s, its write included, beside subscriptions with different filters")
    for count in (0, 100, 1_000, 10_000):
        payloads = [
            [{"collection": "messages", "filter": {"slot": slot}} for slot in range(start, min(start + each, count))]
            for start in range(0, count, each)
        ]
        with crowd(peer, "websocket", len(payloads), payloads=payloads) if count else contextlib.nullcontext() as hall:
            writer = Writer(peer)
            step = 7919

            def act(number: int, w: Writer = writer, n: int = count, s: int = step) -> None:
                w.update("messages", key, slot=(number * s) % n if n else number)

            paced(rate, 1, act)
            before = peer.cpu_seconds()
            if hall is not None:
                hall.ask("zero")
            written, _ = paced(rate, stage.seconds, act)
            arrived = hall.settle(written)["documents"] if hall is not None else 0
            used = (peer.cpu_seconds() - before) / written * 1e6
            writer.close()
        found[str(count)] = {"us": used, "arrived": arrived / written}
        print(f"  {count:6} subscriptions: {used:7.1f} us a change, {arrived / written:.2f} deliveries")
    return found


def idle(stage: Stage) -> dict[str, Any]:
    """Memory of an idle subscriber: what 3,000 more cost."""
    found: dict[str, Any] = {}
    print("\nresident memory of an idle subscriber (under 30 kB)")
    for kind in ("websocket", "stream"):
        peer = start_alyx(stage.folder / f"idle-{kind}", stage.port + 50)
        try:
            with contextlib.ExitStack() as halls:
                sizes = []
                halls.enter_context(crowd(peer, kind, 500, **to(kind, "messages")))
                sizes.append(memory(peer))
                for more in (1500, 3000):
                    halls.enter_context(crowd(peer, kind, more, **to(kind, "messages")))
                    time.sleep(0.5)
                    sizes.append(memory(peer))
        finally:
            peer.stop()
        found[kind] = {"rss_kb": dict(zip(("500", "2000", "5000"), sizes, strict=True)), "each_kb": (sizes[2] - sizes[1]) / 3000}
        print(f"  {kind:11} {found[kind]['each_kb']:6.1f} kB ({sizes[1]} kB at 2,000, {sizes[2]} kB at 5,000)")
    return found


def stuck(stage: Stage, count: int = 100, rate: float = 40) -> dict[str, Any]:
    """100 readers that never read: what they hold in the server, and how soon they are sent away.

    They begin with an empty view, into which more records come than merging can keep small. Counted is what the server has more
    than right after they connected, less what as many writes to readers that read made it grow. A socket counts as closed when
    the server has let it go: a client that does not read does not hear of it.
    """
    found: dict[str, Any] = {}
    print("\n100 readers that do not read (at most 64 kB each beyond the sockets' buffers; closed within 30 s)")
    for kind in ("websocket", "stream"):
        peer = start_alyx(stage.folder / f"stuck-{kind}", stage.port + 60)
        try:
            found[kind] = result = _stuck(peer, kind, count, rate)
        finally:
            peer.stop()
        closed = result["closed_after_s"]
        told = f"closed after {closed:.1f} s" if closed is not None else "not closed within 45 s"
        print(f"  {kind:11} {result['each_kb']:6.1f} kB each, {told}; {result['others_received']:.0%} arrived at another reader")
    return found


def _stuck(peer: Peer, kind: str, count: int, rate: float) -> dict[str, Any]:
    keys, slots = rows(peer, "messages", 800), (7, 8)
    path = "/api/collections/messages?filter=slot:eq:"
    asked = [{"payloads": [{"collection": "messages", "filter": {"slot": slot}}], "paths": [f"{path}{slot}"]} for slot in slots]
    writer = Writer(peer)

    def write(number: int, slot: int = slots[0]) -> float:
        return writer.update("messages", keys[number % len(keys)], body=_long(number), slot=slot)

    with crowd(peer, kind, 1, **asked[0]), crowd(peer, kind, 1, **asked[1]) as healthy:
        paced(200, len(keys) / 200, write)
        warm = memory(peer)
        calm, _ = paced(200, 3, write)
        open_before, before = sockets(peer), memory(peer)
        growth = max(0.0, (before - warm) / calm)
        with crowd(peer, kind, count, stuck=True, **asked[1]):
            sizes, taken, closed = [memory(peer)], [], None
            began = time.monotonic()
            while closed is None and time.monotonic() - began < 45:
                taken.append(write(len(taken), slots[1]))
                if len(taken) % 8 == 0:
                    sizes.append(memory(peer))
                    if sockets(peer) <= open_before:
                        closed = time.monotonic() - began
                time.sleep(max(0.0, began + len(taken) / rate - time.monotonic()))
        arrived = healthy.settle(len(taken))["documents"]
    writer.close()
    return {
        "each_kb": (max(sizes) - sizes[0] - growth * len(taken)) / count,
        "connection_kb": (sizes[0] - before) / count,
        "growth_kb_a_write": growth,
        "rss_kb": [before, *sizes],
        "closed_after_s": closed,
        "others_received": arrived / len(taken),
        "writes": _percentiles(taken),
    }


def _long(number: int) -> str:
    """A text of 3 kB, short enough to stand in the log."""
    return f"{number:06d} ".ljust(3_000, "x")


def endtoend(stage: Stage, rate: float = 10) -> dict[str, Any]:
    """From the start of a write to its receipt, idle: written by the server itself, by another program, with two workers."""
    found = {}
    print("\nend to end, idle, one subscriber (p50 under 5 ms in one process; across processes poll_interval 20 ms + 5 ms)")
    sides = (("one process", 1, False), ("another program writes", 1, True), ("two workers", 2, False))
    for title, workers, outside in sides:
        peer = stage.alyx(workers)
        key = rows(peer, "messages", 1)[0]
        count = 1 if workers == 1 else 8
        with crowd(peer, "websocket", count, timing=True, **to("websocket", "messages")) as hall:
            writer = Writer(peer)
            write = _outside(peer, key) if outside else lambda _, w=writer, k=key: w.update("messages", k)
            paced(rate, 1, write)
            hall.settle(int(rate) * count)
            hall.ask("zero")
            written, _ = paced(rate, stage.seconds * 2, write)
            hall.settle(written * count)
            found[title] = _percentiles([ns / 1e9 for ns in hall.ask("latencies")])
            writer.close()
        print(f"  {title:24} " + "  ".join(f"{name} {value:6.2f} ms" for name, value in found[title].items()))
    return found


def _outside(peer: Peer, key: str) -> Callable[[int], None]:
    """Writes by another program: this one."""
    connection = sqlite3.connect(peer.folder / "data" / "alyx.db", timeout=10, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint=0")

    def write(_: int) -> None:
        title = f"@@{time.monotonic_ns():019d}"
        connection.execute("UPDATE messages SET title = ? WHERE id = ?", (title, key))

    return write


CASES: dict[str, Callable[[Stage], dict[str, Any]]] = {
    "fanout": fanout,
    "fanout-rule": fanout_rule,
    "latency": latency,
    "writes": writes,
    "matching": matching,
    "filters": filters,
    "idle": idle,
    "stuck": stuck,
    "endtoend": endtoend,
}


def run(name: str, folder: Path, port: int, rounds: int, seconds: float) -> dict[str, Any]:
    """One case with servers of its own, on this port and some that follow."""
    stage = Stage(folder, port, rounds, seconds, {})
    try:
        return CASES[name](stage)
    finally:
        stage.stop()
