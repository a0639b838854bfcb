"""kill -9 of the server under load: what was acknowledged is there, and clients that come back have missed nothing."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.realtime.load import SCHEMA, Load, Roamer, StreamRoamer, arrive, faults, lines_of, lost
from tests.realtime.remote import Server


async def kill_again_and_again(server: Server, clients: int, streams: int, kills: int, rate: float) -> None:
    rng = Random(3)
    load = Load(server, rate, seed=3)
    between = (1.0, 6.0)
    roamers = [Roamer(server, seed, between=between) for seed in range(clients)]
    roamers += [StreamRoamer(server, 500 + n, n % 4, between) for n in range(streams)]
    load.start()
    for each in roamers:
        each.start()
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    await asyncio.sleep(1)
    await load.stop()
    await asyncio.gather(*(each.stay() for each in roamers))
    lines = lines_of(server)
    wishes = [wish for each in roamers for wish in each.wishes]
    behind = await arrive(wishes, lines)
    for each in roamers:
        await each.leave()
    wrong = faults(wishes, lines)
    assert not behind + wrong, "\n".join([f"{len(behind)} and {len(wrong)} of {len(wishes)}", *behind[:5], *wrong[:8]])
    assert not lost(load, lines)
    assert load.failed > 0
    assert sum(wish.follower.counts.get("resumed", 0) for wish in wishes) > 0


def run(folder, clients, streams, kills, rate, workers):
    server = Server(folder, SCHEMA, workers=workers)
    try:
        server.start()
        asyncio.run(kill_again_and_again(server, clients, streams, kills, rate))
    finally:
        server.end()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_clients_of_a_killed_server_resume_and_have_missed_nothing(tmp_path, workers):
    run(tmp_path, clients=10, streams=2, kills=3, rate=250, workers=workers)


@pytest.mark.torture
@pytest.mark.parametrize("workers", [1, 2])
def test_clients_of_a_server_that_is_killed_twenty_times_have_missed_nothing(tmp_path, workers):
    run(tmp_path, clients=40, streams=6, kills=20, rate=500, workers=workers)
