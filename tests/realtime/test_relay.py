"""Processes of one machine see one another's members and broadcasts, whatever happens to any of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
import uvloop

from alyx.realtime import relay as module
from alyx.realtime.channels import Channels
from alyx.realtime.lair import Lair
from alyx.realtime.peers import Alone
from alyx.realtime.relay import UnixRelay
from alyx.realtime.rooms import Rooms
from tests.realtime.talk import KINDS, Client, Rules

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
GRACE = 0.2
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
WORKER = Path(__file__).with_name("relay_worker.py")


class Node:
    """One process of a node, as far as channels go, with real timers."""

    def __init__(self, database: Path) -> None:
        self.relay = UnixRelay(database, grace=GRACE)
        self.channels = Channels(KINDS, Rules().judge, self.relay)

    async def client(self, name: str, channel: str = "room", state: Any = None) -> Client:
        found = Client(self.channels, name)
        await found.say("join", channel, state=state)
        return found


@asynccontextmanager
async def nodes(database: Path, count: int) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        found = [Node(database) for _ in range(count)]
        for node in found:
            await node.channels.start()
            stack.push_async_callback(node.channels.stop)
        await until(lambda: all(peers(node) == count - 1 for node in found))
        yield found


def peers(node: Node) -> int:
    return int(node.relay.numbers()["relay_peers"])


def serving(found: list[Node]) -> Node:
    return next(node for node in found if node.relay._links)


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.005)


async def shows(client: Client, *names: str, channel: str = "room") -> None:
    try:
        await until(lambda: set(client.shown[channel]) == set(names))
    except AssertionError:
        raise AssertionError(f"{client.shown[channel]} instead of {names}") from None


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(body)


@pytest.mark.parametrize("loop", LOOPS)
def test_members_and_broadcasts_of_all_processes_reach_all_members(tmp_path: Path, loop: Any) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 3) as found:
            ann, bob, eve = [await node.client(f"c{number}", state=number) for number, node in enumerate(found)]
            for client in (ann, bob, eve):
                await shows(client, "c0", "c1", "c2")
                assert client.shown["room"] == {"c0": 0, "c1": 1, "c2": 2}
                client.take()
            for client in (ann, bob, eve):
                await client.say("broadcast", "room", event="hello", data={"of": client.client_id})
            for client in (ann, bob, eve):
                await until(lambda told=client.messages: len(told) >= 2)
                others = {"c0", "c1", "c2"} - {client.client_id}
                told = client.take("broadcast")
                assert {item["from"] for item in told} == {item["data"]["of"] for item in told} == others
            await bob.say("state", "room", state="new")
            await until(lambda: ann.shown["room"]["c1"] == eve.shown["room"]["c1"] == "new")
            found[2].channels.gone(eve)
            await shows(ann, "c0", "c1")
            assert found[0].channels.numbers()["channel_members_elsewhere"] == 1

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(body())


def test_a_process_that_comes_later_learns_who_is_there(tmp_path: Path) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 2) as found:
            for number in range(600):  # more than one message of members
                await found[number % 2].client(f"c{number}", f"room:{number % 7}", state="x" * 1000)
            late = Node(tmp_path / "app.db")
            await late.channels.start()
            await until(lambda: late.channels.numbers()["channel_members_elsewhere"] == 600)
            eve = await late.client("late", "room:3")
            assert len(eve.shown["room:3"]) == len(range(3, 600, 7)) + 1
            await late.channels.stop()

    run(body())


def test_when_the_serving_process_ends_another_serves_and_members_stay_shown(tmp_path: Path) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 4) as found:
            clients = [await node.client(f"c{number}") for number, node in enumerate(found)]
            for client in clients:
                await shows(client, "c0", "c1", "c2", "c3")
            ended = serving(found)
            gone = clients[found.index(ended)]
            rest = [client for client in clients if client is not gone]
            for client in rest:
                client.take()
            await ended.channels.stop()
            left = [node for node in found if node is not ended]
            await until(lambda: all(peers(node) == 2 for node in left))
            for client in rest:
                await shows(client, *(other.client_id for other in rest))
                leaves = [name for told in client.take("presence_diff") for name in told["leaves"]]
                assert leaves == [gone.client_id]  # nobody else flickered
            await rest[0].say("broadcast", "room", event="e", data=1)
            await until(lambda: all(client.take("broadcast") for client in rest[1:]))

    run(body())


def test_a_process_that_loses_its_connection_is_back_before_anybody_misses_it(tmp_path: Path) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 3) as found:
            clients = [await node.client(f"c{number}") for number, node in enumerate(found)]
            for client in clients:
                await shows(client, "c0", "c1", "c2")
                client.take()
            hub = serving(found)
            other = next(node for node in found if node is not hub)
            assert other.relay._hub is not None
            other.relay._hub.cut()
            await other.client("new")  # nobody hears of it while there is no connection
            await until(lambda: all(peers(node) == 2 for node in found))
            for client in clients:
                await shows(client, "c0", "c1", "c2", "new")
                assert not any(told["leaves"] for told in client.take("presence_diff"))

    run(body())


def test_many_processes_that_start_at_once_agree_on_one_that_serves(tmp_path: Path) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 12) as found:
            assert sum(bool(node.relay._links) for node in found) == 1

    run(body())


def test_a_socket_that_was_left_behind_is_replaced_and_only_its_user_may_connect(tmp_path: Path) -> None:
    async def body() -> None:
        path = tmp_path / "app.db.relay"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with nodes(tmp_path / "app.db", 2):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_ISSOCK(path.stat().st_mode)
        assert not path.exists()

    run(body())


def test_a_socket_that_somebody_removed_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 2):
            (tmp_path / "app.db.relay").unlink()
            late = Node(tmp_path / "app.db")
            await late.channels.start()
            await until(lambda: peers(late) == 2)
            await late.channels.stop()

    monkeypatch.setattr(module, "_PULSE", 0.05)
    run(body())


def test_a_peer_that_is_silent_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 2) as found:
            _, writer = await connect(tmp_path)
            writer.write(framed({"hello": 1, "peer": "mute"}))
            await until(lambda: peers(found[0]) == 2)
            await until(lambda: peers(found[0]) == 1)
            (link,) = serving(found).relay._links.values()
            cut = link.heard
            await until(lambda: link.heard > cut + module._SILENCE)  # who is not silent stays
            assert peers(found[0]) == peers(found[1]) == 1
            writer.close()

    monkeypatch.setattr(module, "_PULSE", 0.02)
    monkeypatch.setattr(module, "_SILENCE", 0.2)
    run(body())


def test_a_peer_that_does_not_read_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 2) as found:
            ann = await serving(found).client("c1")
            bob = await next(node for node in found if not node.relay._links).client("c2")
            reader, writer = await connect(tmp_path)
            writer.transport.pause_reading()
            writer.write(framed({"hello": 1, "peer": "stuck"}))
            await until(lambda: peers(found[0]) == 2)
            for _ in range(60):
                await ann.say("broadcast", "room", event="e", data="x" * 50_000)
                await asyncio.sleep(0)
            await until(lambda: peers(found[0]) == 1)
            await until(lambda: len([told for told in bob.messages if told["type"] == "broadcast"]) == 60)
            writer.close()
            del reader

    monkeypatch.setattr(module, "LARGEST_BACKLOG", 1_000_000)
    run(body())


def test_a_path_too_long_for_a_socket_is_reached_through_its_folder(tmp_path: Path) -> None:
    async def body() -> None:
        folder = tmp_path / ("long" * 30) / ("deep" * 30)
        folder.mkdir(parents=True)
        (tmp_path / "link.db").symlink_to(folder / "app.db")
        found = [Node(folder / "app.db"), Node(tmp_path / "link.db")]
        for node in found:
            await node.channels.start()
        await until(lambda: all(peers(node) == 1 for node in found))
        for node in found:
            await node.channels.stop()
        assert not (folder / "app.db.relay").exists()

    run(body())


@pytest.mark.parametrize("name", ["d" * 110, "folder/that/is/not/there/app.db"])
def test_where_there_can_be_no_socket_a_process_stays_alone_and_says_so(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        node = Node(tmp_path / name)
        await node.channels.start()
        await until(lambda: bool(caplog.records))
        ann, bob = await node.client("c1"), await node.client("c2")
        await shows(ann, "c1", "c2")
        await bob.say("broadcast", "room", event="e", data=1)
        assert ann.take("broadcast")
        await node.channels.stop()

    run(body())
    assert len([text for text in caplog.messages if "only the members of this process" in text]) == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_is_left_open(tmp_path: Path, loop: Any) -> None:
    async def body() -> None:
        before = open_files()
        for _ in range(4):
            async with nodes(tmp_path / "app.db", 3) as found:
                await found[0].client("c1")
                assert open_files() - before
            await until(lambda: not open_files() - before)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not list open files")
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(body())


def open_files() -> set[str]:
    """Sockets and files of this process."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return {name for name in found if name.startswith(("socket:", "/"))}


async def connect(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(folder / "app.db.relay"))


def framed(value: object) -> bytes:
    data = orjson.dumps(value)
    return len(data).to_bytes(4) + data


HELLO = framed({"hello": 1, "peer": "evil"})
HOSTILE = [
    b"",
    b"\x00",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x05hello",
    framed({"hello": 2, "peer": "x"}),
    framed({"hello": 1, "peer": 3}),
    framed({"hello": 1, "peer": ""}),
    framed(["to", None, 1]),
    HELLO + b"\x00\x00\x00\x02{]",
    HELLO + framed(["from", "x", 1]),
    HELLO + framed(["to", 3, 1]),
    HELLO + framed(["to"]),
    HELLO + framed([["[" * 500]]),
    HELLO + (2000).to_bytes(4) + b"[" * 2000,
    HELLO + (module.LARGEST_FRAME + 1).to_bytes(4) + b"x" * 100_000,
]
NONSENSE: list[Any] = [
    None,
    {"put": ["room", {"id": 1, "user_id": None, "state": 1}]},
    {"put": ["room", {"id": "x", "user_id": 1, "state": 1}]},
    {"put": ["room", {"id": "c0", "user_id": None, "state": "stolen"}]},
    {"put": ["room"]},
    {"drop": ["room", "c0"]},
    {"drop": ["room", "nobody"]},
    {"drop": [[], {}]},
    {"say": ["nowhere", "e", 1, "x"]},
    {"say": ["room", 1, 1, 1]},
    {"here": [["room", {}]], "more": False},
    {"here": [1], "more": True},
    {"here": {}, "more": 1},
]


def test_hostile_bytes_end_only_their_own_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 3) as found:
            clients = [await node.client(f"c{number}", state=number) for number, node in enumerate(found)]
            for each in HOSTILE:
                reader, writer = await connect(tmp_path)
                writer.write(each)
                if each in (b"", b"\x00"):
                    writer.write_eof()
                async with asyncio.timeout(5):
                    while await reader.read(65_536):
                        pass
                writer.close()
            reader, writer = await connect(tmp_path)
            writer.write(framed({"hello": 1, "peer": "odd"}))
            for number, body in enumerate(NONSENSE):
                writer.write(framed(["to", None, body]))
                writer.write(framed(["to", found[number % 3].relay._me, body]))
                writer.write(framed(["to", "nobody", body]))
            writer.write(framed(["still"]))
            await until(lambda: peers(found[0]) == 3)
            writer.write_eof()
            writer.close()
            await until(lambda: all(peers(node) == 2 for node in found))
            await until(lambda: not any(node.relay._away for node in found))  # the odd one is taken for dead
            for client in clients:
                await shows(client, "c0", "c1", "c2")
                assert client.shown["room"]["c0"] == 0

    run(body())
    assert not [record for record in caplog.records if record.exc_info]


def test_others_have_their_turn_while_a_process_sends_thousands_of_small_messages() -> None:
    async def body() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(framed(["from", "p1", {"drop": ["room", "nobody"]}]) * 20_000)
        link = module._Link(reader, None)  # type: ignore[arg-type]  # nothing is written
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        for _ in range(20_000):
            await link.read()
        task.cancel()
        assert turns > 10

    run(body())


def test_a_member_is_its_own_process_s_to_change() -> None:
    rooms = Rooms(Alone(), lambda delay, call: None, time.monotonic)
    rooms.heard("p1", {"put": ["room", {"id": "a", "user_id": None, "state": 1}]})
    rooms.heard("p2", {"put": ["room", {"id": "a", "user_id": None, "state": 2}]})
    rooms.heard("p2", {"drop": ["room", "a"]})
    rooms.lost("p2")
    assert rooms.numbers()["channel_members_elsewhere"] == 1
    rooms.heard("p1", {"here": [["room", {"id": "b", "user_id": None, "state": 1}]], "more": True})
    rooms.heard("p1", {"here": [["room", {"id": "c", "user_id": None, "state": 1}]], "more": False})
    assert rooms.numbers()["channel_members_elsewhere"] == 2
    rooms.lost("p1")
    assert (rooms.numbers()["channel_members_elsewhere"], rooms.numbers()["channels"]) == (0, 0)


def test_the_lock_keeps_others_from_replacing_a_socket_in_use(tmp_path: Path) -> None:
    one, other = Lair(tmp_path / "app.db"), Lair(tmp_path / "app.db")
    assert one.seize()
    with one.listen():
        assert not other.seize()
        assert not one.is_vacant()
        one.leave()
    assert other.seize()
    other.leave()


def test_a_process_that_comes_again_while_its_members_are_let_go_has_them_all() -> None:
    later: list[Callable[[], None]] = []
    rooms = Rooms(Alone(), lambda delay, call: later.append(call), time.monotonic)
    rows = [["room", {"id": f"c{number}", "user_id": None, "state": 1}] for number in range(1_000)]
    rooms.heard("p1", {"here": rows, "more": False})
    rooms.lost("p1")
    assert 0 < rooms.numbers()["channel_members_elsewhere"] < 1_000
    rooms.came("p1")
    rooms.heard("p1", {"here": rows[:900], "more": True})
    later.pop()()
    rooms.heard("p1", {"here": rows[900:990], "more": False})
    assert rooms.numbers()["channel_members_elsewhere"] == 990
    rooms.lost("p1")
    while later:
        later.pop()()
    assert (rooms.numbers()["channel_members_elsewhere"], rooms.numbers()["channels"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_to_processes_and_connections_all_show_the_same_in_the_end(tmp_path: Path, seed: int) -> None:
    async def body() -> None:
        random = Random(seed)
        found: list[Node] = []
        clients: dict[str, tuple[Node, Client]] = {}
        for step in range(150):
            await asyncio.sleep(random.choice([0, 0, 0.002, 0.02, 0.06]))
            kind = random.choice(["start", "stop", "cut", "join", "join", "leave", "state", "state"])
            if kind == "start" and len(found) < 6:
                found.append(Node(tmp_path / "app.db"))
                await found[-1].channels.start()
            elif kind == "stop" and len(found) > 2:
                node = found.pop(random.randrange(len(found)))
                await node.channels.stop()
                clients = {name: (home, client) for name, (home, client) in clients.items() if home is not node}
            elif kind == "cut" and found:
                relay = random.choice(found).relay
                for link in [relay._hub] if relay._hub else list(relay._links.values()):
                    link.cut()
            elif kind == "join" and found:
                node = random.choice(found)
                clients[f"c{step}"] = (node, await node.client(f"c{step}", state=step))
            elif kind == "leave" and clients:
                node, client = clients.pop(random.choice(list(clients)))
                node.channels.gone(client)
            elif kind == "state" and clients:
                node, client = random.choice(list(clients.values()))
                await client.say("state", "room", state=step)
                client.shown["room"][client.client_id] = step
        own = {name: client.shown["room"][name] for name, (_, client) in clients.items()}
        await until(lambda: all(client.shown["room"] == own for _, client in clients.values()), 5)
        for node in found:
            await node.channels.stop()

    run(body())


@pytest.mark.slow
def test_processes_that_are_killed_are_missed_by_the_others_and_by_nobody_else(tmp_path: Path) -> None:
    async def body() -> None:
        async with nodes(tmp_path / "app.db", 1) as found:
            ann = await found[0].client("ann")
            await found[0].channels.stop()

            # the first process of those serves, as this one has stopped
            workers = [Worker(tmp_path / "app.db", "w0")]
            await until(lambda: (tmp_path / "app.db.relay").exists(), 20)
            workers += [Worker(tmp_path / "app.db", f"w{number}") for number in (1, 2)]
            watcher = Node(tmp_path / "app.db")
            await watcher.channels.start()
            eve = await watcher.client("eve")
            await until(lambda: set(eve.shown["room"]) == {"w0", "w1", "w2", "eve"}, 20)
            workers[0].end(signal.SIGKILL)
            await shows(eve, "w1", "w2", "eve")
            await until(lambda: peers(watcher) == 2)
            eve.take()
            await eve.say("broadcast", "room", event="echo", data=7)
            await until(lambda: {told["from"] for told in map(payload, eve.messages)} == {"w1", "w2"})
            workers[1].end(signal.SIGKILL)
            await shows(eve, "w2", "eve")
            workers.append(Worker(tmp_path / "app.db", "w3"))
            await until(lambda: set(eve.shown["room"]) == {"w2", "w3", "eve"}, 20)
            for worker in workers[2:]:
                worker.end(signal.SIGTERM)
            await shows(eve, "eve")
            await watcher.channels.stop()
            del ann

    run(body())


def payload(message: dict[str, Any]) -> dict[str, Any]:
    return message["payload"] if message["type"] == "broadcast" else {"from": "w1"}


class Worker:
    """A process with one member, which answers broadcasts named `echo`."""

    def __init__(self, database: Path, name: str) -> None:
        self._process = subprocess.Popen([sys.executable, str(WORKER), str(database), name, json.dumps(GRACE)])

    def end(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        self._process.wait(10)
