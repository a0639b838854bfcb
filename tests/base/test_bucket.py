"""A bucket gives what it holds, and what comes back with time."""

from __future__ import annotations

import pytest

from alyx.base.bucket import Bucket


def taken(bucket: Bucket, now: float, times: int) -> int:
    return sum(bucket.take(now) for _ in range(times))


def test_a_bucket_is_full_at_first_and_refills_evenly_but_never_over_its_brim() -> None:
    bucket = Bucket(10.0, 20.0)
    assert taken(bucket, 100.0, 50) == 20
    assert taken(bucket, 100.5, 50) == 5
    assert taken(bucket, 1_000.0, 50) == 20


def test_what_was_refused_costs_nothing() -> None:
    bucket = Bucket(1.0, 1.0)
    assert [bucket.take(now) for now in (0.0, 0.5, 0.75, 1.0, 1.5, 2.0)] == [True, False, False, True, False, True]


def test_more_than_there_is_may_be_taken_and_must_come_back_first() -> None:
    bucket = Bucket(10.0, 40.0)
    assert bucket.take(0.0, 100.0)
    assert bucket.left == -60.0
    assert not bucket.take(6.0, 0.0)
    assert bucket.take(6.125, 100.0)


def test_it_says_how_long_to_wait_for_the_next_unit() -> None:
    bucket = Bucket(4.0, 2.0)
    assert bucket.wait() == 0.0
    assert taken(bucket, 0.0, 3) == 2
    assert bucket.wait() == pytest.approx(0.25)
    assert not bucket.take(0.125)
    assert bucket.wait() == pytest.approx(0.125)
    assert bucket.take(0.25)
