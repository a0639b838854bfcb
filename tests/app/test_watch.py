"""Which files have changed."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from alyx.app import watch


@pytest.fixture
def places(tmp_path):
    (tmp_path / "schema.yaml").write_text("a")
    return [tmp_path / "schema.yaml", tmp_path / "alyx.yaml"], [tmp_path / "migrations"]


async def first(places, since, act=None):
    """The first set of changes, after doing something; fails rather than waiting for ever."""
    stop = asyncio.Event()
    changes = watch.changes(*places, since, stop)
    waiting = asyncio.ensure_future(anext(changes))
    try:
        if act is not None:
            await asyncio.sleep(0)
            act()
        return await asyncio.wait_for(waiting, 10)
    finally:
        stop.set()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
            await changes.aclose()


def test_an_edit_between_reading_and_watching_is_not_lost(places):
    since = watch.look(*places)
    places[0][0].write_text("longer")
    assert asyncio.run(first(places, since)) == {places[0][0]}


def test_a_file_that_is_replaced_appears_or_goes_is_a_change(places, tmp_path):
    def replace():
        (tmp_path / "new").write_text("b")
        os.rename(tmp_path / "new", places[0][0])

    assert asyncio.run(first(places, watch.look(*places), replace)) == {places[0][0]}
    assert asyncio.run(first(places, watch.look(*places), lambda: places[0][1].write_text(""))) == {places[0][1]}
    assert asyncio.run(first(places, watch.look(*places), places[0][1].unlink)) == {places[0][1]}


def test_a_migrations_folder_may_come_later(places, tmp_path):
    def make():
        (tmp_path / "migrations").mkdir()
        (tmp_path / "migrations" / "001_a.yaml").write_text("")

    assert asyncio.run(first(places, watch.look(*places), make)) == {tmp_path / "migrations" / "001_a.yaml"}


def test_other_files_of_the_folder_are_nothing(places, tmp_path):
    before = watch.look(*places)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "data").mkdir()
    assert watch.look(*places) == before
