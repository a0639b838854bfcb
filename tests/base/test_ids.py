"""Identifiers look as the contract says and do not repeat."""

from __future__ import annotations

import os
import re

from alyx.base import clock, ids


def test_a_uuid_is_of_version_7_and_sorts_by_the_time_it_was_made() -> None:
    try:
        clock.pin(lambda: 1_772_000_000.0)
        early = ids.uuid7()
        clock.pin(lambda: 1_772_000_000.5)
        late = ids.uuid7()
    finally:
        clock.pin(None)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", early)
    assert early < late


def test_a_record_id_has_fifteen_letters_and_digits_that_come_equally_often() -> None:
    made = [ids.random_id() for _ in range(20_000)]
    assert all(re.fullmatch(r"[A-Za-z0-9]{15}", each) for each in made)
    assert len(set(made)) == len(made)
    counts = [sum(each.count(letter) for each in made) for letter in "09AZaz"]
    assert max(counts) - min(counts) < 600  # 4,839 expected each; six standard deviations are 415


def test_request_ids_of_a_forked_process_are_its_own() -> None:
    before = ids.request_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ids.request_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert theirs[:16] != before[:16]
    assert ids.request_id()[:16] == before[:16]


def test_record_ids_of_a_forked_process_are_its_own() -> None:
    ids.random_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, "".join(ids.random_id() for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 10_000).decode()
    os.close(reading)
    os.close(writing)
    assert not {theirs[at : at + 15] for at in range(0, len(theirs), 15)} & {ids.random_id() for _ in range(50)}
