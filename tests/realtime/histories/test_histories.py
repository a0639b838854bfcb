"""What a client shows at every quiet point is what the REST list gives the same caller, and it was never sent more than that.

`python -m tests.realtime.histories.test_histories SEED [SEED ...]` runs histories again.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.realtime.histories import world
from tests.realtime.histories.history import History
from tests.realtime.remote import Server

TOGETHER = 25
"""Histories that one server goes through, one after another."""


def run(seeds: Iterable[int], folder: Path, *, workers: int = 1) -> dict[int, str]:
    """seed -> what went wrong"""
    server = Server(folder, world.schema(), workers=workers)
    failed: dict[int, str] = {}
    try:
        server.start()
        connection = server.open()
        for seed in seeds:
            try:
                asyncio.run(History(server, connection, seed).run())
            except AssertionError as error:
                failed[seed] = str(error)
        connection.close()
        assert server.stop() == 0
        assert not server.complaints()
    finally:
        server.end()
    return failed


def told(failed: dict[int, str]) -> str:
    return "\n\n".join(f"===== seed {seed}\n{text}" for seed, text in failed.items())


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_sixty_random_histories_end_as_the_list_says(part, tmp_path):
    failed = run(range(20 * part, 20 * (part + 1)), tmp_path, workers=2 if part == 2 else 1)
    assert not failed, told(failed)


@pytest.mark.torture
@pytest.mark.parametrize("part", range(500 // TOGETHER))
def test_five_hundred_random_histories_end_as_the_list_says(part, tmp_path):
    seeds = range(1000 + TOGETHER * part, 1000 + TOGETHER * (part + 1))
    failed = run(seeds, tmp_path, workers=2 if part % 4 == 3 else 1)
    assert not failed, told(failed)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        again = run(map(int, sys.argv[1:]), Path(name))
        print(told(again) or "all agree")
