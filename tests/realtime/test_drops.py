"""Clients that are cut off at random and resume: nothing missed, nothing double, nothing out of order, nothing of others."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from tests.realtime.load import Load, crew, finish, resumed, with_server
from tests.realtime.remote import Server


async def roam(server: Server, clients: int, streams: int, seconds: float, rate: float) -> str:
    load = Load(server, rate, seed=1)
    roamers = crew(server, clients, streams)
    load.start()
    for each in roamers:
        each.start()
    await asyncio.sleep(seconds)
    reached = load.rate
    wishes, lines = await finish(server, load, roamers)
    resets = sum(wish.follower.resets for wish in wishes)
    returns = sum(each.returns for each in roamers)
    assert returns > 2 * len(roamers)
    assert resumed(wishes) > 0
    assert not server.complaints()
    codes = sorted({code for each in roamers for code in each.closings if code is not None})
    return (
        f"{reached:.0f} writes/s, {len(lines)} changes, {returns} connections, {resumed(wishes)} resumed, {resets} resets,"
        f" codes {codes}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_fifteen_clients_that_drop_and_resume_under_load_miss_nothing(tmp_path, workers):
    print(with_server(tmp_path, partial(roam, clients=12, streams=3, seconds=8, rate=300), workers))


@pytest.mark.torture
@pytest.mark.parametrize("workers", [1, 2])
def test_fifty_clients_that_drop_and_resume_for_a_minute_miss_nothing(tmp_path, workers):
    print(with_server(tmp_path, partial(roam, clients=50, streams=6, seconds=60, rate=500), workers))
