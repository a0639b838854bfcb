"""kill -9 of the server under load: what was acknowledged is there, and clients that come back have missed nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random

import pytest

from tests.realtime.load import Load, crew, finish, lost, resumed, with_server
from tests.realtime.remote import Server


async def kill_again_and_again(server: Server, clients: int, streams: int, kills: int, rate: float) -> None:
    rng = Random(3)
    load = Load(server, rate, seed=3)
    roamers = crew(server, clients, streams, between=(1.0, 6.0))
    load.start()
    for each in roamers:
        each.start()
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    await asyncio.sleep(1)
    wishes, lines = await finish(server, load, roamers)
    assert not lost(load, lines)
    assert load.failed > 0
    assert resumed(wishes) > 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_clients_of_a_killed_server_resume_and_have_missed_nothing(tmp_path, workers):
    with_server(tmp_path, partial(kill_again_and_again, clients=10, streams=2, kills=3, rate=250), workers)


@pytest.mark.torture
@pytest.mark.parametrize("workers", [1, 2])
def test_clients_of_a_server_that_is_killed_twenty_times_have_missed_nothing(tmp_path, workers):
    with_server(tmp_path, partial(kill_again_and_again, clients=40, streams=6, kills=20, rate=500), workers)
