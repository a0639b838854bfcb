"""/health and its two short forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alyx.http import settings
from alyx.http.edge import Edge
from alyx.http.health import Health
from alyx.http.routes import Routes
from tests.asgi import Client


def client(health: Health) -> Client:
    return Client(Edge(Routes(health.routes()), settings.Edge()))


def component(**told: Any) -> Any:
    def ask() -> Mapping[str, Any]:
        return told

    return ask


def test_a_healthy_server_says_so_with_its_version_and_parts() -> None:
    body = client(Health("1.2.3", {"database": component(status="healthy")})).get("/health").json()
    assert body["status"] == "healthy"
    assert body["version"] == "1.2.3"
    assert body["uptime"] >= 0
    assert body["components"] == {"database": {"status": "healthy"}}


def test_a_degraded_part_is_told_with_its_reason_and_the_server_stays_ready() -> None:
    asked = client(Health("1", {"database": component(status="degraded", reason="disk full")}))
    assert asked.get("/health").status == 200
    assert asked.get("/health").json()["status"] == "degraded"
    assert asked.get("/health").json()["components"]["database"]["reason"] == "disk full"
    assert asked.get("/health/ready").json() == {"status": "ready"}


def test_an_unhealthy_part_makes_the_server_unready_but_not_dead() -> None:
    asked = client(Health("1", {"database": component(status="unhealthy"), "other": component(status="healthy")}))
    assert asked.get("/health").status == 503
    assert asked.get("/health/ready").status == 503
    assert asked.get("/health/live").json() == {"status": "ok"}


def test_a_part_that_fails_to_answer_is_unhealthy_and_its_words_stay_inside() -> None:
    def broken() -> Mapping[str, Any]:
        raise RuntimeError("/var/lib/secret")

    answer = client(Health("1", {"database": broken, "odd": component(status="purple")})).get("/health")
    assert answer.json()["components"] == {"database": {"status": "unhealthy"}, "odd": {"status": "unhealthy"}}
    assert "secret" not in answer.text


def test_a_server_that_stops_is_not_ready() -> None:
    health = Health("1", {})
    assert client(health).get("/health/ready").json() == {"status": "ready"}
    health.drain()
    assert client(health).get("/health/ready").status == 503


def test_a_probe_with_a_bad_token_is_answered() -> None:
    assert client(Health("1", {})).get("/health/live", headers={"Authorization": "Bearer bad"}).status == 200
