"""The rate per address."""

from __future__ import annotations

import pytest

from alyx.base import units
from alyx.base.errors import AlyxError
from alyx.base.units import Rate
from alyx.http.rate import AddressRate
from tests.asgi import Client
from tests.http.conftest import make_edge


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def allowed(rate: AddressRate, address: str, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            rate.take(address)
            count += 1
        except AlyxError:
            continue
    return count


def test_a_bucket_empties_and_refills_evenly() -> None:
    clock = Clock()
    rate = AddressRate(Rate(10, 1.0), clock=clock)
    assert allowed(rate, "192.0.2.1", 15) == 10
    clock.now = 0.5
    assert allowed(rate, "192.0.2.1", 15) == 5
    clock.now = 100
    assert allowed(rate, "192.0.2.1", 15) == 10


def test_addresses_do_not_share_a_bucket_but_an_ipv6_network_does() -> None:
    rate = AddressRate(Rate(2, 60.0), clock=Clock())
    assert allowed(rate, "192.0.2.1", 5) == 2
    assert allowed(rate, "192.0.2.2", 5) == 2
    assert allowed(rate, "2001:db8::1", 2) == 2
    assert allowed(rate, "2001:db8::ffff", 5) == 0
    assert allowed(rate, "2001:db8:1::1", 5) == 2


def test_the_memory_for_addresses_is_bounded() -> None:
    rate = AddressRate(Rate(1, 60.0), clock=Clock(), capacity=100)
    for number in range(1000):
        allowed(rate, f"10.0.{number // 250}.{number % 250}", 1)
    assert len(rate._buckets) == 100


def test_too_many_requests_are_429_with_retry_after_and_probes_are_free() -> None:
    client = Client(make_edge(requests=Rate(3, 60.0)))
    answers = [client.get("/whoami") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["code"] == "RATE_LIMITED"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
    assert client.get("/nowhere").status == 429
    assert client.get("/open").status == 200


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("off", None),
        ("200/s", Rate(200, 1.0)),
        ("1000/m", Rate(1000, 60.0)),
        ("5/10s", Rate(5, 10.0)),
        (" 7 / 1h ", Rate(7, 3600.0)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate | None) -> None:
    assert units.rate(text) == rate


@pytest.mark.parametrize("text", ["", "200", "0/s", "-1/s", "5/", "5/d", "a/s", "5/0s", "5/1.5s", "²/s"])
def test_anything_else_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        units.rate(text)
