"""Clients that are cut off at random and resume: nothing missed, nothing double, nothing out of order, nothing of others."""

from __future__ import annotations

import asyncio

import pytest

from tests.realtime.load import SCHEMA, Load, Roamer, StreamRoamer, arrive, faults, lines_of
from tests.realtime.remote import Server


async def roam(server: Server, clients: int, streams: int, seconds: float, rate: float) -> str:
    load = Load(server, rate, seed=1)
    roamers = [Roamer(server, seed) for seed in range(clients)] + [StreamRoamer(server, 500 + n, n % 4) for n in range(streams)]
    load.start()
    for each in roamers:
        each.start()
    await asyncio.sleep(seconds)
    reached = load.rate
    await load.stop()
    await asyncio.gather(*(each.stay() for each in roamers))
    lines = lines_of(server)
    wishes = [wish for each in roamers for wish in each.wishes]
    behind = await arrive(wishes, lines)
    for each in roamers:
        await each.leave()
    wrong = faults(wishes, lines)
    assert not behind + wrong, "\n".join([f"{len(behind)} and {len(wrong)} of {len(wishes)}", *behind[:5], *wrong[:8]])
    resumed = sum(wish.follower.counts.get("resumed", 0) for wish in wishes)
    resets = sum(wish.follower.resets for wish in wishes)
    returns = sum(each.returns for each in roamers)
    assert returns > 2 * len(roamers)
    assert resumed > 0
    assert not server.complaints()
    codes = sorted({code for each in roamers for code in each.closings if code is not None})
    return (
        f"{reached:.0f} writes/s, {len(lines)} changes, {returns} connections, {resumed} resumed, {resets} resets, codes {codes}"
    )


def run(folder, clients, streams, seconds, rate, workers=1):
    server = Server(folder, SCHEMA, workers=workers)
    try:
        server.start()
        print(asyncio.run(roam(server, clients, streams, seconds, rate)))
    finally:
        server.end()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_fifteen_clients_that_drop_and_resume_under_load_miss_nothing(tmp_path, workers):
    run(tmp_path, clients=12, streams=3, seconds=8, rate=300, workers=workers)


@pytest.mark.torture
@pytest.mark.parametrize("workers", [1, 2])
def test_fifty_clients_that_drop_and_resume_for_a_minute_miss_nothing(tmp_path, workers):
    run(tmp_path, clients=50, streams=6, seconds=60, rate=500, workers=workers)
